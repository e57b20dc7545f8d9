"""Commands that are killed, and given again."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Sequence

from fault_bench import Bench, spread

from pcainit.tests.robustness.accidents import STAGES, forked

PARTS = 3


def run(bench: Bench) -> None:
    """All kills."""
    _whole_job(bench)
    _stages(bench)
    _parts(bench)


def _seconds(words: Sequence[Any]) -> float:
    begin = time.perf_counter()
    assert forked(words).code == 0
    return time.perf_counter() - begin


def _whole_job(bench: Bench) -> None:
    words = bench.example.run(bench.folder / "case")
    for point in spread(bench.run_events, bench.count(24)):
        folder = bench.empty()
        outcome = forked(words, "kill", point)
        assert outcome.code < 0
        bench.continued("run killed at an event", outcome, [words], folder, killed=True)
    bench.empty()
    total, most = _seconds(words), bench.count(10)
    for k in range(most):
        folder = bench.empty()
        outcome = forked(words, seconds=total * (k + 0.5) / most)
        bench.continued("run killed after a share of its time", outcome, [words], folder, True)
    for first in spread(bench.run_events, bench.count(4)):
        folder = bench.empty()
        forked(words, "kill", first)
        outcome = forked(words, "kill", bench.run_events + 1 - first)
        bench.continued("run killed twice", outcome, [words], folder, killed=True)
    for point in spread(bench.run_events, bench.count(6)):
        folder = bench.empty()
        assert forked(words).code == 0
        outcome = forked(words, "kill", point)
        bench.continued("second run into a finished folder killed", outcome, [words], folder, True)


def _stages(bench: Bench) -> None:
    for stage, name in enumerate(STAGES):
        chain = bench.example.stages(bench.folder / "case")
        words, count = chain[stage], bench.stage_events[stage]

        def begin(stage: int = stage) -> Path:
            return bench.copy(stage) if stage else bench.empty()

        for point in spread(count, bench.count(7)):
            folder = begin()
            outcome = forked(words, "kill", point)
            assert outcome.code < 0
            bench.continued("%s killed at an event" % name, outcome, chain, folder, killed=True)
        begin()
        total, most = _seconds(words), bench.count(3)
        for k in range(most):
            folder = begin()
            outcome = forked(words, seconds=total * (k + 0.5) / most)
            bench.continued(
                "%s killed after a share of its time" % name, outcome, chain, folder, killed=True
            )
        for point in spread(count, bench.count(2)):
            folder = begin()
            forked(words, "kill", point)
            outcome = forked(words, "kill", count + 1 - point)
            bench.continued("stage killed twice", outcome, chain, folder, killed=True)


def _parts(bench: Bench) -> None:
    folder = bench.empty()
    chain = bench.example.stages(folder, PARTS)
    events = [forked(words).events for words in chain[: PARTS + 1]]
    asked, wrong = bench.finish(chain[PARTS + 1 :])
    bench.continued("undisturbed, in parts", forked(["--version"]), chain, folder)
    for which, label in ((1, "prepare --chunk killed"), (PARTS, "prepare --join killed")):
        for point in spread(events[which], bench.count(8)):
            folder = bench.empty()
            for words in chain[:which]:
                assert forked(words).code == 0
            outcome = forked(chain[which], "kill", point)
            assert outcome.code < 0
            bench.continued(label, outcome, chain, folder, killed=True)
