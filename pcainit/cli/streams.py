"""What a command prints: never a reason to fail, since its results are in files.

A pipe that nobody reads any more, a log on a full disk, a terminal that lacks a letter or a stream
that was closed before the start cost the words, not the work.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Callable, Iterator


class Lenient:
    """A text stream that passes on what can be passed on.

    Parameters
    ----------
    stream : TextIO or None
        None where the stream was closed before the program began.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; letters that the stream's encoding lacks are spelt out."""
        self._attempt(lambda stream: _write(stream, text))
        return len(text)

    def flush(self) -> None:
        """Pass on what has been kept back."""
        self._attempt(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return bool(getattr(self._stream, "isatty", bool)())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, do: Callable[[Any], object]) -> None:
        """Do something with the stream, and give it up where nobody is at its other end."""
        if self._stream is None:
            return
        try:
            do(self._stream)
        except (OSError, ValueError):
            lost, self._stream = self._stream, None
            # What its buffer still holds must not fail a second time when the program ends.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, lost.fileno())
                os.close(nowhere)


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


@contextlib.contextmanager
def lenient_streams() -> Iterator[None]:
    """Standard output and error as `Lenient` streams."""
    _occupy_standard_handles()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = mine = Lenient(before[0]), Lenient(before[1])
    try:
        yield
    finally:
        for stream in mine:
            stream.flush()
        sys.stdout, sys.stderr = before


def _occupy_standard_handles() -> None:
    """Keep files from getting the numbers of streams that were closed, which libraries print to."""
    handle = os.open(os.devnull, os.O_RDWR)
    while handle <= 2:
        handle = os.open(os.devnull, os.O_RDWR)
    os.close(handle)
