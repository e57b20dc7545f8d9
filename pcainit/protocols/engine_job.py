"""Run one command of the engine as a protocol's job; only its result counts as success."""
# SPDX-License-Identifier: GPL-3.0-or-later
import glob
import os
import re
import time

from pcainit.plugin import Plugin

PROGRESS = re.compile(r"\w+: (\d+ %|done in .* s)")      # of the engine, also on stderr


def runEngine(protocol, files, command, *words):
    """Run a command of the engine; raise with its own last words if it left no result.

    Parameters
    ----------
    protocol : Protocol
    files : list of str
        What the command makes; removed first, so that an earlier run's do not pass for its own.
    command : str
        Of ``python -m pcainit``.
    *words
        Its further arguments.

    Raises
    ------
    RuntimeError
        It failed, or one of the files is missing.
    """
    for path in files:
        if os.path.exists(path):
            os.remove(path)
    start, problem = time.time(), None
    try:
        protocol.runJob(Plugin.getProgram(), Plugin.getArguments(command, *words))
    except Exception as error:
        problem = error
    # Scipion does not look at the exit status of a cluster job: only the result counts.
    if problem is not None or not all(os.path.exists(path) for path in files):
        raise RuntimeError(
            lastErrorLine(protocol._getLogsPath(), start)
            or "The step '%s' ended without a result: it was killed, ran out of memory, or never "
               "started. See the run's logs." % command) from problem


def lastErrorLine(folder, since):
    """Last line that a command or cluster job wrote to its error log.

    Parameters
    ----------
    folder : str
        The run's log folder.
    since : float
        Time at which the command was started; older logs are not looked at.

    Returns
    -------
    str
        Empty when there is none.
    """
    logs = glob.glob(os.path.join(glob.escape(folder), "*.err"))
    logs.append(os.path.join(folder, "run.stderr"))
    fresh = [path for path in logs if os.path.exists(path) and os.path.getmtime(path) >= since - 2]
    for path in sorted(fresh, key=os.path.getmtime, reverse=True):
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 10000))
            lines = file.read().decode(errors="replace").split("\n")
        lines = [line.strip() for line in lines if line.strip() and not PROGRESS.match(line)]
        if lines:
            return lines[-1]
    return ""
