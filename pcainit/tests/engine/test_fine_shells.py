"""Coarse to fine: samples of a coarser circle, supports of components, and their fine shells."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from pcainit.engine.components.fine_shells import find_supports, refine_components
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.resample import mask_to_grid, to_grid
from pcainit.engine.images.particles import within_resolution
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.engine.model.statistics import Measurements, held_out_gain
from pcainit.engine.projection.slices import extract_slices
from pcainit.settings import Settings
from pcainit.tests.particle_examples import ball, blobs, model_background

FINE, COARSE = Grid(32, 6.0, 13.0), Grid(32, 6.0, 24.0)
SPREAD = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3)


def unit(volume):
    return (volume / np.sqrt((volume.astype(float) ** 2).sum())).astype(np.float32)


def test_samples_of_a_coarser_circle_are_those_of_its_own_grid():
    background, _ = model_background(50, grid=FINE)
    slices = within_resolution(background.slices, COARSE.resolution)
    assert np.array_equal(slices.grid.frequencies, COARSE.frequencies)
    numbers = {tuple(k): j for j, k in enumerate(FINE.frequencies)}
    for j, k in enumerate(COARSE.frequencies):
        same = numbers[tuple(k)]
        assert np.array_equal(slices.values[:, j], background.slices.values[:, same])
        assert np.array_equal(slices.ctf[:, j], background.slices.ctf[:, same])
    assert within_resolution(slices, COARSE.resolution) is slices


def test_a_volume_goes_to_a_finer_grid_and_back():
    volume = COARSE.band_limit(blobs(COARSE, np.array([[3.0, -2.0, 1.0]])))
    there = to_grid(volume[None], COARSE, FINE)
    back = to_grid(there, FINE, COARSE)[0]
    assert there.shape[1:] == (FINE.box,) * 3
    assert np.abs(back - volume).max() < 0.02 * np.abs(volume).max()
    mask = mask_to_grid(ball(COARSE, 5.0), COARSE, FINE)
    assert mask.min() == 0 and mask.max() == 1
    size = [m.sum() * g.voxel**3 for m, g in ((mask, FINE), (ball(COARSE, 5.0), COARSE))]
    assert size[0] == pytest.approx(size[1], rel=0.1)


def test_supports_are_where_half_sets_agree():
    rng, grid = np.random.default_rng(3), FINE
    change = np.roll(radial_distance(grid.box) < 3, (4, -3, 2), (0, 1, 2)).astype(np.float32)
    mask = (radial_distance(grid.box) < 11).astype(np.float32)
    noise = ndimage.gaussian_filter(rng.normal(size=(2,) + mask.shape), (0, 1, 1, 1)) * mask
    one, two = (unit(change + 1.5 * n.astype(np.float32)) for n in noise)
    (support,) = find_supports(one[None], -two[None], mask, grid)  # the sign is arbitrary
    assert support[change > 0].min() > 0.5
    assert support.sum() < 0.5 * mask.sum() and support.min() >= 0 and support.max() <= 1
    assert (support <= mask).all()
    apart = find_supports(noise[:1], np.zeros_like(noise[:1]), mask, grid)
    assert np.array_equal(apart[0], mask)  # nowhere: the mask itself


def test_fine_shells_come_from_the_particles():
    """What varies is sharper than the start can show; after two rounds it is known to be."""
    background, _ = model_background(4000, grid=FINE, noise=1.0)
    mask = ball(FINE, 12.0)
    truth = unit(blobs(FINE, np.array([[4.0, -2.0, 1.0]])) - blobs(FINE, np.array([[2.0, 0, 3.0]])))
    slices, rng = background.slices, np.random.default_rng(7)
    seen = extract_slices(FINE.to_fourier(truth[None]), slices.rotations, FINE)[..., 0]
    latent = 60 * rng.normal(size=len(slices))
    values = slices.values + (latent[:, None] * seen * slices.ctf).astype(np.complex64)
    background = dataclasses.replace(background, slices=dataclasses.replace(slices, values=values))
    start = to_grid(to_grid(truth[None], FINE, COARSE), COARSE, FINE)
    halves = tuple(np.flatnonzero(slices.half == h) for h in (1, 2))
    fine = refine_components(
        background, mask[None], unit(start), (30 * start, 30 * start), halves, SPREAD
    )
    before, after = ((unit(v) * truth).sum() for v in (start[0], fine.joint.components[0]))
    assert after > 0.985 > 0.98 > before
    assert all((m.components[0] * truth).sum() > 0.9 for m in fine.pair)
    assert np.sqrt(fine.joint.variances[0]) == pytest.approx(60, rel=0.15)
    assert fine.agreement.shape == (1, FINE.n_shells) and fine.agreement[0, 1:9].min() > 0.9


def test_held_out_gain_is_the_log_of_the_marginal_likelihoods():
    rng, variance = np.random.default_rng(2), 4.0
    design = rng.normal(size=(20, 6))  # of each particle, 6 pixels of unit noise
    images = design * rng.normal(0, 2, (20, 1)) + rng.normal(size=(20, 6))
    expected = 0.0
    for a, y in zip(design, images):
        cov = np.eye(6) + variance * np.outer(a, a)
        expected += (y @ y - y @ np.linalg.solve(cov, y) - np.linalg.slogdet(cov)[1]) / 2
    measured = Measurements.at_contrast_one(
        (design**2).sum(axis=1)[:, None, None].astype(np.float32),
        (design * images).sum(axis=1)[:, None].astype(np.float32),
    )
    assert held_out_gain(measured, np.array([variance])) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "settings, box, sampling, expected",
    [
        (dict(), 256, 1.25, 11.0),  # about half
        (dict(), 64, 7.0, 15.4),  # what the sampling rate allows
        (dict(), 64, 9.0, 20.0),  # too little to gain
        (dict(analysis_resolution="20"), 256, 1.25, 20.0),
        (dict(analysis_resolution="13"), 256, 1.25, 13.0),
        (dict(method="batches", classes="4"), 256, 1.25, 20.0),
    ],
)
def test_resolution_of_the_analysis(settings, box, sampling, expected):
    assert Settings(**settings).finest(box, sampling) == pytest.approx(expected)
