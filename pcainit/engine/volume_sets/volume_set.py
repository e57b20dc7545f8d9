"""Volumes of any box and sampling rate on one working grid, and their principal components."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator

import numpy as np

from pcainit.engine.arrays import BoolArray, FloatArray

MIN_GAIN = 1e-3  # of a volume that looks like the mean of all
_TOGETHER = 64  # volumes whose masked voxels are held in memory side by side


def rough_mean(volumes: FloatArray) -> FloatArray:
    """Mean of volumes on greyscales that are not known yet: background 0, the same spread."""
    total = np.zeros(volumes.shape[1:])
    for volume in volumes:
        total += (volume - np.median(volume)) / max(float(volume.std()), 1e-30)
    return (total / len(volumes)).astype(np.float32)


def relative_greyscale(volumes: FloatArray, mask: FloatArray) -> FloatArray:
    """Contrast of each volume, the median being 1, (n,); 0 or less for one unlike their mean.

    A quick look by least squares inside the mask; `match_greyscale` is exact.
    """
    inside = mask > 0.5
    mean = rough_mean(volumes)[inside].astype(np.float64)
    mean -= mean.mean()
    gains = np.array([float(mean @ volume[inside]) for volume in volumes])
    return gains / max(abs(float(np.median(gains))), 1e-30)


def match_greyscale(
    volumes: FloatArray, mask: FloatArray, rounds: int = 5
) -> tuple[FloatArray, FloatArray]:
    """Give all volumes the density scale and the background of their mean, in place.

    Each is taken to be ``gain x mean + offset`` inside the mask, by least squares in which voxels
    that vary between the volumes count little: what comes and goes must not set the scale.

    Parameters
    ----------
    volumes : (n, box, box, box) float32
    mask : (box, box, box) float32
    rounds : int
        The mean is made again after each.

    Returns
    -------
    gain : (n,) float64
        What each volume's contrast was, the median being 1; 0 for a volume that does not look
        like the mean at all.
    offset : (n,) float64
        What each volume's background was.
    """
    inside = mask > 0.5
    total, background = np.ones(len(volumes)), np.zeros(len(volumes))
    # A volume on a large scale must not be the mean: at first all have the same spread.
    level, spread = (np.array([f(v[inside]) for v in volumes]) for f in (np.mean, np.std))
    spread = np.maximum(spread, 1e-30)
    mean = np.mean([(v[inside] - a) / s for v, a, s in zip(volumes, level, spread)], axis=0)
    mean = mean.astype(np.float64) * np.median(spread) + np.median(level)
    like = np.ones(len(volumes), bool)
    trust = np.ones(len(mean))
    for _ in range(rounds):
        middle = float((trust * mean).sum() / trust.sum())
        centred = trust * (mean - middle)
        power = max(float((centred * mean).sum()), 1e-30)
        for k, volume in enumerate(volumes):
            own = volume[inside].astype(np.float64)
            gain = float((centred * own).sum()) / power
            like[k] &= gain > MIN_GAIN
            gain = max(gain, MIN_GAIN)
            offset = float((trust * own).sum() / trust.sum()) - gain * middle
            volumes[k] = (volume - np.float32(offset)) / np.float32(gain)
            background[k] += offset * total[k]
            total[k] *= gain
        mean = np.mean([v[inside] for v in volumes], axis=0, dtype=np.float64)
        spread = np.mean([(v[inside] - mean) ** 2 for v in volumes], axis=0)
        trust = 1 / (spread + 0.1 * np.median(spread) + 1e-30)
    return np.where(like, total / np.median(total), 0.0), background


@dataclass(frozen=True, eq=False)
class VolumeComponents:
    """PCA of volumes inside the mask.

    Parameters
    ----------
    average : (box, box, box) float32
        Mean of the masked volumes.
    components : (c, box, box, box) float32
        Orthonormal inside the mask.
    coordinates : (n, c) float64
        Of each volume.
    variances : (c,) float64
        Of the coordinates.
    spectrum : (n - 1,) float64
        All eigenvalues; fewer when the mask has fewer voxels.
    """

    average: FloatArray
    components: FloatArray
    coordinates: FloatArray
    variances: FloatArray
    spectrum: FloatArray


def principal_components(
    volumes: FloatArray,
    mask: FloatArray,
    weights: FloatArray,
    n_components: int,
    progress: Callable[[float], None] = lambda share: None,
) -> VolumeComponents:
    """Weighted PCA of volumes inside a mask, from the matrix of their scalar products.

    Parameters
    ----------
    volumes : (n, box, box, box) float32
        May lie on disk: a few are read at a time.
    mask : (box, box, box) float32
    weights : (n,) float64
        Of mean 1.
    n_components : int
        At most n - 1.
    progress : callable
        Told the share that is done.

    Returns
    -------
    VolumeComponents
    """
    n, inside = len(volumes), mask > 0
    shape = mask[inside].astype(np.float64)
    average = np.zeros(len(shape))
    for first, block in _blocks(volumes, inside):
        average += weights[first : first + len(block)] @ block
    average *= shape / weights.sum()
    gram = np.empty((n, n))
    for first, block in _blocks(volumes, inside):
        one = block * shape - average
        for second, other in _blocks(volumes, inside):
            if second <= first:
                part = one @ (other * shape - average).T
                gram[first : first + len(one), second : second + len(other)] = part
                gram[second : second + len(other), first : first + len(one)] = part.T
        progress((first + len(one)) / n)
    root = np.sqrt(weights)
    values, vectors = np.linalg.eigh(gram * root[:, None] * root / (n - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = slice(0, n_components)
    mix = vectors[:, kept] * root[:, None] / np.sqrt(np.maximum(values[kept], 1e-30) * (n - 1))
    flat = np.zeros((n_components, len(shape)))
    for first, block in _blocks(volumes, inside):
        flat += mix[first : first + len(block)].T @ (block * shape - average)
    sign = np.sign(flat[np.arange(n_components), np.abs(flat).argmax(axis=1)])
    components = np.zeros((n_components,) + mask.shape, np.float32)
    components[:, inside] = flat * sign[:, None]
    mean = np.zeros(mask.shape, np.float32)
    mean[inside] = average
    spectrum = np.maximum(values[: min(n - 1, len(shape))], 0)
    return VolumeComponents(mean, components, gram @ mix * sign, spectrum[kept], spectrum)


def _blocks(volumes: FloatArray, inside: BoolArray) -> Iterator[tuple[int, FloatArray]]:
    for first in range(0, len(volumes), _TOGETHER):
        yield (
            first,
            np.stack([volume[inside] for volume in volumes[first : first + _TOGETHER]]).astype(
                np.float64
            ),
        )


def weighted_averages(
    volumes: FloatArray, shares: FloatArray, mask: FloatArray, mean: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Average of the volumes for each class inside the mask, their mean outside.

    Parameters
    ----------
    volumes : (n, box, box, box) float32
    shares : (n, K) float64
        What each volume gives to each class.
    mask, mean : (box, box, box) float32

    Returns
    -------
    (K, box, box, box) float32
    (K,) float64
        Noise variance of each average: the variance within its class over its effective number.
    """
    total = np.maximum(shares.sum(axis=0), 1e-30)
    first = np.zeros((shares.shape[1],) + mask.shape)
    power = np.zeros(shares.shape[1])
    size = float(mask.sum())
    for volume, share in zip(volumes, shares):
        first += share[:, None, None, None] * volume
        power += share * float((np.square(volume, dtype=np.float64) * mask).sum())
    first /= total[:, None, None, None]
    within = (power / total - (first**2 * mask).sum(axis=(1, 2, 3))) / size
    effective = total**2 / np.maximum((shares**2).sum(axis=0), 1e-30)
    noise = np.maximum(within, 0) / np.maximum(effective - 1, 1)
    return (mean + mask * (first - mean)).astype(np.float32), noise
