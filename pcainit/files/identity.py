"""Has a file changed since it was used?"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
from typing import Sequence


def file_identity(paths: Sequence[str]) -> str:
    """Text that changes when one of these files is replaced or edited."""
    stats = [(os.path.realpath(p), os.stat(p).st_size, os.stat(p).st_mtime_ns) for p in paths]
    return hashlib.sha256(json.dumps(sorted(stats)).encode()).hexdigest()[:16]
