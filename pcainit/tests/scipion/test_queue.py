"""A real queue, SLURM on this machine: the run as one job, each command as one, and what fails."""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = [pytest.mark.scipion, pytest.mark.slow]

import pyworkflow  # noqa: E402

from pcainit.io.locks import LOCK, locked  # noqa: E402
from pcainit.tests.scipion import runs, slurm_node  # noqa: E402

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "queue.md"
PARTS = 3
ONE_BY_ONE = tuple(int(word) for word in pyworkflow.__version__.split(".")[:3]) >= (3, 11, 7)
SILENT = (
    "The step 'prepare, part 2 of 3' ended without a result: it was killed, cancelled, ran "
    "out of memory, or never started. See the run's logs."
)
PREPARE, JOIN = (2, 3, 4), 5  # steps


@pytest.fixture(scope="module")
def queue(scipion_session):
    """A SLURM that Scipion knows by the hosts.conf of docs/queue.md."""
    missing = slurm_node.missing()
    if missing:
        pytest.skip("SLURM is not installed: no %s" % ", ".join(missing))
    try:
        node = slurm_node.SlurmNode()
    except RuntimeError as error:
        pytest.skip(str(error))
    hosts = Path(os.environ["SCIPION_HOSTS"])
    before = hosts.read_text()
    try:
        hosts.write_text(re.search(r"```ini\n(.*?)```", GUIDE.read_text(), re.S).group(1))
        scipion_session.project._loadHosts(None)
        yield node
    finally:
        hosts.write_text(before)
        scipion_session.project._loadHosts(None)
        node.stop()


@pytest.fixture(scope="module")
def expected(scipion_session):
    """Results of a run without a queue and in one part."""
    os.chdir(scipion_session.path)
    return runs.results(scipion_session.run(scipion_session.new_volumes()))


@pytest.fixture
def watched(scipion):
    """Runs that are started as processes; none of them outlives the test."""
    protocols = []
    yield protocols
    runs.clean_up(scipion, protocols)


def _check(scipion, protocol, expected):
    """It finished, with the very same results."""
    runs.end(scipion, protocol)
    assert protocol.isFinished(), protocol.getErrorMessage()
    assert runs.same(runs.results(protocol), expected)
    assert protocol.outputVolumes.getSize() == 3


def _new(scipion, each_command, **values):
    protocol = scipion.new_volumes(numberOfThreads=1, **values)
    protocol._useQueue.set(True)
    protocol.setQueueParams(
        (
            "batch",
            {"JOB_MEMORY": "2", "JOB_HOURS": "1", "QUEUE_FOR_JOBS": "Y" if each_command else "N"},
        )
    )
    return protocol


def _new_jobs(node, protocol, known):
    """{step: state} of the jobs of a run that are not yet among the known ones."""
    found = {}
    for number, (name, state) in node.jobs().items():
        if number not in known and name.startswith("%s-" % protocol.strId()):
            found[int(name.split("-")[1])] = state
    return found


# ------------------------------- The run as one job --------------------------


def test_whole_run_as_one_job(scipion, queue, expected, watched):
    """Stopped in the middle, cancelled in the middle, then continued to the same results."""
    protocol = _new(scipion, each_command=False, readingJobs=2)
    watched.append(protocol)
    scipion.project.launchProtocol(protocol)
    runs.freeze(protocol, "prepare", "2/2")
    assert [name for name, _ in queue.jobs().values()][-1:] == [protocol.strId()]
    scipion.project.stopProtocol(protocol)
    assert protocol.isAborted()
    runs.until(lambda: not queue.waiting() and not runs.engine(protocol), "the end of the job")
    assert os.path.exists(protocol._getExtraPath("work", "part_001_of_002.npz"))

    scipion.project.launchProtocol(protocol)
    runs.freeze(protocol, "components")
    read = os.stat(protocol._getExtraPath("work", "values.npy")).st_mtime_ns
    queue.ask("scancel", str(queue.waiting()[-1]))
    runs.end(scipion, protocol)
    assert protocol.isFailed() and "not found running" in protocol.getErrorMessage()
    assert not runs.engine(protocol)

    scipion.project.launchProtocol(protocol)
    _check(scipion, protocol, expected)
    assert os.stat(protocol._getExtraPath("work", "values.npy")).st_mtime_ns == read
    runs.until(lambda: not queue.waiting(), "the end of the job")


# ------------------------------- Each command as a job -----------------------


@pytest.mark.skipif(
    not ONE_BY_ONE,
    reason="pyworkflow before 3.11.7 cannot ask SLURM for the jobs "
    "of single commands: it mistakes their numbers",
)
def test_jobs_that_fail_and_continue(scipion, queue, expected, watched):
    """A part that fails, is cancelled, vanishes or is stopped: said so, and read alone again."""
    protocol, known = _new(scipion, each_command=True, readingJobs=PARTS), set(queue.jobs())
    watched.append(protocol)

    def failed():
        runs.end(scipion, protocol)
        assert protocol.isFailed()
        message, jobs = protocol.getErrorMessage(), _new_jobs(queue, protocol, known)
        known.update(queue.jobs())
        return message, jobs

    # Another run seems to be at work on part 2: the engine says so in that job.
    scipion.project._setupProtocol(protocol)
    work = Path(protocol._getExtraPath("work"))
    with _busy(work, LOCK + ".part_002_of_003"):
        scipion.project.launchProtocol(protocol)
        message, jobs = failed()
    assert "in use by another run" in message and "\n" not in message, message
    assert set(jobs) == set(PREPARE) and jobs[3] == "FAILED"
    assert jobs[2] == jobs[4] == "COMPLETED"

    # Cancelled by someone: SLURM's word for it.
    scipion.project.launchProtocol(protocol)
    runs.freeze(protocol, "--chunk", "2/3")
    queue.ask("scancel", str(queue.waiting()[-1]))
    message, jobs = failed()
    assert "CANCELLED" in message and "slurmstepd" in message, message
    assert jobs == {3: "CANCELLED"}

    # Killed, as where memory runs out.
    scipion.project.launchProtocol(protocol)
    runs.freeze(protocol, "--chunk", "2/3").kill()
    message, jobs = failed()
    assert message.endswith(SILENT), message
    assert jobs == {3: "FAILED"}

    # Gone without a word, and the queue knows nothing of it.
    scipion.project.launchProtocol(protocol)
    runs.freeze(protocol, "--chunk", "2/3")
    assert set(_new_jobs(queue, protocol, known)) == {3}
    assert len(queue.processes()) == 3  # SLURM's own, the script, the engine
    queue.forget()
    known.clear()
    assert not queue.jobs()
    message, _ = failed()
    assert message.endswith(SILENT), message

    # Stopped in Scipion.
    scipion.project.launchProtocol(protocol)
    runs.freeze(protocol, "--chunk", "2/3")
    scipion.project.stopProtocol(protocol)
    assert protocol.isAborted()
    runs.until(lambda: not queue.waiting() and not runs.engine(protocol), "the end of the job")
    assert set(_new_jobs(queue, protocol, known)) == {3}
    known.update(queue.jobs())

    scipion.project.launchProtocol(protocol)
    _check(scipion, protocol, expected)
    jobs = _new_jobs(queue, protocol, known)
    assert jobs == dict.fromkeys((3, *range(JOIN, JOIN + 5)), "COMPLETED")
    assert not list(Path(protocol._getLogsPath()).glob("*.json"))


@contextlib.contextmanager
def _busy(folder, name):
    """Hold the lock that a run at work in a folder holds."""
    folder.mkdir(parents=True)
    with locked(folder, name, False):
        yield
