"""Clusters of particles in the space of the components, each particle with its own precision.

The log-likelihood of particle i at the point c is ``c' b_i - c' G_i c / 2`` exactly; a mixture of
K points is 3D classification confined to the mean plus the span of the components; it is extreme
deconvolution (Bovy et al. 2011) with states as points.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple

import numba
import numpy as np

from pcainit.engine.slicing import JIT, block_starts

_BLOCKS = 8


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

    weights: np.ndarray
    centres: np.ndarray
    log_likelihood: float
    count: int

    @property
    def bic(self) -> float:
        """Bayesian information criterion; smaller is better."""
        k, q = self.centres.shape
        return (k * q + k - 1) * np.log(self.count) - 2 * self.log_likelihood


@numba.njit(parallel=True, **JIT)
def _expect(precisions, scores, log_weights, centres, starts, resp, sums_g, sums_b, counts, gains,
            accumulate):
    n_classes, q = centres.shape
    for block in numba.prange(len(starts) - 1):
        logs = np.empty(n_classes)
        for i in range(starts[block], starts[block + 1]):
            top = -np.inf
            for k in range(n_classes):
                value = log_weights[k]
                for a in range(q):
                    half = 0.0
                    for b in range(q):
                        half += precisions[i, a, b] * centres[k, b]
                    value += centres[k, a] * (scores[i, a] - 0.5 * half)
                logs[k] = value
                top = max(top, value)
            total = 0.0
            for k in range(n_classes):
                logs[k] = np.exp(logs[k] - top)
                total += logs[k]
            gains[block] += top + np.log(total)
            for k in range(n_classes):
                r = logs[k] / total
                resp[i, k] = r
                if accumulate:
                    counts[block, k] += r
                    for a in range(q):
                        sums_b[block, k, a] += r * scores[i, a]
                        for b in range(a + 1):
                            sums_g[block, k, a, b] += r * precisions[i, a, b]


def responsibilities(precisions: np.ndarray, scores: np.ndarray, weights: np.ndarray,
                     centres: np.ndarray) -> Tuple[np.ndarray, float]:
    """Posterior probability of each class for each particle, and the total log-likelihood.

    Parameters
    ----------
    precisions : (n, q, q) float32
    scores : (n, q) float32
    weights : (K,) float64
    centres : (K, q) float64

    Returns
    -------
    (n, K) float32
    float
    """
    resp, _, gain = _one_round(precisions, scores, np.log(weights), centres, False)
    return resp, gain


def _one_round(precisions, scores, log_weights, centres, accumulate):
    n, (k, q) = len(scores), centres.shape
    resp = np.empty((n, k), np.float32)
    sums_g, sums_b = np.zeros((_BLOCKS, k, q, q)), np.zeros((_BLOCKS, k, q))
    counts, gains = np.zeros((_BLOCKS, k)), np.zeros(_BLOCKS)
    _expect(precisions, scores, np.asarray(log_weights, np.float64),
            np.ascontiguousarray(centres, np.float64), block_starts(n, _BLOCKS), resp, sums_g,
            sums_b, counts, gains, accumulate)
    lower = sums_g.sum(axis=0)
    full = lower + np.swapaxes(np.tril(lower, -1), 1, 2)
    return resp, (counts.sum(axis=0), full, sums_b.sum(axis=0)), float(gains.sum())


def refine_mixture(precisions: np.ndarray, scores: np.ndarray, weights: np.ndarray,
                   centres: np.ndarray, rounds: int = 200, tolerance: float = 1e-3) -> Mixture:
    """EM from given weights and centres until the log-likelihood rises by less than `tolerance`."""
    ridge = _ridge(precisions)
    last = -np.inf
    for _ in range(rounds):
        _, (counts, full, target), gain = _one_round(precisions, scores, np.log(weights), centres,
                                                     True)
        if gain - last < tolerance:
            break
        last = gain
        weights = np.maximum(counts, 1e-6) / np.maximum(counts, 1e-6).sum()
        centres = np.stack([np.linalg.solve(g + ridge, b) for g, b in zip(full, target)])
    order = np.argsort(-weights, kind="stable")
    return Mixture(weights[order], centres[order], max(gain, last), len(scores))


def weighted_centres(precisions: np.ndarray, scores: np.ndarray, resp: np.ndarray) -> np.ndarray:
    """Best centre of each class for given responsibilities, (K, q) float64."""
    full = np.einsum("nk,nab->kab", resp, precisions, dtype=np.float64)
    target = np.einsum("nk,na->ka", resp, scores, dtype=np.float64)
    ridge = _ridge(precisions)
    return np.stack([np.linalg.solve(g + ridge, b) for g, b in zip(full, target)])


def _ridge(precisions: np.ndarray) -> np.ndarray:
    """A thousandth of one particle's precision: keeps empty classes solvable."""
    mean = precisions.mean(axis=0, dtype=np.float64)
    return 1e-3 * mean + (1e-9 * np.trace(mean) + 1e-30) * np.eye(len(mean))


