"""Files appear whole or not at all: written beside their place, then renamed."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Mapping

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.interruption import shielded
from pcainit.io.locks import try_lock

_NPY: Any = np.lib.format  # has no types of its own
_UMASK = threading.Lock()
UNFINISHED = ".pcainit."  # how names of files begin that are still being written


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes `path`.

    The temporary name keeps the suffix, since some writers look at it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = -1, ""
    try:
        with shielded():
            handle, name = tempfile.mkstemp(
                dir=str(target.parent), prefix=UNFINISHED, suffix=target.suffix
            )
        try_lock(handle)  # held while it is written: see `remove_unfinished`
        yield Path(name)
        umask = _umask()
        with contextlib.suppress(OSError):  # some network disks know no rights
            os.chmod(name, 0o666 & ~umask)
        os.replace(name, str(target))
    finally:
        with shielded():
            if name:
                os.close(handle)
                if os.path.exists(name):
                    os.unlink(name)


def _umask() -> int:
    with _UMASK:  # it can only be read by setting it, for all threads
        umask = os.umask(0)
        os.umask(umask)
    return umask


def remove_unfinished(folder: str | Path) -> None:
    """Remove what programs that were killed had not finished writing in a folder.

    A file that a living program is writing is locked by it, and stays.
    """
    for path in Path(folder).glob(UNFINISHED + "*"):
        with contextlib.suppress(OSError):
            handle = os.open(str(path), os.O_RDWR)
            try:
                if try_lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as temporary:
        # As file names come that are not UTF-8, they go.
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON whole; numpy numbers and arrays become plain ones, NaN becomes null."""
    write_text(path, json.dumps(to_json_types(value), indent=2, allow_nan=False) + "\n")


def write_arrays(path: str | Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write an ``.npz`` file of plain arrays whole."""
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        patient = _Patient(handle)
        np.savez(patient, **{name: np.asarray(value) for name, value in arrays.items()})
        if patient.error is not None:
            raise patient.error


class _Patient:
    """A file that keeps the first failure to itself until the archive in it is closed.

    An archive that cannot be finished, or whose writing was stopped, would complain a second time
    when it is thrown away.
    """

    read = None  # numpy takes what has it for a file

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write, if all went well before."""
        if self.error is None and not self.file.closed:
            try:
                return self.file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: closing the file does it."""


def read_arrays(path: str | Path) -> dict[str, AnyArray]:
    """Arrays of an ``.npz`` file, each against its checksum; pickled objects are refused."""
    with zipfile.ZipFile(str(path)) as data:
        # Whole members: numpy alone would trust the shape in a damaged header and stop reading.
        return {
            name[: -len(".npy")]: _NPY.read_array(io.BytesIO(data.read(name)), allow_pickle=False)
            for name in data.namelist()
        }


def to_json_types(value: Any) -> Any:
    """The same value made of JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): to_json_types(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_json_types(value.tolist())
    if isinstance(value, (list, tuple)):
        return [to_json_types(item) for item in value]
    if isinstance(value, np.generic):
        return to_json_types(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
