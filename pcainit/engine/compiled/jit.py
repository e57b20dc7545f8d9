"""Compiled functions, and where they are kept between runs.

Numba's own cache is not used as it is, for three reasons.  The process that compiles a kernel runs
other machine code than those that find it compiled, so that the first run would be rounded
otherwise than all later ones: here kernels are compiled by a process of their own, and only ever
run as they were kept.  It knows of changes in a kernel's own file only: here all files with kernels
count.  And it runs what it finds, damaged or not: here each file has a checksum.

This rests on parts of numba that are private (``FunctionCache``, ``IndexDataCacheFile`` and some of
their methods and attributes, and the dispatcher's ``_cache``).  Public ones alone give none of the
three: where a kernel is compiled, what a change makes out of date and what is read are decided
inside these classes.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

OPTIONS = dict(fastmath=True, nogil=True, error_model="numpy")
_CHECKSUM = 32  # bytes of SHA-256
_compiling = False  # whether this is the process that compiles
# Threads that wait for the next kernel sleep: spinning takes processors from whoever shares them.
# OpenMP reads this when it is loaded, with the first parallel kernel.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator of a function that is compiled when it is first called; options are numba's."""

    def decorate(function: Callable[..., Any]) -> Any:
        made = numba.njit(**options, **OPTIONS)(function)
        with contextlib.suppress(RuntimeError):  # a cluster's nodes may have no folder for it
            made._cache = _Cache(function)
        return made

    return decorate


class _Cache(FunctionCache):
    """One function's kept machine code."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, _sources())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code for these types; made by another process if there is none."""
        found = super().load_overload(sig, target_context)
        if found is None and not _compiling:
            _compile_elsewhere(self._py_func, sig)
            found = super().load_overload(sig, target_context)
        return found


class _Files(IndexDataCacheFile):
    """A file for each combination of types: its checksum, then the machine code."""

    def load(self, key: Any) -> Any:
        """What was kept; None if there is nothing, or it is damaged."""
        try:
            content = Path(self._place(key)).read_bytes()
            if hashlib.sha256(content[_CHECKSUM:]).digest() == content[:_CHECKSUM]:
                return pickle.loads(content[_CHECKSUM:])
        except OSError:
            pass
        return None

    def save(self, key: Any, data: Any) -> None:
        """Keep machine code if there is room, in the place of what older sources gave."""
        path, content = self._place(key), self._dump(data)
        with contextlib.suppress(OSError):
            with self._open_for_write(path) as file:
                file.write(hashlib.sha256(content).digest() + content)
            for old in glob.glob(glob.escape(self._base) + ".*"):
                if not old.startswith(self._stamped):
                    os.unlink(old)

    @property
    def _base(self) -> str:
        out: str = self._data_path(self._index_name[: -len(".nbi")])
        return out

    @property
    def _stamped(self) -> str:
        return "%s.%s." % (self._base, self._source_stamp)

    def _place(self, key: Any) -> str:
        # The types' names say all that tells them apart.
        text = repr((self._version, [str(part) for part in key[0]], key[1:]))
        return "%s%s.nbc" % (self._stamped, hashlib.sha256(text.encode()).hexdigest()[:16])


def _sources() -> str:
    """Digest of all files with kernels: they call each other."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        content = path.read_bytes()
        if b"numba" in content or b"pcainit.engine.compiled.jit" in content:
            digest.update(content)
    return digest.hexdigest()[:8]


def _compile_elsewhere(function: Callable[..., Any], sig: Any) -> None:
    """Have another process compile and keep a kernel; if it cannot, this one will."""
    code = "import sys; sys.path[:] = %r; from %s import compile_here; compile_here()" % (
        sys.path,
        __name__,
    )
    with contextlib.suppress(OSError, pickle.PicklingError):
        subprocess.run(
            [sys.executable or "python3", "-c", code],
            input=pickle.dumps((function.__module__, function.__qualname__, sig)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def compile_here() -> None:
    """Compile what standard input names: module, function and types."""
    global _compiling
    _compiling = True
    module, name, sig = pickle.load(sys.stdin.buffer)
    getattr(importlib.import_module(module), name).compile(sig)
