"""Room to work in: memory that is used again, and large arrays in files without a name."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from pcainit.interruption import shielded

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import TypeAlias

    AnyArray: TypeAlias = NDArray[Any]

# What file systems answer that have to be written to instead.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)
_BLOCK = 2**20
_LINE = 64  # bytes that a processor fetches at once


def aligned_array(shape: tuple[int, ...], dtype: type) -> AnyArray:
    """An array of any content that begins where a line of the cache does.

    Vectors of an array that begins elsewhere lie across two lines every other time.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + size].view(dtype).reshape(shape)


class Reused:
    """Memory for one large array at a time.

    The system fills new memory page by page, which threads have to wait for: sums in it took two
    threads a quarter longer.
    """

    def __init__(self) -> None:
        self._held = np.empty(0, np.float32)

    def array(self, shape: tuple[int, ...]) -> AnyArray:
        """A float32 array of any content, until this is called again."""
        size = int(np.prod(shape))
        if size > len(self._held):
            self._held = self._held[:0].copy()  # first the old goes
            self._held = aligned_array((size,), np.float32)
        return self._held[:size].reshape(shape)


class ReusedByThread(threading.local, Reused):
    """The same, for each thread its own."""


def reserve(handle: int, size: int) -> None:
    """Give an open file its whole size and the disk space for it.

    Without the space, a write through a memory map to a full disk would kill the process.

    Raises
    ------
    OSError
        There is not enough space.
    """
    try:
        if size:
            os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise
        for begin in range(os.fstat(handle).st_size, size, _BLOCK):
            os.pwrite(handle, bytes(min(_BLOCK, size - begin)), begin)


def scratch_array(folder: str, shape: tuple[int, ...], dtype: type) -> AnyArray:
    """An array in an unnamed file of a folder, or in memory where files cannot be mapped.

    Raises
    ------
    OSError
        There is not enough space.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    handle, name = -1, ""
    try:
        with shielded():
            handle, name = tempfile.mkstemp(dir=folder, prefix=".pcainit.")
        reserve(handle, size)
        try:
            return np.memmap(name, dtype=dtype, mode="r+", shape=shape)
        except OSError:
            return np.empty(shape, dtype)
    finally:
        with shielded():
            if name:
                os.close(handle)
                os.unlink(name)


def buffer_like(values: AnyArray) -> AnyArray:
    """An array of the same size: where that is a file, an unnamed file beside it."""
    if not isinstance(values, np.memmap):
        return np.empty_like(values)
    folder = os.path.dirname(values.filename) if values.filename else tempfile.gettempdir()
    return scratch_array(folder, values.shape, values.dtype.type)
