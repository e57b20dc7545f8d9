"""Where the voxels of an MRC file lie, from its header alone: nothing is read that is not there."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from pcainit.engine.arrays import AnyArray

_REAL = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_OTHER = {3: "complex values", 4: "complex values", 16: "colours", 101: "four-bit values"}
_FOURIER = (-11, -12, -21, -22)  # SPIDER's forms that are no images
_IMOD_STAMP, _IMOD_SIGNED = 1146047817, 1
_FORMATS = {
    b"\x89HDF": "an HDF file (EMAN2's .hdf; e2proc2d.py converts it)",
    b"II*\0": "a TIFF file",
    b"MM\0*": "a TIFF file",
    b"\x93NUMPY": "a numpy array",
}
_PACKED = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7z": "xz", b"PK\x03": "zip"}


@dataclass(frozen=True)
class MrcLayout:
    """What the header of an MRC file says, checked against the file.

    Parameters
    ----------
    path : str
    shape : (nz, ny, nx)
    dtype : numpy.dtype
        Of the voxels, in the file's byte order.
    offset : int
        Of the first voxel, bytes.
    present : int
        Sections (images) that the file has; fewer than nz when it is cut short.
    voxel : (x, y, z)
        Sampling rate, Angstrom per pixel; 0 where the header has none.
    axes : (column, row, section)
        Which of x (1), y (2) and z (3) each is.
    sections : int
        Sections of one volume; fewer than nz in a stack of volumes.
    gap : int
        Bytes between one section and the next.
    """

    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    present: int
    voxel: tuple[float, float, float]
    axes: tuple[int, int, int]
    sections: int
    gap: int = 0

    def read(self) -> AnyArray:
        """All voxels.

        Read, not mapped: not every file system knows maps, and a file that is cut short meanwhile
        would kill a process that has mapped it.

        Raises
        ------
        ValueError
            The file is shorter than it was.
        OSError
            It cannot be read.
        """
        voxels = np.empty(self.shape, self.dtype)
        if self.gap:
            raise ValueError("it is a stack of images")
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset)
            if not read_fully(file, voxels):
                raise ValueError("it was cut short while it was read")
        return voxels


def read_layout(path: str | Path) -> MrcLayout:
    """Layout of an MRC file.

    Raises
    ------
    ValueError
        In a few words: it is no MRC file, or holds no real numbers.
    OSError
        It cannot be opened.
    """
    with open(str(path), "rb") as handle:
        head = handle.read(HEADER_DTYPE.itemsize)
        size = os.fstat(handle.fileno()).st_size
    if head[:3] in _PACKED:
        raise ValueError("it is compressed with %s: unpack it" % _PACKED[head[:3]])
    for mark, name in _FORMATS.items():
        if head.startswith(mark):
            raise ValueError("it is no MRC file but %s: convert it to MRC" % name)
    if len(head) < HEADER_DTYPE.itemsize:
        raise ValueError("it is too short for an MRC header")
    spider = read_spider(str(path), head, size)
    if spider is not None:
        return spider
    header, order = _in_byte_order(head)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    mode, extended = int(header["mode"]), int(header["nsymbt"])
    if mode not in _REAL:
        raise ValueError(
            "its mode is %d%s, not that of images or maps"
            % (mode, " (%s)" % _OTHER[mode] if mode in _OTHER else "")
        )
    if min(shape) < 1:
        raise ValueError("its size is %d x %d x %d" % shape[::-1])
    if extended < 0:
        raise ValueError("its extended header has a length of %d bytes" % extended)
    dtype = np.dtype(order + ("u1" if mode == 0 and _unsigned(header, order) else _REAL[mode]))
    offset = HEADER_DTYPE.itemsize + extended
    present = max(0, size - offset) // (shape[1] * shape[2] * dtype.itemsize)
    voxel = (_ratio(header, "x"), _ratio(header, "y"), _ratio(header, "z"))
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    depth = int(header["mz"])
    stack = 401 <= int(header["ispg"]) <= 630 and 0 < depth < shape[0]
    return MrcLayout(
        str(path),
        shape,
        dtype,
        offset,
        min(present, shape[0]),
        voxel,
        axes if sorted(axes) == [1, 2, 3] else (1, 2, 3),
        depth if stack else shape[0],
    )


def read_spider(path: str, head: bytes, size: int) -> MrcLayout | None:
    """Layout of a SPIDER stack or image (float32, a header before each image); None for others."""
    for order in "<>":
        words = np.frombuffer(head[:1024], order + "f4")
        with np.errstate(invalid="ignore"):
            whole = np.isfinite(words[:26]).all() and (words[:26] == np.rint(words[:26])).all()
        if not whole:
            continue
        planes, rows, form, columns, records, header = words[[0, 1, 4, 11, 12, 21]].astype(int)
        length, stack, count = words[[22, 23, 25]].astype(int)
        if (
            min(planes, rows, columns, records) < 1
            or length != 4 * columns
            or header != records * length
            or form not in (1, 3, *_FOURIER)
        ):
            continue
        if form in _FOURIER:
            raise ValueError("it is a SPIDER file of Fourier transforms, not of images")
        images, first, gap = (count, 2 * header, header) if stack > 0 else (planes, header, 0)
        if planes > 1 and stack > 0:
            raise ValueError("it is a SPIDER stack of volumes, not of images")
        each = 4 * int(rows) * int(columns)
        present = max(0, size - first + gap) // (each + int(gap))
        return MrcLayout(
            path,
            (int(images), int(rows), int(columns)),
            np.dtype(order + "f4"),
            int(first),
            min(present, int(images)),
            (0.0, 0.0, 0.0),
            (1, 2, 3),
            int(images),
            int(gap),
        )
    return None


def read_fully(file: Any, room: AnyArray) -> bool:
    """Fill a contiguous array from an unbuffered file; whether the file was long enough."""
    left = room.reshape(-1).view(np.uint8).data
    while len(left):
        count = file.readinto(left)
        if not count:
            return False
        left = left[count:]
    return True


def _ratio(header: Any, axis: str) -> float:
    """Angstrom per pixel along an axis; 0 where the header has no such thing."""
    length, count = float(header["cella"][axis]), int(header["m" + axis])
    return length / count if count > 0 and length > 0 and np.isfinite(length) else 0.0


def _in_byte_order(head: bytes) -> tuple[Any, str]:
    """The header, and the byte order in which it makes sense, whatever its machine stamp says."""
    both = [(np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0], order) for order in "<>"]

    def nonsense(pair: tuple[Any, str]) -> tuple[bool, int]:
        mode = int(pair[0]["mode"])
        return (
            mode not in _REAL and mode not in _OTHER,
            sum(abs(int(pair[0][name])) for name in ("nx", "ny", "nz")),
        )  # for mode 0

    return min(both, key=nonsense)


def _unsigned(header: Any, order: str) -> bool:
    """Bytes are signed by the standard; IMOD's older files say so themselves where they are not."""
    stamp, flags = np.frombuffer(bytes(header["extra2"])[40:48], order + "i4")
    return int(stamp) == _IMOD_STAMP and not int(flags) & _IMOD_SIGNED
