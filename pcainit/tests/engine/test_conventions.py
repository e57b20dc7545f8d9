"""The conventions, pinned from outside: analytic cases and files made by RELION's own programs."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import (
    euler_from_rotation,
    rotation_from_euler,
    symmetry_matrices,
    view_directions,
)
from pcainit.engine.images.crop import crop_images, prepare_slices, shift_phases
from pcainit.engine.images.ctf import electron_wavelength, evaluate_ctf
from pcainit.engine.images.particles import CTF
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.errors import InputError
from pcainit.io.particle_table import ParticleTable
from pcainit.io.stacks import read_chunks
from pcainit.io.star import read_particles

FIXTURES = Path(__file__).parents[1] / "fixtures"
GROUPS = ["c1", "c4", "d3", "t", "o", "i", "i1", "i2", "i3", "i4"]


# --- poses and shifts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "angles, matrix",
    [
        ((90, 0, 0), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        ((0, 90, 0), [[0, 0, -1], [0, 1, 0], [1, 0, 0]]),
        ((0, 0, 90), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        (
            (30, 45, 60),
            [
                [-0.126826, 0.926777, -0.353553],
                [-0.780330, 0.126826, 0.612372],
                [0.612372, 0.353553, 0.707107],
            ],
        ),
    ],
)
def test_euler_matrix_has_relions_values(angles, matrix):
    assert rotation_from_euler(*np.array(angles, float)[:, None])[0] == pytest.approx(
        np.array(matrix), abs=1e-6
    )


def relion_symmetry():
    """Group, matrix and RELION's Euler angles of each operator, as RELION printed them."""
    for line in (FIXTURES / "symmetry.txt").read_text().splitlines():
        group, *numbers = line.split()
        numbers = np.array(numbers, float)
        yield group, numbers[:9].reshape(3, 3), numbers[9:]


def test_euler_matrices_agree_with_those_relion_prints():
    _, matrices, angles = zip(*relion_symmetry())
    matrices, angles = np.array(matrices), np.array(angles)
    assert len(matrices) > 300
    assert np.abs(rotation_from_euler(*angles.T) - matrices).max() < 1e-4


def test_euler_angles_invert_the_matrix():
    rng = np.random.default_rng(0)
    angles = rng.uniform([-180, 0, -180], [180, 180, 180], (500, 3))
    angles[:100, 1] = 0
    angles[100:200, 1] = 180
    matrices = rotation_from_euler(*angles.T)
    again = rotation_from_euler(*euler_from_rotation(matrices).T)
    assert np.abs(again - matrices).max() < 2e-6


def test_view_direction_is_what_the_image_looks_along():
    """A point on the view axis projects onto the image's centre."""
    rotation = rotation_from_euler(*np.array([[25.0], [70.0], [-40.0]]))
    view = view_directions(rotation)[0]
    assert rotation[0] @ view == pytest.approx([0, 0, 1], abs=1e-6)


@pytest.mark.parametrize("group", GROUPS)
def test_symmetry_has_relions_matrices(group):
    theirs = np.array([matrix for name, matrix, _ in relion_symmetry() if name == group])
    ours = symmetry_matrices(group)
    assert len(ours) == len(theirs)
    distance = np.abs(ours[:, None] - theirs).max(axis=(2, 3))
    assert distance.min(axis=1).max() < 2e-5
    assert distance.min(axis=0).max() < 2e-5


@pytest.mark.parametrize("name", ["x", "c0", "c", "d", "i5", "c4v", ""])
def test_unknown_symmetry_is_refused(name):
    with pytest.raises(InputError, match="symmetry is"):
        symmetry_matrices(name)


def test_point_projects_to_the_analytic_phases():
    """One off-centre bright voxel, posed by hand: image, crop, shift, and slice all agree."""
    box, sampling = 32, 2.0
    grid = Grid(box, sampling, 8.0)
    point = np.array([3.0, -5.0, 4.0])  # (x, y, z) voxels from the centre
    rotation = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], float)  # specimen to image
    seen = rotation @ point  # (-5, 4, 3)
    shift = np.array([2.0, -1.0])  # would centre the particle
    image = np.zeros((1, box, box), np.float32)
    x, y = (seen[:2] - shift).astype(int) + box // 2
    image[0, y, x] = 7.0
    crop = crop_images(image, grid) * shift_phases(shift[None].astype(np.float32), grid)
    kx, ky = grid.frequencies.T
    k = np.stack([kx, ky, np.zeros_like(kx)], axis=1) @ rotation  # R^T (kx, ky, 0)
    expected = 7.0 / box * np.exp(-2j * np.pi * (k @ point) / box)
    assert np.abs(crop[0] - expected).max() < 1e-5


@pytest.mark.parametrize("box", [32, 36, 50])
def test_crop_is_the_centred_transform(box):
    """Against numpy's plain transform, the origin at box // 2."""
    grid = Grid(box, 1.0, 5.0)
    image = np.random.default_rng(1).normal(size=(2, box, box)).astype(np.float32)
    full = np.fft.fft2(np.fft.ifftshift(image, axes=(1, 2))) / box
    kx, ky = grid.frequencies.T
    assert np.abs(crop_images(image, grid) - full[:, ky % box, kx % box]).max() < 1e-5
    assert tuple(grid.frequencies[0]) == (0, 0)


