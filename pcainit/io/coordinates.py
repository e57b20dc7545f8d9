"""Latent coordinates from files of other programs; nothing in them can run code."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.cryosparc import coordinates_of, match_rows
from pcainit.io.fingerprint import require_regular_file
from pcainit.io.particle_table import ParticleTable

_NPY: Any = np.lib.format  # has no types of its own
CSDAT = b"\x95CSDAT"  # begins a .cs file that is not a numpy array
_MAX_COLUMNS = 10000
_LONGEST_LINE = 30 * _MAX_COLUMNS
_LARGEST, _SMALLEST = 1e30, 1e-30  # squares of what lies beyond are no numbers any more
# All that a damaged or hostile file has been seen to raise.
ARRAY_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    SyntaxError,
    RecursionError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def match_coordinates(path: str | Path, table: ParticleTable) -> tuple[AnyArray, str]:
    """Latent coordinates, one row for each particle in the order of the STAR file.

    The rows of a .cs file are brought into that order where it and the STAR file name the images.

    Parameters
    ----------
    path : str or Path
        ``.npy``; ``.npz`` with an array `coordinates` (or one array alone); ``.cs`` of cryoSPARC's
        3D Variability (fields ``components_mode_*/value``); else a text table.
    table : ParticleTable

    Returns
    -------
    (n, q) float64
    str
        What the rows were matched by: `order`, unless they name their particles.

    Raises
    ------
    InputError
        It cannot be read, or does not fit the particles.
    """
    path, count, by = Path(path), len(table), "order"
    if not path.exists():
        raise InputError(
            "The file of coordinates %s does not exist: check the path." % shorten(str(path))
        )
    try:
        rows = _load(path, count)
        values = np.asarray(coordinates_of(rows) if rows.dtype.names is not None else rows)
        if values.dtype.kind not in "fiub":
            raise ValueError("it holds %s values, not real numbers" % values.dtype)
        with np.errstate(over="ignore"):
            values = values.astype(np.float64)
        if rows.dtype.names is not None:
            row, by = match_rows(rows, table, path)
            values = values if row is None else values[row]
    except InputError:
        raise
    except ARRAY_FAULTS as error:
        raise InputError(
            "The coordinates %s cannot be read (%s): give an .npy or .npz array, "
            "cryoSPARC's .cs file, or a text table."
            % (path, shorten(" ".join(str(error).split()) or type(error).__name__))
        ) from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(
            "The coordinates %s are an array of shape %s: give one row for each "
            "particle." % (path, values.shape)
        )
    if len(values) != count:
        raise _other_length(path, "more" if len(values) > count else str(len(values)), count)
    if not (np.abs(values) < _LARGEST).all():
        bad = int(np.flatnonzero(~(np.abs(values) < _LARGEST).all(axis=1))[0])
        raise InputError(
            "The coordinates %s have a value that is no finite number in row %d: "
            "leave that particle out." % (path, bad + 1)
        )
    if not np.ptp(values, axis=0).max() > _SMALLEST:
        raise InputError(
            "The coordinates %s are the same for all particles: there is nothing to cluster." % path
        )
    return values, by


def _other_length(path: Path, rows: str, count: int) -> InputError:
    return InputError(
        "The coordinates %s have %s rows for %d particles: give one row for each "
        "particle, in the order of the STAR file." % (path, rows, count)
    )


def _load(path: Path, count: int) -> AnyArray:
    with open(require_regular_file(path), "rb") as handle:
        head = handle.read(2)
        handle.seek(0)
        if head[:1] == b"\x80":
            raise ValueError(
                "it is a Python pickle, which could run code: load it in Python and "
                "save the array with numpy.save"
            )
        if handle.read(len(CSDAT)) == CSDAT:
            raise ValueError(
                "it is in cryoSPARC's compressed format: save it as an array with the "
                "package cryosparc-tools, Dataset.load(old).save(new)"
            )
        handle.seek(0)
        if path.suffix == ".npz":
            with zipfile.ZipFile(handle) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                if not names:
                    raise ValueError("it holds no array")
                if len(names) > 1 and "coordinates.npy" not in names:
                    raise ValueError(
                        "it holds %d arrays and none is named coordinates" % len(names)
                    )
                chosen = "coordinates.npy" if "coordinates.npy" in names else names[0]
                with archive.open(chosen) as member:
                    return _read_array(member, path, count, False)
        if path.suffix in (".npy", ".cs"):
            return _read_array(handle, path, count, path.suffix == ".cs")
    with open(str(path), encoding="utf-8-sig") as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty file is named below
        if len(text.readline(_LONGEST_LINE)) == _LONGEST_LINE:
            raise ValueError("its first line has more than %d letters" % _LONGEST_LINE)
        text.seek(0)
        return np.loadtxt(
            text, ndmin=2, max_rows=count + 1, delimiter="," if path.suffix == ".csv" else None
        )


def _read_array(handle: IO[bytes], path: Path, count: int, named: bool) -> AnyArray:
    """Array of an .npy file, looked at before it is read: its header may promise anything.

    Rows that name their particles may be more than there are particles.
    """
    version = _NPY.read_magic(handle)
    read_header = _NPY.read_array_header_1_0 if version == (1, 0) else _NPY.read_array_header_2_0
    shape, by_column, dtype = read_header(handle)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code")
    if named and dtype.names and len(shape) == 1:
        most = path.stat().st_size // max(dtype.itemsize, 1)
    else:
        most = count * _MAX_COLUMNS
        if len(shape) and shape[0] != count:
            raise _other_length(path, str(shape[0]), count)
    size = int(np.prod([int(n) for n in shape], dtype=object))
    if not 0 <= size <= most:
        raise ValueError("its shape is %s" % (shape,))
    content = handle.read(size * dtype.itemsize)
    if len(content) < size * dtype.itemsize:
        raise ValueError("it is cut short")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")
