"""Runs that meet with accidents, and whether anything is lost or wrong.

    python benchmarks/faults.py [--points 0.5] [--jobs 2] [--only kills inputs files]

runs a small simulated set and its stages again and again: killed, told to stop, with files that
change, are damaged or cannot be read, disks that fill up, too little memory, odd names, locales and
streams.  Then the same command is given again without the fault, and all results are compared bit
by bit with those of an undisturbed run.  The group ``scipion`` kills a protocol instead, wherever
its process is, and presses Continue.  One row for each fault; "lost or wrong" must be nothing.
Faults that need root (mounting small disks) are left out without it.  Exit status 1 if anything is
lost or wrong.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import traceback
from collections import Counter
from typing import Sequence

from fault_bench import Bench
from jobs import deliver, markdown_table, provenance, work_folder

from pcainit.io.atomic import write_json

GROUPS = ("kills", "stops", "others", "inputs", "files", "machine", "surroundings", "scipion")


def _try_all(bench: Bench, groups: Sequence[str], jobs: int) -> None:
    """Each group of faults in a fork of this process, so many at a time; all in one table."""
    running: dict[int, Bench] = {}
    waiting, done = list(groups), {}
    while waiting or running:
        if waiting and len(running) < jobs:
            name = waiting.pop(0)
            part = done[name] = bench.group(name)
            child = os.fork()
            if not child:
                code = 1
                try:
                    importlib.import_module("fault_" + name).run(part)
                    write_json(part.folder / "found.json", [part.found, part.wrong])
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            running[child] = part
        else:
            child, status = os.wait()
            if status:
                sys.exit("A group of faults could not be tried to its end.")
            del running[child]
    for part in done.values():
        found, wrong = json.loads((part.folder / "found.json").read_text())
        bench.found.update({fault: Counter(counts) for fault, counts in found.items()})
        bench.wrong.update(wrong)


def main() -> int:
    """Try all faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points",
        type=float,
        default=1.0,
        help="how many points of each fault, times the usual number (default: 1)",
    )
    parser.add_argument("--only", nargs="+", default=GROUPS, choices=GROUPS)
    parser.add_argument("--jobs", type=int, default=1, help="groups at a time (default: 1)")
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the runs (default: removed)")
    args = parser.parse_args()
    for name in (
        "pcainit.pipeline.runner",
        "pcainit.output.publish",
        "pcainit.output.report",
        "pcainit.pipeline.routes.preview",
    ):
        importlib.import_module(name)  # once, before the forks
    with work_folder(args.keep) as work:
        bench = Bench(work, args.points)
        _try_all(bench, args.only, args.jobs)
    total = sum(sum(found.values()) for found in bench.found.values())
    bad = sum(len(wrong) for wrong in bench.wrong.values())
    deliver(
        "# Faults\n\n%s\n\n600 particles of 32 px, 24 A, all stages. Compared: volumes, "
        "components, masks, particles.star, every array of latents.npz and analysis.npz, "
        "summary.json apart from seconds.\n\n%s\n%d cases; lost or wrong: %s.\n"
        % (
            provenance(),
            markdown_table(["fault", "times tried", "outcome", "lost or wrong"], bench.rows()),
            total,
            bad or "nothing",
        ),
        args.output,
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
