"""Runs over sets, poses, resolutions and seeds, and the table of them."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import itertools
import shlex
from pathlib import Path
from typing import Sequence

from jobs import deliver, markdown_table, provenance, work_folder
from records import Column, Job, Store, rows_of, run_job


def add_sweep_arguments(parser: argparse.ArgumentParser, resolutions: str = "20") -> None:
    """Options that commands which run over sets have in common.

    Parameters
    ----------
    parser : ArgumentParser
    resolutions : str
        Their default.
    """
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET", help="folders of known truth")
    parser.add_argument(
        "--resolutions", default=resolutions, help="A (default: %s)" % resolutions.replace("%", "")
    )
    parser.add_argument("--seeds", default="0", help="for instance 0,1,2: medians are shown too")
    parser.add_argument(
        "--stars",
        default="particles.star,particles_poseerr.star",
        help="STAR files of the sets; one that a set lacks is left out (default: %(default)s)",
    )
    parser.add_argument(
        "--pose-error",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("DEG", "PX"),
        help="disturb the recorded poses by so much per axis",
    )
    parser.add_argument("--first", type=int, help="only so many particles")
    parser.add_argument("--options", default="", help="further ones of pcainit run, in quotes")
    add_store_arguments(parser)


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Where figures and results are kept."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument(
        "--records",
        help="folder for a JSON file of each run (figures, command, commit, machine); those of "
        "the same engine are used again (default: in the folder of --keep, or removed)",
    )
    parser.add_argument("--keep", help="folder for the runs' results (default: removed)")


def jobs_of(args: argparse.Namespace) -> list[Job]:
    """Every combination of set, STAR file, resolution and seed that there is."""
    out = []
    for folder, star in itertools.product(args.sets, args.stars.split(",")):
        if not (folder / star).is_file():
            continue
        for resolution, seed in itertools.product(
            args.resolutions.split(","), args.seeds.split(",")
        ):
            job = Job(
                folder.resolve().name,
                folder,
                star,
                float(resolution),
                int(seed),
                tuple(shlex.split(args.options)),
                tuple(args.pose_error),
                args.first,
            )
            out.append(job)
    if not out:
        raise SystemExit(
            "None of %s is in %s: name the STAR files with --stars."
            % (args.stars, ", ".join(map(str, args.sets)))
        )
    return out


def run_sweep(
    args: argparse.Namespace, jobs: Sequence[Job], title: str, columns: Sequence[Column], note: str
) -> list[dict]:
    """Run all jobs in turn; the page is written after each.

    Parameters
    ----------
    args : Namespace
    jobs : list of Job
    title : str
    columns : list of Column
    note : str
        What the columns mean.

    Returns
    -------
    list of dict
        The records.
    """
    records: list[dict] = []
    with work_folder(args.keep) as work:
        store = Store(Path(args.records) if args.records else work / "records")
        for job in jobs:
            records.append(run_job(job, store, work, args.threads, bool(args.keep)))
            page = [
                "# %s\n" % title,
                provenance(map(str, getattr(args, "sets", ()))) + "\n",
                note,
                markdown_table([head for head, _, _ in columns], rows_of(records, columns)),
            ]
            deliver("\n".join(page), args.output)
    return records
