"""Images seen through a soft circle, where what lies around the particle is noisier than itself.

Neighbours and the edges of holes are beside the particle, never in it: in crowded images the
noise of the surroundings is several times that of the particle's own area.  A noise spectrum of
the whole image then makes little of the particle, and what is coherent around it passes for its
heterogeneity.  All signal of the particle lies inside its own outline and what the CTF spreads
of it; the rest is darkened softly.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Iterator

import numpy as np
from scipy import fft

from pcainit.buffers import buffer_like
from pcainit.engine.arrays import ComplexArray, FloatArray
from pcainit.engine.compiled.products import power
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.engine.projection.slices import extract_slices

# Noise around the particle over noise inside from which images are windowed: 1.0 in sets without
# neighbours, 2.5 to 5 in crowded ones.
MIN_RATIO = 1.3
TELLING = 3000  # particles that tell it
CHUNK = 2048


def choose_window(slices: Slices, consensus: Consensus, solvent: FloatArray) -> float:
    """Radius of the circle that images should be seen through.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    consensus : Consensus
        Mean of the particles with its noise and signal spectra.
    solvent : (box, box, box) float32
        Mask of the whole particle.

    Returns
    -------
    float
        Voxels of the working box; 0 where the surroundings are no noisier than the particle, or
        where the box has none.
    """
    grid = slices.grid
    radius = float(radial_distance(grid.box)[solvent > 0.5].max(initial=0))
    window = make_window(grid, radius)
    if not 0 < radius < grid.box / 2 - 1:
        return 0.0
    some = slices.take(subsample(np.flatnonzero(slices.usable), TELLING))
    inside, outside = np.zeros((2, grid.n_shells))
    for _, residual in _residuals(some, consensus.mean):
        image = _to_images(residual, grid)
        inside += _shell_power(image * window, grid)
        outside += _shell_power(image * (1 - window), grid)
    inside /= (window**2).mean()
    outside /= ((1 - window) ** 2).mean()
    shells = slice(1, grid.n_shells - 1)  # the last one is not whole
    ratio = float(np.mean(outside[shells] / np.maximum(inside[shells], 1e-30)))
    return radius if ratio > MIN_RATIO else 0.0


def make_window(grid: Grid, radius: float) -> FloatArray:
    """Make a soft circle on the working box's images, half dark at `radius` voxels."""
    edge = 0.25 * grid.resolution / grid.voxel
    distance = radial_distance(grid.box)[grid.box // 2]
    return soft_edge(distance, radius - edge, radius + edge).astype(np.float32)


def window_slices(slices: Slices, radius: float) -> Slices:
    """See all images through a soft circle.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    radius : float
        Of the circle, voxels of the working box; 0 leaves them as they are.

    Returns
    -------
    Slices
    """
    if not radius:
        return slices
    grid, window = slices.grid, make_window(slices.grid, radius)
    values = buffer_like(slices.values)
    for start in range(0, len(slices), CHUNK):
        part = slice(start, start + CHUNK)
        values[part] = _to_slices(_to_images(slices.values[part], grid) * window, grid)
        values[part, 0] = slices.values[part, 0]
    return dataclasses.replace(slices, values=values, seen=float((window**2).mean()))


def _residuals(slices: Slices, mean: FloatArray) -> Iterator[tuple[slice, ComplexArray]]:
    """Subtract the mean's projections from the images, and the images' own means."""
    grid = slices.grid
    transform = grid.to_fourier(mean[None])
    for start in range(0, len(slices), CHUNK):
        part = slice(start, start + CHUNK)
        model = extract_slices(transform, slices.rotations[part], grid)[..., 0]
        residual = np.empty_like(model)
        residual.real = slices.values[part].real - model.real * slices.ctf[part]
        residual.imag = slices.values[part].imag - model.imag * slices.ctf[part]
        residual[:, 0] = 0
        yield part, residual


def _to_images(values: ComplexArray, grid: Grid) -> FloatArray:
    """Real images (n, box, box) of the working box; white noise keeps its variance."""
    box, (kx, ky) = grid.box, grid.frequencies.T
    kept = (kx < box // 2) & (np.abs(ky) < box // 2)
    spectrum = np.zeros((len(values), box, box // 2 + 1), np.complex64)
    spectrum[:, ky[kept] % box, kx[kept]] = values[:, kept]
    axis = kept & (kx == 0) & (ky > 0)
    spectrum[:, -ky[axis] % box, 0] = values[:, axis].conj()
    return np.fft.fftshift(fft.irfft2(spectrum, s=(box, box)), axes=(1, 2)) * np.float32(box)


def _to_slices(images: FloatArray, grid: Grid) -> ComplexArray:
    """Inverse of `_to_images`, (n, p) complex64; samples beyond the working box are zero."""
    box, (kx, ky) = grid.box, grid.frequencies.T
    kept = (kx < box // 2) & (np.abs(ky) < box // 2)
    spectrum = fft.rfft2(np.fft.ifftshift(images, axes=(1, 2))) / np.float32(box)
    values = np.zeros((len(images), len(kx)), np.complex64)
    values[:, kept] = spectrum[:, ky[kept] % box, kx[kept]]
    return values


def _shell_power(images: FloatArray, grid: Grid) -> FloatArray:
    """Sum over images of the mean power in each shell, (n_shells,) float64."""
    total = power(_to_slices(images, grid)).sum(axis=0, dtype=np.float64)
    return np.bincount(grid.shell, total) / np.bincount(grid.shell)
