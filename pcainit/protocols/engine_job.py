"""Run one command of the engine as a protocol's job; only its result counts as success."""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import glob
import json
import os
import re
import subprocess
import threading
import time
import uuid

from pcainit.plugin import Plugin

# What else is in an error log: the engine's progress, and a shell's words on what was killed.
OTHER = re.compile(r"\w+: (\d+ %|started, |done in .* s)|.*: line \d+: +\d+ [A-Z][a-z]")
LAG = 10  # seconds until a file of another node is surely seen on a shared disk


def runEngine(protocol, files, command, *words, name=""):
    """Run a command of the engine; raise with its own last words if it left no result.

    What an earlier run left does not pass for its own: the command says itself how it ended, in a
    file of this one attempt.

    Parameters
    ----------
    protocol : Protocol
    files : list of str
        What the command makes.
    command : str
        Of ``python -m pcainit``.
    *words
        Its further arguments.
    name : str
        What it is called in an error; `command` by default.

    Raises
    ------
    RuntimeError
        It failed, was ended by something else, or one of the files is missing.
    """
    report = protocol._getLogsPath("%s_%s.json" % (command, uuid.uuid4().hex[:12]))
    before, problem = _sizes(protocol), None
    try:
        protocol.runJob(
            Plugin.getProgram(), Plugin.getArguments(command, *words, "--status", report)
        )
    except Exception as error:
        problem = error
    if problem is None and protocol.useQueueForSteps():
        _await(report)
    status = _read(report)
    # Scipion does not look at the exit status of a cluster job: only this counts.
    if status.get("code") == 0 and all(os.path.exists(path) for path in files):
        return
    # Of a job that could not even be submitted, only the queue's own words tell.
    told = "" if isinstance(problem, subprocess.CalledProcessError) else str(problem or "")
    raise RuntimeError(
        status.get("error")
        or lastErrorLine(protocol, before)
        or told
        or "The step '%s' ended without a result: it was killed, cancelled, ran out of memory, or "
        "never started. See the run's logs."
        % (name or command)
    ) from problem


def _await(path):
    """Wait for a file that the job wrote, if it wrote it."""
    last = time.time() + LAG
    while not os.path.exists(path) and time.time() < last:
        time.sleep(0.5)


def _read(path):
    """How a command says that it ended; nothing if it does not, and then forget it."""
    try:
        with open(path, encoding="utf-8") as file:
            status = json.load(file)
        os.remove(path)
    except (OSError, ValueError):
        return {}
    return status


def lastErrorLine(protocol, before):
    """Last line that a command or cluster job of this step wrote to its error log.

    Parameters
    ----------
    protocol : Protocol
    before : dict
        Path -> what the logs were like before the command was started (see `_sizes`).  No clocks
        are compared: those of nodes and of the disk may be wrong.

    Returns
    -------
    str
        Empty when there is none.
    """
    now = _sizes(protocol)
    fresh = [path for path in now if now[path] != before.get(path)]
    for path in sorted(fresh, key=lambda path: now[path][1], reverse=True):
        # A job's own log begins anew; to the run's log all of its steps add.
        known = before.get(path, (0, 0))[0] if path == protocol.getStderrLog() else 0
        with open(path, "rb") as file:
            file.seek(max(now[path][0] - 10000, known))
            lines = file.read().decode(errors="replace").split("\n")
        lines = [line.strip() for line in lines if line.strip() and not OTHER.match(line)]
        if lines:
            return lines[-1]
    return ""


def _sizes(protocol):
    """Path -> length and time of last change of each error log that may be of this step."""
    found = {}
    for path in _logs(protocol):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found[path] = status.st_size, status.st_mtime_ns
    return found


def _logs(protocol):
    """Error logs that may be of this step: its own jobs', where others run beside it."""
    folder = glob.escape(protocol._getLogsPath())
    if protocol.useQueueForSteps():
        # Scipion names a job after its protocol, the step that this thread runs, and a count.
        step = getattr(threading.current_thread(), "thId", "*")
        return glob.glob(os.path.join(folder, "%s-%s-*.err" % (protocol.strId(), step)))
    return [*glob.glob(os.path.join(folder, "*.err")), protocol.getStderrLog()]
