"""A command that is told to stop does so at once, but not between two halves of one act."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading

_DEPTH: list[int] = []  # one entry for each `shielded` that is entered
_WAITING: list[BaseException] = []


def stop(reason: BaseException) -> None:
    """Raise `reason` now, or as soon as nothing is `shielded` any more; for signal handlers."""
    if not _DEPTH:
        raise reason
    _WAITING[:] = [reason]


class shielded:
    """Context in which `stop` waits: for making a file and noting it, for removing it.

    Only the main thread hears signals, so only it has to wait; others finish what they do.
    """

    def __enter__(self) -> None:
        """Begin to wait."""
        if _hears_signals():
            _DEPTH.append(1)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Raise what has waited."""
        if not _hears_signals():
            return
        _DEPTH.pop()
        if _WAITING and not _DEPTH:
            raise _WAITING.pop()


def _hears_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
