"""Is there heterogeneity?  Half-set agreement of components, its null, and artefacts."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from pcainit.engine.grid import Grid
from pcainit.engine.latent_model import (
    Background,
    LatentModel,
    NuisanceSpread,
    in_parts,
    run_pass,
)
from pcainit.engine.latents import Latents, marginalise
from pcainit.engine.nuisance_span import nuisance_share
from pcainit.engine.particle_pca import colour
from pcainit.engine.particles import thin
from pcainit.engine.threads import side_by_side
from pcainit.settings import MOST_NUISANCE

# A component is certified when its half-set cosine exceeds the null's upper bound this many
# times (half-way to 1 is enough), and this cosine in any case.
NULL_FACTOR = 1.3
LEAST_COSINE = 0.3
# The other half's particles must confirm it by so many standard deviations.
LEAST_SCORE = 5.0
# Where both halves started from given components, noise fitted to all of the particles lingers: it
# scored up to 6.8 on null sets (1,500 and 4,000 particles, 4 and 8 components given).
LEAST_STARTED_SCORE = 10.0
# A component that varies by less than this share of the strongest one's variance (in units of the
# particles' noise) is what the model gets wrong about that one: many particles make it significant.
LEAST_SIGNAL = 0.01
# So many particles tell which of two components is stronger, unless a score is so near the bound.
COMPARING, UNSURE = 20000, 3.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Agreement of the components of two independent half-sets.

    Parameters
    ----------
    cosines : (q,) float64
        Principal cosines of the two subspaces, decreasing.
    null : float
        What components of noise reach: 99th percentile of the largest cosine, for the spectra
        of those that are not certified.
    basis : (c, box, box, box) float32
        Certified directions, the normalised mean of the halves' principal vectors.
    pairs : (2, c, box, box, box) float32
        The halves' principal vectors themselves.
    artefacts : int
        Directions that agree but resemble contrast or pose errors.
    """

    cosines: np.ndarray
    null: float
    basis: np.ndarray
    pairs: np.ndarray
    artefacts: int = 0

    @property
    def count(self) -> int:
        """Number of certified components."""
        return len(self.basis)


