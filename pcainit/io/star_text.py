"""STAR files as people have them: with a byte order mark, in UTF-16, with letters beyond ASCII."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any

import gemmi

from pcainit.errors import shorten
from pcainit.io.atomic import replacing

_STAND_IN = "\\\\u{%x}"  # the reader knows ASCII alone
_STOOD_IN = re.compile(r"\\\\u\{([0-9a-f]{2,6})\}")
_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
_PLACE = re.compile(r"^string(?::(\d+))?(?::\d+\(\d+\))?:? *(in data_\S*: )?")
_PIECE = 2**22  # characters that are written at a time
MAX_BLOCKS = 1000  # of one file; RELION writes two to five
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode(content: bytes) -> str:
    """A STAR file's content in ASCII: other letters are replaced by stand-ins.

    `plain_text` gives them back.
    """
    mark = next((mark for mark in _MARKS if content.startswith(mark)), None)
    text = content.decode(_MARKS[mark] if mark else "utf-8", "surrogateescape")
    if not text.isascii():
        text = re.sub(r"[^\x00-\x7f]", lambda letter: _STAND_IN % ord(letter.group()), text)
    return text


def read_document(text: str) -> Any:
    """The gemmi document of a STAR file's content, as `decode` gives it.

    Raises
    ------
    ValueError
        It is no STAR file, and at which line that shows.
    """
    if text.count("\ndata_") > MAX_BLOCKS:  # the time to read them grows with their square
        raise ValueError("it has more than %d blocks" % MAX_BLOCKS)
    try:
        return gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        damaged = damaged_rows(text)
        if damaged:
            raise ValueError(damaged) from None
        words = (str(error).splitlines() or [""])[0]
        raise ValueError(
            _PLACE.sub(lambda place: "line %s: " % place.group(1) if place.group(1) else "", words)
        ) from None


class PairTable:
    """A table of one row that was written as pairs, with what is used of gemmi's loops."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.tags = [tag for tag, _ in pairs]
        self.values = [value for _, value in pairs]

    def width(self) -> int:
        """Number of columns."""
        return len(self.tags)

    def length(self) -> int:
        """Number of rows."""
        return 1


def damaged_rows(text: str) -> str:
    """Which rows of a table have not as many values as it has columns; empty if all have.

    For files that have each row in a line of its own, as RELION writes them.
    """
    columns, tags, bad = 0, False, []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0] if line.lstrip().startswith(("#", "_")) else line
        words = words.strip()
        if not words:
            columns = columns if tags or words else 0
        elif words == "loop_":
            columns, tags = 0, True
        elif words.startswith("data_"):
            columns, tags = 0, False
        elif words.startswith("_"):
            columns = columns + 1 if tags else 0
        elif columns:
            tags = False
            count = len(_WORD.findall(words))
            if count != columns:
                bad.append((number, count, columns, words))
    if not bad:
        return ""
    number, count, columns, words = bad[0]
    return "line %d has %d value%s where its table has %d columns: %s%s" % (
        number,
        count,
        "" if count == 1 else "s",
        columns,
        shorten(repr(words)),
        "; %d lines are like that" % len(bad) if len(bad) > 1 else "",
    )


def plain_text(text: str) -> str:
    """Text of a document as it stands in the file."""
    return _STOOD_IN.sub(_letter, text) if "\\\\u{" in text else text


def _letter(code: Any) -> str:
    number = int(code.group(1), 16)
    known = 0x80 <= number < 0xD800 or 0xDC80 <= number < 0xDD00 or 0xE000 <= number <= 0x10FFFF
    return chr(number) if known else code.group()


def write_document(document: Any, path: str | Path, comment: str) -> None:
    """Write a document whole, a comment first."""
    text = plain_text(document.as_string())
    with replacing(path) as temporary, open(str(temporary), "wb") as file:
        # gemmi's own writer would not notice a full disk.
        file.write(("\n# %s\n\n" % comment).encode())
        for first in range(0, len(text), _PIECE):
            file.write(text[first : first + _PIECE].encode("utf-8", "surrogateescape"))
