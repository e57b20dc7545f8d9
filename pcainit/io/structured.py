"""Arrays with named fields as cryoSPARC saves them, read as data alone: nothing in them can run."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import inspect
import io
from pathlib import Path
from typing import Any

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.fingerprint import require_regular_file

_NPY: Any = np.lib.format  # has no types of its own
CSDAT = b"\x95CSDAT"  # begins a .cs file that is not a numpy array
_MAX_HEADER = 2**20  # bytes; numpy's own limit of 10,000 is too small for 3D classifications
_MAX_DEPTH = 20  # of brackets in a header; Python's parser may crash far beyond


def parse_structured(content: bytes) -> AnyArray:
    """The array of a ``.cs`` file's content.

    Raises
    ------
    ValueError
        It is none, is cut short, or holds what is no plain data.
    """
    if content.startswith(b"\x80"):
        raise ValueError("it is a Python pickle, which could run code")
    if content.startswith(CSDAT):
        return _read_compressed(content)
    file = io.BytesIO(content)
    version = _NPY.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError("its numpy format %s is not known" % (version,))
    place, width = file.tell(), 2 if version == (1, 0) else 4
    length = int.from_bytes(content[place : place + width], "little")
    header = content[place + width : place + width + length]
    if length > _MAX_HEADER or _depth(header) > _MAX_DEPTH:
        raise ValueError("its header is far longer or deeper than any of cryoSPARC's")
    formats = np.lib.format
    reader: Any = formats.read_array_header_1_0 if width == 2 else formats.read_array_header_2_0
    longer = "max_header_size" in inspect.signature(reader).parameters
    options = {"max_header_size": _MAX_HEADER} if longer else {}
    shape, _, dtype = reader(file, **options)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code")
    if dtype.names is None or len(shape) != 1 or not dtype.itemsize:
        raise ValueError("it is no table with named fields")
    rest = len(content) - file.tell()
    if not 0 <= shape[0] * dtype.itemsize <= rest:
        raise ValueError("it is cut short")
    return np.frombuffer(content, dtype, count=int(shape[0]), offset=file.tell())


def read_structured(path: Path) -> tuple[AnyArray, bytes]:
    """The rows of a ``.cs`` file, and its content.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        content = require_regular_file(path).read_bytes()
        return parse_structured(content), content
    except Exception as error:  # the parsers of numpy and Python raise of every kind
        if isinstance(error, InputError):
            raise
        raise InputError(
            "%s cannot be read as cryoSPARC's particles (%s): give a .cs file as cryoSPARC wrote "
            "it, or copy it again." % (path, shorten(" ".join(str(error).split()) or "damaged"))
        ) from None


def _depth(header: bytes) -> int:
    """How deeply brackets are nested."""
    deepest = depth = 0
    for letter in header:
        if letter in b"([{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in b")]}":
            depth -= 1
    return deepest


def _read_compressed(content: bytes) -> AnyArray:
    """Rows of cryoSPARC's compressed stream, by its own library where that is installed."""
    try:
        from cryosparc.dataset import Dataset
    except ImportError:
        raise ValueError(
            "it is in cryoSPARC's compressed format, which the package cryosparc-tools reads: "
            "install pcainit[cryosparc], or save it as an array with Dataset.load(old).save(new)"
        ) from None
    rows = Dataset.load(io.BytesIO(content)).to_records(fixed=True)
    return np.asarray(rows).view(np.ndarray)
