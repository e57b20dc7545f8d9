"""Back-projection in real space: values at chosen voxels, and what sampling does to a volume."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numba
import numpy as np
from scipy import fft

from pcainit.engine.grid import Grid
from pcainit.engine.kernels import kernel

_TOGETHER = 16                  # images that are read side by side


def weight_kernel(weight: np.ndarray, grid: Grid) -> np.ndarray:
    """``sum P' C^2 P`` as a convolution: its kernel, origin first, (padded,) * 3 float64.

    Parameters
    ----------
    weight : `Grid.half_shape` float32
        As from `total_weight`.
    grid : Grid
    """
    n = grid.padded_box
    full = np.zeros((n, n, n // 2 + 1))
    k = grid.stored
    full[np.ix_(k, k, k[k >= 0])] = weight[grid.stored_part]
    kernel = fft.irfftn(full, s=(n, n, n)) * n ** 3 * grid._scale ** 2
    line = np.sinc(fft.fftfreq(n)) ** 2         # the weights were spread over neighbours
    return kernel / np.maximum(line[:, None, None] * line[:, None] * line, 0.1)


@kernel(parallel=True)
def _back_project(images, rotations, points, fine, out):
    size = images.shape[1]
    blocks = (images.shape[0] + _TOGETHER - 1) // _TOGETHER
    for block in numba.prange(blocks):
        first = block * _TOGETHER
        last = min(first + _TOGETHER, images.shape[0])
        for v in range(points.shape[0]):
            px, py, pz = fine * points[v, 0], fine * points[v, 1], fine * points[v, 2]
            for i in range(first, last):
                x = rotations[i, 0, 0] * px + rotations[i, 0, 1] * py + rotations[i, 0, 2] * pz
                y = rotations[i, 1, 0] * px + rotations[i, 1, 1] * py + rotations[i, 1, 2] * pz
                x0, y0 = int(np.floor(x)), int(np.floor(y))
                fx, fy = np.float32(x - x0), np.float32(y - y0)
                # No point is further from the middle than the image's size.
                xa, ya = x0 + size if x0 < 0 else x0, y0 + size if y0 < 0 else y0
                xb, yb = xa + 1 if xa + 1 < size else 0, ya + 1 if ya + 1 < size else 0
                out[v, i] = ((1 - fy) * ((1 - fx) * images[i, ya, xa] + fx * images[i, ya, xb])
                             + fy * ((1 - fx) * images[i, yb, xa] + fx * images[i, yb, xb]))


def back_project(samples: np.ndarray, rotations: np.ndarray, points: np.ndarray, grid: Grid
                 ) -> np.ndarray:
    """Adjoint of extraction at given places: one value per particle and voxel.

    Parameters
    ----------
    samples : (m, p) complex64
    rotations : (m, 3, 3) float32
    points : (v, 3) float32
        x, y, z in voxels of the working box, from its origin.
    grid : Grid

    Returns
    -------
    (v, m) float32
    """
    fine = 2                                    # image pixels per voxel
    size = fine * grid.box
    kx, ky = grid.frequencies.T
    # Linear interpolation damps what it reads; this undoes it.
    gain = 1 / (np.sinc(kx / size) * np.sinc(ky / size)) ** 2
    plane = np.zeros((len(samples), size, size // 2 + 1), np.complex64)
    plane[:, ky, kx] = samples * gain.astype(np.float32)
    column = (kx == 0) & (ky > 0)
    plane[:, -ky[column], 0] = np.conj(plane[:, ky[column], 0])
    images = fft.irfft2(plane, s=(size, size), workers=numba.get_num_threads())
    images *= np.float32(size ** 2 * grid._scale)
    out = np.empty((len(points), len(samples)), np.float32)
    _back_project(images.astype(np.float32), np.asarray(rotations, np.float32), points,
                  np.float32(fine), out)
    return out
