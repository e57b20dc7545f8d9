"""Work that is spread over threads."""

# SPDX-License-Identifier: GPL-3.0-or-later
import threading
import time

import numpy as np
import pytest
import threadpoolctl

from pcainit.buffers import ReusedByThread
from pcainit.engine.compiled.threads import in_turn
from pcainit.engine.volume_sets.batches import cluster_batches
from pcainit.engine.volume_sets.clusters import cluster_mixture


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_whoever_is_first(threads):
    def work(k):
        time.sleep(0.002 * (k % 3 == 0))
        return k * k

    assert list(in_turn(work, iter(range(40)), threads)) == [k * k for k in range(40)]


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for k in range(100):
            taken.append(k)
            yield k

    results = in_turn(lambda k: k, items(), 2)
    assert next(results) == 0 and len(taken) <= 6
    results.close()
    assert len(taken) <= 6


def test_little_more_is_begun_after_a_failure():
    begun = []

    def work(k):
        begun.append(k)
        if k == 3:
            raise ValueError("three")
        return k

    got = []
    with pytest.raises(ValueError, match="three"):
        for k in in_turn(work, range(1000), 2):
            got.append(k)
    assert got == [0, 1, 2] and len(begun) <= 9


@pytest.mark.parametrize(
    "cluster",
    [lambda points: cluster_batches(points, 2, 0), lambda points: cluster_mixture(points, 2, 0)],
    ids=["batches", "mixture"],
)
def test_mixtures_are_fitted_by_one_thread(monkeypatch, cluster):
    from sklearn.mixture import GaussianMixture

    seen, real = [], GaussianMixture.fit

    def openmp():
        return [
            pool["num_threads"]
            for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "openmp"
        ]

    def fit(self, points):
        seen.extend(openmp())
        return real(self, points)

    monkeypatch.setattr(GaussianMixture, "fit", fit)
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        cluster(np.random.default_rng(0).normal(size=(60, 2)))
        assert set(seen) == {1} and set(openmp()) == {3}


def test_each_thread_has_memory_of_its_own():
    room, held, both = ReusedByThread(), {}, threading.Barrier(2)

    def use(name):
        array = room.array((2, 3))
        array[:] = name
        both.wait()
        held[name] = array

    others = [threading.Thread(target=use, args=(k,)) for k in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert all((held[k] == k).all() for k in range(2))
    assert room.array((2, 3)).base is room.array((6,)).base
