"""Large arrays in files without a name: their space goes back when the process ends."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import tempfile
from typing import Tuple

import numpy as np

from pcainit.stopping import shielded

# What file systems answer that have to be written to instead.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)
_BLOCK = 2 ** 20


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


def scratch_array(folder: str, shape: Tuple[int, ...], dtype: type) -> np.ndarray:
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
