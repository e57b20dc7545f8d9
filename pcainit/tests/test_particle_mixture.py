"""The mixture on each particle's own statistics: brute force, known classes, their number."""
# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcainit.engine.mixture import (
    Mixture,
    centre_distances,
    choose_classes,
    fit_mixture,
    refine_mixture,
    responsibilities,
    weighted_centres,
)
from pcainit.engine.slicing import set_threads
from pcainit.tests.particle_examples import latent_statistics

QUICK = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2 ** 31 - 1)
CENTRES = np.array([[1.2, 0.0], [-1.0, 0.9], [-0.6, -1.4]])
WEIGHTS = np.array([0.62, 0.35, 0.03])


def draw_labels(n, weights, seed=0):
    counts = np.floor(np.cumsum(weights) / np.sum(weights) * n + 0.5)
    order = np.random.default_rng([seed, 79]).permutation(n)
    return np.searchsorted(counts, order, side="right")


def halves(n):
    return np.arange(n) % 2 + 1


@pytest.fixture(scope="module")
def three():
    """Statistics of three classes, the last of 3 %, and the classes themselves."""
    label = draw_labels(6000, WEIGHTS)
    return latent_statistics(CENTRES, label, strength=7.0) + (label,)


def test_brute_force():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 50)
    precision, score = latent_statistics(CENTRES, label, strength=3.0)
    resp, total = responsibilities(precision, score, WEIGHTS, CENTRES)
    logs = np.array([[np.log(w) + c @ b - 0.5 * c @ g @ c for w, c in zip(WEIGHTS, CENTRES)]
                     for g, b in zip(precision.astype(float), score.astype(float))])
    top = logs.max(axis=1, keepdims=True)
    expected = np.exp(logs - top) / np.exp(logs - top).sum(axis=1, keepdims=True)
    assert resp == pytest.approx(expected, abs=1e-5)
    assert total == pytest.approx((top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))).sum())
    centres = weighted_centres(precision, score, resp)
    for k in range(3):
        g = np.einsum("n,nab->ab", expected[:, k], precision.astype(float))
        assert centres[k] == pytest.approx(np.linalg.solve(g, expected[:, k] @ score), rel=0.01)


@QUICK
@given(seeds, st.integers(2, 5), st.integers(1, 3))
def test_refining_never_lowers_the_likelihood(seed, k, q):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, q))
    precision, score = latent_statistics(centres, rng.integers(0, k, 150), seed=seed % 1000)
    weights, centres = rng.dirichlet(np.ones(k)), rng.normal(size=(k, q))
    last = responsibilities(precision, score, weights, centres)[1]
    for _ in range(4):
        mixture = refine_mixture(precision, score, weights, centres, rounds=3, tolerance=0.0)
        weights, centres = mixture.weights, mixture.centres
        found = responsibilities(precision, score, weights, centres)[1]
        assert found > last - 0.02 - 1e-4 * abs(last)   # the ridge allows for a little
        last = found
    assert (np.diff(weights) <= 0).all() and weights.sum() == pytest.approx(1)


def test_known_classes_are_recovered(three):
    precision, score, label = three
    mixture = fit_mixture(precision, score, 3, 0)
    assert mixture.weights == pytest.approx(WEIGHTS, abs=0.01)
    assert mixture.centres == pytest.approx(CENTRES, abs=0.1)
    resp, total = responsibilities(precision, score, mixture.weights, mixture.centres)
    assert total == pytest.approx(mixture.log_likelihood, abs=0.1)
    assert (resp.argmax(axis=1) == label).mean() > 0.97
    assert ((resp.argmax(axis=1) == 2) & (label == 2)).sum() > 0.75 * (label == 2).sum()
    assert mixture.bic == pytest.approx(8 * np.log(len(label)) - 2 * total, abs=0.2)


def test_order_of_particles_and_threads_do_not_matter(three):
    precision, score, _ = three
    order = np.random.default_rng(1).permutation(len(score))
    start = np.full(3, 1 / 3), CENTRES * 0.5
    one = refine_mixture(precision, score, *start)
    two = refine_mixture(precision[order], score[order], *start)
    assert two.centres == pytest.approx(one.centres, abs=1e-3)
    assert two.weights == pytest.approx(one.weights, abs=1e-4)
    turned = refine_mixture(precision, score, start[0], start[1][[2, 0, 1]])
    assert turned.centres == pytest.approx(one.centres, abs=1e-3)
    try:
        set_threads(1)
        single = fit_mixture(precision[:1000], score[:1000], 3, 4)
    finally:
        set_threads(2)
    double = fit_mixture(precision[:1000], score[:1000], 3, 4)
    assert np.array_equal(single.centres, double.centres)
    assert np.array_equal(single.weights, double.weights)


@pytest.mark.parametrize("seed", range(3))
def test_the_number_of_classes(seed):
    label = draw_labels(1500, WEIGHTS, seed)
    precision, score = latent_statistics(CENTRES * 1.3, label, seed=seed, strength=7.0)
    fits, held, best = choose_classes(precision, score, halves(1500), 5, seed)
    assert best == 3
    assert len(fits) == len(held) >= 3 and held[2] > held[1] > held[0]
    assert all(len(fit.weights) == k + 1 for k, fit in enumerate(fits))
    likelihood = [fit.log_likelihood for fit in fits]
    assert (np.diff(likelihood) > -0.5).all()           # more classes never explain less


@pytest.mark.parametrize("seed", range(4))
def test_one_class_where_there_is_one(seed):
    precision, score = latent_statistics(np.zeros((1, 2)), np.zeros(800, int), seed=seed)
    assert choose_classes(precision, score, halves(800), 3, seed)[2] == 1


def test_no_more_classes_than_asked_for(three):
    precision, score, _ = three
    fits, held, best = choose_classes(precision[:2000], score[:2000], halves(2000), 2, 0)
    assert (len(fits), len(held), best) == (2, 2, 2)


@QUICK
@given(seeds, st.integers(1, 4))
def test_distances(seed, q):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, q))
    precision, _ = latent_statistics(centres, rng.integers(0, 4, 30), seed=seed % 1000)
    distance = centre_distances(centres, precision)
    assert distance == pytest.approx(distance.T) and not np.diag(distance).any()
    mean = precision.mean(axis=0, dtype=float)
    gap = centres[0] - centres[1]
    assert distance[0, 1] == pytest.approx(np.sqrt(gap @ mean @ gap))
    assert (distance[0, 1] <= distance[0, 2] + distance[2, 1] + 1e-9).all()


def test_an_empty_class_and_a_blind_particle():
    """A class without particles stays finite; particles that know nothing follow the weights."""
    precision, score = latent_statistics(CENTRES[:1], np.zeros(200, int))
    precision[:5], score[:5] = 0, 0
    mixture = refine_mixture(precision, score, np.array([0.5, 0.5]),
                             np.array([CENTRES[0], CENTRES[0] + 50]))
    assert np.isfinite(mixture.centres).all() and isinstance(mixture, Mixture)
    resp, total = responsibilities(precision, score, mixture.weights, mixture.centres)
    assert np.isfinite(total)
    assert resp[:5] == pytest.approx(np.tile(mixture.weights, (5, 1)), abs=1e-5)
