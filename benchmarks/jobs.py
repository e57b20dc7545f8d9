"""Starting programs and measuring them; markdown tables."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]


def run_measured(
    command: Sequence[Any],
    log: Path,
    cwd: Path | None = None,
    started: Callable[[int], None] = lambda pid: None,
) -> tuple[float, float]:
    """Run a program; seconds on the clock and peak memory (MB) of the whole process.

    Ends the benchmark with the log's last lines when the program fails.  `started` is told the
    number of the process.  The peak is never less than that of the process that starts it.
    """
    paths = [str(ROOT)] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)))
    begin = time.perf_counter()
    with open(log, "w") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            cwd=cwd,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        started(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise SystemExit("%s failed (%d):\n%s" % (command[0], process.returncode, tail))
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def run_pcainit(
    star: Path, output: Path, root: Path, options: Iterable[Any]
) -> tuple[dict, float, float]:
    """`pcainit run`; its summary, seconds and peak memory (MB)."""
    command = [sys.executable, "-m", "pcainit", "run", star, "-o", output, "--data-dir", root]
    seconds, memory = run_measured([*command, *options], output.parent / (output.name + ".log"))
    return json.loads((output / "summary.json").read_text()), seconds, memory


def data_root(star: Path) -> Path:
    """The STAR file's folder, or the nearest one above it, from which its first image is found."""
    with open(star) as lines:
        stack = next(word for line in lines for word in line.split() if "@" in word).split("@")[-1]
    for folder in star.parents:
        if (folder / stack).is_file():
            return folder
    raise SystemExit("The images of %s are not found in its folder or above it." % star)


@contextlib.contextmanager
def work_folder(keep: str | None) -> Iterator[Path]:
    """The folder `keep`, or one that is removed afterwards."""
    if keep:
        Path(keep).mkdir(parents=True, exist_ok=True)
        yield Path(keep).resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="pcainit-benchmark-") as folder:
            yield Path(folder)


def provenance(sets: Iterable[str] = ()) -> str:
    """The command, the commit and the processors, as one paragraph of markdown."""
    full = {str(Path(name)): "SETS/" + Path(name).resolve().name for name in sets}
    hidden, words = False, []
    for word in sys.argv[1:]:
        if word in ("--output", "--keep", "--records"):
            hidden = True
        elif hidden:
            hidden = False
        else:
            words.append(full.get(str(Path(word)), word) if not word.startswith("-") else word)
    git = ["git", "-C", str(ROOT)]
    commit = (
        subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip()
        or "unknown"
    )
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "pcainit"], capture_output=True, text=True
    ).stdout.strip()
    return "`python benchmarks/%s %s`; commit %s%s; %d processors." % (
        Path(sys.argv[0]).name,
        " ".join(words),
        commit,
        " with changes not yet committed" if changed else "",
        len(os.sched_getaffinity(0)),
    )


def show(value: Any, pattern: str = "%.3f") -> str:
    """A value as a cell of a table."""
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return " ".join(show(v, pattern) for v in value) or "-"
    return value.replace("|", "/") if isinstance(value, str) else pattern % value


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as a markdown table."""
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def deliver(text: str, output: str | None) -> None:
    """Print, and write to a file if one is named."""
    print(text, flush=True)
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_text(text, encoding="utf-8")
