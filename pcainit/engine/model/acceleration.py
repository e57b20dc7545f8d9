"""Leaps ahead of an iteration that converges slowly (SQUAREM: Varadhan and Roland 2008)."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray


def leap_length(step: FloatArray, bend: FloatArray, farthest: float) -> float:
    """Length of a leap ahead of three points of an iteration, 1 to `farthest` steps.

    Parameters
    ----------
    step : array
        From the first point to the second.
    bend : array
        By how much the next step differs from it.
    farthest : float
        Longest leap, in steps.

    Returns
    -------
    float
    """
    length, change = float(np.linalg.norm(step)), float(np.linalg.norm(bend))
    return min(max(length / max(change, 1e-300), 1.0), farthest)


def extrapolate(first: FloatArray, step: FloatArray, bend: FloatArray, far: float) -> FloatArray:
    """Extrapolate by `far` steps; the third point of the iteration where that is one.

    Parameters
    ----------
    first : array
        The first point; `step` and `bend` as for `leap_length`.
    step, bend : array
        From the first point to the second, and by how much the next step differs.
    far : float
        How many steps ahead.

    Returns
    -------
    array
    """
    out: FloatArray = first + 2 * far * step + far**2 * bend
    return out
