"""What of the class differences is signal: filters that two half-sets and held-out images ask for.

A difference is mostly noise where the classes do not differ.  First each place is weighted by how
far two independent half-sets agree there, in a few bands of resolution; then each shell gets the
amplitude that the images of the other half-set ask for.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from scipy import fft, ndimage

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.particles import low_discrepancy
from pcainit.engine.model.class_model import ClassModel, score_classes
from pcainit.engine.model.image_model import Background, NuisanceSpread
from pcainit.engine.model.shell_products import shell_products

Pair = Tuple[ClassModel, ClassModel]
Halves = Tuple[IntArray, IntArray]

LARGEST_GAIN = 1.5
# Larger differences make the posteriors sharper, which show more of them.
CALIBRATIONS = 3
# Particles of each class and half-set that tell its amplitudes.
TELLING_OF_CLASS = 2500
# Every particle stands for at most 1 / this: classes change after shares are given, and a few that
# count as very many would drown a rare class.
MIN_RATE = 0.05
BANDS = 3
# Standard deviation of the Gaussian that agreement is averaged over, in units of the resolution.
NEIGHBOURHOOD = 2 / 3


def filter_differences(
    background: Background,
    mask: FloatArray,
    whole: ClassModel,
    pair: Pair,
    halves: Halves,
    shares: FloatArray,
    nuisance: NuisanceSpread,
    *,
    localised: bool = False,
) -> ClassModel:
    """The differences without what only noise makes, on the images' own scale.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    whole : ClassModel
        Of all particles.
    pair : two ClassModel
        Of each half-set alone.
    halves : two (m,) int arrays
    shares : (n, K) float32
        About how much of each particle belongs to each class.
    nuisance : NuisanceSpread
    localised : bool
        The places have their weights already.

    Returns
    -------
    ClassModel
        Of all particles.
    """
    samples = (draw_telling(shares, halves[0]), draw_telling(shares, halves[1]))
    if not localised:
        whole, pair = localise(background.grid, mask, whole, pair)
    for _ in range(CALIBRATIONS):
        whole, pair = calibrate(background, mask, whole, pair, samples, nuisance)
    return whole


@dataclass(frozen=True, eq=False)
class Sample:
    """Particles that stand for others.

    Parameters
    ----------
    index : (m,) int
    stand_for : (m,) float64
        How many particles each counts as, itself included.
    """

    index: IntArray
    stand_for: FloatArray


def draw_telling(shares: FloatArray, index: IntArray, count: int = TELLING_OF_CLASS) -> Sample:
    """About so many particles of each class; rare classes come whole.

    A sample with unequal probabilities: sums over it, weighted by `Sample.stand_for`, stand for
    those over all.

    Parameters
    ----------
    shares : (n, K) float32
        About how much of each particle belongs to each class.
    index : (m,) int
        Particles to draw from.
    count : int

    Returns
    -------
    Sample
    """
    mine = shares[index].astype(np.float64)
    rate = mine @ (count / np.maximum(mine.sum(axis=0), count))
    rate = np.clip(rate + 1e-6, MIN_RATE, 1)  # shares may add up to a little less than 1
    chosen = np.flatnonzero(low_discrepancy(len(index)) < rate)
    return Sample(index[chosen], 1 / rate[chosen])


def localise(
    grid: Grid, mask: FloatArray, whole: ClassModel, pair: Pair
) -> tuple[ClassModel, Pair]:
    """Weight each place of each difference by how far two half-sets agree there.

    Equation (15) of docs/theory.md.

    With signal power S and noise power N of a half-set near a place, the halves correlate by
    ``a = S / (S + N)`` there; the noise of both together is half as strong, so that the Wiener
    weight is ``S / (S + N / 2) = 2 a / (1 + a)``.

    Parameters
    ----------
    grid : Grid
    mask : (box, box, box) float32
    whole : ClassModel
    pair : two ClassModel

    Returns
    -------
    ClassModel
    (ClassModel, ClassModel)
        The halves by the same weights.
    """
    models = (whole, *pair)
    out = [np.zeros_like(model.differences) for model in models]
    for k in range(len(whole.weights)):
        spectra = [fft.rfftn(model.differences[k]) for model in models]
        for band in _bands(grid):
            parts = [fft.irfftn(spectrum * band, s=mask.shape) for spectrum in spectra]
            weight = _agreement_weight(
                parts[1], parts[2], NEIGHBOURHOOD * grid.resolution / grid.voxel
            )
            for volume, part in zip(out, parts):
                volume[k] += (weight * part * mask).astype(np.float32)
    done = [ClassModel(volume, model.weights) for volume, model in zip(out, models)]
    return done[0], (done[1], done[2])


def _agreement_weight(one: FloatArray, two: FloatArray, width: float) -> FloatArray:
    """Wiener weight of each voxel from two noisy copies, averaged over a Gaussian (voxels)."""
    common = ndimage.gaussian_filter(one * two, width)
    power = ndimage.gaussian_filter(one * one + two * two, width) / 2
    agreement = np.clip(common / np.maximum(power, 1e-60), 0, 1)
    out: FloatArray = 2 * agreement / (1 + agreement)
    return out


def _bands(grid: Grid) -> list[FloatArray]:
    """Overlapping bands of shells, on the transform of a working-box volume; their sum is 1."""
    width = grid.n_shells / BANDS
    centres = (np.arange(BANDS) + 0.5) * width
    shell = np.clip(grid.box_shells, centres[0], centres[-1])
    return [np.clip(1 - np.abs(shell - centre) / width, 0, 1) for centre in centres]


def calibrate(
    background: Background,
    mask: FloatArray,
    whole: ClassModel,
    pair: Pair,
    samples: tuple[Sample, Sample],
    nuisance: NuisanceSpread,
) -> tuple[ClassModel, Pair]:
    """Give each shell of each difference the amplitude that images held out ask for.

    Equation (16) of docs/theory.md.

    Regularisation damps the differences, more where the noise is strong.  The least-squares gain
    of one half-set's difference on the other half-set's images is ``T / (a (T + N))`` for true
    power T, noise N and damping a; with all particles the noise is half as strong.  The difference
    of all particles is damped otherwise: it is first put on the scale of the halves' mean.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    whole : ClassModel
        Of all particles.
    pair : two ClassModel
        Of each half-set alone.
    samples : two Sample
        Of each half-set's particles.
    nuisance : NuisanceSpread

    Returns
    -------
    ClassModel
    (ClassModel, ClassModel)
    """
    grid = background.grid
    product, square = np.zeros((2, len(whole.weights), grid.n_shells))
    for h, sample in enumerate(samples):
        resp, _ = score_classes(background, pair[h], sample.index, nuisance)
        weights = resp * sample.stand_for[:, None]
        own = shell_products(background, pair[1 - h].differences, weights, sample.index)
        product, square = product + own[0], square + own[1]
    models = (whole, *pair)
    filtered = [np.empty_like(model.differences) for model in models]
    for k in range(len(whole.weights)):
        one, two = (half.differences[k] for half in pair)
        cross = _smooth(grid.shell_profile(one, two))
        power = _smooth(grid.shell_profile(one)) * _smooth(grid.shell_profile(two))
        agreement = np.clip(cross / np.sqrt(np.maximum(power, 1e-60)), 0, 1)
        gain = _smooth(product[k]) / np.maximum(_smooth(square[k]), 1e-30)
        gain = np.clip(gain * 2 / (1 + agreement), 0, LARGEST_GAIN)
        own_power = np.maximum(_smooth(grid.shell_profile(whole.differences[k])), 1e-60)
        scale = _smooth(grid.shell_profile((one + two) / 2, whole.differences[k])) / own_power
        for model, out, factor in zip(
            models, filtered, (gain * np.clip(scale, 0, LARGEST_GAIN), gain, gain)
        ):
            spectrum = fft.rfftn(model.differences[k]) * np.append(factor, 0)[grid.box_shells]
            out[k] = fft.irfftn(spectrum, s=mask.shape) * mask
    done = [ClassModel(out, model.weights) for model, out in zip(models, filtered)]
    return done[0], (done[1], done[2])


def _smooth(profile: FloatArray) -> FloatArray:
    """Sum over each shell and its neighbours; the images' own means, shell 0, are left out."""
    padded = np.pad(profile[1:], 1)
    total = padded[:-2] + padded[1:-1] + padded[2:]
    return np.append(total[:1], total)
