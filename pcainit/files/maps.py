"""MRC maps: volumes and masks."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Tuple

import mrcfile
import numpy as np

from pcainit.files.atomic import replacing
from pcainit.files.foreign import mark_map
from pcainit.files.mrc_layout import read_layout
from pcainit.settings import InputError, shorten


class _Map(mrcfile.mrcfile.MrcFile):
    """A file whose statistics are made without copies of the volume."""

    def update_header_stats(self) -> None:
        """Set the header's least, largest and mean value and standard deviation."""
        planes = self.data.reshape(len(self.data), -1)
        mean = planes.mean(dtype=np.float64)
        squares = (planes[:, None] @ planes[:, :, None]).sum(dtype=np.float64)
        self.header.dmin, self.header.dmax, self.header.dmean = planes.min(), planes.max(), mean
        self.header.rms = np.sqrt(max(squares / planes.size - mean ** 2, 0))


def write_map(path: str | Path, volume: np.ndarray, sampling: float) -> None:
    """Write a volume (z, y, x) as a float32 MRC map with its sampling rate, whole."""
    with replacing(path) as temporary, _Map(str(temporary), mode="w+", overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(volume, np.float32))
        mrc.set_volume()
        mrc.voxel_size = float(sampling)
        mark_map(mrc)


def read_map(path: str | Path, what: str = "map") -> Tuple[np.ndarray, float]:
    """A cubic MRC map and its sampling rate.

    Parameters
    ----------
    path : str or Path
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
    """
    if not os.path.isfile(str(path)):
        raise InputError("The %s %s does not exist: check the path." % (what, shorten(str(path))))
    try:
        layout = read_layout(path)
        if layout.present < layout.shape[0]:
            raise ValueError("it is truncated: %d of its %d sections are there"
                             % (layout.present, layout.shape[0]))
    except (ValueError, OSError) as error:
        raise InputError("The %s %s cannot be read as an MRC map (%s): give one that is "
                         "complete."
                         % (what, path, error)) from None
    if layout.sections < layout.shape[0]:
        raise InputError("The %s %s holds several volumes: give a file with one." % (what, path))
    if len(set(layout.shape)) != 1:
        raise InputError("The %s %s is not a cube (%d x %d x %d): give a map with equal sides."
                         % (what, path, *layout.shape[::-1]))
    if max(layout.voxel) > 1.01 * min(layout.voxel) > 0:
        raise InputError("The %s %s has voxels of %g x %g x %g A: resample it to cubic ones, or "
                         "correct its header." % (what, path, *layout.voxel))
    # The header says which axis varies fastest: usually x.
    order = [layout.axes[::-1].index(axis) for axis in (3, 2, 1)]
    try:
        voxels = layout.read()
    except (ValueError, OSError) as error:
        raise InputError("The %s %s cannot be read (%s): copy it again." % (what, path, error)
                         ) from None
    with np.errstate(over="ignore"):        # beyond float32 is not finite, which is said below
        volume = np.ascontiguousarray(voxels.transpose(order), np.float32)
    if not np.isfinite(volume).all():
        raise InputError("The %s %s holds values that are not finite numbers: give one without."
                         % (what, path))
    return volume, layout.voxel[0]
