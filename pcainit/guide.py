"""Where the guide is: beside the sources, or in the installed package."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path


def guide() -> Path:
    """Absolute path of the guide, README.md; its links lead to the other pages beside it.

    ``setup.py`` copies the pages into the package; in a checkout they are its own.
    """
    package = Path(__file__).resolve().parent
    installed = package / "guide" / "README.md"
    return installed if installed.exists() else package.parent / "README.md"
