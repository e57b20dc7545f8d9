"""Progress of the stages in words, with the time that is left: a bar on a terminal, log lines."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import time
from typing import Callable, TextIO

# What each stage does, for people.
STEPS = {
    "prepare": "reading and cropping the images",
    "reconstruct": "making the consensus, its noise and its mask",
    "components": "looking for what varies, in two halves of the particles",
    "cluster": "sorting the particles into classes",
    "volumes": "reconstructing the classes",
    "write": "writing volumes, particles and report",
    "analyse": "reading and comparing the volumes",
    "compare": "comparing the sets of volumes",
    "preview": "making the preview",
}
MIN_SHARE, MIN_SECONDS = 0.04, 3.0  # before less than that is done, the rest is not estimated
EVERY = 60.0  # seconds after which a log gets a line, however little was done


class Reporter:
    """Prints what is going on and keeps the seconds of each stage.

    Parameters
    ----------
    stream : TextIO, optional
        Standard error by default.
    clock : callable, optional
        Seconds from any point in time on.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.stream = stream or sys.stderr
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._terminal = bool(getattr(self.stream, "isatty", lambda: False)())

    def run(self, name: str, work: Callable[[Callable[[float], None]], object]) -> None:
        """Do one stage; `work` gets a function to call with the share that is done."""
        start = self._clock()
        shown, said, width = 0, start, 0
        what = STEPS.get(name, "")

        def begin() -> None:  # not before something is done: what is refused gets one line alone
            nonlocal what
            if what:
                self._write("%s: started, %s" % (name, what), "\n")
            what = ""

        def progress(share: float) -> None:
            nonlocal shown, said, width
            percent, now = int(100 * min(max(share, 0.0), 1.0)), self._clock()
            late = now - said >= EVERY
            if share > 0:
                begin()
            step = 1 if self._terminal else 10
            if percent // step == shown // step and not (late and percent > shown):
                return
            shown, said = percent, now
            left = time_left(now - start, share)
            left = ", %s left" % left if left and percent < 100 else ""
            if self._terminal:
                line = "%-12s [%-25s] %3d %%%s" % (name, "#" * (percent // 4), percent, left)
                self._write("\r%s" % line.ljust(width))
                width = len(line)
            elif percent < 100:
                self._write("%s: %d %%%s" % (name, percent, left), "\n")

        progress(0.0)
        work(progress)
        begin()
        self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - start
        done = "done in %s" % _exact(self.seconds[name])
        if self._terminal:
            line = "%-12s [%-25s] 100 %%  %s" % (name, "#" * 25, done)
            self._write("\r%s" % line.ljust(width), "\n")
        else:
            self._write("%s: %s" % (name, done), "\n")

    def _write(self, text: str, end: str = "") -> None:
        self.stream.write(text + end)
        self.stream.flush()


def time_left(elapsed: float, share: float) -> str:
    """About how long a stage goes on, in words; empty where it is too early to say.

    Parameters
    ----------
    elapsed : float
        Seconds so far.
    share : float
        Of the work that is done.

    Returns
    -------
    str
    """
    if share < MIN_SHARE or share >= 1 or elapsed < MIN_SECONDS:
        return ""
    seconds = elapsed * (1 - share) / share
    if seconds < 10:
        return "a few seconds"
    if seconds < 55:
        return "about %d s" % (10 * round(seconds / 10))
    minutes = round(seconds / 60)
    if minutes < 60:
        return "about %d min" % minutes
    minutes = 10 * round(minutes / 10)
    return "about %d h" % (minutes // 60) + (" %d min" % (minutes % 60) if minutes % 60 else "")


def _exact(seconds: float) -> str:
    if seconds < 120:
        return "%.1f s" % seconds
    return "%.1f s (%d min)" % (seconds, round(seconds / 60))
