"""Poses that RELION has refined against the noise of their own images.

python benchmarks/refined_poses.py SET [--first 5000] [--threads 1]

Poses that a simulation disturbs know nothing of an image's noise.  Those of a real refinement sit
where signal and noise together fit best.  This starts from the disturbed poses of a set with known
truth (`particles_poseerr.star`, or `particles.star` where there is none), refines each random half
by itself with local searches, and writes `particles_refined.star` beside them: the same images,
their refined poses and their halves.  Needs `relion_reconstruct` and `relion_refine` on the PATH.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Sequence

import numpy as np
from jobs import run_measured, work_folder
from truth_sets import ANGLES, cut_star, data_root, true_nuisance

from pcainit.io.particle_table import ParticleTable

PROGRAMS = ("relion_reconstruct", "relion_refine")
POSE = (*ANGLES, "rlnOriginXAngst", "rlnOriginYAngst")
# HEALPix order, spread of the local search (degrees per angle), first resolution (A).
STAGES = ((4, 2.0, 20.0), (5, 1.0, None))
SEED = 1


def main() -> None:
    """Refine the poses of each set."""
    args = _arguments()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(
            "Skipped: no %s on the PATH (Debian and Ubuntu: apt-get install relion)."
            % " and ".join(missing)
        )
        return
    for folder in args.sets:
        with work_folder(args.keep) as work:
            print(refine(folder.resolve(), args, work), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "sets", nargs="+", metavar="SET", type=Path, help="folders with known truth"
    )
    parser.add_argument(
        "--star",
        help="poses to start from (default: particles_poseerr.star, or "
        "particles.star where there is none)",
    )
    parser.add_argument("--first", type=int, help="only so many particles")
    parser.add_argument(
        "--iterations",
        type=int,
        default=2,
        help="of the coarse and of the fine local search each (default: 2)",
    )
    parser.add_argument(
        "--diameter",
        type=float,
        help="of the mask around the particle, A (default: 0.85 of the box)",
    )
    parser.add_argument(
        "--output",
        default="particles_refined.star",
        help="name of the STAR file in the set's folder, or a path",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", help="folder for RELION's files (default: removed)")
    return parser.parse_args()


def refine(folder: Path, args: argparse.Namespace, work: Path) -> str:
    """Refine one set; a line on what it took and how far off the poses are.

    Parameters
    ----------
    folder : Path
        Of the set.
    args : Namespace
        Of the command line.
    work : Path
        For RELION's files.

    Returns
    -------
    str
    """
    begin = time.perf_counter()
    star = folder / (args.star or "particles_poseerr.star")
    if not args.star and not star.is_file():
        star = folder / "particles.star"
    root = data_root(star)
    if args.first:
        short = work / "first.star"
        cut_star(star, short, args.first)
        star = short
    table = ParticleTable(star)
    images, half = table.text("rlnImageName"), halves(table)
    found: dict[str, tuple[str, ...]] = {}
    for number in (1, 2):
        part = work / ("half%d.star" % number)
        keep_rows(star, part, half == number)
        found.update(refine_half(part, root, args))
    poses = [found[image] for image in images]
    columns = {label: [pose[k] for pose in poses] for k, label in enumerate(POSE)}
    target = folder / args.output  # a path of its own stays as it is
    target.parent.mkdir(parents=True, exist_ok=True)
    table.write_with(target, dict(columns, rlnRandomSubset=half))
    before, after = (pose_errors(folder, path) for path in (star, target))
    return (
        "%s: %d particles, %.0f s; error per axis before %.2f degrees, %.2f px; after %.2f "
        "degrees, %.2f px" % (target, len(images), time.perf_counter() - begin, *before, *after)
    )


def halves(table: ParticleTable) -> np.ndarray:
    """The random half (1 or 2) of each particle, (n,) int: as recorded, else drawn."""
    if table.has("rlnRandomSubset"):
        return table.numbers("rlnRandomSubset").astype(int)
    return np.random.default_rng(SEED).permutation(len(table)) % 2 + 1


def keep_rows(source: Path, target: Path, keep: Sequence[bool]) -> None:
    """Copy a particle STAR file with some of its rows."""
    rows = iter(keep)
    with open(source) as lines, open(target, "w") as out:
        out.writelines(line for line in lines if "@" not in line or next(rows))


def pose_errors(folder: Path, star: Path) -> tuple[float, float]:
    """How far the poses of a STAR file are off: degrees and pixels per axis."""
    known = true_nuisance(folder, ParticleTable(star))
    return known["rotation_deg"], known["shift_px"]


def refine_half(star: Path, root: Path, args: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Reconstruct one half, refine it against that; image -> its angles and origins."""
    table = ParticleTable(star)
    pixel = float(table.numbers("rlnImagePixelSize")[0])
    diameter = args.diameter or 0.85 * pixel * float(table.numbers("rlnImageSize")[0])
    stem, threads = star.with_suffix(""), ["--j", args.threads]
    reference = stem.with_suffix(".mrc")
    _relion(["relion_reconstruct", "--i", star, "--o", reference, "--ctf", *threads], stem, root)
    for stage, (order, spread, resolution) in enumerate(STAGES, 1):
        output = "%s_stage%d" % (stem, stage)
        command: list[object] = [
            "relion_refine",
            "--i",
            star,
            "--ref",
            reference,
            "--o",
            output,
            "--iter",
            args.iterations,
            "--healpix_order",
            order,
            "--sigma_ang",
            spread,
            "--oversampling",
            1,
            "--offset_range",
            3,
            "--offset_step",
            1,
            "--particle_diameter",
            diameter,
            "--ctf",
            "--ctf_corrected_ref",
            "--flatten_solvent",
            "--zero_mask",
            "--no_norm",
            "--no_scale",
            "--dont_check_norm",
            "--dont_combine_weights_via_disc",
            "--pool",
            30,
            "--pad",
            2,
            "--random_seed",
            SEED,
            *threads,
        ]
        if resolution:
            command += ["--ini_high", resolution]
        _relion(command, Path(output), root)
        star = Path("%s_it%03d_data.star" % (output, args.iterations))
        reference = Path("%s_it%03d_class001.mrc" % (output, args.iterations))
    table = ParticleTable(star)
    return dict(zip(table.text("rlnImageName"), zip(*map(table.text, POSE))))


def _relion(command: list[object], stem: Path, root: Path) -> None:
    """Run one of RELION's programs where the image paths start from."""
    run_measured(command, Path("%s_%s.log" % (stem, command[0])), cwd=root)


if __name__ == "__main__":
    main()
