"""How many threads work, and work that is spread over them."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import importlib
import os
from typing import Callable, Iterable, Iterator, TypeVar

import threadpoolctl

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_SPANS = 4  # for each thread: none waits long for the last


def processors() -> int:
    """Processors that this process may use."""
    with contextlib.suppress(AttributeError):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Threads:
    count = processors()


def thread_count() -> int:
    """How many threads work."""
    return _Threads.count


def set_threads(threads: int) -> None:
    """Use at most `threads` processors in the kernels, and one in BLAS.

    BLAS rounds differently on another number of threads: with one the result hangs on no setting
    of the environment.
    """
    _Threads.count = max(1, min(int(threads), processors()))
    importlib.import_module("scipy.linalg")  # brings a BLAS of its own: only loaded ones obey
    threadpoolctl.threadpool_limits(limits=1, user_api="blas")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenMP to one thread: scikit-learn takes all processors, and rounds as they are many.

    Only libraries that are loaded obey, so it is entered after the import.
    """
    with threadpoolctl.threadpool_limits(limits=1, user_api="openmp"):
        yield


def spread(work: Callable[[int], object], count: int) -> None:
    """Do pieces of work 0 to count - 1, which hold no interpreter, on all threads."""
    threads = min(thread_count(), count)
    if threads < 2:
        for number in range(count):
            work(number)
        return
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(count)):
            pass


def spread_spans(work: Callable[[int, int], object], count: int) -> None:
    """Do work on items 0 to count - 1, a run of neighbours at a time, on all threads."""
    spans = min(count, _SPANS * thread_count() if thread_count() > 1 else 1)
    spread(lambda k: work(k * count // spans, (k + 1) * count // spans), spans)


def parallel_map(work: Callable[[Item], Outcome], items: Iterable[Item]) -> list[Outcome]:
    """Results of independent calls, in order; as many at a time as `set_threads` allows.

    For work that numpy, scipy or BLAS do without holding the interpreter.
    """
    with concurrent.futures.ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(work, items))


def in_turn(
    work: Callable[[Item], Outcome], items: Iterable[Item], threads: int
) -> Iterator[Outcome]:
    """Results of independent calls, in order, while others are worked out.

    Unlike `parallel_map`, it takes the items one by one, few more than are needed, and no more once
    it has come to a call that failed.
    """
    waiting: collections.deque[concurrent.futures.Future[Outcome]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for call in waiting:
                call.cancel()
