"""Neighbours, background, normalisation and refined poses of simulated particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import csv
import dataclasses
import hashlib

import mrcfile
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pcainit.cli.main import main
from pcainit.engine.simulation.phantoms import Phantom
from pcainit.engine.simulation.simulate import Simulation, draw_truth, simulate_images
from pcainit.engine.simulation.surroundings import (
    CORE,
    PER_PLANE,
    _draw_plane,
    crowded_views,
    place_particles,
)

BOX, SAMPLING = 32, 5.0
EVERYTHING = {"crowding": 0.4, "background": 0.3, "normalised": True, "refined": True}
FIRST_TURN = (0.75829879, -0.32153556, 0.56709596)  # of SciPy's rotations from seed 0
AXIS = np.arange(BOX) - BOX // 2
RADIUS = np.hypot(AXIS, AXIS[:, None])


def simulation(count, **options):
    return Simulation(
        **{
            "particles": count,
            "box_px": BOX,
            "sampling": SAMPLING,
            "populations": (1,),
            "seed": 3,
            **options,
        }
    )


def images_of(made):
    return np.array(list(simulate_images(made, draw_truth(made)))).astype(float)


def contrast_transfer(ctf, i, box, sampling):
    """CTF of particle i on the full plane of a transform, written out."""
    f = np.fft.fftfreq(box, sampling)
    a = np.radians(ctf.defocus_angle[i])
    along = (f * np.cos(a) + f[:, None] * np.sin(a)) ** 2
    across = (f[:, None] * np.cos(a) - f * np.sin(a)) ** 2
    phase = (
        np.pi * 0.0196875 * (ctf.defocus_u[i] * along + ctf.defocus_v[i] * across)
        - np.pi / 2 * 2.7e7 * 0.0196875**3 * (along + across) ** 2
    )
    return np.sin(phase + np.arcsin(0.1))


def transform(image):
    return np.fft.fft2(np.fft.ifftshift(image, axes=(-2, -1)))


@pytest.mark.parametrize(
    "options, digest",
    [
        (
            {"seed": 5, "populations": (0.5, 0.3, 0.2)},
            "36133dfbc079788d8ee37deab907c205da543c96167d820e3499483b46f3a8e8",
        ),
        (
            {
                "seed": 6,
                "populations": (0.5, 0.3, 0.2),
                "coloured": True,
                "contrast_sd": 0.2,
                "pose_error": (2, 0.7),
                "preferred_views": 0.5,
                "junk": 0.2,
            },
            "9546dea573dc2a871b26a08316983056f0ab0bb09738b0e84c66b90a57788703",
        ),
    ],
)
def test_defaults_are_what_they_were(options, digest):
    """Images and poses as they came before there were neighbours, by their sha256."""
    if not np.allclose(Rotation.random(1, random_state=0).as_matrix()[0, 0], FIRST_TURN):
        pytest.skip("this SciPy draws other rotations than those of the digests")
    made = simulation(40, **options)
    truth = draw_truth(made)
    found = hashlib.sha256()
    for image in simulate_images(made, truth):
        found.update(image.tobytes())
    for array in (
        truth.particles.rotations,
        truth.particles.shifts_px,
        truth.state.astype(np.int64),
    ):
        found.update(array.tobytes())
    assert found.hexdigest() == digest


@pytest.mark.parametrize("coverage", [0.02, 0.3, 0.5])
def test_no_particle_enters_the_disc_of_another(coverage):
    offsets = np.random.default_rng(0).normal(size=(PER_PLANE, 2))
    for seed in range(20):
        places, side = place_particles(offsets, 20.0, coverage, np.random.default_rng(seed))
        centres = (places + offsets) % side
        assert len(cKDTree(centres, boxsize=side).query_pairs(20.0)) == 0
        assert PER_PLANE * np.pi * 100 / side**2 == pytest.approx(coverage, rel=0.04)


def points_alone(truth, **ctf):
    """The same truth with particles that are points, seen through the CTF that is given."""
    point = Phantom(np.zeros((1, 3)), np.array([1e3]), SAMPLING)
    n = len(truth.state)
    given = dataclasses.replace(
        truth.particles.ctf, **{name: np.full(n, value) for name, value in ctf.items()}
    )
    return dataclasses.replace(
        truth, phantoms=(point,), particles=dataclasses.replace(truth.particles, ctf=given)
    )


def test_neighbours_in_the_images_keep_their_distance():
    truth = points_alone(
        draw_truth(simulation(200)),
        amplitude_contrast=1.0,
        defocus_u=0.0,
        defocus_v=0.0,
        spherical_aberration=0.0,
    )  # the CTF is 1
    neighbours = 0.0
    for i, image in enumerate(crowded_views(truth, 0.4, 0)):
        distance = np.hypot(AXIS + truth.shifts_px[i, 0], AXIS[:, None] + truth.shifts_px[i, 1])
        own, other = distance < 4, distance > CORE * BOX - 4
        assert image[own].sum() == pytest.approx(1e3 / SAMPLING**3, rel=0.01)
        assert np.abs(image[~own & ~other]).max() < 0.01 * image.max()
        neighbours += image[other].sum() * SAMPLING**3 / 1e3
    # An even plane would have this many centres in the corners that the disc leaves.
    corners = (RADIUS > CORE * BOX).mean() * 0.4 / (np.pi * CORE**2 / 4)
    assert neighbours / 200 == pytest.approx(corners, rel=0.7)
    assert neighbours > 5


def test_what_lies_beyond_the_box_shows_through_the_ctf():
    """The CTF of the whole periodic plane, cut afterwards, gives the same images."""
    truth = draw_truth(simulation(PER_PLANE, sampling=4.0, populations=(1, 1)))
    places, plane = _draw_plane(truth, np.arange(PER_PLANE), 0.4, np.random.default_rng([7, 4, 0]))
    side, beyond = len(plane), []
    assert plane.sum() == pytest.approx(
        sum(truth.phantoms[k].amplitudes.sum() for k in truth.state) / 4.0**3, rel=1e-3
    )
    for i, image in enumerate(crowded_views(truth, 0.4, 7)):
        ctf = contrast_transfer(truth.particles.ctf, i, side, 4.0)
        x, y = places[i]
        cut = np.ix_((y + AXIS) % side, (x + AXIS) % side)
        whole = np.fft.ifft2(np.fft.fft2(plane) * ctf).real[cut]
        assert np.abs(image - whole).max() < 0.04 * np.abs(whole).max()
        box_ctf = contrast_transfer(truth.particles.ctf, i, BOX, 4.0)
        cut_first = np.fft.ifft2(np.fft.fft2(plane[cut]) * box_ctf).real
        beyond.append(np.abs(cut_first - whole).max() / np.abs(whole).max())
    assert np.mean(beyond) > 0.2


def mean_profile(made):
    """Radial profile of the mean projection, CTF corrected by plain numpy."""
    truth = draw_truth(made)
    f = np.fft.fftfreq(BOX)
    above, below = np.zeros((BOX, BOX), complex), np.full((BOX, BOX), 0.02 * made.particles)
    for i, image in enumerate(simulate_images(made, truth)):
        ctf = contrast_transfer(truth.particles.ctf, i, BOX, made.sampling)
        x, y = truth.shifts_px[i]
        above += ctf * np.exp(-2j * np.pi * (f[:, None] * y + f * x)) * transform(image)
        below += ctf**2
    mean = np.fft.fftshift(np.fft.ifft2(above / below).real).ravel()
    shell = np.round(RADIUS).astype(int).ravel()
    return np.bincount(shell, mean) / np.bincount(shell)


def test_neighbours_and_normalisation_make_a_halo():
    common = {"sampling": 8.0, "snr": 0.5, "normalised": True}
    alone = mean_profile(simulation(300, **common))
    crowded = mean_profile(simulation(300, crowding=0.4, **common))
    near = slice(round(0.3 * BOX), round(0.42 * BOX))
    assert crowded[:6].mean() > 1.5
    assert crowded[near].max() < -0.1
    assert (crowded - alone)[near].max() < -0.05  # the CTF alone leaves a shallower one
    assert crowded[near].mean() < crowded[15:17].mean() - 0.2


@pytest.mark.parametrize("options", [{"normalised": True}, {**EVERYTHING, "junk": 0.2}])
def test_normalised_images(options):
    images = images_of(simulation(60, snr=1.0, **options))
    outside = images[:, RADIUS > 0.75 * BOX / 2]
    assert np.abs(outside.mean(axis=1)).max() < 1e-5
    assert outside.std(axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_background_is_smooth_and_as_strong_as_asked():
    background = images_of(simulation(600, background=0.3)) - images_of(simulation(600))
    assert np.sqrt((background**2).mean()) == pytest.approx(0.3, rel=0.06)
    assert np.abs(background.mean(axis=0)).max() < 0.1
    values = np.linalg.eigvalsh(np.cov(background.reshape(600, -1).T))
    assert values[-6:].sum() > 0.999 * values.sum()
    steps = np.diff(background, axis=2)
    assert np.sqrt((steps**2).mean()) < 0.2 * 0.3


def band_misfit(truth, images, rotations, shifts, highest):
    """Sum of squares, in units of the noise, that projections leave in the images' band."""
    k = np.fft.fftfreq(BOX, 1 / BOX)
    radius = np.hypot(k, k[:, None])
    band = (radius <= highest) & (radius > 0)
    misfit = []
    for i, image in enumerate(images):
        clean = truth.phantoms[0].projection(rotations[i], shifts[i], BOX, SAMPLING)
        ctf = contrast_transfer(truth.particles.ctf, i, BOX, SAMPLING) * truth.contrast[i]
        left = transform(image) - ctf * transform(clean)
        misfit.append((np.abs(left[band]) ** 2).sum() / BOX**2)
    return np.array(misfit)


