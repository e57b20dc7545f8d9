"""What one stage leaves for the next, in memory or in a folder, each with its digest."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import zlib
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pcainit.buffers import reserve, scratch_array
from pcainit.engine.arrays import AnyArray
from pcainit.engine.images.particles import Slices, within_resolution
from pcainit.errors import DamagedResult, InputError
from pcainit.io.atomic import read_arrays, write_arrays
from pcainit.pipeline.flat_arrays import TREE, from_arrays, to_arrays
from pcainit.pipeline.prepare_result import Checksums, PrepareResult, StageResult

IN_MEMORY_BYTES = 4 * 2**30
ROWS = 1024  # of a large array that share a checksum

LARGE = {"values": np.complex64, "ctf": np.float32}  # what the particles are kept in

Kind = TypeVar("Kind", bound=StageResult)

_FORMAT: Any = np.lib.format  # whose functions have no types
DIGEST, NAMES = "digest", "names"  # beside the arrays of a result


class Workspace:
    """Results of the stages.

    Parameters
    ----------
    folder : Path or None
        None keeps everything in memory, except slices that are too large for it: those go to an
        unnamed file beside `scratch`.
    scratch : Path, optional
        Where such files may be written.
    """

    def __init__(self, folder: Path | None, scratch: Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.scratch = Path(scratch) if scratch is not None else None
        self._results: dict[str, tuple[str, StageResult]] = {}
        self._slices: Slices | None = None
        self._coarse: Slices | None = None
        self._unfinished: dict[Path, AnyArray] = {}
        if self.folder is not None:
            make_folder(self.folder)

    def has(self, kind: type[StageResult], digest: str, name: str = "") -> bool:
        """Whether this stage's result is there and was made with these settings."""
        try:
            return self._load(kind, name or kind.stage)[0] == digest
        except InputError:
            return False

    def put(self, result: StageResult, digest: str, name: str = "") -> None:
        """Keep a stage's result, under its own name or that of a part."""
        name, arrays = name or result.stage, to_arrays(result)
        # As a file would give it back.
        self._results[name] = digest, from_arrays(arrays, type(result))
        if self.folder is not None:
            arrays[DIGEST] = np.array(digest)
            arrays[NAMES] = np.array(sorted({*arrays, NAMES}))
            write_arrays(self.folder / (name + ".npz"), arrays)

    def get(self, kind: type[Kind], name: str = "") -> Kind:
        """A stage's result.

        Raises
        ------
        InputError
            It is not there, or cannot be read.
        """
        return self._load(kind, name or kind.stage)[1]

    def expect(self, kind: type[Kind], digest: str) -> Kind:
        """A stage's result that must have been made with these settings."""
        found, result = self._load(kind, kind.stage)
        if found != digest:
            raise InputError(
                "The result of the step %s in %s was made with other parameters: run "
                "that step again." % (kind.stage, self.folder)
            )
        return result

    def _load(self, kind: type[Kind], name: str) -> tuple[str, Kind]:
        """A result and its digest."""
        if name not in self._results:
            path = self.folder / (name + ".npz") if self.folder is not None else None
            if path is None or not path.is_file():
                raise InputError(
                    "The result of the step %s is missing in %s: run that step first."
                    % (name, self.folder)
                )
            try:
                arrays = read_arrays(path)
                # A damaged list of contents may be short of some without being wrong.
                if not set(arrays[NAMES].tolist()) <= set(arrays):
                    raise KeyError(path)
                older = TREE not in arrays
                if not older:
                    self._results[name] = str(arrays[DIGEST]), from_arrays(arrays, kind)
            except Exception as error:  # whatever a damaged file makes the readers raise
                _pass_on(error)
                raise DamagedResult(
                    "The result of the step %s in %s is damaged: run that step "
                    "again." % (name, self.folder),
                    path,
                ) from None
            if older:
                raise InputError(
                    "The result of the step %s in %s was made by an older version: run that step "
                    "again." % (name, self.folder)
                )
        digest, result = self._results[name]
        assert isinstance(result, kind)
        return digest, result

    def allocate(self, name: str, shape: tuple[int, ...], dtype: type) -> AnyArray:
        """Room for a large array: a file of the folder, memory, or an unnamed scratch file.

        Raises
        ------
        InputError
            The disk has no space for it.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.folder is None and (size <= IN_MEMORY_BYTES or self.scratch is None):
            return np.empty(shape, dtype)
        place = self.folder or self.scratch
        try:
            if self.folder is None:
                make_folder(Path(str(self.scratch)))
                return scratch_array(str(self.scratch), shape, dtype)
            path = self.folder / (name + ".npy.part")
            array = _new_file(path, shape, dtype)
            self._unfinished[path] = array
            return array
        except OSError as error:
            self.discard_unfinished()
            raise InputError(
                "There is no room for the %.1f MB of cropped images in %s (%s): free "
                "some space, or choose another folder." % (size / 1e6, place, error.strerror)
            ) from None

    def keep_slices(self, slices: Slices) -> Checksums | None:
        """Keep the slices whose arrays came from `allocate`.

        Returns
        -------
        Checksums or None
            To be kept with the result of the stage; none of what stays in memory.
        """
        sums = {}
        for path, array in self._unfinished.items():
            sums[re.split("[._]", path.name)[0]] = checksums(array)  # of a part too
            if not isinstance(array, np.memmap):  # the file could not be mapped
                with open(path, "r+b") as file:
                    file.seek(_header_bytes(path))
                    file.write(_bytes(array).data)
            os.replace(str(path), str(path)[: -len(".part")])
        self._unfinished.clear()
        self._slices = _frozen(slices) if self.folder is None else None  # else read again
        self._coarse = None
        return Checksums(**sums) if sums else None

    def discard_unfinished(self) -> None:
        """Remove the files from `allocate` that were not filled."""
        for path in self._unfinished:
            path.unlink()
        self._unfinished.clear()

    def discard(self, pattern: str) -> None:
        """Remove files of the folder."""
        assert self.folder is not None
        for path in self.folder.glob(pattern):
            path.unlink()

    def large(self, name: str, shape: tuple[int, ...], dtype: type, sums: AnyArray) -> AnyArray:
        """A large array of the folder, read-only, checked against its checksums.

        Raises
        ------
        DamagedResult
            It is missing or damaged.
        """
        path = Path(str(self.folder), name + ".npy")
        try:
            array = _load(path)
        except Exception as error:  # whatever a damaged file makes the reader raise
            _pass_on(error)
            array = np.zeros(0)
        if (array.shape, array.dtype) != (shape, np.dtype(dtype)) or not np.array_equal(
            checksums(array), sums
        ):
            raise DamagedResult(
                "The prepared particles in %s are missing or damaged (%s): run the "
                "step prepare again." % (self.folder, path.name),
                path,
            )
        return array

    def slices(self) -> Slices:
        """The slices of all particles.

        Raises
        ------
        InputError
            They are missing or damaged.
        """
        if self._slices is None:
            if self.folder is None:
                raise InputError("The particles have not been prepared.")
            meta = self.get(PrepareResult)
            shape = len(meta.half), len(meta.grid.frequencies)
            values, ctf = (
                self.large(name, shape, dtype, getattr(meta.sums, name, np.zeros(0)))
                for name, dtype in LARGE.items()
            )
            self._slices = _frozen(
                Slices(values, ctf, meta.rotations, meta.half, meta.usable, meta.grid)
            )
        return self._slices

    def slices_at(self, resolution: float) -> Slices:
        """The slices of all particles with the samples of a resolution; see `slices`."""
        whole = self.slices()
        if resolution == whole.grid.resolution:
            return whole
        if self._coarse is None or self._coarse.grid.resolution != resolution:
            self._coarse = _frozen(within_resolution(whole, resolution, self._room))
        return self._coarse

    def _room(self, shape: tuple[int, ...], dtype: type) -> AnyArray:
        """Memory, or an unnamed file where that would take too much of it."""
        size, folder = int(np.prod(shape)) * np.dtype(dtype).itemsize, self.folder or self.scratch
        if size <= IN_MEMORY_BYTES or folder is None:
            return np.empty(shape, dtype)
        try:
            return scratch_array(str(folder), shape, dtype)
        except OSError as error:
            raise InputError(
                "There is no room for %.1f MB of cropped images in %s (%s): free some space, or "
                "choose another folder." % (size / 1e6, folder, error.strerror)
            ) from None


def _load(path: Path) -> AnyArray:
    """An ``.npy`` file, mapped if it is large and its file system knows that."""
    if path.stat().st_size > IN_MEMORY_BYTES:
        with contextlib.suppress(OSError):  # whatever else is wrong shows when it is read
            mapped: AnyArray = np.load(str(path), mmap_mode="r", allow_pickle=False)
            return mapped
    array: AnyArray = np.load(str(path), allow_pickle=False)
    return array


def checksums(array: AnyArray) -> AnyArray:
    """CRC-32 of each thousand rows of an array, (m,) uint32."""
    return np.array(
        [
            zlib.crc32(_bytes(array[first : first + ROWS]).data)
            for first in range(0, len(array), ROWS)
        ],
        np.uint32,
    )


def _bytes(array: AnyArray) -> AnyArray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _pass_on(error: Exception) -> None:
    """Raise again what is no fault of the file: trouble with memory, rights, the disk."""
    fault = not isinstance(error, OSError) or error.errno in (None, errno.EINVAL, errno.ENOENT)
    if isinstance(error, MemoryError) or not fault:
        raise error


def _frozen(slices: Slices) -> Slices:
    """The same, read-only, as mapped files are: kernels compiled for either may round otherwise."""
    for name in ("values", "ctf", "rotations", "half", "usable"):
        getattr(slices, name).flags.writeable = False
    return slices


def _new_file(path: Path, shape: tuple[int, ...], dtype: type) -> AnyArray:
    """An ``.npy`` file with its space reserved, mapped, or memory where it cannot be mapped."""
    header = dict(descr=_FORMAT.dtype_to_descr(np.dtype(dtype)), fortran_order=False, shape=shape)
    with open(path, "wb") as file:
        _FORMAT.write_array_header_1_0(file, header)
        offset = file.tell()
        file.flush()
        try:
            reserve(file.fileno(), offset + int(np.prod(shape)) * np.dtype(dtype).itemsize)
        except OSError:
            path.unlink()
            raise
    try:
        return np.memmap(str(path), dtype=dtype, mode="r+", offset=offset, shape=shape)
    except OSError:
        return np.empty(shape, dtype)


def _header_bytes(path: Path) -> int:
    with open(path, "rb") as file:
        _FORMAT.read_magic(file)
        _FORMAT.read_array_header_1_0(file)
        return file.tell()


def make_folder(folder: Path) -> None:
    """Make a folder that can be written to.

    Raises
    ------
    InputError
        It cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            pass
    except OSError as error:
        raise InputError(
            "The output folder %s cannot be written to (%s): choose another."
            % (folder, error.strerror)
        ) from None
