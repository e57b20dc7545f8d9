"""Contrast, pose errors and junk: recovered from statistics and from simulated images."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.model.image_model import NuisanceSpread, make_background
from pcainit.engine.model.nuisance_prior import find_junk, learn_spread, measure_quality
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.simulation.simulate import Simulation
from pcainit.tests.particle_examples import simulated_slices


def statistics(truth, error):
    """Statistics of particles that vary by `truth` and are seen to within `error`."""
    rng = np.random.default_rng(1)
    sd, seen, n = 1 / np.sqrt(truth.precision), 1 / np.sqrt(error.precision), 2500
    root = rng.normal(size=(n, NUISANCES, NUISANCES)) / np.sqrt(6) + np.eye(NUISANCES)
    root = root / seen[:, None] * rng.uniform(0.5, 2, (n, 1, 1))
    gram = root @ root.transpose(0, 2, 1)
    value = rng.normal(size=(n, NUISANCES)) * sd
    score = np.einsum("nab,nb->na", gram, value) + np.einsum(
        "nab,nb->na", root, rng.normal(size=(n, NUISANCES))
    )
    return gram.astype(np.float32), score.astype(np.float32)


@pytest.mark.parametrize(
    "spread", [(0.15, 0.7, 0.026, 0.05), (0.05, 0.2, 0.04, 0.2), (0.3, 1.5, 0.01, 0.1)]
)
def test_spread_from_statistics(spread):
    truth = NuisanceSpread(*spread)
    found = learn_spread(*statistics(truth, truth), NuisanceSpread(), rounds=40)
    assert dataclasses.astuple(found) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize(
    "spread",
    [
        (0.15, 5.0, 0.2, 0.05),
        (0.15, 5.0, 0.02, 0.05),
        (0.15, 12.0, 0.02, 0.05),
        (1.5, 0.5, 0.02, 0.5),
    ],
)
@pytest.mark.parametrize("rounds", [9, 10, 11, 12, 30])
def test_spread_far_from_the_start_is_found_in_few_rounds(spread, rounds):
    """Leaps must neither overshoot nor swing to and fro."""
    known = statistics(NuisanceSpread(*spread), NuisanceSpread())
    found = learn_spread(*known, NuisanceSpread(), rounds=rounds)
    assert dataclasses.astuple(found) == pytest.approx(spread, rel=0.1)


def contrasts(n, share, precision, seed=0, sd=0.15):
    """Fitted contrasts of particles and of junk, which is about 0, and which are junk."""
    rng = np.random.default_rng([seed, 5])
    junk = np.arange(n) < share * n
    value = np.where(junk, rng.normal(0, 0.1, n), rng.normal(1, sd, n))
    precision = precision * rng.uniform(0.5, 1.5, n)
    return value + rng.normal(size=n) / np.sqrt(precision), precision, junk


@pytest.mark.parametrize("share", [0.01, 0.03, 0.2])
def test_junk_among_particles_that_are_seen_well(share):
    value, precision, junk = contrasts(5000, share, 150.0)
    found = find_junk(value, precision)
    assert (found & junk).sum() > 0.95 * junk.sum()
    assert (found & ~junk).sum() < 0.003 * (~junk).sum()


def test_junk_among_particles_that_are_seen_badly():
    """With contrasts known to 0.25, some are mistaken; both errors stay small."""
    value, precision, junk = contrasts(8000, 0.05, 16.0)
    found = find_junk(value, precision)
    assert (found & junk).sum() > 0.8 * junk.sum()
    assert (found & ~junk).sum() < 0.02 * (~junk).sum()


@pytest.mark.parametrize("precision", [4.0, 30.0, 400.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_junk(precision, seed):
    value, precision, _ = contrasts(4000, 0.0, precision, seed)
    assert find_junk(value, precision).mean() < 0.005


def test_particles_without_information_are_no_junk():
    value, precision, _ = contrasts(500, 0.0, 100.0)
    value[:20], precision[:20] = 1.0, 0.0
    found = find_junk(value, precision)
    assert not found[:20].any() and found.dtype == bool


@pytest.fixture(
    scope="module",
    params=[(0.15, (1.5, 0.7), 0.04), (0.0, (0.0, 0.0), 0.0)],
    ids=["spread", "exact"],
)
def measured(request):
    """Truth and measured quality of a homogeneous simulated set."""
    contrast, pose, junk = request.param
    simulation = Simulation(
        particles=1500,
        box_px=64,
        sampling=4.0,
        populations=(1.0,),
        snr=0.1,
        contrast_sd=contrast,
        pose_error=pose,
        junk=junk,
        coloured=True,
        seed=3,
    )
    truth, slices, consensus = simulated_slices(simulation, 20.0)
    better, quality = clean_consensus(slices, consensus, np.eye(3)[None], 0)
    return simulation, truth, quality, (consensus, better, slices.grid)


def test_nuisances_of_simulated_particles(measured):
    simulation, truth, quality, _ = measured
    turn = Rotation.from_matrix(truth.particles.rotations @ truth.rotations.transpose(0, 2, 1))
    error = (truth.particles.shifts_px - truth.shifts_px).std(), turn.as_rotvec().std()
    contrast, shift, rotation, _ = dataclasses.astuple(quality.spread)
    if simulation.junk:
        assert shift == pytest.approx(error[0], rel=0.2)
        assert rotation == pytest.approx(error[1], rel=0.2)
        assert contrast == pytest.approx(truth.contrast[truth.state >= 0].std(), rel=0.2)
    else:
        assert contrast < 0.03 and shift < 0.1 and np.degrees(rotation) < 0.4


def test_contrast_of_simulated_particles(measured):
    simulation, truth, quality, _ = measured
    good = truth.state >= 0
    assert np.isfinite(quality.contrast).all()
    assert quality.contrast[good].mean() == pytest.approx(1, abs=0.15)
    if simulation.junk:
        assert np.corrcoef(quality.contrast[good], truth.contrast[good])[0, 1] > 0.6


def test_junk_of_simulated_particles(measured):
    _, truth, quality, _ = measured
    junk = truth.state < 0
    assert (quality.junk & junk).sum() >= 0.85 * junk.sum()
    assert (quality.junk & ~junk).sum() <= 0.02 * (~junk).sum()
    assert np.array_equal(quality.keep, ~quality.junk)


def test_the_consensus_becomes_better(measured):
    simulation, truth, _, (before, after, grid) = measured
    true = grid.from_particle_box(truth.phantoms[0].volume(simulation.box_px, simulation.sampling))
    gap = [float(((c.mean - true) ** 2).sum() / (true**2).sum()) for c in (before, after)]
    assert gap[1] < 1.05 * gap[0] < 0.1


def test_only_particles_asked_for_are_looked_at():
    truth, slices, consensus = simulated_slices(
        Simulation(particles=120, box_px=32, sampling=6.0, junk=0.3, snr=0.5, seed=1), 24.0
    )
    background = make_background(slices, consensus, auto_mask(consensus.mean, slices.grid))
    index = np.flatnonzero(truth.state >= 0)
    quality = measure_quality(background, index)
    assert not quality.junk[truth.state < 0].any()
    assert (quality.contrast[truth.state < 0] == 1).all()
    assert (quality.precision[truth.state < 0] == 0).all()
