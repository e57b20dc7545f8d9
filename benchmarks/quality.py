"""How good are the volumes?  All methods on sets with known truth, as markdown tables.

python benchmarks/quality.py SET... [--classes 4] [--methods particles,batches,simple] [--ceiling]
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from jobs import deliver, markdown_table, provenance, run_pcainit, show, work_folder
from results import Figures, ceiling, score_run
from truth_sets import TruthSet, load_set

# Figure -> how the table calls it, and how it is printed.
ROWS = {
    "corr_mean_mask": ("difference maps: mean correlation, inside the mask", "%.3f"),
    "corr_mask": ("- of each true state, inside the mask", "%.2f"),
    "corr_mean_whole": ("difference maps: mean correlation, whole box", "%.3f"),
    "corr_whole": ("- of each true state, whole box", "%.2f"),
    "fsc": ("- FSC with the true difference falls under 0.5 at (A)", "%.0f"),
    "ari": ("ARI (junk left out)", "%.3f"),
    "recalls": ("recall of each true state", "%.2f"),
    "recall": ("recall of the rarest state", "%.2f"),
    "precision": ("precision of the rarest state", "%.2f"),
    "captured": ("share of the between-state variance in the components", "%.2f"),
    "diversity": ("diversity: spread of the volumes over that of the truth", "%.2f"),
    "noise_diversity": ("pairwise differences over noise: least, median, largest", "%.1f"),
    "classes": ("classes found (copies left out)", "%d"),
    "weights": ("class weights", "%.3f"),
    "significant": ("certified components", "%d"),
    "cosines": ("half-set cosines", "%.2f"),
    "null": ("largest cosine that noise gives", "%.2f"),
    "artefact": ("share of each certified component in the nuisance span", "%.2f"),
    "contrast_sd": ("contrast sd estimated", "%.3f"),
    "shift_px": ("shift error estimated (px)", "%.2f"),
    "rotation_deg": ("rotation error estimated (degrees)", "%.2f"),
    "junk_found": ("junk found", "%.3f"),
    "good_lost": ("good particles set aside", "%.4f"),
    "seconds": ("seconds, whole process", "%.0f"),
    "memory": ("peak memory (MB)", "%.0f"),
}
LONGEST_LIST = 12  # a continuous set has more states than a table has room for
NOTE = """Correlations are of difference maps (each volume minus the weighted mean of all) with the
true ones (low-passed at the resolution), matched one to one; a state without a volume of its own
counts 0 in the mean, which is over %s. "True volumes" is the EM without alignment started from the
true maps, after 10 rounds: the ceiling; before any round its ARI is %s. Truth: populations %s,
contrast sd %.2f, shift error %.2f px, rotation error %.2f degrees.
"""


def main() -> None:
    """Run everything that was asked for, one job after the other."""
    args = _arguments()
    parts = ["# Quality\n", provenance(args.sets) + "\n"]
    with work_folder(args.keep) as work:
        for folder in args.sets:
            truth = load_set(folder, args.star, args.first, work)
            parts += [_benchmark(truth, args, work)]
            deliver("\n".join(parts), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="SET", help="folders with known truth")
    parser.add_argument("--resolution", type=float, default=20.0, help="A (default: 20)")
    parser.add_argument(
        "--classes",
        default="auto",
        help="a number, or auto (default); the "
        "methods that cannot decide are given the true number then",
    )
    parser.add_argument("--methods", default="particles,batches,simple")
    parser.add_argument("--seeds", default="0", help="for instance 0,1,2: medians are shown too")
    parser.add_argument("--star", default="particles.star", help="which STAR file of the set")
    parser.add_argument("--first", type=int, help="only so many particles")
    parser.add_argument(
        "--ceiling", action="store_true", help="also the same EM from the true volumes"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the runs' results (default: removed)")
    return parser.parse_args()


def _benchmark(truth: TruthSet, args: argparse.Namespace, work: Path) -> str:
    states = len(truth.maps)
    columns: list[tuple[str, Figures]] = []
    nuisance: dict | None = None
    for method in args.methods.split(","):
        if states < 2 and method != "particles":
            continue  # nothing to find, and these find something always
        runs = []
        for seed in args.seeds.split(","):
            figures, summary = _one(truth, method, seed, args, work)
            runs.append(figures)
            columns.append(("%s, seed %s" % (method, seed), figures))
            nuisance = nuisance or summary["nuisance"]
        if len(runs) > 1:
            columns.append(("%s, median" % method, median(runs)))
    floor: Figures = {}
    if args.ceiling and states > 1:
        wanted = _wanted(args.classes, states)
        floor, top = ceiling(truth, args.resolution, wanted, args.threads, nuisance)
        columns.append(("true volumes", top))
    title = "## %s: %d particles, %g A, classes %s" % (
        truth.name,
        len(truth.states),
        args.resolution,
        args.classes,
    )
    return "\n".join(
        [title, "", table_of(columns), _note(truth, args, floor), "\n".join(_verdicts(columns)), ""]
    )


def _wanted(classes: str, states: int) -> int:
    return states if classes == "auto" else min(int(classes), states)


def _one(
    truth: TruthSet, method: str, seed: str, args: argparse.Namespace, work: Path
) -> tuple[Figures, dict]:
    classes = args.classes
    if method != "particles" and classes == "auto":
        classes = str(len(truth.maps))
    options: list[Any] = [
        "--method",
        method,
        "--classes",
        classes,
        "--seed",
        seed,
        "--resolution",
        args.resolution,
        "--threads",
        args.threads,
    ]
    if method == "simple":  # as large as its users make them
        size = min(2500, len(truth.states) // int(classes))
        options += ["--particles-per-reconstruction", size]
    output = work / ("%s_%s_%s" % (truth.name.replace(", ", "_").replace(" ", ""), method, seed))
    summary, seconds, memory = run_pcainit(truth.star, output, truth.root, options)
    figures = score_run(truth, output, summary, _wanted(args.classes, len(truth.maps)))
    print(
        "%s %s seed %s: %d classes, ARI %.3f, correlation %s, %.0f s"
        % (
            truth.name,
            method,
            seed,
            figures["classes"],
            figures["ari"],
            show(figures.get("corr_mean_mask")),
            seconds,
        ),
        flush=True,
    )
    return dict(figures, seconds=seconds, memory=memory), summary


def median(runs: list[Figures]) -> Figures:
    """Median over seeds of every figure; of lists, if they are equally long, of each item."""
    out: dict[str, Any] = {}
    for name in runs[0]:
        values = [run.get(name) for run in runs]
        if name == "verdict" or any(v is None for v in values):
            continue
        if not isinstance(values[0], list):
            out[name] = float(np.median(values))
        elif len({len(v) for v in values}) == 1:
            out[name] = [_median_of_known(items) for items in zip(*values)]
    return out


def _median_of_known(items: tuple) -> float | None:
    known = [0.0 if item is None else item for item in items]
    return float(np.median(known)) if any(item is not None for item in items) else None


def table_of(columns: list[tuple[str, Figures]]) -> str:
    """Figures as rows, runs as columns; rows that nobody has are left out."""
    rows = []
    for name, (label, pattern) in ROWS.items():
        values = [figures.get(name) for _, figures in columns]
        if any(v is not None for v in values):
            rows.append([label] + [show(_short(v), pattern) for v in values])
    return markdown_table(["", *(name for name, _ in columns)], rows)


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        return [v for v in value if v is not None][:LONGEST_LIST]
    return value


def _note(truth: TruthSet, args: argparse.Namespace, floor: Figures) -> str:
    over = "%d classes" % _wanted(args.classes, len(truth.maps))
    populations = show(_short(truth.populations.tolist()), "%.3g")
    return NOTE % (
        over,
        show(floor.get("ari")),
        populations,
        truth.nuisance["contrast_sd"],
        truth.nuisance["shift_px"],
        truth.nuisance["rotation_deg"],
    )


def _verdicts(columns: list[tuple[str, Figures]]) -> list[str]:
    return [
        "- %s: %s" % (name, figures["verdict"]) for name, figures in columns if "verdict" in figures
    ]


if __name__ == "__main__":
    main()
