"""Runs that Scipion starts as processes of their own: launched, met at work, stopped, compared."""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import time
from pathlib import Path

import mrcfile
import numpy as np
import psutil

PATIENCE = 600  # seconds until a run that hangs is given up


def results(protocol):
    """All maps, arrays and classes of a run, byte by byte, without times and header stamps."""
    folder = Path(protocol._getExtraPath("result"))
    found = {"particles.star": (folder / "particles.star").read_bytes()}
    for path in folder.rglob("*.mrc"):
        found[str(path.relative_to(folder))] = mrcfile.read(path).tobytes()
    for name in ("latents.npz", "analysis.npz"):
        with np.load(folder / name) as arrays:
            found.update({name + ":" + key: arrays[key].tobytes() for key in arrays.files})
    assert len(found) > 10
    return found


def same(found, expected):
    """Whether results are the same, with the names of those that are not in the error."""
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    return True


def until(condition, what):
    """Wait for a condition, not for ever; its value."""
    last = time.time() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        assert time.time() < last, "waited in vain for %s" % what
        time.sleep(0.1)


def end(scipion, protocol):
    """Wait until a run is over, as Scipion's window does, then read once more how it ended.

    Scipion notes when a run's state was written after it has read it: if the run writes its last
    one in between, Scipion misses it and takes the run for dead (docs/queue.md).
    """

    def over():
        time.sleep(0.5)
        scipion.project._updateProtocol(protocol)
        return not protocol.isActive()

    until(over, "the end of the run")
    protocol.lastUpdateTimeStamp.set(None)  # or it would trust the note
    scipion.project._updateProtocol(protocol)


def engine(protocol, *words):
    """Processes of the engine that work for a run, with these words on their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = set(process.cmdline())
            if {"pcainit", protocol._getExtraPath("work"), *words} <= line:
                found.append(process)
    return found


def freeze(protocol, *words):
    """Wait for a process of the engine and stop its clock, so that it is surely met at work."""
    (process,) = until(lambda: engine(protocol, *words), "the engine")
    process.suspend()
    return process


def clean_up(scipion, protocols):
    """Leave no process behind of runs that a failed test was watching."""
    for protocol in protocols:
        if protocol.isActive():
            with contextlib.suppress(Exception):  # whatever is gone already
                scipion.project.stopProtocol(protocol)
        for process in engine(protocol):
            with contextlib.suppress(psutil.Error):
                process.kill()
