"""Images seen through a soft circle: noise, its measurement, and what stays of the particle."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from pcainit.engine.consensus.windowing import (
    _to_images,
    _to_slices,
    choose_window,
    make_window,
    window_slices,
)
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.projection.reconstruction import Consensus, measure_noise
from pcainit.tests.particle_examples import ball, model_background

GRID = Grid(40, 4.0, 12.0)
RADIUS = 9.0
AXIS = np.arange(GRID.box) - GRID.box // 2
DISTANCE = np.hypot(AXIS, AXIS[:, None])
INSIDE_BAND = (np.abs(GRID.frequencies) < GRID.box // 2).all(axis=1)


def white_samples(count, rng, variance=1.0):
    """Fourier samples of white noise on the working box's band, (count, p) complex64."""
    shape = count, len(GRID.frequencies)
    values = np.sqrt(variance / 2) * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    values[:, 0] = np.sqrt(2) * values[:, 0].real
    return values.astype(np.complex64)


def plain_image(values):
    """The image of Fourier samples by a plain sum, (box, box)."""
    kx, ky = GRID.frequencies.T
    phase = np.exp(2j * np.pi / GRID.box * (AXIS[:, None, None] * ky + AXIS[:, None] * kx))
    return (phase * values * GRID.multiplicity).real.sum(axis=-1) / GRID.box


def test_images_of_samples_by_a_plain_sum():
    values = white_samples(2, np.random.default_rng(0))
    values[:, ~INSIDE_BAND] = 0
    images = _to_images(values, GRID)
    for image, some in zip(images, values):
        assert np.abs(image - plain_image(some)).max() < 1e-4
    assert np.abs(_to_slices(images, GRID) - values).max() < 1e-5


def test_white_noise_keeps_its_variance():
    """Of the pixels of white images, the samples have the variance; and back, of those kept."""
    rng = np.random.default_rng(1)
    images = np.sqrt(3.0) * rng.standard_normal((400, GRID.box, GRID.box)).astype(np.float32)
    samples = _to_slices(images, GRID)[:, INSIDE_BAND]
    assert (np.abs(samples) ** 2).mean() == pytest.approx(3, rel=0.01)
    back = _to_images(white_samples(400, rng, 3.0), GRID)
    kept = GRID.multiplicity[INSIDE_BAND].sum() / GRID.box**2
    assert back.var() == pytest.approx(3 * kept, rel=0.01)


@pytest.fixture(scope="module")
def exact():
    """Particles that follow the model, white noise of variance 1.5 all over the image."""
    background, _ = model_background(1500, grid=GRID, noise=1.5)
    consensus = Consensus(
        background.mean, background.noise, background.signal, np.ones(GRID.n_shells)
    )
    return background.slices, consensus


def beside(slices, variance, seed=2):
    """The same with more white noise in real space, outside the circle of the particle."""
    rng = np.random.default_rng(seed)
    shape = len(slices), GRID.box, GRID.box
    noise = np.sqrt(variance) * rng.standard_normal(shape) * (DISTANCE > RADIUS + 2)
    values = slices.values + _to_slices(noise.astype(np.float32), GRID)
    return dataclasses.replace(slices, values=values.astype(np.complex64))


def test_a_window_lets_its_share_of_white_noise_through(exact):
    slices, _ = exact
    noise = white_samples(1500, np.random.default_rng(3))
    seen = window_slices(dataclasses.replace(slices, values=noise), RADIUS)
    share = float((make_window(GRID, RADIUS) ** 2).mean())
    assert seen.seen == pytest.approx(share, rel=1e-6)
    assert share == pytest.approx(np.pi * RADIUS**2 / GRID.box**2, rel=0.1)
    inner = INSIDE_BAND & (GRID.shell > 0) & (GRID.shell < GRID.n_shells - 3)
    assert (np.abs(seen.values[:, inner]) ** 2).mean() == pytest.approx(share, rel=0.02)
    assert np.array_equal(seen.values[:, 0], noise[:, 0])  # the images' own means stay
    assert window_slices(slices, 0.0) is slices


def test_only_sets_with_noise_beside_the_particle_are_windowed(exact):
    slices, consensus = exact
    solvent = ball(GRID, RADIUS)
    assert choose_window(slices, consensus, solvent) == 0
    assert choose_window(beside(slices, 0.15), consensus, solvent) == 0
    assert choose_window(beside(slices, 3.0), consensus, solvent) == pytest.approx(RADIUS, abs=1)
    full = np.ones((GRID.box,) * 3, np.float32)  # nothing lies beside it
    assert choose_window(beside(slices, 3.0), consensus, full) == 0


def test_windowed_slices_tell_the_noise_inside(exact):
    slices, consensus = exact
    crowded, everyone = beside(slices, 4.0), np.arange(len(slices))
    whole = measure_noise(crowded, consensus.mean, everyone)
    found = measure_noise(window_slices(crowded, RADIUS), consensus.mean, everyone)
    shells = slice(2, GRID.n_shells - 3)
    assert whole[shells].min() > 3.5
    assert found[shells] == pytest.approx(np.full(GRID.n_shells, 1.5)[shells], rel=0.1)


def test_a_small_particle_stays_as_it_is(exact):
    """Its projections, through a mild CTF, lie well inside the circle."""
    slices, _ = exact
    rng = np.random.default_rng(5)
    points = rng.uniform(-5, 5, (40, 2, 6))
    images = np.array(
        [
            np.exp(-0.5 * ((AXIS[:, None, None] - y) ** 2 + (AXIS[:, None] - x) ** 2) / 1.5**2).sum(
                axis=-1
            )
            for y, x in points
        ]
    )
    images -= 0.3 * ndimage.gaussian_filter(images, (0, 1.5, 1.5))
    values = _to_slices(images.astype(np.float32), GRID)
    some = dataclasses.replace(slices.take(np.arange(40)), values=values)
    seen = window_slices(some, RADIUS + 3).values
    gap = (np.abs(seen - values) ** 2).sum(axis=1) / (np.abs(values) ** 2).sum(axis=1)
    assert gap.max() < 0.003
    far = ndimage.shift(images, (0, 0, 15), order=1)  # a neighbour is left out
    some = dataclasses.replace(some, values=_to_slices(far.astype(np.float32), GRID))
    left = window_slices(some, RADIUS).values[:, 1:]
    assert (np.abs(left) ** 2).sum() < 0.05 * (np.abs(some.values[:, 1:]) ** 2).sum()
