"""Compiled functions: kernels, which Python calls, and the parts that they are made of.

A kernel is compiled for the kinds of arguments that it declares, by a process of its own, and only
ever run as it was kept (see `kept`): the process that compiles runs other machine code than those
that find it compiled, and the first run would be rounded otherwise than all later ones.

Kernels do a piece of the work, and `threads` spreads the pieces.  Loops that numba spreads itself
(``parallel=True``) take three to five times as long to compile, and bring a pool of threads that
gets in the way of others.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any, Callable

import numba

from pcainit.engine.compiled import kept
from pcainit.engine.compiled.kinds import fitting
from pcainit.engine.compiled.threads import spread, spread_spans

OPTIONS = dict(fastmath=True, nogil=True, error_model="numpy")
_PART_OPTIONS = dict(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)
_kernels: dict[str, Kernel] = {}


class Kernel:
    """A function that is compiled before it is first called.

    Parameters
    ----------
    function : callable
    kinds : tuple
        Of its arguments, see `kinds`.
    """

    def __init__(self, function: Callable[..., Any], kinds: tuple[Any, ...]) -> None:
        self.py_func, self.kinds, self.__doc__ = function, kinds, function.__doc__
        self.name = "%s.%s" % (function.__module__, function.__qualname__)
        self._compiled: Any = None
        self._lock = threading.Lock()
        _kernels[self.name] = self

    def __call__(self, *args: Any) -> Any:
        """Run it once."""
        return self.compiled(*map(fitting, self.kinds, args))

    def over_blocks(self, count: int, *args: Any) -> None:
        """Run it for each block; the number of the block is its first argument."""
        run, args = self.compiled, tuple(map(fitting, self.kinds[1:], args))
        spread(lambda block: run(block, *args), count)

    def over_spans(self, count: int, *args: Any) -> None:
        """Run it over so many items; the bounds of a run of them are its first two arguments.

        What is done with an item must not hang on the others.
        """
        run, args = self.compiled, tuple(map(fitting, self.kinds[2:], args))
        spread_spans(lambda first, last: run(first, last, *args), count)

    @property
    def compiled(self) -> Any:
        """The machine code, as numba wraps it."""
        with self._lock:
            if self._compiled is None:
                with kept.code_of(self.name) as folder:
                    self._compiled = self.compile(folder)
        return self._compiled

    def compile(self, folder: Path | None) -> Any:
        """Machine code that is kept in a folder, or will be; None keeps nothing."""
        with kept.numba_folder(folder):
            made = numba.njit(cache=folder is not None, **OPTIONS)(self.py_func)
            made.compile(self.kinds)
        made.disable_compile()
        return made


def kernel(*kinds: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator of a function that Python calls, with the kinds of its arguments."""
    return lambda function: Kernel(function, kinds)


def part(function: Callable[..., Any]) -> Any:
    """Decorator of a function that only kernels call: compiled with each of them."""
    return numba.njit(**_PART_OPTIONS)(function)


def all_kernels() -> dict[str, Kernel]:
    """All kernels by name."""
    for module in kept.modules():
        importlib.import_module(module)
    return dict(_kernels)
