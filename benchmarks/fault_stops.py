"""Commands that are told to stop, and given again."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from fault_bench import Bench, spread

from pcainit.tests.robustness.accidents import forked


def run(bench: Bench) -> None:
    """SIGTERM, as of a queue, and SIGINT, as of Ctrl-C, at many points."""
    words = bench.example.run(bench.folder / "case" / "new")
    for signal, code in (("terminate", 143), ("interrupt", 130)):
        for point in spread(bench.run_events - 1, bench.count(12)):
            folder = bench.empty()
            outcome = forked(words, signal, point)
            fault = "run told to stop (%s)" % ("SIGTERM" if code == 143 else "SIGINT")
            left = [path.name for path in folder.rglob(".*")]
            if outcome.code != code or outcome.sentence != "stopped." or left:
                bench.note(fault, "ended with %d" % outcome.code, [outcome.error[-300:], *left])
            else:
                bench.continued(fault, outcome, [words], folder / "new")
    chain = bench.example.stages(bench.folder / "case")
    for stage in range(len(chain)):
        for point in spread(bench.stage_events[stage] - 1, bench.count(2)):
            folder = bench.copy(stage) if stage else bench.empty()
            outcome = forked(chain[stage], "terminate", point)
            if outcome.code != 143 or outcome.sentence != "stopped.":
                bench.note("stage told to stop (SIGTERM)", "", [outcome.error[-300:]])
            else:
                bench.continued("stage told to stop (SIGTERM)", outcome, chain, folder)
