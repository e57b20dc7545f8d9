"""Make all figures of quality anew: every set at its resolutions, one run after the other.

python benchmarks/remake.py --records DIR --root SETS [--root ...] [NAME=FOLDER...] [--list]

A run that has a record of the engine as it is now is not made again, so that the command may be
stopped and started at will.  Sets that are not there are named and left out; those that `pcainit
simulate` makes are made and removed.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path

from jobs import deliver, markdown_table, provenance, show, work_folder
from plan import PLAN, Line, expand
from records import ENDS, HEADS, Column, Job, Store, field, rows_of, run_job

COLUMNS: tuple[Column, ...] = (
    *HEADS,
    ("options", field("options"), "%s"),
    ("certified, of sought", lambda run: [run["significant"], len(run["cosines"])], "%d"),
    ("analysis to (A)", field("analysis_resolution"), "%g"),
    ("classes, of states", lambda run: [run["classes"], run["states"]], "%d"),
    ("class sizes", lambda run: _short(run.get("sizes")), "%d"),
    ("contrast", field("contrast_sd"), "%.3f"),
    ("ARI", field("ari"), "%.3f"),
    ("of the oracle", field("oracle"), "%.3f"),
    ("with finer detail", field("oracle_fine"), "%.3f"),
    ("difference maps", field("corr_mean_mask"), "%.3f"),
    ("own state", field("own"), "%.3f"),
    ("states over 0.7", field("shown"), "%d"),
    *ENDS,
)
LONGEST_LIST = 16
NULLS = "**%d of %d runs with nothing to find gave a false alarm** (a component or a second class)."


def _short(sizes: list | None) -> list | None:
    return sizes[:LONGEST_LIST] if sizes else None


def main() -> None:
    """Run what is missing, write the tables after each run."""
    args = _arguments()
    words = [word for word in args.only.split(",") if word]
    plan = [line for line in PLAN if not words or {line.group, line.name} & set(words)]
    folders = find_sets(args.root, args.places)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    with work_folder(args.keep) as work:
        store = Store(args.records)
        jobs = list(expand(plan, folders, seeds, work))
        _say_what_is_missing(plan, [line for line, _ in jobs])
        if args.list:
            for _, job in jobs:
                print("%s  %s" % ("made  " if store.find(job) else "to make", job.key))
            return
        records: list[tuple[Line, dict]] = []
        failed: list[str] = []
        for line, job in jobs:
            if args.table:
                known = store.find(job)
                if known is not None:
                    records.append((line, known))
                continue
            record = _try(job, store, work, args, failed)
            if record is not None:
                records.append((line, record))
                if args.output:
                    Path(args.output).write_text(page(records, _command(args)), encoding="utf-8")
    deliver(page(records, _command(args)), args.output)
    if failed:
        raise SystemExit("Failed:\n%s" % "\n".join(failed))


def _try(
    job: Job, store: Store, work: Path, args: argparse.Namespace, failed: list[str]
) -> dict | None:
    """The record, or None when the run failed: the others are made all the same."""
    try:
        return run_job(job, store, work, args.threads, bool(args.keep))
    except SystemExit as error:
        failed.append("%s: %s" % (job.key, error))
        print(failed[-1], flush=True)
        return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "places", nargs="*", metavar="NAME=FOLDER", help="where a set is (or NAME=FILE.star)"
    )
    parser.add_argument(
        "--root", action="append", default=[], help="folder of sets, by their names; several times"
    )
    parser.add_argument("--records", required=True, help="folder of the JSON files")
    parser.add_argument("--seeds", default="0", help="of the runs on given sets (default: 0)")
    parser.add_argument("--only", default="", help="groups or sets, such as real,B,fresh")
    parser.add_argument("--list", action="store_true", help="say what there is to do, do nothing")
    parser.add_argument("--table", action="store_true", help="of what is made already, do nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for results and simulated sets (default: removed)")
    return parser.parse_args()


def _command(args: argparse.Namespace) -> str:
    """Command and commit, without the paths of this machine."""
    command = provenance()
    for word in args.places:
        name, _, folder = word.partition("=")
        command = command.replace(word, "%s=SETS/%s" % (name, Path(folder).name))
    for root in args.root:
        command = command.replace("--root %s" % root, "--root SETS")
    return command


def find_sets(roots: list[str], places: list[str]) -> dict[str, Path]:
    """Set name -> folder: those under the roots, and those whose places are given.

    Parameters
    ----------
    roots : list of str
        The first that has a set of a name counts.
    places : list of str
        `NAME=FOLDER` or `NAME=FILE.star`, which count before.
    """
    folders: dict[str, Path] = {}
    for root in reversed(roots):
        for folder in sorted(Path(root).iterdir()):
            if (folder / "particles.star").exists():
                folders[folder.name] = folder
    for word in places:
        name, _, folder = word.partition("=")
        if not folder or not Path(folder).exists():
            raise SystemExit("%r names no folder or STAR file: give NAME=FOLDER." % word)
        folders[name] = Path(folder)
    return folders


def _say_what_is_missing(plan: list[Line], there: list[Line]) -> None:
    missing = sorted({line.name for line in plan} - {line.name for line in there})
    if missing:
        print("Not there, left out: %s" % ", ".join(missing), flush=True)


def page(records: list[tuple[Line, dict]], command: str) -> str:
    """A table for each group of the plan, and how often something was found where nothing is.

    Parameters
    ----------
    records : list of (Line, dict)
    command : str
        The command, as the page gives it.
    """
    parts = ["# Quality of all sets\n", command + "\n"]
    groups: dict[str, list[dict]] = {}
    for line, record in records:
        groups.setdefault(line.group, []).append(record)
    for group, some in groups.items():
        filled = [c for c in COLUMNS if any(_has(record, c) for record in some)]
        parts += ["## %s\n" % group.capitalize()]
        parts += [markdown_table([head for head, _, _ in filled], rows_of(some, filled))]
        nulls = [record["figures"] for record in some if record["figures"]["states"] < 2]
        false = sum(run["significant"] > 0 or run["classes"] > 1 for run in nulls)
        parts += [NULLS % (false, len(nulls)) + "\n"] if nulls else []
    engines = sorted({record["engine"] for _, record in records})
    parts += ["Engine: %s." % show(engines, "%s"), ""]
    return "\n".join(parts)


def _has(record: dict, column: Column) -> bool:
    figures = dict(record["figures"], seed="", options="", set="", poses="", resolution=0)
    return column[1](figures) is not None


if __name__ == "__main__":
    main()