def fit_mixture(precisions: np.ndarray, scores: np.ndarray, n_classes: int, seed: int, *,
                restarts: int = 16, start: Optional[Mixture] = None) -> Mixture:
    """Best of many EM runs with K classes.

    Parameters
    ----------
    precisions : (n, q, q) float32
        Each particle's G, nuisances integrated out.
    scores : (n, q) float32
        Each particle's b.
    n_classes : int
    seed : int
    restarts : int
        Short runs from random starts; the best few are run to the end.
    start : Mixture, optional
        A mixture of K - 1 classes; some starts add one class to it.

    Returns
    -------
    Mixture
    """
    rng = np.random.default_rng([seed, n_classes, 21])
    q = scores.shape[1]
    total = precisions.mean(axis=0, dtype=np.float64)
    if n_classes == 1:
        return refine_mixture(precisions, scores, np.ones(1), np.zeros((1, q)))
    # Posterior means under a broad prior: where particles may be.
    means = np.linalg.solve(precisions + 0.3 * total, scores[..., None])[..., 0].astype(float)
    runs: List[Mixture] = []
    for k in range(restarts):
        if start is not None and k % 2:
            centres = np.concatenate([start.centres, means[[rng.integers(len(means))]]])
            weights = np.append(start.weights * 0.9, 0.1)
        else:
            centres = _spread_start(means, total, n_classes, rng)
            weights = np.full(n_classes, 1 / n_classes)
        runs.append(refine_mixture(precisions, scores, weights, centres, rounds=25, tolerance=1.0))
    runs.sort(key=lambda m: -m.log_likelihood)
    finished = [refine_mixture(precisions, scores, m.weights, m.centres) for m in runs[:4]]
    return max(finished, key=lambda m: m.log_likelihood)


def _spread_start(means: np.ndarray, metric: np.ndarray, k: int, rng: np.random.Generator
                  ) -> np.ndarray:
    """K particles drawn far from each other (k-means++ on a sample)."""
    sample = means[rng.integers(len(means), size=2000)] @ np.linalg.cholesky(
        metric + 1e-9 * np.trace(metric) * np.eye(len(metric)))
    chosen = [int(rng.integers(len(sample)))]
    distance = np.full(len(sample), np.inf)
    for _ in range(k - 1):
        distance = np.minimum(distance, ((sample - sample[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(rng.choice(len(sample), p=distance / max(distance.sum(), 1e-300))))
    root = np.linalg.cholesky(metric + 1e-9 * np.trace(metric) * np.eye(len(metric)))
    return np.linalg.solve(root.T, sample[chosen].T).T


def choose_classes(precisions: np.ndarray, scores: np.ndarray, half: np.ndarray, most: int,
                   seed: int) -> Tuple[List[Mixture], np.ndarray, int]:
    """Fit 1 to `most` classes; choose by BIC, if particles held out agree.

    Parameters
    ----------
    precisions, scores : see `fit_mixture`
    half : (n,) int
        Half-set 1 or 2; one is held out while the other is fitted.
    most : int
    seed : int

    Returns
    -------
    list of Mixture
        Of 1, 2, ... classes.
    (most,) float64
        Log-likelihood per particle held out.
    int
        Best number of classes.
    """
    fits: List[Mixture] = []
    held = np.zeros(most)
    for k in range(1, most + 1):
        fits.append(fit_mixture(precisions, scores, k, seed, start=fits[-1] if fits else None))
        for one, other in ((1, 2), (2, 1)):
            mine, theirs = half == one, half == other
            trained = refine_mixture(precisions[mine], scores[mine], fits[-1].weights,
                                     fits[-1].centres)
            held[k - 1] += responsibilities(precisions[theirs], scores[theirs], trained.weights,
                                            trained.centres)[1]
        if k >= 3 and fits[-1].bic > fits[-2].bic > fits[-3].bic:
            break
    held = held[:len(fits)] / len(scores)
    best = 1
    for k in range(2, len(fits) + 1):
        if fits[k - 1].bic < fits[best - 1].bic and held[k - 1] > held[best - 1]:
            best = k
    return fits, held, best


def centre_distances(centres: np.ndarray, precisions: np.ndarray) -> np.ndarray:
    """Distance of each pair of centres in units of a particle's mean precision, (K, K)."""
    mean = precisions.mean(axis=0, dtype=np.float64)
    gap = centres[:, None] - centres[None]
    return np.sqrt(np.maximum(np.einsum("kla,ab,klb->kl", gap, mean, gap), 0))
