"""The number of classes that the particles support, by BIC and by particles held out."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.classes.mixture import (
    Mixture,
    centre_distances,
    fit_mixture,
    refine_mixture,
    responsibilities,
)
from pcainit.engine.components.rules import RULES
from pcainit.engine.model.statistics import Latents, Measurements

SPREAD_ROUNDS = 60  # of EM for an even spread
MIN_EXCESS = 1e-3  # variance that it starts from at least, over that of the noise


def choose_classes(
    particles: Measurements, half: IntArray, most: int, seed: int, wanted: int = 0
) -> tuple[list[Mixture], FloatArray, int]:
    """Fit 1 to `most` classes; choose by BIC, if particles held out agree.

    Parameters
    ----------
    particles : Measurements
    half : (n,) int
        Half-set 1 or 2; one is held out while the other is fitted.
    most : int
    seed : int
    wanted : int
        So many are asked for: up to there, classes may lie closer together.

    Returns
    -------
    list of Mixture
        Of 1, 2, ... classes.
    (most,) float64
        Log-likelihood per particle held out.
    int
        Best number of classes.
    """
    fits: list[Mixture] = []
    held: list[FloatArray] = []
    best, near = 1, particles.marginal()
    for k in range(1, most + 1):
        fits.append(fit_mixture(particles, k, seed, start=fits[-1] if fits else None))
        value, of_halves = _held_out(particles, half, fits[-1])
        held.append(value)
        if (
            fits[-1].bic < fits[best - 1].bic
            and _surely_more(held[-1], held[best - 1])
            and _apart(fits[-1], near.precision)
            and (k <= wanted or _are_states(fits[-1], of_halves, near))
        ):
            best = k
        if k == 2 and best == 1 and _two_states(fits, held, near):
            best = 2
        if k - best >= 3 or k >= 3 and fits[-1].bic > fits[-2].bic > fits[-3].bic:
            break
    return fits, np.array([values.mean() for values in held]), best


def _two_states(fits: list[Mixture], held: list[FloatArray], near: Latents) -> bool:
    """Whether particles may be of two states rather than spread evenly between two ends."""
    two = fits[1]
    gap = centre_distances(two.centres, near.precision)[0, 1]
    if not (
        two.bic < fits[0].bic and _surely_more(held[1], held[0]) and gap > RULES.min_distance_alone
    ):
        return False
    axis = two.centres[1] - two.centres[0]  # what else varies is no matter here
    metric = near.precision.mean(axis=0, dtype=np.float64) @ axis
    places = two.centres @ metric / (axis @ metric)
    line = Latents(
        np.einsum("a,nab,b->n", axis, near.precision, axis)[:, None, None],
        (near.score @ axis)[:, None],
    )
    points = line.score * places - 0.5 * line.precision[:, 0] * places**2
    return float(logsumexp(points + np.log(two.weights), axis=1).sum()) > (
        _even_spread(line) - RULES.clearly_even
    )


def _even_spread(near: Latents) -> float:
    """Log-likelihood of all particles, against the mean, if they spread as one Gaussian does."""
    precision, score = near.precision.astype(np.float64), near.score.astype(np.float64)
    q, spread = score.shape[1], _excess_spread(precision, score)
    for _ in range(SPREAD_ROUNDS):
        covariance = np.linalg.inv(precision + np.linalg.inv(spread))
        mean = np.einsum("nab,nb->na", covariance, score)
        last, spread = spread, covariance.mean(axis=0) + mean.T @ mean / len(mean)
        if np.allclose(spread, last, rtol=1e-3, atol=0):
            break
    covariance = np.linalg.inv(precision + np.linalg.inv(spread))
    power = np.einsum("na,nab,nb->", score, covariance, score)
    return 0.5 * float(power - np.linalg.slogdet(np.eye(q) + spread @ precision)[1].sum())


def _excess_spread(precision: FloatArray, score: FloatArray) -> FloatArray:
    """What points vary by beyond their noise, by the method of moments, (q, q) float64.

    EM starts from there: from afar it hardly ever comes down to axes along which nothing varies.
    """
    known = precision.mean(axis=0)
    known = known + np.eye(len(known)) * max(1e-9 * float(known.trace()), 1e-30)
    inverse = np.linalg.inv(np.linalg.cholesky(known))
    seen = inverse @ (score.T @ score / len(score)) @ inverse.T
    values, axes = np.linalg.eigh(seen)
    axes = inverse.T @ axes
    out: FloatArray = (axes * np.maximum(values - 1, MIN_EXCESS)) @ axes.T
    return out


def _held_out(
    particles: Measurements, half: IntArray, mixture: Mixture
) -> tuple[FloatArray, list[FloatArray]]:
    """Log-likelihood of each particle under a mixture refined on the other half.

    Parameters
    ----------
    particles : Measurements
    half : (n,) int
        Half-set 1 or 2.
    mixture : Mixture

    Returns
    -------
    (n,) float64
    two (K, q) float64
        The centres of either half.
    """
    out, centres = np.empty(len(particles)), []
    for one, other in ((1, 2), (2, 1)):
        trained = refine_mixture(particles.take(half == one), mixture.weights, mixture.centres)
        out[half == other] = responsibilities(
            particles.take(half == other), trained.weights, trained.centres
        )[1]
        centres.append(trained.centres)
    return out, centres


def _surely_more(one: FloatArray, two: FloatArray) -> bool:
    """Whether particles are more likely by more than chance, from their differences."""
    gap = one - two
    return bool(gap.mean() * np.sqrt(len(gap)) > RULES.min_gain * gap.std())


def _apart(mixture: Mixture, precision: FloatArray) -> bool:
    """Whether particles can be told apart by all classes, if only many together."""
    gaps = centre_distances(mixture.centres, precision)
    return bool((gaps[~np.eye(len(gaps), dtype=bool)] > RULES.min_distance_asked).all())


def _are_states(mixture: Mixture, of_halves: list[FloatArray], near: Latents) -> bool:
    """Whether all classes are states: far apart, or near, and shown to be by many particles.

    One particle cannot tell near classes apart, but many can.  Then half-sets find the same
    differences between them, and particles do not spread evenly instead, as in a movement.
    """
    gaps = centre_distances(mixture.centres, near.precision)
    pairs = np.argwhere(np.triu(gaps < RULES.min_distance, 1))
    if not len(pairs):
        return True
    if len(gaps) == 2:
        return False  # see `_two_states`
    metric = np.linalg.cholesky(near.precision.mean(axis=0, dtype=np.float64))
    one, two = (_in_order(centres @ metric, mixture.centres @ metric) for centres in of_halves)
    if not all(
        _cosine(one[a] - one[b], two[a] - two[b]) > RULES.min_class_agreement for a, b in pairs
    ):
        return False
    q = near.score.shape[1]
    even = q * (q + 1) / 2 * np.log(mixture.count) - 2 * _even_spread(near)
    return bool(mixture.bic < even)


def _in_order(centres: FloatArray, wanted: FloatArray) -> FloatArray:
    """Centres in the order of those that they are nearest to, each once."""
    squares = ((wanted[:, None] - centres) ** 2).sum(axis=2)
    ordered: FloatArray = centres[linear_sum_assignment(squares)[1]]
    return ordered


def _cosine(one: FloatArray, two: FloatArray) -> float:
    norm = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / max(norm, 1e-30)
