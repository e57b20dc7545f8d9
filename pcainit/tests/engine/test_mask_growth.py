"""Masks that cut off what varies: extended by where it goes on, and else left as they are."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.components.mask_growth import grow_mask
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.tests.particle_examples import ball, blobs, model_background

GRID = Grid(40, 6.0, 24.0)
SPREAD = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3)
COUNT = 1500
MASK = ball(GRID, 5)


def grown(places, noise=4.0):
    """The mask grown from what it leaves of a component, and the component."""
    change = blobs(GRID, places)
    has = np.random.default_rng(5).uniform(size=COUNT) < 0.4
    background, _ = model_background(
        COUNT, grid=GRID, differences=change[None], coordinates=(has - 0.4)[:, None], noise=noise
    )
    cut = change * MASK
    size = np.sqrt((cut.astype(float) ** 2).sum())
    model = LatentModel((cut / size)[None].astype(np.float32), np.array([0.24 * size**2]), SPREAD)
    half = background.slices.half
    halves = np.flatnonzero(half == 1), np.flatnonzero(half == 2)
    return grow_mask(background, (model, model), halves, MASK), change


@pytest.mark.parametrize("axis", [0, 2])
def test_what_is_cut_off_is_continued(axis):
    """A rod from inside the mask to beyond it."""
    places = np.zeros((3, 3))
    places[:, axis] = 4.0, 6.0, 8.0
    mask, change = grown(places)
    outside = MASK < 0.5
    assert MASK[change > 0.5 * change.max()].mean() < 0.6  # the mask cuts it off
    assert (mask >= MASK).all() and mask.max() <= 1
    assert (mask[change > 0.5 * change.max()] > 0.5).mean() > 0.95
    new = (mask > 0.5) & outside
    assert (change[new] > 0.02 * change.max()).mean() > 0.7  # nowhere else
    other = np.flip(change, 2 - axis)  # not on the other side
    assert (mask[other > 0.5 * change.max()] > 0.5).mean() < 0.7


def test_what_lies_inside_leaves_the_mask_as_it_is():
    mask, _ = grown(np.array([[2.0, -1.0, 1.0]]))
    assert mask is MASK
