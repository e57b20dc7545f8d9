"""The mixture on each particle's own statistics: brute force, known classes, their number."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcainit.engine.classes import mixture as mixture_module
from pcainit.engine.classes.mixture import (
    Mixture,
    centre_distances,
    fit_mixture,
    refine_mixture,
    responsibilities,
    spread_points,
    weighted_centres,
)
from pcainit.engine.classes.number import choose_classes
from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.model.acceleration import extrapolate, leap_length
from pcainit.engine.model.statistics import Measurements
from pcainit.tests.particle_examples import latent_statistics

QUICK = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**31 - 1)
CENTRES = np.array([[1.2, 0.0], [-1.0, 0.9], [-0.6, -1.4]])
WEIGHTS = np.array([0.62, 0.35, 0.03])


def draw_labels(n, weights, seed=0):
    counts = np.floor(np.cumsum(weights) / np.sum(weights) * n + 0.5)
    order = np.random.default_rng([seed, 79]).permutation(n)
    return np.searchsorted(counts, order, side="right")


def measured(*args, **kwargs):
    """Particles of contrast 1 at given centres."""
    return Measurements.at_contrast_one(*latent_statistics(*args, **kwargs))


def halves(n):
    return np.arange(n) % 2 + 1


@pytest.fixture(scope="module")
def three():
    """Statistics of three classes, the last of 3 %, and the classes themselves."""
    label = draw_labels(6000, WEIGHTS)
    return measured(CENTRES, label, strength=7.0), label


def test_a_leap_ends_where_a_straight_way_leads():
    """Each round halves what is left along one direction: three points tell the end."""
    end, start = np.array([3.0, -1.0]), np.array([1.0, 2.0])
    first, second, third = (end + (start - end) * 0.5**k for k in range(3))
    step, bend = second - first, third - 2 * second + first
    far = leap_length(step, bend, 100.0)
    assert far == pytest.approx(2) and extrapolate(first, step, bend, far) == pytest.approx(end)
    assert leap_length(step, bend, 1.5) == 1.5 and leap_length(step, 0 * bend, 4.0) == 4.0
    assert leap_length(step, 9 * bend, 4.0) == 1
    assert extrapolate(first, step, bend, 1.0) == pytest.approx(third)


def test_fast_maths_meets_no_infinity():
    assert "inf" not in inspect.getsource(mixture_module._expect.py_func)


def test_brute_force():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 50)
    precision, score = latent_statistics(CENTRES, label, strength=3.0)
    particles = Measurements.at_contrast_one(precision, score)
    resp, gains = responsibilities(particles, WEIGHTS, CENTRES)
    logs = np.array(
        [
            [np.log(w) + c @ b - 0.5 * c @ g @ c for w, c in zip(WEIGHTS, CENTRES)]
            for g, b in zip(precision.astype(float), score.astype(float))
        ]
    )
    top = logs.max(axis=1, keepdims=True)
    expected = np.exp(logs - top) / np.exp(logs - top).sum(axis=1, keepdims=True)
    assert resp == pytest.approx(expected, abs=1e-5)
    assert gains == pytest.approx(top[:, 0] + np.log(np.exp(logs - top).sum(axis=1)), abs=1e-4)
    centres = weighted_centres(particles, resp)
    for k in range(3):
        g = np.einsum("n,nab->ab", expected[:, k], precision.astype(float))
        assert centres[k] == pytest.approx(np.linalg.solve(g, expected[:, k] @ score), rel=0.01)


def varied(label, contrast_sd, *, seed=0, strength=7.0):
    """Particles of varied contrast, and the contrasts: the mean's column joins the components.

    The statistics are made from explicit images of 40 values, so that they belong together.
    """
    rng = np.random.default_rng([seed, 80])
    n, q = len(label), CENTRES.shape[1]
    columns = rng.normal(size=(n, 40, q + 1)) * np.sqrt(strength / 40)
    columns[..., q] = 2 * columns[..., q] + columns[..., 0]  # the mean is none of them
    contrast = contrast_sd * rng.normal(size=n)
    point = np.concatenate([(1 + contrast)[:, None] * CENTRES[label], contrast[:, None]], axis=1)
    image = np.einsum("npa,na->np", columns, point) + rng.normal(size=(n, 40))
    gram = np.einsum("npa,npb->nab", columns, columns).astype(np.float32)
    score = np.einsum("npa,np->na", columns, image).astype(np.float32)
    particles = Measurements(
        np.ascontiguousarray(gram[:, :q, :q]),
        np.ascontiguousarray(score[:, :q]),
        np.concatenate([gram[:, q], score[:, q:]], axis=1),
        1 / contrast_sd**2,
    )
    return particles, columns, image


def test_contrast_is_integrated_out_for_each_class():
    """Against a sum over a fine grid of contrasts, and against explicit covariances."""
    label = np.random.default_rng(2).integers(0, 3, 30)
    particles, columns, image = varied(label, 0.3)
    resp, gains = responsibilities(particles, WEIGHTS, CENTRES)
    d = np.linspace(-3, 3, 6001)
    prior = np.exp(-0.5 * d**2 / 0.3**2)

    def evidence(i, centre):
        parts = columns[i, :, :2] @ centre
        gap = image[i] - parts - np.outer(d, columns[i, :, 2] + parts)
        return np.log(prior @ np.exp(-0.5 * (gap**2).sum(axis=1) + 300) / prior.sum())

    for i in range(30):
        logs = np.array([np.log(w) + evidence(i, c) for w, c in zip(WEIGHTS, CENTRES)])
        total = np.logaddexp.reduce(logs)
        assert resp[i] == pytest.approx(np.exp(logs - total), abs=1e-3)
        assert gains[i] == pytest.approx(total - evidence(i, np.zeros(2)), abs=5e-3)


def test_contrast_makes_no_classes():
    """Strong, varied contrast stretches the classes; their number and places stay."""
    label = draw_labels(3000, WEIGHTS)
    particles, _, _ = varied(label, 0.3)
    fits, _, best = choose_classes(particles, halves(3000), 6, 0)
    assert best == 3
    assert fits[2].weights == pytest.approx(WEIGHTS, abs=0.015)
    assert fits[2].centres == pytest.approx(CENTRES, abs=0.2)
    fixed = Measurements.at_contrast_one(*dataclasses.astuple(particles)[:2])
    assert choose_classes(fixed, halves(3000), 6, 0)[2] > 3  # it would have


@QUICK
@given(seeds, st.integers(2, 5), st.integers(1, 3))
def test_refining_never_lowers_the_likelihood(seed, k, q):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, q))
    particles = measured(centres, rng.integers(0, k, 150), seed=seed % 1000)
    weights, centres = rng.dirichlet(np.ones(k)), rng.normal(size=(k, q))
    last = responsibilities(particles, weights, centres)[1].sum()
    for _ in range(4):
        mixture = refine_mixture(particles, weights, centres, rounds=3, tolerance=0.0)
        weights, centres = mixture.weights, mixture.centres
        found = responsibilities(particles, weights, centres)[1].sum()
        assert found > last - 0.02 - 1e-4 * abs(last)  # the ridge allows for a little
        last = found
    assert (np.diff(weights) <= 0).all() and weights.sum() == pytest.approx(1)


def test_leaps_reach_where_plain_steps_go_in_fewer_rounds(monkeypatch):
    """Classes that overlap, where each step of EM is short."""
    particles = measured(0.3 * CENTRES, draw_labels(3000, WEIGHTS), strength=7.0)
    point = np.array([0.5, 0.3, 0.2]), 0.2 * CENTRES[[1, 0, 2]]
    plain, steps = Mixture(*point, -np.inf, 0), 0
    while steps < 3000:
        following = refine_mixture(particles, plain.weights, plain.centres, rounds=1)
        if following.log_likelihood - plain.log_likelihood < 1e-4:
            break
        plain, steps = following, steps + 1
    rounds = []
    original = mixture_module._one_round
    monkeypatch.setattr(
        mixture_module, "_one_round", lambda *args: rounds.append(1) or original(*args)
    )
    leaping = refine_mixture(particles, *point, rounds=3000, tolerance=1e-4)
    assert leaping.log_likelihood > plain.log_likelihood - 0.05
    assert steps > 100 and 3 * len(rounds) < steps


def test_known_classes_are_recovered(three):
    particles, label = three
    mixture = fit_mixture(particles, 3, 0)
    assert mixture.weights == pytest.approx(WEIGHTS, abs=0.01)
    assert mixture.centres == pytest.approx(CENTRES, abs=0.1)
    resp, gains = responsibilities(particles, mixture.weights, mixture.centres)
    assert gains.sum() == pytest.approx(mixture.log_likelihood, abs=0.1)
    assert (resp.argmax(axis=1) == label).mean() > 0.97
    assert ((resp.argmax(axis=1) == 2) & (label == 2)).sum() > 0.75 * (label == 2).sum()
    assert mixture.bic == pytest.approx(8 * np.log(len(label)) - 2 * gains.sum(), abs=0.2)


def test_order_of_particles_and_threads_do_not_matter(three):
    particles, _ = three
    order = np.random.default_rng(1).permutation(len(particles))
    start = np.full(3, 1 / 3), CENTRES * 0.5
    one = refine_mixture(particles, *start)
    two = refine_mixture(particles.take(order), *start)
    assert two.centres == pytest.approx(one.centres, abs=1e-3)
    assert two.weights == pytest.approx(one.weights, abs=1e-4)
    turned = refine_mixture(particles, start[0], start[1][[2, 0, 1]])
    assert turned.centres == pytest.approx(one.centres, abs=1e-3)
    try:
        set_threads(1)
        single = fit_mixture(particles.take(np.arange(1000)), 3, 4)
    finally:
        set_threads(2)
    double = fit_mixture(particles.take(np.arange(1000)), 3, 4)
    assert np.array_equal(single.centres, double.centres)
    assert np.array_equal(single.weights, double.weights)


@pytest.mark.parametrize("seed", range(3))
def test_the_number_of_classes(seed):
    label = draw_labels(1500, WEIGHTS, seed)
    particles = measured(CENTRES * 1.3, label, seed=seed, strength=7.0)
    fits, held, best = choose_classes(particles, halves(1500), 5, seed)
    assert best == 3
    assert len(fits) == len(held) >= 3 and held[2] > held[1] > held[0]
    assert all(len(fit.weights) == k + 1 for k, fit in enumerate(fits))
    likelihood = [fit.log_likelihood for fit in fits]
    assert (np.diff(likelihood) > -0.5).all()  # more classes never explain less


@pytest.mark.parametrize("seed", range(4))
def test_one_class_where_there_is_one(seed):
    particles = measured(np.zeros((1, 2)), np.zeros(800, int), seed=seed)
    assert choose_classes(particles, halves(800), 3, seed)[2] == 1


def test_no_more_classes_than_asked_for(three):
    particles, _ = three
    fits, held, best = choose_classes(particles.take(np.arange(2000)), halves(2000), 2, 0)
    assert (len(fits), len(held), best) == (2, 2, 2)


@QUICK
@given(seeds, st.integers(1, 4))
def test_distances(seed, q):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, q))
    precision = measured(centres, rng.integers(0, 4, 30), seed=seed % 1000).precision
    distance = centre_distances(centres, precision)
    assert distance == pytest.approx(distance.T) and not np.diag(distance).any()
    mean = precision.mean(axis=0, dtype=float)
    gap = centres[0] - centres[1]
    assert distance[0, 1] == pytest.approx(np.sqrt(gap @ mean @ gap))
    assert (distance[0, 1] <= distance[0, 2] + distance[2, 1] + 1e-9).all()


def test_an_empty_class_and_a_blind_particle():
    """A class without particles stays finite; particles that know nothing follow the weights."""
    particles = measured(CENTRES[:1], np.zeros(200, int))
    particles.precision[:5], particles.score[:5] = 0, 0
    mixture = refine_mixture(
        particles, np.array([0.5, 0.5]), np.array([CENTRES[0], CENTRES[0] + 50])
    )
    assert np.isfinite(mixture.centres).all() and isinstance(mixture, Mixture)
    resp, gains = responsibilities(particles, mixture.weights, mixture.centres)
    assert np.isfinite(gains).all()
    assert resp[:5] == pytest.approx(np.tile(mixture.weights, (5, 1)), abs=1e-5)


def test_points_along_a_continuum():
    """Even steps of a Gaussian: each part's median, symmetric about the mean."""
    mixture = spread_points(np.array([4.0, 1.0]), 4, 100)
    assert mixture.weights == pytest.approx(np.full(4, 0.25)) and not mixture.centres[:, 1].any()
    values = 2 * np.random.default_rng(0).normal(size=200000)
    parts = np.array_split(np.sort(values), 4)
    assert mixture.centres[:, 0] == pytest.approx([np.median(p) for p in parts], abs=0.03)


def test_what_the_model_gets_wrong_makes_no_classes():
    """Many particles make an excess of variance significant that tells none of them apart."""
    rng = np.random.default_rng(5)
    label = draw_labels(12000, [0.6, 0.4])
    precision, score = latent_statistics(CENTRES[:2], label, strength=40.0)
    scatter = 0.06 * rng.normal(size=(len(label), 2))
    score += np.einsum("nab,nb->na", precision, scatter).astype(np.float32)
    particles = Measurements.at_contrast_one(precision, score)
    fits, _, best = choose_classes(particles, halves(len(label)), 8, 0)
    assert best == 2
    assert fits[2].bic < fits[1].bic  # by itself BIC would say more
    assert fits[1].weights == pytest.approx([0.6, 0.4], abs=0.01)
