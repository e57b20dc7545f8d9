"""Central slices: read them from volumes, and add them to volumes (back-projection).

Trilinear interpolation in the oversampled half-space of `Grid`.  A slice sample at ``k`` lies at
``rotation.T @ (kx, ky, 0)``; where that has x < 0, its Friedel mate is used.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Optional

import numba
import numpy as np

from pcainit.engine.grid import Grid
from pcainit.engine.kernels import kernel

SCRATCH_BYTES = 256 * 2 ** 20
ITEMS_PER_GRID = 2500           # a grid of its own must be worth filling with zeros


def block_count(grid_bytes: int, items: int) -> int:
    """Number of private grids a sum runs over: a power of two that does not hang on threads."""
    most = min(SCRATCH_BYTES // max(1, grid_bytes), items // ITEMS_PER_GRID)
    return 2 ** int(np.log2(np.clip(most, 2, 16)))


def block_starts(count: int, blocks: int) -> np.ndarray:
    """(blocks + 1,) int64, bounds of near-equal runs of `count` items."""
    return np.linspace(0, count, blocks + 1).astype(np.int64)


@kernel(inline="always")
def sample_position(rotation, kx, ky, oversampling):
    """Half-space position (x, y, z) of a slice sample and the sign of its imaginary part."""
    x = oversampling * (rotation[0, 0] * kx + rotation[1, 0] * ky)
    y = oversampling * (rotation[0, 1] * kx + rotation[1, 1] * ky)
    z = oversampling * (rotation[0, 2] * kx + rotation[1, 2] * ky)
    sign = np.float32(1.0)
    if x < 0:
        x, y, z, sign = -x, -y, -z, np.float32(-1.0)
    return x, y, z, sign


@kernel(inline="always")
def corner(x, y, z, reach):
    """Indices of the lower corner of the cell that holds a position, and the fractions in it."""
    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    return (z0 + reach, y0 + reach, x0,
            np.float32(z - z0), np.float32(y - y0), np.float32(x - x0))


@kernel(parallel=True)
def _insert(values, ctf, whitening, rotations, symmetry, frequencies, oversampling, reach,
            order, starts, weights, sums):
    n_channels = weights.shape[1]
    for g in numba.prange(len(starts) - 1):
        out = sums[g]
        out[:] = 0              # numpy's zeros would come in small pages, which threads wait for
        add = np.empty(3 * n_channels, np.float32)
        for j in range(starts[g], starts[g + 1]):
            i = order[j]
            for s in range(symmetry.shape[0]):
                rotation = rotations[i] @ symmetry[s]
                for k in range(frequencies.shape[0]):
                    x, y, z, sign = sample_position(rotation, frequencies[k, 0],
                                                    frequencies[k, 1], oversampling)
                    c = ctf[i, k] * whitening[k]
                    cw = c * whitening[k]
                    re = values[i, 2 * k] * cw
                    im = values[i, 2 * k + 1] * cw * sign
                    cc = c * c
                    for m in range(n_channels):
                        w = weights[i, m]
                        add[3 * m] = re * w
                        add[3 * m + 1] = im * w
                        add[3 * m + 2] = cc * w
                    z0, y0, x0, fz, fy, fx = corner(x, y, z, reach)
                    for dz in range(2):
                        az = fz if dz else 1 - fz
                        for dy in range(2):
                            ay = az * (fy if dy else 1 - fy)
                            a0, a1 = ay * (1 - fx), ay * fx
                            row0 = out[z0 + dz, y0 + dy, x0]
                            row1 = out[z0 + dz, y0 + dy, x0 + 1]
                            for m in range(3 * n_channels):
                                row0[m] += a0 * add[m]
                                row1[m] += a1 * add[m]


def complete_half_space(sums: np.ndarray) -> np.ndarray:
    """Add the Friedel mates' share to the plane x = 0, in place.

    Parameters
    ----------
    sums : (..., z, y, x) complex or real
        Stored half-space, accumulated from one member of each Friedel pair.
    """
    plane = sums[..., :, :, 0]
    plane += np.conj(plane[..., ::-1, ::-1]).copy()
    return sums


def insert_slices(values: np.ndarray, ctf: np.ndarray, rotations: np.ndarray, grid: Grid, *,
                  weights: Optional[np.ndarray] = None, groups: Optional[list] = None,
                  whitening: Optional[np.ndarray] = None,
                  symmetry: Optional[np.ndarray] = None) -> tuple[np.ndarray, np.ndarray]:
    """Back-project: add CTF-weighted central slices to Fourier volumes (adjoint of extraction).

    Parameters
    ----------
    values : (n, p) complex64
        Centred slices.
    ctf : (n, p) float32
    rotations : (n, 3, 3) float32
        Specimen to image.
    grid : Grid
    weights : (n, m) float32, optional
        Weight of each particle in each of m volumes; one volume of weight 1 by default.
    groups : list of (k,) int arrays, optional
        One set of m volumes for each group of particles; all particles in one by default.
    whitening : (p,) float32, optional
        One over the noise's standard deviation at each sample.
    symmetry : (s, 3, 3), optional
        Each slice is added at every symmetry-related pose.

    Returns
    -------
    numerator : (groups, m, z, y, x) complex64
        Sum of weight x CTF x value / noise variance.
    weight : (groups, m, z, y, x) float32
        Sum of weight x CTF^2 / noise variance.
    """
    if weights is None:
        weights = np.ones((len(values), 1), np.float32)
    if whitening is None:
        whitening = np.ones(values.shape[1], np.float32)
    if symmetry is None:
        symmetry = np.eye(3, dtype=np.float32)[None]
    m = weights.shape[1]
    shape = grid.half_shape + (3 * m,)
    if groups is None:
        blocks = block_count(4 * int(np.prod(shape)), len(values))
        order, starts = np.arange(len(values)), block_starts(len(values), blocks)
    else:
        blocks = len(groups)
        order = np.concatenate([np.asarray(g, np.int64) for g in groups])
        starts = np.concatenate([[0], np.cumsum([len(g) for g in groups])])
    sums = np.empty((blocks,) + shape, np.float32)
    _insert(_floats(values), np.asarray(ctf), np.asarray(whitening, np.float32),
            np.asarray(rotations, np.float32), np.asarray(symmetry, np.float32),
            grid.frequencies.astype(np.float32), np.float32(grid.oversampling), grid.reach,
            order.astype(np.int64), starts.astype(np.int64), np.asarray(weights, np.float32), sums)
    if groups is None:
        sums = sums.sum(axis=0, keepdims=True)
    sums = np.moveaxis(sums.reshape((len(sums),) + grid.half_shape + (m, 3)), 4, 1)
    numerator = np.ascontiguousarray(sums[..., :2]).view(np.complex64)[..., 0]
    weight = np.ascontiguousarray(sums[..., 2])
    return complete_half_space(numerator), complete_half_space(weight)


@kernel(parallel=True)
def _extract(volumes, rotations, frequencies, oversampling, reach, out):
    n_floats = volumes.shape[3]
    for i in numba.prange(rotations.shape[0]):
        for k in range(frequencies.shape[0]):
            x, y, z, sign = sample_position(rotations[i], frequencies[k, 0], frequencies[k, 1],
                                            oversampling)
            z0, y0, x0, fz, fy, fx = corner(x, y, z, reach)
            read_cell(volumes, z0, y0, x0, fz, fy, fx, out[i, k])
            for m in range(1, n_floats, 2):
                out[i, k, m] *= sign


@kernel(inline="always")
def read_cell(volumes, z0, y0, x0, fz, fy, fx, out):
    """Trilinear value of every channel of `volumes` (z, y, x, floats) in one cell."""
    w00, w01 = (1 - fz) * (1 - fy), (1 - fz) * fy
    w10, w11 = fz * (1 - fy), fz * fy
    gx = 1 - fx
    a, b = volumes[z0, y0, x0], volumes[z0, y0, x0 + 1]
    c, d = volumes[z0, y0 + 1, x0], volumes[z0, y0 + 1, x0 + 1]
    e, f = volumes[z0 + 1, y0, x0], volumes[z0 + 1, y0, x0 + 1]
    g, h = volumes[z0 + 1, y0 + 1, x0], volumes[z0 + 1, y0 + 1, x0 + 1]
    for m in range(volumes.shape[3]):
        out[m] = (w00 * (gx * a[m] + fx * b[m]) + w01 * (gx * c[m] + fx * d[m])
                  + w10 * (gx * e[m] + fx * f[m]) + w11 * (gx * g[m] + fx * h[m]))


def extract_slices(transforms: np.ndarray, rotations: np.ndarray, grid: Grid) -> np.ndarray:
    """Read central slices from Fourier volumes.

    Parameters
    ----------
    transforms : (z, y, x, c) complex64
        As made by `Grid.to_fourier`.
    rotations : (n, 3, 3) float32
        Specimen to image.
    grid : Grid

    Returns
    -------
    (n, p, c) complex64
    """
    floats = _floats(transforms)
    out = np.empty((len(rotations), len(grid.frequencies), floats.shape[3]), np.float32)
    _extract(floats, np.asarray(rotations, np.float32), grid.frequencies.astype(np.float32),
             np.float32(grid.oversampling), grid.reach, out)
    return out.view(np.complex64)


@kernel(parallel=True)
def _residual_power(values, ctf, volume, rotations, frequencies, shell, oversampling, reach,
                    chosen, starts, power):
    for b in numba.prange(len(starts) - 1):
        model = np.empty(2, np.float32)
        for j in range(starts[b], starts[b + 1]):
            i = chosen[j]
            for k in range(frequencies.shape[0]):
                x, y, z, sign = sample_position(rotations[i], frequencies[k, 0],
                                                frequencies[k, 1], oversampling)
                z0, y0, x0, fz, fy, fx = corner(x, y, z, reach)
                read_cell(volume, z0, y0, x0, fz, fy, fx, model)
                re = values[i, 2 * k] - ctf[i, k] * model[0]
                im = values[i, 2 * k + 1] - ctf[i, k] * sign * model[1]
                power[b, shell[k]] += re * re + im * im


def residual_power(values: np.ndarray, ctf: np.ndarray, rotations: np.ndarray, chosen: np.ndarray,
                   transform: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean power of images minus CTF-modulated projections of one volume, per shell.

    Parameters
    ----------
    values, ctf, rotations : see `insert_slices`
    chosen : (k,) int
        Particles to take the mean over.
    transform : (z, y, x, 1) complex64
    grid : Grid

    Returns
    -------
    (n_shells,) float64
    """
    blocks = 16
    power = np.zeros((blocks, grid.n_shells), np.float64)
    _residual_power(_floats(values), np.asarray(ctf), _floats(transform),
                    np.asarray(rotations, np.float32), grid.frequencies.astype(np.float32),
                    grid.shell, np.float32(grid.oversampling), grid.reach,
                    np.asarray(chosen, np.int64), block_starts(len(chosen), blocks), power)
    return power.sum(axis=0) / (len(chosen) * np.bincount(grid.shell))


def _floats(array: np.ndarray) -> np.ndarray:
    """The same complex64 data as float32, last axis doubled (re, im)."""
    return np.ascontiguousarray(array).view(np.float32)
