"""The set that meets with accidents, its undisturbed results, and the table of outcomes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Sequence

from pcainit.tests.robustness.accidents import (
    Example,
    Outcome,
    command,
    differing,
    forked,
    results,
    succeed,
    unexpected,
)

AGAIN = 9  # at most so many steps may ask to be given again, one after the other


class Bench:
    """A small set, its results, and what became of the faults so far.

    Parameters
    ----------
    folder : Path
    points : float
        1 for the usual number of points of each fault, less for fewer.
    """

    def __init__(self, folder: Path, points: float = 1.0) -> None:
        self.folder, self.set, self._points = folder, folder / "set", points
        self.found: dict[str, Counter] = {}
        self.wrong: dict[str, list[str]] = {}
        succeed(
            [
                "simulate",
                self.set,
                "--particles",
                "600",
                "--box",
                "32",
                "--sampling",
                "6",
                "--snr",
                "0.15",
                "--populations",
                "0.6,0.4",
            ]
        )
        options = ["--resolution", "24"]
        # One thread takes a fifth of the processors' time of two here; the results must be equal.
        self.example = Example(self.set / "particles.star", [*options, "--threads", "1"])
        # The only ones with processes of their own from the start: what forks make must be equal.
        succeed(
            Example(self.set / "particles.star", [*options, "--threads", "2"]).run(
                folder / "undisturbed"
            )
        )
        self.run_events = succeed(self.example.run(folder / "one_thread")).events
        self.reference = results(folder / "undisturbed")
        self.note(
            "undisturbed, on another number of threads",
            "same result",
            differing(self.reference, folder / "one_thread"),
        )
        self.stages = folder / "stages"
        self.stage_events = [succeed(words).events for words in self.example.stages(self.stages)]
        self.note(
            "undisturbed, by stages",
            "same result",
            differing(self.reference, self.stages / "result") + unexpected(self.stages / "work"),
        )
        self.work_reference = results(self.stages / "work")

    def group(self, name: str) -> Bench:
        """The same with a folder and a table of its own, to try faults beside others."""
        other = copy.copy(self)
        other.folder, other.found, other.wrong = self.folder / name, {}, {}
        other.folder.mkdir()
        return other

    def count(self, usual: int) -> int:
        """How many points of a fault are tried."""
        return max(1, round(usual * self._points))

    def note(self, fault: str, outcome: str, wrong: Sequence[str] = ()) -> None:
        """One case: how it ended, and what is lost or wrong."""
        self.found.setdefault(fault, Counter())[outcome if not wrong else "WRONG"] += 1
        self.wrong.setdefault(fault, []).extend(" / ".join(text.split("\n")) for text in wrong)
        if wrong:
            print("%s: %s: %s" % (fault, outcome, "; ".join(wrong)), flush=True)

    def rows(self) -> list[list[str]]:
        """Of the table."""
        return [
            [
                fault,
                str(sum(found.values())),
                ", ".join("%s: %d" % pair for pair in found.most_common()),
                "; ".join(self.wrong[fault][:5]) or "nothing",
            ]
            for fault, found in self.found.items()
        ]

    def empty(self, name: str = "case") -> Path:
        """A new folder, whose predecessor is gone."""
        path = self.folder / name
        shutil.rmtree(str(path), ignore_errors=True)
        path.mkdir()
        return path

    def copy(self, upto: int = 5, name: str = "case") -> Path:
        """The undisturbed run by stages, its first stages only; without the results."""
        path = self.empty(name)
        shutil.copytree(str(self.stages / "work"), str(path / "work"))
        for stage in ("prepare", "reconstruct", "components", "cluster", "volumes")[upto:]:
            (path / "work" / (stage + ".npz")).unlink()
        return path

    def finish(
        self, chain: Sequence[Sequence[Any]], by: Any = forked, **options: Any
    ) -> tuple[int, list[str]]:
        """Give commands until all succeed; how many asked to be given again, and what is wrong."""
        asked, next_one = 0, 0
        while next_one < len(chain):
            outcome = by(chain[next_one], **options)
            next_one += 1
            if outcome.code:
                asked, next_one = asked + 1, 0
                if outcome.trouble or asked > AGAIN:
                    return asked, [outcome.trouble or "asked again and again: " + outcome.sentence]
        return asked, []

    def continued(
        self,
        fault: str,
        outcome: Outcome,
        chain: Sequence[Sequence[Any]],
        folder: Path,
        killed: bool = False,
        by: Any = forked,
    ) -> None:
        """Give commands again after an accident and compare with the undisturbed run."""
        how = "killed" if killed and outcome.code < 0 else "one sentence" if outcome.code else ""
        wrong = [outcome.trouble] if outcome.trouble and not (killed and outcome.code < 0) else []
        asked, more = self.finish(chain, by)
        wrong += more
        output = folder if chain[0][0] == "run" else folder / "result"
        if not wrong:
            wrong = differing(self.reference, output)
            if output != folder:
                wrong += unexpected(folder / "work")
        self.note(
            fault,
            ", ".join(
                filter(
                    None,
                    [
                        how,
                        "step asked for again" if asked else "",
                        ("again: " if how else "") + "same result",
                    ],
                )
            ),
            wrong,
        )

    def alone(self, fault: str, words: Sequence[Any], output: Path, **options: Any) -> None:
        """A command in a process of its own that must succeed in spite of the fault."""
        outcome = command(words, **options)
        self.note(
            fault,
            "same result",
            [outcome.trouble or outcome.error[-300:]]
            if outcome.code
            else differing(self.reference, output),
        )


def spread(count: int, most: int) -> list[int]:
    """At most `most` whole numbers spread over 1 to `count`, both ends included."""
    if most == 1:
        return [(count + 1) // 2]
    return sorted({1 + (count - 1) * k // (most - 1) for k in range(most)})
