"""Components that the user gives: made fit for the model, and the spread that the data show."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Callable

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.components.score_test import marginal_variances
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import solvent_level
from pcainit.engine.geometry.resample import resample
from pcainit.engine.model.e_step import posterior_moments
from pcainit.engine.model.em import orthonormalise, random_start
from pcainit.engine.model.image_model import Background, LatentModel, NuisanceSpread
from pcainit.engine.model.nuisance_prior import spread_beside

# Of a component, this share of its power inside the mask must be its own ...
MIN_OWN = 0.01
# ... and it must be less like the consensus than this: whole maps are, and mere contrast.
MAX_LIKE_MEAN = 0.8
# Less of the volume's variance inside the mask: it is constant there.
MIN_INSIDE = 1e-4
ROUNDS = 6


def fit_component(
    volume: FloatArray,
    sampling: float,
    grid: Grid,
    mask: FloatArray,
    mean: tuple[FloatArray, float] | None = None,
) -> FloatArray:
    """A given volume as a component: on the working grid, solvent 0, masked, of norm 1.

    Parameters
    ----------
    volume : (n, n, n) float32
    sampling : float
        Angstrom per pixel.
    grid : Grid
    mask : (box, box, box) float32
    mean : volume and sampling, optional
        Subtracted first.

    Returns
    -------
    (box, box, box) float32
        Zero where it is as good as constant inside the mask.
    """
    found = resample(volume, sampling, grid)
    if mean is not None:
        found = found - resample(*mean, grid)
    inner = float((found * mask).sum(dtype=np.float64) / mask.sum(dtype=np.float64))
    varies = float((((found - inner) * mask).astype(np.float64) ** 2).sum())
    if not varies > MIN_INSIDE * found.var(dtype=np.float64) * found.size:
        return np.zeros_like(found)
    found = (found - np.float32(solvent_level(found, mask))) * mask
    power = float((found.astype(np.float64) ** 2).sum())
    return (found / np.float32(np.sqrt(power))).astype(np.float32)


def likeness(volume: FloatArray, mean: FloatArray, mask: FloatArray) -> float:
    """Cosine of a component with the consensus inside the mask, solvent 0, without its sign."""
    body = (mean - np.float32(solvent_level(mean, mask))) * mask
    norm = np.sqrt(float((body.astype(np.float64) ** 2).sum()))
    out: float = abs(float((volume * body).sum(dtype=np.float64))) / max(norm, 1e-30)
    return out


def first_dependent(volumes: FloatArray) -> int:
    """Number (from 0) of the first volume of norm 1 that those before it make up; -1 for none."""
    flat = volumes.reshape(len(volumes), -1).astype(np.float64)
    own = np.diag(np.linalg.qr(flat.T, mode="r")) ** 2
    bad = np.flatnonzero(own < MIN_OWN)
    return int(bad[0]) if len(bad) else -1


def initial_model(
    background: Background, mask: FloatArray, q: int, seed: int, given: FloatArray
) -> LatentModel:
    """A start of q components: the given ones, and random ones beside them.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    q : int
        At least the number of given ones.
    seed : int
    given : (c, box, box, box) float32
        Of norm 1, linearly independent.

    Returns
    -------
    LatentModel
    """
    start = random_start(background, mask, q, seed)
    if not len(given):
        return start
    both = np.concatenate([given, start.components[: q - len(given)]])
    return dataclasses.replace(start, components=orthonormalise(both, np.eye(q))[0])


def fit_spread(
    background: Background,
    given: FloatArray,
    nuisance: NuisanceSpread,
    index: IntArray,
    progress: Callable[[float], None] = lambda share: None,
) -> LatentModel:
    """Variances along given components and nuisance spreads; their span is not changed.

    Parameters
    ----------
    background : Background
    given : (c, box, box, box) float32
        Of norm 1, linearly independent.
    nuisance : NuisanceSpread
        To start from.
    index : (m,) int
        Which particles.
    progress : callable

    Returns
    -------
    LatentModel
        The principal axes of what the particles show inside the span.
    """
    components, _ = orthonormalise(given, np.eye(len(given)))
    variances = marginal_variances(components, background, index, nuisance)
    model = LatentModel(components, variances, nuisance)
    for k in range(ROUNDS):
        precision = model.nuisance.precision_beside(model.q)
        result = posterior_moments(background, model.scaled, precision, index)
        components, variances = orthonormalise(model.scaled, result.moments[: model.q, : model.q])
        nuisance = model.nuisance.improved(
            np.diag(result.moments)[model.q :], result.squares[model.q :]
        )
        model = LatentModel(components, variances, nuisance, float(result.gains.mean()))
        progress((k + 1) / (ROUNDS + 1))
    return dataclasses.replace(model, nuisance=spread_beside(background, model, index))


def share_in_span(volumes: FloatArray, basis: FloatArray) -> list[float]:
    """Cosine of each volume of norm 1 with the span of an orthonormal basis."""
    flat = basis.reshape(len(basis), int(np.prod(volumes.shape[1:]))).astype(np.float64)
    return [float(np.sqrt(((flat @ volume.ravel()) ** 2).sum())) for volume in volumes]
