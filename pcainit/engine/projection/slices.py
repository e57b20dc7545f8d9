"""Central slices: read them from volumes, and add them to volumes (back-projection).

Trilinear interpolation in the oversampled half-space of `Grid`.  A slice sample at ``k`` lies at
``rotation.T @ (kx, ky, 0)``; where that has x < 0, its Friedel mate is used.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from pcainit.buffers import aligned_array
from pcainit.engine.arrays import AnyArray, ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.lanes import LANES, add_sample, padded, weighted_corners
from pcainit.engine.geometry.grid import Grid

SCRATCH_BYTES = 256 * 2**20
ITEMS_PER_GRID = 2500  # a grid of its own must be worth filling with zeros


def block_count(grid_bytes: int, items: int) -> int:
    """Number of private grids a sum runs over: a power of two, whatever the threads."""
    most = min(SCRATCH_BYTES // max(1, grid_bytes), items // ITEMS_PER_GRID)
    out: int = 2 ** int(np.log2(np.clip(most, 2, 16)))
    return out


def block_starts(count: int, blocks: int) -> IntArray:
    """(blocks + 1,) int64, bounds of near-equal runs of `count` items."""
    return np.linspace(0, count, blocks + 1).astype(np.int64)


def sample_frequencies(grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Frequencies (kx, ky) of the samples as the kernels take them, two (p,) float32."""
    kx, ky = np.ascontiguousarray(grid.frequencies.T.astype(np.float32))
    return kx, ky


class SlicePlanes(NamedTuple):
    """Positions of central slices, in the form that the kernels take.

    Parameters
    ----------
    rotations : (n, 3, 3) float32
        Specimen to image.
    kx, ky : (p,) float32
        Frequencies of the samples.
    oversampling : float32
    reach : int
        See `Grid`.
    """

    rotations: FloatArray
    kx: FloatArray
    ky: FloatArray
    oversampling: np.float32
    reach: int


class SliceData(NamedTuple):
    """The slices of n images, as the kernels take them.

    Parameters
    ----------
    values : (n, 2p) float32
        Real and imaginary parts in turn.
    ctf, whitening : (n, p), (p,) float32
        The latter is one over the noise's standard deviation at each sample.
    rotations, kx, ky, oversampling, reach
        As of `SlicePlanes`: numba's parallel loops take no tuple inside a tuple.
    """

    values: FloatArray
    ctf: FloatArray
    whitening: FloatArray
    rotations: FloatArray
    kx: FloatArray
    ky: FloatArray
    oversampling: np.float32
    reach: int


class Places(NamedTuple):
    """Places of one slice's samples in the stored half-space; see `locate`.

    Parameters
    ----------
    cells : (p,) int32
        Index of the lower corner of the sample's cell among all voxels.
    fractions : (3, p) float32
        Position in the cell along x, y, z.
    signs : (p,) float32
        Sign of the imaginary part: -1 where the Friedel mate is stored.
    """

    cells: IntArray
    fractions: FloatArray
    signs: FloatArray


def slice_planes(rotations: FloatArray, grid: Grid) -> SlicePlanes:
    """Planes of images with given rotations (n, 3, 3)."""
    return SlicePlanes(
        np.asarray(rotations, np.float32),
        *sample_frequencies(grid),
        np.float32(grid.oversampling),
        grid.reach,
    )


def slice_data(
    values: ComplexArray,
    ctf: FloatArray,
    rotations: FloatArray,
    grid: Grid,
    whitening: FloatArray | None = None,
) -> SliceData:
    """Slices as the kernels take them.

    Parameters
    ----------
    values, ctf : (n, p) complex64, (n, p) float32
        Centred transform and CTF of each particle at each sample.
    rotations : (n, 3, 3) float32
        Specimen to image, of each particle.
    grid : Grid
        Working grid: its samples, shells and boxes.
    whitening : (p,) float32, optional
        1 by default.
    """
    if whitening is None:
        whitening = np.ones(values.shape[1], np.float32)
    return SliceData(
        _floats(values),
        np.asarray(ctf),
        np.asarray(whitening, np.float32),
        *slice_planes(rotations, grid),
    )


@kernel()
def empty_places(n_samples):
    """Room for what `locate` finds."""
    return Places(
        np.empty(n_samples, np.int32),
        np.empty((3, n_samples), np.float32),
        np.empty(n_samples, np.float32),
    )


