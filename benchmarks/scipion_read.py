"""How long Scipion's particles take to arrays and to a STAR file, and whether they arrive.

python benchmarks/scipion_read.py [--particles 100000] [--runs 5]

A set of random poses, CTFs, shifts and half-sets is made with Scipion's own objects in a temporary
folder; no image is needed.  The fast reading is compared with Scipion's public iterator.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any, Callable

from jobs import deliver, markdown_table, provenance, work_folder

STACKS = 200  # files that the particles are in
GOAL = 3.0  # seconds for 100,000 particles


def main() -> None:
    """Make the set, time, compare; the exit status is 1 when the readings differ."""
    args = _arguments()
    os.environ.setdefault("SCIPION_DOMAIN", "pwem")
    os.environ["SCIPION_NOTIFY"] = "False"
    with work_folder(args.keep) as work:
        os.environ.setdefault("SCIPION_HOME", str(work))
        os.environ.setdefault("SCIPION_USER_DATA", str(work / "user"))
        try:
            import pwem.objects  # noqa: F401
        except ImportError:
            print("Scipion (scipion-em) is not installed: nothing to read. Skipped.")
            return
        particles = make_set(work / "particles.sqlite", args.particles)
        few = make_set(work / "few.sqlite", min(args.compared, args.particles))
        text, same = _measured(particles, few, work, args)
    deliver(text, args.output)
    raise SystemExit(0 if same else 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=100000)
    parser.add_argument(
        "--compared",
        type=int,
        default=2000,
        help="read by the public iterator too: the first so many (default: 2000)",
    )
    parser.add_argument("--runs", type=int, default=5, help="medians of so many (default: 5)")
    parser.add_argument("--output", help="markdown file to write")
    parser.add_argument("--keep", help="folder for the set (default: removed)")
    return parser.parse_args()


def make_set(path: Path, count: int) -> Any:
    """A SetOfParticles with alignment, CTF and half-sets; the same first ones for any count."""
    import numpy as np
    from pwem.objects import Acquisition, CTFModel, Integer, Particle, SetOfParticles, Transform
    from scipy.spatial.transform import Rotation

    path.unlink(missing_ok=True)  # type: ignore[call-arg]
    particles = SetOfParticles(filename=str(path))
    particles.setSamplingRate(1.25)
    particles._firstDim.set((256, 256, 1))
    optics = Acquisition(
        voltage=300, sphericalAberration=2.7, amplitudeContrast=0.1, magnification=50000
    )
    particles.setAcquisition(optics)
    particles.setAlignmentProj()
    particles.setHasCTF(True)
    rng = np.random.default_rng(5)
    for number in range(count):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat(rng.normal(size=4)).as_matrix()
        matrix[:2, 3] = rng.normal(0, 3, 2)
        model = CTFModel()
        model.setStandardDefocus(*rng.uniform(5000, 30000, 2), rng.uniform(0, 180))
        item = Particle()
        item.setLocation(
            number // STACKS + 1,
            "Runs/000002_Extract/extra/micrograph_%03d.mrcs" % (number % STACKS),
        )
        item.setCTF(model)
        item.setTransform(Transform(matrix))
        item.setAcquisition(optics)
        item._rlnRandomSubset = Integer(number % 2 + 1)
        particles.append(item)
    particles.write()
    return particles


def _measured(particles: Any, few: Any, work: Path, args: argparse.Namespace) -> Any:
    """The page, and whether the two readings agree."""
    import numpy as np

    from pcainit.protocols import convert, read_set

    seconds: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        found = work()
        seconds.setdefault(name, []).append(time.perf_counter() - begin)
        return found

    for _ in range(args.runs):
        read = timed("fast", lambda: read_set.read_particles_fast(particles))
        timed("star", lambda: convert.write_star(particles, str(work / "particles.star")))
        fast = read_set.read_particles_fast(few)
        public = timed("item", lambda: read_set.read_particles_by_item(few))
    count = len(public.ids)
    same = all(
        np.array_equal(one, other, equal_nan=True)
        for table in (fast, read)
        for one, other in [
            (table.ids[:count], public.ids),
            (table.matrices[:count], public.matrices),
            *((table.values[name][:count], values) for name, values in public.values.items()),
        ]
    )
    same = same and read.filename[:count] == fast.filename == public.filename
    same = same and len(read.ids) == args.particles

    def middle(name: str) -> str:
        return "%.2f (%.2f to %.2f)" % (
            statistics.median(seconds[name]),
            min(seconds[name]),
            max(seconds[name]),
        )

    by_item = statistics.median(seconds["item"]) / count * len(read.ids)
    rows = [
        ["reading into arrays (s)", middle("fast")],
        ["reading and writing the STAR file (s)", middle("star")],
        ["public iterator, %d particles (s)" % count, middle("item")],
        ["public iterator, all, by proportion (s)", "%.1f" % by_item],
        [
            "arrays equal those of the public iterator (first %d)" % count,
            "yes, to the last bit" if same else "NO",
        ],
    ]
    return (
        "# Reading Scipion's particles\n\n%s\n\nA SetOfParticles of %d with alignment, CTF and "
        "half-sets in %d stacks; median of %d (least to most). The goal for 100,000 particles: "
        "%g s.\n\n%s"
        % (
            provenance(),
            len(read.ids),
            STACKS,
            args.runs,
            GOAL,
            markdown_table(["", "seconds or as named"], rows),
        )
    ), same


if __name__ == "__main__":
    main()
