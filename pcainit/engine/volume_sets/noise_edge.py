"""What noise alone would give among the eigenvalues of a set of volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from pcainit.engine.arrays import FloatArray
from pcainit.engine.geometry.grid import radial_distance
from pcainit.engine.volume_sets.volume_set import VolumeComponents

_SAMPLED = 64  # volumes whose remainders are measured
_NEAR = 1.5  # voxels over which the local strength of the noise is averaged
_QUANTILES = 60
_FREE = 0.05  # share of a volume's noise that the components must leave to be told
_RARE = 2.02  # 99 % quantile of the Tracy-Widom law
_MARGIN = 1.08  # places and frequencies are not quite independent


@dataclass(frozen=True, eq=False)
class NoiseShape:
    """Noise that is stronger in some places, at some frequencies and in some volumes than others.

    Parameters
    ----------
    levels : (l,) float64
        Its variances along the principal directions, of mean 1; each stands for as many.
    directions : float
        How many there are in all.
    strengths : (s,) float64
        Its variances in the volumes, of mean 1; each stands for as many.
    """

    levels: FloatArray
    directions: float
    strengths: FloatArray

    def largest(self, samples: int) -> float:
        """Largest of so many eigenvalues over their mean, as 1 % of such noise exceeds it.

        The edge of the law of Marchenko, Pastur and Silverstein for a covariance on both sides,
        and the law of Tracy and Widom for what lies beyond.
        """
        tau, ratio, d = self.levels, self.directions / samples, self.strengths

        def edge(log: float) -> float:
            """An upper bound; the least of all is the edge."""
            at = 1 / (float(tau.max()) * (1 + np.exp(log)))
            floor = ratio * float((tau / (1 - tau * at)).mean())
            low, high = float(d.max()) * floor, float(d.max()) * (floor + 1 / at)
            for _ in range(60):
                middle = (low + high) / 2
                below = float((d / np.maximum(middle - d * floor, 1e-300)).mean()) > at
                low, high = (middle, high) if below else (low, middle)
            out: float = high
            return out

        found = optimize.minimize_scalar(edge, bounds=(-12.0, 12.0), method="bounded")
        equal = self.directions / float((tau**2).mean())  # as many of one level
        reach = np.sqrt(samples) + np.sqrt(equal)
        beyond = _RARE * (1 / np.sqrt(samples) + 1 / np.sqrt(equal)) ** (1 / 3) / reach
        out: float = _MARGIN * float(found.fun) / ratio * (1 + beyond)
        return out


def noise_edge(volumes: FloatArray, mask: FloatArray, found: VolumeComponents) -> float:
    """Largest eigenvalue that noise alone would give, beside the components above it.

    Equation (18) of docs/theory.md.

    Noise here is what differs from volume to volume without any relation between them.

    Parameters
    ----------
    volumes : (n, box, box, box) float32
        Few are read.
    mask : (box, box, box) float32
    found : VolumeComponents
        Of these volumes.

    Returns
    -------
    float
        Volumes without noise of their own have nearly all eigenvalues above it; not a number
        where there are too few volumes to tell.
    """
    count = len(found.spectrum)
    taken = min(len(found.components), max(count // 4, min(2, count - 1)))
    while True:  # noise that was taken for components is missed in its own shape
        largest = noise_shape(volumes, mask, found, taken).largest(count)
        edge = above_noise(found.spectrum, largest)
        above = min(taken, int((found.variances > edge).sum()))
        if above == taken or largest >= count:
            return edge if largest < count else float("nan")
        taken = above


def noise_shape(
    volumes: FloatArray, mask: FloatArray, found: VolumeComponents, taken: int
) -> NoiseShape:
    """Where and at which frequencies the volumes vary beside their first components.

    In a mask that is wide against the resolution, places and frequencies count one by one: the
    noise has a direction of its own for each pair of them.

    Parameters
    ----------
    volumes : (n, box, box, box) float32
        Few are read.
    mask : (box, box, box) float32
    found : VolumeComponents
        Of these volumes.
    taken : int
        Components that are taken out first.

    Returns
    -------
    NoiseShape
    """
    n, inside = len(volumes), mask > 0
    power, square, strengths = np.zeros(mask.shape), np.zeros(mask.shape), []
    axes = found.coordinates[:, :taken]
    free = 1 - 1 / n - (axes**2 / np.maximum((axes**2).sum(axis=0), 1e-300)).sum(axis=1)
    for k in np.unique(np.linspace(0, n - 1, _SAMPLED).astype(int)):
        rest = volumes[k] * mask - found.average
        rest = rest - np.tensordot(found.coordinates[k, :taken], found.components[:taken], 1)
        power += np.abs(np.fft.fftn(rest)) ** 2
        square += rest.astype(np.float64) ** 2
        if free[k] > _FREE:  # else the components have taken all that was in it
            strengths.append(float(np.square(rest, dtype=np.float64).sum()) / free[k])
    if not square.any() or not strengths:
        return NoiseShape(np.ones(1), float(inside.sum()), np.ones(1))
    shell = np.fft.ifftshift(np.rint(radial_distance(len(mask))).astype(int))
    radial = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    weight = mask.astype(np.float64) ** 2
    local = ndimage.gaussian_filter(square, _NEAR) / np.maximum(
        ndimage.gaussian_filter(weight, _NEAR), 1e-6
    )
    places = _quantiles((local * weight)[inside])
    levels = np.outer(places, _quantiles(radial[shell].ravel())).ravel()
    return NoiseShape(
        levels / levels.mean(), float(inside.sum()), np.array(strengths) / np.mean(strengths)
    )


def _quantiles(values: FloatArray) -> FloatArray:
    """Means of equal parts of the values, smallest first; finer where they are large."""
    values = np.sort(values)
    parts = np.array_split(values, min(_QUANTILES, len(values)))
    return np.array([part.mean() for part in parts])


def above_noise(spectrum: FloatArray, largest: float) -> float:
    """The edge between eigenvalues of components and of noise.

    Noise that is independent from volume to volume spreads over all eigenvalues.  An eigenvalue
    that is larger than the power of all could give as noise is taken out, and what is left tells
    the level of the noise anew.  The level is not read off the spread of the eigenvalues, which
    one strong component alone makes wide.

    Parameters
    ----------
    spectrum : (r,) float64
        All eigenvalues.
    largest : float
        Of r eigenvalues of noise, the largest over their mean.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.volume_sets.noise_edge import above_noise
    >>> spectrum = np.array([40.0, 1.2, 1.0, 0.9, 0.9])
    >>> int((spectrum > above_noise(spectrum, largest=1.5)).sum())
    1
    """
    values = np.sort(np.asarray(spectrum, np.float64))
    sums, edge = np.cumsum(values), 0.0
    for left in range(len(values), 0, -1):
        edge = largest * float(sums[left - 1]) / left
        if values[left - 1] <= edge:
            break
    return edge
