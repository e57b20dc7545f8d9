"""Central slices: read them from volumes, and add them to volumes (back-projection).

Trilinear interpolation in the oversampled half-space of `Grid`.  A slice sample at ``k`` lies at
``rotation.T @ (kx, ky, 0)``; where that has x < 0, its Friedel mate is used.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.buffers import aligned_array
from pcainit.engine.arrays import AnyArray, ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.kinds import INT, reads, writes
from pcainit.engine.compiled.lanes import add_sample
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.projection.blocks import block_count, block_starts
from pcainit.engine.projection.slice_data import (
    SLICE_DATA,
    SLICE_PLANES,
    empty_places,
    in_lanes,
    locate,
    read_cell,
    slice_data,
    slice_planes,
)


@kernel(
    INT,
    SLICE_DATA,
    reads("float32", 3),
    reads("float32", 2),
    reads("int64", 1),
    reads("int64", 1),
    writes("float32", 6),
)
def _insert(block, data, symmetry, weights, order, starts, sums):
    """Sums (blocks, volumes, z, y, x, 4): real and imaginary part, weight, nothing."""
    values, ctf, whitening, reach = data.values, data.ctf, data.whitening, data.reach
    step_y = 4 * (reach + 1)
    step_z = (2 * reach + 1) * step_y
    size = (2 * reach + 1) * step_z
    sums[block] = 0  # numpy's zeros would come in small pages, which threads wait for
    flat = sums[block].ravel()
    places = empty_places(len(whitening))
    cells, fractions, signs = places
    for j in range(starts[block], starts[block + 1]):
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
    _insert.over_blocks(
        blocks,
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


@kernel(INT, INT, reads("float32", 4), SLICE_PLANES, writes("float32", 3))
def _extract(first, last, volumes, planes, out):
    flat, channels, reach = volumes.ravel(), volumes.shape[3], planes.reach
    for i in range(first, last):
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
    _extract.over_spans(len(rotations), in_lanes(transforms), slice_planes(rotations, grid), out)
    return out.view(np.complex64)


@kernel(
    INT,
    SLICE_DATA,
    reads("float32", 4),
    reads("int32", 1),
    reads("int64", 1),
    reads("int64", 1),
    writes("float64", 2),
)
def _residual_power(block, data, volume, shell, chosen, starts, power):
    flat, channels, reach = volume.ravel(), volume.shape[3], data.reach
    values, ctf = data.values, data.ctf
    places = empty_places(len(shell))
    cells, fractions, signs = places
    model = np.empty(channels, np.float32)
    for j in range(starts[block], starts[block + 1]):
        i = chosen[j]
        locate(data.rotations[i], data, places)
        for k in range(len(shell)):
            read_cell(flat, channels, reach, cells, fractions, k, model, 0)
            re = values[i, 2 * k] - ctf[i, k] * model[0]
            im = values[i, 2 * k + 1] - ctf[i, k] * signs[k] * model[1]
            power[block, shell[k]] += re * re + im * im


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
    _residual_power.over_blocks(
        blocks,
        slice_data(values, ctf, rotations, grid),
        in_lanes(transform),
        grid.shell,
        np.asarray(chosen, np.int64),
        block_starts(len(chosen), blocks),
        power,
    )
    out: FloatArray = power.sum(axis=0) / (len(chosen) * np.bincount(grid.shell))
    return out
