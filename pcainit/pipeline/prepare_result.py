"""What the stage prepare makes, of all particles or of a part of them."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pcainit.engine.arrays import AnyArray, BoolArray, FloatArray, IntArray
from pcainit.engine.geometry.grid import Grid


class StageResult:
    """What a stage leaves for the next, under the stage's name."""

    stage: ClassVar[str]


@dataclass(frozen=True, eq=False)
class Checksums:
    """Of the large arrays of slices, which lie in files of their own; see `store.checksums`.

    Parameters
    ----------
    values, ctf : (m,) uint32
    """

    values: IntArray
    ctf: IntArray


@dataclass(frozen=True, eq=False)
class PrepareResult(StageResult):
    """What the stage prepare says of the particles; their slices lie beside it.

    Parameters
    ----------
    grid : Grid
    rotations : (n, 3, 3) float32
    half : (n,) int8
        Half-set 1 or 2.
    usable : (n,) bool
    redrawn : bool
        Whether the half-sets were drawn anew.
    images : dict
        See `census.describe_images`.
    star, star_near : str
        The STAR file, and how it lies as seen from the work folder.
    identity, star_identity : str
        What the particles with their images, and the STAR file alone, are recognised by.
    sums : Checksums, optional
        None when nothing was written.
    notes : list of str
        Sentences on what is unusual about the particles.
    aside : (n,) int8, optional
        Which are set aside for what their rows say, by the number of the reason from 1.
    reasons : list of str
    """

    stage: ClassVar[str] = "prepare"
    grid: Grid
    rotations: FloatArray
    half: IntArray
    usable: BoolArray
    redrawn: bool
    images: dict[str, Any]
    star: str
    star_near: str
    identity: str
    star_identity: str
    sums: Checksums | None
    notes: list[str] = field(default_factory=list)
    aside: IntArray | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def set_aside(self) -> list[tuple[int, str]]:
        """Row (from 0) of each particle that was set aside for what its row says, and why."""
        if self.aside is None:
            return []
        return [(k, self.reasons[self.aside[k] - 1]) for k in np.flatnonzero(self.aside).tolist()]


@dataclass(frozen=True, eq=False)
class PartResult(StageResult):
    """What is known of the images of one part of the particles; see `prepare.prepare_part`.

    Parameters
    ----------
    powers, varied : (m, ...) arrays
        See `crop.Census`.
    transferred : float
    surroundings : (m, ...) float32
    sums : Checksums
    """

    stage: ClassVar[str] = "part"  # each is kept under a name of its own
    powers: AnyArray
    varied: AnyArray
    transferred: float
    surroundings: FloatArray
    sums: Checksums
