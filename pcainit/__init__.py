"""Initial volumes for 3D classification of cryo-EM particles, by principal component analysis.

Importing this package loads nothing else: the command line runs without Scipion, and Scipion
finds the plugin without loading the numerical engine.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__url__ = "https://github.com/scipion-em/scipion-em-pcainit"
_logo = "logo.png"
_references = ["Punjani2017", "Penczek2011", "Punjani2021"]


def __getattr__(name: str) -> Any:
    """Load `Plugin` when Scipion first asks for it."""
    if name == "Plugin":
        return import_module("pcainit.plugin").Plugin
    raise AttributeError("module %r has no attribute %r" % (__name__, name))
