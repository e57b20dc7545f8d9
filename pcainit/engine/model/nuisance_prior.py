"""Contrast, pose error and junk, read off the particles before any component is sought."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import BoolArray, FloatArray, IntArray
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.acceleration import extrapolate, leap_length
from pcainit.engine.model.e_step import ParticleStatistics, posterior_statistics
from pcainit.engine.model.image_model import Background, LatentModel, NuisanceSpread, in_parts
from pcainit.engine.model.posterior import NUISANCES, moments
from pcainit.engine.model.statistics import Latents, marginalise, measurements

MAX_LEARNT = 20000  # particles used to estimate the nuisance prior
TELLING = 8000  # of them between two rounds
_BLOCKS = 16
SETTLED = 1e-3  # relative change of a variance that ends an iteration
_OWN = [0, 1, 3, 6]  # coefficients of which each has a spread of its own
_FARTHEST = 4.0  # of a leap, in steps: farther ones overshoot
_BEYOND = 1.15  # of its logarithm, as far as a spread goes in one round


@dataclass(frozen=True, eq=False)
class Quality:
    """Contrast and junk, read off the particles themselves.

    Parameters
    ----------
    contrast : (n,) float32
        Fitted contrast, about 1.
    precision : (n,) float32
        One over the variance of that fit.
    junk : (n,) bool
        More likely no particle than one.
    spread : NuisanceSpread
    """

    contrast: FloatArray
    precision: FloatArray
    junk: BoolArray
    spread: NuisanceSpread


def learn_spread(
    grams: FloatArray,
    scores: FloatArray,
    start: NuisanceSpread,
    *,
    offsets: FloatArray | None = None,
    rounds: int = 10,
) -> NuisanceSpread:
    """Spread of the nuisances from each particle's statistics.

    Every two rounds it leaps on along the way they took: ten rounds come as far as thirty without.

    Parameters
    ----------
    grams, scores : (n, 7, 7), (n, 7) float32
        As a pass under `start` leaves them.
    start : NuisanceSpread
        Spread that the statistics were made under.
    offsets : (n, 7) float32, optional
        Nuisance coefficients that the particles have been corrected by.
    rounds : int
        Rounds at most.

    Returns
    -------
    NuisanceSpread
    """
    before = np.zeros(scores.shape) if offsets is None else offsets.astype(np.float64)
    plain = scores + start.precision * before  # the pass took the offsets' prior off
    grams = np.ascontiguousarray(grams)
    starts = np.arange(_BLOCKS + 1) * len(grams) // _BLOCKS
    spread, trail = start, [start]
    for _ in range(rounds):
        second, squares = np.zeros((2, _BLOCKS, len(spread.precision)))
        moments.over_blocks(
            _BLOCKS, starts, grams, plain, before, trail[-1].precision, second, squares
        )
        second, squares = second.sum(axis=0), squares.sum(axis=0)
        spread = trail[-1].improved(second / len(grams), squares / len(grams))
        if np.allclose(spread.precision, trail[-1].precision, rtol=SETTLED, atol=0):
            break
        trail.append(spread)
        if len(trail) == 3:
            trail = [_leap(*(-0.5 * np.log(point.precision[_OWN]) for point in trail))]
    return spread


def _leap(first: FloatArray, second: FloatArray, third: FloatArray) -> NuisanceSpread:
    """Extrapolate three logarithms of spreads, each not far beyond the last."""
    step, bend = second - first, third - 2 * second + first
    beyond = extrapolate(first, step, bend, leap_length(step, bend, _FARTHEST)) - third
    return NuisanceSpread(*np.exp(third + np.clip(beyond, -_BEYOND, _BEYOND)).tolist())


def recalibrate(
    background: Background, model: LatentModel, index: IntArray, most: int = TELLING
) -> LatentModel:
    """The model with the spreads and variances that particles ask for, in decreasing order.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    model : LatentModel
        Components, their variances and the spread of the nuisances.
    index : (m,) int
        Which particles; at most `most` of them are looked at.
    most : int
        Largest number of particles that are looked at.

    Returns
    -------
    LatentModel
    """
    some = subsample(index, most)
    old, offsets = model.nuisance.precision, background.offsets[some]
    result = posterior_statistics(
        background, model.components, model.nuisance.precision_beside(model.q), some
    )
    spread = _spread_beside(result, 1 / model.variances, model.nuisance, offsets)
    scores = result.scores.copy()  # the prior's mean is minus what was corrected before
    scores[:, model.q :] += (old - spread.precision) * offsets
    latents = measurements(result.grams, scores, spread.precision).marginal()
    variances = calibrate_variances(latents, model.variances)
    order = np.argsort(-variances, kind="stable")
    return dataclasses.replace(model.take(order), variances=variances[order], nuisance=spread)


def spread_beside(
    background: Background, model: LatentModel, index: IntArray, most: int = TELLING
) -> NuisanceSpread:
    """Spread of the nuisances with components in the model, ten rounds on; see `recalibrate`."""
    some = subsample(index, most)
    precision = model.nuisance.precision_beside(model.q)
    result = posterior_statistics(background, model.components, precision, some)
    return _spread_beside(result, 1 / model.variances, model.nuisance, background.offsets[some])


def _spread_beside(
    result: ParticleStatistics, prior: FloatArray, start: NuisanceSpread, offsets: FloatArray
) -> NuisanceSpread:
    """Spread with components of given prior precision integrated out.

    Without the components, a moving domain looks like a rotation.
    """
    turned = np.roll(np.arange(result.scores.shape[1]), -len(prior))  # nuisances first
    alone = marginalise(
        result.grams[:, turned][:, :, turned], result.scores[:, turned], NUISANCES, prior
    )
    return learn_spread(alone.precision, alone.score, start, offsets=offsets)


def calibrate_variances(latents: Latents, variances: FloatArray, rounds: int = 8) -> FloatArray:
    """Most likely variances of the latent coordinates, by Fisher scoring.

    EM raises small variances so slowly that it is stopped long before its end.

    Parameters
    ----------
    latents : Latents
        Statistics of n particles in q components.
    variances : (q,) float64
        Where to start.
    rounds : int
        Rounds at most.

    Returns
    -------
    (q,) float64
        At least a tenth of what they were.
    """
    gram, score = latents.precision.astype(np.float64), latents.score.astype(np.float64)
    values, least = np.array(variances, np.float64), 0.1 * np.asarray(variances)
    for _ in range(rounds):
        both = np.linalg.solve(
            np.eye(len(values)) + gram * values, np.concatenate([gram, score[..., None]], axis=2)
        )
        left, fitted = both[..., :-1], both[..., -1]
        slope = (fitted**2 - np.einsum("nqq->nq", left)).sum(axis=0)
        information = (left**2).sum(axis=0)
        step = np.linalg.solve(information + 1e-9 * np.diag(np.diag(information)), slope)
        last, values = values, np.maximum(values + np.clip(step, -0.5 * values, 2 * values), least)
        if np.allclose(values, last, rtol=SETTLED, atol=0):
            break
    return values


def measure_quality(
    background: Background, index: IntArray, known: NuisanceSpread | None = None
) -> Quality:
    """Contrast of each particle, the nuisances' spread, and which particles are junk.

    Parameters
    ----------
    background : Background
        The particles, their mean and noise.
    index : (m,) int
        Particles to look at; the others are not called junk.
    known : NuisanceSpread, optional
        Taken as it is; learnt from the particles when not given.

    Returns
    -------
    Quality
        Of all particles of the background.
    """
    box, n = background.grid.box, len(background.slices)
    none = np.zeros((0, box, box, box), np.float32)
    spread = known or NuisanceSpread()
    some = subsample(index, MAX_LEARNT)
    if known is None:
        result = posterior_statistics(background, none, spread.precision, some)
        spread = learn_spread(result.grams, result.scores, spread)
    contrast, precision = np.ones(n, np.float32), np.zeros(n, np.float32)
    for part in in_parts(len(index)):
        mine = index[part]
        if known is None and len(some) == len(index):
            grams, scores = result.grams[part], result.scores[part]
        else:
            every = posterior_statistics(background, none, spread.precision, mine)
            grams, scores = every.grams, every.scores
        pose = marginalise(grams, scores, 1, spread.precision[1:])
        precision[mine] = pose.precision[:, 0, 0]
        contrast[mine] = 1 + pose.score[:, 0] / np.maximum(precision[mine], 1e-12)
    junk = np.zeros(n, bool)
    junk[index] = find_junk(contrast[index], precision[index])
    kept = ~junk[some]
    if known is None and kept.any():
        spread = learn_spread(result.grams[kept], result.scores[kept], spread)
    return Quality(contrast, precision, junk, spread)


def pose_information(background: Background, index: IntArray) -> FloatArray:
    """Compare how far the images ask poses to move with how far their noise alone would.

    At true poses the scores of pose errors have the variance of their curvature, ``var(b) = G``;
    errors add to it.  Poses that were refined on the same images sit at the optimum of each
    image's own noise, where the scores vanish: nothing can then be read off them, whatever the
    errors are.

    Parameters
    ----------
    background : Background
        With the recorded poses.
    index : (m,) int
        Rows of the particles that are used.

    Returns
    -------
    (2,) float64
        Mean square of the scores over the curvature, of shifts and of rotations.
    """
    box = background.grid.box
    some = subsample(index, TELLING)
    none = np.zeros((0, box, box, box), np.float32)
    result = posterior_statistics(background, none, NuisanceSpread().precision, some)
    ratios = []
    for columns in ((1, 2), (3, 4, 5)):
        square = curvature = 0.0
        for column in columns:
            order = [column, 0, 6]  # contrast and fall-off integrated out
            alone = marginalise(
                result.grams[:, order][:, :, order],
                result.scores[:, order],
                1,
                NuisanceSpread().precision[[0, 6]],
            )
            square += float((alone.score.astype(np.float64) ** 2).sum())
            curvature += float(alone.precision.sum(dtype=np.float64))
        ratios.append(square / max(curvature, 1e-30))
    return np.array(ratios)


def find_junk(contrast: FloatArray, precision: FloatArray, rounds: int = 100) -> BoolArray:
    """Particles whose contrast is more likely about 0 than about the common one.

    A mixture of two Gaussians fitted by EM to the contrasts, each with its own measurement
    error: particles N(m, v) and junk N(0, u).

    Parameters
    ----------
    contrast, precision : (n,) float
        Fitted contrasts and one over their error variances.
    rounds : int
        Rounds at most.

    Returns
    -------
    (n,) bool
    """
    value = np.asarray(contrast, np.float64)
    error = 1 / np.maximum(np.asarray(precision, np.float64), 1e-9)
    centre = float(np.median(value))
    spread, junk_spread, share = 0.02, 0.02, 0.02
    odds = np.zeros(len(value))
    for _ in range(rounds):
        odds = share * _gauss(value, 0.0, junk_spread + error)
        odds /= odds + (1 - share) * _gauss(value, centre, spread + error) + 1e-300
        # What lies beyond the common contrast is no junk, however odd.
        odds[value > centre] = 0
        good = (1 - odds) / (spread + error)
        centre = float((good * value).sum() / good.sum())
        spread = _variance(value - centre, error, 1 - odds, spread)
        junk_spread = min(_variance(value, error, odds, junk_spread), 0.05 * centre**2)
        share = float(np.clip(odds.mean(), 1e-5, 0.5))
    return (odds > 0.5) & (value < 0.6 * centre)


def _gauss(value: FloatArray, centre: float, variance: FloatArray) -> FloatArray:
    out: FloatArray = np.exp(-0.5 * (value - centre) ** 2 / variance) / np.sqrt(variance)
    return out


def _variance(gap: FloatArray, error: FloatArray, weight: FloatArray, old: float) -> float:
    """One EM step for the variance behind measurements with known errors."""
    if weight.sum() < 1e-3:
        return old
    shrink = old / (old + error)
    second = (shrink * gap) ** 2 + shrink * error
    return max(float((weight * second).sum() / weight.sum()), 1e-6)
