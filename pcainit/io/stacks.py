"""Particle stacks: found, checked, and read once, in chunks."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from pcainit.buffers import Reused, ReusedByThread
from pcainit.errors import InputError, shorten
from pcainit.io.mrc_layout import read_fully, read_layout

_FORMAT = re.compile(r":mrcs?$")  # as in stack.mrc:mrcs
_UID = re.compile(r"/\d{15,}_(?=[^/]*$)")  # before the names of files that cryoSPARC imported
MAX_DIGITS = 18  # of an image number: what the machine's own integers hold


def locate_stacks(
    names: list[str], star: Path, data_dir: str | None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Files and image numbers of RELION image names such as ``000012@folder/stack.mrcs``.

    Parameters
    ----------
    names : list of str
    star : Path
        The STAR file that they stand in.
    data_dir : str or None
        Folder that relative names start from; looked for when None.

    Returns
    -------
    stacks : tuple of str
        Absolute paths.
    stack : (n,) int32
    row : (n,) int64
        From 0.

    Raises
    ------
    InputError
        A file is missing.
    """
    number: dict[str, int] = {}
    stack = np.empty(len(names), np.int32)
    row = np.empty(len(names), np.int64)
    for i, name in enumerate(names):
        index, _, path = name.strip("'\"").rpartition("@")
        stack[i] = number.setdefault(path, len(number))
        row[i] = image_number(index) - 1
    if (row < 0).any():
        bad = int(np.argmax(row < 0))
        raise InputError(
            "%s: rlnImageName of row %d is %r; image numbers start at 1."
            % (star, bad + 1, shorten(names[bad]))
        )
    paths = list(number)
    roots = [Path(data_dir)] if data_dir else _candidate_roots(star)
    root = next((r for r in roots if os.path.isfile(_in_place(r, paths[0]))), None)
    if root is None:
        raise InputError(
            "The particle stack %s named in %s is not found below %s: give the "
            "folder that image paths start from (--data-dir)."
            % (
                shorten(paths[0]) or "without a name",
                star,
                data_dir or "%s or %s" % (Path.cwd(), star.parent),
            )
        )
    found = [os.path.realpath(_in_place(root, path)) for path in paths]
    missing = [path for path, full in zip(paths, found) if not os.path.isfile(full)]
    if missing:
        raise InputError(
            "%d of %d particle stacks are missing below %s, the first is %s."
            % (len(missing), len(paths), root, shorten(missing[0]))
        )
    return tuple(found), stack, row


def _in_place(root: Path, path: str) -> str:
    """Where a stack lies: without RELION's note on its format or cryoSPARC's number, if need be."""
    full = str(root / path)
    for plain in (full, _FORMAT.sub("", full), _UID.sub("/", _FORMAT.sub("", full))):
        if os.path.isfile(plain):
            return plain
    return full


def image_number(text: str) -> int:
    """Number of an image in its stack, from 1; 0 for what is no such number."""
    if not text:
        return 1  # a file of one image needs none
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


def _candidate_roots(star: Path) -> list[Path]:
    return [Path.cwd(), *Path(os.path.realpath(str(star))).parents]


def stack_box(stacks: tuple[str, ...], stack: np.ndarray, row: np.ndarray) -> int:
    """Common box of all stacks, pixels; every image that is asked for must exist.

    Raises
    ------
    InputError
        Not square, of different sizes, truncated, or too few images.
    """
    box = None
    last = np.zeros(len(stacks), np.int64)
    np.maximum.at(last, stack, row)
    for path, highest in zip(stacks, last):
        count, ny, nx = _read_header(path)[2]
        if ny != nx:
            raise InputError(
                "The images of %s are %d x %d pixels: they must be square." % (path, nx, ny)
            )
        if box is not None and nx != box:
            raise InputError(
                "Particle stacks have different boxes (%d and %d pixels, %s): rescale "
                "them to one." % (box, nx, path)
            )
        if highest >= count:
            raise InputError(
                "Image %d of %s is asked for, but the stack has %d." % (highest + 1, path, count)
            )
        box = nx
    return int(box or 0)


def _read_header(path: str) -> tuple[np.dtype, int, tuple[int, int, int]]:
    """Type of the numbers of one MRC stack, where they begin, and (images, y, x)."""
    try:
        layout = read_layout(path)
    except (ValueError, OSError) as error:
        raise InputError(
            "The particle stack %s cannot be read as MRC (%s)." % (path, error)
        ) from None
    if layout.present < layout.shape[0]:
        raise InputError(
            "The particle stack %s is truncated: %d of its %d images are there. Copy "
            "it again." % (path, layout.present, layout.shape[0])
        )
    return layout.dtype, layout.offset, layout.shape


def read_chunks(
    stacks: tuple[str, ...], stack: np.ndarray, row: np.ndarray, chunk: int
) -> Iterator[tuple[np.ndarray, Callable[[], np.ndarray]]]:
    """Every image once, in the order in which it lies on disk.

    Parameters
    ----------
    stacks, stack, row : see `locate_stacks`
    chunk : int
        Images at a time.

    Yields
    ------
    index : (m,) int64
        Which particles these are.
    read : callable
        Reads their images, (m, box, box) float32. They may be overwritten, and are when the same
        thread reads the next ones.
    """
    order, room = np.lexsort((row, stack)), ReusedByThread()
    for first in range(0, len(order), chunk):
        piece = order[first : first + chunk]
        yield piece, functools.partial(_read_images, stacks, stack[piece], row[piece], room)


def _read_images(
    stacks: tuple[str, ...], stack: np.ndarray, row: np.ndarray, room: Reused
) -> np.ndarray:
    """Images (m, box, box) float32; `stack` and `row` are sorted.

    Read, not mapped: a file that is cut short meanwhile would kill a process that has mapped it.
    """
    out: Any = None
    for number in np.unique(stack):
        dtype, offset, (_, ny, nx) = _read_header(stacks[number])
        mine = np.flatnonzero(stack == number)
        if out is None:
            out = room.array((len(stack), ny, nx))
        wanted, size = row[mine], ny * nx * dtype.itemsize
        bounds = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(mine)]
        try:
            with open(stacks[number], "rb", buffering=0) as file:
                for first, end in zip(bounds[:-1], bounds[1:]):  # runs without gaps or repeats
                    file.seek(offset + int(wanted[first]) * size)
                    place = out[mine[first] : mine[end - 1] + 1]
                    direct = dtype == np.float32
                    images = place if direct else np.empty(place.shape, dtype)
                    if not read_fully(file, images):
                        raise InputError(
                            "The particle stack %s was cut short while it was read: "
                            "copy it again." % stacks[number]
                        )
                    if not direct:
                        place[:] = images
        except OSError as error:
            raise InputError(
                "The particle stack %s cannot be read (%s): see that it is all there "
                "and that you may read it." % (stacks[number], error.strerror)
            ) from None
    return out
