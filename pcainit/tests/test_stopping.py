"""Being told to stop waits for what must not be cut in two."""
# SPDX-License-Identifier: GPL-3.0-or-later
import os
import signal
import tempfile

import pytest

from pcainit.commands.outcome import Stopped, stoppable
from pcainit.files.atomic import write_text
from pcainit.files.locks import locked
from pcainit.stopping import shielded


def test_the_signal_is_heard_after_the_act():
    done = []
    with pytest.raises(Stopped) as caught, stoppable(), shielded():
        with shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"] and caught.value.code == 143
    with shielded():                    # nothing waits any more
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
