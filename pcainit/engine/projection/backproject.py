"""Back-projection in real space: values at chosen voxels, and what sampling does to a volume."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy import fft

from pcainit.engine.arrays import ComplexArray, FloatArray
from pcainit.engine.compiled.jit import kernel, part
from pcainit.engine.compiled.kinds import INT, reads, writes
from pcainit.engine.compiled.threads import thread_count
from pcainit.engine.geometry.grid import Grid

_TOGETHER = 16  # images whose values are written side by side


def weight_kernel(weight: FloatArray, grid: Grid) -> FloatArray:
    """``sum P' C^2 P`` as a convolution: its kernel, origin first, (padded,) * 3 float64.

    Parameters
    ----------
    weight : `Grid.half_shape` float32
        As from `total_weight`.
    grid : Grid
        Working grid: its samples, shells and boxes.
    """
    n = grid.padded_box
    full = np.zeros((n, n, n // 2 + 1))
    k = grid.stored
    full[np.ix_(k, k, k[k >= 0])] = weight[grid.stored_part]
    kernel = fft.irfftn(full, s=(n, n, n)) * n**3 * grid._scale**2
    line = np.sinc(fft.fftfreq(n)) ** 2  # the weights were spread over neighbours
    out: FloatArray = kernel / np.maximum(line[:, None, None] * line[:, None] * line, 0.1)
    return out


@part
def _read_image(image, size, x, y, out):
    """Linear interpolation of a periodic image (size squared,) at places from its origin."""
    size, zero, one = np.int32(size), np.int32(0), np.int32(1)
    for v in range(len(out)):
        left, low = np.floor(x[v]), np.floor(y[v])
        fx, fy = x[v] - left, y[v] - low
        # No point is further from the middle than the image's size.
        xa, ya = np.int32(left), np.int32(low)
        xa, ya = xa + size if xa < zero else xa, ya + size if ya < zero else ya
        xb, yb = xa + one if xa + one < size else zero, ya + one if ya + one < size else zero
        out[v] = (1 - fy) * ((1 - fx) * image[ya * size + xa] + fx * image[ya * size + xb]) + fy * (
            (1 - fx) * image[yb * size + xa] + fx * image[yb * size + xb]
        )


@kernel(INT, reads("float32", 3), reads("float32", 3), reads("float32", 2), writes("float32", 2))
def _back_project(block, images, rotations, points, out):
    size, count = images.shape[1], points.shape[1]
    px, py, pz = points[0], points[1], points[2]
    first = block * _TOGETHER
    last = min(first + _TOGETHER, images.shape[0])
    x, y = np.empty(count, np.float32), np.empty(count, np.float32)
    values = np.empty((_TOGETHER, count), np.float32)
    for i in range(first, last):
        turn = rotations[i]
        for v in range(count):
            x[v] = turn[0, 0] * px[v] + turn[0, 1] * py[v] + turn[0, 2] * pz[v]
        for v in range(count):
            y[v] = turn[1, 0] * px[v] + turn[1, 1] * py[v] + turn[1, 2] * pz[v]
        _read_image(images[i].ravel(), size, x, y, values[i - first])
    for v in range(count):
        for i in range(first, last):
            out[v, i] = values[i - first, v]


def back_project(
    samples: ComplexArray, rotations: FloatArray, points: FloatArray, grid: Grid
) -> FloatArray:
    """Adjoint of extraction at given places: one value per particle and voxel.

    Parameters
    ----------
    samples : (m, p) complex64
        Fourier samples of each image.
    rotations : (m, 3, 3) float32
        Specimen to image, of each particle.
    points : (v, 3) float32
        x, y, z in voxels of the working box, from its origin.
    grid : Grid
        Working grid: its samples, shells and boxes.

    Returns
    -------
    (v, m) float32
    """
    fine = 2  # image pixels per voxel
    size = fine * grid.box
    kx, ky = grid.frequencies.T
    # Linear interpolation damps what it reads; this undoes it.
    gain = 1 / (np.sinc(kx / size) * np.sinc(ky / size)) ** 2
    plane = np.zeros((len(samples), size, size // 2 + 1), np.complex64)
    plane[:, ky, kx] = samples * gain.astype(np.float32)
    column = (kx == 0) & (ky > 0)
    plane[:, -ky[column], 0] = np.conj(plane[:, ky[column], 0])
    images = fft.irfft2(plane, s=(size, size), workers=thread_count())
    images *= np.float32(size**2 * grid._scale)
    out = np.empty((len(points), len(samples)), np.float32)
    _back_project.over_blocks(
        -(-len(images) // _TOGETHER),
        images.astype(np.float32),
        np.asarray(rotations, np.float32),
        np.ascontiguousarray(np.float32(fine) * points.T),
        out,
    )
    return out
