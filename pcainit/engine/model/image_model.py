"""The model of a particle, and one pass over the particles under it.

A whitened particle (Tagare et al. 2015; Punjani and Fleet 2021) is::

    y = C P (mu + U z) + N w + noise,   z ~ N(0, diag(variances)),   w ~ N(0, diag(nuisance))

The columns of N are fixed: contrast (the mean's own slice) and, to first order, errors of the pose
(shift along the image's x and y, rotation about its x, y and z).  Without them these errors are
found as components, and they agree between half-sets.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Iterator

import numba
import numpy as np

from pcainit.buffers import Reused
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import view_rank
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.columns import along_rows
from pcainit.engine.model.e_step_kernels import (
    Images,
    gather,
    latent_pass,
    moment_channels,
    residual_slices,
    sum_channels,
)
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.engine.projection.slices import (
    block_count,
    block_starts,
    channel_count,
    sample_frequencies,
)

PART = 2**15


@dataclass(frozen=True)
class NuisanceSpread:
    """Standard deviations of what differs between particles without being heterogeneity.

    Parameters
    ----------
    contrast : float
        About 1.
    shift_px : float
        Per axis, pixels of the particles' box.
    rotation : float
        Per axis, radians.
    falloff : float
        Change of contrast at the resolution limit, growing with the frequency squared.
    """

    contrast: float = 0.15
    shift_px: float = 0.5
    rotation: float = 0.02
    falloff: float = 0.05

    @property
    def precision(self) -> np.ndarray:
        """(7,) float64: contrast, shift x y, rotation x y z, fall-off."""
        sd = np.array([self.contrast] + [self.shift_px] * 2 + [self.rotation] * 3 + [self.falloff])
        return 1 / np.maximum(sd, 1e-4) ** 2

    def improved(self, second: np.ndarray, squares: np.ndarray) -> NuisanceSpread:
        """Spread that explains the posteriors better (MacKay's fixed point, few rounds needed).

        Parameters
        ----------
        second, squares : (7,) float64
            Means over the particles of the coefficients' second moments, and of their posterior
            means squared.
        """
        old = 1 / self.precision
        determined = np.maximum(1 - (second - squares) / old, 1e-6)
        new = []
        for part in (slice(0, 1), slice(1, 3), slice(3, 6), slice(6, 7)):
            ratio = squares[part].mean() / determined[part].mean() / old[part][0]
            new.append(float(np.sqrt(old[part][0] * np.clip(ratio, 0.1, 10.0))))
        return NuisanceSpread(*new)


@dataclass(frozen=True, eq=False)
class LatentModel:
    """Mean, components and their spread.

    Parameters
    ----------
    components : (q, box, box, box) float32
        Orthonormal over the working box.
    variances : (q,) float64
        Of the latent coordinates, decreasing.
    nuisance : NuisanceSpread
    gain : float
        Mean log marginal likelihood ratio per particle, against the mean alone.
    """

    components: np.ndarray
    variances: np.ndarray
    nuisance: NuisanceSpread
    gain: float = 0.0

    @property
    def q(self) -> int:
        """Number of components."""
        return len(self.components)

    @property
    def scaled(self) -> np.ndarray:
        """Components times the standard deviations of their coordinates."""
        return self.components * np.sqrt(self.variances)[:, None, None, None].astype(np.float32)

    def take(self, index: np.ndarray | slice) -> LatentModel:
        """The model with some of the components."""
        return dataclasses.replace(
            self, components=self.components[index], variances=self.variances[index]
        )


@dataclass(frozen=True, eq=False)
class Background:
    """What stays fixed while components are sought.

    Parameters
    ----------
    slices : Slices
    mean : (box, box, box) float32
    moments : (3, box, box, box) float32
        x, y and z (pixels of the particles' box) times the solvent-masked mean.
    whitening : (p,) float32
    noise, signal : (n_shells,) float64
    rank : (n,) int64
        Order by view: neighbours share most of the grid points they touch.
    offsets : (n, 7) float32
        Nuisance coefficients that the slices have been corrected by; the prior is about the
        recorded poses all the same.
    room : Reused
        For the sums of passes.
    """

    slices: Slices
    mean: np.ndarray
    moments: np.ndarray
    whitening: np.ndarray
    noise: np.ndarray
    signal: np.ndarray
    rank: np.ndarray
    offsets: np.ndarray
    room: Reused = dataclasses.field(default_factory=Reused)

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self.slices.grid

    @cached_property
    def transforms(self) -> list[np.ndarray]:
        """Those of the mean and its moments; see `Grid.transforms`."""
        return self.grid.transforms([self.mean, *self.moments], numba.get_num_threads())


def make_background(
    slices: Slices,
    consensus: Consensus,
    solvent: np.ndarray,
    offsets: np.ndarray | None = None,
    room: Reused | None = None,
) -> Background:
    """The fixed part of the model.

    Parameters
    ----------
    slices : Slices
    consensus : Consensus
    solvent : (box, box, box) float32
        Mask of the whole particle.
    offsets : (n, 7) float32, optional
    room : Reused, optional
        See `Background`.

    Returns
    -------
    Background
    """
    grid = slices.grid
    body = consensus.mean * solvent
    # An image's mean tells of its background and normalisation, and hardly of the particle: where
    # it varies, a flat component would be found in both half-sets.
    whitening = np.where(grid.shell == 0, 0, consensus.whitening(grid)).astype(np.float32)
    return Background(
        slices,
        consensus.mean,
        grid.moments(body),
        whitening,
        consensus.noise,
        consensus.signal,
        view_rank(slices.rotations),
        np.zeros((len(slices), NUISANCES), np.float32) if offsets is None else offsets,
        room or Reused(),
    )


@dataclass(frozen=True, eq=False)
class PassResult:
    """Outcome of one pass; see `run_pass`.  What was not asked for is empty.

    Parameters
    ----------
    sums : (z, y, x, channels) float32
        Of s sought components: 2s numerators (re, im); of classes their s weights too.
    local : (cells, s(s+1)/2) float32
        Lower triangle of the components' second moment, averaged over what lies in each of
        `Grid.cells` with the weight CTF^2 over noise variance.
    moments : (q + 7, q + 7) float64
        Mean second moment of the coefficients.
    squares : (q + 7,) float64
        Mean square of their posterior means.
    gains : (m,) float64
        Log marginal likelihood ratio of each particle.
    grams, scores : (m, q + 7, q + 7), (m, q + 7) float32
    """

    sums: np.ndarray
    local: np.ndarray
    moments: np.ndarray
    squares: np.ndarray
    gains: np.ndarray
    grams: np.ndarray
    scores: np.ndarray


def run_pass(
    background: Background,
    scaled: np.ndarray,
    precision: np.ndarray,
    index: np.ndarray,
    *,
    log_weights: np.ndarray | None = None,
    update: bool = False,
    sought: int | None = None,
    keep: bool = False,
) -> PassResult:
    """One pass over some particles.

    Parameters
    ----------
    background : Background
    scaled : (q, box, box, box) float32
        Components (times their standard deviation, if `precision` is 1).
    precision : (q + 7,) float64
        Prior precision of all coefficients.
    index : (m,) int
        Which particles.
    log_weights : (q,) float64, optional
        When given, the volumes are differences of classes from the mean, with these weights.
    update : bool
        Gather the sums for new components.
    sought : int, optional
        Of the first so many; the others stay as they are. All by default.
    keep : bool
        Return each particle's statistics (of classes: the responsibilities, in `scores`).

    Returns
    -------
    PassResult
    """
    grid, q, n = background.grid, len(scaled), len(index)
    t, sought, classes = q + NUISANCES, q if sought is None else sought, log_weights is not None
    channels = sum_channels(sought, classes)
    blocks = block_count(4 * channels * int(np.prod(grid.half_shape)), n)
    sums = background.room.array(
        (blocks,) + (grid.half_shape if update else (1, 1, 1)) + (channels,)
    )
    local = np.zeros(
        (blocks, grid.cells[-1, -1, -1] + 1, moment_channels(sought))
        if update and not classes
        else (1, 0, 1),
        np.float32,
    )
    moments, squares = np.zeros((blocks, t, t)), np.zeros((blocks, t))
    gains, size = np.zeros(n), n if keep else 0
    grams = np.zeros((0 if classes else size, t, t), np.float32)
    scores = np.zeros((size, t), np.float32)
    by_view = np.argsort(background.rank[index], kind="stable")
    latent_pass(
        _images(background),
        _volumes(background, scaled),
        q,
        sought,
        np.asarray(precision, np.float64),
        index[by_view],
        by_view,
        block_starts(n, blocks),
        np.asarray(log_weights if classes else np.empty(0), np.float64),
        update,
        sums,
        grid.cells.ravel(),
        local,
        moments,
        squares,
        gains,
        keep,
        grams,
        scores,
    )
    gathered = (3 if classes else 2) * sought
    return PassResult(
        _complete(gather(sums, gathered), sought) if update else sums[:0],
        _cell_means(local.sum(axis=0), grid, moments.sum(axis=0)[:sought, :sought], n)
        if local.size
        else local[0],
        moments.sum(axis=0) / n,
        squares.sum(axis=0) / n,
        gains,
        grams,
        scores,
    )


def in_parts(count: int) -> Iterator[slice]:
    """Parts of many particles, so that what is kept of each for a while stays small."""
    for first in range(0, count, PART):
        yield slice(first, min(first + PART, count))


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


def _volumes(background: Background, scaled: np.ndarray) -> np.ndarray:
    """Transforms of the mean, its moments and the components; see `columns.read_rows`."""
    grid, threads = background.grid, numba.get_num_threads()
    transforms = background.transforms + grid.transforms(scaled, threads)
    return grid.side_by_side(transforms, channel_count(len(transforms)), threads).view(np.float32)


def unexplained_slices(background: Background, model: LatentModel, index: np.ndarray) -> np.ndarray:
    """What a model leaves of some particles, times CTF over noise variance.

    Its product with a volume's slices is the score of that volume as one more component.

    Parameters
    ----------
    background : Background
    model : LatentModel
    index : (m,) int

    Returns
    -------
    (m, p) complex64
    """
    precision = np.concatenate([np.ones(model.q), model.nuisance.precision])
    out = np.empty((len(index), 2 * len(background.grid.frequencies)), np.float32)
    residual_slices(
        _images(background),
        _volumes(background, model.scaled),
        model.q,
        precision,
        np.asarray(index, np.int64),
        out,
    )
    return out.view(np.complex64)


def _cell_means(sums: np.ndarray, grid: Grid, total: np.ndarray, count: int) -> np.ndarray:
    """Mean second moment in each cell; where no sample lies, that of all particles."""
    sums = sums.reshape(grid.cell_shape + sums.shape[1:])
    plane = sums[:, :, 0]
    plane += plane[::-1, ::-1].copy()
    sums = sums.reshape(-1, sums.shape[-1])
    lower = np.tril_indices(len(total))
    weight, mean = sums[:, :1], (total[lower] / count).astype(np.float32)
    return np.where(weight > 0, sums[:, 1 : 1 + len(mean)] / np.maximum(weight, 1e-30), mean)


def _complete(sums: np.ndarray, q: int) -> np.ndarray:
    """Friedel completion of interleaved numerators (re, im) and real weights, in place."""
    plane = sums[:, :, 0]
    mates = plane[::-1, ::-1].copy()
    mates[..., 1 : 2 * q : 2] *= -1
    plane += mates
    return sums
