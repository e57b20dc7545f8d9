"""A quick look before a run: the consensus of a few particles, at any resolution, and its mask."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
from scipy import fft

from pcainit.checks import problems
from pcainit.engine.arrays import AnyArray, FloatArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.images.crop import prepare_slices, with_leak
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.errors import InputError, shorten
from pcainit.io.atomic import write_arrays
from pcainit.io.coordinates import ARRAY_FAULTS
from pcainit.io.cryosparc_particles import open_particles
from pcainit.io.ownership import MARK
from pcainit.io.star import read_particles
from pcainit.pipeline.prepare import chunks_of
from pcainit.settings import Settings

PARTICLES = 1000  # enough for 10 A of a ribosome, read in seconds
LARGEST_BOX = 128  # working box of the preview, voxels
FINEST = 6.0  # Angstrom


@dataclass(frozen=True, eq=False)
class Preview:
    """Consensus of some of the particles at the finest resolution that the preview keeps.

    Parameters
    ----------
    mean : (box, box, box) float32
    box_px : int
        Box of the particles, pixels.
    sampling : float
        Sampling rate of the particles, Angstrom per pixel.
    finest : float
        Finest resolution in `mean`, Angstrom.
    count : int
        Particles that went into it.
    total : int
        Particles of the set.
    """

    mean: FloatArray
    box_px: int
    sampling: float
    finest: float
    count: int
    total: int

    @property
    def grid(self) -> Grid:
        """Working grid of `mean`."""
        return Grid(self.box_px, self.sampling, self.finest)

    @property
    def coarsest(self) -> float:
        """Coarsest resolution that a run accepts, Angstrom."""
        return self.box_px * self.sampling / 6

    def low_passed(self, resolution: float) -> AnyArray:
        """The consensus without what is finer than `resolution` (Angstrom), in the same box."""
        axis = fft.fftfreq(self.grid.box, self.grid.voxel)
        half = fft.rfftfreq(self.grid.box, self.grid.voxel)
        squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + half**2
        kept = fft.rfftn(self.mean) * (squared <= resolution**-2)
        return np.asarray(fft.irfftn(kept, self.mean.shape), np.float32)

    def mask(self, volume: AnyArray, threshold: float, near: float, far: float) -> AnyArray:
        """The automatic mask that a run would make of `volume`; see `auto_mask`."""
        return auto_mask(volume, self.grid, threshold=threshold, near=near, far=far)

    def megabytes(self, resolution: float) -> float:
        """Size of all particles' cropped images at this resolution."""
        samples = len(Grid(self.box_px, self.sampling, resolution).frequencies)
        return self.total * samples * 12 / 1e6  # complex64 value and float32 CTF


def make_preview(
    star: str,
    data_dir: str | None,
    settings: Settings,
    *,
    total: int = 0,
    most: int = PARTICLES,
    threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> Preview:
    """Reconstruct some random particles of a set.

    Parameters
    ----------
    star : str
        RELION particle STAR file.
    data_dir : str, optional
        Folder that image paths start from.
    settings : Settings
        How images are read (`no_ctf`, `invert_contrast`, `normalise`).
    total : int
        Particles of the whole set, when `star` holds only some of them.
    most : int
        Particles to use at most.
    threads : int
    progress : callable

    Returns
    -------
    Preview

    Raises
    ------
    InputError
        The particles cannot be read, or no run would accept them.
    """
    particles = read_particles(open_particles(star), data_dir, use_ctf=not settings.no_ctf)
    total = total or len(particles)
    # The resolution is what people choose by the preview, so any will do that suits the particles.
    shown = Settings(
        resolution=min(
            max(settings.resolution, particles.finest), particles.box_px * particles.sampling / 6
        )
    )
    wrong = problems(shown, total, particles.box_px, particles.sampling)
    if wrong:
        raise InputError(" ".join(wrong))
    if len(particles) > most:
        rows = np.random.default_rng(settings.seed).choice(len(particles), most, replace=False)
        particles = particles.take(np.sort(rows))
    length = particles.box_px * particles.sampling
    reach = particles.finest * (1.1 if particles.kinds else 1.0)
    finest = max(FINEST, reach, 2.25 * length / LARGEST_BOX)
    grid = Grid(particles.box_px, particles.sampling, finest)
    particles = with_leak(particles, grid, chunks_of)
    slices = prepare_slices(
        particles,
        grid,
        chunks_of(particles),
        invert=settings.invert_contrast,
        normalise=settings.normalise,
        threads=threads,
        progress=progress,
    )
    return Preview(
        mean=reconstruct_consensus(slices).mean,
        box_px=particles.box_px,
        sampling=particles.sampling,
        finest=finest,
        count=len(particles),
        total=total,
    )


def write_preview(preview: Preview, path: str | Path) -> None:
    """Keep a preview as an .npz file, written whole or not at all."""
    arrays = {MARK: np.array(True)}  # a name that is written out near the beginning
    arrays.update(
        (field.name, np.asarray(getattr(preview, field.name)))
        for field in dataclasses.fields(preview)
    )
    write_arrays(Path(path), arrays)


def read_preview(path: str | Path) -> Preview:
    """A preview that `write_preview` kept.

    Raises
    ------
    InputError
        The file is not one.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            return Preview(
                mean=data["mean"],
                box_px=int(data["box_px"]),
                sampling=float(data["sampling"]),
                finest=float(data["finest"]),
                count=int(data["count"]),
                total=int(data["total"]),
            )
    except ARRAY_FAULTS as error:
        raise InputError(
            "The preview %s cannot be read (%s): make it again."
            % (path, shorten(" ".join(str(error).split())))
        ) from None
