"""MRC maps: volumes and masks."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable

import mrcfile
import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.atomic import replacing
from pcainit.io.mrc_layout import read_layout
from pcainit.io.ownership import mark_map


def write_map(path: str | Path, volume: AnyArray, sampling: float) -> None:
    """Write a volume (z, y, x) as a float32 MRC map with its sampling rate, whole.

    Parameters
    ----------
    path : str or Path
        Replaced if it exists.
    volume : (z, y, x) array
        Densities.
    sampling : float
        Angstrom per pixel.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from pcainit.io.maps import write_map
    >>> path = os.path.join(tempfile.mkdtemp(), "map.mrc")
    >>> write_map(path, np.zeros((16, 16, 16), np.float32), sampling=2.5)
    >>> os.path.exists(path)
    True
    """
    write_blocks(path, [np.ascontiguousarray(volume, np.float32)], volume.shape, sampling)


def write_blocks(
    path: str | Path, blocks: Iterable[AnyArray], shape: tuple[int, ...], sampling: float
) -> None:
    """Write a map that is made block by block: whole, but it need not be in memory as a whole.

    Parameters
    ----------
    path : str or Path
    blocks : iterable of (k, y, x) float32
        C-contiguous, from the first plane to the last.
    shape : (z, y, x)
    sampling : float
        Angstrom per pixel.
    """
    least, largest, total, squares = np.inf, -np.inf, 0.0, 0.0
    count = float(np.prod(shape))
    with replacing(path) as temporary:
        with mrcfile.new(str(temporary), np.zeros((1, 1, 1), np.float32), overwrite=True) as mrc:
            mrc.set_volume()
            mark_map(mrc)
            header = mrc.header.copy()
        with open(str(temporary), "r+b") as file:
            file.seek(header.nbytes)
            for block in blocks:
                file.write(block.data)
                planes = block.reshape(len(block), -1)
                least = min(least, float(planes.min()))
                largest = max(largest, float(planes.max()))
                total += float(planes.sum(dtype=np.float64))
                squares += float((planes[:, None] @ planes[:, :, None]).sum(dtype=np.float64))
            header.nz, header.ny, header.nx = header.mz, header.my, header.mx = shape
            for axis, length in zip("zyx", shape):
                header.cella[axis] = length * float(sampling)
            header.dmin, header.dmax, header.dmean = least, largest, total / count
            header.rms = np.sqrt(max(squares / count - (total / count) ** 2, 0))
            file.seek(0)
            file.write(header.tobytes())


def read_mask(path: str | Path, sampling: float = 0.0) -> tuple[AnyArray, float]:
    """A mask and its sampling rate: the given one, or, where that is 0, the header's.

    Parameters, return values and errors as of `read_map`.
    """
    volume, own = read_map(path, "mask")
    return volume, sampling or own


def read_map(path: str | Path, what: str = "map") -> tuple[AnyArray, float]:
    """A cubic MRC map and its sampling rate.

    Parameters
    ----------
    path : str or Path
        Of the map.
    what : str
        What the map is for, as the user calls it.

    Returns
    -------
    volume : (box, box, box) float32
    sampling : float
        Angstrom per pixel; 0 when the header has none.

    Raises
    ------
    InputError
        Missing, unreadable, not one cube with cubic voxels, or not finite.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from pcainit.io.maps import read_map, write_map
    >>> path = os.path.join(tempfile.mkdtemp(), "map.mrc")
    >>> write_map(path, np.ones((16, 16, 16), np.float32), sampling=2.5)
    >>> volume, sampling = read_map(path)
    >>> volume.shape, sampling
    ((16, 16, 16), 2.5)
    """
    if not os.path.isfile(str(path)):
        raise InputError("The %s %s does not exist: check the path." % (what, shorten(str(path))))
    try:
        layout = read_layout(path)
        if layout.present < layout.shape[0]:
            raise ValueError(
                "it is truncated: %d of its %d sections are there"
                % (layout.present, layout.shape[0])
            )
    except (ValueError, OSError) as error:
        raise InputError(
            "The %s %s cannot be read as an MRC map (%s): give one that is "
            "complete." % (what, path, error)
        ) from None
    if layout.sections < layout.shape[0]:
        raise InputError("The %s %s holds several volumes: give a file with one." % (what, path))
    if len(set(layout.shape)) != 1:
        raise InputError(
            "The %s %s is not a cube (%d x %d x %d): give a map with equal sides."
            % (what, path, *layout.shape[::-1])
        )
    if max(layout.voxel) > 1.01 * min(layout.voxel) > 0:
        raise InputError(
            "The %s %s has voxels of %g x %g x %g A: resample it to cubic ones, or "
            "correct its header." % (what, path, *layout.voxel)
        )
    # The header says which axis varies fastest: usually x.
    order = [layout.axes[::-1].index(axis) for axis in (3, 2, 1)]
    try:
        voxels = layout.read()
    except (ValueError, OSError) as error:
        raise InputError(
            "The %s %s cannot be read (%s): copy it again." % (what, path, error)
        ) from None
    with np.errstate(over="ignore"):  # beyond float32 is not finite, which is said below
        volume = np.ascontiguousarray(voxels.transpose(order), np.float32)
    if not np.isfinite(volume).all():
        raise InputError(
            "The %s %s holds values that are not finite numbers: give one without." % (what, path)
        )
    return volume, layout.voxel[0]
