"""Rates of the kernels that take most of the time, on one and on two threads.

python benchmarks/rates.py [--boxes 32,40,64] [--particles 20000] [--runs 5]

Back-projection of slices, and passes of the particle PCA with eight components, on simulated crops.
Runs on one and two threads alternate.  Beside back-projection: the same by numpy alone.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import statistics
import time
from typing import Any, Callable, Dict, List

import crops
import numpy as np
from jobs import deliver, markdown_table, provenance

from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.e_step import component_e_step, posterior_statistics
from pcainit.engine.model.em import random_start
from pcainit.engine.model.image_model import NuisanceSpread, make_background
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.engine.projection.slices import complete_half_space, insert_slices

Q = 8
BY_NUMPY = 300  # slices that numpy inserts
Seconds = Dict[int, List[float]]


def main() -> None:
    """One box after the other; the page grows with each."""
    args = _arguments()
    rows: list[list[str]] = []
    plain: list[list[str]] = []
    for box in args.boxes.split(","):
        set_threads(2)
        grid = crops.grid_of_box(int(box))
        slices = crops.slices_in_memory(args.particles, grid)
        for name, work in _kernels(slices).items():
            seconds = _alternate(work, args.runs)
            rows.append([box, "%d" % len(grid.frequencies), name, *_cells(seconds, len(slices))])
        plain.append([box, *_against_numpy(slices, args.runs)])
        deliver(_page(rows, plain, args), args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", default="32,40,64", help="working boxes (default: %(default)s)")
    parser.add_argument(
        "--particles",
        type=int,
        default=20000,
        help="2,000 to try it: a pass has a part that does not grow with them",
    )
    parser.add_argument("--runs", type=int, default=5, help="on each number of threads")
    parser.add_argument("--output", help="markdown file to write")
    return parser.parse_args()


def _kernels(slices: Slices) -> dict[str, Callable[[], Any]]:
    """What is timed; each handles every particle once."""
    grid, everyone = slices.grid, np.arange(len(slices))
    consensus = reconstruct_consensus(slices)
    solvent = auto_mask(consensus.mean, grid)
    background = make_background(slices, consensus, solvent)
    scaled = random_start(background, solvent, Q, 0).scaled
    precision = NuisanceSpread().precision_beside(Q)
    return {
        "back-projection": lambda: insert_slices(
            slices.values, slices.ctf, slices.rotations, grid, whitening=background.whitening
        ),
        "PCA pass: sums": lambda: component_e_step(background, scaled, precision, everyone),
        "PCA pass: statistics": lambda: posterior_statistics(
            background, scaled, precision, everyone
        ),
    }


def _alternate(work: Callable[[], Any], runs: int) -> Seconds:
    """Seconds on 1, 2, 1, 2, ... threads, warmed up before."""
    seconds: Seconds = {1: [], 2: []}
    for number in range(-1, runs):
        for threads, taken in seconds.items():
            set_threads(threads)
            begin = time.perf_counter()
            work()
            if number >= 0:
                taken.append(time.perf_counter() - begin)
    return seconds


def _cells(seconds: Seconds, count: int) -> list[str]:
    ratios = [one / two for one, two in zip(seconds[1], seconds[2])]
    return [
        "%.0f" % (count / statistics.median(seconds[1])),
        "%.0f" % (count / statistics.median(seconds[2])),
        "%.2f (%.2f to %.2f)" % (statistics.median(ratios), min(ratios), max(ratios)),
    ]


def _against_numpy(slices: Slices, runs: int) -> list[str]:
    """Rates of both on the same few slices and one thread, and how far the sums differ."""
    some = slices.take(np.arange(min(BY_NUMPY, len(slices))))
    set_threads(1)
    theirs, ours = [], []
    for number in range(-1, runs):
        begin = time.perf_counter()
        expected = _insert_by_numpy(some)
        middle = time.perf_counter()
        # One group: as many grids as numpy has.
        found = insert_slices(
            some.values, some.ctf, some.rotations, some.grid, groups=[np.arange(len(some))]
        )
        if number >= 0:
            theirs.append(middle - begin)
            ours.append(time.perf_counter() - middle)
    wrong = max(float(np.abs(f[0, 0] - e).max() / np.abs(e).max()) for f, e in zip(found, expected))
    ratio = statistics.median(t / o for t, o in zip(theirs, ours))
    return [
        "%.0f" % (len(some) / statistics.median(theirs)),
        "%.0f" % (len(some) / statistics.median(ours)),
        "%.0f" % ratio,
        "%.0e" % wrong,
    ]


def _insert_by_numpy(slices: Slices) -> tuple[np.ndarray, np.ndarray]:
    """`insert_slices` of numpy's own functions: one `bincount` for each corner of the cells."""
    grid: Grid = slices.grid
    shape, size = grid.half_shape, int(np.prod(grid.half_shape))
    k = grid.frequencies.astype(np.float32) * np.float32(grid.oversampling)
    place = np.einsum("pa,nab->bnp", k, slices.rotations[:, :2]).reshape(3, -1)
    sign = np.where(place[0] < 0, np.float32(-1), np.float32(1))
    place *= sign
    low = np.floor(place)
    fraction = place - low
    x, y, z = low.astype(np.int64) + np.array([[0], [grid.reach], [grid.reach]])
    values, strength = (slices.values * slices.ctf).ravel(), (slices.ctf**2).ravel()
    parts = [values.real, values.imag * sign, strength]
    sums = np.zeros((3, size))
    for corner in np.ndindex(2, 2, 2):
        dz, dy, dx = corner
        index = ((z + dz) * shape[1] + y + dy) * shape[2] + x + dx
        share = np.ones(len(index), np.float32)
        for move, along in zip(corner, fraction[::-1]):
            share = share * (along if move else 1 - along)
        for total, part in zip(sums, parts):
            total += np.bincount(index, part * share, size)
    numerator = (sums[0] + 1j * sums[1]).reshape(shape)
    return complete_half_space(numerator), complete_half_space(sums[2].reshape(shape))


def _page(rows: list[list[str]], plain: list[list[str]], args: argparse.Namespace) -> str:
    return (
        "# Rates of the kernels\n\n%s\n\n%d simulated crops; %d components; particles per second, "
        "medians of %d runs, those on one and two threads in turn; the speed-up is of pairs "
        "(least to most). Everything is compiled before. The transforms of a pass's volumes and "
        "the adding up of the threads' sums are part of it and do not grow with the particles. Two "
        "threads need two processors that nothing else uses.\n\n%s\nBack-projection of %d "
        "slices on one thread, by numpy (`bincount` for each corner) and by the compiled code, "
        "slices per second; the sums differ by so much of the largest.\n\n%s"
        % (
            provenance(),
            args.particles,
            Q,
            args.runs,
            markdown_table(
                ["working box", "samples", "kernel", "1 thread", "2 threads", "speed-up"], rows
            ),
            min(BY_NUMPY, args.particles),
            markdown_table(["working box", "numpy", "compiled", "ratio", "difference"], plain),
        )
    )


if __name__ == "__main__":
    main()
