"""Being told to stop waits for what must not be cut in two."""

# SPDX-License-Identifier: GPL-3.0-or-later
import gc
import os
import signal
import tempfile
import threading

import numpy as np
import pytest

from pcainit.cli.failures import Stopped, stoppable
from pcainit.interruption import shielded
from pcainit.io.atomic import write_arrays, write_text
from pcainit.io.locks import locked


def test_the_signal_is_heard_after_the_act():
    done = []
    with pytest.raises(Stopped) as caught, stoppable(), shielded():
        with shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"] and caught.value.code == 143
    with shielded():  # nothing waits any more
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_stays_of_a_file_that_was_just_begun(tmp_path, monkeypatch, number):
    real = tempfile.mkstemp

    def mkstemp(*words, **options):
        made = real(*words, **options)
        os.kill(os.getpid(), number)
        return made

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    before = signal.getsignal(number)
    signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped), stoppable(), locked(tmp_path):
            write_text(tmp_path / "a.txt", "text")
    finally:
        signal.signal(number, before)
    assert not list(tmp_path.iterdir())


def test_a_lock_is_given_back_before_the_end(tmp_path, monkeypatch):
    real = os.close

    def close(handle):
        os.kill(os.getpid(), signal.SIGTERM)
        real(handle)

    with pytest.raises(Stopped), stoppable(), locked(tmp_path):
        monkeypatch.setattr(os, "close", close)
    assert not list(tmp_path.iterdir())


def test_another_thread_does_not_hear_it():
    """The main thread stops at once, whatever others are in the middle of."""
    inside, go_on, heard = threading.Event(), threading.Event(), []

    def act():
        try:
            with shielded():
                inside.set()
                go_on.wait(60)
        except BaseException as error:
            heard.append(error)

    other = threading.Thread(target=act)
    with pytest.raises(Stopped), stoppable():
        other.start()
        inside.wait(60)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            heard.append("nothing")
        finally:
            go_on.set()
            other.join()
    assert not heard


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_an_archive_that_is_stopped_says_nothing(tmp_path, monkeypatch):
    real = np.lib.format.write_array

    def write_array(*words, **options):
        real(*words, **options)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(np.lib.format, "write_array", write_array)
    with pytest.raises(Stopped), stoppable():
        write_arrays(tmp_path / "a.npz", {"a": np.zeros(3), "b": np.zeros(3)})
    gc.collect()
    assert not list(tmp_path.iterdir())
