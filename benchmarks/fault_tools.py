"""What the tests of faults and benchmarks/faults.py share: runs that meet with an accident."""
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).resolve().parents[1]
STAGES = ("prepare", "reconstruct", "components", "cluster", "volumes")

# Runs pcainit and does ACTION at the n-th event.  Events are the moments before and after images
# are read and a file appears, goes or gets its space, and each line of progress.
WATCHED = """
import os, signal, sys, tempfile
action, point, report, words = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
count = 0
def event():
    global count
    count += 1
    if count == point:
        exec(action)
def watch(module, name):
    real = getattr(module, name)
    def call(*given, **named):
        event()
        try:
            return real(*given, **named)
        finally:
            event()
    setattr(module, name, call)
for name in ("replace", "posix_fallocate", "unlink"):
    watch(os, name)
watch(tempfile, "mkstemp")
import pcainit.files.stacks
watch(pcainit.files.stacks, "_read_images")
from pcainit.commands.progress import Reporter
class Stream:
    def write(self, text):
        sys.__stderr__.write(text)
        event()
    def flush(self):
        pass
made = Reporter.__init__
Reporter.__init__ = lambda self, stream=None: made(self, Stream())
if report == "no":
    import pcainit.report
    pcainit.report.write_report = lambda folder, summary: None
from pcainit.__main__ import main
code = main(words)
print("EVENTS %d" % count)
sys.exit(code)
"""
KILL = "os.killpg(os.getpgrp(), signal.SIGKILL)"


def environment(**changes):
    """Environment in which child processes use this very package."""
    paths = [str(PACKAGE)] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)), **changes)


def start(words, action="", point=0, report=False, env=None, **options):
    """Start a command in a process group of its own; see `WATCHED`."""
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED, action, str(point), "yes" if report else "no",
         *map(str, words)], start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(**(env or {})), **options)


def command(words, *args, **options):
    """Run a command to its end; (exit status, what it printed, its error output)."""
    process = start(words, *args, **options)
    out, error = process.communicate()
    return process.returncode, out, error


def succeed(words, *args, **options):
    """Run a command that must succeed; the number of its events."""
    code, out, error = command(words, *args, **options)
    assert code == 0, error
    return int(out.rpartition("EVENTS ")[2])


def kill_after(words, seconds, **options):
    """Start a command and kill its process group after some time; whether it was still running."""
    process = start(words, **options)
    time.sleep(seconds)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return running


def sentence(error):
    """The one sentence that a failed command said."""
    lines = [line for line in error.splitlines()
             if line.split(":")[0] not in (*STAGES, "write", "analyse")]
    assert len(lines) == 1 and lines[0].startswith("pcainit: "), error
    return lines[0][len("pcainit: "):]


class Example:
    """A particle set and how it is run.

    Parameters
    ----------
    star : Path
    options : list of str
    report : bool
        Whether the report is made, whose figures take seconds.
    """

    def __init__(self, star, options, report=False):
        self.star, self.options, self.report = Path(star), list(options), report

    def run(self, output):
        """Words of the whole job."""
        return ["run", self.star, "-o", output, *self.options]

    def stages(self, work, output, parts=0):
        """Words of each stage, the preparation in parts if wanted."""
        shared = ["--work", work, *self.options]
        prepare = ["prepare", self.star, *shared]
        first = [[*prepare, "--chunk", "%d/%d" % (k, parts)] for k in range(1, parts + 1)]
        first.append([*prepare, "--join", parts] if parts else prepare)
        return [*first, *([name, *shared] for name in STAGES[1:-1]),
                ["class-volumes", *shared, "-o", output]]

    def reference(self, folder):
        """Results of an undisturbed run, and the number of its events."""
        count = succeed(self.run(folder), report=self.report)
        return results(folder), count


def results(folder):
    """All that a run left, by file name, without times; a leftover would be one more."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".mrc":
            found[name] = path.read_bytes()[1024:]          # the header has the time in it
        elif path.suffix == ".npz":
            with np.load(str(path)) as arrays:
                found.update({"%s %s" % (name, key): arrays[key].tobytes() for key in arrays})
        elif name == "summary.json":
            summary = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {key: value for key, value in summary.items()
                           if key not in ("seconds", "threads")}
        elif name == "report.html":
            found[name] = path.stat().st_size > 1000
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def work_files(folder):
    """Names of the files in a work folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def lost(reference, folder):
    """Names of the results that differ from an undisturbed run's; must be none."""
    mine = results(folder)
    return sorted(name for name in set(reference) | set(mine)
                  if reference.get(name) != mine.get(name))


def killed_run(example, folder, reference, point=0, seconds=0.0):
    """Kill `run` at an event or after some time, run it again, compare."""
    shutil.rmtree(str(folder), ignore_errors=True)
    words = example.run(folder)
    if point:
        code, _, _ = command(words, KILL, point, report=example.report)
        assert code == -signal.SIGKILL
    else:
        kill_after(words, seconds, report=example.report)
    succeed(words, report=example.report)
    return lost(reference, folder)


def killed_stage(example, folder, reference, stage, point, parts=0):
    """Kill one of the stages at an event, continue with it, compare."""
    shutil.rmtree(str(folder), ignore_errors=True)
    chain = example.stages(folder / "work", folder / "result", parts)
    for number, words in enumerate(chain):
        if number == stage:
            code, _, _ = command(words, KILL, point, report=example.report)
            assert code == -signal.SIGKILL
        succeed(words, report=example.report)
    expected = sorted([*(name + ".npz" for name in STAGES), "values.npy", "ctf.npy",
                       "seconds.json"])
    return lost(reference, folder / "result") + [
        name for name in work_files(folder / "work") if name not in expected]


def flip(path, bit):
    """Change one bit of a file in place, times as they were."""
    status = os.stat(str(path))
    with open(str(path), "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0] ^ (1 << bit % 8)
        file.seek(bit // 8)
        file.write(bytes([byte]))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))
