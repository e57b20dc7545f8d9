"""Scipion's own process is killed at some moment, as by Stop or a machine that goes down.

`HOOK` is put where Python looks for a sitecustomize module.  In the process of a protocol it counts
events: files opened for writing, renamed or removed, and statements to data bases.  At the one that
PCAINIT_KILL_AT names, the process and its children are killed.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import os
import time
from unittest import mock

import psutil

from pcainit.tests.scipion import runs

HOOK = """
import os, sqlite3, sys
from sqlite3 import dbapi2
COUNT, POINT, FILE = [0], int(os.environ["PCAINIT_KILL_AT"]), os.environ["PCAINIT_COUNT"]
MINE = []

def event():
    if not MINE:
        if not hasattr(sys, "argv"):
            return
        MINE.append("pw_protocol_run" in sys.argv[0])
        if MINE[0]:
            import atexit
            atexit.register(lambda: open(FILE, "w").write(str(COUNT[0])))
    if MINE[0]:
        COUNT[0] += 1
        if COUNT[0] == POINT:
            import psutil
            for process in [*psutil.Process().children(recursive=True), psutil.Process()]:
                process.kill()

def hook(name, words):
    if name in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate") or (
            name == "open" and isinstance(words[1], str) and set(words[1]) & set("wax+")):
        event()

class Cursor(sqlite3.Cursor):
    def execute(self, *words):
        event()
        return super().execute(*words)

class Connection(sqlite3.Connection):
    def cursor(self, *words):
        return super().cursor(Cursor)
    def commit(self):
        event()
        super().commit()
        event()
real = sqlite3.connect
def connect(*words, **options):
    options.setdefault("factory", Connection)
    return real(*words, **options)
sqlite3.connect = dbapi2.connect = connect
sqlite3.Connection = dbapi2.Connection = Connection
sys.addaudithook(hook)
"""


@contextlib.contextmanager
def watching(folder, point=0):
    """Kill protocols that are launched meanwhile at an event; the file that its number comes to."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(HOOK)
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    with mock.patch.dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
        PCAINIT_KILL_AT=str(point),
        PCAINIT_COUNT=str(folder / "count"),
    ):
        yield folder / "count"


def count_events(scipion, protocol, folder):
    """Launch a protocol to its end; how many events it had."""
    with watching(folder) as count:
        scipion.project.launchProtocol(protocol)
        runs.end(scipion, protocol)
    assert protocol.isFinished(), protocol.getErrorMessage()
    return int(count.read_text())


def kill_at(scipion, protocol, folder, point):
    """Launch a protocol that is killed at an event; the steps that were not finished then."""
    with watching(folder, point) as count:
        with contextlib.suppress(OSError):
            count.unlink()
        scipion.project.launchProtocol(protocol)
        runs.until(lambda: not _alive(protocol), "the end of the protocol")
        assert not count.exists(), "it was not killed"
    scipion.project._updateProtocol(protocol)
    return [step.funcName.get() for step in protocol.loadSteps() if not step.isFinished()]


def _alive(protocol):
    time.sleep(0.2)
    words = {"pw_protocol_run.py", protocol.strId()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = {os.path.basename(word) for word in process.cmdline()}
            if words <= line and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def outputs(protocol):
    """What Scipion knows of a run's outputs, but for the number of the run."""
    found = {}
    for name, output in protocol.iterOutputAttributes():
        if hasattr(output, "iterItems"):
            found[name] = [
                (item.getObjId(), *_described(item, protocol)) for item in output.iterItems()
            ]
        else:
            found[name] = _described(output, protocol)
    return found


def _described(item, protocol):
    values = {
        name: str(value).replace(protocol.strId().zfill(6), "RUN")
        for name, value in item.getObjDict().items()
        if not name.startswith("_mapperPath")
    }
    members = [particle.getObjId() for particle in item] if hasattr(item, "iterItems") else []
    return values, members
