"""Axes of what volumes span, exactly zero wherever all of the volumes are.

Householder's reflections leave values of the size of rounding errors there instead, which differ
from run to run: linear algebra rounds by how arrays lie in memory.  Elsewhere such errors are lost
when volumes are kept in single precision.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray


def principal_axes(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Right singular vectors and singular values.

    Parameters
    ----------
    rows : (m, v) float64
        One data point per row.

    Returns
    -------
    axes : (m, v) float64
        Orthonormal.
    singular : (m,) float64
        Decreasing.
    """
    place = _support(rows)
    axes, singular, _ = np.linalg.svd(rows[:, place].T, full_matrices=False)
    return _spread(axes.T, place, rows.shape[1]), singular


def orthonormal(rows: FloatArray) -> FloatArray:
    """Gram and Schmidt's axes of rows, both (m, v) float64."""
    place = _support(rows)
    return _spread(np.linalg.qr(rows[:, place].T)[0].T, place, rows.shape[1])


def _support(rows: FloatArray) -> IntArray:
    """Columns in which any row is not zero; all columns, if those are fewer than the axes."""
    place = np.flatnonzero(rows.any(axis=0))
    return place if len(place) >= len(rows) else np.arange(rows.shape[1])


def _spread(values: FloatArray, place: IntArray, size: int) -> FloatArray:
    out = np.zeros((len(values), size))
    out[:, place] = values
    return out
