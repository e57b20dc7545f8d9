"""Parameters, stacks and STAR files that change between the stages or while they are read."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from fault_bench import Bench, spread

from pcainit.pipeline.stage_order import STAGES
from pcainit.settings import Settings
from pcainit.tests.robustness.accidents import Example, differing, forked, results

CHANGES = (
    ["--resolution", "28"],
    ["--mask-threshold", "0.4"],
    ["--symmetry", "c2"],
    ["--components", "2"],
    ["--no-local-search"],
    ["--seed", "5"],
    ["--classes", "3"],
)


def run(bench: Bench) -> None:
    """All changes of what a job depends on."""
    _parameters(bench)
    _stack_between(bench)
    _stack_while_read(bench)
    _star(bench)


def _times(work: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in work.glob("*.npz")}


def _parameters(bench: Bench) -> None:
    for change in CHANGES[: bench.count(len(CHANGES))]:
        first = Settings.fields()[change[0][2:].replace("-", "_")]["stage"]
        fault = "parameter changed, same work folder"
        changed = Example(bench.example.star, bench.example.options + change)
        assert forked(changed.run(bench.empty("fresh"))).code == 0
        folder = bench.copy()
        before = _times(folder / "work")
        _, wrong = bench.finish(changed.stages(folder))
        after = _times(folder / "work")
        made = [stage for stage in STAGES if before[stage] != after[stage]]
        expected = list(STAGES[STAGES.index(first) :])
        if made != expected:
            wrong.append("%s made %s again instead of %s" % (change, made, expected))
        wrong += differing(results(bench.folder / "fresh"), folder / "result")
        bench.note(fault, "only what depends on it made again, same as new", wrong)
        bench.continued(
            fault + ", and back", forked(["--version"]), bench.example.stages(folder), folder
        )


def _own_set(bench: Bench, folder: Path) -> tuple[Example, Path]:
    """A copy of the set that may be changed."""
    shutil.copytree(str(bench.set), str(folder / "set"))
    return Example(
        folder / "set" / "particles.star", bench.example.options
    ), folder / "set" / "particles.mrcs"


def _other_set(bench: Bench) -> tuple[Path, dict]:
    """Another set of the same size, and its undisturbed results."""
    other = bench.folder / "other"
    if not other.exists():
        shutil.copytree(str(bench.set), str(other))
        assert (
            forked(
                [
                    "simulate",
                    bench.folder / "seeded",
                    "--particles",
                    "600",
                    "--box",
                    "32",
                    "--sampling",
                    "6",
                    "--snr",
                    "0.15",
                    "--seed",
                    "9",
                ]
            ).code
            == 0
        )
        shutil.copy(str(bench.folder / "seeded" / "particles.mrcs"), str(other))
    output = bench.empty("fresh")
    assert forked(Example(other / "particles.star", bench.example.options).run(output)).code == 0
    return other / "particles.mrcs", results(output)


def _replace(path: Path, other: Path) -> None:
    """Put another file in its place, with the times of the one before."""
    status = path.stat()
    shutil.copyfile(str(other), str(path))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def _stack_between(bench: Bench) -> None:
    other, other_results = _other_set(bench)
    for done in range(1, 5):
        folder = bench.empty()
        example, stack = _own_set(bench, folder)
        chain: list[list[Any]] = example.stages(folder)
        _, wrong = bench.finish(chain[:done])
        whole = stack.read_bytes()
        os.truncate(str(stack), len(whole) // 2)
        outcome = forked(chain[0])
        bench.note(
            "stack truncated after the stage %s, prepare again" % STAGES[done - 1],
            "one sentence",
            wrong
            + ([] if "truncated" in outcome.sentence else ["not noticed: " + outcome.error[-200:]]),
        )
        _, wrong = bench.finish(chain[done:])  # on the images as they were read
        bench.note(
            "stack truncated between stages, the others given",
            "same result",
            wrong + differing(bench.reference, folder / "result"),
        )
        stack.write_bytes(whole)
        bench.continued("stack put back", forked(["--version"]), chain, folder)
        _replace(stack, other)
        asked, wrong = bench.finish(chain)
        bench.note(
            "stack replaced by one of the same size and time, all given",
            "same as new",
            wrong + differing(other_results, folder / "result"),
        )
        stack.unlink()
        outcome = forked(chain[0])
        bench.note(
            "stack removed, prepare again",
            "one sentence",
            [] if outcome.sentence else ["not noticed: " + outcome.error[-200:]],
        )


def _stack_while_read(bench: Bench) -> None:
    other, _ = _other_set(bench)
    prepared = bench.stage_events[0]
    for verb in ("cut", "copy", "remove"):
        for point in spread(prepared, bench.count(6)):
            for stages in (True, False):
                folder = bench.empty()
                example, stack = _own_set(bench, folder)
                whole, star = stack.read_bytes(), example.star.read_bytes()
                words = example.stages(folder)[0] if stages else example.run(folder / "result")
                action = ["copy", str(other), str(stack)] if verb == "copy" else [verb, str(stack)]
                outcome = forked(words, "\t".join(action), point)
                stack.write_bytes(whole)
                example.star.write_bytes(star)
                chain = example.stages(folder) if stages else [words]
                fault = {
                    "cut": "stack truncated",
                    "copy": "stack replaced",
                    "remove": "stack removed",
                }[verb] + " during %s" % words[0]
                bench.continued(fault, outcome, chain, folder if stages else folder / "result")


def _star(bench: Bench) -> None:
    for done in range(1, 5):
        folder = bench.empty()
        example, _ = _own_set(bench, folder)
        chain = example.stages(folder)
        _, wrong = bench.finish(chain[:done])
        text = example.star.read_text()
        rows = [line for line in text.splitlines() if "@" in line]
        example.star.write_text(text.replace(rows[7] + "\n", ""))
        refused = [forked(words) for words in chain[done:]][-1]
        bench.note(
            "row of the STAR file removed between stages, the others given",
            "one sentence",
            wrong
            + ([] if "changed" in refused.sentence else ["not noticed: " + refused.error[-200:]]),
        )
        assert forked(example.run(bench.empty("fresh"))).code == 0
        asked, wrong = bench.finish(chain)
        bench.note(
            "row of the STAR file removed, all given",
            "same as new",
            wrong + differing(results(bench.folder / "fresh"), folder / "result"),
        )
    for point in spread(bench.run_events, bench.count(4)):
        folder = bench.empty()
        example, _ = _own_set(bench, folder)
        whole = example.star.read_bytes()
        outcome = forked(example.run(folder / "result"), "cut\t" + str(example.star), point)
        example.star.write_bytes(whole)
        bench.continued(
            "STAR file truncated during run",
            outcome,
            [example.run(folder / "result")],
            folder / "result",
        )
