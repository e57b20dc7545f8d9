"""Overlapping spheres, a basis of smooth densities in each, and the particles' sums in it."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable, Iterable, Iterator, Sequence

import numpy as np
from scipy import fft, linalg

from pcainit.engine.arrays import AnyArray, FloatArray, IntArray
from pcainit.engine.compiled.threads import parallel_map
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.model.e_step import unexplained_slices
from pcainit.engine.model.image_model import Background, LatentModel
from pcainit.engine.model.m_step import Weights
from pcainit.engine.projection.backproject import back_project, weight_kernel

CHUNK = 512
LARGEST_BASIS = 80
MIN_FILLED = 0.25  # share of a sphere that lies in the mask


def lay_regions(mask: FloatArray, radius: float) -> FloatArray:
    """Centres (r, 3) of overlapping spheres that cover a mask: a cubic lattice of one radius."""
    box = len(mask)
    steps = np.arange(-int(box / radius) - 1, int(box / radius) + 2)
    axis = np.rint(box // 2 + steps * radius).astype(int)
    axis = axis[(axis >= 0) & (axis < box)]
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    ball = _ball(radius)
    inside = mask > 0.5
    filled = np.array([_inside(inside, c + ball).mean() for c in centres])
    out: FloatArray = centres[filled >= MIN_FILLED]
    return out


def _ball(radius: float) -> IntArray:
    """Offsets (v, 3) of the voxels of a sphere, z y x."""
    reach = int(np.floor(radius))
    axis = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    out: IntArray = offsets[(offsets**2).sum(axis=1) < radius**2]
    return out


def _inside(volume: AnyArray, places: IntArray) -> FloatArray:
    """Values of a volume at places, 0 beyond its box."""
    fits = ((places >= 0) & (places < len(volume))).all(axis=1)
    z, y, x = np.where(fits[:, None], places, 0).T
    out: FloatArray = volume[z, y, x] * fits
    return out


def smooth_basis(
    ball: IntArray, radius: float, spectrum: FloatArray, grid: Grid
) -> tuple[FloatArray, FloatArray]:
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
    edge = soft_edge(np.sqrt((ball**2).sum(axis=1)), 0.7 * radius, radius)
    edge = edge.astype(np.float32)
    covariance = next(_toeplitz([kernel / kernel[0, 0, 0]], ball))
    covariance *= edge[:, None]
    covariance *= edge
    total = covariance.trace(dtype=np.float64)
    d = min(LARGEST_BASIS, len(ball))
    values, vectors = linalg.eigh(
        covariance, subset_by_index=(len(ball) - d, len(ball) - 1), overwrite_a=True
    )
    values, vectors = np.maximum(values[::-1].astype(np.float64), 0), vectors[:, ::-1]
    d = int(np.searchsorted(np.cumsum(values), 0.99 * total)) + 1
    return vectors[:, :d] * np.sqrt(values[:d]), values[:d]


def _toeplitz(kernels: Iterable[FloatArray], ball: IntArray) -> Iterator[FloatArray]:
    """Matrices (v, v) float32 of periodic kernels' values at the differences of voxels."""
    reach = 2 * int(ball.max())
    size, axis = 2 * reach + 1, np.arange(-reach, reach + 1)
    place = ball @ np.array([size**2, size, 1])
    differences = place[:, None] - place + size**3 // 2
    for kernel in kernels:
        near = kernel[np.ix_(axis, axis, axis)].astype(np.float32)
        yield near.ravel().take(differences)


