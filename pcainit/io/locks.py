"""One run at a time in a folder.

The locks are the kernel's (flock): they end with the process that holds them, however it ends.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Iterator

from pcainit.errors import InputError
from pcainit.interruption import shielded

LOCK = ".pcainit.lock"
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


def try_lock(handle: int, shared: bool = False) -> bool:
    """Lock an open file if nobody holds it; also true where the file system has no locks."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN
    return True


@contextlib.contextmanager
def locked(folder: str | Path, name: str = LOCK, shared: bool = False) -> Iterator[None]:
    """Hold a folder that exists, alone, or together with others that share it.

    Raises
    ------
    InputError
        Another run holds it.
    """
    path = Path(folder) / name
    handle = -1
    try:
        with shielded():
            handle = _take(path, shared)
        yield
    finally:
        with shielded():
            if handle >= 0:
                _give_back(path, handle, shared)


def _give_back(path: Path, handle: int, shared: bool) -> None:
    # Only who holds the file alone may remove it: others may be waiting for this very file.
    if not shared or try_lock(handle):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(str(path))):
                path.unlink()
    os.close(handle)


def _take(path: Path, shared: bool) -> int:
    while True:
        handle = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o666)
        if not try_lock(handle, shared):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            os.close(handle)
            raise InputError(
                "The folder %s is in use by another run%s: wait for it, or choose "
                "another folder." % (path.parent, " (%s)" % holder if holder else "")
            )
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(str(path))):
                who = "process %d on %s\n" % (os.getpid(), socket.gethostname())
                os.truncate(handle, 0)
                os.pwrite(handle, who.encode(), 0)
                return handle
        os.close(handle)  # the holder before has just removed it: once more
