"""Progress of the stages: a bar on a terminal, percentage lines in a log."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import time
from typing import Callable, TextIO


class Reporter:
    """Prints what is going on and keeps the seconds of each stage.

    Parameters
    ----------
    stream : TextIO, optional
        Standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.seconds: dict[str, float] = {}
        self._terminal = bool(getattr(self.stream, "isatty", lambda: False)())

    def run(self, name: str, work: Callable[[Callable[[float], None]], object]) -> None:
        """Do one stage; `work` gets a function to call with the share that is done."""
        start = time.perf_counter()
        shown = [0]

        def progress(share: float) -> None:
            percent = int(100 * min(max(share, 0.0), 1.0))
            step = 1 if self._terminal else 10
            if percent // step == shown[0]:
                return
            shown[0] = percent // step
            if self._terminal:
                bar = "#" * (percent // 4)
                self.stream.write("\r%-12s [%-25s] %3d %%" % (name, bar, percent))
            elif percent < 100:
                self.stream.write("%s: %d %%\n" % (name, percent))
            self.stream.flush()

        progress(0.0)
        work(progress)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        if self._terminal:
            self.stream.write("\r%-12s [%-25s] 100 %%" % (name, "#" * 25))
            self.stream.write("  %.1f s\n" % self.seconds[name])
        else:
            self.stream.write("%s: done in %.1f s\n" % (name, self.seconds[name]))
        self.stream.flush()
