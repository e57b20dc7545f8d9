"""Principal components of individual particles: EM for probabilistic PCA on central slices.

Model of a whitened particle (Tagare et al. 2015; Punjani and Fleet 2021)::

    y = C P (mu + U z) + N w + noise,   z ~ N(0, diag(variances)),   w ~ N(0, diag(nuisance))

The columns of N are fixed: contrast (the mean's own slice) and, to first order, errors of the pose
(shift along the image's x and y, rotation about its x, y and z).  Without them these errors are
found as components, and they agree between half-sets.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np

from pcainit.engine.grid import Grid
from pcainit.engine.latent_kernels import FIXED, NUISANCES, latent_pass, solve_voxels
from pcainit.engine.particles import Slices
from pcainit.engine.reconstruction import Consensus
from pcainit.engine.slicing import block_count, block_starts, complete_half_space

# A component's prior power is at least so many times the power that noise gives its estimate:
# less would let EM switch off components that it has not found yet, more lets noise in.
PRIOR_OVER_NOISE = 12.0
# Each round goes so many times as far as EM would.
OVER_RELAXATION = 1.8


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
    """

    contrast: float = 0.15
    shift_px: float = 0.5
    rotation: float = 0.02

    @property
    def precision(self) -> np.ndarray:
        """(6,) float64: contrast, shift x y, rotation x y z."""
        sd = np.array([self.contrast] + [self.shift_px] * 2 + [self.rotation] * 3)
        return 1 / np.maximum(sd, 1e-4) ** 2

    def improved(self, second: np.ndarray, squares: np.ndarray) -> "NuisanceSpread":
        """Spread that explains the posteriors better (MacKay's fixed point, few rounds needed).

        Parameters
        ----------
        second, squares : (6,) float64
            Means over the particles of the coefficients' second moments, and of their posterior
            means squared.
        """
        old = 1 / self.precision
        determined = np.maximum(1 - (second - squares) / old, 1e-6)
        new = []
        for part in (slice(0, 1), slice(1, 3), slice(3, 6)):
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

    def take(self, index: "np.ndarray | slice") -> "LatentModel":
        """The model with some of the components."""
        return dataclasses.replace(self, components=self.components[index],
                                   variances=self.variances[index])


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
    """

    slices: Slices
    mean: np.ndarray
    moments: np.ndarray
    whitening: np.ndarray
    noise: np.ndarray
    signal: np.ndarray

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self.slices.grid


def make_background(slices: Slices, consensus: Consensus, solvent: np.ndarray) -> Background:
    """The fixed part of the model.

    Parameters
    ----------
    slices : Slices
    consensus : Consensus
    solvent : (box, box, box) float32
        Mask of the whole particle.

    Returns
    -------
    Background
    """
    grid = slices.grid
    axis = (np.arange(grid.box) - grid.box // 2) * np.float32(grid.box_px / grid.box)
    body = consensus.mean * solvent
    moments = np.stack([body * axis, body * axis[:, None], body * axis[:, None, None]])
    return Background(slices, consensus.mean, moments.astype(np.float32),
                      consensus.whitening(grid), consensus.noise, consensus.signal)


@dataclass(frozen=True, eq=False)
class PassResult:
    """Outcome of one pass; see `run_pass`.

    Parameters
    ----------
    sums : (z, y, x, 2q + q(q+1)/2) float32 or None
    moments : (q + 6, q + 6) float64
        Mean second moment of the coefficients.
    squares : (q + 6,) float64
        Mean square of their posterior means.
    gains : (m,) float64
        Log marginal likelihood ratio of each particle.
    grams, scores : (m, q + 6, q + 6), (m, q + 6) float32 or None
    """

    sums: Optional[np.ndarray]
    moments: np.ndarray
    squares: np.ndarray
    gains: np.ndarray
    grams: Optional[np.ndarray]
    scores: Optional[np.ndarray]


def run_pass(background: Background, scaled: np.ndarray, precision: np.ndarray,
             index: np.ndarray, *, log_weights: Optional[np.ndarray] = None,
             update: bool = False, keep: bool = False) -> PassResult:
    """One pass over some particles.

    Parameters
    ----------
    background : Background
    scaled : (q, box, box, box) float32
        Components (times their standard deviation, if `precision` is 1).
    precision : (q + 6,) float64
        Prior precision of all coefficients.
    index : (m,) int
        Which particles.
    log_weights : (q,) float64, optional
        When given, the volumes are differences of classes from the mean, with these weights.
    update : bool
        Gather the sums for new components.
    keep : bool
        Return each particle's statistics (of classes: the responsibilities, in `scores`).

    Returns
    -------
    PassResult
    """
    slices, grid, q = background.slices, background.grid, len(scaled)
    t, n = q + NUISANCES, len(index)
    volumes = grid.to_fourier(np.concatenate([background.mean[None], background.moments, scaled]))
    channels = 2 * q + q * (q + 1) // 2
    blocks = block_count(4 * channels * int(np.prod(grid.half_shape)))
    sums = np.zeros((blocks,) + (grid.half_shape + (channels,) if update else (1, 1, 1, 1)),
                    np.float32)
    moments, squares = np.zeros((blocks, t, t)), np.zeros((blocks, t))
    # The kernel indexes these by particle number.
    gains = np.zeros(len(slices))
    classes = log_weights is not None
    size = len(slices) if keep else 1
    grams = np.zeros((1 if classes else size, t, t), np.float32)
    scores = np.zeros((size, t), np.float32)
    latent_pass(slices.values.view(np.float32), slices.ctf, background.whitening,
                grid.multiplicity, slices.rotations, grid.frequencies.astype(np.float32),
                np.float32(grid.oversampling), grid.reach, np.float32(2 * np.pi / grid.box_px),
                volumes.view(np.float32), q, np.asarray(precision, np.float64),
                np.asarray(index, np.int64), block_starts(n, blocks),
                np.asarray(log_weights if classes else np.empty(0), np.float64), update, sums,
                moments, squares, gains, keep, grams, scores)
    return PassResult(complete_sums(sums.sum(axis=0), q) if update else None,
                      moments.sum(axis=0) / n, squares.sum(axis=0) / n, gains[index],
                      grams[index] if keep and not classes else None,
                      scores[index] if keep else None)


def complete_sums(sums: np.ndarray, q: int) -> np.ndarray:
    """Friedel completion of interleaved numerators (re, im) and real weights, in place."""
    numerators = np.moveaxis(sums[..., :2 * q].copy().view(np.complex64), -1, 0)
    complete_half_space(numerators)
    sums[..., :2 * q] = np.ascontiguousarray(np.moveaxis(numerators, 0, -1)).view(np.float32)
    weights = np.moveaxis(sums[..., 2 * q:], -1, 0)
    complete_half_space(weights)
    return sums


def maximise(background: Background, result: PassResult, scaled: np.ndarray,
             mask: np.ndarray) -> np.ndarray:
    """New components (times standard deviation), or class differences, from a pass's sums, masked.

    Each component's prior has the shape of the mean's spectrum, and its own present power or a
    multiple of its noise's, whichever is more.
    """
    grid, q = background.grid, len(scaled)
    area = np.arange(grid.n_shells) ** 2            # a shell's size, up to a factor
    signal = float((background.signal * area).sum())
    crowd = grid.oversampling ** 3                  # grid points per independent coefficient
    shell = np.minimum(grid.shell_map, grid.n_shells).ravel()
    count = np.bincount(shell)[:grid.n_shells]
    prior = np.zeros((q, grid.n_shells))
    for j, volume in enumerate(scaled):
        diagonal = result.sums[..., 2 * q + j * (j + 1) // 2 + j].ravel()
        weight = np.bincount(shell, diagonal)[:grid.n_shells] / count * crowd
        noise = float(mask.mean() * (area[1:] / np.maximum(weight[1:], 1e-30)).sum())
        power = float((grid.shell_profile(volume) * area).sum())
        share = max(power, PRIOR_OVER_NOISE * noise) / signal
        prior[j] = 1 / (background.signal * share * crowd)
    out = np.empty(grid.half_shape + (q,), np.complex64)
    solve_voxels(result.sums, prior, grid.shell_map, out)
    return np.stack([grid.band_limit(grid.to_real(out[..., j])) * mask for j in range(q)])


def orthonormalise(scaled: np.ndarray, second: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
    """Principal axes of ``W second W'``: orthonormal components and their variances.

    Parameters
    ----------
    scaled : (q, box, box, box) float32
        Columns W.
    second : (q, q) float64
        Second moment of their coefficients (parameter-expanded EM).

    Returns
    -------
    components : (q, box, box, box) float32
    variances : (q,) float64, decreasing
    """
    flat = scaled.reshape(len(scaled), -1).astype(np.float64)
    root = np.linalg.cholesky(second + 1e-12 * np.trace(second) * np.eye(len(second)))
    left, singular, _ = np.linalg.svd((root.T @ flat).T, full_matrices=False)
    sign = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    components = (left * sign).T.reshape(scaled.shape).astype(np.float32)
    return components, np.maximum(singular ** 2, 1e-30)


def random_start(background: Background, mask: np.ndarray, q: int, seed: int,
                 share: float = 0.01) -> LatentModel:
    """Random components with the mean's spectrum and a small share of its power."""
    rng = np.random.default_rng([seed, 11])
    grid = background.grid
    noise = rng.standard_normal((q,) + (grid.box,) * 3).astype(np.float32)
    coloured = np.stack([colour(v, background.signal, grid) * mask for v in noise])
    components, _ = orthonormalise(coloured, np.eye(q))
    power = float((background.mean.astype(np.float64) ** 2 * mask).sum())
    return LatentModel(components, np.full(q, share * power), NuisanceSpread())


