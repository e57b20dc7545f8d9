"""One pass over the particles: posterior of the latent coordinates, and sums for new components.

For a whitened particle ``r = y - C P mu`` and columns ``A = [C P U, N]`` (q components, then the
nuisance columns) the pass computes ``G = A' A`` and ``b = A' r``, the Gaussian posterior of the
coefficients, and adds what the components' normal equations need.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.lanes import LANES, add_scaled, from_rows, padded
from pcainit.engine.model.columns import (
    component_starts,
    empty_rows,
    inner_products,
    nuisance_rows,
    read_rows,
    residual_row,
    row_count,
    row_starts,
)
from pcainit.engine.model.posterior import NUISANCES, class_posterior, invert_posterior
from pcainit.engine.projection.slices import locate


class Images(NamedTuple):
    """What the kernels know of the particles.

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

    values: np.ndarray
    ctf: np.ndarray
    rotations: np.ndarray
    offsets: np.ndarray
    root: np.ndarray
    back: np.ndarray
    kx: np.ndarray
    ky: np.ndarray
    loss: np.ndarray
    oversampling: np.float32
    reach: int
    pixel: np.float32


class _Scratch(NamedTuple):
    """Where one thread works on one particle; see `columns`."""

    rows: np.ndarray
    starts: np.ndarray
    model: np.ndarray
    scale: np.ndarray
    signed: np.ndarray
    cells: np.ndarray
    fractions: np.ndarray
    signs: np.ndarray
    products: np.ndarray
    voxels: np.ndarray
    squares: np.ndarray
    touched: np.ndarray
    weights: np.ndarray


