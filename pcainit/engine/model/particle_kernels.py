"""One particle inside the passes: its columns, its statistics, and where a thread works on it."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcainit.engine.arrays import FloatArray
from pcainit.engine.compiled.jit import part
from pcainit.engine.compiled.kinds import INT, SINGLE, reads, record
from pcainit.engine.compiled.lanes import LANES
from pcainit.engine.model.columns import (
    empty_rows,
    inner_products,
    nuisance_rows,
    read_rows,
    residual_row,
    row_count,
    row_starts,
)
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.projection.slice_data import locate


class Images(NamedTuple):
    """The particles, in the form that the kernels take.

    Parameters
    ----------
    values : (n, 2p) float32
        Slices, real and imaginary parts in turn.
    ctf : (n, p) float32
    rotations : (n, 3, 3) float32
    offsets : (n, 7) float32
        Nuisance coefficients that were corrected before.
    root, back : (p,) float32
        Whitening times and over the square root of each sample's multiplicity.
    kx, ky : (2h,) float32
        Frequencies of p samples in whole `LANES`, and the same with the opposite sign.
    loss : (2h,) float32
        Their squares over the largest, twice.
    oversampling : float32
    reach : int
    pixel : float32
        2 pi / box.
    """

    values: FloatArray
    ctf: FloatArray
    rotations: FloatArray
    offsets: FloatArray
    root: FloatArray
    back: FloatArray
    kx: FloatArray
    ky: FloatArray
    loss: FloatArray
    oversampling: np.float32
    reach: int
    pixel: np.float32


IMAGES = record(
    Images,
    reads("float32", 2),
    reads("float32", 2),
    reads("float32", 3),
    reads("float32", 2),
    reads("float32", 1),
    reads("float32", 1),
    reads("float32", 1),
    reads("float32", 1),
    reads("float32", 1),
    SINGLE,
    INT,
    SINGLE,
)


class Work(NamedTuple):
    """One particle's statistics and posterior, as single precision too where sums need it."""

    gram: FloatArray
    score: FloatArray
    covariance: FloatArray
    mean: FloatArray
    room: FloatArray
    moment: FloatArray
    mean32: FloatArray


class Scratch(NamedTuple):
    """Memory in which one thread works on one particle; see `columns`."""

    rows: FloatArray
    starts: FloatArray
    model: FloatArray
    scale: FloatArray
    signed: FloatArray
    cells: FloatArray
    fractions: FloatArray
    signs: FloatArray
    products: FloatArray
    voxels: FloatArray
    squares: FloatArray
    touched: FloatArray
    weights: FloatArray


@part
def make_scratch(q, n_samples, channels, n_cells):
    """Room for one particle's columns, and for `n_cells` cells where second moments go."""
    rows = empty_rows(q, n_samples)
    width, count = rows.shape[1], row_count(q)
    return Scratch(
        rows,
        row_starts(q, channels, width),
        np.zeros(LANES * channels, np.float32),
        np.zeros(width // 2, np.float32),
        np.zeros(width // 2, np.float32),
        np.empty(n_samples, np.int32),
        np.empty((3, n_samples), np.float32),
        np.empty(n_samples, np.float32),
        np.empty((count, count), np.float32),
        np.empty(n_samples, np.int32),
        np.empty(n_samples, np.float32),
        np.empty(n_samples, np.int32),
        np.zeros(n_cells, np.float32),
    )


@part
def make_work(t):
    """Room for one particle's statistics and posterior."""
    return Work(
        np.empty((t, t), np.float32),
        np.empty(t, np.float32),
        np.empty((t, t)),
        np.empty(t),
        np.empty(t),
        np.zeros((t, t), np.float32),
        np.zeros(t, np.float32),
    )


@part
def measure_particle(images, i, volumes, q, precision, scratch, gram, score):
    """Rows of one particle, ``gram = A' A`` (lower triangle) and ``score = A' r``."""
    rotation, rows = images.rotations[i], scratch.rows
    moments = rows[len(scratch.products) :]
    locate(rotation, images, scratch)
    set_scale(images.ctf[i], images.root, scratch)
    read_rows(
        volumes,
        images.reach,
        scratch.cells,
        scratch.fractions,
        scratch.scale,
        scratch.signed,
        scratch.model,
        scratch.starts,
        rows,
    )
    nuisance_rows(rotation, images.kx, images.ky, images.loss, images.pixel, q, moments, rows)
    residual_row(images.values[i], images.root, q, rows)
    inner_products(rows, scratch.products)
    last = q + NUISANCES
    for a in range(last):
        score[a] = scratch.products[last, a]
        for b in range(a + 1):
            gram[a, b] = scratch.products[a, b]
    for a in range(NUISANCES):  # the prior's mean: minus what was corrected before
        score[q + a] -= precision[q + a] * images.offsets[i, a]


@part
def set_scale(ctf, factor, scratch):
    """Factors of the samples' real and imaginary parts."""
    for k in range(len(ctf)):
        scratch.scale[k] = ctf[k] * factor[k]
        scratch.signed[k] = scratch.scale[k] * scratch.signs[k]