def test_white_noise_has_unit_variance_in_fourier_space():
    grid = Grid(32, 1.0, 4.0)
    noise = np.random.default_rng(2).normal(size=(400, 32, 32)).astype(np.float32)
    power = (np.abs(crop_images(noise, grid)) ** 2).mean()
    assert power == pytest.approx(1.0, abs=0.02)


# --- CTF ----------------------------------------------------------------------------------------


def make_ctf(**values):
    """One particle's CTF."""
    plain = dict(
        defocus_u=15000,
        defocus_v=15000,
        defocus_angle=0,
        phase_shift=0,
        voltage=300,
        spherical_aberration=2.7,
        amplitude_contrast=0.1,
        b_factor=0,
        scale=1,
    )
    return CTF(**{name: np.array([float(value)]) for name, value in dict(plain, **values).items()})


def test_wavelength_has_the_textbook_values():
    assert electron_wavelength([80, 200, 300]) == pytest.approx(
        [0.041757, 0.025079, 0.019687], abs=2e-6
    )


def test_ctf_against_an_independent_formula():
    """Two-wave form: sqrt(1 - Q^2) sin(chi) + Q cos(chi), defocus from direction cosines."""
    f = np.array([[0.05, 0.02], [-0.03, 0.08], [0.11, -0.04], [0.0, 0.0]])
    du, dv, angle, q = 21000.0, 17500.0, np.radians(25.0), 0.12
    along = f @ [np.cos(angle), np.sin(angle)]
    across = f @ [-np.sin(angle), np.cos(angle)]
    wavelength, cs = 0.0250793, 2.0e7
    chi = (
        np.pi * wavelength * (du * along**2 + dv * across**2)
        - np.pi / 2 * cs * wavelength**3 * (f**2).sum(axis=1) ** 2
    )
    expected = np.sqrt(1 - q**2) * np.sin(chi) + q * np.cos(chi)
    ours = evaluate_ctf(
        make_ctf(
            defocus_u=du,
            defocus_v=dv,
            defocus_angle=25,
            voltage=200,
            spherical_aberration=2.0,
            amplitude_contrast=q,
        ),
        f,
    )[0]
    assert ours == pytest.approx(expected, abs=2e-4)
    assert ours[-1] == pytest.approx(q)  # positive at zero frequency


def test_underfocus_is_positive_and_the_first_lobe_too():
    assert evaluate_ctf(make_ctf(), np.array([[0.01, 0.0]]))[0, 0] > 0.1


def test_ctf_has_relions_numbers():
    """relion_project with and without --ctf on a point: astigmatism, phase shift, B-factor."""
    theirs = np.load(str(FIXTURES / "ctf.npy"))
    table = ParticleTable(FIXTURES / "ctf.star")
    from pcainit.io.star import _read_ctf

    fy, fx = np.fft.fftfreq(32, 3.0), np.arange(17) / (32 * 3.0)
    spatial = np.stack(np.broadcast_arrays(fx, fy[:, None]), axis=-1)
    ours = evaluate_ctf(_read_ctf(table), spatial.reshape(-1, 2)).reshape(3, 32, 17)
    inside = np.hypot(fx, fy[:, None]) < 14.5 / (32 * 3.0)
    assert np.abs(ours - theirs)[:, inside].max() < 2e-3
    assert np.abs(theirs[:, inside]).std() > 0.2  # the numbers are not trivial


# --- a whole reconstruction against RELION's ----------------------------------------------------


def shell_correlation(one, two, last):
    """FSC of two whole maps, shells 0 to `last`; written here, with numpy alone."""
    box = len(one)
    f = np.fft.fftfreq(box, 1 / box)
    shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)).astype(int).ravel()
    a, b = np.fft.fftn(one).ravel(), np.fft.fftn(two).ravel()
    cross, aa, bb = (
        np.bincount(shell, values)[: last + 1]
        for values in ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    )
    return cross / np.sqrt(aa * bb)


@pytest.fixture(scope="module")
def reconstruction():
    """Our consensus of RELION's images in the particles' box, and its grid."""
    particles = read_particles(ParticleTable(FIXTURES / "particles.star"))
    grid = Grid(particles.box_px, particles.sampling, 20.0)
    slices = prepare_slices(
        particles, grid, read_chunks(particles.stacks, particles.stack, particles.row, 200)
    )
    return grid.to_particle_box(reconstruct_consensus(slices).mean), grid


def read(name):
    return mrcfile.read(str(FIXTURES / name)).astype(np.float64)


def test_reconstruction_agrees_with_relions_in_every_shell(reconstruction):
    volume, grid = reconstruction
    last = int(grid.box_px * grid.sampling / 20.0)
    assert last == 15
    fsc = shell_correlation(volume, read("relion_reconstruct.mrc"), last)
    assert fsc.min() > 0.99, fsc.round(4)


def test_reconstruction_agrees_with_the_true_map(reconstruction):
    volume, grid = reconstruction
    true = read("true_map.mrc")
    fsc = shell_correlation(volume, true, 15)
    assert fsc.min() > 0.99, fsc.round(4)
    # and on its greyscale
    inner = grid.band_limit(true.astype(np.float32)) if grid.box == grid.box_px else true
    slope = (volume * inner).sum() / (inner**2).sum()
    assert slope == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_map_does_not_agree(reconstruction, axis):
    volume, _ = reconstruction
    mirrored = np.roll(np.flip(volume, axis), 1, axis)  # about the origin box // 2
    fsc = shell_correlation(mirrored, read("relion_reconstruct.mrc"), 15)
    assert fsc[3:].max() < 0.8
    assert fsc[6:].mean() < 0.3
