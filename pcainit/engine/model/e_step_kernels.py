"""Passes over the particles: statistics, posterior moments, and sums for new volumes.

For a whitened particle ``r = y - C P mu`` and columns ``A = [C P U, N]`` (q components, then the
nuisance columns) every pass begins with ``G = A' A`` and ``b = A' r``.  What follows
is one kernel each: the statistics themselves, the Gaussian posterior of the coefficients with the
components' normal equations, or a choice between classes with sums for their volumes.  `e_step`
holds the functions that others call.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.jit import kernel, part
from pcainit.engine.compiled.kinds import INT, YES_NO, reads, record, writes
from pcainit.engine.compiled.lanes import LANES, add_scaled, from_rows, padded
from pcainit.engine.model.columns import component_starts
from pcainit.engine.model.particle_kernels import (
    IMAGES,
    make_scratch,
    make_work,
    measure_particle,
    set_scale,
)
from pcainit.engine.model.posterior import NUISANCES, class_posterior, invert_posterior


class Visits(NamedTuple):
    """The particles of a pass, and their order.

    Parameters
    ----------
    order : (m,) int64
        The particles, neighbouring views together.
    rows : (m,) int64
        Where what belongs to each goes in the caller's order.
    starts : (blocks + 1,) int64
        Bounds of the runs that are summed by themselves.
    """

    order: IntArray
    rows: IntArray
    starts: IntArray


class ComponentBlocks(NamedTuple):
    """Sums of `expect_components`, block by block; see `e_step.ComponentSums`.

    Parameters
    ----------
    sums : (blocks, z, y, x, `sum_channels`) float32
    local : (blocks, cells, `moment_channels`) float32
    moments : (blocks, t, t) float64
    squares : (blocks, t) float64
    gains : (m,) float64
        Of each particle.
    """

    sums: FloatArray
    local: FloatArray
    moments: FloatArray
    squares: FloatArray
    gains: FloatArray


class ClassBlocks(NamedTuple):
    """Sums of `expect_classes`; see `e_step.ClassSums`.

    Parameters
    ----------
    sums : (blocks, z, y, x, `sum_channels`) float32
    responsibilities : (m, K) float32
    gains : (m,) float64
        Of each particle.
    """

    sums: FloatArray
    responsibilities: FloatArray
    gains: FloatArray


VISITS = record(Visits, reads("int64", 1), reads("int64", 1), reads("int64", 1))
_COMPONENT_BLOCKS = record(
    ComponentBlocks,
    writes("float32", 5),
    writes("float32", 3),
    writes("float64", 3),
    writes("float64", 2),
    writes("float64", 1),
)
_CLASS_BLOCKS = record(
    ClassBlocks, writes("float32", 5), writes("float32", 2), writes("float64", 1)
)


@part
def _numerators(ctf, back, q, sought, scratch, mean, moment, starts, add):
    """One particle's share of the numerators: samples times `LANES` channels, in `add`.

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
    set_scale(ctf, back, scratch)
    flat = rows.ravel()
    for s in range(0, width, LANES):
        for k in range(0, half, LANES):
            from_rows(flat, starts, s, k, scratch.scale, scratch.signed, add, k * width + s, width)


@part
def _class_weights(images, i, sought, moment, width, add):
    """One particle's share of the classes' weights, behind the numerators in `add`."""
    ctf = images.ctf[i]
    for k in range(len(ctf)):
        square = ctf[k] * ctf[k] * images.root[k] * images.back[k]
        for a in range(sought):
            add[k * width + 2 * sought + a] = square * moment[a, a]


@part
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


@part
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
    """Channels of the sums of a pass: numerators, of classes weights too, in `LANES`."""
    return padded((3 if classes else 2) * q)


