"""How much longer the first run takes, whose kernels are not compiled yet.

python benchmarks/first_run.py PARTICLES.star [--runs 5] [--threads 2]

Runs with an empty folder of kernels and with the folder that the first left, in turn.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

from jobs import data_root, deliver, markdown_table, provenance, run_pcainit, work_folder


def main() -> None:
    """Run both in turn and print a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("particles", help="STAR file")
    parser.add_argument("--runs", type=int, default=5, help="medians of so many (default: 5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the results (default: removed)")
    args = parser.parse_args()
    star = Path(args.particles).resolve()
    seconds: dict[str, list[float]] = {"empty": [], "full": []}
    with work_folder(args.keep) as work:
        for number in range(args.runs):
            os.environ["PCAINIT_CACHE_DIR"] = str(work / ("kernels%d" % number))
            for kind in seconds:
                name = work / ("%s%d" % (kind, number))
                options = ["--threads", args.threads]
                seconds[kind].append(run_pcainit(star, name, data_root(star), options)[1])
    rows = [
        ["%s (s)" % kind, "%.1f (%.1f to %.1f)" % (statistics.median(v), min(v), max(v))]
        for kind, v in seconds.items()
    ]
    more = statistics.median(a - b for a, b in zip(seconds["empty"], seconds["full"]))
    rows.append(["longer (s)", "%.1f" % more])
    table = markdown_table(["folder of kernels", "whole job"], rows)
    deliver("# The first run\n\n%s\n\n%s" % (provenance(), table), args.output)


if __name__ == "__main__":
    main()
