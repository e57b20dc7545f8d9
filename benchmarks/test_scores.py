"""The figures of merit on cases whose answer is known."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
import scores
import truth_sets
from scipy.spatial.transform import Rotation


@pytest.fixture(scope="module")
def maps():
    return scores.low_pass(np.random.default_rng(0).normal(size=(3, 16, 16, 16)), 5.5)


def test_volumes_in_another_order_and_scale_match_perfectly(maps):
    weights = np.array([0.5, 0.3, 0.2])
    order = [2, 0, 1]
    found = scores.differences(7 + 3 * maps[order], weights[order])
    table = scores.correlations(found, scores.differences(maps, weights))
    assert scores.best_match(table) == {2: 0, 0: 1, 1: 2}
    assert scores.mean_of_matches(table, 3) == pytest.approx(1)
    assert scores.diversity(found) == pytest.approx(3 * scores.diversity(maps))


def test_a_state_that_was_not_found_counts_zero(maps):
    table = scores.correlations(maps[:2], maps)
    assert scores.mean_of_matches(table, 3) == pytest.approx(2 / 3, abs=0.05)
    assert not scores.correlations(np.zeros_like(maps), maps).any()


def test_fsc_crossing(maps):
    spoiled = maps[0] + scores.low_pass(maps[1:2], 99)[0] - scores.low_pass(maps[1:2], 3.5)[0]
    assert scores.fsc_crossing(maps[0], maps[0], 2.0, 5.5) == pytest.approx(32 / 5)
    assert scores.fsc_crossing(maps[0], spoiled, 2.0, 5.5, 0.9) == pytest.approx(32 / 3)
    assert scores.fsc_crossing(maps[0], -maps[0], 2.0, 5.5) is None


def test_captured_share(maps):
    flat = maps.reshape(3, -1)
    basis = np.linalg.svd(flat, full_matrices=False)[2].reshape(maps.shape)
    even = np.full(3, 1 / 3)
    assert scores.captured_share(basis, maps, even) == pytest.approx(1)
    assert scores.captured_share(basis[:0], maps, even) == 0
    part = scores.captured_share(basis[:1], maps, even)
    assert part == pytest.approx(np.linalg.svd(flat)[1][0] ** 2 / np.sum(flat**2))


def test_recall_and_precision_leave_junk_out():
    states = np.array([0, 0, 0, 0, 1, 1, -1, -1, 2])
    labels = np.array([5, 5, 5, 7, 7, 7, 7, 5, 5])
    recall, precision = scores.recall_and_precision(states, labels)
    assert recall == {0: 0.75, 1: 1.0, 2: 0.0}
    assert precision == {0: 0.75, 1: pytest.approx(2 / 3), 2: 0.0}
    assert scores.agreement(states, states) == 1


def test_rotation_error_is_per_axis():
    rng = np.random.default_rng(1)
    error = Rotation.from_rotvec(np.radians(rng.normal(0, 2, (4000, 3))))
    one = Rotation.random(4000, random_state=1)
    measured = truth_sets.rotation_error(one.as_matrix(), (error * one).as_matrix())
    assert measured == pytest.approx(2, rel=0.03)
