"""The five-step method as a whole against RELION's reconstructions of as many batches alone.

python benchmarks/batch_speed.py SET/particles.star [--resolution 20] [--runs 5]

`pcainit run --method batches` against `relion_reconstruct --ctf` on random batches of the same
particles.  A few of RELION's are timed and multiplied: it needs the same time for each.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import random
import shutil
import statistics
from pathlib import Path
from typing import Any, Dict

from jobs import (
    data_root,
    deliver,
    markdown_table,
    provenance,
    run_measured,
    run_pcainit,
    work_folder,
)

Run = Dict[str, Any]


def main() -> None:
    """Both in turn; the page grows with each run."""
    args = _arguments()
    if shutil.which("relion_reconstruct") is None:
        print("RELION (relion_reconstruct) is not installed: nothing to compare with. Skipped.")
        return
    star, runs = Path(args.particles).resolve(), []
    root = data_root(star)
    with work_folder(args.keep) as work:
        _ours(star, root, work / "warm", args)  # kernels compiled, images in the page cache
        for number in range(args.runs):
            run = _ours(star, root, work / ("run%d" % number), args)
            runs.append(dict(run, **_theirs(star, root, work, number, args)))
            deliver(_page(runs, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("particles", help="RELION particle STAR file with poses and CTF")
    parser.add_argument("--resolution", default="20", help="A (default: 20)")
    parser.add_argument("--classes", default="4")
    parser.add_argument("--reconstructions", type=int, default=100)
    parser.add_argument("--size", type=int, default=300, help="particles in each (default: 300)")
    parser.add_argument("--timed", type=int, default=5, help="of RELION's, per run (default: 5)")
    parser.add_argument("--runs", type=int, default=5, help="medians of so many (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="ours; RELION's program has one")
    parser.add_argument(
        "--relion",
        default="",
        help="further options of relion_reconstruct, as "
        "one word with = before it, for instance --relion='--skip_gridding'",
    )
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the results (default: removed)")
    return parser.parse_args()


def _ours(star: Path, root: Path, output: Path, args: argparse.Namespace) -> Run:
    summary, seconds, memory = run_pcainit(
        star,
        output,
        root,
        [
            "--method",
            "batches",
            "--reconstructions",
            args.reconstructions,
            "--particles-per-reconstruction",
            args.size,
            "--resolution",
            args.resolution,
            "--classes",
            args.classes,
            "--threads",
            args.threads,
        ],
    )
    return dict(
        ours=seconds,
        our_memory=memory,
        seconds=summary["seconds"],
        box=summary["box"],
        working_box=summary["working_box"],
        count=summary["particles"],
    )


def _theirs(star: Path, root: Path, work: Path, number: int, args: argparse.Namespace) -> Run:
    """Seconds of each of some reconstructions."""
    seconds, memory = [], 0.0
    for k in range(args.timed):
        batch = work / ("batch_%d_%d.star" % (number, k))
        _write_batch(star, batch, args.size, random.Random(1000 * number + k))
        taken, used = run_measured(
            [
                "relion_reconstruct",
                "--i",
                batch,
                "--o",
                batch.with_suffix(".mrc"),
                "--ctf",
                "--maxres",
                args.resolution,
                *args.relion.split(),
            ],
            batch.with_suffix(".log"),
            root,
        )
        seconds.append(taken)
        memory = max(memory, used)
    return dict(theirs=sum(seconds) / len(seconds), their_memory=memory)


def _write_batch(star: Path, target: Path, size: int, rng: random.Random) -> None:
    """A STAR file with some of the rows of another, chosen at random."""
    lines = star.read_text().splitlines(keepends=True)
    rows = [k for k, line in enumerate(lines) if "@" in line]
    dropped = set(rows) - set(rng.sample(rows, size))
    target.write_text("".join(line for k, line in enumerate(lines) if k not in dropped))


def _page(runs: list[Run], args: argparse.Namespace) -> str:
    def middle(values: list[float], pattern: str = "%.1f") -> str:
        return (pattern + " (" + pattern + " to " + pattern + ")") % (
            statistics.median(values),
            min(values),
            max(values),
        )

    total = [r["theirs"] * args.reconstructions for r in runs]
    rows = [
        ["`pcainit run --method batches`, whole process (s)", middle([r["ours"] for r in runs])],
        ["- reading and cropping the images (s)", middle([r["seconds"]["prepare"] for r in runs])],
        [
            "- consensus and all reconstructions (s)",
            middle([r["seconds"]["reconstruct"] for r in runs]),
        ],
        ["one `relion_reconstruct` (s)", middle([r["theirs"] for r in runs], "%.2f")],
        ["%d of them (s)" % args.reconstructions, middle(total)],
        [
            "RELION's reconstructions over our whole job",
            middle([t / r["ours"] for t, r in zip(total, runs)]),
        ],
        [
            "the same, %d of RELION's side by side at no loss" % args.threads,
            middle([t / args.threads / r["ours"] for t, r in zip(total, runs)]),
        ],
        ["peak memory of ours (MB)", middle([r["our_memory"] for r in runs], "%.0f")],
        ["peak memory of RELION's (MB)", middle([r["their_memory"] for r in runs], "%.0f")],
    ]
    first = runs[0]
    return (
        "# Speed of the batch method\n\n%s\n\n%d particles of %d px (working box %d), %d "
        "reconstructions of %d at %s A; median of %d runs in turn (least to most). Ours on %d "
        "threads, from reading all images to the report. RELION's program runs on one thread: %d "
        "reconstructions of random batches are timed in each run, their mean stands for all %d; "
        "PCA, clusters and averages would come on top. Its options are the program's defaults "
        "(padding 2, gridding correction)%s.\n\n%s"
        % (
            provenance([args.particles]),
            first["count"],
            first["box"],
            first["working_box"],
            args.reconstructions,
            args.size,
            args.resolution,
            len(runs),
            args.threads,
            args.timed,
            args.reconstructions,
            args.relion and ", but for `%s`" % args.relion,
            markdown_table(["", "seconds or as named"], rows),
        )
    )


if __name__ == "__main__":
    main()
