"""The stage prepare: in one go, or in parts that are made side by side and joined."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from pcainit import checks
from pcainit.engine.arrays import AnyArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import fit_mask
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.images.census import Surroundings
from pcainit.engine.images.crop import Census, Chunk, chunk_length, crop_particles, with_leak
from pcainit.engine.images.particles import Particles, Slices, fair_halves
from pcainit.errors import DamagedResult, InputError
from pcainit.io.cryosparc_particles import open_particles
from pcainit.io.fingerprint import file_identity
from pcainit.io.maps import read_mask
from pcainit.io.stacks import read_chunks
from pcainit.io.star import read_particles
from pcainit.pipeline.given import check_given
from pcainit.pipeline.prepare_result import Checksums, PartResult, PrepareResult
from pcainit.pipeline.stage_order import part_name, stage_digest
from pcainit.pipeline.store import LARGE, Workspace
from pcainit.settings import AUTO, Settings

Progress = Callable[[float], None]


@dataclasses.dataclass(frozen=True)
class Source:
    """What is prepared: particles that fit the settings, and what they are recognised by."""

    star: str
    particles: Particles
    grid: Grid
    star_identity: str
    identity: str

    @classmethod
    def find(cls, star: str, data_dir: str | None, settings: Settings) -> Source:
        """Read the STAR file and check everything.

        Raises
        ------
        InputError
            The input or the settings do not fit.
        """
        table = open_particles(star)
        finest = settings.finest(1, 0.0)  # before the particles' own are known
        particles = read_particles(table, data_dir, use_ctf=not settings.no_ctf, resolution=finest)
        wrong = checks.problems(settings, len(particles), particles.box_px, particles.sampling)
        if wrong:
            raise InputError(" ".join(wrong))
        symmetry_matrices(settings.symmetry)
        box, sampling = particles.box_px, particles.sampling
        finest = settings.finest(box, sampling)
        if settings.analysis_resolution == AUTO:  # of several kinds, what all of them reach
            finest = min(settings.resolution, max(finest, 1.1 * particles.finest))
        grid = Grid(box, sampling, finest)
        check_reach(particles, grid)
        if settings.mask:
            fit_mask(*read_mask(settings.mask, settings.mask_sampling), grid)
        check_given(settings, grid)
        return cls(
            star, particles, grid, table.identity, table.identity + file_identity(particles.stacks)
        )

    def read(
        self,
        workspace: Workspace,
        settings: Settings,
        rows: slice,
        suffix: str,
        threads: int,
        progress: Progress,
    ) -> tuple[Slices, Census, Checksums | None]:
        """Crop the images of some particles into the workspace; they and their checksums."""
        some = with_leak(self.particles, self.grid, chunks_of).take(rows)
        try:
            slices, census = crop_particles(
                some,
                self.grid,
                chunks_of(some),
                invert=settings.invert_contrast,
                normalise=settings.normalise,
                threads=threads,
                progress=progress,
                allocate=lambda name, *room: workspace.allocate(name + suffix, *room),
            )
            if self.star_identity + file_identity(some.stacks) != self.identity:
                raise InputError(
                    "The particle images of %s changed while they were read: run the "
                    "step prepare again when they are complete." % self.star
                )
            if rows == slice(None):  # of a part alone nothing can be said
                usable, half = self.judge(census)
                slices = dataclasses.replace(slices, usable=usable, half=half)
        except BaseException:
            workspace.discard_unfinished()
            raise
        return slices, census, workspace.keep_slices(slices)

    def judge(self, census: Census) -> tuple[AnyArray, AnyArray]:
        """Which images can be used, and the half-sets; see `Census.usable` and `fair_halves`."""
        usable = census.usable(len(self.grid.frequencies)) & self.particles.fit()
        return usable, fair_halves(self.particles, usable)

    def result(
        self, slices: Slices, census: Census, sums: Checksums | None, folder: Path | None
    ) -> PrepareResult:
        """The result of the stage, to be kept in a folder."""
        star = os.path.abspath(self.star)
        return PrepareResult(
            grid=self.grid,
            rotations=slices.rotations,
            half=slices.half,
            usable=slices.usable,
            redrawn=not np.array_equal(slices.half, self.particles.half),
            images=census.describe(slices.usable),
            star=star,
            star_near=os.path.relpath(star, os.path.abspath(str(folder))) if folder else "",
            identity=self.identity,
            star_identity=self.star_identity,
            sums=sums,
            notes=list(self.particles.notes),
            aside=self.particles.aside,
            reasons=list(self.particles.reasons),
        )


def chunks_of(particles: Particles) -> Iterator[Chunk]:
    """Read the images of particles, some at a time."""
    return read_chunks(
        particles.stacks,
        particles.stack,
        particles.row,
        chunk_length(particles.box_px),
        particles.boxes(),
    )


def check_reach(particles: Particles, grid: Grid) -> None:
    """Whether all kinds of images have the samples of a grid.

    Raises
    ------
    InputError
        Those of the largest pixels have not.
    """
    if particles.kinds is not None and not particles.kinds.reached(grid):
        raise InputError(
            "resolution is %g A, too fine for those of the particles that have the largest pixels "
            "(finest %g A): give a coarser one, or leave them out."
            % (grid.resolution, 1.05 * particles.finest)
        )


def prepare(
    workspace: Workspace,
    star: str,
    data_dir: str | None,
    settings: Settings,
    threads: int,
    progress: Progress,
) -> None:
    """Read the particles, check everything, crop the images.

    Raises
    ------
    InputError
        Before anything is written, when the input or the settings do not fit.
    """
    source = Source.find(star, data_dir, settings)
    digest = stage_digest(settings, "prepare", source.identity)
    if _is_done(workspace, digest):
        return
    slices, census, sums = source.read(workspace, settings, slice(None), "", threads, progress)
    workspace.put(source.result(slices, census, sums, workspace.folder), digest)


def prepared_star(workspace: Workspace) -> str:
    """The particle STAR file that was prepared.

    Where it is no longer there, the one that lies as it did as seen from the work folder: people
    move and rename whole projects.
    """
    meta = workspace.get(PrepareResult)
    if meta.star_near and not os.path.exists(meta.star):
        return os.path.normpath(os.path.join(str(workspace.folder), meta.star_near))
    return meta.star


def _is_done(workspace: Workspace, digest: str) -> bool:
    if workspace.folder is None or not workspace.has(PrepareResult, digest):
        return False
    try:
        workspace.slices()
    except DamagedResult:
        return False
    return True


def _rows(number: int, parts: int, count: int) -> slice:
    return slice(count * (number - 1) // parts, count * number // parts)


def prepare_part(
    workspace: Workspace,
    star: str,
    data_dir: str | None,
    settings: Settings,
    number: int,
    parts: int,
    threads: int,
    progress: Progress,
) -> None:
    """One part of the particles, for `join_parts`; nothing to do if it is there already.

    Parameters
    ----------
    workspace : Workspace
        In a folder, which the other parts may be using at the same time.
    star, data_dir, settings, threads, progress : see `prepare`
    number : int
        From 1.
    parts : int

    Raises
    ------
    InputError
        As for `prepare`.
    """
    source = Source.find(star, data_dir, settings)
    digest, name = stage_digest(settings, "prepare", source.identity), part_name(number, parts)
    # All checksums are for `join_parts`; whoever finds a file damaged removes it.
    if workspace.has(PrepareResult, digest) and all(
        Path(str(workspace.folder), kind + ".npy").exists() for kind in LARGE
    ):
        return
    rows = _rows(number, parts, len(source.particles))
    if workspace.has(PartResult, digest, name):
        try:
            _load_part(workspace, source, rows, name)
            return
        except DamagedResult:
            pass
    _, census, sums = source.read(workspace, settings, rows, "_" + name, threads, progress)
    assert sums is not None
    workspace.put(
        PartResult(
            powers=census.powers,
            varied=census.varied,
            transferred=float(census.transferred),
            surroundings=census.surroundings.table,
            sums=sums,
        ),
        digest,
        name,
    )


def _load_part(workspace: Workspace, source: Source, rows: slice, name: str) -> list[AnyArray]:
    """Values and CTF of a part."""
    sums = workspace.get(PartResult, name).sums
    shape = rows.stop - rows.start, len(source.grid.frequencies)
    return [
        workspace.large("%s_%s" % (kind, name), shape, dtype, getattr(sums, kind))
        for kind, dtype in LARGE.items()
    ]


def join_parts(
    workspace: Workspace,
    star: str,
    data_dir: str | None,
    settings: Settings,
    parts: int,
    progress: Progress,
) -> None:
    """The same result as `prepare` gives, from the parts.

    Raises
    ------
    InputError
        A part is missing, damaged, or was made of other particles or with other parameters.
    """
    source = Source.find(star, data_dir, settings)
    digest = stage_digest(settings, "prepare", source.identity)
    if not _is_done(workspace, digest):
        count = len(source.particles)
        found = []
        for number in range(1, parts + 1):
            name = part_name(number, parts)
            if not workspace.has(PartResult, digest, name):
                raise _missing(
                    workspace,
                    number,
                    parts,
                    "is missing, or was made with other parameters or particles",
                )
            found.append(workspace.get(PartResult, name))
        census = Census(
            np.concatenate([part.powers for part in found]),
            np.concatenate([part.varied for part in found]),
            max(part.transferred for part in found),
            Surroundings(np.concatenate([part.surroundings for part in found]), settings.normalise),
        )
        usable, half = source.judge(census)
        shape = count, len(source.grid.frequencies)
        room = [workspace.allocate(kind, shape, dtype) for kind, dtype in LARGE.items()]
        try:
            for number in range(1, parts + 1):
                rows = _rows(number, parts, count)
                try:
                    loaded = _load_part(workspace, source, rows, part_name(number, parts))
                except DamagedResult:
                    raise _missing(workspace, number, parts, "is damaged") from None
                for target, values in zip(room, loaded):
                    target[rows] = values
                progress(number / parts)
        except BaseException:
            workspace.discard_unfinished()
            raise
        slices = Slices(room[0], room[1], source.particles.rotations, half, usable, source.grid)
        sums = workspace.keep_slices(slices)
        workspace.put(source.result(slices, census, sums, workspace.folder), digest)
    workspace.discard("*part_[0-9]*_of_[0-9]*.np[yz]")


def _missing(workspace: Workspace, number: int, parts: int, what: str) -> DamagedResult:
    folder = str(workspace.folder)
    return DamagedResult(
        "Part %d of %d of the particles %s in %s: run pcainit prepare --chunk "
        "%d/%d again." % (number, parts, what, folder, number, parts),
        Path(folder, part_name(number, parts) + ".npz"),
    )
