"""Clusters of particles in the space of the components, each particle with its own precision.

The log-likelihood of particle i at the point c is ``c' b_i - c' G_i c / 2`` exactly, at contrast 1;
its contrast is integrated out for each c.  A mixture of K points is 3D classification confined to
the mean plus the span of the components; it is extreme deconvolution (Bovy et al. 2011) with
states as points.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from scipy.special import logsumexp

from pcainit.engine.arrays import FloatArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.kinds import INT, REAL, YES_NO, reads, writes
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.acceleration import extrapolate, leap_length
from pcainit.engine.model.statistics import Measurements
from pcainit.engine.projection.blocks import block_starts

_Point = Tuple[FloatArray, FloatArray]  # log weights (K,) and centres (K, q)

_BLOCKS = 8
_NEGLIGIBLE = 1e-12  # of a posterior
_SAMPLE = 5000  # particles that tell good starts from bad ones
_FINISHED = 4  # of the best starts, on the sample ...
_TRIED = 8  # ... and so many rounds on all particles
_ROUNDS = 200  # at most
_FARTHEST = 100.0  # leap, in steps of EM
_SAME_PLACE = 0.5  # of two centres, in standard deviations of a particle's noise


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of K classes.

    Parameters
    ----------
    weights : (K,) float64
        Decreasing.
    centres : (K, q) float64
    log_likelihood : float
        Of all particles, against the mean alone.
    count : int
        Number of particles.
    """

    weights: FloatArray
    centres: FloatArray
    log_likelihood: float
    count: int

    @property
    def bic(self) -> float:
        """Bayesian information criterion; smaller is better."""
        k, q = self.centres.shape
        out: float = (k * q + k - 1) * np.log(self.count) - 2 * self.log_likelihood
        return out


@kernel(
    INT,
    reads("float32", 3),
    reads("float32", 2),
    reads("float32", 2),
    REAL,
    reads("float64", 1),
    reads("float64", 2),
    reads("int64", 1),
    writes("float32", 2),
    writes("float64", 4),
    writes("float64", 3),
    writes("float64", 2),
    writes("float64", 1),
    YES_NO,
)
def _expect(
    block,
    precisions,
    scores,
    contrasts,
    contrast_precision,
    log_weights,
    centres,
    starts,
    resp,
    sums_g,
    sums_b,
    counts,
    gains,
    accumulate,
):
    """Responsibilities; with `accumulate`, also the sums of the centres' normal equations.

    Derivation.  A particle at the point c has the image ``(1 + d) P (mu + U c)``.  With all
    nuisances but the contrast d integrated out its statistics are G (`precisions`) and b (`scores`)
    of the components, and of d (`contrasts`): its row h with the components, g with itself, its
    score s.  The log-likelihood, over that of the mean at contrast 1, is a parabola in d:

        b'c - c'Gc / 2 + slope d - (bend - p) d^2 / 2,
        slope = s + b'c - h'c - c'Gc,   bend = g + p + 2 h'c + c'Gc,

    p being `contrast_precision`, ``d ~ N(0, 1 / p)``.  Integrated over d, class k (c its centre)
    has, against the mean alone (whose slope is s, and bend ``own = g + p``),

        log weight + b'c - c'Gc / 2 + slope^2 / (2 bend) - s^2 / (2 own) - log(bend / own) / 2,

    and d has the mean ``slope / bend`` and the variance ``1 / bend``.  The likeliest centre, with
    responsibilities r, solves

        [sum r E(1 + d)^2 G] c = sum r [E(1 + d) b - E d (1 + d) h],

    for ``(1 + d) U' (r_i - d mu - (1 + d) U c)`` vanishes on average.  It is the same likelihood as
    that of `model.posterior.class_posterior`, for classes inside the span of the components.
    """
    n_classes, q = centres.shape
    logs = np.empty(n_classes)
    first = np.empty(n_classes)  # means of the contrast's coefficient d ...
    second = np.empty(n_classes)  # ... and of d (1 + d)
    count = np.zeros(n_classes)
    sum_b, sum_g = np.zeros((n_classes, q)), np.zeros((n_classes, q, q))
    for i in range(starts[block], starts[block + 1]):
        own = contrasts[i, q] + contrast_precision
        alone = 0.5 * contrasts[i, q + 1] ** 2 / own
        top = 0.0  # fast maths takes all for finite
        for k in range(n_classes):
            square, cross, linear = 0.0, 0.0, 0.0
            for a in range(q):
                half = 0.0
                for b in range(q):
                    half += precisions[i, a, b] * centres[k, b]
                square += centres[k, a] * half
                linear += centres[k, a] * scores[i, a]
                cross += centres[k, a] * contrasts[i, a]
            # In d the log-likelihood is a parabola.
            slope = linear + contrasts[i, q + 1] - square - cross
            bend = own + 2 * cross + square
            value = (
                log_weights[k]
                + linear
                - 0.5 * square
                + 0.5 * slope * slope / bend
                - alone
                - 0.5 * np.log(bend / own)
            )
            first[k] = slope / bend
            second[k] = first[k] + first[k] ** 2 + 1 / bend
            logs[k] = value
            top = value if k == 0 else max(top, value)
        total = 0.0
        for k in range(n_classes):
            logs[k] = np.exp(logs[k] - top)
            total += logs[k]
        gains[i] = top + np.log(total)
        for k in range(n_classes):
            r = logs[k] / total
            if r < _NEGLIGIBLE:  # and would be slow to calculate with
                resp[i, k] = 0
                continue
            resp[i, k] = r
            if accumulate:
                count[k] += r
                once, twice = r * (1 + first[k]), r * (1 + first[k] + second[k])
                for a in range(q):
                    sum_b[k, a] += once * scores[i, a] - r * second[k] * contrasts[i, a]
                    for b in range(a + 1):
                        sum_g[k, a, b] += twice * precisions[i, a, b]
    for k in range(n_classes):
        counts[block, k] = count[k]
        for a in range(q):
            sums_b[block, k, a] = sum_b[k, a]
            for b in range(q):
                sums_g[block, k, a, b] = sum_g[k, a, b]


