"""A command that is told to stop does so at once, but not between two halves of one act."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import List, Optional

_DEPTH: List[int] = []                      # one entry for each `shielded` that is entered
_WAITING: List[BaseException] = []


def stop(reason: BaseException) -> None:
    """Raise `reason` now, or as soon as nothing is `shielded` any more; for signal handlers."""
    if not _DEPTH:
        raise reason
    _WAITING[:] = [reason]


class shielded:
    """Context in which `stop` waits: for making a file and noting it, for removing it."""

    def __enter__(self) -> None:
        """Begin to wait."""
        _DEPTH.append(1)

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: object) -> None:
        """Raise what has waited."""
        _DEPTH.pop()
        if _WAITING and not _DEPTH:
            raise _WAITING.pop()
