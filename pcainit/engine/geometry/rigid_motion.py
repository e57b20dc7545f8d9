"""Volumes shifted, turned, and averaged over a point group."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import FloatArray

FINER = 2  # grid that splines interpolate on: a volume may hold Nyquist


def move_volume(volume: FloatArray, shift: FloatArray, rotation: FloatArray) -> FloatArray:
    """A volume turned about the box's centre and shifted.

    Parameters
    ----------
    volume : (box, box, box) float32
        Density to work on.
    shift : (3,) float64
        Voxels along x, y, z.
    rotation : (3,) float64
        Rotation vector, radians.

    Returns
    -------
    (box, box, box) float32

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.geometry.rigid_motion import move_volume
    >>> volume = np.zeros((16, 16, 16), np.float32)
    >>> volume[8, 8, 6:9] = 1, 2, 1  # z, y, x
    >>> moved = move_volume(volume, np.array([3.0, 0.0, 0.0]), np.zeros(3))
    >>> int(moved[8, 8].argmax())
    10
    """
    if not shift.any() and not rotation.any():
        return volume
    return _moved(_finer(volume), shift, Rotation.from_rotvec(rotation).as_matrix())


def symmetrise(volume: FloatArray, group: FloatArray) -> FloatArray:
    """The average of a volume over a point group.

    Parameters
    ----------
    volume : (box, box, box) float32
        Density to work on.
    group : (s, 3, 3) float64
        Rotations, the identity first; see `poses.symmetry_matrices`.

    Returns
    -------
    (box, box, box) float32
    """
    if len(group) == 1:
        return volume
    smooth, total = _finer(volume), volume.astype(np.float64)
    for matrix in group[1:]:
        total += _moved(smooth, np.zeros(3), matrix)
    return (total / len(group)).astype(np.float32)


def _finer(volume: FloatArray) -> FloatArray:
    """The same volume on a finer grid, by its Fourier transform, as spline coefficients."""
    n, fine = len(volume), FINER * len(volume)
    inner = slice(fine // 2 - n // 2, fine // 2 - n // 2 + n)
    room = np.zeros((fine,) * 3, np.complex128)
    room[inner, inner, inner] = np.fft.fftshift(np.fft.fftn(volume))
    out: FloatArray = ndimage.spline_filter(np.fft.ifftn(np.fft.ifftshift(room)).real * FINER**3)
    return out


def _moved(smooth: FloatArray, shift: FloatArray, matrix: FloatArray) -> FloatArray:
    """A volume, as `_finer` gives it, on its own grid after a motion."""
    n = len(smooth) // FINER
    # Arrays are (z, y, x); what comes to a place was where the inverse motion leads.
    back = matrix[::-1, ::-1].T
    centre = n // 2
    offset = FINER * (centre - back @ (np.full(3, centre) + shift[::-1]))
    out: FloatArray = ndimage.affine_transform(
        smooth, FINER * back, offset, output_shape=(n,) * 3, prefilter=False
    ).astype(np.float32)
    return out