def test_refined_poses_fit_the_noise():
    """They fit better than the true ones, by one unit of noise for each of five parameters."""
    made = simulation(300, refined=True, snr=0.3, contrast_sd=0.1)
    truth = draw_truth(made)
    images = images_of(made)
    highest = int(BOX * SAMPLING / 20)
    gained = band_misfit(truth, images, truth.rotations, truth.shifts_px, highest) - band_misfit(
        truth, images, truth.particles.rotations, truth.particles.shifts_px, highest
    )
    assert (gained > 0).mean() > 0.98
    assert gained.mean() == pytest.approx(5, rel=0.15)
    turn = Rotation.from_matrix(truth.particles.rotations @ truth.rotations.transpose(0, 2, 1))
    assert (np.degrees(turn.magnitude()) > 0.02).all()
    exact = draw_truth(dataclasses.replace(made, refined=False))
    assert np.array_equal(truth.rotations, exact.rotations)
    assert np.array_equal(truth.state, exact.state)


def test_better_images_have_better_refined_poses_and_errors_come_on_top():
    def spread(**options):
        truth = draw_truth(simulation(150, refined=True, **options))
        turn = Rotation.from_matrix(truth.particles.rotations @ truth.rotations.transpose(0, 2, 1))
        return np.degrees(turn.magnitude()).mean(), np.abs(
            truth.particles.shifts_px - truth.shifts_px
        ).mean()

    poor, good = spread(snr=0.25), spread(snr=4.0)
    assert poor == pytest.approx(4 * np.array(good), rel=0.25)
    mean_length = 5 * np.sqrt(8 / np.pi)  # of three normal deviates of 5 degrees
    assert spread(snr=4.0, pose_error=(5, 0))[0] == pytest.approx(mean_length, rel=0.12)