def moment_channels(q: int) -> int:
    """Channels of the sums of second moments: the weight and a lower triangle, in `LANES`."""
    return padded(1 + q * (q + 1) // 2)


@kernel(
    INT,
    IMAGES,
    reads("float32", 4),
    reads("float64", 1),
    VISITS,
    writes("float32", 3),
    writes("float32", 2),
)
def measure_particles(block, images, volumes, precision, visits, grams, scores):
    """Statistics of every particle: `grams` (m, t, t) and `scores` (m, t), in `Visits.rows`.

    `volumes` (z, y, x, channels) are as `columns.read_rows` takes them.
    """
    t, n_samples = len(precision), images.ctf.shape[1]
    scratch = make_scratch(t - NUISANCES, n_samples, volumes.shape[3], 0)
    work = make_work(t)
    gram, score = work.gram, work.score
    for place in range(visits.starts[block], visits.starts[block + 1]):
        i, row = visits.order[place], visits.rows[place]
        measure_particle(images, i, volumes, t - NUISANCES, precision, scratch, gram, score)
        for a in range(t):
            scores[row, a] = score[a]
            for b in range(a + 1):
                grams[row, a, b] = gram[a, b]
                grams[row, b, a] = gram[a, b]


@kernel(
    INT,
    IMAGES,
    reads("float32", 4),
    INT,
    reads("float64", 1),
    VISITS,
    reads("int32", 1),
    _COMPONENT_BLOCKS,
)
def expect_components(block, images, volumes, n_free, precision, visits, cells, out):
    """Moments of every particle's coefficients, and the normal equations of the free components.

    Of the components in `volumes` the first `n_free` are free; where none is, no sums are made.
    `out` is a `ComponentBlocks`; sums of a block are set, moments are added to.  Moments have what
    was corrected before added.
    """
    t, n_samples = len(precision), images.ctf.shape[1]
    q, width = t - NUISANCES, out.sums.shape[4]
    scratch = make_scratch(q, n_samples, volumes.shape[3], out.local.shape[1])
    work = make_work(t)
    mean, moment, covariance = work.mean, work.moment, work.covariance
    add = np.zeros(scratch.rows.shape[1] // 2 * width, np.float32)
    taken = component_starts(n_free, width, scratch.rows)
    packed = np.zeros(out.local.shape[2], np.float32)
    packed[0] = 1
    out.sums[block] = 0
    for place in range(visits.starts[block], visits.starts[block + 1]):
        i, row = visits.order[place], visits.rows[place]
        measure_particle(images, i, volumes, q, precision, scratch, work.gram, work.score)
        out.gains[row] = invert_posterior(
            work.gram, precision, work.score, covariance, mean, work.room
        )
        for a in range(t):
            work.mean32[a] = mean[a]
            whole = mean[a] + (images.offsets[i, a - q] if a >= q else 0)
            out.squares[block, a] += whole * whole
            for b in range(t):
                moment[a, b] = covariance[a, b] + mean[a] * mean[b]
                out.moments[block, a, b] += moment[a, b]
            out.moments[block, a, a] += whole * whole - mean[a] * mean[a]
        if n_free == 0:
            continue
        _numerators(images.ctf[i], images.back, q, n_free, scratch, work.mean32, moment, taken, add)
        for a in range(n_free):
            for b in range(a + 1):
                packed[1 + a * (a + 1) // 2 + b] = moment[a, b]
        _add_moment(images, i, scratch, cells, packed, out.local[block])
        _scatter(images, scratch, add, out.sums[block])


@kernel(
    INT,
    IMAGES,
    reads("float32", 4),
    reads("float64", 1),
    reads("float64", 1),
    VISITS,
    YES_NO,
    _CLASS_BLOCKS,
)
def expect_classes(block, images, volumes, log_weights, precision, visits, with_sums, out):
    """Responsibilities of every particle for the classes, and sums for new volumes of theirs.

    `volumes` are the classes' differences from the mean, `log_weights` (K,) the logarithms of
    their weights, `out` a `ClassBlocks`; its sums are set if `with_sums`.
    """
    t, n_samples = len(precision), images.ctf.shape[1]
    q, width = t - NUISANCES, out.sums.shape[4]
    scratch = make_scratch(q, n_samples, volumes.shape[3], 0)
    work = make_work(t)
    add = np.zeros(scratch.rows.shape[1] // 2 * width, np.float32)
    taken = component_starts(q, width, scratch.rows)
    out.sums[block] = 0
    for place in range(visits.starts[block], visits.starts[block + 1]):
        i, row = visits.order[place], visits.rows[place]
        measure_particle(images, i, volumes, q, precision, scratch, work.gram, work.score)
        out.gains[row] = class_posterior(
            work.gram, precision, work.score, log_weights, work.mean, work.moment, work.mean32
        )
        for a in range(q):
            out.responsibilities[row, a] = work.mean[a]
        if with_sums:
            _numerators(
                images.ctf[i], images.back, q, q, scratch, work.mean32, work.moment, taken, add
            )
            _class_weights(images, i, q, work.moment, width, add)
            _scatter(images, scratch, add, out.sums[block])


@kernel(INT, INT, reads("float32", 5), writes("float32", 4))
def gather(first, last, sums, out):
    """The blocks' sums added up, without empty channels, in `out` (z, y, x, channels)."""
    for z in range(first, last):
        for block in range(sums.shape[0]):
            for y in range(sums.shape[2]):
                for x in range(sums.shape[3]):
                    row, part = out[z, y, x], sums[block, z, y, x]
                    for m in range(out.shape[3]):
                        row[m] += part[m]


@kernel(
    INT,
    INT,
    IMAGES,
    reads("float32", 4),
    INT,
    reads("float64", 1),
    reads("int64", 1),
    writes("float32", 2),
)
def residual_slices(first, last, images, volumes, q, precision, index, out):
    """Subtract each particle's posterior mean, times CTF over noise variance.

    `out` (m, 2p) gets it as real and imaginary parts; `volumes` and `precision` are as
    `measure_particles` takes them, `index` (m,) are the particles.
    """
    n_samples, t = images.ctf.shape[1], q + NUISANCES
    scratch = make_scratch(q, n_samples, volumes.shape[3], 0)
    gram = np.empty((t, t), np.float32)
    score = np.empty(t, np.float32)
    covariance = np.empty((t, t))
    mean, room = np.empty(t), np.empty(t)
    half = scratch.rows.shape[1] // 2
    for place in range(first, last):
        i = index[place]
        measure_particle(images, i, volumes, q, precision, scratch, gram, score)
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