@kernel()
def locate(rotation, planes, places):
    """Find where each sample of one slice lies in the stored half-space.

    `places` gets it: a `Places`, or whatever else has its fields; `planes` is a `SlicePlanes` or
    has its fields too, of which the rotations are not looked at.
    """
    kx, ky, oversampling, reach = planes.kx, planes.ky, planes.oversampling, planes.reach
    cells, fractions, signs = places.cells, places.fractions, places.signs
    row = np.int32(reach + 1)
    plane = np.int32((2 * reach + 1) * (reach + 1))
    origin = np.int32(reach)
    x, y, z = fractions[0], fractions[1], fractions[2]
    xx, xy = oversampling * rotation[0, 0], oversampling * rotation[1, 0]
    yx, yy = oversampling * rotation[0, 1], oversampling * rotation[1, 1]
    zx, zy = oversampling * rotation[0, 2], oversampling * rotation[1, 2]
    for k in range(len(cells)):
        signs[k] = np.float32(-1) if xx * kx[k] + xy * ky[k] < 0 else np.float32(1)
    for k in range(len(cells)):
        x[k] = signs[k] * (xx * kx[k] + xy * ky[k])
    for k in range(len(cells)):
        y[k] = signs[k] * (yx * kx[k] + yy * ky[k])
    for k in range(len(cells)):
        z[k] = signs[k] * (zx * kx[k] + zy * ky[k])
    for k in range(len(cells)):
        cells[k] = (
            (np.int32(np.floor(z[k])) + origin) * plane
            + (np.int32(np.floor(y[k])) + origin) * row
            + np.int32(np.floor(x[k]))
        )
    for k in range(len(cells)):
        x[k] -= np.floor(x[k])
    for k in range(len(cells)):
        y[k] -= np.floor(y[k])
    for k in range(len(cells)):
        z[k] -= np.floor(z[k])


@kernel(inline="always")
def read_cell(flat, channels, reach, cells, fractions, k, out, start):
    """Trilinear value of every channel at sample k: ``out[start:start + channels]``.

    `flat` are volumes (z, y, x, channels) in whole `LANES`.
    """
    step_y = (reach + 1) * channels
    step_z = (2 * reach + 1) * step_y
    fx, fy, fz = fractions[0, k], fractions[1, k], fractions[2, k]
    gx, gy, gz = 1 - fx, 1 - fy, 1 - fz
    w00, w01, w10, w11 = gz * gy, gz * fy, fz * gy, fz * fy
    place = cells[k] * channels
    for s in range(0, channels, LANES):
        weighted_corners(
            flat,
            place + s,
            channels,
            step_y,
            step_z,
            w00 * gx,
            w00 * fx,
            w01 * gx,
            w01 * fx,
            w10 * gx,
            w10 * fx,
            w11 * gx,
            w11 * fx,
            out,
            start + s,
        )


@kernel(parallel=True)
def _insert(data, symmetry, weights, order, starts, sums):
    """Sums (blocks, volumes, z, y, x, 4): real and imaginary part, weight, nothing."""
    values, ctf, whitening, reach = data.values, data.ctf, data.whitening, data.reach
    step_y = 4 * (reach + 1)
    step_z = (2 * reach + 1) * step_y
    size = (2 * reach + 1) * step_z
    for g in numba.prange(len(starts) - 1):
        sums[g] = 0  # numpy's zeros would come in small pages, which threads wait for
        flat = sums[g].ravel()
        places = empty_places(len(whitening))
        cells, fractions, signs = places
        for j in range(starts[g], starts[g + 1]):
            i = order[j]
            for s in range(symmetry.shape[0]):
                locate(data.rotations[i] @ symmetry[s], data, places)
                for m in range(weights.shape[1]):
                    w = weights[i, m]
                    if w == 0:
                        continue
                    for k in range(len(whitening)):
                        c = ctf[i, k] * whitening[k]
                        cw = c * whitening[k] * w
                        add_sample(
                            flat,
                            m * size + 4 * cells[k],
                            step_y,
                            step_z,
                            fractions[0, k],
                            fractions[1, k],
                            fractions[2, k],
                            values[i, 2 * k] * cw,
                            values[i, 2 * k + 1] * cw * signs[k],
                            c * c * w,
                        )


def complete_half_space(sums: AnyArray) -> AnyArray:
    """Add the Friedel mates' share to the plane x = 0, in place.

    Parameters
    ----------
    sums : (..., z, y, x) complex or real
        Stored half-space, accumulated from one member of each Friedel pair.
    """
    plane = sums[..., :, :, 0]
    plane += np.conj(plane[..., ::-1, ::-1]).copy()
    return sums