def colour(noise: np.ndarray, spectrum: np.ndarray, grid: Grid) -> np.ndarray:
    """White noise in the working box given a power spectrum per shell (n_shells,)."""
    from scipy import fft
    f = fft.fftfreq(grid.box, 1 / grid.box)
    x = fft.rfftfreq(grid.box, 1 / grid.box)
    shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + x ** 2)).astype(int)
    gain = np.concatenate([np.sqrt(np.maximum(spectrum, 0)), [0]])
    filtered = fft.rfftn(noise) * gain[np.minimum(shell, len(spectrum))]
    return fft.irfftn(filtered, s=noise.shape).astype(np.float32)


def fit_components(background: Background, mask: np.ndarray, start: LatentModel,
                   index: np.ndarray, *, rounds: int = 12, tolerance: float = 0.0,
                   learn_nuisance: bool = True,
                   progress: Callable[[float], None] = lambda share: None) -> LatentModel:
    """EM for the components of some particles.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
        Components are zero outside.
    start : LatentModel
    index : (m,) int
        Which particles.
    rounds : int
        At most so many.
    tolerance : float
        Stop when the gain per particle rises by less.
    learn_nuisance : bool
        Re-estimate the nuisance spreads each round.
    progress : callable
        Told the share that is done.

    Returns
    -------
    LatentModel
    """
    model, q = start, start.q
    for k in range(rounds):
        scaled = model.scaled
        precision = np.concatenate([np.ones(q), model.nuisance.precision])
        result = run_pass(background, scaled, precision, index, update=True)
        fresh = maximise(background, result, scaled, mask)
        fresh = scaled + OVER_RELAXATION * (fresh - scaled)
        components, variances = orthonormalise(fresh, result.moments[:q, :q])
        nuisance = model.nuisance
        if learn_nuisance:
            nuisance = nuisance.improved(np.diag(result.moments)[q:], result.squares[q:])
        gain = float(result.gains.mean())
        rise, model = gain - model.gain, LatentModel(components, variances, nuisance, gain)
        progress((k + 1) / rounds)
        if k and 0 <= rise < tolerance:
            break
    return model
