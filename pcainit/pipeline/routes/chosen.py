"""One more volume, of particles that the user chose, from what a run left in its work folder."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.consensus.poses import correct_slices
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.geometry.resample import to_grid
from pcainit.engine.projection.reconstruction import reconstruct_groups
from pcainit.errors import InputError
from pcainit.io.fingerprint import require_regular_file
from pcainit.pipeline.results import ComponentsResult, ConsensusResult
from pcainit.pipeline.store import Workspace

LEAST = 20  # chosen particles that make a volume


def volume_of(
    workspace: Workspace, rows: AnyArray, symmetry: str = "c1"
) -> tuple[AnyArray, Grid, int]:
    """Volume of some particles on the greyscale of the run's class volumes.

    Outside the run's mask it carries the consensus, as they do.  Junk that the run set aside is
    left out, and poses are corrected as in the run.

    Parameters
    ----------
    workspace : Workspace
        With the results of the stages prepare and reconstruct.
    rows : (m,) int
        Particles, from 0 in the order of the run's STAR file.
    symmetry : str
        Point group of the volume.

    Returns
    -------
    (box, box, box) float32
    Grid
    int
        Particles that were used.

    Raises
    ------
    InputError
        Too few particles, or rows that do not exist.
    """
    base = workspace.get(ConsensusResult)
    coarse = base.grid
    with contextlib.suppress(InputError):  # of a run that has gone on
        found = workspace.get(ComponentsResult).particles
        # What is handed over is at the volumes' resolution: finer detail is not needed for it.
        base = found.consensus_of(base) if found is not None and found.mask_grown else base
    slices, quality = workspace.slices_at(base.grid.resolution), base.quality
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    if len(rows) and not 0 <= rows[0] <= rows[-1] < len(slices):
        raise InputError(
            "The chosen particles are numbered from %d to %d, but the run has %d: "
            "choose among the run's own." % (rows[0] + 1, rows[-1] + 1, len(slices))
        )
    rows = rows[(slices.usable if quality is None else quality.keep)[rows]]
    if len(rows) < LEAST:
        raise InputError(
            "Only %d usable particles are chosen: at least %d are needed." % (len(rows), LEAST)
        )
    if quality is not None:
        slices = correct_slices(slices, quality.offsets)
    (volume,) = reconstruct_groups(
        slices, [rows], base.consensus, symmetry=symmetry_matrices(symmetry)
    )
    mean = base.consensus.mean
    volume = mean + (volume - mean) * base.mask
    if coarse.resolution != base.grid.resolution:
        volume = to_grid(volume[None], base.grid, coarse)[0]
    return volume, coarse, len(rows)


def read_rows(path: str | Path) -> AnyArray:
    """Row numbers from a text file: the first word of each line, counted from 1; # is a comment.

    Returns
    -------
    (m,) int64
        Counted from 0.

    Raises
    ------
    InputError
        The file cannot be read or holds something else.
    """
    try:
        text = require_regular_file(path).read_text(encoding="utf-8")
        words = [
            line.split()[0]
            for line in text.splitlines()
            if line.strip() and not line.lstrip().startswith("#")
        ]
        rows = np.array([int(word) for word in words], dtype=np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            "The list of particles %s cannot be read (%s): give one row number of "
            "the run's particles in each line." % (path, error)
        ) from None
    return rows - 1
