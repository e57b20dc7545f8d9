"""Right verdicts on real particles?  The defaults on a homogeneous set, its positives and twins.

python benchmarks/real.py FOLDER [--symmetry o] [--resolutions 20,15,12] [--mass 480]

FOLDER holds the particles.star, stack and consensus.mrc of a real homogeneous molecule; the sets
are made by real_sets.py.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Tuple

from jobs import deliver, markdown_table, provenance, run_pcainit, show, work_folder
from oracle import oracle_labels
from real_sets import (
    RealSet,
    make_expanded,
    make_given,
    make_positive,
    make_random,
    make_twin,
    parse_density,
    read_real,
)
from results import Figures, score_run
from scores import agreement
from truth_sets import load_set

POSITIVES = ("outside:60:0.4", "outside:20:0.15", "cavity:60:0.4", "subunit:18:0.4")
CONTRAST, POSE_ERROR = 0.1, (1.5, 0.5)  # of the worst twin: sd; degrees and pixels per axis
# Share of the oracle's ARI from which classes count as the true ones, and share of the true
# difference from which components do.
FOUND, CAPTURED = 0.5, 0.3
Column = Tuple[str, Callable[[Figures], Any], str]  # head, figure, how it is printed
COLUMNS: list[Column] = [
    ("set", lambda run: run["name"], "%s"),
    ("A", lambda run: run["resolution"], "%g"),
    ("certified, of all", lambda run: [run["significant"], len(run["cosines"])], "%d"),
    ("classes", lambda run: run["classes"], "%d"),
    ("class sizes", lambda run: run["sizes"], "%d"),
    ("contrast", lambda run: run["contrast_sd"], "%.3f"),
    ("ARI", lambda run: run.get("ari"), "%.3f"),
    ("of the oracle", lambda run: run.get("oracle"), "%.3f"),
    ("true difference in the components", lambda run: run.get("captured"), "%.2f"),
    ("shares found (%)", lambda run: [100 * share for share in run["weights"]], "%.0f"),
    ("true", lambda run: [100 * share for share in run["true"]], "%.0f"),
    ("verdict", lambda run: run["judged"], "%s"),
    ("seconds", lambda run: run["seconds"], "%.0f"),
]
NOTE = """All sets hold the same %d particles. "As refined", "random" (each at a random one of its
equivalent poses) and "expanded" (at all of them) are real images with nothing to find; a twin is
the consensus at the same poses, CTF and places in white noise; a positive is the real images, a
density of so many kDa added to, or a subunit taken from, the given share of them, at random
equivalent poses. The oracle is told the true maps: each image goes to the likeliest of them, noise
whitened by the mean residual power of each shell up to the resolution, contrast and a constant
background fitted to each image under each map, and the true shares as priors. Nothing to find: any
certified component or second class is a **false alarm**. Something to find: *found* when ARI is
over %g of the oracle's; otherwise *certified* when the certified components hold over %g of the
true difference, *something else* when they do not, *missed* when none is certified.
"""


@dataclass(frozen=True)
class Case:
    """A run: on which set, how the table calls it, and with which further options.

    Parameters
    ----------
    name : str
    folder : str
        Of the set, which several cases may share.
    make : callable
        Writes the set into a folder.
    options : tuple of str
    """

    name: str
    folder: str
    make: Callable[[Path], None]
    options: tuple[str, ...] = ()


def main() -> None:
    """Make the sets, run on them, score."""
    args = _arguments()
    real, runs = read_real(args.folder, args.star), []
    with work_folder(args.keep) as work:
        for case in cases(real, args):
            if not any(word in case.name for word in args.only.split(",")):
                continue
            folder = work / case.folder
            if not (folder / "truth" / "truth.csv").is_file():
                case.make(folder)
            for resolution in args.resolutions.split(","):
                runs.append(_one(case, folder, float(resolution), args, work))
                deliver(_page(runs, args, len(real.particles)), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="particles.star, its stack, consensus.mrc"
    )
    parser.add_argument("--star", default="particles.star", help="which STAR file of the folder")
    parser.add_argument("--symmetry", default="c1", help="of the particles (default: c1)")
    parser.add_argument(
        "--mass",
        type=float,
        default=480.0,
        help="of the particle, kDa (default: 480, of ferritin's shell)",
    )
    parser.add_argument("--resolutions", default="20,15,12", help="A (default: 20,15,12)")
    parser.add_argument(
        "--positives",
        default=",".join(POSITIVES),
        help="kind:kDa:share of each, "
        "kinds outside, cavity and subunit (default: %s)" % ",".join(POSITIVES),
    )
    parser.add_argument(
        "--only",
        default="",
        help="sets with one of these words, for instance twin,cavity (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sets and of the runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument(
        "--keep",
        help="folder for sets and results (default: removed); sets that it has are used again",
    )
    return parser.parse_args()


def cases(real: RealSet, args: argparse.Namespace) -> list[Case]:
    """What to run, in the order of the table."""
    group, seed = args.symmetry, args.seed

    def given(folder: Path) -> None:
        make_given(real, folder)

    def at_random(folder: Path) -> None:
        make_random(real, folder, group, seed)

    def expanded(folder: Path) -> None:
        make_expanded(real, folder, group)

    out = [Case("as refined", "given", given)]
    if group.lower() != "c1":
        symmetric = ("--symmetry", group)
        words = ", --symmetry " + group
        out += [
            Case("as refined" + words, "given", given, symmetric),
            Case("random", "random", at_random),
            Case("random" + words, "random", at_random, symmetric),
            Case("expanded", "expanded", expanded),
        ]
    out += [
        _twin(real, seed, "twin", "twin0"),
        _twin(real, seed, "twin, neighbours", "twin1", neighbours=True),
        _twin(
            real,
            seed,
            "twin, neighbours, contrast %g, poses off by %g degrees and %g px"
            % (CONTRAST, *POSE_ERROR),
            "twin2",
            neighbours=True,
            contrast=CONTRAST,
            pose_error=POSE_ERROR,
        ),
    ]
    return out + [_positive(real, args, word) for word in filter(None, args.positives.split(","))]


def _twin(real: RealSet, seed: int, name: str, folder: str, **options: Any) -> Case:
    return Case(name, folder, lambda path: make_twin(real, path, seed=seed, **options))


def _positive(real: RealSet, args: argparse.Namespace, word: str) -> Case:
    density = parse_density(word)
    where = {"cavity": "in the cavity", "subunit": "taken away"}.get(density[0], density[0])
    name = "positive: %g kDa %s, %g %%" % (density[1], where, 100 * density[2])
    return Case(
        name,
        word.replace(":", "_"),
        lambda path: make_positive(real, path, [density], args.mass, args.symmetry, args.seed),
    )


def _one(
    case: Case, folder: Path, resolution: float, args: argparse.Namespace, work: Path
) -> Figures:
    truth = load_set(folder)
    output = work / (
        "run_%s%s_%g" % (case.folder, "_symmetric" if case.options else "", resolution)
    )
    summary, seconds, _ = run_pcainit(
        truth.star,
        output,
        truth.root,
        ["--resolution", resolution, "--seed", args.seed, "--threads", args.threads, *case.options],
    )
    figures = score_run(truth, output, summary, len(truth.maps))
    figures.update(
        name=case.name,
        resolution=resolution,
        seconds=seconds,
        sizes=summary["class_sizes"],
        true=truth.populations.tolist(),
    )
    if len(truth.maps) > 1:
        figures["oracle"] = agreement(truth.states, oracle_labels(truth, resolution, args.threads))
    else:
        del figures["ari"]  # of one state it is 0 or 1
    figures["judged"] = judge(figures)
    print("%s, %g A: %s" % (case.name, resolution, figures["judged"]), flush=True)
    return figures


def judge(run: Figures) -> str:
    """A run's verdict in a word or two, against the truth."""
    certified = run["significant"] > 0
    if "oracle" not in run:
        return "**false alarm**" if certified or run["classes"] > 1 else "none: right"
    if certified and run["ari"] > FOUND * run["oracle"]:
        return "found"
    if not certified:
        return "missed"
    return "certified" if (run.get("captured") or 0) > CAPTURED else "something else"


def _page(runs: list[Figures], args: argparse.Namespace, count: int) -> str:
    rows = [[show(figure(run), pattern) for _, figure, pattern in COLUMNS] for run in runs]
    nulls = [run for run in runs if "oracle" not in run]
    positives = [run for run in runs if "oracle" in run]
    total: dict[str, int] = {
        word: sum(run["judged"] == word for run in runs)
        for word in ("**false alarm**", "found", "certified", "something else", "missed")
    }
    ending = (
        "**%d of %d runs with nothing to find gave a false alarm; of %d with something, %d "
        "found it, %d certified it without its classes, %d found something else, %d "
        "nothing.**"
        % (
            total["**false alarm**"],
            len(nulls),
            len(positives),
            total["found"],
            total["certified"],
            total["something else"],
            total["missed"],
        )
    )
    return "\n".join(
        [
            "# Real particles\n",
            provenance([str(args.folder)]) + "\n",
            NOTE % (count, FOUND, CAPTURED),
            markdown_table([head for head, _, _ in COLUMNS], rows),
            ending,
            "",
            *("- %s, %g A: %s" % (run["name"], run["resolution"], run["verdict"]) for run in runs),
            "",
        ]
    )


if __name__ == "__main__":
    main()
