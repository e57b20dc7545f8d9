"""Poses kept to one asymmetric unit: noticed, and what varies must vary at equivalent poses too."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.engine.components.scrambling import turn_to_mates
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import keep_to_one_unit, symmetry_matrices
from pcainit.engine.projection.slices import extract_slices
from pcainit.tests.particle_examples import blobs, model_background

GROUPS = ("c2", "c7", "d2", "d4", "t", "o", "i1")


def anywhere(count, seed=0):
    return Rotation.random(count, random_state=seed).as_matrix().astype(np.float32)


def in_one_unit(rotations, symmetry, axis):
    """The equivalent pose whose view is closest to an axis: its Voronoi cell is one unit."""
    mates = np.einsum("nij,gjk->ngik", rotations, symmetry)
    best = (mates[:, :, 2] @ axis).argmax(axis=1)
    return mates[np.arange(len(rotations)), best].astype(np.float32)


@pytest.mark.parametrize("group", GROUPS)
def test_poses_of_one_unit_are_noticed(group):
    symmetry = symmetry_matrices(group)
    poses, axis = anywhere(3000), np.array([0.31, 0.17, 0.93])
    assert not keep_to_one_unit(poses, symmetry, 0)
    assert keep_to_one_unit(in_one_unit(poses, symmetry, axis), symmetry, 0)


def test_preferred_views_at_all_equivalents_are_no_unit():
    symmetry = symmetry_matrices("c4")
    near = Rotation.from_rotvec(np.random.default_rng(1).normal(0, 0.2, (2000, 3)))
    side = near * Rotation.from_euler("y", 90, degrees=True)
    chosen = symmetry[np.random.default_rng(2).integers(0, 4, 2000)]
    poses = np.matmul(side.as_matrix(), chosen).astype(np.float32)
    assert not keep_to_one_unit(poses, symmetry, 0)


def test_equivalent_poses_see_a_symmetric_volume_alike():
    grid, symmetry = Grid(32, 6.0, 24.0), symmetry_matrices("d2")
    background, _ = model_background(600, grid=grid)
    poses = in_one_unit(background.slices.rotations, symmetry, np.array([0.3, 0.2, 0.9]))
    slices = dataclasses.replace(background.slices, rotations=poses)
    background = dataclasses.replace(background, slices=slices)
    mates = turn_to_mates(background, symmetry, 0).slices
    assert mates.values is slices.values  # nothing is copied
    centres = np.array([[5.0, 2.0, 3.0]]) @ symmetry.transpose(0, 2, 1)
    whole = grid.to_fourier(blobs(grid, centres.reshape(-1, 3))[None])
    one, two = (extract_slices(whole, poses, grid)[..., 0] for poses in (poses, mates.rotations))
    assert np.abs(one - two).max() < 0.02 * np.abs(one).max()
    part = grid.to_fourier(blobs(grid, centres[0])[None])
    one, two = (extract_slices(part, poses, grid)[..., 0] for poses in (poses, mates.rotations))
    assert np.abs(one - two).max() > 0.5 * np.abs(one).max()


def test_without_symmetry_there_are_no_mates():
    background, _ = model_background(100, grid=Grid(32, 6.0, 24.0))
    assert turn_to_mates(background, symmetry_matrices("c1"), 0) is None
