"""Where do particles differ?  A search for small changes, region by region.

A component that fills the whole mask is found when its variance over the noise exceeds about
``sqrt(V / n)``, V being the number of voxels: a small region has a far lower threshold.  In each of
many overlapping spheres, what the components and the nuisances leave of n particles gives a
covariance of densities (score form of probabilistic PCA)::

    S - H,   S = sum b_i b_i',   b_i = U' P_i' C_i r_i,   H = sum U' P_i' C_i^2 P_i U

in a basis U of smooth densities inside the sphere.  Its leading eigenvector, relative to H, is the
region's component; S of the other half-set tests it.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from scipy import fft, linalg

from pcainit.engine.back_projection import back_project, weight_kernel
from pcainit.engine.grid import Grid
from pcainit.engine.latent_model import Background, LatentModel, unexplained_slices
from pcainit.engine.masks import soft_edge
from pcainit.engine.maximisation import Weights
from pcainit.engine.threads import side_by_side

CHUNK = 512
# Radii of the spheres, in units of the resolution.
RADII = (2.25, 3.5)
LARGEST_BASIS = 80
SIGNAL_OVER_NOISE = 12.0         # of a region's component, to begin with
# Score of a change that is found nearly always.
SURE_SCORE = 10.0
LEAST_PARTICLES = 50            # fewer make no state, however clear
LEAST_FILLED = 0.25             # share of a sphere that lies in the mask


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
    """

    centre: np.ndarray
    radius: float
    pair: np.ndarray
    cosine: float
    score: float
    strength: float


