"""Which particles lie in a region of the latent space."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
from typing import Sequence

import numpy as np
from matplotlib.path import Path

from pcainit.output.plots import Result


def inside(
    result: Result, first: int, second: int, outline: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Rows of the particles inside a closed outline in the plane of two components.

    Parameters
    ----------
    result : Result
        With `coordinates`; particles that were set aside are never chosen.
    first, second : int
        Components, from 1.
    outline : (v, 2) sequence of float
        Corners, at least three.

    Returns
    -------
    (m,) int64
        Ascending.
    """
    if len(outline) < 3:
        return np.zeros(0, np.int64)
    points = result.coordinates[:, [first - 1, second - 1]]
    return np.flatnonzero(Path(outline).contains_points(points) & result.kept)


def between(result: Result, component: int, low: float | None, high: float | None) -> np.ndarray:
    """Rows of the particles whose coordinate lies between two limits, both included.

    Parameters
    ----------
    result : Result
        With `coordinates`; particles that were set aside are never chosen.
    component : int
        From 1.
    low, high : float, optional
        None for no limit.

    Returns
    -------
    (m,) int64
        Ascending.
    """
    values = result.coordinates[:, component - 1]
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    return np.flatnonzero((values >= low) & (values <= high) & result.kept)
