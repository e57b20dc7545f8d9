"""Continue: after other values, other files, lost files, parts that failed, and Scipion's Stop."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import shlex
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from pcainit.pipeline.stage_order import COMMANDS, STAGES
from pcainit.settings import Settings
from pcainit.tests.conftest import PARTICLES, SAMPLING

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion

from pcainit.protocols import form  # noqa: E402
from pcainit.tests.scipion import runs  # noqa: E402

COMMAND_LIST = [COMMANDS[stage] for stage in STAGES]
READ = ["prepare 1/3", "prepare 2/3", "prepare 3/3", "prepare join 3"]
OTHER = {
    "resolution": 25.0,
    "no_ctf": True,
    "invert_contrast": True,
    "analysis_resolution": "18",
    "normalise": True,
    "mask_threshold": 0.3,
    "mask_near": 8.0,
    "mask_far": 24.0,
    "symmetry": "c2",
    "reconstructions": 30,
    "particles_per_reconstruction": 45,
    "stratify": True,
    "seed": 3,
    "components": 3,
    "no_local_search": True,
    "positive_control": True,
    "given_use": 1,
}


@pytest.fixture(scope="module")
def expected(scipion_session):
    """Results of a run in one part that nothing disturbed."""
    os.chdir(scipion_session.path)
    return runs.results(scipion_session.run(scipion_session.new_volumes()))


@pytest.fixture
def watched(scipion):
    """Runs that are started as processes; none of them outlives the test."""
    protocols = []
    yield protocols
    runs.clean_up(scipion, protocols)


@pytest.fixture
def commands(scipion, monkeypatch):
    """What the engine is asked for from now on; `bad` holds what fails."""

    class Commands(list):
        bad = ()

    given, real = Commands(), scipion.run_engine

    def run_engine(log, program, arguments, **options):
        words = shlex.split(arguments)[2:]
        name = [words[0]]
        name += [words[words.index("--chunk") + 1]] if "--chunk" in words else []
        name += ["join", words[words.index("--join") + 1]] if "--join" in words else []
        given.append(" ".join(name))
        if given[-1] in given.bad:
            raise subprocess.CalledProcessError(-9, arguments)
        return real(log, program, arguments, **options)

    monkeypatch.setattr(scipion, "run_engine", run_engine)
    return given


def _again(scipion, protocol, commands, **options):
    """Continue; what the engine was asked for."""
    commands.clear()
    scipion.run(protocol, **options)
    return list(commands)


# ------------------------------- Other values and files ----------------------


def _steps(protocol):
    protocol._steps = []
    protocol._insertAllSteps()
    return [(step.funcName.get(), json.loads(step.argsStr.get())) for step in protocol._steps]


@pytest.mark.parametrize("name", list(Settings.fields()))
def test_each_parameter_changes_the_steps_that_depend_on_it(scipion, tmp_path, name):
    """The stage that reads it and all after it, none before; so says the table of parameters."""
    from pwem.objects import Volume, VolumeMask

    info = Settings.fields()[name]
    mrcfile.write(str(tmp_path / "map.mrc"), np.ones((16,) * 3, np.float32), voxel_size=SAMPLING)
    volume, mask = (kind(location=str(tmp_path / "map.mrc")) for kind in (Volume, VolumeMask))
    volume.setSamplingRate(SAMPLING)
    method = form.METHODS.index(info["methods"][0])
    protocol = scipion.new_volumes(method=method)
    scipion.project.saveProtocol(protocol)
    if name in ("given_use", "given_mean"):
        protocol.useGivenComponents.set(True)
        protocol.givenComponents.set(volume)
    if name == "mask_sampling":
        protocol.inputMask.set(mask)
    before = _steps(protocol)
    if name == "classes":
        protocol.autoClasses.set(False)
        protocol.numberOfClasses.set(2)
    elif name == "method":
        protocol.method.set(1 - method)
    elif name == "mask":
        protocol.inputMask.set(mask)
    elif name == "mask_sampling":  # the mask object's
        mask.setSamplingRate(2 * SAMPLING)
        protocol.inputMask.set(mask)
    elif name in form.POINTERS:
        use = {"given_components": "useGivenComponents", "given_mean": "useGivenMean"}[name]
        getattr(protocol, use).set(True)
        getattr(protocol, form.camel(name)).set(volume)
    else:
        getattr(protocol, form.camel(name)).set(OTHER[name])
    # The steps: input, the stages, output.
    stages = ("prepare", *STAGES, STAGES[-1])
    first = stages.index(info["stage"])
    assert [a != b for a, b in zip(before, _steps(protocol))] == [k >= first for k in range(7)]


def test_what_changes_no_result_changes_no_step(scipion):
    protocol = scipion.new_volumes()
    before = _steps(protocol)
    protocol.numberOfThreads.set(4)
    protocol.keepIntermediate.set(False)
    protocol._useQueue.set(True)
    assert _steps(protocol) == before


def test_another_mask_of_the_same_name(scipion, commands, tmp_path):
    from pwem.objects import VolumeMask

    path, density = tmp_path / "mask.mrc", np.zeros((32, 32, 32), np.float32)
    density[6:26, 6:26, 6:26] = 1
    mrcfile.write(str(path), density, voxel_size=SAMPLING)
    mask = VolumeMask(location=str(path))
    mask.setSamplingRate(SAMPLING)
    protocol = scipion.new_volumes()
    protocol._defineSourceRelation = lambda *_: None  # this mask is in no project
    protocol.inputMask.set(mask)
    scipion.run(protocol)
    first = runs.results(protocol)["components/mask.mrc"]
    density[:, :, 16:] = 0
    mrcfile.write(str(path), density, voxel_size=SAMPLING, overwrite=True)
    assert _again(scipion, protocol, commands) == COMMAND_LIST[1:]
    assert runs.results(protocol)["components/mask.mrc"] != first


def test_another_set_of_particles(scipion, simulated_set, tmp_path, commands):
    """The pointer is turned to fewer particles: everything is done again, of them."""
    lines = (simulated_set / "particles.star").read_text().splitlines()
    rows = [k for k, line in enumerate(lines) if "@" in line]
    (tmp_path / "particles.star").write_text("\n".join(lines[: rows[900]]) + "\n\n")
    os.symlink(simulated_set / "particles.mrcs", tmp_path / "particles.mrcs")
    protocol = scipion.run(scipion.new_volumes())
    protocol.inputParticles.set(scipion.import_particles(tmp_path / "particles.star"))
    protocol.inputParticles.setExtended("outputParticles")
    assert _again(scipion, protocol, commands) == COMMAND_LIST
    assert sum(item.getSize() for item in protocol.outputClasses) == 900
    protocol.inputParticles.set(scipion.imported)
    protocol.inputParticles.setExtended("outputParticles")
    assert _again(scipion, protocol, commands) == COMMAND_LIST
    assert sum(item.getSize() for item in protocol.outputClasses) == PARTICLES


# ------------------------------- Images read in parts ------------------------


def test_parts_give_the_same_results(scipion, commands, expected):
    protocol = scipion.run(scipion.new_volumes(readingJobs=3))
    assert commands == READ + COMMAND_LIST[1:]
    assert runs.same(runs.results(protocol), expected)
    assert _again(scipion, protocol, commands) == []
    protocol.numberOfClasses.set(2)
    assert _again(scipion, protocol, commands) == COMMAND_LIST[3:]
    protocol.resolution.set(25)
    assert _again(scipion, protocol, commands) == READ + COMMAND_LIST[1:]
    protocol.resolution.set(20)
    protocol.numberOfClasses.set(3)
    assert _again(scipion, protocol, commands) == READ + COMMAND_LIST[1:]
    assert runs.same(runs.results(protocol), expected)


def test_another_number_of_parts_reads_nothing_again(scipion, commands, expected):
    protocol = scipion.run(scipion.new_volumes(readingJobs=2))
    read = os.stat(protocol._getExtraPath("work", "values.npy"))
    for jobs in (1, 3):
        protocol.readingJobs.set(jobs)
        assert _again(scipion, protocol, commands)[-4:] == COMMAND_LIST[1:]
        after = os.stat(protocol._getExtraPath("work", "values.npy"))
        assert (after.st_ino, after.st_mtime_ns) == (read.st_ino, read.st_mtime_ns)
        assert runs.same(runs.results(protocol), expected)


def test_part_that_fails_is_read_alone_again(scipion, commands, expected):
    protocol = scipion.new_volumes(readingJobs=3)
    commands.bad = ("prepare 3/3",)
    scipion.run(protocol, check=False)
    assert protocol.isFailed() and commands == READ[:3]
    assert "'prepare, part 3 of 3' ended without a result" in protocol.getErrorMessage()
    commands.bad = ()
    assert _again(scipion, protocol, commands) == READ[2:] + COMMAND_LIST[1:]
    assert runs.same(runs.results(protocol), expected)


@pytest.mark.parametrize(
    "lost, again",
    [
        (["part_002_of_003.npz"], ["prepare 2/3"]),
        (["part_002_of_003.read"], ["prepare 2/3"]),
        (["part_001_of_003.npz", "part_003_of_003.npz"], ["prepare 1/3", "prepare 3/3"]),
    ],
)
def test_part_that_is_lost_before_all_are_joined(scipion, commands, expected, lost, again):
    protocol = scipion.new_volumes(readingJobs=3)
    commands.bad = ("prepare join 3",)
    scipion.run(protocol, check=False)
    for name in lost:
        os.remove(protocol._getExtraPath("work", name))
    commands.bad = ()
    assert _again(scipion, protocol, commands) == again + READ[3:] + COMMAND_LIST[1:]
    assert runs.same(runs.results(protocol), expected)


def test_part_that_is_damaged(scipion, commands, expected):
    protocol = scipion.new_volumes(readingJobs=3)
    commands.bad = ("prepare join 3",)
    scipion.run(protocol, check=False)
    path = Path(protocol._getExtraPath("work", "values_part_002_of_003.npy"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    commands.bad = ()
    scipion.run(protocol, check=False)
    assert "Part 2 of 3 of the particles is damaged" in protocol.getErrorMessage()
    assert _again(scipion, protocol, commands) == ["prepare 2/3", READ[3], *COMMAND_LIST[1:]]
    assert runs.same(runs.results(protocol), expected)


@pytest.mark.parametrize("lost", ["values.npy", "prepare.npz", ""])
def test_what_was_joined_is_lost(scipion, commands, expected, lost):
    """One file of it, or all, as where the cropped images are not kept."""
    protocol = scipion.run(scipion.new_volumes(readingJobs=3, keepIntermediate=bool(lost)))
    if lost:
        os.remove(protocol._getExtraPath("work", lost))
    assert _again(scipion, protocol, commands) == READ + COMMAND_LIST[1:]
    assert runs.same(runs.results(protocol), expected)


@pytest.mark.parametrize("jobs", [None, 0, -2, PARTICLES, 10**9])
def test_number_of_jobs(scipion, jobs):
    protocol = scipion.new_volumes()
    protocol.readingJobs.set(jobs)
    assert [
        "Jobs to read the images is %s: give a number from 1 to 999."
        % ("empty" if jobs is None else jobs)
    ] == protocol.validate()[-1:]


# ------------------------------- Scipion's Stop ------------------------------


@pytest.mark.slow
def test_stopped_runs_continue_to_the_same_results(scipion, expected, watched):
    """Stop kills the protocol and the engine; what was done before is not done again."""
    protocol, kept = scipion.new_volumes(numberOfThreads=1), {}
    watched.append(protocol)
    for stage, file in (
        ("prepare", ""),
        ("reconstruct", "values.npy"),
        ("cluster", "components.npz"),
        ("class-volumes", "cluster.npz"),
    ):
        scipion.project.launchProtocol(protocol)
        runs.freeze(protocol, stage)
        scipion.project.stopProtocol(protocol)
        assert protocol.isAborted()
        runs.until(lambda: not runs.engine(protocol), "the end of the engine")
        kept.update({file: _stamp(protocol, file)} if file else {})
        assert all(_stamp(protocol, name) == stamp for name, stamp in kept.items())
    scipion.project.launchProtocol(protocol)
    runs.end(scipion, protocol)
    assert protocol.isFinished(), protocol.getErrorMessage()
    assert all(_stamp(protocol, name) == stamp for name, stamp in kept.items())
    assert runs.same(runs.results(protocol), expected)
    assert protocol.outputVolumes.getSize() == 3


def _stamp(protocol, name):
    status = os.stat(protocol._getExtraPath("work", name))
    return status.st_ino, status.st_mtime_ns
