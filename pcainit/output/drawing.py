"""Figures also where the user has no home and no folder for temporary files, as in containers."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path


def prepare_drawing(folder: str | Path) -> None:
    """Import matplotlib, which wants a place for its list of fonts.

    Parameters
    ----------
    folder : str or Path
        Lends it a place for as long as that takes, where there is no other.
    """
    try:
        importlib.import_module("matplotlib.font_manager")
    except (OSError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            del sys.modules[name]  # what is half imported
        with tempfile.TemporaryDirectory(prefix=".pcainit.", dir=str(folder)) as place:
            os.environ["MPLCONFIGDIR"] = place
            try:
                importlib.import_module("matplotlib.font_manager")
            finally:
                del os.environ["MPLCONFIGDIR"]
