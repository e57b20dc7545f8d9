"""Samples of particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcainit.engine.images.particles import Particles, fair_halves, subsample


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_sample_is_a_part_in_order(count, most):
    index = np.arange(count) * 3 + 7
    found = subsample(index, most)
    assert len(found) == min(count, most)
    assert np.isin(found, index).all() and (np.diff(found) > 0).all()


@pytest.mark.parametrize("period", [2, 3, 4, 5, 8])
@pytest.mark.parametrize(
    "count,most", [(10000, 5000), (20000, 5000), (100000, 20000), (12345, 8000)]
)
def test_a_sample_holds_as_much_of_each_where_states_take_turns(count, most, period):
    found = subsample(np.arange(count), most)
    sizes = np.bincount(found % period, minlength=period)
    assert sizes == pytest.approx(most / period, rel=0.05)
    thirds = np.histogram(found, bins=3, range=(0, count))[0]
    assert thirds == pytest.approx(most / 3, rel=0.01)


@pytest.mark.parametrize("left", [0, 5, 60, 70])
def test_half_sets_are_shared_out_anew_where_one_is_lost(left):
    """Copies of an image stay together, and half-sets that are good stay as they are."""
    row = np.repeat(np.arange(200), 2)
    half = (row % 2 + 1).astype(np.int8)
    none = np.zeros(0)
    particles = Particles((), np.zeros(400, np.int32), row, none, none, None, half, 24, 6.0)
    assert np.array_equal(fair_halves(particles, np.ones(400, bool)), half)
    usable = (half == 1) | (row < 2 * left)
    found = fair_halves(particles, usable)
    assert np.array_equal(found, half) == (left == 70)
    if left == 70:  # of 170: not much less than the others
        return
    assert (found[usable] == 2).mean() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(found[::2], found[1::2])
    assert np.array_equal(half, row % 2 + 1)  # not changed in place
