"""Bring a volume to another box and sampling rate."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray
from pcainit.engine.geometry.grid import Grid


def resample(volume: FloatArray, sampling: float, grid: Grid) -> FloatArray:
    """A volume on the working grid: band-limited interpolation about its own origin.

    The voxel ``box // 2`` stays the origin.  Beyond the volume's own box there is the
    mean density of its faces.

    Parameters
    ----------
    volume : (n, n, n) float32
        Density on its own grid.
    sampling : float
        Angstrom per pixel; `grid` must keep nothing finer than twice that.
    grid : Grid
        Working grid: its samples, shells and boxes.

    Returns
    -------
    (box, box, box) float32
    """
    n = len(volume)
    place = (np.arange(grid.box) - grid.box // 2) * (grid.voxel / sampling)  # in its pixels
    highest = min(int(grid.cutoff * n * sampling / (grid.box_px * grid.sampling)), (n - 1) // 2)
    turns = (place[:, None] + n // 2 - np.arange(n)) / n
    orders = np.arange(1, highest + 1)
    # The kernel of a sum over all frequencies up to the highest (Dirichlet's).
    kernel = (1 + 2 * np.cos(2 * np.pi * turns[..., None] * orders).sum(axis=-1)) / n
    kernel[np.abs(place) > n / 2] = 0
    kernel = kernel.astype(np.float32)
    border = float(np.mean([np.take(volume, k, axis) for axis in range(3) for k in (0, -1)]))
    out = volume - np.float32(border)
    for _ in range(3):  # each turn takes the first axis to the last
        out = np.tensordot(out, kernel, axes=(0, 1))
    return grid.band_limit(out + np.float32(border))


def to_grid(volumes: FloatArray, coarse: Grid, fine: Grid) -> FloatArray:
    """Bring volumes (q, ...) of one working grid to another of the same particles, float32."""
    out = np.empty((len(volumes),) + (fine.box,) * 3, np.float32)
    for k, volume in enumerate(volumes):
        out[k] = resample(volume, coarse.voxel, fine)
    return out


def mask_to_grid(mask: FloatArray, coarse: Grid, fine: Grid) -> FloatArray:
    """Bring a mask to another working grid, from 0 to 1 and 0 outside."""
    found = np.clip(resample(mask, coarse.voxel, fine), 0, 1)
    return np.where(found < 0.01, 0, found).astype(np.float32)
