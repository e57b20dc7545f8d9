"""Errors that users read, each one plain sentence."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Bad input, explained by one plain sentence for the user."""


class DamagedResult(InputError):
    """A result of a stage that is missing or damaged; `path` is its file."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self.path = path


def shorten(text: str, most: int = 200) -> str:
    """Cut a word from outside so that it can stand in a sentence."""
    return text if len(text) <= most else text[: most // 2] + "..." + text[-most // 4 :]
