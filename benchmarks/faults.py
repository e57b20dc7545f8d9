"""Runs that are killed, and what becomes of them when the same command is given again.

python benchmarks/faults.py [--points 2]

Each stage of the job is killed (SIGKILL to its process group) at so many of its events: files
written, replaced, removed.  It is then given again, the rest follows, and all results are compared
bit by bit with those of an undisturbed run; "lost" must be nothing.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import List, Tuple

import fault_tools
import numpy as np
from jobs import deliver, markdown_table, provenance, work_folder


def main() -> None:
    """Kill, continue, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=2, help="of each stage (default: 2)")
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the runs (default: removed)")
    args = parser.parse_args()
    with work_folder(args.keep) as work:
        fault_tools.succeed(["simulate", work / "set", "--particles", "1500", "--box", "32",
                             "--sampling", "6", "--snr", "0.15", "--populations", "0.6,0.4"])
        example = fault_tools.Example(work / "set" / "particles.star", ["--resolution", "22"])
        reference = _undisturbed(example, work / "undisturbed")
        (work / "cases").mkdir()
        found, wrong = _kill_stages(example, work / "cases", reference, args.points)
    rows = [["stage killed and given again", str(sum(found.values())),
             ", ".join("%s: %d" % pair for pair in found.items()), "; ".join(wrong) or "nothing"]]
    deliver("# Faults\n\n%s\n\n%s" % (provenance(), markdown_table(
        ["fault", "times tried", "outcome", "lost or wrong"], rows)), args.output)


def _undisturbed(example: fault_tools.Example, folder: Path) -> dict:
    for words in example.stages(folder / "work", folder / "result"):
        fault_tools.succeed(words)
    return fault_tools.results(folder / "result")


def _kill_stages(example: fault_tools.Example, folder: Path, reference: dict, most: int
                 ) -> Tuple[Counter, List[str]]:
    """Kill each stage at up to `most` of its events."""
    found, wrong = Counter(), []
    chain = example.stages(folder / "count" / "work", folder / "count" / "result")
    counts = [fault_tools.succeed(words) for words in chain]
    for stage, count in enumerate(counts):
        for point in sorted(set(np.linspace(1, count, most + 2).astype(int)[1:-1].tolist())):
            lost = fault_tools.killed_stage(example, folder / "killed", reference, stage, point)
            found["other result" if lost else "same result"] += 1
            wrong += lost
    return found, wrong


if __name__ == "__main__":
    main()
