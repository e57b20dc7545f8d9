"""Fixtures shared by the tests: an offline Scipion project with imported particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import fcntl
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import pytest

# Files that go to one worker, one after another.  With so many tests they come first: while one
# worker compiles most of the kernels, the other does what needs few of them and waits a lot.
TOGETHER = (
    ("engine/test_numerics_under_stress.py", "robustness/test_faults.py"),
    (
        "scipion/test_form.py",
        "scipion/test_continue.py",
        "scipion/test_queue.py",
        "scipion/test_kills.py",
    ),
)
SAMPLING = 6.0
PARTICLES = 1000  # the fewest that cryoSPARC's 3D classification takes
HOSTS = """[localhost]
PARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s
NAME = localhost
MANDATORY = False
SUBMIT_COMMAND = %_(JOB_SCRIPT)s
SUBMIT_TEMPLATE =
    %_(JOB_COMMAND)s
CHECK_COMMAND = ""
CANCEL_COMMAND = ""
QUEUES = { }
"""


def pytest_configure(config):
    """Set Scipion's environment, before any test module imports it; children inherit it."""
    home = Path(tempfile.mkdtemp(prefix="pcainit-tests-"))
    config.scipion_home = home
    (home / "config").mkdir()
    (home / "config" / "hosts.conf").write_text(HOSTS)
    os.environ.update(
        SCIPION_HOME=str(home),
        SCIPION_HOSTS=str(home / "config" / "hosts.conf"),
        SCIPION_USER_DATA=str(home / "user"),
        SCIPION_DOMAIN="pwem",
        SCIPION_NOTIFY="False",
        SCIPION_TEST_NOSYNC="True",
        SCIPION_PRIORITY_PACKAGE_LIST="pwem",
        NO_COLOR="1",
        PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
    )
    # The same examples each time, however slow the machine is just then.
    hypothesis.settings.register_profile(
        "suite",
        derandomize=True,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("suite")


def pytest_unconfigure(config):
    """Remove what the tests left in Scipion's home."""
    shutil.rmtree(config.scipion_home, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files for each worker, and those in `TOGETHER` for the same one; most tests first."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return next((files[0] for files in TOGETHER if file.endswith(files)), file)

    return Together(config, log)


@pytest.fixture(scope="session", autouse=True)
def kernels_compiled_once():
    """One worker has all kernels compiled before its first test, the others wait for it."""
    from pcainit.engine.compiled import kept

    with open(kept.__file__, "rb") as source:
        fcntl.flock(source, fcntl.LOCK_EX)
        kept.begin()
        kept.finish()


@pytest.fixture
def no_report(monkeypatch):
    """Runs in this process write no report: its plots take seconds."""
    monkeypatch.setattr("pcainit.output.report.write_report", lambda folder, summary: None)


@pytest.fixture(scope="session")
def simulated_set(tmp_path_factory):
    """Folder of a small simulated set: particles.star, particles.mrcs, truth/."""
    from pcainit.cli.main import main

    folder = tmp_path_factory.mktemp("simulated")
    assert (
        main(
            [
                "simulate",
                str(folder),
                "--particles",
                str(PARTICLES),
                "--box",
                "32",
                "--sampling",
                str(SAMPLING),
                "--seed",
                "1",
            ]
        )
        == 0
    )
    return folder


class ScipionProject:
    """One project for the whole session, run from this process.

    Parameters
    ----------
    particles : Path
        Simulated set to import.
    """

    def __init__(self, particles: Path) -> None:
        import pyworkflow

        pyworkflow.Config.setDomain("pwem")
        from pyworkflow.project import Manager

        self.project = Manager().createProject("pcainit_tests")
        self.path = self.project.path
        self.project.load(chdir=True)
        self.stages = []  # names of the stages that were run
        self.imported = self.import_particles(particles / "particles.star")

    def import_particles(self, star: Path, **values):
        """Run ProtImportParticles on a RELION STAR file."""
        from pwem.protocols import ProtImportParticles

        values = dict(
            dict(
                importFrom=ProtImportParticles.IMPORT_FROM_RELION,
                starFile=str(star),
                magnification=10000,
                samplingRate=SAMPLING,
                haveDataBeenPhaseFlipped=False,
            ),
            **values,
        )
        return self.run(self.project.newProtocol(ProtImportParticles, **values))

    def new_volumes(self, **values):
        """A protocol of ours that points at the imported particles, quick by default."""
        from pcainit.protocols import PcaInitProtInitialVolumes

        values = dict(
            dict(method=1, numberOfClasses=3, particlesPerReconstruction=40, reconstructions=25),
            **values,
        )
        protocol = self.project.newProtocol(PcaInitProtInitialVolumes, **values)
        protocol.inputParticles.set(self.imported)
        protocol.inputParticles.setExtended("outputParticles")
        return protocol

    def run_engine(self, log, program, arguments, **options):
        """Stand in for the executor's runJob: one stage without a new process or a report."""
        from pcainit.cli.main import main

        python, module, *words = shlex.split(arguments)
        assert (python, module) == ("-m", "pcainit")
        self.stages.append(words[0])
        with mock.patch("pcainit.output.report.write_report"):  # its plots take seconds
            if main(words):
                raise RuntimeError("non-zero exit")

    def run(self, protocol, check=True, processes=False):
        """Run a protocol in this process; a second time means Continue.

        The engine's stages run in this process too, unless `processes` asks for real commands.
        """
        from pyworkflow.protocol.executor import StepExecutor

        if not protocol.hasObjId():
            self.project.saveProtocol(protocol)
            protocol.makePathsAndClean()
        else:
            protocol._steps = []
        executor = StepExecutor(self.project.getHostConfig("localhost"))
        if not processes:
            executor.runJob = self.run_engine
        executor.setProtocol(protocol)
        protocol.setStepsExecutor(executor)
        protocol.run()
        if check:
            assert protocol.isFinished(), protocol.getErrorMessage()
        return protocol


@pytest.fixture(scope="session")
def scipion_session(simulated_set):
    """The session's Scipion project; use `scipion` in tests."""
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    pytest.importorskip("relion", reason="scipion-em-relion, which reads STAR files, is missing")
    before = os.getcwd()
    try:
        yield ScipionProject(simulated_set)
    finally:
        os.chdir(before)


@pytest.fixture
def scipion(scipion_session, monkeypatch):
    """The session's Scipion project, with its folder as the current one."""
    monkeypatch.chdir(scipion_session.path)
    return scipion_session
