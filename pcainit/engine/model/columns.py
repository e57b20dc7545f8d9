"""The columns of one particle's linear model: components, nuisances and residual.

They lie as rows of one array, samples along the row, real parts in its first half and imaginary
parts in its second, each times the square root of the sample's multiplicity: then plain products of
rows are inner products.  Row by row: q components, seven nuisances, the residual, and an empty one
where that makes the number of rows even.  Behind these `row_count` rows lie the mean's three
moments, their imaginary parts first, and a row that nobody looks at.

Loops are kept short, so that the compiler sees that they do not write what they read.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray
from pcainit.engine.compiled.jit import part
from pcainit.engine.compiled.lanes import LANES, padded, to_rows
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.projection.slice_data import read_cell

FIXED = 4  # volumes read for the nuisances: the mean and its three moments


@part
def row_count(q):
    """Rows that inner products are taken of."""
    return q + NUISANCES + 1 + (q + NUISANCES + 1) % 2


@part
def empty_rows(q, n_samples):
    """Memory for one particle's rows, zero where no sample lies."""
    return np.zeros((row_count(q) + FIXED, 2 * (-(-n_samples // LANES) * LANES)), np.float32)


@part
def row_starts(q, channels, width):
    """Row offset of each channel of `read_rows`, (channels,) int64."""
    starts = np.full(channels, (row_count(q) + FIXED - 1) * width, np.int64)
    for c in range(2 * (q + FIXED)):
        volume = c // 2
        row = q if volume == 0 else row_count(q) + volume - 1 if volume < FIXED else volume - FIXED
        moment = 0 < volume < FIXED
        starts[c] = row * width + (1 - c % 2 if moment else c % 2) * (width // 2)
    return starts


@part
def component_starts(count, channels, rows):
    """Row offset of each channel of the first components, (channels,) int64."""
    starts = np.full(channels, (rows.shape[0] - 1) * rows.shape[1], np.int64)
    for c in range(2 * count):
        starts[c] = (c // 2) * rows.shape[1] + (c % 2) * (rows.shape[1] // 2)
    return starts


@part
def read_rows(volumes, reach, cells, fractions, scale, signed, model, starts, rows):
    """Rows of the components and the mean, and the mean's moments.

    Parameters
    ----------
    volumes : (z, y, x, channels) float32
        Mean, moments, components, each real and imaginary part; zeros up to whole `LANES`.
    reach : int
        Of the grid's stored half-space.
    cells, fractions : (p,) int32, (3, p) float32
        Where the samples lie; see `slices.Places`.
    scale, signed : (padded p,) float32
        Factor of each sample's real and imaginary part, zero beyond the last.
    model : (LANES * channels,) float32
        Scratch.
    starts : (channels,) int64
        See `row_starts`.
    rows : (rows, 2 x padded p) float32
        Gets them; see the head of this module.
    """
    flat, out, channels = volumes.ravel(), rows.ravel(), volumes.shape[3]
    for group in range(0, len(scale), LANES):
        for k in range(group, min(group + LANES, len(cells))):
            read_cell(flat, channels, reach, cells, fractions, k, model, (k - group) * channels)
        for s in range(0, channels, LANES):
            to_rows(model, s, channels, out, starts, s, group, scale, signed)


@part
def nuisance_rows(rotation, kx, ky, loss, pixel, q, moments, rows):
    """Rows of the nuisances, from those of the mean and its moments.

    Equation (5) of docs/theory.md.

    All but contrast and fall-off are -i times a real factor times a transform: `kx`, `ky` have the
    opposite sign for imaginary parts, and real and imaginary parts change places.
    """
    half = rows.shape[1] // 2
    mean, x, y, z = rows[q], moments[0], moments[1], moments[2]
    # A shift by d multiplies by exp(-i pixel k.d), pixel = 2 pi / box.
    for row, factor in ((rows[q + 1], kx), (rows[q + 2], ky)):
        for k in range(half):
            row[k] = pixel * factor[k] * mean[half + k]
        for k in range(half):
            row[half + k] = pixel * factor[half + k] * mean[k]
    # Gradient of the transform = -i pixel x transform of (position x density).
    turn = rotation * pixel
    zx, zy, zz = turn[2, 0], turn[2, 1], turn[2, 2]
    about_x, about_y, about_z, weaker = rows[q + 3], rows[q + 4], rows[q + 5], rows[q + 6]
    for k in range(2 * half):
        about_x[k] = -ky[k] * (zx * x[k] + zy * y[k] + zz * z[k])
    for k in range(2 * half):
        about_y[k] = kx[k] * (zx * x[k] + zy * y[k] + zz * z[k])
    for k in range(2 * half):
        about_z[k] = ky[k] * (turn[0, 0] * x[k] + turn[0, 1] * y[k] + turn[0, 2] * z[k]) - kx[k] * (
            turn[1, 0] * x[k] + turn[1, 1] * y[k] + turn[1, 2] * z[k]
        )
    # What is left of pose errors to second order is a loss at high resolution.
    for k in range(2 * half):
        weaker[k] = loss[k] * mean[k]


@part
def residual_row(values, root, q, rows):
    """Subtract the mean from the image; `root` is the whitening times sqrt(multiplicity)."""
    half, mean, rest = rows.shape[1] // 2, rows[q], rows[q + NUISANCES]
    for k in range(len(root)):
        rest[k] = values[2 * k] * root[k] - mean[k]
    for k in range(len(root)):
        rest[half + k] = values[2 * k + 1] * root[k] - mean[half + k]


@part
def inner_products(rows, out):
    """``out = rows rows'``, in blocks of two by two; lower triangle of blocks."""
    zero = np.float32(0)
    for a in range(0, len(out), 2):
        p, r = rows[a], rows[a + 1]
        for b in range(0, a + 1, 2):
            s, t = rows[b], rows[b + 1]
            ps, pt, rs, rt = zero, zero, zero, zero
            for k in range(rows.shape[1]):
                ps += p[k] * s[k]
                pt += p[k] * t[k]
                rs += r[k] * s[k]
                rt += r[k] * t[k]
            out[a, b], out[a, b + 1], out[a + 1, b], out[a + 1, b + 1] = ps, pt, rs, rt


def along_rows(real: FloatArray, imaginary: FloatArray) -> FloatArray:
    """Factors (p,) of the samples' real and imaginary parts as rows hold them, float32."""
    out = np.zeros((2, padded(len(real))), np.float32)
    out[:, : len(real)] = real, imaginary
    return out.ravel()
