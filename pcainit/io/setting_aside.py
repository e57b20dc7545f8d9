"""Rows of a particle file that cannot be used: some are set aside and counted, all are refused.

Other programs write values that mean that something failed: no number, 0, or a negative defocus.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError
from pcainit.io.columns import rows

MOST = 0.5  # of the particles may be set aside
FEW = 0.1  # of them may lie outside their images; more speak of another unit
SMALLEST = 50.0  # Angstrom of defocus, unless a phase plate was used
PLATE = 5.0  # degrees of phase shift


class SettingAside:
    """Which particles are set aside, and why.

    Parameters
    ----------
    count : int
        Number of particles.
    where : object
        The file that they stand in.
    """

    def __init__(self, count: int, where: object) -> None:
        self.where = where
        self.code = np.zeros(count, np.int8)
        self.reasons: list[str] = []

    def add(self, bad: AnyArray, reason: str, remedy: str) -> None:
        """Set some particles aside.

        Raises
        ------
        InputError
            With these they are more than half of all.
        """
        new = bad & (self.code == 0)
        if not new.any():
            return
        self.reasons.append(reason)
        self.code[new] = len(self.reasons)
        if (self.code > 0).sum() > MOST * len(self.code):
            raise InputError(
                "%s: %d of %d particles cannot be used: %s. %s"
                % (
                    self.where,
                    (self.code > 0).sum(),
                    len(self.code),
                    "; ".join("%s of %s" % pair for pair in self._counted()),
                    remedy,
                )
            )

    def _counted(self) -> list[tuple[str, str]]:
        return [(why, rows(self.code == k + 1)) for k, why in enumerate(self.reasons)]

    def notes(self) -> list[str]:
        """A sentence on what was set aside; none where nothing was."""
        if not self.reasons:
            return []
        return [
            "Particles left out: %s (left_out.txt lists them)."
            % "; ".join("%s of %s" % pair for pair in self._counted())
        ]


def judge_poses(aside: SettingAside, angles: list[AnyArray], shifts: AnyArray) -> None:
    """Set aside what has no pose, in place: no number, or several poses that are all zeros."""
    pose = np.column_stack([*angles, shifts])
    none = ~np.isfinite(pose).all(axis=1)
    aside.add(none, "no number in the pose", "Take the particles of a 3D refinement.")
    zero = (pose == 0).all(axis=1)
    if zero.sum() > 1:
        aside.add(zero, "a pose of zeros", "Take the particles of a 3D refinement.")
    for column in [*angles, *shifts.T]:
        column[none] = 0.0


def judge_shifts(aside: SettingAside, shifts: AnyArray, box: AnyArray) -> None:
    """Set aside the few particles whose shift puts them outside their own image.

    Parameters
    ----------
    aside : SettingAside
    shifts : (n, 2) float64
        Pixels of the images.
    box : (n,) int
        Of each particle's image.
    """
    out = ~(np.abs(shifts) <= box[:, None]).all(axis=1)
    if out.sum() <= FEW * len(out):
        aside.add(out, "an origin outside the box", "Take the particles of a 3D refinement.")
        shifts[out] = 0.0


def judge_defocus(
    aside: SettingAside, u: AnyArray, v: AnyArray, angle: AnyArray, phase: AnyArray
) -> None:
    """Set aside what has no defocus, and give it one that does no harm, in place.

    Parameters
    ----------
    aside : SettingAside
    u, v : (n,) float64
        Angstrom.
    angle, phase : (n,) float64
        Azimuth and phase shift, degrees.
    """
    none = ~(np.isfinite(u) & np.isfinite(v) & np.isfinite(angle))
    remedy = "Estimate the CTF again, or run without CTF correction (--no-ctf)."
    aside.add(none, "no number in the defocus", remedy)
    with np.errstate(invalid="ignore"):
        plate = np.abs(phase) > PLATE
        negative = ((u < 0) | (v < 0)) & ~none & ~plate
        small = ((np.abs(u) < SMALLEST) & (np.abs(v) < SMALLEST)) & ~none & ~negative & ~plate
    aside.add(small, "a defocus of 0", remedy)
    aside.add(
        negative,
        "a negative defocus",
        "Underfocus is positive: where it is negative in the program that wrote the file (Xmipp, "
        "for instance), change the sign of rlnDefocusU and rlnDefocusV.",
    )
    bad = none | negative | small
    if bad.any() and not bad.all():
        for column in (u, v, angle):
            column[bad] = np.median(column[~bad])
