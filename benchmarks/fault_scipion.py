"""Scipion's own process killed, with the engine's, and Continue."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import sys

from fault_bench import Bench, spread
from fuzz import scipion_project


def run(bench: Bench) -> None:
    """Kills of a protocol, in steps of its own and in the engine's."""
    folder = bench.empty()
    with contextlib.redirect_stdout(sys.stderr), scipion_project(folder) as (scipion, _):
        from pcainit.tests.scipion import kills, runs

        undisturbed = scipion.new_volumes(numberOfThreads=1)
        events = kills.count_events(scipion, undisturbed, folder)
        results, outputs = runs.results(undisturbed), kills.outputs(undisturbed)
        for point in spread(events - 3, bench.count(24)):
            protocol = scipion.new_volumes(numberOfThreads=1)
            left = kills.kill_at(scipion, protocol, folder, point)
            scipion.project.launchProtocol(protocol)
            runs.end(scipion, protocol)
            if not protocol.isFinished():
                wrong = [protocol.getErrorMessage()]
            else:
                found, known = runs.results(protocol), kills.outputs(protocol)
                wrong = [name for name in results if found.get(name) != results[name]]
                wrong += [name for name in outputs if known.get(name) != outputs[name]]
            bench.note(
                "protocol killed %s, Continue"
                % ("in " + left[0] if left else "before or after its steps"),
                "killed, again: same result and outputs",
                wrong,
            )
