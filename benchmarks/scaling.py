"""What one more thread gives in each step, and what 64 would by Amdahl's law.

python benchmarks/scaling.py PARTICLES.star [--classes 4] [--runs 5] [--threads 64]

The job is run on one and on two threads in turn.  A step that takes T1 and T2 seconds has the
serial share s = 2 T2 / T1 - 1, between 0 and 1; on n threads it would take T1 (s + (1 - s) / n).
On more processors than two this is the model's word and no measurement.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Dict

from jobs import data_root, deliver, markdown_table, provenance, run_pcainit, work_folder

Steps = Dict[str, float]


def main() -> None:
    """Run both in turn and print a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("particles", help="STAR file")
    parser.add_argument("--classes", default="4")
    parser.add_argument("--runs", type=int, default=5, help="medians of so many (default: 5)")
    parser.add_argument("--threads", type=int, default=64, help="to tell of (default: 64)")
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the results (default: removed)")
    args = parser.parse_args()
    star = Path(args.particles).resolve()
    runs: dict[int, list[Steps]] = {1: [], 2: []}
    peaks: dict[int, list[float]] = {1: [], 2: []}
    with work_folder(args.keep) as work:
        for number in range(args.runs + 1):
            for threads in runs:
                options = ["--classes", args.classes, "--threads", threads]
                name = work / ("run%d_%d" % (number, threads))
                summary, whole, peak = run_pcainit(star, name, data_root(star), options)
                if number:  # the first compiles, and brings the images into memory
                    steps = dict(summary["seconds"])
                    steps["start and end"] = max(whole - sum(steps.values()), 0.0)
                    runs[threads].append(steps)
                    peaks[threads].append(peak)
    deliver(_page(runs, peaks, args.threads), args.output)


def serial_share(one: float, two: float) -> float:
    """Of a step that takes so long on one and on two threads."""
    return min(max(2 * two / max(one, 1e-9) - 1, 0.0), 1.0)


def _page(runs: dict[int, list[Steps]], peaks: dict[int, list[float]], threads: int) -> str:
    names = list(runs[1][0])
    one, two = (
        {name: statistics.median(steps[name] for steps in runs[k]) for name in names}
        for k in (1, 2)
    )
    share = {name: serial_share(one[name], two[name]) for name in names}
    many = {name: one[name] * (share[name] + (1 - share[name]) / threads) for name in names}
    total = sum(many.values())
    rows = [
        [
            name,
            "%.2f" % one[name],
            "%.2f" % two[name],
            "%.2f" % share[name],
            "%.2f" % many[name],
            "%.2f" % (one[name] * share[name] / total),
        ]
        for name in names
    ]
    rows.append(
        [
            "all",
            "%.2f" % sum(one.values()),
            "%.2f" % sum(two.values()),
            "%.2f" % serial_share(sum(one.values()), sum(two.values())),
            "%.2f" % total,
            "",
        ]
    )
    head = ["step", "1 thread (s)", "2 threads (s)", "serial share"]
    head += ["%d threads by the model (s)" % threads, "its serial part of that job"]
    peak = {k: statistics.median(values) for k, values in peaks.items()}
    text = (
        "\n%.1f times as fast on %d threads by the model. "
        "Peak memory %.0f MB on one thread, %.0f MB on two.\n"
    )
    return "# Scaling\n\n%s\n\n%s%s" % (
        provenance(),
        markdown_table(head, rows),
        text % (sum(one.values()) / total, threads, peak[1], peak[2]),
    )


if __name__ == "__main__":
    main()
