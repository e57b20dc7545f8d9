"""Principal components of individual particles: EM for probabilistic PCA on central slices."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np
from scipy import fft

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.linear_algebra import principal_axes
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.axes import rotate_onto
from pcainit.engine.model.e_step import component_e_step
from pcainit.engine.model.image_model import Background, LatentModel, NuisanceSpread
from pcainit.engine.model.m_step import Weights, maximise
from pcainit.engine.model.nuisance_prior import recalibrate

# Inside a mask neighbouring Fourier coefficients go together, and the mask averages their noise:
# components are damped by the mask's share of the box (times this) less than single coefficients.
COMPONENT_DAMPING = 6.0
# Early rounds are done on a quarter of the particles, within these bounds.
MIN_EARLY, MAX_EARLY = 5000, 20000
# Each round goes so many times as far as EM would, and on by a share of the step before (as in the
# power method with momentum, Xu et al. 2018): eight rounds find more of weak components than ten.
OVER_RELAXATION, MOMENTUM = 1.8, 0.25


@dataclass(frozen=True)
class Schedule:
    """Number of rounds of EM, and on how many particles.

    Parameters
    ----------
    rounds : int
    early : int, optional
        Number of first rounds that are done on a sample; half of all when not given.
    learn_nuisance : bool
        Re-estimate the nuisance spreads each round.
    """

    rounds: int = 10
    early: int | None = None
    learn_nuisance: bool = True


def orthonormalise(scaled: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Principal axes of ``W second W'``: orthonormal components and their variances.

    Parameters
    ----------
    scaled : (q, box, box, box) float32
        Columns W.
    second : (q, q) float64
        Second moment of their coefficients (parameter-expanded EM).

    Returns
    -------
    components : (q, box, box, box) float32
    variances : (q,) float64, decreasing
    """
    flat = scaled.reshape(len(scaled), -1).astype(np.float64)
    root = np.linalg.cholesky(second + 1e-12 * np.trace(second) * np.eye(len(second)))
    axes, singular = principal_axes(root.T @ flat)
    sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    components = (axes * sign[:, None]).reshape(scaled.shape).astype(np.float32)
    return components, np.maximum(singular**2, 1e-30)


def random_start(
    background: Background, mask: FloatArray, q: int, seed: int, share: float = 0.01
) -> LatentModel:
    """Random components with the mean's spectrum and a small share of its power."""
    rng = np.random.default_rng([seed, 11])
    grid = background.grid
    noise = rng.standard_normal((q,) + (grid.box,) * 3).astype(np.float32)
    coloured = np.stack([colour(v, background.signal, grid) * mask for v in noise])
    components, _ = orthonormalise(coloured, np.eye(q))
    power = float((background.mean.astype(np.float64) ** 2 * mask).sum())
    return LatentModel(components, np.full(q, share * power), NuisanceSpread())


def colour(noise: FloatArray, spectrum: FloatArray, grid: Grid) -> FloatArray:
    """White noise in the working box given a power spectrum per shell (n_shells,)."""
    gain = np.append(np.sqrt(np.maximum(spectrum, 0)), 0)
    filtered = fft.rfftn(noise) * gain[grid.box_shells]
    out: FloatArray = fft.irfftn(filtered, s=noise.shape).astype(np.float32)
    return out


def fit_components(
    background: Background,
    mask: FloatArray,
    start: LatentModel,
    index: IntArray,
    *,
    held: LatentModel | None = None,
    schedule: Schedule = Schedule(),
    weights: Weights | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> LatentModel:
    """EM for the components of some particles.

    Equation (9) of docs/theory.md.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    mask : (box, box, box) float32
        Components are zero outside.
    start : LatentModel
        Components that EM begins with.
    index : (m,) int
        Which particles.
    held : LatentModel, optional
        Components that stay as they are beside those that are sought.
    schedule : Schedule
        How many rounds, and which of them on a sample.
    weights : Weights, optional
        Those of `background`, with what has been summed before.
    progress : callable
        Told the share that is done.

    Returns
    -------
    LatentModel
    """
    model, q, everyone, previous = start, start.q, index, start.scaled
    weights = weights or Weights(background)
    rounds, learn_nuisance = schedule.rounds, schedule.learn_nuisance
    early = rounds // 2 if schedule.early is None else schedule.early
    for k in range(rounds):
        if k in (0, early):
            some = int(np.clip(len(everyone) // 4, MIN_EARLY, MAX_EARLY))
            index = subsample(everyone, some) if k < early else everyone
            weight = weights.of(index)
        both = model.scaled if held is None else np.concatenate([model.scaled, held.scaled])
        t = len(both)
        precision = model.nuisance.precision_beside(t)
        result = component_e_step(background, both, precision, index, n_free=q)
        fresh = maximise(
            background, result, model.scaled, mask, weight, COMPONENT_DAMPING * mask.mean()
        )
        fresh = model.scaled + OVER_RELAXATION * (fresh - model.scaled)
        fresh += MOMENTUM * (model.scaled - rotate_onto(previous, model.scaled))
        previous = model.scaled
        components, variances = orthonormalise(fresh, result.moments[:q, :q])
        nuisance = model.nuisance
        if learn_nuisance:
            nuisance = nuisance.improved(np.diag(result.moments)[t:], result.squares[t:])
        model = LatentModel(components, variances, nuisance, float(result.gains.mean()))
        if learn_nuisance and k + 1 in (early, rounds):
            model = recalibrate(background, model, index)
        progress((k + 1) / rounds)
    return model
