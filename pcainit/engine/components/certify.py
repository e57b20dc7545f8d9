"""Is there heterogeneity?  Half-set agreement of components, its null, and artefacts."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.threads import parallel_map
from pcainit.engine.components.nuisance_span import nuisance_share
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.score_test import held_out_score
from pcainit.engine.components.scrambling import Scrambled
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.em import colour
from pcainit.engine.model.image_model import Background, LatentModel, NuisanceSpread


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
    around : (2, a, box, box, box) float32, optional
        The halves' principal vectors that agree and are confirmed, but that scrambled particles
        have too: backgrounds and neighbours.
    around_score : float
        Largest score of these.
    """

    cosines: FloatArray
    null: float
    basis: FloatArray
    pairs: FloatArray
    artefacts: int = 0
    around: FloatArray | None = None
    around_score: float = 0.0

    @property
    def count(self) -> int:
        """Number of certified components."""
        return len(self.basis)


def principal_directions(
    one: FloatArray, two: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Principal cosines (q,) and vectors (q, ...) of two orthonormal sets of volumes.

    Parameters
    ----------
    one, two : (q, box, box, box) float
        Orthonormal components of the two half-sets.

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.components.certify import principal_directions
    >>> axes = np.eye(8).reshape(8, 2, 2, 2)
    >>> principal_directions(axes[:2], axes[1:3])[0].round(6).tolist()  # one in common
    [1.0, 0.0]
    """
    a, b = one.reshape(len(one), -1), two.reshape(len(two), -1)
    left, cosines, right = np.linalg.svd(a.astype(np.float64) @ b.T)
    first, second = (left.T @ a).reshape(one.shape), (right @ b).reshape(two.shape)
    return np.minimum(cosines, 1.0), first, second


def null_cosines(
    spectra: FloatArray, mask: FloatArray, grid: Grid, seed: int, draws: int = 100
) -> FloatArray:
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

    def subspace(number: int) -> FloatArray:
        rng = np.random.default_rng([seed, 31, number])
        flat = [
            (colour(rng.standard_normal(mask.shape).astype(np.float32), spectrum, grid) * mask)[
                inside
            ]
            for spectrum in spectra
        ]
        # The last first: what the last so many span is then spanned by as many first columns.
        return np.linalg.qr(np.stack(flat[::-1], axis=1))[0]

    count = int(np.ceil(np.sqrt(2 * draws)))
    spaces = parallel_map(subspace, range(count))
    products = np.stack([spaces[i].T @ spaces[j] for i in range(count) for j in range(i)])
    return np.array(
        [
            np.percentile(np.linalg.svd(products[:, :size, :size], compute_uv=False)[:, 0], 99)
            for size in range(q, 0, -1)
        ]
    )


def certify(
    one: LatentModel, two: LatentModel, mask: FloatArray, grid: Grid, seed: int
) -> Evidence:
    """Which directions two independently fitted models share.

    Equation (12) of docs/theory.md.

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
    spectra = np.array(
        [(grid.shell_profile(a) + grid.shell_profile(b)) / 2 for a, b in zip(first, second)]
    )
    # One direction after the other: a strong one must not hide what noise does in the others.
    count, null, nulls = 0, 0.0, null_cosines(spectra, mask, grid, seed)
    while count < len(cosines):
        null = float(nulls[count])
        if cosines[count] <= max(min(RULES.null_factor * null, (1 + null) / 2), RULES.min_cosine):
            break
        count += 1
    basis = first[:count] + second[:count]
    norm = np.sqrt((basis**2).sum(axis=(1, 2, 3), keepdims=True))
    return Evidence(
        cosines,
        null,
        (basis / np.maximum(norm, 1e-30)).astype(np.float32),
        np.stack([first[:count], second[:count]]).astype(np.float32),
    )


def confirm(
    evidence: Evidence,
    background: Background,
    halves: tuple[IntArray, IntArray],
    mask: FloatArray,
    spread: NuisanceSpread,
    beside: tuple[LatentModel, LatentModel] | None = None,
    least: float = RULES.min_score,
    scrambled: Scrambled | None = None,
) -> Evidence:
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
    scrambled : Scrambled, optional
        The same particles with residuals exchanged: a direction along which they vary as well is
        made by backgrounds or neighbours.

    Returns
    -------
    Evidence
        Cosines of the directions that stay come first.
    """
    if not evidence.count:
        return evidence
    if scrambled is not None:
        least *= scrambled.redundancy
    scores = _crossed_scores(evidence.pairs, background, halves, spread, beside)
    share = nuisance_share(evidence.basis, background, mask, contrast=beside is None)
    real, around = scores.min(axis=0) > least, np.zeros(evidence.count, bool)
    if scrambled is not None and real.any():
        if scrambled.crowded:
            around = real & _also_scrambled(
                evidence.pairs, scores, scrambled, spread, beside, least
            )
        if scrambled.mates is not None:
            mates = _crossed_scores(evidence.pairs, scrambled.mates, halves, spread, beside)
            around |= real & (mates.mean(axis=0) < RULES.min_at_mates * scores.mean(axis=0))
    # What is less certain may resemble less.
    clean = share < RULES.max_nuisance * evidence.cosines[: evidence.count] ** 2
    keep = real & ~around & clean
    order = np.concatenate(
        [
            np.flatnonzero(keep),
            np.flatnonzero(~keep),
            np.arange(evidence.count, len(evidence.cosines)),
        ]
    )
    return Evidence(
        evidence.cosines[order],
        evidence.null,
        evidence.basis[keep],
        evidence.pairs[:, keep],
        int((real & ~around & ~clean).sum()),
        evidence.pairs[:, around],
        float(scores.mean(axis=0)[around].max(initial=0)),
    )


def _crossed_scores(
    pairs: FloatArray,
    background: Background,
    halves: tuple[IntArray, IntArray],
    spread: NuisanceSpread,
    beside: tuple[LatentModel, LatentModel] | None,
) -> FloatArray:
    """Scores (2, c) of each half-set's directions in the other half-set."""
    one, two = beside if beside is not None else (None, None)
    return np.stack(
        [
            held_out_score(pairs[0], background, halves[1], spread, two),
            held_out_score(pairs[1], background, halves[0], spread, one),
        ]
    )


def _also_scrambled(
    pairs: FloatArray,
    scores: FloatArray,
    scrambled: Scrambled,
    spread: NuisanceSpread,
    beside: tuple[LatentModel, LatentModel] | None,
    least: float,
) -> FloatArray:
    """Which directions (c,) vary in scrambled particles too, for the most part."""
    null = scrambled.scale * _crossed_scores(
        pairs, scrambled.background, scrambled.halves, spread, beside
    )
    null, real = null.mean(axis=0), scores.mean(axis=0)
    inside = (pairs.astype(np.float64) ** 2 * scrambled.body).sum(axis=(2, 3, 4)).mean(axis=0)
    loose = null <= RULES.max_scrambled_inside * real
    strongest = max(real[~loose].max(initial=0.0), scrambled.strongest)
    # What is far weaker than the surroundings may be what is left of them.
    most = np.where(
        (inside > 0.5) & (real > RULES.min_of_surroundings * strongest),
        RULES.max_scrambled_inside,
        RULES.max_scrambled_outside,
    )
    if scrambled.confirmed:
        most[real > 0.5 * real.max()] = RULES.max_scrambled_inside
    own = null <= most * real
    # A little of other heterogeneity comes through the exchange.
    leak = RULES.leak * real[own].max(initial=0.0)
    out: FloatArray = (null - leak > most * real) | (real - null < least)
    return out
