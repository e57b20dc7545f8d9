"""What the data decided, beside what fixed choices would have given.

python benchmarks/decided.py --sets SET... [--components 2,4,8] [--classes 0.5,1,2] [--quick]

The defaults on each set of known truth, then the same with one choice after the other fixed: how
many components are sought, how fine the analysis goes, how many classes are made.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from jobs import deliver, markdown_table, provenance, show, work_folder
from records import HEADS, Column, Job, Store, field, figures_of, rows_of, run_job
from results import Figures
from sweeps import add_store_arguments
from truth_sets import load_set

QUICK = {"components": "2,8", "analysis": "1", "classes": "1"}
QUICK_SIZE = 3000  # particles of each set


def _certified(run: Figures) -> list[int]:
    return [run["significant"], len(run["cosines"])]


def _mask(run: Figures) -> str:
    return "%.0f%s" % (run["mask_nm3"], ", extended" if run["mask_grown"] else "")


def _classes(run: Figures) -> list[int]:
    return [run["classes"], run["states"]]


COLUMNS: tuple[Column, ...] = (
    *HEADS[:3],
    ("choice", field("options"), "%s"),
    ("certified, of sought", _certified, "%d"),
    ("analysis to (A)", field("analysis_resolution"), "%g"),
    ("mask (nm^3)", _mask, "%s"),
    ("classes, of states", _classes, "%d"),
    ("ARI", field("ari"), "%.3f"),
    ("own state", field("own"), "%.3f"),
    ("states over 0.7", field("shown"), "%d"),
    ("CPU seconds", field("cpu_seconds"), "%.0f"),
)
NOTE = """The first row of each set is the default: nothing given but the particles (and the
resolution of the volumes where it is not 20 A); the rows below it fix one choice and leave the
others to the data. Mask: its volume, and whether it was extended by what varies outside the mask of
the consensus. "Own state": mean over the images of the correlation of (class volume - consensus)
with (own true state - consensus) in a ball of 0.45 of the box; "states over 0.7": true states that
a volume shows with such a correlation. Homogeneous sets have no figures but what was found.
"""


def main() -> None:
    """Run the defaults and the sweep, write the page after each run."""
    args = _arguments()
    records: list[dict] = []
    with work_folder(args.keep) as work:
        store = Store(Path(args.records) if args.records else work / "records")
        for word in args.sets:
            automatic, result = _automatic(word, args)
            if result is None:
                records.append(run_job(automatic, store, work, args.threads, bool(args.keep)))
            else:
                records.append(_record_of(automatic, result))
            deliver(_page(records, args), args.output)
            for job in choices(automatic, records[-1]["figures"], args):
                records.append(run_job(job, store, work, args.threads, bool(args.keep)))
                deliver(_page(records, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sets",
        nargs="+",
        required=True,
        metavar="SET[@A][=RESULT]",
        help="folders of known truth; @8 for volumes at 8 A; =RESULT for a result of the defaults "
        "that is there already",
    )
    parser.add_argument("--star", default="particles.star", help="which STAR file of the sets")
    parser.add_argument("--components", default="2,4,8", help="how many (default: %(default)s)")
    parser.add_argument(
        "--analysis-resolution",
        dest="analysis",
        default="1,0.75",
        help="times the resolution of the volumes (default: %(default)s)",
    )
    parser.add_argument(
        "--classes",
        default="0.5,1,2",
        help="times the true number, which for homogeneous sets counts as 2 (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="the first %d particles of each set, and fewer choices" % QUICK_SIZE,
    )
    add_store_arguments(parser)
    args = parser.parse_args()
    if args.quick:
        for name, value in QUICK.items():
            if getattr(args, name) == parser.get_default(name):
                setattr(args, name, value)
    return args


def _automatic(word: str, args: argparse.Namespace) -> tuple[Job, Path | None]:
    """The job of the defaults, and where its result is if it is there already."""
    place, _, result = word.partition("=")
    folder, _, resolution = place.partition("@")
    path = Path(folder)
    known = (path / "truth" / "truth.csv").is_file()
    job = Job(
        path.resolve().name,
        path,
        args.star,
        float(resolution or 20),
        args.seed,
        first=QUICK_SIZE if args.quick and known else None,
    )
    return job, Path(result) if result else None


def choices(automatic: Job, found: Figures, args: argparse.Namespace) -> list[Job]:
    """The same job with one choice fixed at a time, without those that the data made themselves.

    Parameters
    ----------
    automatic : Job
    found : dict
        Figures of the automatic run.
    args : Namespace
    """
    options: list[tuple[str, str]] = []
    for number in filter(None, args.components.split(",")):
        options.append(("--components", number))
    for share in filter(None, args.analysis.split(",")):
        value = round(float(share) * automatic.resolution, 1)
        if abs(value - found["analysis_resolution"]) > 0.05 * value:
            options.append(("--analysis-resolution", "%g" % value))
    numbers = set()
    for times in filter(None, args.classes.split(",")):
        numbers.add(max(2, round(float(times) * max(found["states"], 2))))
    options += [("--classes", str(number)) for number in sorted(numbers)]
    return [dataclasses.replace(automatic, options=pair) for pair in options]


def _record_of(job: Job, result: Path) -> dict[str, Any]:
    """A record of a result that was made elsewhere."""
    known = (job.folder / "truth" / "truth.csv").is_file()
    truth = load_set(job.folder, job.star) if known else None
    summary = json.loads((result / "summary.json").read_text())
    figures = figures_of(truth, result, summary)
    figures["cpu_seconds"] = None
    return dict(
        set=job.name,
        poses=job.poses,
        resolution=summary["resolution"],
        seed=summary["seed"],
        options=[],
        figures=figures,
    )


def best_choice(records: list[dict]) -> str:
    """One line for each set of several states: the automatic figures and the best fixed ones."""
    lines = []
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        groups.setdefault((record["set"], record["resolution"]), []).append(record)
    for (name, resolution), group in groups.items():
        automatic, fixed = group[0]["figures"], group[1:]
        if automatic["states"] < 2 or not fixed:
            continue
        words = []
        for figure, label in (("ari", "ARI"), ("own", "own state")):
            best = max(fixed, key=lambda record: record["figures"][figure])
            words.append(
                "%s %.3f, best fixed choice %.3f (`%s`)"
                % (label, automatic[figure], best["figures"][figure], " ".join(best["options"]))
            )
        lines.append("- %s, %g A: automatic %s." % (name, resolution, "; ".join(words)))
    return "\n".join(lines)


def _page(records: list[dict], args: argparse.Namespace) -> str:
    verdicts = [
        "- %s, %g A: %s" % (record["set"], record["resolution"], show(record["figures"]["verdict"]))
        for record in records
        if not record["options"]
    ]
    command = provenance()
    for word in args.sets:  # without the paths of this machine
        job, _ = _automatic(word, args)
        at = "@%g" % job.resolution if "@" in word else ""
        command = command.replace(word, "SETS/" + job.name + at)
    return "\n".join(
        [
            "# What the data decided\n",
            command + "\n",
            NOTE,
            markdown_table([head for head, _, _ in COLUMNS], rows_of(records, COLUMNS)),
            best_choice(records),
            "",
            "Verdicts of the defaults:",
            "",
            *verdicts,
            "",
        ]
    )


if __name__ == "__main__":
    main()
