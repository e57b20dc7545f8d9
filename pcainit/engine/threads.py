"""How many threads work, and work that is spread over them."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import collections
import concurrent.futures
import importlib
import threading
from typing import Callable, Deque, Iterable, Iterator, List, Tuple, TypeVar

import numba
import threadpoolctl

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Progress = Callable[[float], None]

_SHARED = ("omp", "tbb")        # numba's threading layers that several callers may use at a time
_this = threading.local()       # what a thread works for


def set_threads(threads: int) -> None:
    """Use at most `threads` processors in the kernels, and one in BLAS.

    BLAS rounds differently on another number of threads: with one the result hangs on no setting
    of the environment.
    """
    numba.set_num_threads(max(1, min(int(threads), numba.config.NUMBA_NUM_THREADS)))
    importlib.import_module("scipy.linalg")     # brings a BLAS of its own: only loaded ones obey
    threadpoolctl.threadpool_limits(limits=1, user_api="blas")


def side_by_side(work: Callable[[Item], Outcome], items: Iterable[Item]) -> List[Outcome]:
    """Results of independent calls, in order; as many at a time as `set_threads` allows.

    For work that numpy, scipy or BLAS do without holding the interpreter.
    """
    with concurrent.futures.ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(work, items))


def in_turn(work: Callable[[Item], Outcome], items: Iterable[Item], threads: int
            ) -> Iterator[Outcome]:
    """Results of independent calls, in order, while others are worked out.

    Unlike `side_by_side`, it takes the items one by one, few more than are needed, and no more once
    it has come to a call that failed.
    """
    waiting: Deque[concurrent.futures.Future[Outcome]] = collections.deque()
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


class Halted(Exception):
    """Nobody waits any more for what a thread is doing."""


def both(work: Callable[[int, Progress], Outcome], progress: Progress = lambda share: None
         ) -> Tuple[Outcome, Outcome]:
    """``work(0, ...)`` and ``work(1, ...)``, side by side on half of the threads each.

    For the two half-sets: what each does on one thread, the other need not wait for.  Where there
    are no two threads, or numba's serve one caller at a time, they come one after the other.

    Parameters
    ----------
    work : callable(half, progress)
        What it does between two calls of `go_on` is done to its end, whatever happens to the other
        half.
    progress : callable
        Told the share that is done.

    Returns
    -------
    Both results.
    """
    threads = numba.get_num_threads()
    if threads < 2 or not _several_callers():
        return (work(0, lambda share: progress(share / 2)),
                work(1, lambda share: progress(0.5 + share / 2)))
    failed = threading.Event()

    def second() -> Outcome:
        _this.halted = failed
        numba.set_num_threads(threads // 2)         # each thread has a number of its own
        return work(1, lambda share: go_on())

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            other = pool.submit(second)

            def report(share: float) -> None:
                if other.done():
                    other.result()
                progress(share)

            numba.set_num_threads(threads - threads // 2)
            return work(0, report), other.result()
        except BaseException:
            failed.set()
            raise
        finally:
            numba.set_num_threads(threads)


def go_on() -> None:
    """Called now and then by long work.

    Raises
    ------
    Halted
        This thread works for a call of `both` whose other half has failed.
    """
    halted = getattr(_this, "halted", None)
    if halted is not None and halted.is_set():
        raise Halted


def _several_callers() -> bool:
    try:
        return numba.threading_layer() in _SHARED
    except ValueError:              # no parallel kernel has run yet
        return False
