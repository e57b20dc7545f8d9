"""Commands that meet with an accident, for the tests of faults and for benchmarks/faults.py.

    python -m pcainit.tests.robustness.accidents ACTION POINT REPORT WORDS...

runs `pcainit WORDS` and does ACTION at its POINT-th event.  Events are the moments before and
after images are read, and a file appears, goes or gets its space, and each line of progress.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
STAGES = ("prepare", "reconstruct", "components", "cluster", "volumes")
WORK_FILES = sorted([*(name + ".npz" for name in STAGES), "values.npy", "ctf.npy", "seconds.json"])
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}


# In the process that meets with the accident.


class Watch:
    """Counts events and does something at one of them."""

    def __init__(self, action="", point=0):
        self.action, self.point, self.count = action, point, 0

    def event(self):
        """One more event."""
        self.count += 1
        if self.count == self.point:
            act(self.action)

    def around(self, module, name):
        """An event before and after each call of a function."""
        real = getattr(module, name)

        def call(*given, **named):
            self.event()
            try:
                return real(*given, **named)
            finally:
                self.event()

        setattr(module, name, call)


def act(action):
    """Send a signal to this process group, or ``cut`` or ``copy`` files: words between tabs."""
    verb, *names = action.split("\t")
    if verb in SIGNALS:
        os.killpg(os.getpgrp(), SIGNALS[verb])
    elif verb == "cut":
        os.truncate(names[0], os.path.getsize(names[0]) // 2)
    elif verb == "copy":
        shutil.copyfile(*names)
    elif verb == "remove":
        os.unlink(names[0])
    else:
        raise ValueError(action)


def watched(action, point, report, words):
    """Run a command with the accident in it; its exit status."""
    import pcainit.io.stacks
    import pcainit.output.report
    from pcainit.cli.main import main
    from pcainit.cli.progress import Reporter

    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    watch = Watch(action, point)
    for name in ("replace", "posix_fallocate", "unlink"):
        watch.around(os, name)
    watch.around(tempfile, "mkstemp")
    watch.around(pcainit.io.stacks, "_read_images")

    class Stream:
        def write(self, text):
            sys.stderr.write(text)
            watch.event()

        def flush(self):
            sys.stderr.flush()

    made = Reporter.__init__
    Reporter.__init__ = lambda self, stream=None: made(self, Stream())
    if not report:  # its figures take seconds
        pcainit.output.report.write_report = lambda folder, summary: None
    code = main(words)
    print("EVENTS %d" % watch.count, flush=True)
    return code


# In the process that looks on.


class Outcome:
    """Exit status (negative: the signal that ended it), output and error output of a command."""

    def __init__(self, code, out, error):
        self.code, self.out, self.error = code, out, error

    @property
    def events(self):
        """How many events there were."""
        return int(self.out.rpartition("EVENTS ")[2])

    @property
    def sentence(self):
        """The one sentence that a failed command said; empty if it said anything else."""
        lines = [
            line
            for line in self.error.splitlines()
            if line.split(":")[0] not in (*STAGES, "write", "analyse")
        ]
        said = len(lines) == 1 and lines[0].startswith("pcainit: ") and self.code > 0
        return lines[0][len("pcainit: ") :] if said else ""

    @property
    def trouble(self):
        """What is wrong with this end; empty for success and for one sentence."""
        if self.code == 0 or self.sentence:
            return ""
        return "ended with %d: %s" % (self.code, " / ".join(self.error.splitlines()[-3:])[-300:])


def environment(**changes):
    """Environment in which child processes use this very package; None removes a variable."""
    paths = [str(ROOT)] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    full = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)), **changes)
    return {name: value for name, value in full.items() if value is not None}


def start(words, action="", point=0, report=False, env=None, wrapper=(), **options):
    """Start a command in a process group of its own."""
    kept = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    return subprocess.Popen(
        [
            *wrapper,
            sys.executable,
            "-m",
            "pcainit.tests.robustness.accidents",
            action,
            str(point),
            "yes" if report else "",
            *map(os.fsdecode, words),
        ],
        env=environment(**(env or {})),
        **dict(kept, **options),
    )


def finish(process):
    """Wait for a started command."""
    out, error = (
        text.decode(errors="replace") if text is not None else "" for text in process.communicate()
    )
    return Outcome(process.returncode, out, error)


def command(words, *args, **options):
    """Run a command to its end."""
    return finish(start(words, *args, **options))


def forked(words, action="", point=0, report=False, seconds=None, before=None):
    """`command` in a fork of this process, which must not have used any kernel.

    Parameters
    ----------
    seconds : float, optional
        Kill it after so long.
    before : callable, optional
        What the child does first.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            _become(out, error, before, action, point, report, [str(word) for word in words])
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Outcome(code, *texts)


def _become(out, error, before, action, point, report, words):
    code = 70
    try:
        os.setsid()
        os.dup2(out.fileno(), 1)
        os.dup2(error.fileno(), 2)
        sys.stdout, sys.stderr = map(os.fdopen, (1, 2), "ww")
        if before is not None:
            before()
        code = watched(action, point, report, words)
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def succeed(words, **options):
    """Run a command that must succeed; how it ended."""
    outcome = options.pop("by", command)(words, **options)
    assert outcome.code == 0, outcome.error
    return outcome


class Example:
    """A particle set and how it is run.

    Parameters
    ----------
    star : Path
    options : list of str
    """

    def __init__(self, star, options):
        self.star, self.options = Path(star), list(options)

    def run(self, output):
        """Words of the whole job."""
        return ["run", self.star, "-o", output, *self.options]

    def stages(self, folder, parts=0):
        """Words of each stage in ``work`` and ``result``, the preparation in parts if wanted."""
        shared = ["--work", folder / "work", *self.options]
        prepare = ["prepare", self.star, *shared]
        first = [[*prepare, "--chunk", "%d/%d" % (k, parts)] for k in range(1, parts + 1)]
        first.append([*prepare, "--join", str(parts)] if parts else prepare)
        return [
            *first,
            *([name, *shared] for name in STAGES[1:-1]),
            ["class-volumes", *shared, "-o", folder / "result"],
        ]


def results(folder):
    """All that a run left, by file name, without times; a leftover would be one more."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".mrc", ".mrcs"):
            content = path.read_bytes()
            found[name] = content[:224] + content[1024:]  # between them, labels with the time
        elif path.suffix == ".npz":
            with np.load(str(path)) as arrays:
                found.update({"%s %s" % (name, key): arrays[key].tobytes() for key in arrays})
        elif name == "summary.json":
            summary = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {
                key: value for key, value in summary.items() if key not in ("seconds", "threads")
            }
        elif name == "seconds.json":
            found[name] = path.stat().st_size > 10
        elif path.is_file() and name != "report.html":  # made where asked for only
            found[name] = path.read_bytes()
    return found


def differing(reference, folder):
    """Names of the results that differ from `results` of an undisturbed run; must be none."""
    mine = results(folder)
    return sorted(
        name for name in set(reference) | set(mine) if reference.get(name) != mine.get(name)
    )


def unexpected(folder):
    """Names of files in a work folder that no finished job leaves there."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name not in WORK_FILES)


def flip(path, bit):
    """Change one bit of a file in place, times as they were."""
    status = os.stat(str(path))
    with open(str(path), "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0] ^ (1 << bit % 8)
        file.seek(bit // 8)
        file.write(bytes([byte]))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


if __name__ == "__main__":
    sys.exit(watched(sys.argv[1], int(sys.argv[2]), bool(sys.argv[3]), sys.argv[4:]))
