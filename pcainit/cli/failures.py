"""How a command ended: one sentence for trouble with the machine, and a file for who started it."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import contextlib
import errno
import json
import mmap
import os
import signal
import threading
from types import FrameType
from typing import Iterator

from pcainit.interruption import stop

# What the errors of the system mean for the user.
_REMEDY = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "you have no permission: change it, or choose another folder",
    errno.EPERM: "you have no permission: change it, or choose another folder",
    errno.EFBIG: "it is larger than files may be: raise the limit (ulimit -f)",
    errno.EIO: "the disk reports an error: see to it",
    errno.ESTALE: "the network file system lost it: see to it",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENOENT: "it has disappeared: put it back",
}
# Of the loader of libraries, and of numba's compiler.
_NO_ROOM = "failed to map segment", "Could not find/load shared object file"
_BUFFER = 80 * 2**20  # bytes; OpenBLAS takes 32 MB and allocators round up
# Bytes: the smallest job (300 particles of 32 px) ends below 1 GB of address space at a place that
# chance decides, some of them inside libraries that then abort without a word.
_ROOM = 512 * 2**20
_NO_THREAD = "can't start new thread", os.strerror(errno.EAGAIN)  # Python's words, and scipy's


class Stopped(KeyboardInterrupt):
    """The command was told to end; `code` is its exit status."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.code = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """End in good order when a queue or a closing terminal ends the command: nothing stays behind.

    A second signal ends it at once.
    """

    def hear(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop(Stopped(number))

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        }
        before = {
            number: handler
            for number, handler in before.items()
            if handler in (signal.SIG_DFL, signal.default_int_handler)
        }
    for number in before:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def machine_trouble(error: BaseException) -> str:
    """One sentence about an error of disk or memory; empty when it is none that is known."""
    number = getattr(error, "errno", None)
    no_room = isinstance(error, (ImportError, OSError)) and any(
        words in str(error) for words in _NO_ROOM
    )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or no_room:
        return (
            "Not enough memory%s: use a machine that has more, fewer classes or components, or "
            "a coarser resolution." % (" (%s)" % error if str(error) else "")
        )
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_THREAD):
        return (
            "The system gives this command no more threads: raise the limit of processes "
            "(ulimit -u) or of memory, or give fewer --threads, then run the same command "
            "again."
        )
    if not isinstance(error, OSError) or number is None:
        return ""
    remedy = _REMEDY.get(number, "the system says '%s': see to it" % os.strerror(number))
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return "%s: %s, then run the same command again." % (
        "A file could not be read or written"
        if not name
        else "The file or folder %s could not be used" % os.fspath(name),
        remedy,
    )


def claim_buffers() -> None:
    """Let the matrix libraries take their buffers now, while there is memory for them.

    OpenBLAS, which numpy and scipy each have, asks for its own on first use, and where it gets
    none again and again without end.

    Raises
    ------
    OSError
        There is no room, or less than any job takes.
    """
    mmap.mmap(-1, _ROOM).close()
    import numpy as np
    from scipy.linalg.blas import dgemm

    square = np.ones((256, 256))
    for product in (np.dot, lambda a, b: dgemm(1.0, a, b)):
        mmap.mmap(-1, _BUFFER).close()
        product(square, square)


def add_status(parser: argparse.ArgumentParser) -> None:
    """The option that names the file for how the command ended; for programs, not shown."""
    parser.add_argument("--status", default="", help=argparse.SUPPRESS)


def write_status(path: str, code: int, text: str) -> None:
    """Tell who started the command how it ended; trouble in doing so is no trouble."""
    from pcainit.io.atomic import write_text

    with contextlib.suppress(OSError):
        write_text(path, json.dumps(dict(code=code, error=text)))
