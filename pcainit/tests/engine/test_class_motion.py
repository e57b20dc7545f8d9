"""Shifts and turns of whole classes, against points moved by hand."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.engine.classes.class_motion import apply_class_motion, estimate_class_motion
from pcainit.engine.model.class_model import ClassModel
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.tests.particle_examples import GRID, PLACES, ball, blobs, model_background

VOXELS = GRID.box / GRID.box_px  # of the working box in a pixel of the particles' box
POSE_ERROR = 0.02


def placed(offset):
    """Where points go, voxels."""
    return Rotation.from_rotvec(offset[3:]).apply(PLACES) + np.asarray(offset[:3]) * VOXELS


def two_classes(offset, n=3000, noise=0.3):
    """Particles of which 40 % are moved as a whole and carry a point more; poses a little off.

    Returns the background about their mean volume, the point, and labels.
    """
    point = 0.3 * blobs(GRID, [[0, 0, 0]])
    label = (np.random.default_rng(3).uniform(size=n) < 0.4).astype(int)
    base = blobs(GRID, PLACES)
    second = blobs(GRID, placed(offset)) - base + point
    share = label.mean()
    background, _ = model_background(
        n, differences=second[None], noise=noise, coordinates=label[:, None].astype(float)
    )
    mean = base + share * second
    axis = np.arange(GRID.box) - GRID.box // 2
    moments = np.stack([mean * axis, mean * axis[:, None], mean * axis[:, None, None]]) / VOXELS
    error = Rotation.from_rotvec(np.random.default_rng(4).normal(0, POSE_ERROR, (n, 3))).as_matrix()
    slices = background.slices
    slices = dataclasses.replace(slices, rotations=(error @ slices.rotations).astype(np.float32))
    background = dataclasses.replace(
        background, slices=slices, mean=mean.astype(np.float32), moments=moments.astype(np.float32)
    )
    return background, point, label


SPREAD = NuisanceSpread(1e-3, 1e-3, POSE_ERROR, 1e-3)
MOVES = [
    (0, 0, 0, 0.04, 0, 0),
    (0, 0, 0, 0.02, -0.03, 0.02),
    (0.2, 0, 0, 0, 0, 0),
    (0.1, -0.2, 0.15, 0, 0.03, 0),
]


@pytest.mark.parametrize("offset", MOVES)
def test_what_a_class_lacks_is_found_and_given_back(offset):
    offset = np.array(offset)
    background, point, label = two_classes(offset)
    share, mask = label.mean(), ball(GRID, 8)
    posterior = np.eye(2, dtype=np.float32)[label]
    lacking = ClassModel(
        np.stack([-share * point, (1 - share) * point]), np.array([1 - share, share])
    )
    spread = dataclasses.replace(SPREAD, shift_px=0.3)
    found = estimate_class_motion(background, lacking, posterior, np.arange(len(label)), spread)
    # Offsets are from the mean of all.
    assert found[1] == pytest.approx((1 - share) * offset, abs=0.15 * np.abs(offset).max())
    assert found[0] == pytest.approx(-share * offset, abs=0.15 * np.abs(offset).max())
    truth = blobs(GRID, placed(offset)) - blobs(GRID, PLACES) + point
    differences = apply_class_motion(background, mask, lacking, found).differences
    left = differences[1] - differences[0] - truth
    before = lacking.differences[1] - lacking.differences[0] - truth
    assert (left**2).sum() < 0.1 * (before**2).sum()


def test_a_class_that_lacks_nothing_stays():
    offset = np.array(MOVES[1])
    background, point, label = two_classes(offset)
    second = blobs(GRID, placed(offset)) - blobs(GRID, PLACES) + point
    share = label.mean()
    model = ClassModel(
        np.stack([-share * second, (1 - share) * second]), np.array([1 - share, share])
    )
    found = estimate_class_motion(
        background, model, np.eye(2, dtype=np.float32)[label], np.arange(len(label)), SPREAD
    )
    assert np.abs(found[:, 3:]).max() < 0.1 * np.abs(offset).max()


def test_classes_of_few_particles_stay():
    background, point, label = two_classes(np.array(MOVES[0]), n=120)
    model = ClassModel(np.stack([0 * point, point]), np.array([0.6, 0.4]))
    found = estimate_class_motion(
        background, model, np.eye(2, dtype=np.float32)[label], np.arange(len(label)), SPREAD
    )
    assert not found.any()
