"""Samples of particles."""
# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcainit.engine.particles import thin


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_sample_is_a_part_in_order(count, most):
    index = np.arange(count) * 3 + 7
    found = thin(index, most)
    assert len(found) == min(count, most)
    assert np.isin(found, index).all() and (np.diff(found) > 0).all()


@pytest.mark.parametrize("period", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("count,most", [(10000, 5000), (20000, 5000), (100000, 20000),
                                        (12345, 8000)])
def test_a_sample_holds_as_much_of_each_where_states_take_turns(count, most, period):
    found = thin(np.arange(count), most)
    sizes = np.bincount(found % period, minlength=period)
    assert sizes == pytest.approx(most / period, rel=0.05)
    thirds = np.histogram(found, bins=3, range=(0, count))[0]
    assert thirds == pytest.approx(most / 3, rel=0.01)
