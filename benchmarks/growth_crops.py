"""A work folder as the stage prepare leaves it, from simulated crops."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TextIO

import crops
import numpy as np

from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.geometry.poses import euler_from_rotation
from pcainit.engine.images.particles import Slices
from pcainit.io.fingerprint import content_identity, file_identity
from pcainit.pipeline.prepare import Source
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.stage_order import stage_digest
from pcainit.pipeline.store import LARGE, Workspace
from pcainit.settings import Settings

LABELS = (
    "rlnImageName",
    "rlnMicrographName",
    "rlnOpticsGroup",
    "rlnRandomSubset",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
)
OPTICS = (
    "rlnOpticsGroupName",
    "rlnOpticsGroup",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnImagePixelSize",
    "rlnImageSize",
    "rlnImageDimensionality",
)


def make_work(folder: Path, count: int, box: int, threads: int) -> None:
    """Make the crops, the STAR file that they would come from, and the stage's result.

    Parameters
    ----------
    folder : Path
        The work folder; `particles.star` in it names images that do not exist.
    count : int
    box : int
        Working box.
    threads : int
    """
    set_threads(threads)
    grid = crops.grid_of_box(box)
    settings, workspace = Settings(resolution=crops.RESOLUTION), Workspace(folder)
    shape = count, len(grid.frequencies)
    values, ctf = (workspace.allocate(name, shape, dtype) for name, dtype in LARGE.items())
    slices = Slices(
        values,
        ctf,
        np.empty((count, 3, 3), np.float32),
        np.empty(count, np.int8),
        np.ones(count, bool),
        grid,
    )
    star = folder / "particles.star"
    with open(star, "w", encoding="ascii") as out:
        out.write(
            "\ndata_optics\n\n"
            + _head(OPTICS)
            + "simulated 1 300.0 2.7 0.1 %r %d 2\n" % (grid.sampling, grid.box_px)
        )
        out.write("\ndata_particles\n\n" + _head(LABELS))
        for chunk in crops.simulate_crops(count, grid):
            crops.fill(slices, chunk)
            _write_rows(out, chunk, grid.sampling)
        out.write("\n")
    identity = content_identity(str(star))
    without: Any = None  # of the particles only the slices are needed
    source = Source(str(star), without, grid, identity, identity + file_identity(()))
    result = PrepareResult(
        grid=grid,
        rotations=slices.rotations,
        half=slices.half,
        usable=slices.usable,
        redrawn=False,
        images={},
        star=os.path.abspath(str(star)),
        star_near=star.name,
        identity=source.identity,
        star_identity=identity,
        sums=workspace.keep_slices(slices),
    )
    workspace.put(result, stage_digest(settings, "prepare", source.identity))


def _head(labels: Any) -> str:
    return "loop_\n" + "".join("_%s #%d\n" % (label, k + 1) for k, label in enumerate(labels))


def _write_rows(out: TextIO, chunk: crops.Chunk, sampling: float) -> None:
    particles = chunk.truth.particles
    parameters: Any = particles.ctf
    numbers = np.column_stack(
        [
            parameters.defocus_u,
            parameters.defocus_v,
            parameters.defocus_angle,
            euler_from_rotation(particles.rotations),
            particles.shifts_px * sampling,
        ]
    )
    first: int = chunk.rows.start
    rows: list[str] = [
        "%06d@particles.mrcs mic%05d.mrc 1 %d %s\n"
        % (first + k + 1, (first + k) // 100, half, " ".join("%.5f" % number for number in row))
        for k, (half, row) in enumerate(zip(particles.half.tolist(), numbers.tolist()))
    ]
    out.write("".join(rows))
