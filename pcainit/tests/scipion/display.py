"""Scripts in Scipion's real window, on a virtual screen."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
import shutil
import subprocess
import sys

import pytest

# What every such script begins with: the project's window, and how a form is opened in it.
WINDOW = """
import os
import sys
import tkinter
import traceback
import pyworkflow
pyworkflow.Config.setDomain("pwem")
from pyworkflow.project import Manager
from pyworkflow.gui.project import ProjectWindow
from pyworkflow.gui.form import FormWindow
window = ProjectWindow(Manager().getProjectPath(sys.argv[1]))

def open_form(protocol, selected=None):
    form = FormWindow("form", protocol, window.viewWidget._executeSaveProtocol, window,
                      updateProtocolCallback=window.viewWidget._updateProtocol,
                      previousProt=selected)
    form.root.update()
    return form

def look_and_leave(look):
    def guarded():
        try:
            look()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)     # Scipion's own threads would keep the process alive
    window.root.after(500, guarded)
    window.show()
"""


def on_a_display(code, folder, *words):
    """What a script prints that runs in Scipion's window on a virtual screen."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    script = folder / "in_the_window.py"
    script.write_text(code)
    read, write = os.pipe()
    display = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1000x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        result = subprocess.run(
            [sys.executable, str(script), "pcainit_tests", *words],
            env=dict(os.environ, DISPLAY=":" + number),
            cwd=str(folder),
            capture_output=True,
            text=True,
            timeout=600,
        )
    finally:
        display.terminate()
        display.wait()
    return result.stdout + result.stderr
