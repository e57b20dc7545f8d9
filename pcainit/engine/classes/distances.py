"""How much volumes differ, measured in units of their own noise."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray


def noise_power(halves_one: FloatArray, halves_two: FloatArray, mask: FloatArray) -> FloatArray:
    """Noise variance of volumes from two independent halves of each.

    Parameters
    ----------
    halves_one, halves_two : (K, box, box, box) float32
        A volume is taken to be the mean of its halves.
    mask : (box, box, box) float32

    Returns
    -------
    (K,) float64
        Mean over the mask of the variance of (one + two) / 2.
    """
    gap = (halves_one.astype(np.float64) - halves_two) ** 2 / 4
    out: FloatArray = (gap * mask).sum(axis=(1, 2, 3)) / mask.sum()
    return out


def pairwise_differences(volumes: FloatArray, noise: FloatArray, mask: FloatArray) -> FloatArray:
    """Root-mean-square difference of each pair over what noise alone would give.

    Parameters
    ----------
    volumes : (K, box, box, box) float32
        On one greyscale.
    noise : (K,) float64
        As from `noise_power`.
    mask : (box, box, box) float32
        Weight of each voxel.

    Returns
    -------
    (K, K) float64
        1 where two volumes differ by their noise alone; 0 on the diagonal.

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.classes.distances import pairwise_differences
    >>> volumes = np.stack([np.zeros((4, 4, 4)), np.full((4, 4, 4), 2.0)])
    >>> pairwise_differences(volumes, np.array([0.5, 0.5]), np.ones((4, 4, 4))).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
    """
    n = len(volumes)
    ratio = np.zeros((n, n))
    for a in range(n):
        for b in range(a):
            power = ((volumes[a].astype(np.float64) - volumes[b]) ** 2 * mask).sum() / mask.sum()
            ratio[a, b] = ratio[b, a] = np.sqrt(power / max(noise[a] + noise[b], 1e-300))
    return ratio