class Spheres:
    """All spheres of one radius: their voxels, basis and the sums over the particles.

    Parameters
    ----------
    radius : float
        Voxels of the working box.
    mask : (box, box, box) float32
    background : Background
    kernels : two (box, box, box) arrays
        `weight_kernel` of each half-set.
    """

    def __init__(
        self, radius: float, mask: FloatArray, background: Background, kernels: list[FloatArray]
    ) -> None:
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

    def add(self, r: int, half: int, scores: FloatArray) -> None:
        """Take in the scores (d, m) of some particles in one region."""
        self.sums[half, r] += scores @ scores.T
        squares = scores * scores
        self.fourth[half, r] += np.einsum("dm,dm->d", squares, squares)

    def places(self, r: int) -> IntArray:
        """Voxels (v, 3) of a region that lie in the mask."""
        out: IntArray = self.centres[r] + self.ball[self.kept[r]]
        return out

    def masked_basis(self, r: int) -> FloatArray:
        """The basis (v, d) inside the mask."""
        return self.basis[self.kept[r]] * _inside(self.mask, self.places(r))[:, None]

    def expected(self, r: int, half: int) -> FloatArray:
        """H of one half-set, (d, d)."""
        basis, kept = self.masked_basis(r).astype(np.float32), self.kept[r]
        normal = self.normal[half].take(kept, axis=0).take(kept, axis=1)
        return (basis.T @ (normal @ basis)).astype(np.float64)

    def presence(self, r: int) -> FloatArray:
        """The mean's own density inside a region, as coefficients of the basis."""
        density = _inside(self.mean, self.centres[r] + self.ball)
        edge = soft_edge(np.sqrt((self.ball**2).sum(axis=1)), 0.7 * self.radius, self.radius)
        out: FloatArray = self.basis.T @ (density * edge) / np.maximum(self.variances, 1e-30)
        return out

    def noise_level(self, r: int, half: int) -> tuple[FloatArray, FloatArray]:
        """S of one half-set, and what noise makes of it: H times a level read off the bulk.

        The nuisances took their share of the noise, and neighbours bring some.
        """
        expected, total = self.expected(r, half), self.sums[half, r].astype(np.float64)
        _, axes = linalg.eigh(expected)
        axes = axes[:, len(axes) // 2 :]
        level = np.median(
            np.einsum("ij,ij->j", axes, total @ axes) / np.einsum("ij,ij->j", axes, expected @ axes)
        )
        return total, level * expected


def gather_spheres(
    background: Background,
    models: tuple[LatentModel, LatentModel],
    halves: tuple[IntArray, IntArray],
    mask: FloatArray,
    radii: Sequence[float],
    weights: Weights,
    progress: Callable[[float], None],
) -> list[Spheres]:
    """Sum what two models leave of each half-set's particles, in spheres that cover a mask.

    Parameters
    ----------
    background : Background
    models : two LatentModel
        What is known of each half-set: components and nuisances to leave out.
    halves : two (m,) int arrays
    mask : (box, box, box) float32
    radii : sequence of float
        Voxels of the working box.
    weights : Weights
        Those of `background`.
    progress : callable
        Told the share that is done.

    Returns
    -------
    list of Spheres
        One for each radius.
    """
    grid = background.grid
    kernels = [weight_kernel(weights.of(index), grid) for index in halves]
    sizes = [Spheres(radius, mask, background, kernels) for radius in radii]
    used = np.zeros(mask.shape, bool)
    for size in sizes:
        for r in range(len(size.centres)):
            used[tuple(size.places(r).T)] = True
    where = np.full(mask.shape, -1)
    where[used] = np.arange(used.sum())
    points = (np.argwhere(used) - grid.box // 2)[:, ::-1].astype(np.float32)
    bases: dict[tuple[int, int], tuple[IntArray, FloatArray]] = {
        (s, r): (
            where[tuple(size.places(r).T)],
            np.ascontiguousarray(size.masked_basis(r).T, np.float32),
        )
        for s, size in enumerate(sizes)
        for r in range(len(size.centres))
    }
    total, done = sum(len(index) for index in halves), 0
    for h in (0, 1):
        for first in range(0, len(halves[h]), CHUNK):
            part = halves[h][first : first + CHUNK]
            left = unexplained_slices(background, models[h], part)
            values = back_project(left, background.slices.rotations[part], points, grid)

            def take_in(key: tuple[int, int], h: int = h, values: FloatArray = values) -> None:
                place, basis = bases[key]
                sizes[key[0]].add(key[1], h, basis @ values.take(place, axis=0))

            parallel_map(take_in, bases)
            done += len(part)
            progress(done / total)
    return sizes
