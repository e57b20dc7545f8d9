"""Particle stacks (MRC, SPIDER): found, checked, and read once, in chunks."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from pcainit.buffers import Reused, ReusedByThread
from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.mrc_layout import MrcLayout, read_fully, read_layout

_FORMAT = re.compile(r":mrcs?$")  # as in stack.mrc:mrcs
_UID = re.compile(r"/\d{15,}_(?=[^/]*$)")  # before the names of files that cryoSPARC imported
MAX_DIGITS = 18  # of an image number: what the machine's own integers hold


def locate_stacks(
    names: list[str], star: Path, data_dir: str | None
) -> tuple[tuple[str, ...], AnyArray, AnyArray]:
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
    root, drop = _find_root(paths[0], star, data_dir)
    found = [os.path.realpath(_in_place(root, _tail(path, drop))) for path in paths]
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


def _find_root(path: str, star: Path, data_dir: str | None) -> tuple[Path, int]:
    """Folder that image paths start from, and how many of their folders to leave out for it.

    With a folder given, the ends of the path are tried in it as well, the longest first: people
    move projects from one computer to another, and absolute paths stay behind.
    """
    roots = [Path(data_dir)] if data_dir else _candidate_roots(star)
    for root in roots:
        if os.path.isfile(_in_place(root, path)):
            return root, 0
    depth = len(Path(path).parts)
    if data_dir:
        for drop in range(1, depth):
            tail = _tail(path, drop)
            if os.path.isfile(_in_place(roots[0], tail)):
                return roots[0], drop
    named = shorten(path) or "without a name"
    if os.path.isabs(path):
        raise InputError(
            "The particle stack %s named in %s is an absolute path that is not found here%s: "
            "give the folder that holds the images, or the end of that path (--data-dir)."
            % (named, star, ", nor is any end of it below %s" % data_dir if data_dir else "")
        )
    raise InputError(
        "The particle stack %s named in %s is not found below %s: give the folder that image "
        "paths start from (--data-dir)."
        % (named, star, data_dir or "%s or %s" % (Path.cwd(), star.parent))
    )


def _tail(path: str, drop: int) -> str:
    """A path without its first folders (of an absolute one, the root is the first)."""
    return os.path.join(*Path(path).parts[drop:]) if drop else path


def image_number(text: str) -> int:
    """Number of an image in its stack, from 1; 0 for what is no such number."""
    if not text:
        return 1  # a file of one image needs none
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


def _candidate_roots(star: Path) -> list[Path]:
    return [Path.cwd(), *Path(os.path.realpath(str(star))).parents]


def stack_box(stacks: tuple[str, ...], stack: AnyArray, row: AnyArray) -> int:
    """Common box of all stacks, pixels; every image that is asked for must exist.

    Raises
    ------
    InputError
        Not square, of different sizes, truncated, or too few images.
    """
    boxes = stack_boxes(read_headers(stacks), stack, row)
    other = np.flatnonzero(boxes != boxes[:1])
    if len(other):
        raise InputError(
            "Particle stacks have different boxes (%d and %d pixels, %s): rescale "
            "them to one." % (boxes[0], boxes[other[0]], stacks[other[0]])
        )
    return int(boxes[0]) if len(boxes) else 0


def read_headers(stacks: tuple[str, ...]) -> list[MrcLayout]:
    """Where the images of each stack lie.

    Raises
    ------
    InputError
        One cannot be read, or is truncated.
    """
    return [_read_header(path) for path in stacks]


def stack_boxes(headers: list[MrcLayout], stack: AnyArray, row: AnyArray) -> AnyArray:
    """Box of each stack, (s,) int64 pixels; every image that is asked for must exist.

    Raises
    ------
    InputError
        Images that are not square, or too few.
    """
    last = np.zeros(len(headers), np.int64)
    np.maximum.at(last, stack, row)
    boxes = np.zeros(len(headers), np.int64)
    for k, (header, highest) in enumerate(zip(headers, last)):
        count, ny, nx = header.shape
        if ny != nx:
            raise InputError(
                "The images of %s are %d x %d pixels: they must be square." % (header.path, nx, ny)
            )
        if highest >= count:
            raise InputError(
                "Image %d of %s is asked for, but the stack has %d."
                % (highest + 1, header.path, count)
            )
        boxes[k] = nx
    return boxes


def refuse_unnumbered(headers: list[MrcLayout], stack: AnyArray, names: list[str]) -> None:
    """Refuse names without a number of files that hold several images: which one is meant?

    Raises
    ------
    InputError
    """
    count = np.array([header.shape[0] for header in headers])
    bad = np.array(["@" not in name for name in names]) & (count[stack] > 1)
    if bad.any():
        k = int(np.argmax(bad))
        raise InputError(
            "%s is named without the number of an image, but holds %d (%d of %d particles are "
            "named so): volumes or series of tilts are no particle images, and of a stack each "
            "image has to be named, as in 000001@%s."
            % (
                shorten(names[k]),
                count[stack[k]],
                int(bad.sum()),
                len(bad),
                os.path.basename(headers[stack[k]].path),
            )
        )


def _read_header(path: str) -> MrcLayout:
    """Where the images of one stack lie."""
    try:
        layout = read_layout(path)
    except (ValueError, OSError) as error:
        raise InputError(
            "The particle stack %s cannot be read as MRC or SPIDER (%s)." % (path, error)
        ) from None
    if layout.present < layout.shape[0]:
        raise InputError(
            "The particle stack %s is truncated: %d of its %d images are there. Copy "
            "it again." % (path, layout.present, layout.shape[0])
        )
    return layout


def read_chunks(
    stacks: tuple[str, ...], stack: AnyArray, row: AnyArray, chunk: int, box: AnyArray | None = None
) -> Iterator[tuple[AnyArray, Callable[[], AnyArray]]]:
    """Every image once, in the order in which it lies on disk.

    Parameters
    ----------
    stacks, stack, row : see `locate_stacks`
    chunk : int
        Images at a time.
    box : (n,) int, optional
        Box of each particle's image, where they differ: those at a time have one.

    Yields
    ------
    index : (m,) int64
        Which particles these are.
    read : callable
        Reads their images, (m, box, box) float32. They may be overwritten, and are when the same
        thread reads the next ones.
    """
    room = ReusedByThread()
    order = np.lexsort((row, stack) if box is None else (row, stack, box))
    cuts = [] if box is None else (np.flatnonzero(np.diff(box[order])) + 1).tolist()
    for start, stop in zip([0, *cuts], [*cuts, len(order)]):
        for first in range(start, stop, chunk):
            piece = order[first : min(first + chunk, stop)]
            yield piece, functools.partial(_read_images, stacks, stack[piece], row[piece], room)


def _read_images(stacks: tuple[str, ...], stack: AnyArray, row: AnyArray, room: Reused) -> AnyArray:
    """Images (m, box, box) float32; `stack` and `row` are sorted.

    Read, not mapped: a file that is cut short meanwhile would kill a process that has mapped it.
    """
    out: Any = None
    for number in np.unique(stack):
        header = _read_header(stacks[number])
        dtype, (_, ny, nx) = header.dtype, header.shape
        mine = np.flatnonzero(stack == number)
        if out is None:
            out = room.array((len(stack), ny, nx))
        wanted, size = row[mine], ny * nx * dtype.itemsize
        apart = np.diff(wanted) != 1 if not header.gap else np.ones(len(wanted) - 1, bool)
        bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(mine)]
        try:
            with open(stacks[number], "rb", buffering=0) as file:
                for first, end in zip(bounds[:-1], bounds[1:]):  # runs without gaps or repeats
                    file.seek(header.offset + int(wanted[first]) * (size + header.gap))
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
    read: AnyArray = out
    return read
