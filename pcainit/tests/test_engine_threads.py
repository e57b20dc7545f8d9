"""Work that is spread over threads."""
# SPDX-License-Identifier: GPL-3.0-or-later
import threading
import time

import numba
import pytest

from pcainit.engine.scratch import ReusedByThread
from pcainit.engine.threads import Halted, both, go_on, in_turn, set_threads


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


two_threads = pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has one thread")


@pytest.fixture(params=[pytest.param("side by side", marks=two_threads), "in turn"])
def manner(request, monkeypatch):
    """Both ways to do two things."""
    set_threads(2)
    monkeypatch.setattr("pcainit.engine.threads._several_callers",
                        lambda: request.param == "side by side")
    return request.param


def test_both_halves_are_done(manner):
    shown, who = [], []

    def work(h, progress):
        who.append((h, threading.current_thread() is threading.main_thread(),
                    numba.get_num_threads()))
        for k in range(4):
            progress((k + 1) / 4)
        return "ab"[h]
    assert both(work, shown.append) == ("a", "b")
    assert shown == sorted(shown) and shown[-1] == 1
    assert sorted(who) == ([(0, True, 1), (1, False, 1)] if manner == "side by side"
                           else [(0, True, 2), (1, True, 2)])
    assert numba.get_num_threads() == 2


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_failure_of_one_half_ends_the_other(manner, culprit):
    rounds, begun = [], threading.Event()

    def work(h, progress):
        if h == culprit:
            if manner == "side by side":
                begun.wait(10)
            raise ValueError("half %d" % h)
        begun.set()
        for k in range(100000):
            rounds.append(k)
            progress(k / 100000)
            time.sleep(0.001 * (manner == "side by side"))
    with pytest.raises(ValueError, match="half %d" % culprit):
        both(work)
    if manner == "side by side":
        assert len(rounds) < 100000
    assert numba.get_num_threads() == 2


@two_threads
@pytest.mark.parametrize("silent", [False, True])
def test_who_is_interrupted_does_not_wait_for_the_other_half(monkeypatch, silent):
    """Whether the other half reports its progress, or comes by `go_on` alone."""
    set_threads(2)
    monkeypatch.setattr("pcainit.engine.threads._several_callers", lambda: True)
    begun, ended = threading.Event(), []

    def work(h, progress):
        go_on()
        if h == 0:
            begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        try:
            for _ in range(10000):
                if silent:
                    go_on()
                else:
                    progress(0)
                time.sleep(0.001)
        except Halted:
            ended.append(True)
            raise
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        both(work)
    assert ended and time.perf_counter() - start < 8
    go_on()