def test_junk_keeps_its_recorded_pose():
    made = simulation(60, junk=0.3, seed=2)
    plain, refined = draw_truth(made), draw_truth(dataclasses.replace(made, refined=True))
    same = np.isclose(plain.particles.rotations, refined.particles.rotations, atol=1e-6).all(
        axis=(1, 2)
    )
    assert np.array_equal(same, plain.state == -1)


def test_written_truth_is_on_the_greyscale_of_normalised_images(tmp_path):
    made = Simulation(
        particles=120,
        box_px=BOX,
        sampling=SAMPLING,
        populations=(1,),
        snr=2.0,
        contrast_sd=0.3,
        seed=4,
        crowding=0.4,
        background=0.3,
        normalised=True,
    )
    assert (
        main(
            [
                "simulate",
                str(tmp_path),
                "--particles",
                "120",
                "--box",
                str(BOX),
                "--sampling",
                str(SAMPLING),
                "--populations",
                "1",
                "--snr",
                "2",
                "--contrast-sd",
                "0.3",
                "--seed",
                "4",
                "--crowding",
                "0.4",
                "--background",
                "0.3",
                "--normalised",
            ]
        )
        == 0
    )
    images = mrcfile.read(str(tmp_path / "particles.mrcs"))
    assert np.array_equal(images, images_of(made).astype(np.float32))
    truth = draw_truth(made)
    written = mrcfile.read(str(tmp_path / "truth" / "class00.mrc"))
    grey = written.max() / truth.phantoms[0].volume(BOX, SAMPLING).max()
    with open(str(tmp_path / "truth" / "poses.csv")) as handle:
        contrast = np.array([float(row["contrast"]) for row in csv.DictReader(handle)])
    inside = RADIUS < 0.3 * BOX
    strength = np.empty(120)
    for i, image in enumerate(images):
        clean = truth.phantoms[0].projection(truth.rotations[i], truth.shifts_px[i], BOX, SAMPLING)
        ctf = contrast_transfer(truth.particles.ctf, i, BOX, SAMPLING)
        model = np.fft.fftshift(np.fft.ifft2(ctf * transform(clean)).real) * grey
        design = np.stack([model[inside], np.ones(inside.sum())], axis=1)
        strength[i] = np.linalg.lstsq(design, image[inside].astype(float), rcond=None)[0][0]
    assert grey < 0.97
    assert np.polyfit(contrast, strength, 1)[0] == pytest.approx(1, abs=0.1)
    assert (strength / contrast).mean() == pytest.approx(1, abs=0.05)


def test_all_at_once_is_repeatable():
    made = simulation(30, junk=0.1, coloured=True, **EVERYTHING)
    assert np.array_equal(images_of(made), images_of(made))
    assert not np.array_equal(images_of(made), images_of(dataclasses.replace(made, seed=9)))
