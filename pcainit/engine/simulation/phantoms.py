"""A density made of Gaussian blobs, whose projections are known without interpolation."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Phantom:
    """A density made of Gaussian blobs.

    Parameters
    ----------
    centres : (j, 3) float64
        (x, y, z) from the box's origin, Angstrom.
    amplitudes : (j,) float64
        Integral of each blob.
    width : float
        Standard deviation of the blobs, Angstrom.
    """

    centres: FloatArray
    amplitudes: FloatArray
    width: float

    def volume(self, box_px: int, sampling: float) -> FloatArray:
        """The density on a grid, (box, box, box) float32."""
        x, y, z = (self._profile(self.centres[:, k], box_px, sampling) for k in range(3))
        weighted = self.amplitudes[:, None] * z
        out: FloatArray = np.einsum("jz,jy,jx->zyx", weighted, y, x, optimize=True).astype(
            np.float32
        )
        return out

    def projection(
        self, rotation: FloatArray, shift_px: FloatArray, box_px: int, sampling: float
    ) -> FloatArray:
        """Line integral along z of the rotated density, moved by minus the shift.

        Parameters
        ----------
        rotation : (3, 3)
            Specimen to image.
        shift_px : (2,)
            The shift that would centre the image.

        Returns
        -------
        (box, box) float64, in units of density x pixels
        """
        seen = self.centres @ np.asarray(rotation, np.float64).T
        x = self._profile(seen[:, 0] - shift_px[0] * sampling, box_px, sampling)
        y = self._profile(seen[:, 1] - shift_px[1] * sampling, box_px, sampling)
        return (self.amplitudes[:, None] * y).T @ x / sampling

    def _profile(self, centre: FloatArray, box_px: int, sampling: float) -> FloatArray:
        axis = (np.arange(box_px) - box_px // 2) * sampling
        profile = np.exp(-0.5 * ((axis - centre[:, None]) / self.width) ** 2) / (
            np.sqrt(2 * np.pi) * self.width
        )
        profile[profile < 1e-100] = 0  # products of less are denormal, which is slow
        out: FloatArray = profile
        return out
