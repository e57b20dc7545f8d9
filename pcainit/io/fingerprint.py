"""Has a file changed since it was used?"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Sequence


def file_identity(paths: Sequence[str]) -> str:
    """Text that changes when one of these files is replaced or edited, without reading them.

    The time of the last change of any kind (ctime) is part of it: nobody can set it back, so that
    a file of the same size and modification time does not pass for the one before.
    """
    stats = [
        (os.path.realpath(p), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        for p, status in ((p, os.stat(p)) for p in paths)
    ]
    return hashlib.sha256(json.dumps(sorted(stats)).encode()).hexdigest()[:16]


def bytes_identity(content: bytes) -> str:
    """`content_identity` of what has been read from a file."""
    return hashlib.sha256(content).hexdigest()[:16]


def content_identity(path: str) -> str:
    """Text that changes when the content of a file does."""
    digest = hashlib.sha256()
    with open(require_regular_file(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def require_regular_file(path: str | Path) -> Path:
    """The path, if it is not of a pipe or device, which may have no end or never answer.

    Raises
    ------
    OSError
        It is.
    """
    if os.path.exists(str(path)) and not os.path.isfile(str(path)):
        raise OSError(errno.EINVAL, "this is no regular file", str(path))
    return Path(path)
