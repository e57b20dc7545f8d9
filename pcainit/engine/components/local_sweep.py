"""Where do particles differ?  A search for small changes, region by region.

A component that fills the whole mask is found when its variance over the noise exceeds about
``sqrt(V / n)``, V being the number of voxels: a small region has a far lower threshold.  In each of
many overlapping spheres, what the components and the nuisances leave of n particles gives a
covariance of densities (score form of probabilistic PCA)::

    S - H,   S = sum b_i b_i',   b_i = U' P_i' C_i r_i,   H = sum U' P_i' C_i^2 P_i U

in a basis U of smooth densities inside the sphere.  Its leading eigenvector, relative to H, is the
region's component; S of the other half-set tests it, and so does S of scrambled particles
(`scrambling`), in which it must not be found.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np
from scipy import linalg

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.threads import parallel_map
from pcainit.engine.components.region_sums import Spheres, gather_spheres
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.scrambling import Scrambled
from pcainit.engine.model.image_model import Background, LatentModel
from pcainit.engine.model.m_step import Weights

# Radii of the spheres, in units of the resolution.
RADII = (2.25, 3.5)
SIGNAL_OVER_NOISE = 12.0  # of a region's component, to begin with
MIN_CLASS_WEIGHT = 50  # fewer make no state, however clear


@dataclass(frozen=True, eq=False)
class Region:
    """A sphere, and what two half-sets say about it.

    Parameters
    ----------
    centre : (3,) int
        z, y, x in the working box.
    radius : float
        Voxels of the working box.
    pair : (2, box, box, box) float32
        Unit component of each half-set, zero outside the sphere and the mask.
    cosine : float
        Between the two.
    score : float
        Of each half's component in the other half, standard deviations; mean times sqrt(2).
    strength : float
        Score that would be expected if the density inside came and went, per unit of the variance
        of its presence.
    scrambled_score : float
        Of the same components in scrambled particles, as if these were as many.
    scrambled_most : float
        Of the components that the scrambled particles themselves have here.
    """

    centre: IntArray
    radius: float
    pair: FloatArray
    cosine: float
    score: float
    strength: float
    scrambled_score: float = 0.0
    scrambled_most: float = 0.0


@dataclass(frozen=True, eq=False)
class _Leading:
    """Leading component of each half-set in one sphere, and how far the other half agrees."""

    vectors: tuple[FloatArray, FloatArray]
    excess: tuple[FloatArray, FloatArray]
    expected: tuple[FloatArray, FloatArray]
    weights: tuple[float, float]

    def score(self, vectors: tuple[FloatArray, FloatArray]) -> float:
        """Excess variance along one half's vector in the other half, mean times sqrt(2)."""
        total = 0.0
        for h in (0, 1):
            a, excess, expected = vectors[h], self.excess[1 - h], self.expected[1 - h]
            total += (a @ excess @ a) / (a @ expected @ a) * np.sqrt(self.weights[1 - h])
        out: float = total / np.sqrt(2)
        return out

    def strength(self, present: FloatArray) -> float:
        """What a change of variance v adds to the score, over v: v sum G^2."""
        out: float = sum(
            (present @ expected @ present) / (2 * np.sqrt(weight))
            for expected, weight in zip(self.expected, self.weights)
        ) / np.sqrt(2)
        return out


def _find_leading(spheres: Spheres, r: int, counts: tuple[int, int]) -> _Leading:
    vectors, excesses, expecteds, weights = [], [], [], []
    for h in (0, 1):
        total, expected = spheres.noise_level(r, h)
        excess = total - expected
        noise = np.sum(spheres.variances / np.maximum(np.diag(expected), 1e-30))
        ridge = spheres.variances.sum() / (SIGNAL_OVER_NOISE * noise)
        top = len(excess) - 1
        _, vector = linalg.eigh(
            excess, expected + ridge * np.eye(len(excess)), subset_by_index=(top, top)
        )
        # Particles differ in how much they tell: var(sum b^2) = 2 sum G^2 > 2 (sum G)^2 / n.
        uneven = np.median(spheres.fourth[h, r] * counts[h] / (3 * np.diag(total) ** 2))
        vectors.append(vector[:, 0])
        excesses.append(excess)
        expecteds.append(expected)
        weights.append(counts[h] / (2 * max(uneven, 1.0)))
    return _Leading(
        (vectors[0], vectors[1]),
        (excesses[0], excesses[1]),
        (expecteds[0], expecteds[1]),
        (weights[0], weights[1]),
    )