def principal_directions(one: np.ndarray, two: np.ndarray
                         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal cosines (q,) and vectors (q, ...) of two orthonormal sets of volumes."""
    a, b = one.reshape(len(one), -1), two.reshape(len(two), -1)
    left, cosines, right = np.linalg.svd(a.astype(np.float64) @ b.T)
    first, second = (left.T @ a).reshape(one.shape), (right @ b).reshape(two.shape)
    return np.minimum(cosines, 1.0), first, second


def null_cosines(spectra: np.ndarray, mask: np.ndarray, grid: Grid, seed: int,
                 draws: int = 100) -> np.ndarray:
    """Largest principal cosines that pairs of noise subspaces reach (99th percentile).

    Noise at low resolution has few degrees of freedom inside a mask, so the noise volumes are given
    the spectra of the components themselves.

    Parameters
    ----------
    spectra : (q, n_shells) float64
        Power of each component.
    mask : (box, box, box) float32
    grid : Grid
    seed : int
    draws : int

    Returns
    -------
    (q,) float64
        Of the subspaces of all components, of those from the second on, from the third on ...
    """
    inside, q = mask > 0.01, len(spectra)

    def subspace(number: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 31, number])
        flat = [(colour(rng.standard_normal(mask.shape).astype(np.float32), spectrum, grid)
                 * mask)[inside] for spectrum in spectra]
        # The last first: what the last so many span is then spanned by as many first columns.
        return np.linalg.qr(np.stack(flat[::-1], axis=1))[0]

    count = int(np.ceil(np.sqrt(2 * draws)))
    spaces = side_by_side(subspace, range(count))
    products = np.stack([spaces[i].T @ spaces[j] for i in range(count) for j in range(i)])
    return np.array([np.percentile(np.linalg.svd(products[:, :size, :size],
                                                 compute_uv=False)[:, 0], 99)
                     for size in range(q, 0, -1)])


def certify(one: LatentModel, two: LatentModel, mask: np.ndarray, grid: Grid, seed: int
            ) -> Evidence:
    """Which directions two independently fitted models share.

    Parameters
    ----------
    one, two : LatentModel
        Of the two half-sets.
    mask : (box, box, box) float32
    grid : Grid
    seed : int

    Returns
    -------
    Evidence
    """
    cosines, first, second = principal_directions(one.components, two.components)
    spectra = np.array([(grid.shell_profile(a) + grid.shell_profile(b)) / 2
                        for a, b in zip(first, second)])
    # One direction after the other: a strong one must not hide what noise does in the others.
    count, null, nulls = 0, 0.0, null_cosines(spectra, mask, grid, seed)
    while count < len(cosines):
        null = float(nulls[count])
        if cosines[count] <= max(min(NULL_FACTOR * null, (1 + null) / 2), LEAST_COSINE):
            break
        count += 1
    basis = first[:count] + second[:count]
    norm = np.sqrt((basis ** 2).sum(axis=(1, 2, 3), keepdims=True))
    return Evidence(cosines, null, (basis / np.maximum(norm, 1e-30)).astype(np.float32),
                    np.stack([first[:count], second[:count]]).astype(np.float32))


def held_out_score(directions: np.ndarray, background: Background, index: np.ndarray,
                   spread: NuisanceSpread, beside: Optional[LatentModel] = None) -> np.ndarray:
    """Evidence for given directions in particles that had no part in finding them.

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
            alone = marginalise(latents.precision[part][:, order][:, :, order],
                                latents.score[part][:, order], 1, 1 / size[order[1:]])
            gram = alone.precision[:, 0, 0].astype(np.float64)
            excess += float((alone.score[:, 0].astype(np.float64) ** 2 - gram).sum())
            square += float((gram ** 2).sum())
        scores.append(excess / np.sqrt(2 * square))
    return np.array(scores)


def marginal_variances(directions: np.ndarray, background: Background, index: np.ndarray,
                       spread: NuisanceSpread) -> np.ndarray:
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


def _along(directions: np.ndarray, background: Background, index: np.ndarray,
           spread: NuisanceSpread, beside: Optional[LatentModel]) -> Tuple[Latents, np.ndarray]:
    """Statistics along directions, and the variance along each with the others left out."""
    known = directions[:0] if beside is None else beside.scaled
    c = len(directions)
    precision = np.concatenate([np.ones(c + len(known)), spread.precision])
    volumes = np.concatenate([directions, known])
    latents = Latents(np.empty((len(index), c, c), np.float32),
                      np.empty((len(index), c), np.float32))
    for part in in_parts(len(index)):
        result = run_pass(background, volumes, precision, index[part], keep=True)
        some = marginalise(result.grams, result.scores, c, precision[c:])
        latents.precision[part], latents.score[part] = some.precision, some.score
    gram = np.einsum("ncc->nc", latents.precision).astype(np.float64)
    excess = (latents.score.astype(np.float64) ** 2 - gram).sum(axis=0)
    square = (gram ** 2).sum(axis=0)
    return latents, np.maximum(excess, np.sqrt(square)) / square


def confirm(evidence: Evidence, background: Background, halves: Tuple[np.ndarray, np.ndarray],
            mask: np.ndarray, spread: NuisanceSpread,
            beside: Optional[Tuple[LatentModel, LatentModel]] = None,
            least: float = LEAST_SCORE) -> Evidence:
    """Keep the certified directions that the other half's particles confirm and no artefact makes.

    Parameters
    ----------
    evidence : Evidence
    background : Background
    halves : two (m,) int arrays
    mask : (box, box, box) float32
    spread : NuisanceSpread
    beside : two LatentModel, optional
        Components of each half-set that are known already.
    least : float
        Standard deviations by which the other half's particles must confirm a direction.

    Returns
    -------
    Evidence
        Cosines of the directions that stay come first.
    """
    if not evidence.count:
        return evidence
    one, two = beside if beside is not None else (None, None)
    scores = np.minimum(
        held_out_score(evidence.pairs[0], background, halves[1], spread, two),
        held_out_score(evidence.pairs[1], background, halves[0], spread, one))
    share = nuisance_share(evidence.basis, background, mask, contrast=beside is None)
    real = scores > least
    # What is less certain may resemble less.
    keep = real & (share < MOST_NUISANCE * evidence.cosines[:evidence.count] ** 2)
    order = np.concatenate([np.flatnonzero(keep), np.flatnonzero(~keep),
                            np.arange(evidence.count, len(evidence.cosines))])
    return Evidence(evidence.cosines[order], evidence.null, evidence.basis[keep],
                    evidence.pairs[:, keep], int((real & ~keep).sum()))


def strong_enough(components: np.ndarray, background: Background, index: np.ndarray,
                  spread: NuisanceSpread, least: float = LEAST_SIGNAL) -> np.ndarray:
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
    some = thin(index, COMPARING)
    score = held_out_score(components, background, some, spread)
    above = score - least * np.max(score, initial=0.0)
    if len(some) < len(index) and (np.abs(above) < UNSURE).any():
        score = held_out_score(components, background, index, spread)
        above = score - least * np.max(score, initial=0.0)
    return above >= 0


def explained_by(coordinates: np.ndarray, features: np.ndarray) -> np.ndarray:
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
    return np.maximum(share - features.shape[1] / len(features), 0)
