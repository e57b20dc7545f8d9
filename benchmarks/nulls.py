"""False alarms: the default job on homogeneous sets that have all the defects of real data.

python benchmarks/nulls.py [--sets 6] [--states] [--given] [--real]

--states: real states, same defects.  --given: a second job starts from the components of the
first, which are fitted to the same particles as those of any other program would be.
--real: images also have neighbours, a smooth background and RELION's normalisation, and poses are
refined against their own noise.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any, Tuple

from jobs import deliver, markdown_table, provenance, run_measured, run_pcainit, show, work_folder
from results import Figures, score_run
from truth_sets import TruthSet, load_set

STATES = "0.6,0.3,0.1"
DEFECTS = {
    "--contrast-sd": [0.2],
    "--pose-error": [2, 0.7],
    "--preferred-views": [0.5],
    "--junk": [0.03],
    "--coloured": [],
}
SURROUNDINGS = {"--crowding": [0.4], "--background": [0.3], "--normalised": [], "--refined": []}
NUISANCES = (
    ("contrast_sd", "contrast sd", "%.3f"),
    ("shift_px", "shift error (px)", "%.2f"),
    ("rotation_deg", "rotation error (degrees)", "%.2f"),
)
Column = Tuple[str, Any, str]  # head, figure (a function of a run), how it is printed


def main() -> None:
    """Simulate, run and count."""
    args = _arguments()
    runs: list[Figures] = []
    with work_folder(args.keep) as work:
        for seed in range(args.first_seed, args.first_seed + args.sets):
            runs.append(_one(seed, args, work))
            deliver(_page(runs, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=6, help="how many (default: 6)")
    parser.add_argument("--first-seed", type=int, default=100, help="default: 100")
    parser.add_argument(
        "--states",
        action="store_true",
        help="three states, populations %s, in the same conditions" % STATES,
    )
    parser.add_argument(
        "--given",
        action="store_true",
        help="score a second job, started from the components of the first",
    )
    parser.add_argument("--particles", type=int, default=5000)
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument(
        "--real",
        action="store_true",
        help="also neighbours, background, "
        "normalised images and poses refined against their own noise",
    )
    parser.add_argument(
        "--without",
        default="",
        help="defects to leave out, for instance junk,crowding (to see which one is at fault)",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for sets and results (default: removed)")
    return parser.parse_args()


def _one(seed: int, args: argparse.Namespace, work: Path) -> Figures:
    folder, output = work / ("set%d" % seed), work / ("run%d" % seed)
    command: list[Any] = [
        sys.executable,
        "-m",
        "pcainit",
        "simulate",
        folder,
        "--seed",
        seed,
        "--particles",
        args.particles,
        "--box",
        64,
        "--sampling",
        5,
        "--snr",
        args.snr,
        "--populations",
        STATES if args.states else "1",
    ]
    for words in _defects(args):
        command += words
    run_measured(command, work / "simulate.log")
    truth = load_set(folder)
    options = ["--resolution", 20, "--threads", args.threads]
    summary, seconds, memory = run_pcainit(truth.star, output, truth.root, options)
    first = output
    if args.given:
        output = work / ("given%d" % seed)
        found = sorted((first / "components").glob("component_*.mrc"))
        summary, seconds, memory = run_pcainit(
            truth.star, output, truth.root, [*options, "--given-components", *found]
        )
    figures = score_run(truth, output, summary, len(truth.maps))
    figures.update(seed=seed, seconds=seconds, memory=memory, true=_true(truth))
    if not args.keep:
        shutil.rmtree(folder)
        for used in {first, output}:
            shutil.rmtree(used)
    return figures


def _defects(args: argparse.Namespace) -> list[list[Any]]:
    """Options of the defects that are asked for, each with its values."""
    every = {**DEFECTS, **(SURROUNDINGS if args.real else {})}
    return [
        [flag, *values] for flag, values in every.items() if flag[2:] not in args.without.split(",")
    ]


def _true(truth: TruthSet) -> dict:
    return dict(truth.nuisance, weights=truth.populations.tolist())


def _page(runs: list[Figures], args: argparse.Namespace) -> str:
    kind = "Three states with the defects of real data" if args.states else "False alarms"
    kind += ", from given components" if args.given else ""
    columns = _columns(args.states)
    rows = [[show(figure(run), pattern) for _, figure, pattern in columns] for run in runs]
    return "\n".join(
        [
            "# %s\n" % kind,
            provenance() + "\n",
            _recipe(args),
            "",
            markdown_table([head for head, _, _ in columns], rows),
            _conclusion(runs, args.states),
            "",
            *("- seed %d: %s" % (run["seed"], run["verdict"]) for run in runs),
            "",
        ]
    )


def _recipe(args: argparse.Namespace) -> str:
    left = [" ".join(map(str, words))[2:] for words in _defects(args)]
    return (
        "Each row: `pcainit simulate`, %d particles of 64 px at 5 A, SNR %g, %s; then `pcainit "
        "run` with its defaults (20 A, classes auto)%s. Estimates are followed by the truth."
        % (
            args.particles,
            args.snr,
            ", ".join(left),
            ", then again with all components of "
            "that run as `--given-components`: the second run is shown"
            if args.given
            else "",
        )
    )


def _columns(states: bool) -> list[Column]:
    def field(name: str) -> Any:
        return lambda run: run.get(name)

    columns: list[Column] = [
        ("seed", field("seed"), "%d"),
        ("classes", field("classes"), "%d"),
        ("certified", field("significant"), "%d"),
        ("largest half-set cosines", lambda run: run["cosines"][:4], "%.2f"),
        ("null", field("null"), "%.2f"),
    ]
    if states:
        columns += [
            ("class weights", field("weights"), "%.2f"),
            ("ARI", field("ari"), "%.3f"),
            ("difference maps, mask", field("corr_mask"), "%.2f"),
            ("mean", field("corr_mean_mask"), "%.2f"),
            ("captured", field("captured"), "%.2f"),
        ]
    columns += [("nuisance share of certified", field("artefact"), "%.2f")]
    for name, label, pattern in NUISANCES:
        columns.append((label, lambda run, name=name: [run[name], run["true"][name]], pattern))
    return columns + [
        ("junk found", field("junk_found"), "%.3f"),
        ("good lost", field("good_lost"), "%.4f"),
        ("seconds", field("seconds"), "%.0f"),
        ("MB", field("memory"), "%.0f"),
    ]


def _conclusion(runs: list[Figures], states: bool) -> str:
    close = {
        label: sum(abs(run[name] - run["true"][name]) <= 0.2 * run["true"][name] for run in runs)
        for name, label, _ in NUISANCES
    }
    sentences = [
        "Within 20 %% of the truth: %s, of %d sets."
        % (
            ", ".join("%s %d" % (label.split(" (")[0], count) for label, count in close.items()),
            len(runs),
        )
    ]
    if states:
        right = sum(run["classes"] == len(run["true"]["weights"]) for run in runs)
        clean = sum(max(run["artefact"], default=0) <= 0.05 for run in runs)
        sentences.append(
            "The right number of classes in %d of %d sets; no certified component "
            "with over 5 %% in the nuisance span in %d." % (right, len(runs), clean)
        )
    else:
        false = sum(run["significant"] > 0 or run["classes"] > 1 for run in runs)
        sentences.insert(
            0,
            "**%d of %d sets gave a false alarm** (a certified component or more "
            "than one class)." % (false, len(runs)),
        )
    return " ".join(sentences)


if __name__ == "__main__":
    main()
