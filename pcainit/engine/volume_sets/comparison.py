"""How sets of volumes differ: within each set, from set to set, and from the truth."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import fft
from scipy.optimize import linear_sum_assignment

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.geometry.grid import Grid

FSC_LIMIT = 0.5


def relative_differences(volumes: FloatArray, mask: FloatArray) -> FloatArray:
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
    square = (flat**2).sum(axis=1)
    power = np.maximum(square[:, None] + square - 2 * flat @ flat.T, 0)
    np.fill_diagonal(power, 0)
    out: FloatArray = np.sqrt(power) / max(float(spread), 1e-30)
    return out


def shell_correlations(
    volumes: FloatArray, mask: FloatArray, grid: Grid
) -> tuple[FloatArray, FloatArray]:
    """FSC of each pair of masked volumes, and the resolution up to which they are the same.

    Returns
    -------
    (K, K, n_shells) float64
    (K, K) float64
        Angstrom where the FSC first falls below 0.5; the grid's finest where it never does.
    """
    count, shells = len(volumes), grid.box_shells
    inside = shells < grid.n_shells
    x = fft.rfftfreq(grid.box, 1 / grid.box)
    # The columns that a real transform leaves out count with those that mirror them.
    weight = np.sqrt(np.where((x == 0) | (x == grid.box // 2), 1.0, 2.0)) * np.ones(shells.shape)
    order = np.argsort(shells[inside], kind="stable")
    edges = np.searchsorted(shells[inside][order], np.arange(grid.n_shells + 1))
    spectra = np.stack(
        [
            (fft.rfftn(volume * mask) * weight)[inside][order].astype(np.complex64)
            for volume in volumes
        ]
    )
    curves = np.empty((count, count, grid.n_shells))
    for shell, (first, last) in enumerate(zip(edges, edges[1:])):
        own = spectra[:, first:last].astype(np.complex128)
        cross = own.real @ own.real.T + own.imag @ own.imag.T
        power = np.sqrt(np.maximum(cross.diagonal(), 1e-60))
        curves[:, :, shell] = cross / power[:, None] / power
    # Beyond the last whole shell there is nothing to compare.
    below = curves[:, :, 1 : int(grid.cutoff) + 1] < FSC_LIMIT
    finest = np.floor(grid.radius)
    last_same = np.where(below.any(axis=2), below.argmax(axis=2) + 1, finest)
    return curves, grid.box_px * grid.sampling / last_same


def difference_table(sets: Sequence[FloatArray], mask: FloatArray) -> FloatArray:
    """Correlation of the difference maps of all volumes of some sets, (n, n) float64.

    A difference map is a volume minus the mean of its own set, inside the mask; that of a set of
    one volume is nothing, and its correlations are 0.
    """
    inside = mask > 0
    flat = []
    for volumes in sets:
        own = ((volumes - volumes.mean(axis=0)) * mask)[:, inside]
        flat.append(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-30))
    every = np.concatenate(flat)
    out: FloatArray = np.clip((every @ every.T).astype(np.float64), -1, 1)
    return out


def best_match(table: FloatArray) -> IntArray:
    """Partner of each row, one to one, for the largest sum; -1 where it has none, (K,) int.

    Parameters
    ----------
    table : (K, M) float
        How alike each row and column are.

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.volume_sets.comparison import best_match
    >>> best_match(np.array([[0.2, 0.9], [0.8, 0.7]])).tolist()
    [1, 0]
    """
    partner = np.full(len(table), -1)
    rows, columns = linear_sum_assignment(-table)
    partner[rows] = columns
    return partner
