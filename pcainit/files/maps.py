"""MRC maps: volumes and masks."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import warnings
from pathlib import Path
from typing import Tuple

import mrcfile
import numpy as np

from pcainit.files.atomic import replacing
from pcainit.settings import InputError


def write_map(path: str | Path, volume: np.ndarray, sampling: float) -> None:
    """Write a volume (z, y, x) as a float32 MRC map with its sampling rate, whole."""
    with replacing(path) as temporary, mrcfile.new(str(temporary), overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(volume, np.float32))
        mrc.set_volume()
        mrc.voxel_size = float(sampling)


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
        Missing, unreadable, not a cube, or not finite.
    """
    if not Path(path).is_file():
        raise InputError("The %s %s does not exist: check the path." % (what, path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(str(path), permissive=True) as mrc:
                if mrc.data is None:
                    raise ValueError("no data")
                volume = np.array(mrc.data, np.float32)
                sampling = float(mrc.voxel_size.x)
    except (ValueError, OSError, TypeError) as error:
        raise InputError("The %s %s cannot be read as an MRC map (%s)."
                         % (what, path, str(error).splitlines()[0])) from None
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError("The %s %s is not a cube (%s): give a map with equal sides."
                         % (what, path, " x ".join(str(n) for n in volume.shape[::-1])))
    if not np.isfinite(volume).all():
        raise InputError("The %s %s holds values that are not finite numbers." % (what, path))
    return volume, sampling if np.isfinite(sampling) else 0.0
