"""Sets of maps as a user names them: files, folders, and lists of files with weights."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.fingerprint import require_regular_file
from pcainit.io.maps import read_map

SUFFIXES = (".mrc", ".map")


@dataclass(frozen=True)
class MapFile:
    """One map of a set.

    Parameters
    ----------
    path : str
    weight : float
    sampling : float
        Angstrom per pixel; 0: as in the file's header.
    """

    path: str
    weight: float = 1.0
    sampling: float = 0.0

    def read(self) -> tuple[AnyArray, float]:
        """The volume and its sampling rate.

        Raises
        ------
        InputError
            It cannot be read, or nothing says how large its pixels are.
        """
        volume, sampling = read_map(self.path, "volume")
        sampling = self.sampling or sampling
        if not sampling > 0:
            raise InputError(
                "The volume %s has no sampling rate in its header: give it in a list "
                "file, as the third word of its line." % self.path
            )
        return volume, sampling


def find_maps(words: Sequence[str]) -> list[MapFile]:
    """All maps that files, folders and lists name, in order.

    A folder stands for all its maps in the order of their names; the folder of a result for its
    class volumes.  A list is a text file with a path in each line, then, if wanted, its weight and
    its sampling rate; relative paths start from the list's folder.

    Raises
    ------
    InputError
        One of them does not exist, or a list cannot be read.
    """
    found: list[MapFile] = []
    for word in words:
        path = Path(word)
        if os.path.isdir(word):
            inner = path / "volumes"
            folder = inner if os.path.isdir(str(inner)) else path
            maps = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
            if not maps:
                raise InputError("The folder %s has no maps (.mrc): give one that has." % folder)
            found += [MapFile(str(p)) for p in maps]
        elif path.suffix.lower() in SUFFIXES:
            found.append(MapFile(str(path)))
        else:
            found += _read_list(path)
    for entry in found:
        if not os.path.isfile(entry.path):
            raise InputError("The volume %s does not exist: check the path." % shorten(entry.path))
        if not 0 <= entry.sampling <= 1000:
            raise InputError(
                "The sampling rate of %s is %g A per pixel: give a positive number."
                % (entry.path, entry.sampling)
            )
        if not (entry.weight > 0 and np.isfinite(entry.weight)):
            raise InputError(
                "The weight of %s is %g: give a positive number, or leave the volume "
                "out." % (entry.path, entry.weight)
            )
    return found


def _read_list(path: Path) -> list[MapFile]:
    if not os.path.exists(str(path)):
        raise InputError(
            "The set of volumes %s does not exist: check the path." % shorten(str(path))
        )
    try:
        lines = require_regular_file(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "%s is no map (.mrc), folder or list of maps that can be read (%s): name "
            "such a one." % (shorten(str(path)), shorten(str(error)))
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line, comments=True)
            values = [float(word) for word in words[1:3]]
        except ValueError as error:
            raise InputError(
                "%s: line %d cannot be read (%s): write a path, then its weight and "
                "sampling rate." % (path, number, shorten(str(error)))
            ) from None
        if words:
            found.append(MapFile(str(path.parent / words[0]), *values))
    if not found:
        raise InputError("The list %s names no maps: write one path in each line." % path)
    return found
