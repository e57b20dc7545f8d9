"""A run whose own process is killed, not only the engine's: Continue comes to the same outputs."""

# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = [pytest.mark.scipion, pytest.mark.slow]

from pcainit.tests.scipion import kills, runs  # noqa: E402


def test_killed_while_input_or_outputs_are_written(scipion, tmp_path):
    """benchmarks/faults.py tries twenty points."""
    undisturbed = scipion.new_volumes(numberOfThreads=1)
    events = kills.count_events(scipion, undisturbed, tmp_path)
    results, outputs, met = runs.results(undisturbed), kills.outputs(undisturbed), []
    assert {"outputVolumes", "outputClasses", "outputComponents"} <= set(outputs)
    for share in (0.07, 0.5, 0.97):
        protocol = scipion.new_volumes(numberOfThreads=1)
        met.append(kills.kill_at(scipion, protocol, tmp_path, int(share * events)))
        scipion.project.launchProtocol(protocol)
        runs.end(scipion, protocol)
        assert protocol.isFinished(), protocol.getErrorMessage()
        assert runs.same(runs.results(protocol), results)
        assert kills.outputs(protocol) == outputs
    assert met[0][0] == "writeInputStep" and met[1][0] == "createOutputStep"
