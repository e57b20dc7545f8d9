"""Do particles that had no part in finding a direction vary along it?  Score tests of variance."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import BoolArray, FloatArray, IntArray
from pcainit.engine.components.rules import RULES
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.e_step import posterior_statistics
from pcainit.engine.model.image_model import Background, LatentModel, NuisanceSpread, in_parts
from pcainit.engine.model.statistics import Latents, marginalise

# So many particles tell which of two components is stronger, unless a score is so near the bound.
COMPARING, UNSURE = 20000, 3.0


def held_out_score(
    directions: FloatArray,
    background: Background,
    index: IntArray,
    spread: NuisanceSpread,
    beside: LatentModel | None = None,
) -> FloatArray:
    """Evidence for given directions in particles that had no part in finding them.

    Equation (13) of docs/theory.md.

    Score test of variance along each direction, the other ones integrated out:
    ``sum(b^2 - G) / sqrt(2 sum G^2)`` is about standard normal when there is none.

    Parameters
    ----------
    directions : (c, box, box, box) float32
    background : Background
    index : (m,) int
    spread : NuisanceSpread
    beside : LatentModel, optional
        Components that are known already: integrated out.

    Returns
    -------
    (c,) float64
    """
    latents, size = _along(directions, background, index, spread, beside)
    c = len(directions)
    scores = []
    for j in range(c):
        # Directions are orthogonal in the volume, not in the images: the others must not leak in.
        order = np.r_[j, np.delete(np.arange(c), j)]
        excess = square = 0.0
        for part in in_parts(len(index)):
            alone = marginalise(
                latents.precision[part][:, order][:, :, order],
                latents.score[part][:, order],
                1,
                1 / size[order[1:]],
            )
            gram = alone.precision[:, 0, 0].astype(np.float64)
            excess += float((alone.score[:, 0].astype(np.float64) ** 2 - gram).sum())
            square += float((gram**2).sum())
        scores.append(excess / np.sqrt(2 * square))
    return np.array(scores)


def marginal_variances(
    directions: FloatArray, background: Background, index: IntArray, spread: NuisanceSpread
) -> FloatArray:
    """Variance of some particles along each direction by itself, by the method of moments.

    Parameters
    ----------
    directions : (c, box, box, box) float32
    background : Background
    index : (m,) int
    spread : NuisanceSpread

    Returns
    -------
    (c,) float64
        At least its own standard error.
    """
    return _along(directions, background, index, spread, None)[1]


def _along(
    directions: FloatArray,
    background: Background,
    index: IntArray,
    spread: NuisanceSpread,
    beside: LatentModel | None,
) -> tuple[Latents, FloatArray]:
    """Statistics along directions, and the variance along each with the others left out."""
    known = directions[:0] if beside is None else beside.scaled
    c = len(directions)
    precision = spread.precision_beside(c + len(known))
    volumes = np.concatenate([directions, known])
    latents = Latents(
        np.empty((len(index), c, c), np.float32), np.empty((len(index), c), np.float32)
    )
    for part in in_parts(len(index)):
        result = posterior_statistics(background, volumes, precision, index[part])
        some = marginalise(result.grams, result.scores, c, precision[c:])
        latents.precision[part], latents.score[part] = some.precision, some.score
    gram = np.einsum("ncc->nc", latents.precision).astype(np.float64)
    excess = (latents.score.astype(np.float64) ** 2 - gram).sum(axis=0)
    square = (gram**2).sum(axis=0)
    return latents, np.maximum(excess, np.sqrt(square)) / square


def exceeds_model_error(
    components: FloatArray,
    background: Background,
    index: IntArray,
    spread: NuisanceSpread,
    least: float = RULES.min_signal,
) -> BoolArray:
    """Which components vary by more than the model errs about the strongest of them.

    Parameters
    ----------
    components : (q, box, box, box) float32
    background : Background
    index : (m,) int
        Of many some are looked at, and all where these leave a doubt.
    spread : NuisanceSpread
    least : float
        Share of the strongest one's score that a component must have.

    Returns
    -------
    (q,) bool
    """
    some = subsample(index, COMPARING)
    score = held_out_score(components, background, some, spread)
    above = score - least * np.max(score, initial=0.0)
    if len(some) < len(index) and (np.abs(above) < UNSURE).any():
        score = held_out_score(components, background, index, spread)
        above = score - least * np.max(score, initial=0.0)
    return above >= 0


def explained_by(coordinates: FloatArray, features: FloatArray) -> FloatArray:
    """Share of each coordinate's variance that a linear fit to features explains.

    Parameters
    ----------
    coordinates : (n, q) float
    features : (n, m) float

    Returns
    -------
    (q,) float64, adjusted for the number of features
    """
    design = np.column_stack([np.ones(len(features)), features])
    fit, *_ = np.linalg.lstsq(design, coordinates, rcond=None)
    left = ((coordinates - design @ fit) ** 2).mean(axis=0)
    share = 1 - left / np.maximum(coordinates.var(axis=0), 1e-30)
    out: FloatArray = np.maximum(share - features.shape[1] / len(features), 0)
    return out
