"""The E step: what each particle says under the model, and what all of them ask of new volumes.

Four questions, each a function: the particles' statistics (`posterior_statistics`), the moments of
their coefficients (`posterior_moments`), these with the sums for new components
(`component_e_step`), and the choice between classes without and with the sums for new volumes of
theirs (`class_responsibilities`, `class_e_step`).  All go over one compiled core.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.threads import thread_count
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.columns import along_rows
from pcainit.engine.model.e_step_kernels import (
    ClassBlocks,
    ComponentBlocks,
    Visits,
    expect_classes,
    expect_components,
    gather,
    measure_particles,
    moment_channels,
    residual_slices,
    sum_channels,
)
from pcainit.engine.model.image_model import Background, LatentModel
from pcainit.engine.model.particle_kernels import Images
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.projection.blocks import block_count, block_starts
from pcainit.engine.projection.slice_data import channel_count, sample_frequencies


@dataclass(frozen=True, eq=False)
class ParticleStatistics:
    """Sufficient statistics of m particles for their q + 7 coefficients.

    Parameters
    ----------
    grams : (m, q + 7, q + 7) float32
        ``G = A' A``: how well the image determines the coefficients.
    scores : (m, q + 7) float32
        ``b = A' r``, less the prior precision times what was corrected before.
    """

    grams: FloatArray
    scores: FloatArray


@dataclass(frozen=True, eq=False)
class CoefficientMoments:
    """Posterior moments of the coefficients, averaged over m particles.

    Parameters
    ----------
    moments : (q + 7, q + 7) float64
        Mean second moment, what was corrected before included.
    squares : (q + 7,) float64
        Mean square of the posterior means.
    gains : (m,) float64
        Log marginal likelihood of each particle over that of the mean alone.
    """

    moments: FloatArray
    squares: FloatArray
    gains: FloatArray


@dataclass(frozen=True, eq=False)
class ComponentSums(CoefficientMoments):
    """`CoefficientMoments`, and the normal equations of the free components.

    Parameters
    ----------
    sums : (z, y, x, 2 n_free) float32
        Numerators, real and imaginary part of each component.
    local : (cells, n_free (n_free + 1) / 2) float32
        Lower triangle of the components' second moment, averaged over what lies in each of
        `Grid.cells` with the weight CTF^2 over noise variance.
    """

    sums: FloatArray
    local: FloatArray


@dataclass(frozen=True, eq=False)
class Responsibilities:
    """Choice of m particles between K classes.

    Parameters
    ----------
    responsibilities : (m, K) float32
    gains : (m,) float64
        Log marginal likelihood of each particle over that of the mean alone.
    """

    responsibilities: FloatArray
    gains: FloatArray


@dataclass(frozen=True, eq=False)
class ClassSums(Responsibilities):
    """`Responsibilities`, and the sums for new volumes of the classes.

    Parameters
    ----------
    sums : (z, y, x, 3K) float32
        Numerators of each class (real and imaginary part), then the classes' weights.
    """

    sums: FloatArray


def posterior_statistics(
    background: Background, volumes: FloatArray, precision: FloatArray, index: IntArray
) -> ParticleStatistics:
    """Compute the statistics G and b of some particles.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    volumes : (q, box, box, box) float32
        Components.
    precision : (q + 7,) float64
        Prior precision of all coefficients.
    index : (m,) int
        Which particles.

    Returns
    -------
    ParticleStatistics
    """
    m, t = len(index), len(volumes) + NUISANCES
    out = ParticleStatistics(np.zeros((m, t, t), np.float32), np.zeros((m, t), np.float32))
    blocks = _blocks(background.grid, sum_channels(len(volumes), False), m)
    measure_particles.over_blocks(
        blocks,
        _images(background),
        _volumes(background, volumes),
        np.asarray(precision, np.float64),
        _visits(background, index, blocks),
        out.grams,
        out.scores,
    )
    return out


def posterior_moments(
    background: Background, scaled: FloatArray, precision: FloatArray, index: IntArray
) -> CoefficientMoments:
    """Compute the moments of the coefficients, for new variances; see `component_e_step`."""
    blocks = _blocks(background.grid, sum_channels(len(scaled), False), len(index))
    found = _expect(background, scaled, precision, index, 0, blocks)
    return CoefficientMoments(*_moments(found, len(index)), found.gains)


def component_e_step(
    background: Background,
    scaled: FloatArray,
    precision: FloatArray,
    index: IntArray,
    *,
    n_free: int | None = None,
) -> ComponentSums:
    """Compute the moments of the coefficients, and what `m_step.maximise` needs.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    scaled : (q, box, box, box) float32
        Components (times their standard deviation, if `precision` is 1).
    precision : (q + 7,) float64
        Prior precision of all coefficients.
    index : (m,) int
        Which particles.
    n_free : int, optional
        Number of components that are sought, the first ones; the others stay.  All by default.

    Returns
    -------
    ComponentSums
    """
    grid, n = background.grid, len(index)
    free = len(scaled) if n_free is None else n_free
    blocks = _blocks(grid, sum_channels(free, False), n)
    found = _expect(background, scaled, precision, index, free, blocks)
    moments, squares = _moments(found, n)
    total = found.moments.sum(axis=0)[:free, :free]
    return ComponentSums(
        moments,
        squares,
        found.gains,
        _complete(_gathered(found.sums, 2 * free), free),
        _cell_means(found.local.sum(axis=0), grid, total, n),
    )


def class_responsibilities(
    background: Background,
    differences: FloatArray,
    weights: FloatArray,
    precision: FloatArray,
    index: IntArray,
) -> Responsibilities:
    """Compute responsibilities of classes; arguments as of `class_e_step`."""
    found = _expect_classes(background, differences, weights, precision, index, with_sums=False)
    return Responsibilities(found.responsibilities, found.gains)


def class_e_step(
    background: Background,
    differences: FloatArray,
    weights: FloatArray,
    precision: FloatArray,
    index: IntArray,
) -> ClassSums:
    """Compute responsibilities of classes, and what `m_step.maximise_classes` needs.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    differences : (K, box, box, box) float32
        Of the classes from the mean.
    weights : (K,) float64
        Shares of the particles in each class.
    precision : (K + 7,) float64
        Prior precision; of the classes it is not looked at.
    index : (m,) int
        Which particles.

    Returns
    -------
    ClassSums
    """
    found = _expect_classes(background, differences, weights, precision, index, with_sums=True)
    k = len(differences)
    return ClassSums(
        found.responsibilities, found.gains, _complete(_gathered(found.sums, 3 * k), k)
    )


def unexplained_slices(background: Background, model: LatentModel, index: IntArray) -> ComplexArray:
    """Subtract a model from some particles, times CTF over noise variance.

    Its product with a volume's slices is the score of that volume as one more component.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    model : LatentModel
        Components whose share is taken off.
    index : (m,) int
        Rows of the particles that are used.

    Returns
    -------
    (m, p) complex64
    """
    precision = np.concatenate([np.ones(model.q), model.nuisance.precision])
    out = np.empty((len(index), 2 * len(background.grid.frequencies)), np.float32)
    residual_slices.over_spans(
        len(index),
        _images(background),
        _volumes(background, model.scaled),
        model.q,
        precision,
        np.asarray(index, np.int64),
        out,
    )
    return out.view(np.complex64)


def _expect(
    background: Background,
    scaled: FloatArray,
    precision: FloatArray,
    index: IntArray,
    n_free: int,
    blocks: int,
) -> ComponentBlocks:
    """Run `expect_components` in the given number of blocks."""
    grid, t = background.grid, len(scaled) + NUISANCES
    out = ComponentBlocks(
        background.room.array(
            (blocks,) + (grid.half_shape if n_free else (1, 1, 1)) + (sum_channels(n_free, False),)
        ),
        np.zeros(
            (blocks, grid.cells[-1, -1, -1] + 1 if n_free else 0, moment_channels(n_free)),
            np.float32,
        ),
        np.zeros((blocks, t, t)),
        np.zeros((blocks, t)),
        np.zeros(len(index)),
    )
    expect_components.over_blocks(
        blocks,
        _images(background),
        _volumes(background, scaled),
        n_free,
        np.asarray(precision, np.float64),
        _visits(background, index, blocks),
        grid.cells.ravel(),
        out,
    )
    return out


def _expect_classes(
    background: Background,
    differences: FloatArray,
    weights: FloatArray,
    precision: FloatArray,
    index: IntArray,
    *,
    with_sums: bool,
) -> ClassBlocks:
    """Run `expect_classes`."""
    grid, k, n = background.grid, len(differences), len(index)
    channels = sum_channels(k, True)
    blocks = _blocks(grid, channels, n)
    out = ClassBlocks(
        background.room.array(
            (blocks,) + (grid.half_shape if with_sums else (1, 1, 1)) + (channels,)
        ),
        np.zeros((n, k), np.float32),
        np.zeros(n),
    )
    expect_classes.over_blocks(
        blocks,
        _images(background),
        _volumes(background, differences),
        np.log(np.maximum(weights, 1e-12)),
        np.asarray(precision, np.float64),
        _visits(background, index, blocks),
        with_sums,
        out,
    )
    return out


def _moments(found: ComponentBlocks, n: int) -> tuple[FloatArray, FloatArray]:
    """Means over n particles."""
    return found.moments.sum(axis=0) / n, found.squares.sum(axis=0) / n


def _gathered(sums: FloatArray, channels: int) -> FloatArray:
    """The blocks' sums added up: (z, y, x, channels)."""
    out = np.zeros(sums.shape[1:4] + (channels,), np.float32)
    gather.over_spans(len(out), sums, out)
    return out


