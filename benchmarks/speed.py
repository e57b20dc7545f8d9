"""How long the job takes, against reading and transforming the same images.

python benchmarks/speed.py PARTICLES.star [--classes 4] [--runs 5]

The floor is a plain loop over the stack: mrcfile's memory map, chunks as float32, scipy's rfft2
with as many workers as the job has threads.  Floor, job and job without the search of small regions
are run in turn, as processes of their own, so that a drift of the machine's speed meets all.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from jobs import (
    data_root,
    deliver,
    markdown_table,
    provenance,
    run_measured,
    run_pcainit,
    work_folder,
)

CHUNK = 256
STAGES = ("prepare", "reconstruct", "components", "cluster", "volumes", "write")


def main() -> None:
    """Run all in turn and print a page."""
    args = _arguments()
    if args.floor:
        _floor(args.particles, args.threads)
        return
    runs: list[dict[str, Any]] = []
    with work_folder(args.keep) as work:
        _once(args, work, "warm")  # kernels compiled, images in the page cache
        for number in range(args.runs):
            runs.append(_once(args, work, "run%d" % number))
            deliver(_page(runs, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("particles", help="STAR file whose images lie in one stack")
    parser.add_argument("--resolution", default="20")
    parser.add_argument("--classes", default="4")
    parser.add_argument("--runs", type=int, default=5, help="medians of so many (default: 5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the results (default: removed)")
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _floor(star: str, threads: int) -> None:
    """Read every image and transform it."""
    import mrcfile
    import numpy as np
    from scipy import fft

    from pcainit.io.particle_table import ParticleTable
    from pcainit.io.star import read_particles

    particles = read_particles(ParticleTable(star))
    if len(particles.stacks) != 1:
        raise SystemExit(
            "%s names %d stacks: give one whose images lie in one stack."
            % (star, len(particles.stacks))
        )
    begin = time.perf_counter()
    with mrcfile.mmap(particles.stacks[0], mode="r", permissive=True) as stack:
        for first in range(0, len(stack.data), CHUNK):
            fft.rfft2(np.asarray(stack.data[first : first + CHUNK], np.float32), workers=threads)
    print("seconds %.6f" % (time.perf_counter() - begin))


def _once(args: argparse.Namespace, work: Path, name: str) -> dict[str, Any]:
    star = Path(args.particles).resolve()
    log = work / (name + "_floor.log")
    run_measured([sys.executable, __file__, "--floor", str(star), "--threads", args.threads], log)
    floor = float(log.read_text().split("seconds")[-1])
    options = [
        "--resolution",
        args.resolution,
        "--classes",
        args.classes,
        "--threads",
        args.threads,
    ]
    root = data_root(star)
    summary, whole, memory = run_pcainit(star, work / name, root, options)
    _, rest, _ = run_pcainit(
        star, work / (name + "_nosearch"), root, [*options, "--no-local-search"]
    )
    return dict(
        floor=floor,
        whole=whole,
        rest=rest,
        memory=memory,
        count=summary["particles"],
        seconds=summary["seconds"],
    )


def _page(runs: list[dict[str, Any]], args: argparse.Namespace) -> str:
    def middle(values: list[float], pattern: str = "%.1f") -> str:
        return (pattern + " (" + pattern + " to " + pattern + ")") % (
            statistics.median(values),
            min(values),
            max(values),
        )

    count = runs[0]["count"]
    rows = [
        ["floor: read and transform all images (s)", middle([r["floor"] for r in runs])],
        ["whole job, process start included (s)", middle([r["whole"] for r in runs])],
        ["without the search of small regions (s)", middle([r["rest"] for r in runs])],
        ["whole job over the floor", middle([r["whole"] / r["floor"] for r in runs])],
        ["without the search over the floor", middle([r["rest"] / r["floor"] for r in runs])],
        [
            "search over the rest of the job",
            middle([(r["whole"] - r["rest"]) / r["rest"] for r in runs], "%.2f"),
        ],
        ["images per second, whole job", middle([count / r["whole"] for r in runs], "%.0f")],
        ["peak memory (MB)", middle([r["memory"] for r in runs], "%.0f")],
    ]
    rows += [
        ["- %s (s)" % stage, middle([r["seconds"].get(stage, 0.0) for r in runs])]
        for stage in STAGES
    ]
    return (
        "# Speed\n\n%s\n\n%d images, %d threads, %s A, %s classes; median of %d runs in turn "
        "(least to most).\n\n%s"
        % (
            provenance([args.particles]),
            count,
            args.threads,
            args.resolution,
            args.classes,
            len(runs),
            markdown_table(["", "seconds or as named"], rows),
        )
    )


if __name__ == "__main__":
    main()
