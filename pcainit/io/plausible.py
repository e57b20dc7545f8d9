"""Values that no microscope gives: another unit, another column, a slip of the pen."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError
from pcainit.io.columns import rows

# Label -> lowest and highest value that is read, and what to look for beyond them.
_RANGES: dict[str, tuple[float, float, str]] = {
    "rlnVoltage": (10, 3000, "it is given in kV, usually 60 to 400"),
    "rlnSphericalAberration": (-100, 100, "it is given in mm, usually 0 to 3"),
    "rlnAmplitudeContrast": (-1, 1, "it is a share, usually 0.1"),
    "rlnDefocusU": (-1e6, 1e6, "it is given in Angstrom, usually 5000 to 30000"),
    "rlnDefocusV": (-1e6, 1e6, "it is given in Angstrom, usually 5000 to 30000"),
    "rlnDefocusAngle": (-36000, 36000, "it is given in degrees"),
    "rlnPhaseShift": (-36000, 36000, "it is given in degrees"),
    "rlnCtfBfactor": (-500, 1e5, "it is given in square Angstrom, usually 0"),
    "rlnCtfScalefactor": (1e-3, 1e3, "it is a positive factor, usually 1"),
    "rlnAngleRot": (-36000, 36000, "it is given in degrees"),
    "rlnAngleTilt": (-36000, 36000, "it is given in degrees"),
    "rlnAnglePsi": (-36000, 36000, "it is given in degrees"),
}
_PIXEL = (0.01, 1000.0)  # Angstrom
_MICROMETRES = 50.0  # a defocus in Angstrom is not as small as that
_ENOUGH = 20  # particles that tell radians from degrees


def check_range(values: AnyArray, label: str, path: object) -> None:
    """Refuse a column whose values are in no known unit.

    Raises
    ------
    InputError
        Naming the first row that is out of range.
    """
    low, high, remedy = _RANGES[label]
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            "%s: %s of %s is %s%g, which cannot be: %s."
            % (
                path,
                label,
                rows(bad),
                "in the first of them " if bad.sum() > 1 else "",
                values[row],
                remedy,
            )
        )


def check_pixel_size(values: AnyArray, path: object) -> None:
    """Refuse pixel sizes that no particles have; see `check_range`."""
    low, high = float(values.min()), float(values.max())
    if not low > 0:
        raise InputError("%s gives a pixel size of %g A: it must be positive." % (path, low))
    if low < _PIXEL[0] or high > _PIXEL[1]:
        raise InputError(
            "%s gives a pixel size of %g A, which cannot be: it is given in Angstrom."
            % (path, low if low < _PIXEL[0] else high)
        )


def check_defocus(defocus: AnyArray, path: object) -> None:
    """Refuse defocus in micrometres; see `check_range`."""
    size = np.abs(defocus)
    if 0 < size.max(initial=0) <= _MICROMETRES:
        raise InputError(
            "%s: rlnDefocusU is at most %g, which looks like micrometres: it is given "
            "in Angstrom, usually 5000 to 30000." % (path, size.max())
        )


def check_degrees(angles: list[AnyArray], path: object) -> None:
    """Refuse Euler angles (rot, tilt, psi) in radians; in degrees they would be one view, hardly
    turned.
    """
    most = 2 * np.pi + 1e-3
    if (
        len(angles[2]) >= _ENOUGH
        and np.ptp(angles[2]) > 3
        and all(np.abs(angle).max() < most for angle in angles)
    ):
        raise InputError(
            "%s: all of rlnAngleRot, rlnAngleTilt and rlnAnglePsi lie between -6.3 "
            "and 6.3, which looks like radians: they are given in degrees." % path
        )


def check_shifts(shifts: AnyArray, box: AnyArray, path: object) -> None:
    """Refuse shifts (n, 2) in pixels that put particles outside their own images (boxes (n,))."""
    bad = ~(np.abs(shifts) <= box[:, None]).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            "%s: the origin of %s is %s%.3g, %.3g pixels away, more than the box "
            "(%d): rlnOriginXAngst is given in Angstrom, rlnOriginX in pixels."
            % (
                path,
                rows(bad),
                "in the first of them " if bad.sum() > 1 else "",
                shifts[row, 0],
                shifts[row, 1],
                box[row],
            )
        )