def _blocks(grid: Grid, channels: int, n: int) -> int:
    """Number of blocks for sums of some channels over n particles."""
    return block_count(4 * channels * int(np.prod(grid.half_shape)), n)


def _visits(background: Background, index: IntArray, blocks: int) -> Visits:
    """Particles in the order of their views."""
    by_view = np.argsort(background.rank[index], kind="stable")
    return Visits(index[by_view], by_view, block_starts(len(index), blocks))


def _images(background: Background) -> Images:
    """The particles as the kernels take them."""
    slices, grid = background.slices, background.grid
    kx, ky = sample_frequencies(grid)
    loss = (kx**2 + ky**2) / (kx**2 + ky**2).max()
    root = np.sqrt(grid.multiplicity)
    return Images(
        slices.values.view(np.float32),
        slices.ctf,
        slices.rotations,
        background.offsets,
        background.whitening * root,
        background.whitening / root,
        along_rows(kx, -kx),
        along_rows(ky, -ky),
        along_rows(loss, loss),
        np.float32(grid.oversampling),
        grid.reach,
        np.float32(2 * np.pi / grid.box_px),
    )


def _volumes(background: Background, scaled: FloatArray) -> FloatArray:
    """Transforms of the mean, its moments and the components; see `columns.read_rows`."""
    grid, threads = background.grid, thread_count()
    transforms = background.transforms + grid.transforms(scaled, threads)
    return grid.side_by_side(transforms, channel_count(len(transforms)), threads).view(np.float32)


def _cell_means(sums: FloatArray, grid: Grid, total: FloatArray, count: int) -> FloatArray:
    """Mean second moment in each cell; where no sample lies, that of all particles."""
    sums = sums.reshape(grid.cell_shape + sums.shape[1:])
    plane = sums[:, :, 0]
    plane += plane[::-1, ::-1].copy()
    sums = sums.reshape(-1, sums.shape[-1])
    lower = np.tril_indices(len(total))
    weight, mean = sums[:, :1], (total[lower] / count).astype(np.float32)
    return np.where(weight > 0, sums[:, 1 : 1 + len(mean)] / np.maximum(weight, 1e-30), mean)


def _complete(sums: FloatArray, q: int) -> FloatArray:
    """Friedel completion of interleaved numerators (re, im) and real weights, in place."""
    plane = sums[:, :, 0]
    mates = plane[::-1, ::-1].copy()
    mates[..., 1 : 2 * q : 2] *= -1
    plane += mates
    return sums
