"""Volumes that move, against points moved by hand."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.engine.consensus.refine import polish_consensus
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.geometry.rigid_motion import move_volume, symmetrise
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.tests.particle_examples import GRID, PLACES, blobs, model_background

WIDTH = 1.5


@pytest.mark.parametrize(
    "shift, rotation",
    [
        ((0, 0, 0), (0.2, 0, 0)),
        ((0, 0, 0), (0.1, -0.3, 0.2)),
        ((0.8, 0, 0), (0, 0, 0)),
        ((0.1, -0.7, 0.4), (0, 0.5, 0)),
    ],
)
def test_a_moved_volume_is_that_of_moved_points(shift, rotation):
    places = Rotation.from_rotvec(rotation).apply(PLACES) + shift
    found = move_volume(
        blobs(GRID, PLACES, width=WIDTH), np.array(shift, float), np.array(rotation, float)
    )
    wanted = blobs(GRID, places, width=WIDTH)
    assert found.dtype == np.float32 and np.abs(found - wanted).max() < 0.01 * wanted.max()


def test_a_volume_that_is_not_moved_stays():
    volume = np.random.default_rng(0).normal(size=(GRID.box,) * 3).astype(np.float32)
    assert np.array_equal(move_volume(volume, np.zeros(3), np.zeros(3)), volume)
    assert np.array_equal(symmetrise(volume, symmetry_matrices("c1")), volume)


@pytest.mark.parametrize("group", ["c2", "c3", "d2", "t"])
def test_the_average_over_a_group_by_points(group):
    matrices = symmetry_matrices(group)
    found = symmetrise(blobs(GRID, PLACES[:3], width=WIDTH), matrices)
    wanted = np.mean([blobs(GRID, PLACES[:3] @ m.T, width=WIDTH) for m in matrices], axis=0)
    assert np.abs(found - wanted).max() < 0.01 * wanted.max()


@pytest.mark.parametrize("group", ["c1", "c2"])
def test_a_polished_consensus_has_the_symmetry(group):
    """Of particles that have it, with noise that has none."""
    matrices, n = symmetry_matrices(group), 400
    places = (PLACES[:3] @ np.transpose(matrices, (0, 2, 1))).reshape(-1, 3)
    extra = blobs(GRID, places) - blobs(GRID, PLACES)
    background, _ = model_background(
        n, differences=extra[None], noise=2.0, coordinates=np.ones((n, 1))
    )
    slices = background.slices
    found = polish_consensus(
        slices,
        reconstruct_consensus(slices, matrices),
        np.arange(n),
        NuisanceSpread(),
        symmetry=matrices,
    ).mean
    other = symmetrise(found, symmetry_matrices("c2"))
    off = ((other - found) ** 2).sum() / (found**2).sum()
    assert (off < 1e-4) == (group == "c2")
