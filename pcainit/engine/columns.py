"""The columns of one particle's linear model: components, nuisances and residual.

They lie as rows of one array, samples along the row, real parts in its first half and imaginary
parts in its second, each times the square root of the sample's multiplicity: then plain products of
rows are inner products.  Row by row: q components, seven nuisances, the residual, and an empty one
where that makes the number of rows even.  Behind these `row_count` rows lie the mean's three
moments, and a row that nobody looks at.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.kernels import kernel
from pcainit.engine.lanes import LANES, padded, to_rows, weighted_corners
from pcainit.engine.posterior_kernels import NUISANCES
from pcainit.engine.slicing import sample_position

FIXED = 4               # volumes read for the nuisances: the mean and its three moments


@kernel()
def row_count(q):
    """Rows that inner products are taken of."""
    return q + NUISANCES + 1 + (q + NUISANCES + 1) % 2


@kernel()
def empty_rows(q, n_samples):
    """Room for one particle's rows, zero where no sample lies."""
    return np.zeros((row_count(q) + FIXED, 2 * (-(-n_samples // LANES) * LANES)), np.float32)


@kernel()
def row_starts(q, channels, width):
    """Where each channel of `read_rows` goes among the rows, (channels,) int64."""
    starts = np.full(channels, (row_count(q) + FIXED - 1) * width, np.int64)
    for c in range(2 * (q + FIXED)):
        volume = c // 2
        row = q if volume == 0 else row_count(q) + volume - 1 if volume < FIXED else volume - FIXED
        starts[c] = row * width + (c % 2) * (width // 2)
    return starts


@kernel()
def component_starts(count, channels, rows):
    """Where each channel of the first components lies among the rows, (channels,) int64."""
    starts = np.full(channels, (rows.shape[0] - 1) * rows.shape[1], np.int64)
    for c in range(2 * count):
        starts[c] = (c // 2) * rows.shape[1] + (c % 2) * (rows.shape[1] // 2)
    return starts


@kernel()
def locate(rotation, frequencies, oversampling, reach, cells, fractions, signs):
    """Where each sample of one slice lies in the stored half-space.

    `cells` get the index of the lower corner of its cell among all voxels, `fractions` (3, n) the
    position in the cell along x, y, z, `signs` that of the imaginary part.
    """
    row = reach + 1
    plane = (2 * reach + 1) * row
    for k in range(len(cells)):
        x, y, z, sign = sample_position(rotation, frequencies[k, 0], frequencies[k, 1],
                                        oversampling)
        x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
        cells[k] = (int(z0) + reach) * plane + (int(y0) + reach) * row + int(x0)
        fractions[0, k] = x - x0
        fractions[1, k] = y - y0
        fractions[2, k] = z - z0
        signs[k] = sign


@kernel()
def read_rows(volumes, reach, cells, fractions, scale, signed, model, starts, rows):
    """Rows of the components and the mean, and the mean's moments.

    Parameters
    ----------
    volumes : (z, y, x, channels) float32
        Mean, moments, components, each real and imaginary part; zeros up to whole `LANES`.
    scale, signed : (padded p,) float32
        Factor of each sample's real and imaginary part, zero beyond the last.
    model : (LANES * channels,) float32
        Scratch.
    starts : (channels,) int64
        See `row_starts`.
    """
    flat, out, channels = volumes.ravel(), rows.ravel(), volumes.shape[3]
    step_y = (reach + 1) * channels
    step_z = (2 * reach + 1) * step_y
    for group in range(0, len(scale), LANES):
        for k in range(group, min(group + LANES, len(cells))):
            fx, fy, fz = fractions[0, k], fractions[1, k], fractions[2, k]
            gx, gy, gz = 1 - fx, 1 - fy, 1 - fz
            w00, w01, w10, w11 = gz * gy, gz * fy, fz * gy, fz * fy
            place = cells[k] * channels
            for s in range(0, channels, LANES):
                weighted_corners(flat, place + s, channels, step_y, step_z, w00 * gx, w00 * fx,
                                 w01 * gx, w01 * fx, w10 * gx, w10 * fx, w11 * gx, w11 * fx, model,
                                 (k - group) * channels + s)
        for s in range(0, channels, LANES):
            to_rows(model, s, channels, out, starts, s, group, scale, signed)


@kernel()
def nuisance_rows(rotation, frequencies, pixel, falloff, q, moments, rows):
    """Rows of the nuisances, from those of the mean and its moments."""
    half = rows.shape[1] // 2
    turn = rotation * pixel
    for k in range(frequencies.shape[0]):
        kx, ky = frequencies[k, 0], frequencies[k, 1]
        mr, mi = rows[q, k], rows[q, half + k]
        # A shift by d multiplies by exp(-i pixel k.d), pixel = 2 pi / box.
        rows[q + 1, k], rows[q + 1, half + k] = pixel * kx * mi, -pixel * kx * mr
        rows[q + 2, k], rows[q + 2, half + k] = pixel * ky * mi, -pixel * ky * mr
        # Gradient of the transform = -i pixel x transform of (position x density).
        xr, yr, zr = moments[0, k], moments[1, k], moments[2, k]
        xi, yi, zi = moments[0, half + k], moments[1, half + k], moments[2, half + k]
        h0r = turn[0, 0] * xi + turn[0, 1] * yi + turn[0, 2] * zi
        h0i = -(turn[0, 0] * xr + turn[0, 1] * yr + turn[0, 2] * zr)
        h1r = turn[1, 0] * xi + turn[1, 1] * yi + turn[1, 2] * zi
        h1i = -(turn[1, 0] * xr + turn[1, 1] * yr + turn[1, 2] * zr)
        h2r = turn[2, 0] * xi + turn[2, 1] * yi + turn[2, 2] * zi
        h2i = -(turn[2, 0] * xr + turn[2, 1] * yr + turn[2, 2] * zr)
        rows[q + 3, k], rows[q + 3, half + k] = -ky * h2r, -ky * h2i
        rows[q + 4, k], rows[q + 4, half + k] = kx * h2r, kx * h2i
        rows[q + 5, k], rows[q + 5, half + k] = ky * h0r - kx * h1r, ky * h0i - kx * h1i
        # What is left of pose errors to second order is a loss at high resolution.
        loss = (kx * kx + ky * ky) * falloff
        rows[q + 6, k], rows[q + 6, half + k] = loss * mr, loss * mi


@kernel()
def residual_row(values, root, q, rows):
    """What the mean leaves of the image; `root` is the whitening times sqrt(multiplicity)."""
    half, last = rows.shape[1] // 2, q + NUISANCES
    for k in range(len(root)):
        rows[last, k] = values[2 * k] * root[k] - rows[q, k]
        rows[last, half + k] = values[2 * k + 1] * root[k] - rows[q, half + k]


@kernel()
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


def channel_count(volumes: int) -> int:
    """Complex channels that hold so many volumes in whole `LANES` of real numbers."""
    return padded(2 * volumes) // 2
