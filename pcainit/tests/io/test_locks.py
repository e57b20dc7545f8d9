"""One run at a time in a folder, however the one before it ended."""

# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import fcntl
import os
import subprocess
import sys

import pytest

from pcainit.errors import InputError
from pcainit.io.atomic import UNFINISHED, remove_unfinished
from pcainit.io.locks import LOCK, locked

HOLDER = """
import sys, time
from pcainit.io.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_run_is_refused_and_told_by_whom(tmp_path, holder):
    with pytest.raises(
        InputError, match="in use by another run .process %d on " % holder.pid
    ), locked(tmp_path):
        pass
    with pytest.raises(InputError, match="in use"), locked(tmp_path, shared=True):
        pass


def test_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith("process %d on " % os.getpid())
    assert os.listdir(str(tmp_path)) == []


def test_lock_file_of_another_machine(tmp_path):
    path = tmp_path / LOCK
    path.write_text("process 7 on elsewhere\n")
    with open(str(path)) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="process 7 on elsewhere"), locked(tmp_path):
            pass
    with locked(tmp_path):  # nobody holds it any more: only the file was left
        pass
    assert not path.exists()


def test_shared_locks_go_together_and_exclude_others(tmp_path):
    with locked(tmp_path, shared=True):
        with locked(tmp_path, shared=True), pytest.raises(InputError, match="in use"), locked(
            tmp_path
        ):
            pass
        with pytest.raises(InputError, match="in use"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass
    assert os.listdir(str(tmp_path)) == []


def test_different_names_do_not_meet(tmp_path):
    with locked(tmp_path, "one"), locked(tmp_path, "two"), pytest.raises(
        InputError, match="in use"
    ), locked(tmp_path, "one"):
        pass


def test_folder_without_locks(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    for name in ("left", "written"):
        (tmp_path / (UNFINISHED + name)).write_text("half")
    with open(str(tmp_path / (UNFINISHED + "written"))) as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        remove_unfinished(tmp_path)
    assert os.listdir(str(tmp_path)) == [UNFINISHED + "written"]