@kernel()
def _make_scratch(q, n_samples, channels, n_cells):
    rows = empty_rows(q, n_samples)
    width, count = rows.shape[1], row_count(q)
    return _Scratch(
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


@kernel()
def _measure(images, i, volumes, q, precision, scratch, gram, score):
    """Rows of one particle, ``gram = A' A`` (lower triangle) and ``score = A' r``."""
    rotation, rows = images.rotations[i], scratch.rows
    moments = rows[len(scratch.products) :]
    locate(
        rotation,
        images.kx,
        images.ky,
        images.oversampling,
        images.reach,
        scratch.cells,
        scratch.fractions,
        scratch.signs,
    )
    _set_scale(images.ctf[i], images.root, scratch)
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


@kernel()
def _set_scale(ctf, factor, scratch):
    """Factors of the samples' real and imaginary parts."""
    for k in range(len(ctf)):
        scratch.scale[k] = ctf[k] * factor[k]
        scratch.signed[k] = scratch.scale[k] * scratch.signs[k]


@kernel()
def _numerators(ctf, back, q, sought, scratch, mean, moment, starts, add):
    """What one particle adds to the numerators: samples times `LANES` channels, in `add`.

    The columns that stay as they are (components from `sought` on, nuisances) take their share
    off.  Overwrites the rows of the components that are sought.
    """
    rows, half = scratch.rows, scratch.rows.shape[1] // 2
    width = len(add) // half
    r = rows[q + NUISANCES]
    a, b, c, d = rows[q], rows[q + 1], rows[q + 2], rows[q + 3]
    e, f, g = rows[q + 4], rows[q + 5], rows[q + 6]
    for j in range(sought):
        out = rows[j]
        m = mean[j]
        ma, mb, mc, md = moment[q, j], moment[q + 1, j], moment[q + 2, j], moment[q + 3, j]
        me, mf, mg = moment[q + 4, j], moment[q + 5, j], moment[q + 6, j]
        for k in range(2 * half):
            out[k] = m * r[k] - ma * a[k] - mb * b[k] - mc * c[k]
        for k in range(2 * half):
            out[k] -= md * d[k] + me * e[k] + mf * f[k] + mg * g[k]
        for h in range(sought, q):
            held, mh = rows[h], moment[h, j]
            for k in range(2 * half):
                out[k] -= mh * held[k]
    _set_scale(ctf, back, scratch)
    flat = rows.ravel()
    for s in range(0, width, LANES):
        for k in range(0, half, LANES):
            from_rows(flat, starts, s, k, scratch.scale, scratch.signed, add, k * width + s, width)


@kernel()
def _class_weights(images, i, sought, moment, width, add):
    """What one particle adds to the classes' weights, behind the numerators in `add`."""
    ctf = images.ctf[i]
    for k in range(len(ctf)):
        square = ctf[k] * ctf[k] * images.root[k] * images.back[k]
        for a in range(sought):
            add[k * width + 2 * sought + a] = square * moment[a, a]


@kernel()
def _scatter(images, scratch, add, sums):
    """Add one particle's `add` (samples times channels) to `sums` (z, y, x, channels)."""
    total = sums.shape[3]
    flat = sums.ravel()
    step_y = (images.reach + 1) * total
    step_z = (2 * images.reach + 1) * step_y
    for k in range(len(scratch.cells)):
        fx, fy, fz = scratch.fractions[0, k], scratch.fractions[1, k], scratch.fractions[2, k]
        for dz in range(2):
            for dy in range(2):
                share = (fz if dz else 1 - fz) * (fy if dy else 1 - fy)
                place = scratch.cells[k] * total + dz * step_z + dy * step_y
                near, far = share * (1 - fx), share * fx
                for s in range(0, total, LANES):
                    add_scaled(flat, place + s, add, k * total + s, near)
                    add_scaled(flat, place + total + s, add, k * total + s, far)


@kernel()
def _add_moment(images, i, scratch, cells, packed, out):
    """Add one particle's second moment, times each sample's weight, to the sample's cell.

    `cells` (voxels,) are those of `Grid.cells`, `packed` is 1 and the lower triangle, in whole
    `LANES`, `out` (cells, channels).
    """
    ctf, flat, width = images.ctf[i], out.ravel(), out.shape[1]
    step_y = np.int32(images.reach + 1)
    step_z = np.int32((2 * images.reach + 1) * (images.reach + 1))
    half = np.float32(0.5)
    x, y, z = scratch.fractions[0], scratch.fractions[1], scratch.fractions[2]
    voxels, squares = scratch.voxels, scratch.squares
    for k in range(len(ctf)):
        voxels[k] = (
            scratch.cells[k]
            + np.int32(x[k] + half)
            + np.int32(y[k] + half) * step_y
            + np.int32(z[k] + half) * step_z
        )
    for k in range(len(ctf)):
        squares[k] = ctf[k] * ctf[k] * images.root[k] * images.back[k]
    # Several samples lie in one cell: their weights are added up first.
    count = 0
    for k in range(len(ctf)):
        cell = cells[voxels[k]]
        weight = scratch.weights[cell]
        scratch.touched[count] = cell
        count += weight == 0
        scratch.weights[cell] = weight + squares[k]
    for k in range(count):
        cell = scratch.touched[k]
        for s in range(0, width, LANES):
            add_scaled(flat, cell * width + s, packed, s, scratch.weights[cell])
        scratch.weights[cell] = 0


def sum_channels(q: int, classes: bool) -> int:
    """Channels of the sums of `latent_pass`: numerators, of classes weights too, in `LANES`."""
    return padded((3 if classes else 2) * q)


def moment_channels(q: int) -> int:
    """Channels of the sums of second moments: the weight and a lower triangle, in `LANES`."""
    return padded(1 + q * (q + 1) // 2)


@kernel(parallel=True)
def latent_pass(
    images,
    volumes,
    q,
    sought,
    precision,
    order,
    rows,
    starts,
    log_weights,
    update,
    sums,
    cells,
    local,
    moments,
    squares,
    gains,
    keep,
    grams,
    scores,
):
    """Posterior of every particle in `order`; what is kept of each goes to its place in `rows`.

    `volumes` (z, y, x, channels) are as `columns.read_rows` takes them.  With `update`, `sums`
    (blocks, z, y, x, `sum_channels`) become those of the first `sought`, and second moments of
    components are added to `local` (blocks, cells, `moment_channels`); `moments` (blocks, t,
    t) get the coefficients' second moments and `squares` (blocks, t) the squares of their means,
    both with what was corrected before added; with `keep`, `grams` (m, t, t) and `scores` (m, t)
    get each particle's statistics; `gains` (m,) its log marginal likelihood ratio.  With
    `log_weights` (q,), the volumes are classes instead of components: `scores` then get the
    responsibilities.
    """
    classes = len(log_weights) > 0
    n_samples = images.ctf.shape[1]
    t = q + NUISANCES
    for block in numba.prange(len(starts) - 1):
        scratch = _make_scratch(q, n_samples, volumes.shape[3], local.shape[1])
        gram = np.empty((t, t), np.float32)
        score = np.empty(t, np.float32)
        covariance = np.empty((t, t))
        mean, room = np.empty(t), np.empty(t)
        moment = np.zeros((t, t), np.float32)
        mean32 = np.zeros(t, np.float32)
        add = np.zeros(scratch.rows.shape[1] // 2 * sums.shape[4], np.float32)
        taken = component_starts(sought, sums.shape[4], scratch.rows)
        packed = np.zeros(local.shape[2], np.float32)
        packed[0] = 1
        sums[block] = 0
        for place in range(starts[block], starts[block + 1]):
            i, row = order[place], rows[place]
            _measure(images, i, volumes, q, precision, scratch, gram, score)
            if keep and not classes:
                for a in range(t):
                    scores[row, a] = score[a]
                    for b in range(a + 1):
                        grams[row, a, b] = gram[a, b]
                        grams[row, b, a] = gram[a, b]
            if classes:
                gains[row] = class_posterior(
                    gram, precision, score, log_weights, mean, moment, mean32
                )
                for a in range(q):
                    if keep:
                        scores[row, a] = mean[a]
            else:
                gains[row] = invert_posterior(gram, precision, score, covariance, mean, room)
                for a in range(t):
                    mean32[a] = mean[a]
                    whole = mean[a] + (images.offsets[i, a - q] if a >= q else 0)
                    squares[block, a] += whole * whole
                    for b in range(t):
                        moment[a, b] = covariance[a, b] + mean[a] * mean[b]
                        moments[block, a, b] += moment[a, b]
                    moments[block, a, a] += whole * whole - mean[a] * mean[a]
            if update:
                _numerators(
                    images.ctf[i], images.back, q, sought, scratch, mean32, moment, taken, add
                )
                if classes:
                    _class_weights(images, i, sought, moment, sums.shape[4], add)
                else:
                    for a in range(sought):
                        for b in range(a + 1):
                            packed[1 + a * (a + 1) // 2 + b] = moment[a, b]
                    _add_moment(images, i, scratch, cells, packed, local[block])
                _scatter(images, scratch, add, sums[block])


@kernel(parallel=True)
def gather(sums, channels):
    """The blocks' sums added up, without empty channels: (z, y, x, channels)."""
    out = np.zeros((sums.shape[1], sums.shape[2], sums.shape[3], channels), np.float32)
    for z in numba.prange(sums.shape[1]):
        for block in range(sums.shape[0]):
            for y in range(sums.shape[2]):
                for x in range(sums.shape[3]):
                    row, part = out[z, y, x], sums[block, z, y, x]
                    for m in range(channels):
                        row[m] += part[m]
    return out


@kernel(parallel=True)
def residual_slices(images, volumes, q, precision, index, out):
    """What the model's posterior means leave of each particle, times CTF over noise variance.

    `out` (m, 2p) gets it as real and imaginary parts; the other arguments are `latent_pass`'s.
    """
    n_samples, t = images.ctf.shape[1], q + NUISANCES
    blocks = min(16, len(index))
    for block in numba.prange(blocks):
        scratch = _make_scratch(q, n_samples, volumes.shape[3], 0)
        gram = np.empty((t, t), np.float32)
        score = np.empty(t, np.float32)
        covariance = np.empty((t, t))
        mean, room = np.empty(t), np.empty(t)
        half = scratch.rows.shape[1] // 2
        for place in range(block * len(index) // blocks, (block + 1) * len(index) // blocks):
            i = index[place]
            _measure(images, i, volumes, q, precision, scratch, gram, score)
            invert_posterior(gram, precision, score, covariance, mean, room)
            rest = scratch.rows[t]
            for a in range(t):
                row, m = scratch.rows[a], np.float32(mean[a])
                for k in range(2 * half):
                    rest[k] -= m * row[k]
            for k in range(n_samples):
                factor = images.ctf[i, k] * images.back[k]
                out[place, 2 * k] = factor * rest[k]
                out[place, 2 * k + 1] = factor * rest[half + k]
