"""Images of several boxes, pixel sizes and magnifications against their exact transforms."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.crop import crop_particles
from pcainit.engine.projection.slices import extract_slices
from pcainit.errors import InputError
from pcainit.io.particle_table import ParticleTable
from pcainit.io.stacks import read_chunks
from pcainit.io.star import read_particles
from pcainit.settings import Settings
from pcainit.tests.optics_examples import WIDTH, balls, projection, transfer, write_set

NONE = np.eye(2)
ANISOTROPIC = np.array([[1.02, 0.006], [-0.002, 0.99]])
GROUPS = {
    "one kind": [(64, 4.0, NONE)],
    "larger and stretched": [(64, 4.0, NONE), (64, 4.0, ANISOTROPIC)],
    "magnified by 3 %": [(64, 4.0, NONE), (64, 4.0, 1.03 * NONE)],
    "smaller pixels": [(64, 4.0, NONE), (86, 3.0, NONE)],
    "larger pixels, stretched": [(64, 4.0, NONE), (48, 5.2, ANISOTROPIC)],
    "a wider box": [(64, 4.0, NONE), (96, 4.0, ANISOTROPIC)],
}


def slices_of(particles, resolution=16.0):
    grid = Grid(particles.box_px, particles.sampling, resolution)
    chunks = read_chunks(particles.stacks, particles.stack, particles.row, 7, particles.boxes())
    return crop_particles(particles, grid, chunks)[0], grid


@pytest.mark.parametrize("per_row", [False, True], ids=["optics table", "rows"])
@pytest.mark.parametrize("groups", GROUPS.values(), ids=list(GROUPS))
def test_crops_are_the_specimens_transform(tmp_path, groups, per_row):
    """Every sample: frequency, CTF there, centre, greyscale; and the slice it is compared with."""
    made = write_set(tmp_path, groups, 24, per_row=per_row)
    particles = read_particles(ParticleTable(made["path"]))
    slices, grid = slices_of(particles)
    assert (grid.box_px, grid.sampling) in [(box, sampling) for box, sampling, _ in groups]
    kx, ky = grid.frequencies.T / (grid.box_px * grid.sampling)
    axis = (np.arange(grid.box) - grid.box // 2) * grid.voxel
    density = np.zeros((grid.box,) * 3)
    for x, y, z in balls():
        line = [np.exp(-0.5 * ((axis - c) / WIDTH) ** 2) for c in (x, y, z)]
        density += np.einsum("z,y,x->zyx", *line[::-1])
    read = extract_slices(grid.to_fourier(density[None].astype(np.float32)), slices.rotations, grid)
    for k, turned in enumerate(made["rotations"]):
        box, sampling, matrix = groups[made["group"][k]]
        factor = np.linalg.svd(matrix, compute_uv=False)[0]
        gx, gy = np.asarray(matrix) @ [kx, ky] / factor
        exact = projection(gx, gy, balls() @ turned[:2].T)
        ctf = transfer(gx, gy, *made["defocus"][k])
        # The same noise in all images: what is seen goes with the pixel and the box, and so does
        # the model's factor, but for the pixel, which stands for the dose.
        grey = np.linalg.det(matrix) / (sampling * grid.box_px * grid.sampling)
        scale = np.abs(exact).max()
        known = slices.ctf[k] / ctf
        assert np.abs(known / np.median(known) - 1)[np.abs(ctf) > 0.05].max() < 1e-3
        tolerance = 0.02 if box * sampling > 300 else 2e-3  # what a smaller window cuts off
        error = slices.values[k] - grey * slices.ctf[k] * exact
        assert np.abs(error).max() < tolerance * grey * scale
        # The model reads the same slice: trilinear interpolation is good to some per cent.
        ratio = np.vdot(exact, read[k, :, 0]).real / np.vdot(exact, exact).real
        assert np.linalg.norm(read[k, :, 0] / ratio - exact) < 0.05 * np.linalg.norm(exact)


def test_equal_kinds_are_no_kinds(tmp_path):
    """An identity matrix, and pixel sizes that differ by less than a thousandth, change no bit."""
    plain = write_set(tmp_path, [(32, 4.0, NONE)], 12)
    with_matrix = read_particles(ParticleTable(plain["path"]))
    lines = (
        plain["path"].read_text().replace(" 1.000000000 0.000000000 0.000000000 1.000000000", "")
    )
    for name in ("00", "01", "10", "11"):
        lines = lines.replace("_rlnMagMat%s\n" % name, "")
    (tmp_path / "plain.star").write_text(lines)
    without = read_particles(ParticleTable(tmp_path / "plain.star"))
    assert with_matrix.kinds is None and without.kinds is None
    one, two = slices_of(with_matrix, 30.0)[0], slices_of(without, 30.0)[0]
    assert np.array_equal(one.values, two.values) and np.array_equal(one.ctf, two.ctf)


def test_the_grid_is_that_of_most_images(tmp_path):
    groups = [(64, 4.0, NONE), (40, 5.0, NONE), (40, 5.0, NONE)]
    particles = read_particles(ParticleTable(write_set(tmp_path, groups, 12)["path"]))
    assert (particles.box_px, particles.sampling) == (40, 5.0)
    assert particles.finest == 10.0
    groups = [(64, 4.0, NONE), (64, 4.0, NONE), (40, 5.0, NONE)]  # narrower: 200 A
    particles = read_particles(ParticleTable(write_set(tmp_path, groups, 12)["path"]))
    assert (particles.box_px, particles.sampling) == (50, 4.0)


def test_a_resolution_that_some_images_lack_is_refused(tmp_path):
    from pcainit.pipeline.prepare import Source

    made = write_set(tmp_path, [(64, 3.0, NONE), (64, 3.0, NONE), (24, 8.0, NONE)], 120)
    star = str(made["path"])
    assert Source.find(star, None, Settings(resolution=20.0)).grid.box_px == 64
    with pytest.raises(InputError, match="resolution is 12 A, too fine for those .* 16.8 A"):
        Source.find(star, None, Settings(resolution=12.0))


@pytest.mark.parametrize(
    "matrix, words",
    [
        (np.diag([3.0, 1.0]), "is no magnification.*3 0 0 1"),
        (np.diag([-1.0, 1.0]), "no magnification"),
        (np.zeros((2, 2)), "no magnification"),
    ],
    ids=["stretched by three", "mirrored", "zero"],
)
def test_matrices_that_magnify_nothing(tmp_path, matrix, words):
    made = write_set(tmp_path, [(32, 4.0, NONE), (32, 4.0, NONE)], 12)
    text = made["path"].read_text().splitlines()
    rows = [k for k, line in enumerate(text) if line.startswith("2 300")]
    cells = text[rows[0]].split()
    text[rows[0]] = " ".join([*cells[:6], *("%g" % x for x in matrix.ravel())])
    made["path"].write_text("\n".join(text) + "\n")
    with pytest.raises(InputError, match=words) as caught:
        read_particles(ParticleTable(made["path"]))
    assert "6 rows (2, 4, 6, ...)" in str(caught.value)
