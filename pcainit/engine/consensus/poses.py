"""Large pose errors made small: each particle's pose moves to where its posterior is highest.

The nuisance columns describe pose errors to first order.  Where the errors turn phases by a good
part of a radian that is not enough, and what is left looks like components.  Gauss-Newton steps
under the prior of the recorded poses bring each particle near its own optimum; the prior stays
about the recorded pose (`Background.offsets`).
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from pcainit.buffers import buffer_like
from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.products import multiply
from pcainit.engine.images.crop import shift_phases
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.e_step import posterior_statistics
from pcainit.engine.model.image_model import Background, NuisanceSpread, in_parts

# Phase (radians, standard deviation at the resolution limit) from which poses are moved.
LARGE_PHASE = 0.5
_SHIFT, _TURN, _POSE = slice(1, 3), slice(3, 6), slice(1, 6)


def phase_error(spread: NuisanceSpread, background: Background, mask: FloatArray) -> float:
    """Phase error at the resolution limit that pose errors make, radians (1 sd)."""
    grid = background.grid
    axis = (np.arange(grid.box) - grid.box // 2) * grid.box_px / grid.box
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    radius = np.sqrt(float((mask * square).sum() / mask.sum()))
    frequency = 2 * np.pi * grid.cutoff / grid.box_px
    return frequency * float(np.hypot(spread.shift_px, spread.rotation * radius))


def correct_slices(slices: Slices, offsets: FloatArray) -> Slices:
    """Slices with their poses moved.

    Parameters
    ----------
    slices : Slices
        With the recorded poses.
    offsets : (n, 7) float32
        Nuisance coefficients; those of shift (pixels) and rotation (radians) count.

    Returns
    -------
    Slices
    """
    if not offsets.any():
        return slices
    turn = Rotation.from_rotvec(offsets[:, _TURN].astype(np.float64)).as_matrix()
    rotations = (turn @ slices.rotations).astype(np.float32)
    values = slices.values
    if offsets[:, _SHIFT].any():
        values = buffer_like(slices.values)
        for first in range(0, len(slices), 4096):
            part = slice(first, first + 4096)
            values[part] = multiply(
                slices.values[part], shift_phases(-offsets[part, _SHIFT], slices.grid)
            )
    return dataclasses.replace(slices, values=values, rotations=rotations)


def improve_offsets(background: Background, index: IntArray, spread: NuisanceSpread) -> FloatArray:
    """One Gauss-Newton step of every particle's pose.

    Parameters
    ----------
    background : Background
        Made of corrected slices, with the offsets they were corrected by.
    index : (m,) int
        Particles to move.
    spread : NuisanceSpread
        Prior of the nuisances, about the recorded poses.

    Returns
    -------
    (n, 7) float32
        New offsets.
    """
    box = background.grid.box
    none = np.zeros((0, box, box, box), np.float32)
    offsets = background.offsets.copy()
    for part in in_parts(len(index)):
        result = posterior_statistics(background, none, spread.precision, index[part])
        inverse = np.linalg.inv(result.grams.astype(np.float64) + np.diag(spread.precision))
        step = np.einsum("nab,nb->na", inverse, result.scores)
        # Rotation vectors are added: exact enough for errors of some degrees.
        offsets[index[part], _POSE] += step[:, _POSE]
    return offsets
