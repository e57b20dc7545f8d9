"""How sets of volumes differ: within each set, from set to set, and from the truth."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from pcainit.engine.grid import Grid
from pcainit.engine.reconstruction import fourier_shell_correlation

FSC_LIMIT = 0.5


def relative_differences(volumes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Root-mean-square difference of each pair over the spread of their mean's density.

    Parameters
    ----------
    volumes : (K, box, box, box) float32
        On one greyscale.
    mask : (box, box, box) float32

    Returns
    -------
    (K, K) float64
        0.1 means that two volumes differ by a tenth of what the density itself varies by.
    """
    weight = mask / mask.sum()
    mean = volumes.mean(axis=0, dtype=np.float64)
    middle = (mean * weight).sum()
    spread = np.sqrt(((mean - middle) ** 2 * weight).sum())
    flat = (volumes * np.sqrt(weight)).reshape(len(volumes), -1).astype(np.float64)
    square = (flat ** 2).sum(axis=1)
    power = np.maximum(square[:, None] + square - 2 * flat @ flat.T, 0)
    np.fill_diagonal(power, 0)
    return np.sqrt(power) / max(float(spread), 1e-30)


def shell_correlations(volumes: np.ndarray, mask: np.ndarray, grid: Grid
                       ) -> Tuple[np.ndarray, np.ndarray]:
    """FSC of each pair of masked volumes, and the resolution up to which they are the same.

    Returns
    -------
    (K, K, n_shells) float64
    (K, K) float64
        Angstrom where the FSC first falls below 0.5; the grid's finest where it never does.
    """
    count, masked = len(volumes), volumes * mask
    curves = np.ones((count, count, grid.n_shells))
    same = np.full((count, count), grid.box_px * grid.sampling / np.floor(grid.radius))
    for a in range(count):
        for b in range(a):
            curve = fourier_shell_correlation(masked[a], masked[b], grid)
            # Beyond the last whole shell there is nothing to compare.
            below = np.flatnonzero(curve[1:int(grid.cutoff) + 1] < FSC_LIMIT)
            curves[a, b] = curves[b, a] = curve
            if len(below):
                same[a, b] = same[b, a] = grid.box_px * grid.sampling / (below[0] + 1)
    return curves, same


def difference_correlations(one: np.ndarray, two: np.ndarray, mask: np.ndarray
                            ) -> Tuple[np.ndarray, np.ndarray]:
    """Correlation of the difference maps of two sets, and their best one-to-one match.

    A difference map is a volume minus the mean of its own set, inside the mask.

    Parameters
    ----------
    one, two : (K, box, box, box), (L, box, box, box) float32
    mask : (box, box, box) float32

    Returns
    -------
    (K, L) float64
        0 for a set of one volume, which has no differences.
    (K,) int
        Partner of each volume of `one`; -1 where it has none.
    """
    flat = []
    for volumes in (one, two):
        own = ((volumes - volumes.mean(axis=0)) * mask).reshape(len(volumes), -1)
        own = own.astype(np.float64)
        flat.append(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-30))
    table = flat[0] @ flat[1].T
    partner = np.full(len(one), -1)
    rows, columns = linear_sum_assignment(-table)
    partner[rows] = columns
    return table, partner
