"""Does RELION end better?  Class3D without alignment, started from our volumes and from others.

python benchmarks/downstream.py SET [--first 10000] [--classes 4] [--seeds 0,1,2]
        [--starts particles,batches,simple,one,truth] [--limits none,20]
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import scores
from jobs import deliver, markdown_table, provenance, run_measured, run_pcainit, work_folder
from results import merged_maps
from truth_sets import TruthSet, load_set

from pcainit.io.maps import write_map
from pcainit.io.particle_table import ParticleTable

METHODS = ("particles", "batches", "simple")
STARTS = {
    "particles": "volumes of `particles`",
    "batches": "volumes of `batches`",
    "simple": "volumes of `simple`",
    "one": "one reference (the consensus)",
    "truth": "the true maps",
}
# What users set for Class3D without alignment; references are CTF-corrected.
ARGUMENTS = (
    "--ini_high",
    "20",
    "--tau2_fudge",
    "4",
    "--ctf",
    "--ctf_corrected_ref",
    "--skip_align",
    "--flatten_solvent",
    "--zero_mask",
    "--norm",
    "--scale",
    "--pad",
    "2",
    "--skip_gridding",
    "--oversampling",
    "0",
    "--preread_images",
    "--pool",
    "30",
    "--dont_combine_weights_via_disc",
)


def main() -> None:
    """One classification after the other; the table grows with each."""
    args = _arguments()
    if shutil.which("relion_refine") is None:
        print("RELION (relion_refine) is not installed: nothing to compare with. Skipped.")
        return
    seeds, starts = args.seeds.split(","), args.starts.split(",")
    rows: list[list[str]] = []
    limits = args.limits.split(",")
    with work_folder(args.keep) as work:
        truth = load_set(args.set, args.star, args.first, work)
        source = load_set(args.set, args.star) if args.volumes_of_all else truth
        for start in starts:
            for seed in seeds[:1] if start == "truth" else seeds:
                tag = "%s_%s" % (start, seed)
                references = _references(source, start, seed, args, work / tag)
                for limit in limits:
                    rows += _classify(
                        truth,
                        references,
                        start,
                        seed,
                        limit,
                        args,
                        work / ("%s_%s_class3d" % (tag, limit)),
                    )
                    deliver(_page(truth, rows, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", metavar="SET", help="folder with known truth")
    parser.add_argument("--star", default="particles.star", help="which STAR file of the set")
    parser.add_argument("--first", type=int, help="only so many particles")
    parser.add_argument(
        "--volumes-of-all",
        action="store_true",
        help="with --first: our volumes from all particles; RELION classifies the first ones",
    )
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--resolution", type=float, default=20.0, help="of our volumes, A")
    parser.add_argument("--starts", default=",".join(STARTS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--limits",
        default="none,20",
        help="RELION's --strict_highres_exp, A, one classification with each (default: none,20)",
    )
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--diameter", type=float, help="of RELION's mask, A (default: 0.94 x box)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for results (default: removed)")
    return parser.parse_args()


def _classify(
    truth: TruthSet,
    references: Path,
    start: str,
    seed: str,
    limit: str,
    args: argparse.Namespace,
    out: Path,
) -> list[list[str]]:
    out.mkdir(exist_ok=True)
    extent = truth.maps.shape[-1] * truth.sampling
    command: list[Any] = [
        "relion_refine",
        "--i",
        truth.star,
        "--o",
        out / "run",
        "--ref",
        references,
        "--iter",
        args.iterations,
        "--K",
        args.classes,
        "--particle_diameter",
        args.diameter or 0.94 * extent,
        "--j",
        args.threads,
        "--random_seed",
        seed,
        *ARGUMENTS,
    ]
    if limit != "none":
        command += ["--strict_highres_exp", limit]
    seconds, _ = run_measured(command, out.with_suffix(".log"), cwd=truth.root)
    rows = []
    for iteration in sorted({1, 5, 10, args.iterations} & set(range(args.iterations + 1))):
        labels = _labels(truth, out / ("run_it%03d_data.star" % iteration))
        recall, _ = scores.recall_and_precision(truth.states, labels)
        rows.append(
            [
                STARTS[start],
                seed,
                limit,
                str(iteration),
                "%.3f" % scores.agreement(truth.states, labels),
                " ".join("%.2f" % value for value in recall.values()),
                " ".join(map(str, sorted(np.bincount(labels)[1:].tolist(), reverse=True))),
                "%.0f" % seconds,
            ]
        )
        print(" | ".join(rows[-1]), flush=True)
    return rows


def _references(
    truth: TruthSet, start: str, seed: str, args: argparse.Namespace, place: Path
) -> Path:
    """One map, or a STAR file that lists K of them."""
    if start in METHODS:
        options = [
            "--method",
            start,
            "--classes",
            args.classes,
            "--seed",
            seed,
            "--resolution",
            args.resolution,
            "--threads",
            args.threads,
        ]
        if start == "simple":
            size = min(2500, len(truth.states) // args.classes)
            options += ["--particles-per-reconstruction", size]
        run_pcainit(truth.star, place, truth.root, options)
        return _list_of(sorted((place / "volumes").glob("class_*.mrc")), place / "references.star")
    place.mkdir(exist_ok=True)
    if start == "one":
        run_measured(
            [
                "relion_reconstruct",
                "--i",
                truth.star,
                "--o",
                place / "consensus.mrc",
                "--ctf",
                "--angpix",
                truth.sampling,
            ],
            place / "log",
            cwd=truth.root,
        )
        return place / "consensus.mrc"
    if start != "truth":
        raise SystemExit("%s is no start: choose among %s." % (start, ", ".join(STARTS)))
    maps, _ = merged_maps(truth, args.classes)
    for k, volume in enumerate(maps):
        write_map(place / ("class%02d.mrc" % k), volume, truth.sampling)
    return _list_of(sorted(place.glob("class*.mrc")), place / "references.star")


def _list_of(maps: list[Path], star: Path) -> Path:
    lines = ["", "# version 30001", "", "data_", "", "loop_", "_rlnReferenceImage #1"]
    star.write_text("\n".join([*lines, *map(str, maps), "", ""]))
    return star


def _labels(truth: TruthSet, star: Path) -> np.ndarray:
    """Class of each particle in the order of the set (RELION sorts them as it likes)."""
    table = ParticleTable(star)
    class_of: dict[str, int] = dict(
        zip(table.text("rlnImageName"), table.numbers("rlnClassNumber").astype(int).tolist())
    )
    return np.array([class_of[image] for image in ParticleTable(truth.star).text("rlnImageName")])


def _page(truth: TruthSet, rows: list[list[str]], args: argparse.Namespace) -> str:
    diameter: float | None = args.diameter
    text = (
        "RELION Class3D without alignment on %s (%d particles), K = %d, mask diameter %.0f A; "
        "`%s`. Recall is of each true state, matched one to one by common particles; "
        "populations %s. Each classification is shown at several iterations."
        % (
            truth.name,
            len(truth.states),
            args.classes,
            diameter or 0.94 * truth.maps.shape[-1] * truth.sampling,
            " ".join(ARGUMENTS),
            " ".join("%.3g" % p for p in truth.populations),
        )
    )
    head = [
        "started from",
        "seed",
        "E-step limited to (A)",
        "iteration",
        "ARI",
        "recall of each state",
        "class sizes",
        "seconds of Class3D",
    ]
    return "\n".join(
        [
            "# RELION Class3D from different starts\n",
            provenance([args.set]) + "\n",
            text,
            "",
            markdown_table(head, rows),
        ]
    )


if __name__ == "__main__":
    main()