def _judge(
    spheres: Spheres,
    r: int,
    counts: tuple[int, int],
    null: Spheres | None,
    null_counts: tuple[int, int],
    scale: float,
) -> Region:
    """What two half-sets say of one sphere, and what scrambled particles say."""
    found = _find_leading(spheres, r, counts)
    basis, mask = spheres.masked_basis(r), spheres.mask
    pair = np.zeros((2,) + mask.shape, np.float32)
    z, y, x = spheres.places(r).T
    for h in (0, 1):
        pair[h][z, y, x] = basis @ found.vectors[h]
        pair[h] /= np.sqrt((pair[h] ** 2).sum())
    cosine = float((pair[0] * pair[1]).sum())
    pair[1] *= np.sign(cosine) or 1
    same = most = 0.0
    if null is not None:
        other = _find_leading(null, r, null_counts)
        same, most = (scale * other.score(v) for v in (found.vectors, other.vectors))
    return Region(
        spheres.centres[r],
        spheres.radius,
        pair,
        abs(cosine),
        found.score(found.vectors),
        found.strength(spheres.presence(r)),
        same,
        most,
    )


def detectable_share(regions: Sequence[Region], count: int) -> tuple[float, float]:
    """Smallest share of particles whose loss of a small region would have been found.

    Parameters
    ----------
    regions : sequence of Region
    count : int
        Number of particles.

    Returns
    -------
    share : float
        In three of four of the smallest regions; 1 when no share would have been found.
    radius : float
        Theirs, voxels.
    """
    radius = min(region.radius for region in regions)
    # A place at the rim has less density to lose than one in the middle.
    strength = float(np.percentile([r.strength for r in regions if r.radius == radius], 25))
    variance = RULES.sure_score / max(strength, 1e-30)  # of presence: p (1 - p)
    if variance >= 0.25:
        return 1.0, radius
    share = max(0.5 - float(np.sqrt(0.25 - variance)), MIN_CLASS_WEIGHT / count)
    return min(share, 1.0), radius


def sweep(
    background: Background,
    models: tuple[LatentModel, LatentModel],
    halves: tuple[IntArray, IntArray],
    mask: FloatArray,
    weights: Weights | None = None,
    progress: Callable[[float], None] = lambda share: None,
    scrambled: Scrambled | None = None,
) -> list[Region]:
    """Look at every region.

    Equation (14) of docs/theory.md.

    Parameters
    ----------
    background : Background
    models : two LatentModel
        What is known of each half-set: components and nuisances to leave out.
    halves : two (m,) int arrays
    mask : (box, box, box) float32
    weights : Weights, optional
        Those of `background`, with what has been summed before.
    progress : callable
    scrambled : Scrambled, optional
        Looked at in the same way.

    Returns
    -------
    list of Region
        In no particular order.
    """
    grid = background.grid
    # Larger spheres would not fit into a small box.
    radii = sorted({min(r * grid.resolution / grid.voxel, grid.box / 4) for r in RADII})
    counts = (len(halves[0]), len(halves[1]))
    total = sum(counts) + (sum(map(len, scrambled.halves)) if scrambled else 0)
    own = sum(counts) / total
    sizes = gather_spheres(
        background,
        models,
        halves,
        mask,
        radii,
        weights or Weights(background),
        lambda share: progress(own * share),
    )
    nulls: list[Spheres | None] = [None] * len(sizes)
    null_counts, scale = counts, 1.0
    if scrambled is not None:
        nulls[:] = gather_spheres(
            scrambled.background,
            models,
            scrambled.halves,
            mask,
            radii,
            Weights(scrambled.background),
            lambda share: progress(own + (1 - own) * share),
        )
        null_counts = (len(scrambled.halves[0]), len(scrambled.halves[1]))
        scale = scrambled.scale
    return parallel_map(
        lambda key: _judge(sizes[key[0]], key[1], counts, nulls[key[0]], null_counts, scale),
        [(s, r) for s, size in enumerate(sizes) for r in range(len(size.centres))],
    )
