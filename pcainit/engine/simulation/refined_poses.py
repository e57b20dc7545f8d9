"""Poses as a refinement leaves them: at the optimum of each image's own noise."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Iterator

import numpy as np
from scipy import fft
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import FloatArray
from pcainit.engine.images.ctf import evaluate_ctf

if TYPE_CHECKING:
    from pcainit.engine.simulation.simulate import Truth

RESOLUTION = 20.0  # finest detail that the fit sees, Angstrom, where box and pixels allow it
_STEPS = 2
_SAMPLE = 200  # images that give the noise's spectrum


def refine_to_noise(
    truth: Truth, gains: FloatArray, images: Iterator[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Move each true pose to where the mean of all states fits the noisy image best.

    Gauss-Newton steps from the true pose, weighted by the spectrum of what the true poses leave
    unexplained in all images (noise, neighbours, background).  Junk keeps its pose.

    Parameters
    ----------
    truth : Truth
    gains : (n,) float
        What each image has been multiplied with.
    images : iterator of (box, box)
        All images in their order.

    Returns
    -------
    rotations, shifts_px : (n, 3, 3), (n, 2)
    """
    model = _MeanProjection(truth)
    sample = list(islice(images, _SAMPLE))
    noise = model.noise_power(truth, gains, sample)
    root = 1 / np.sqrt(noise)
    rotations, shifts = truth.rotations.copy(), truth.shifts_px.copy()
    for i, image in enumerate(chain(sample, images)):
        if truth.state[i] >= 0:
            response = model.ctf(truth, i) * (truth.contrast[i] * gains[i]) * root
            rotations[i], shifts[i] = _fit(
                model, model.transform(image) * root, response, rotations[i], shifts[i]
            )
    return rotations, shifts


def _fit(
    model: _MeanProjection,
    data: FloatArray,
    response: FloatArray,
    rotation: FloatArray,
    shift: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Take the steps; one that does not lower the misfit is halved, at most thrice."""
    value, slopes = model.evaluate(rotation, shift)
    residual = data - response * value
    for _ in range(_STEPS):
        jacobian = (response * slopes).view(np.float64)
        normal = jacobian @ jacobian.T
        normal[np.diag_indices(5)] *= 1 + 1e-6
        step = np.linalg.lstsq(normal, jacobian @ residual.view(np.float64), rcond=None)[0]
        for _ in range(4):
            turned = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
            moved = shift + step[3:]
            value, new_slopes = model.evaluate(turned, moved)
            left = data - response * value
            if np.vdot(left, left).real < np.vdot(residual, residual).real:
                rotation, shift, residual, slopes = turned, moved, left, new_slopes
                break
            step = step / 2
        else:
            break
    return rotation, shift


class _MeanProjection:
    """Transform of the mean state's projection, and how it changes with the pose.

    Fourier samples are those of half the plane up to the resolution, without the first.
    """

    def __init__(self, truth: Truth) -> None:
        box, sampling = truth.particles.box_px, truth.particles.sampling
        self.box, self.sampling = box, sampling
        share = np.bincount(truth.state[truth.state >= 0], minlength=len(truth.phantoms))
        share = share / max(share.sum(), 1)
        centres = np.concatenate([phantom.centres for phantom in truth.phantoms])
        mass = np.concatenate([phantom.amplitudes * s for phantom, s in zip(truth.phantoms, share)])
        self.centres, owner = np.unique(centres, axis=0, return_inverse=True)
        self.mass = np.bincount(owner.ravel(), mass) / sampling**3
        limit = np.clip(RESOLUTION, 3 * sampling, box * sampling / 5)
        highest = int(box * sampling / limit)
        self.kx = np.arange(highest + 1)
        ky, kx = (
            k.ravel() for k in np.meshgrid(np.arange(-highest, highest + 1), self.kx, indexing="ij")
        )
        kept = (np.hypot(kx, ky) <= highest) & ((kx > 0) | (ky > 0))
        self.kept, self.at = np.flatnonzero(kept), (ky[kept] % box, kx[kept])
        self.spatial = np.stack([kx[kept], ky[kept]], axis=1) / (box * sampling)
        self.shell = np.round(np.hypot(kx[kept], ky[kept])).astype(int)
        width = truth.phantoms[0].width
        self.envelope = np.exp(-2 * (np.pi * width) ** 2 * (self.spatial**2).sum(axis=1))

    def ctf(self, truth: Truth, i: int) -> FloatArray:
        """CTF of a particle at the samples."""
        out: FloatArray = evaluate_ctf(truth.ctf.take(slice(i, i + 1)), self.spatial)[0]
        return out

    def transform(self, image: FloatArray) -> FloatArray:
        """Samples of an image, its origin in the box's centre."""
        out: FloatArray = fft.rfft2(fft.ifftshift(image.astype(np.float64)))[self.at]
        return out

    def noise_power(self, truth: Truth, gains: FloatArray, images: list[FloatArray]) -> FloatArray:
        """Mean power that the true poses leave unexplained, at each sample by its shell."""
        power, count = np.zeros(len(self.shell)), 0
        for i, image in enumerate(images):
            if truth.state[i] >= 0:
                value, _ = self.evaluate(truth.rotations[i], truth.shifts_px[i])
                value = value * self.ctf(truth, i) * (truth.contrast[i] * gains[i])
                power += np.abs(self.transform(image) - value) ** 2
                count += 1
        size = np.maximum(np.bincount(self.shell), 1)
        shells = np.bincount(self.shell, power) / size / max(count, 1)
        out: FloatArray = np.maximum(shells, 1e-12 * max(shells.max(), 1e-12))[self.shell]
        return out

    def evaluate(self, rotation: FloatArray, shift_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Samples (p,) and their derivatives (5, p) by the turns about x, y, z and the shift."""
        seen = self.centres @ rotation.T
        place = 2 * np.pi / (self.box * self.sampling) * (seen[:, :2] - shift_px * self.sampling)
        ex = np.exp(-1j * place[:, :1] * self.kx)
        half = np.exp(-1j * place[:, 1:] * self.kx)
        ey = np.concatenate([half[:, :0:-1].conj(), half], axis=1)
        moments = np.stack([self.mass, *(self.mass[:, None] * seen).T])
        sums = (ey.T * moments[:, None, :]) @ ex
        value, by_x, by_y, by_z = sums.reshape(4, -1)[:, self.kept] * self.envelope
        fx, fy = -2j * np.pi * self.spatial.T
        return value, np.stack(
            [
                -fy * by_z,
                fx * by_z,
                fy * by_x - fx * by_y,
                -self.sampling * fx * value,
                -self.sampling * fy * value,
            ]
        )