def insert_slices(
    values: ComplexArray,
    ctf: FloatArray,
    rotations: FloatArray,
    grid: Grid,
    *,
    weights: FloatArray | None = None,
    groups: list[IntArray] | None = None,
    whitening: FloatArray | None = None,
    symmetry: FloatArray | None = None,
) -> tuple[ComplexArray, FloatArray]:
    """Back-project: add CTF-weighted central slices to Fourier volumes (adjoint of extraction).

    Equation (3) of docs/theory.md.

    Parameters
    ----------
    values, ctf : (n, p) complex64, (n, p) float32
        Centred slices, and the CTF at their samples.
    rotations : (n, 3, 3) float32
        Specimen to image.
    grid : Grid
        Working grid: its samples, shells and boxes.
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
    if symmetry is None:
        symmetry = np.eye(3, dtype=np.float32)[None]
    m = weights.shape[1]
    shape = (m,) + grid.half_shape + (4,)
    if groups is None:
        blocks = block_count(4 * int(np.prod(shape)), len(values))
        order, starts = np.arange(len(values)), block_starts(len(values), blocks)
    else:
        blocks = len(groups)
        order = np.concatenate([np.asarray(g, np.int64) for g in groups])
        starts = np.concatenate([[0], np.cumsum([len(g) for g in groups])])
    sums = aligned_array((blocks,) + shape, np.float32)
    _insert(
        slice_data(values, ctf, rotations, grid, whitening),
        np.asarray(symmetry, np.float32),
        np.asarray(weights, np.float32),
        order.astype(np.int64),
        starts.astype(np.int64),
        sums,
    )
    if groups is None:
        sums = sums.sum(axis=0, keepdims=True)
    numerator = np.ascontiguousarray(sums[..., :2]).view(np.complex64)[..., 0]
    weight = np.ascontiguousarray(sums[..., 2])
    return complete_half_space(numerator), complete_half_space(weight)


@kernel(parallel=True)
def _extract(volumes, planes, out):
    flat, channels, reach = volumes.ravel(), volumes.shape[3], planes.reach
    for i in numba.prange(planes.rotations.shape[0]):
        places = empty_places(out.shape[1])
        cells, fractions, signs = places
        view = np.empty(channels, np.float32)
        locate(planes.rotations[i], planes, places)
        for k in range(out.shape[1]):
            read_cell(flat, channels, reach, cells, fractions, k, view, 0)
            for m in range(0, out.shape[2], 2):
                out[i, k, m], out[i, k, m + 1] = view[m], view[m + 1] * signs[k]


def extract_slices(transforms: ComplexArray, rotations: FloatArray, grid: Grid) -> ComplexArray:
    """Read central slices from Fourier volumes: equation (3) of docs/theory.md.

    Parameters
    ----------
    transforms : (z, y, x, c) complex64
        As made by `Grid.to_fourier`.
    rotations : (n, 3, 3) float32
        Specimen to image.
    grid : Grid
        Of the samples.

    Returns
    -------
    (n, p, c) complex64
    """
    out = np.empty((len(rotations), len(grid.frequencies), 2 * transforms.shape[3]), np.float32)
    _extract(in_lanes(transforms), slice_planes(rotations, grid), out)
    return out.view(np.complex64)


@kernel(parallel=True)
def _residual_power(data, volume, shell, chosen, starts, power):
    flat, channels, reach = volume.ravel(), volume.shape[3], data.reach
    values, ctf = data.values, data.ctf
    for b in numba.prange(len(starts) - 1):
        places = empty_places(len(shell))
        cells, fractions, signs = places
        model = np.empty(channels, np.float32)
        for j in range(starts[b], starts[b + 1]):
            i = chosen[j]
            locate(data.rotations[i], data, places)
            for k in range(len(shell)):
                read_cell(flat, channels, reach, cells, fractions, k, model, 0)
                re = values[i, 2 * k] - ctf[i, k] * model[0]
                im = values[i, 2 * k + 1] - ctf[i, k] * signs[k] * model[1]
                power[b, shell[k]] += re * re + im * im


def residual_power(
    values: ComplexArray,
    ctf: FloatArray,
    rotations: FloatArray,
    chosen: IntArray,
    transform: ComplexArray,
    grid: Grid,
) -> FloatArray:
    """Mean power of images minus CTF-modulated projections of one volume, per shell.

    Parameters
    ----------
    values, ctf, rotations : as for `insert_slices`
        Of the particles.
    chosen : (k,) int
        Particles to take the mean over.
    transform : (z, y, x, 1) complex64
        Of the volume, as made by `Grid.to_fourier`.
    grid : Grid
        Working grid: its samples, shells and boxes.

    Returns
    -------
    (n_shells,) float64
    """
    blocks = 16
    power = np.zeros((blocks, grid.n_shells), np.float64)
    _residual_power(
        slice_data(values, ctf, rotations, grid),
        in_lanes(transform),
        grid.shell,
        np.asarray(chosen, np.int64),
        block_starts(len(chosen), blocks),
        power,
    )
    out: FloatArray = power.sum(axis=0) / (len(chosen) * np.bincount(grid.shell))
    return out


def _floats(array: ComplexArray) -> FloatArray:
    """The same complex64 data as float32, last axis doubled (re, im)."""
    return np.ascontiguousarray(array).view(np.float32)


def in_lanes(transforms: ComplexArray) -> FloatArray:
    """Transforms (z, y, x, c) complex64 as the kernels read them: float32 in whole `LANES`."""
    missing = channel_count(transforms.shape[3]) - transforms.shape[3]
    if missing:
        transforms = np.pad(transforms, [(0, 0)] * 3 + [(0, missing)])
    return _floats(transforms)


def channel_count(volumes: int) -> int:
    """Number of complex channels for some volumes, in whole `LANES` of real numbers."""
    return padded(2 * volumes) // 2
