"""Axes of volumes, against numpy's."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.geometry.linear_algebra import orthonormal, principal_axes


@pytest.fixture
def rows():
    """Rows that are zero in most places."""
    found = np.random.default_rng(0).normal(size=(4, 300)) * [[5], [3], [2], [1]]
    found[:, 7:] *= np.arange(293) % 3 == 0
    return found


def test_principal_axes(rows):
    axes, singular = principal_axes(rows)
    _, wanted, right = np.linalg.svd(rows, full_matrices=False)
    assert singular == pytest.approx(wanted)
    assert np.abs((axes * right).sum(axis=1)) == pytest.approx(np.ones(4))
    assert not axes[:, ~rows.any(axis=0)].any()


def test_orthonormal(rows):
    frame = orthonormal(rows)
    assert frame @ frame.T == pytest.approx(np.eye(4), abs=1e-12)
    assert np.tril(rows @ frame.T) @ frame == pytest.approx(rows, abs=1e-12)
    assert not frame[:, ~rows.any(axis=0)].any()


def test_more_rows_than_places():
    rows = np.zeros((3, 10))
    rows[:, 4] = 1, 2, 3
    axes, singular = principal_axes(rows)
    assert axes.shape == (3, 10) and axes @ axes.T == pytest.approx(np.eye(3))
    assert singular == pytest.approx([np.sqrt(14), 0, 0])
    assert orthonormal(np.zeros((0, 10))).shape == (0, 10)