def responsibilities(
    particles: Measurements, weights: FloatArray, centres: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Posterior probability of each class for each particle, and its log-likelihood.

    Equation (10) of docs/theory.md.

    Parameters
    ----------
    particles : Measurements
    weights : (K,) float64
    centres : (K, q) float64

    Returns
    -------
    (n, K) float32
    (n,) float64
        Against the mean alone.
    """
    resp, _, gains = _one_round(particles, np.log(weights), centres, False)
    return resp, gains


def _one_round(particles, log_weights, centres, accumulate):
    n, (k, q) = len(particles), centres.shape
    resp = np.empty((n, k), np.float32)
    sums_g, sums_b = np.zeros((_BLOCKS, k, q, q)), np.zeros((_BLOCKS, k, q))
    counts, gains = np.zeros((_BLOCKS, k)), np.empty(n)
    _expect.over_blocks(
        _BLOCKS,
        particles.precision,
        particles.score,
        particles.contrast,
        float(particles.contrast_precision),
        np.asarray(log_weights, np.float64),
        np.ascontiguousarray(centres, np.float64),
        block_starts(n, _BLOCKS),
        resp,
        sums_g,
        sums_b,
        counts,
        gains,
        accumulate,
    )
    lower = sums_g.sum(axis=0)
    full = lower + np.swapaxes(np.tril(lower, -1), 1, 2)
    return resp, (counts.sum(axis=0), full, sums_b.sum(axis=0)), gains


def refine_mixture(
    particles: Measurements,
    weights: FloatArray,
    centres: FloatArray,
    rounds: int = _ROUNDS,
    tolerance: float = 0.02,
) -> Mixture:
    """EM from given weights and centres until the log-likelihood hardly rises.

    Every two rounds it leaps ahead along the way they took, and falls back where that is less
    likely than where the second began.

    Parameters
    ----------
    particles : Measurements
    weights : (K,) float64
    centres : (K, q) float64
    rounds : int
        At most so many.
    tolerance : float
        A round's rise of less is the end; with more than 20,000 particles, in proportion more.

    Returns
    -------
    Mixture
    """
    ridge = _ridge(particles)
    tolerance *= max(1.0, len(particles) / 20000)
    point, last = (np.log(weights), centres), -np.inf
    trail, fallback = [point], None
    for _ in range(rounds):
        _, (counts, full, target), gains = _one_round(particles, *point, True)
        gain = float(gains.sum())
        if fallback is not None and not gain >= last:
            point, trail, fallback = fallback, [fallback], None
            continue
        if fallback is None and gain - last < tolerance:
            break
        last, fallback = gain, None
        counts = np.maximum(counts, 1e-6)
        point = (
            np.log(counts / counts.sum()),
            np.stack([np.linalg.solve(g + ridge, b) for g, b in zip(full, target)]),
        )
        trail.append(point)
        if len(trail) == 3:
            fallback, point = point, _leap(*trail)
            trail = [point]
    log_weights, centres = point if fallback is None else fallback
    order = np.argsort(-log_weights, kind="stable")
    return Mixture(np.exp(log_weights[order]), centres[order], max(gain, last), len(particles))


def _leap(first: _Point, second: _Point, third: _Point) -> _Point:
    """Where three points of EM seem to lead."""
    once = [b - a for a, b in zip(first, second)]
    bend = [c - b - step for b, c, step in zip(second, third, once)]
    # Weights go as far as the centres do: the two have units of their own.
    far = leap_length(once[1], bend[1], _FARTHEST)
    log_weights, centres = (
        extrapolate(a, step, turn, far) for a, step, turn in zip(first, once, bend)
    )
    return log_weights - logsumexp(log_weights), centres


def weighted_centres(particles: Measurements, resp: FloatArray) -> FloatArray:
    """Best centre of each class for given responsibilities, (K, q) float64."""
    near = particles.marginal()
    full = np.einsum("nk,nab->kab", resp, near.precision, dtype=np.float64)
    target = np.einsum("nk,na->ka", resp, near.score, dtype=np.float64)
    ridge = _ridge(particles)
    return np.stack([np.linalg.solve(g + ridge, b) for g, b in zip(full, target)])


def _ridge(particles: Measurements) -> FloatArray:
    """A thousandth of one particle's precision: keeps empty classes solvable."""
    mean = particles.precision.mean(axis=0, dtype=np.float64)
    out: FloatArray = 1e-3 * mean + (1e-9 * np.trace(mean) + 1e-30) * np.eye(len(mean))
    return out


def fit_mixture(
    particles: Measurements,
    n_classes: int,
    seed: int,
    *,
    restarts: int = 16,
    start: Mixture | None = None,
) -> Mixture:
    """Best of many EM runs with K classes.

    Parameters
    ----------
    particles : Measurements
    n_classes : int
    seed : int
    restarts : int
        Short runs from random starts, on a sample of the particles; the best few go on there, then
        a few rounds on all particles, and the best of them to the end.
    start : Mixture, optional
        A mixture of K - 1 classes; some starts add one class to it.

    Returns
    -------
    Mixture
    """
    rng = np.random.default_rng([seed, n_classes, 21])
    near = particles.marginal()
    total = near.precision.mean(axis=0, dtype=np.float64)
    if n_classes == 1:
        return refine_mixture(particles, np.ones(1), np.zeros((1, near.score.shape[1])))
    # Posterior means under a broad prior: where particles may be.
    means = np.linalg.solve(near.precision + 0.3 * total, near.score[..., None])[..., 0]
    means = means.astype(np.float64)
    runs: list[Mixture] = []
    some = particles
    if len(particles) > _SAMPLE:
        some = particles.take(subsample(np.arange(len(particles)), _SAMPLE))
    for k in range(restarts):
        if start is not None and k % 2:
            centres = np.concatenate([start.centres, means[[rng.integers(len(means))]]])
            weights = np.append(start.weights * 0.9, 0.1)
        else:
            centres = _spread_start(means, total, n_classes, rng)
            weights = np.full(n_classes, 1 / n_classes)
        runs.append(refine_mixture(some, weights, centres, rounds=25, tolerance=1.0))
    runs.sort(key=lambda m: -m.log_likelihood)
    best = _different(runs, total)[:_FINISHED]
    if some is not particles:  # far the most rounds are cheap ones
        best = [refine_mixture(some, m.weights, m.centres) for m in best]
        best = _different(sorted(best, key=lambda m: -m.log_likelihood), total)
    rounds = _TRIED if some is not particles else _ROUNDS
    tried = [refine_mixture(particles, m.weights, m.centres, rounds=rounds) for m in best]
    winner = max(tried, key=lambda m: m.log_likelihood)
    return refine_mixture(particles, winner.weights, winner.centres)


def _different(runs: list[Mixture], metric: FloatArray) -> list[Mixture]:
    """Without runs that go where a better one goes: centres closer than half a particle's noise."""
    kept: list[Mixture] = []
    for run in runs:
        gaps = [
            _distances(run.centres, better.centres, metric).min(axis=1).max() for better in kept
        ]
        if min(gaps, default=np.inf) > _SAME_PLACE:
            kept.append(run)
    return kept


def _spread_start(
    means: FloatArray, metric: FloatArray, k: int, rng: np.random.Generator
) -> FloatArray:
    """K particles drawn far from each other (k-means++ on a sample)."""
    root = np.linalg.cholesky(metric + 1e-9 * np.trace(metric) * np.eye(len(metric)))
    sample = means[rng.integers(len(means), size=2000)] @ root
    chosen = [int(rng.integers(len(sample)))]
    distance = np.full(len(sample), np.inf)
    for _ in range(k - 1):
        distance = np.minimum(distance, ((sample - sample[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(rng.choice(len(sample), p=distance / max(distance.sum(), 1e-300))))
    return np.linalg.solve(root.T, sample[chosen].T).T


def spread_points(variances: FloatArray, n_classes: int, count: int) -> Mixture:
    """K equal parts of particles that spread along the first component without classes.

    Parameters
    ----------
    variances : (q,) float64
        Of the coordinates.
    n_classes : int
    count : int
        Number of particles.

    Returns
    -------
    Mixture
        With the centres at the middle of each part of a Gaussian.
    """
    from scipy.stats import norm

    centres = np.zeros((n_classes, len(variances)))
    centres[:, 0] = np.sqrt(variances[0]) * norm.ppf((np.arange(n_classes) + 0.5) / n_classes)
    return Mixture(np.full(n_classes, 1 / n_classes), centres, 0.0, count)


def _distances(one: FloatArray, two: FloatArray, metric: FloatArray) -> FloatArray:
    gap = one[:, None] - two[None]
    out: FloatArray = np.sqrt(np.maximum(np.einsum("kla,ab,klb->kl", gap, metric, gap), 0))
    return out


def centre_distances(centres: FloatArray, precision: FloatArray) -> FloatArray:
    """Distance of each pair of centres in units of a particle's mean precision, (K, K)."""
    return _distances(centres, centres, precision.mean(axis=0, dtype=np.float64))
