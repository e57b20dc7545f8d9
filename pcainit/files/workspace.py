"""What one stage leaves for the next: arrays, in memory or in a folder, each with its digest."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np

from pcainit.engine.grid import Grid
from pcainit.engine.particles import Slices
from pcainit.files.atomic import read_arrays, write_arrays
from pcainit.settings import InputError

IN_MEMORY_BYTES = 4 * 2 ** 30


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

    def __init__(self, folder: Optional[Path], scratch: Optional[Path] = None) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.scratch = Path(scratch) if scratch is not None else None
        self._results: Dict[str, Dict[str, np.ndarray]] = {}
        self._slices: Optional[Slices] = None
        self._unfinished: List[Path] = []
        if self.folder is not None:
            make_folder(self.folder)

    def has(self, stage: str, digest: str) -> bool:
        """Whether this stage's result is there and was made with these settings."""
        try:
            return str(self.get(stage)["digest"]) == digest
        except InputError:
            return False

    def put(self, stage: str, digest: str, arrays: Dict[str, np.ndarray]) -> None:
        """Keep a stage's result."""
        arrays = dict(arrays, digest=np.array(digest))
        self._results[stage] = arrays
        if self.folder is not None:
            write_arrays(self.folder / (stage + ".npz"), arrays)

    def get(self, stage: str) -> Dict[str, np.ndarray]:
        """A stage's result.

        Raises
        ------
        InputError
            It is not there, or cannot be read.
        """
        if stage not in self._results:
            path = self.folder / (stage + ".npz") if self.folder is not None else None
            if path is None or not path.is_file():
                raise InputError("The result of the step %s is missing in %s: run that step first."
                                 % (stage, self.folder))
            try:
                self._results[stage] = read_arrays(path)
            except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
                raise InputError("The result of the step %s in %s is damaged: run that step again."
                                 % (stage, self.folder)) from None
        return self._results[stage]

    def expect(self, stage: str, digest: str) -> Dict[str, np.ndarray]:
        """A stage's result that must have been made with these settings."""
        if not self.has(stage, digest):
            self.get(stage)
            raise InputError("The result of the step %s in %s was made with other parameters: run "
                             "that step again." % (stage, self.folder))
        return self.get(stage)

    def allocate(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Room for a large array: a file of the folder, memory, or an unnamed scratch file."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.folder is not None:
            path = self.folder / (name + ".npy.part")
            self._unfinished.append(path)
            return np.lib.format.open_memmap(str(path), mode="w+", dtype=dtype, shape=shape)
        if size <= IN_MEMORY_BYTES or self.scratch is None:
            return np.empty(shape, dtype)
        make_folder(self.scratch)
        handle, path_name = tempfile.mkstemp(dir=str(self.scratch), prefix=".slices.")
        with os.fdopen(handle, "wb") as stream:
            stream.truncate(size)
        array = np.memmap(path_name, dtype=dtype, mode="r+", shape=shape)
        os.unlink(path_name)            # the space goes back when the process ends, however it ends
        return array

    def keep_slices(self, slices: Slices) -> None:
        """Keep the slices whose arrays came from `allocate`."""
        for path in self._unfinished:
            os.replace(str(path), str(path)[:-len(".part")])
        self._unfinished.clear()
        self._slices = slices if self.folder is None else None      # else read again when needed

    def discard_unfinished(self) -> None:
        """Remove the files from `allocate` that were not filled."""
        for path in self._unfinished:
            path.unlink()
        self._unfinished.clear()

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
            meta = self.get("prepare")
            grid = Grid(int(meta["box_px"]), float(meta["sampling"]), float(meta["resolution"]))
            try:
                large = [np.load(str(self.folder / (name + ".npy")), mmap_mode="r",
                                 allow_pickle=False) for name in ("values", "ctf")]
            except (OSError, ValueError):
                large = []
            if any(a.shape != (len(meta["half"]), len(grid.frequencies)) for a in large) \
                    or len(large) != 2:
                raise InputError("The prepared particles in %s are missing or damaged: run the "
                                 "step prepare again." % self.folder)
            if sum(a.nbytes for a in large) <= IN_MEMORY_BYTES:
                large = [np.array(a) for a in large]
            self._slices = Slices(large[0], large[1], meta["rotations"], meta["half"],
                                  meta["usable"], grid)
        return self._slices


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
        raise InputError("The output folder %s cannot be written to (%s): choose another."
                         % (folder, error.strerror)) from None
