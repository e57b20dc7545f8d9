"""Files of the work folder and kept kernels that are damaged, and parts that do not fit."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any, Callable

import numpy as np
from fault_bench import Bench, spread

from pcainit.errors import InputError
from pcainit.pipeline.flat_arrays import to_arrays
from pcainit.pipeline.results import STAGE_RESULTS
from pcainit.pipeline.stage_order import STAGES
from pcainit.pipeline.store import Workspace
from pcainit.tests.robustness.accidents import WORK_FILES, Example, command, differing, flip, forked

PARTS = 3


def run(bench: Bench) -> None:
    """All damage."""
    _read_back(bench)
    _given_again(bench)
    _parts(bench)
    _kernels(bench)


def _read_back(bench: Bench) -> None:
    """Each file read by the program's own reader with one bit flipped, or cut short."""
    folder, rng = bench.copy() / "work", random.Random(0)
    for name in (name for name in WORK_FILES if name != "seconds.json"):
        path = folder / name
        whole = path.read_bytes()
        right = _content(folder, name)
        for kind, tries in (("a bit flipped", 250), ("cut short", 40)):
            for _ in range(bench.count(tries)):
                if kind == "cut short":
                    os.truncate(str(path), rng.randrange(len(whole)))
                else:  # half of them in the headers at both ends, where most can go wrong
                    end = rng.choice([300, len(whole)])
                    place = (
                        rng.randrange(end)
                        if rng.random() < 0.7
                        else len(whole) - 1 - rng.randrange(min(end, 1000))
                    )
                    flip(path, 8 * place + rng.randrange(8))
                try:
                    read = _content(folder, name)
                    same = right.keys() == read.keys() and all(
                        right[key].tobytes() == read[key].tobytes() for key in right
                    )
                    outcome, wrong = "content unharmed", [] if same else ["other content: " + name]
                except InputError:
                    outcome, wrong = "noticed", []
                except Exception as error:
                    outcome, wrong = "", ["%s: %r" % (name, error)]
                bench.note("file of the work folder with %s, read back" % kind, outcome, wrong)
                path.write_bytes(whole)


def _content(folder: Path, name: str) -> dict[str, np.ndarray]:
    workspace = Workspace(folder)
    if name.endswith(".npz"):
        return to_arrays(workspace.get(STAGE_RESULTS[name[: -len(".npz")]]))
    slices = workspace.slices()
    return dict(values=slices.values, ctf=slices.ctf)


def _empty(path: Path) -> None:
    os.truncate(str(path), 0)


def _half(path: Path) -> None:
    os.truncate(str(path), path.stat().st_size // 2)


def _middle(path: Path) -> None:
    flip(path, 4 * path.stat().st_size)


def _late(path: Path) -> None:
    flip(path, 7 * path.stat().st_size)


def _other(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


DAMAGE: list[Callable[[Path], None]] = [_middle, _half, Path.unlink, _late, _empty, _other]


def _given_again(bench: Bench) -> None:
    """Each file damaged in several ways, all stages given again, or only the later ones."""
    for name in WORK_FILES:
        for damage in DAMAGE[: bench.count(len(DAMAGE))]:
            folder = bench.copy()
            damage(folder / "work" / name)
            bench.continued(
                "%s damaged or removed, all stages given again" % name,
                forked(["--version"]),
                bench.example.stages(folder),
                folder,
            )
    for upto in range(1, 5):
        for name in [*(stage + ".npz" for stage in STAGES[:upto]), "values.npy", "ctf.npy"]:
            folder = bench.copy(upto)
            _middle(folder / "work" / name)
            chain = bench.example.stages(folder)
            outcome = forked(chain[upto])
            bench.continued("file damaged, the next stage given", outcome, chain, folder)


def _parts(bench: Bench) -> None:
    folder = bench.empty()
    chain = bench.example.stages(folder, PARTS)
    other = Example(bench.example.star, ["--resolution", "28"]).stages(folder, PARTS)
    join = chain[PARTS]

    def begin(*numbers: int) -> Any:
        bench.empty()
        for number in numbers:
            assert forked(chain[number]).code == 0
        return folder / "work"

    def refused(fault: str, words: Any, clue: str) -> None:
        outcome = forked(words)
        if clue not in outcome.sentence:
            bench.note(fault, "not refused", ["%d %s" % (outcome.code, outcome.error[-300:])])
        else:
            bench.continued(fault, outcome, chain, folder)

    for missing in range(PARTS):
        begin(*(k for k in range(PARTS) if k != missing))
        refused("join with a part missing", join, "Part %d of %d" % (missing + 1, PARTS))
    begin(*range(PARTS))
    refused(
        "join of another number of parts",
        [
            "4" if word == str(PARTS) and join[k - 1] == "--join" else word
            for k, word in enumerate(join)
        ],
        "of 4",
    )
    begin(*range(PARTS))
    assert forked(other[1]).code == 0
    refused("join with a part of other parameters", join, "Part 2 of %d" % PARTS)
    names = sorted(path.name for path in begin(*range(PARTS)).glob("*part*"))
    for name in names:
        for damage in (_middle, _half)[: bench.count(2)]:
            damage(begin(*range(PARTS)) / name)
            refused("join with a damaged file of a part", join, "Part ")


def _kernels(bench: Bench) -> None:
    """Compiled kernels that are kept between runs: none yet, or damaged."""
    kept, mine = bench.folder / "kernels", bench.folder / "damaged"
    output = bench.folder / "case"

    def run(place: Path) -> Any:
        bench.empty()
        return command(bench.example.run(output), env=dict(NUMBA_CACHE_DIR=str(place)))

    outcome = run(kept)
    bench.note(
        "no compiled kernels kept yet",
        "same result",
        [outcome.error[-300:]] if outcome.code else differing(bench.reference, output),
    )
    files = sorted(path.relative_to(kept) for path in kept.rglob("*.nbc"))
    small = sorted(files, key=lambda name: (kept / name).stat().st_size)[: len(files) // 2]
    for k in spread(len(small), bench.count(8)):
        shutil.rmtree(str(mine), ignore_errors=True)
        shutil.copytree(str(kept), str(mine))
        (_middle, _half, _other)[k % 3](mine / small[k - 1])
        bench.continued(
            "kept kernel damaged",
            run(mine),
            [bench.example.run(output)],
            output,
            by=lambda words: run(mine),
        )
