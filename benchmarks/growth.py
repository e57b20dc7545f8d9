"""How time and memory grow with the number of particles.

python benchmarks/growth.py [--counts 5000,20000,50000,100000,200000] [--box 40] [--mapped]

Simulated crops are put into a work folder as the stage prepare leaves them; the later stages then
run on it, each as a process of its own.  Cropped images of 4 GB and more are read as mapped files,
whose pages the system can take back at any time; anonymous memory it cannot.  --mapped maps files
of any size.  The million: --counts 1000000 --mapped (about 8 GB of disk).
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict

from jobs import deliver, markdown_table, provenance, run_measured, work_folder

# Nothing large is imported here: a process inherits the peak memory of the one that starts it.
COMMANDS = ("reconstruct", "components", "cluster", "class-volumes")
WARM = 2000
POLL = 0.1  # seconds
MAPPED = (
    "import sys, pcainit.pipeline.store as w; from pcainit.cli.main import main; "
    "w.IN_MEMORY_BYTES = 0; sys.exit(main(sys.argv[1:]))"
)
Row = Dict[str, Any]


def main() -> None:
    """One size after the other; the page grows with each."""
    args = _arguments()
    if args.make:
        from growth_crops import make_work

        make_work(Path(args.make), int(args.counts), args.box, args.threads)
        return
    rows: list[Row] = []
    with work_folder(args.keep) as work:
        _once(WARM, args, work)  # kernels compiled
        for count in args.counts.split(","):
            rows.append(_once(int(count), args, work))
            deliver(_page(rows, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="5000,20000,50000,100000,200000", help="particles")
    parser.add_argument("--box", type=int, default=40, help="working box (default: 40)")
    parser.add_argument("--mapped", action="store_true", help="map the crops whatever their size")
    parser.add_argument("--classes", default="3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument(
        "--keep",
        help="folder for the results, without the crops (default: "
        "removed); elsewhere they lie in the folder for temporary files (TMPDIR)",
    )
    parser.add_argument("--make", help=argparse.SUPPRESS)
    return parser.parse_args()


class _Watch(threading.Thread):
    """Looks at a process's anonymous memory (MB) until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak = pid, 0.0
        self.start()

    def run(self) -> None:
        """Until the process, or its memory, is gone."""
        while True:
            anonymous = _anonymous(self.pid)
            if anonymous is None:
                return
            self.peak = max(self.peak, anonymous)
            time.sleep(POLL)


def _watch(watches: list[_Watch], pid: int) -> None:
    watches.append(_Watch(pid))


def _anonymous(pid: int) -> float | None:
    try:
        with open("/proc/%d/status" % pid) as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def _once(count: int, args: argparse.Namespace, work: Path) -> Row:
    folder, name = work / "crops", "%d" % count
    shutil.rmtree(str(folder), ignore_errors=True)
    run_measured(
        [
            sys.executable,
            __file__,
            "--make",
            folder,
            "--counts",
            count,
            "--box",
            args.box,
            "--threads",
            args.threads,
        ],
        work / (name + "_make.log"),
    )
    os.sync()  # what is still written takes no one's time
    size = sum(path.stat().st_size for path in folder.glob("*.npy"))
    row: Row = dict(count=count, size=size / 1e6, seconds=[], memory=[], anonymous=[])
    output = work / (name + "_result")
    start = [sys.executable, "-c", MAPPED] if args.mapped else [sys.executable, "-m", "pcainit"]
    for command in COMMANDS:
        last = ["-o", output] if command == COMMANDS[-1] else []
        watches: list[_Watch] = []
        seconds, memory = run_measured(
            [
                *start,
                command,
                "--work",
                folder,
                *last,
                "--classes",
                args.classes,
                "--threads",
                args.threads,
            ],
            work / ("%s_%s.log" % (name, command)),
            started=functools.partial(_watch, watches),
        )
        row["seconds"].append(seconds)
        row["memory"].append(memory)
        row["anonymous"].append(watches[0].peak)
    row["writing"] = (
        row["seconds"][-1] - json.loads((folder / "seconds.json").read_text())["volumes"]
    )
    shutil.rmtree(str(folder))
    return row


def _page(rows: list[Row], args: argparse.Namespace) -> str:
    times = [
        [
            "{:,}".format(r["count"]),
            *("%.1f" % s for s in r["seconds"]),
            "%.1f" % r["writing"],
            "%.1f" % sum(r["seconds"]),
            "%.2f" % (sum(r["seconds"]) / r["count"] * 1e4),
            "%.0f" % r["size"],
            "%.0f" % max(r["memory"]),
            "%.0f" % max(r["anonymous"]),
        ]
        for r in rows
    ]
    memory = [
        [
            "{:,}".format(r["count"]),
            *("%.0f (%.0f)" % pair for pair in zip(r["memory"], r["anonymous"])),
        ]
        for r in rows
    ]
    how = "mapped" if args.mapped else "mapped from 4 GB (values and CTF each)"
    return (
        "# Growth with the number of particles\n\n%s\n\nSimulated crops of three states (50, 30, "
        "20 %%) with CTF and noise, working box %d; %s classes, %d threads, crops %s. Seconds are "
        "of whole processes: start, reading and checking the crops and keeping the results are "
        "part of each stage, and `volumes` writes the result folder and its report (the column "
        "after it: its process less the stage itself). One run of each size.\n\n%s\n"
        "Memory of each stage, MB: peak resident, and in brackets peak anonymous, looked at every "
        "%g s. The difference is mapped files and shared libraries, which the system can take "
        "back.\n\n%s"
        % (
            provenance(),
            args.box,
            args.classes,
            args.threads,
            how,
            markdown_table(
                [
                    "particles",
                    "reconstruct (s)",
                    "components (s)",
                    "cluster (s)",
                    "volumes (s)",
                    "of these start and writing (s)",
                    "total (s)",
                    "s per 10,000",
                    "crops (MB)",
                    "peak resident (MB)",
                    "peak anonymous (MB)",
                ],
                times,
            ),
            POLL,
            markdown_table(
                ["particles", "reconstruct", "components", "cluster", "volumes"], memory
            ),
        )
    )


if __name__ == "__main__":
    main()