def lay_regions(mask: np.ndarray, radius: float) -> np.ndarray:
    """Centres (r, 3) of overlapping spheres that cover a mask: a cubic lattice of one radius."""
    box = len(mask)
    steps = np.arange(-int(box / radius) - 1, int(box / radius) + 2)
    axis = np.rint(box // 2 + steps * radius).astype(int)
    axis = axis[(axis >= 0) & (axis < box)]
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    ball = _ball(radius)
    inside = mask > 0.5
    filled = np.array([_inside(inside, c + ball).mean() for c in centres])
    return centres[filled >= LEAST_FILLED]


def _ball(radius: float) -> np.ndarray:
    """Offsets (v, 3) of the voxels of a sphere, z y x."""
    reach = int(np.floor(radius))
    axis = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return offsets[(offsets ** 2).sum(axis=1) < radius ** 2]


def _inside(volume: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of a volume at places, 0 beyond its box."""
    fits = ((places >= 0) & (places < len(volume))).all(axis=1)
    z, y, x = np.where(fits[:, None], places, 0).T
    return volume[z, y, x] * fits


def smooth_basis(ball: np.ndarray, radius: float, spectrum: np.ndarray, grid: Grid
                 ) -> Tuple[np.ndarray, np.ndarray]:
    """Principal components of random densities with a given spectrum inside a soft sphere.

    Parameters
    ----------
    ball : (v, 3) int
        Offsets of the voxels.
    radius : float
    spectrum : (n_shells,) float64
    grid : Grid

    Returns
    -------
    basis : (v, d) float64
        Columns times their standard deviations.
    variances : (d,) float64
    """
    power = np.append(np.maximum(spectrum, 0), 0)[grid.box_shells]
    kernel = fft.irfftn(power, s=(grid.box,) * 3)
    edge = soft_edge(np.sqrt((ball ** 2).sum(axis=1)), 0.7 * radius, radius)
    edge = edge.astype(np.float32)
    covariance = next(_toeplitz([kernel / kernel[0, 0, 0]], ball))
    covariance *= edge[:, None]
    covariance *= edge
    total = covariance.trace(dtype=np.float64)
    d = min(LARGEST_BASIS, len(ball))
    values, vectors = linalg.eigh(covariance, subset_by_index=(len(ball) - d, len(ball) - 1),
                                  overwrite_a=True)
    values, vectors = np.maximum(values[::-1].astype(np.float64), 0), vectors[:, ::-1]
    d = int(np.searchsorted(np.cumsum(values), 0.99 * total)) + 1
    return vectors[:, :d] * np.sqrt(values[:d]), values[:d]


def _toeplitz(kernels: Iterable[np.ndarray], ball: np.ndarray) -> Iterator[np.ndarray]:
    """Matrices (v, v) float32 of periodic kernels' values at the differences of voxels."""
    reach = 2 * int(ball.max())
    size, axis = 2 * reach + 1, np.arange(-reach, reach + 1)
    place = ball @ np.array([size ** 2, size, 1])
    differences = place[:, None] - place + size ** 3 // 2
    for kernel in kernels:
        near = kernel[np.ix_(axis, axis, axis)].astype(np.float32)
        yield near.ravel().take(differences)


class _Size:
    """All spheres of one radius: their voxels, basis and the sums over the particles."""

    def __init__(self, radius: float, mask: np.ndarray, background: Background,
                 kernels: List[np.ndarray]) -> None:
        grid = background.grid
        self.radius, self.ball = radius, _ball(radius)
        self.centres = lay_regions(mask, radius)
        self.basis, self.variances = smooth_basis(self.ball, radius, background.signal, grid)
        self.normal = list(_toeplitz(kernels, self.ball))
        self.mask, self.mean = mask, background.mean
        d = self.basis.shape[1]
        self.sums = np.zeros((2, len(self.centres), d, d), np.float32)
        self.fourth = np.zeros((2, len(self.centres), d))
        self.kept = [np.flatnonzero(_inside(mask, centre + self.ball)) for centre in self.centres]

    def add(self, r: int, half: int, scores: np.ndarray) -> None:
        """Take in the scores (d, m) of some particles in one region."""
        self.sums[half, r] += scores @ scores.T
        squares = scores * scores
        self.fourth[half, r] += np.einsum("dm,dm->d", squares, squares)

    def places(self, r: int) -> np.ndarray:
        """Voxels (v, 3) of a region that lie in the mask."""
        return self.centres[r] + self.ball[self.kept[r]]

    def masked_basis(self, r: int) -> np.ndarray:
        """The basis (v, d) inside the mask."""
        return self.basis[self.kept[r]] * _inside(self.mask, self.places(r))[:, None]

    def expected(self, r: int, half: int) -> np.ndarray:
        """H of one half-set, (d, d)."""
        basis, kept = self.masked_basis(r).astype(np.float32), self.kept[r]
        normal = self.normal[half].take(kept, axis=0).take(kept, axis=1)
        return (basis.T @ (normal @ basis)).astype(np.float64)

    def presence(self, r: int) -> np.ndarray:
        """The mean's own density inside a region, as coefficients of the basis."""
        density = _inside(self.mean, self.centres[r] + self.ball)
        edge = soft_edge(np.sqrt((self.ball ** 2).sum(axis=1)), 0.7 * self.radius, self.radius)
        return self.basis.T @ (density * edge) / np.maximum(self.variances, 1e-30)

    def judge(self, r: int, counts: Tuple[int, int]) -> Region:
        """Leading component of each half-set, and how far the other half agrees."""
        basis = self.masked_basis(r)
        vectors, parts = [], []
        for h in (0, 1):
            expected = self.expected(r, h)
            total = self.sums[h, r].astype(np.float64)
            # The nuisances took their share of the noise: its level is read off the bulk.
            _, axes = linalg.eigh(expected)
            axes = axes[:, len(axes) // 2:]
            level = np.median(np.einsum("ij,ij->j", axes, total @ axes)
                              / np.einsum("ij,ij->j", axes, expected @ axes))
            expected = level * expected
            excess = total - expected
            noise = np.sum(self.variances / np.maximum(np.diag(expected), 1e-30))
            ridge = self.variances.sum() / (SIGNAL_OVER_NOISE * noise)
            top = len(excess) - 1
            _, vector = linalg.eigh(excess, expected + ridge * np.eye(len(excess)),
                                    subset_by_index=(top, top))
            vectors.append(vector[:, 0])
            # Particles differ in how much they tell: var(sum b^2) = 2 sum G^2 > 2 (sum G)^2 / n.
            uneven = np.median(self.fourth[h, r] * counts[h] / (3 * np.diag(total) ** 2))
            parts.append((excess, expected, counts[h] / (2 * max(uneven, 1.0))))
        score = strength = 0.0
        present = self.presence(r)
        for h in (0, 1):
            a, (excess, expected, weight) = vectors[h], parts[1 - h]
            score += (a @ excess @ a) / (a @ expected @ a) * np.sqrt(weight)
            # A change of variance v adds v sum G^2 to the sum of b^2 - G.
            strength += (present @ expected @ present) / (2 * np.sqrt(weight))
        pair = np.zeros((2,) + self.mask.shape, np.float32)
        z, y, x = self.places(r).T
        for h in (0, 1):
            pair[h][z, y, x] = basis @ vectors[h]
            pair[h] /= np.sqrt((pair[h] ** 2).sum())
        cosine = float((pair[0] * pair[1]).sum())
        pair[1] *= np.sign(cosine) or 1
        return Region(self.centres[r], self.radius, pair, abs(cosine), score / np.sqrt(2),
                      strength / np.sqrt(2))


def detectable_share(regions: Sequence[Region], count: int) -> Tuple[float, float]:
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
    variance = SURE_SCORE / max(strength, 1e-30)                # of presence: p (1 - p)
    if variance >= 0.25:
        return 1.0, radius
    share = max(0.5 - float(np.sqrt(0.25 - variance)), LEAST_PARTICLES / count)
    return min(share, 1.0), radius


def sweep(background: Background, models: Tuple[LatentModel, LatentModel],
          halves: Tuple[np.ndarray, np.ndarray], mask: np.ndarray,
          weights: Optional[Weights] = None,
          progress: Callable[[float], None] = lambda share: None
          ) -> List[Region]:
    """Look at every region.

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

    Returns
    -------
    list of Region
        In no particular order.
    """
    grid, weights = background.grid, weights or Weights(background)
    kernels = [weight_kernel(weights.of(index), grid) for index in halves]
    # Larger spheres would not fit into a small box.
    radii = sorted({min(r * grid.resolution / grid.voxel, grid.box / 4) for r in RADII})
    sizes = [_Size(radius, mask, background, kernels) for radius in radii]
    used = np.zeros(mask.shape, bool)
    for size in sizes:
        for r in range(len(size.centres)):
            used[tuple(size.places(r).T)] = True
    where = np.full(mask.shape, -1)
    where[used] = np.arange(used.sum())
    points = (np.argwhere(used) - grid.box // 2)[:, ::-1].astype(np.float32)
    bases: Dict[Tuple[int, int], Tuple[np.ndarray, np.ndarray]] = {
        (s, r): (where[tuple(size.places(r).T)],
                 np.ascontiguousarray(size.masked_basis(r).T, np.float32))
        for s, size in enumerate(sizes) for r in range(len(size.centres))}
    total, done = sum(len(index) for index in halves), 0
    for h in (0, 1):
        for first in range(0, len(halves[h]), CHUNK):
            part = halves[h][first:first + CHUNK]
            left = unexplained_slices(background, models[h], part)
            values = back_project(left, background.slices.rotations[part], points, grid)

            def take_in(key: Tuple[int, int], h: int = h, values: np.ndarray = values) -> None:
                place, basis = bases[key]
                sizes[key[0]].add(key[1], h, basis @ values.take(place, axis=0))

            side_by_side(take_in, bases)
            done += len(part)
            progress(done / total)
    counts = (len(halves[0]), len(halves[1]))
    return side_by_side(lambda key: sizes[key[0]].judge(key[1], counts), bases)
