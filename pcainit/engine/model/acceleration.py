"""Leaps ahead of an iteration that converges slowly (SQUAREM: Varadhan and Roland 2008)."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np


def leap_length(step: np.ndarray, bend: np.ndarray, farthest: float) -> float:
    """How far three points of an iteration lead on, in steps, from 1 to `farthest`.

    Parameters
    ----------
    step : array
        From the first point to the second.
    bend : array
        By how much the next step differs from it.
    farthest : float

    Returns
    -------
    float
    """
    length, change = float(np.linalg.norm(step)), float(np.linalg.norm(bend))
    return min(max(length / max(change, 1e-300), 1.0), farthest)


def extrapolate(first: np.ndarray, step: np.ndarray, bend: np.ndarray, far: float) -> np.ndarray:
    """The point so many steps ahead; the third point of the iteration where that is one.

    Parameters
    ----------
    first : array
        The first point; `step` and `bend` as for `leap_length`.
    step, bend : array
    far : float

    Returns
    -------
    array
    """
    return first + 2 * far * step + far**2 * bend
