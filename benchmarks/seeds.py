"""PCA of volumes between known states plus noise: coordinates, representatives, time, memory.

python benchmarks/seeds.py [--sets 200,1000] [--large 200]     (--large: so many of 256 pixels)
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jobs import deliver, markdown_table, provenance, run_measured, show, work_folder

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.simulation.simulate import Simulation, make_states
from pcainit.io.maps import read_map, write_map

GRID = (48, 5.0)  # box, Angstrom per pixel
OTHERS = (GRID, (64, 4.0), (45, 5.5))  # taken in turn
LARGE = (256, 1.25)
RESOLUTION = 20
HEAD = (
    "volumes",
    "kind",
    "noise",
    "boxes, A/px",
    "greyscale",
    "least correlation of a coordinate",
    "least correlation of a difference",
    "classes",
    "above noise edge",
    "seconds",
    "MB",
)


class Case(NamedTuple):
    """One set of volumes."""

    count: int
    kind: str  # discrete or continuous
    noise: float  # in units of each volume's own spread
    grids: tuple[tuple[int, float], ...] = (GRID,)
    mixed_scales: bool = False


def main() -> None:
    """Write each set, run the command, compare with the truth."""
    args = _arguments()
    sizes = [int(word) for word in args.sets.split(",") if word]
    cases = [Case(*some) for some in itertools.product(sizes, ("discrete", "continuous"), (1, 2))]
    cases += [Case(sizes[0], kind, 1, OTHERS, True) for kind in ("discrete", "continuous") if sizes]
    if args.large:
        cases.append(Case(args.large, "discrete", 1, (LARGE,)))
    rows: list[list[str]] = []
    with work_folder(args.keep) as work:
        for number, case in enumerate(cases):
            rows.append(_one(case, work / ("case%d" % number), args))
            deliver(
                "\n".join(
                    [
                        "# PCA of volumes with known states\n",
                        provenance() + "\n",
                        _RECIPE,
                        markdown_table(HEAD, rows),
                    ]
                ),
                args.output,
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="200,1000", help="numbers of volumes (default: 200,1000)")
    parser.add_argument(
        "--large",
        type=int,
        default=0,
        help="also so many volumes of %d pixels (67 MB each)" % LARGE[0],
    )
    parser.add_argument("--resolution", type=float, default=RESOLUTION, help="A (default: 20)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for sets and results (default: removed)")
    return parser.parse_args()


def _one(case: Case, folder: Path, args: argparse.Namespace) -> list[str]:
    shares = _write(case, folder / "maps")
    command: list[Any] = [
        sys.executable,
        "-m",
        "pcainit",
        "volumes",
        folder / "maps",
        "-o",
        folder / "out",
        "--resolution",
        args.resolution,
        "--threads",
        args.threads,
    ]
    if case.mixed_scales:
        command.append("--align-greyscale")
    seconds, memory = run_measured(command, folder / "log")
    summary = json.loads((folder / "out" / "summary.json").read_text())
    with np.load(folder / "out" / "analysis.npz") as arrays:
        points, label = arrays["batch_coordinates"], arrays["batch_cluster"]
    above = int((np.array(summary["eigenvalues"]) > summary["noise_edge"]).sum())
    row = [
        "%d" % case.count,
        case.kind,
        "%g x" % case.noise,
        "; ".join("%d, %g" % grid for grid in case.grids),
        "mixed, aligned" if case.mixed_scales else "one",
        show(_least_correlation(shares, points), "%.4f"),
        show(_least_difference(case, shares, label, folder / "out", args.resolution), "%.3f"),
        "%d" % summary["classes"],
        "%d of %d" % (above, len(summary["eigenvalues"])),
        "%.0f" % seconds,
        "%.0f" % memory,
    ]
    if not args.keep:
        shutil.rmtree(folder)
    return row


def _states(box: int, sampling: float) -> np.ndarray:
    """Three states, smooth enough for every grid here, (3, box, box, box)."""
    made = make_states(Simulation(box_px=GRID[0], sampling=GRID[1], populations=(1, 1, 1)))
    return np.stack([dataclasses.replace(state, width=9.0).volume(box, sampling) for state in made])


def _write(case: Case, folder: Path) -> np.ndarray:
    """One map for each row of the shares of the states that are returned, (n, 3)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([case.count, int(case.noise), case.kind == "discrete"])
    if case.kind == "discrete":
        shares = np.eye(3)[rng.choice(3, case.count, p=(0.5, 0.3, 0.2))]
    else:
        t = rng.uniform(0, 1, case.count)
        shares = np.column_stack([1 - t, t, np.zeros(case.count)])
    states = {grid: _states(*grid) for grid in case.grids}
    for k, share in enumerate(shares):
        grid = case.grids[k % len(case.grids)]
        volume = np.tensordot(share, states[grid], 1).astype(np.float32)
        spread = np.float32(case.noise * volume.std())
        volume += spread * rng.standard_normal(volume.shape, np.float32)
        if case.mixed_scales:
            volume = volume * rng.uniform(0.5, 2) + rng.normal(0, 0.02)
        write_map(folder / ("volume_%04d.mrc" % k), volume, grid[1])
    return shares


def _least_correlation(shares: np.ndarray, points: np.ndarray) -> float:
    """Of the true coordinates, the least correlation with the best line through those found."""
    design = np.column_stack([np.ones(len(points)), points])
    found = []
    for true in shares.T:
        if true.std() > 0:
            fitted = design @ np.linalg.lstsq(design, true, rcond=None)[0]
            found.append(float(np.corrcoef(fitted, true)[0, 1]))
    return min(found)


def _least_difference(
    case: Case, shares: np.ndarray, label: np.ndarray, out: Path, resolution: float
) -> float | None:
    """Of all pairs of representatives, the least correlation of their difference with the truth.

    The truth of a representative is the mean of the noiseless volumes that are in its class.
    """
    grid = Grid(*case.grids[0], resolution)
    states = np.stack([grid.from_particle_box(v) for v in _states(*case.grids[0])])
    mask = grid.from_particle_box(read_map(out / "components" / "mask.mrc")[0]) > 0.5
    found, true = [], []
    for k in range(label.max() + 1):
        volume = read_map(out / "volumes" / ("class_%03d.mrc" % (k + 1)))[0]
        found.append(grid.from_particle_box(volume)[mask])
        true.append(np.tensordot(shares[label == k].mean(axis=0), states, 1)[mask])
    pairs = [
        float(np.corrcoef(found[a] - found[b], true[a] - true[b])[0, 1])
        for a in range(len(found))
        for b in range(a)
        if (true[a] != true[b]).any()
    ]
    return min(pairs) if pairs else None


_RECIPE = """Volumes between three known states (discrete: 50, 30, 20 %; continuous: evenly between
two of them) plus white noise of once or twice each volume's own standard deviation, then
`pcainit volumes` with its defaults (20 A unless the command says otherwise; greyscales 0.5 to 2
times, with `--align-greyscale`). Coordinates: correlation of each true share with the best linear
combination of the coordinates found. Differences: inside the mask, of every pair of
representatives, with that of the noiseless volumes in the two classes; pairs of one state are
left out. Seconds and peak memory are of the whole process.
"""


if __name__ == "__main__":
    main()
