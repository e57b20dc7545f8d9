"""Two states that lie near each other, and an even spread that has the same variance."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.classes.mixture import fit_mixture
from pcainit.engine.classes.number import _held_out, _two_states, choose_classes
from pcainit.engine.model.statistics import Measurements

COUNT, GAP = 8000, 1.7


def seen(points, seed):
    """Measurements of particles at points (n, q), each of a precision of its own about 1."""
    rng = np.random.default_rng([seed, 90])
    n, q = points.shape
    precision = rng.uniform(0.7, 1.3, n)
    score = precision[:, None] * points + np.sqrt(precision)[:, None] * rng.normal(size=(n, q))
    return Measurements.at_contrast_one(
        (precision[:, None, None] * np.eye(q)).astype(np.float32), score.astype(np.float32)
    )


def states(share, q, gap, seed):
    """Points of two states about their mean, along the first axis."""
    has = np.random.default_rng([seed, 91]).uniform(size=COUNT) < share
    points = np.zeros((COUNT, q))
    points[:, 0] = gap * (has - share)
    return points


def spread(share, q, gap, seed):
    """Points of one Gaussian of the same variance along the first axis."""
    points = np.zeros((COUNT, q))
    points[:, 0] = (
        gap * np.sqrt(share * (1 - share)) * np.random.default_rng([seed, 92]).normal(size=COUNT)
    )
    return points


def judged(particles):
    half = np.arange(COUNT) % 2 + 1
    fits = [fit_mixture(particles, 1, 0)]
    fits.append(fit_mixture(particles, 2, 0, start=fits[0]))
    held = [_held_out(particles, half, fit)[0] for fit in fits]
    return (_two_states(fits, held, particles.marginal()), choose_classes(particles, half, 2, 0)[2])


@pytest.mark.parametrize("share, q", [(0.5, 1), (0.4, 2), (0.3, 1)])
def test_near_states_are_two(share, q):
    for seed in range(2):
        assert judged(seen(states(share, q, GAP, seed), seed)) == (True, 2)


@pytest.mark.parametrize("share, q", [(0.5, 1), (0.4, 2), (0.4, 3)])
def test_an_even_spread_is_one(share, q):
    for seed in range(2):
        assert judged(seen(spread(share, q, GAP, seed), seed)) == (False, 1)


def test_states_that_are_too_near_are_one():
    assert judged(seen(states(0.5, 1, 0.6, 0), 0)) == (False, 1)


CORNERS = np.array([[0.0, 0.0], [1.6, 0.0], [0.0, 1.6], [1.6, 1.6], [3.2, 0.8]])


@pytest.mark.parametrize("seed", [0, 1])
def test_several_states_that_single_particles_cannot_tell_apart(seed):
    """All are nearer to another than two standard deviations of a particle's noise."""
    label = np.random.default_rng([seed, 93]).choice(5, 4 * COUNT, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    particles = seen(CORNERS[label] - CORNERS[label].mean(axis=0), seed)
    half = np.arange(4 * COUNT) % 2 + 1
    fits, _, best = choose_classes(particles, half, 8, seed)
    assert best == 5
    found = fits[4].centres + CORNERS[label].mean(axis=0)
    nearest = np.linalg.norm(found[:, None] - CORNERS, axis=2)
    assert nearest.min(axis=0).max() < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cloud_with_the_same_covariance_is_no_states(seed):
    rng = np.random.default_rng([seed, 94])
    label = rng.choice(5, 4 * COUNT, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    points = rng.multivariate_normal([0, 0], np.cov(CORNERS[label].T), 4 * COUNT)
    half = np.arange(4 * COUNT) % 2 + 1
    assert choose_classes(seen(points, seed), half, 8, seed)[2] == 1
