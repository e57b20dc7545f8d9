"""Simulated crops: what is kept of particle images, made without the images.

The states, views, CTFs and contrasts are drawn by the package's simulator; slices of the true maps
are read by its compiled code, and white noise of unit variance is added to the Fourier samples.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Iterator

import numpy as np

from pcainit.engine.compiled.threads import parallel_map
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.ctf import evaluate_ctf
from pcainit.engine.images.particles import CTF, Slices
from pcainit.engine.projection.slices import extract_slices
from pcainit.engine.simulation.simulate import Simulation, Truth, draw_truth

RESOLUTION = 20.0
CHUNK = 4096  # particles made at a time: memory stays bounded
PARTS = 4  # of a chunk, whose noise and CTF are made side by side
STATES = Simulation(populations=(0.5, 0.3, 0.2), snr=0.05, contrast_sd=0.1)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some of the particles.

    Parameters
    ----------
    rows : slice
        Which of all.
    truth : Truth
        Views, half-sets, CTF and contrast.
    values : (m, p) complex64
    ctf : (m, p) float32
    """

    rows: slice
    truth: Truth
    values: np.ndarray
    ctf: np.ndarray


def grid_of_box(box: int) -> Grid:
    """The finest grid of this working box, for particles of 128 pixels or twice the box.

    Raises
    ------
    SystemExit
        There is none.
    """
    box_px = max(128, 2 * box)
    for radius in np.arange(box / 2, 3, -0.25):
        grid = Grid(box_px, float(radius * RESOLUTION / box_px), RESOLUTION)
        if grid.box == box:
            return grid
    raise SystemExit("No grid has a working box of %d: take 32, 36, 40, 48, 64, ..." % box)


def simulate_crops(count: int, grid: Grid, seed: int = 0) -> Iterator[Chunk]:
    """All particles, chunk by chunk; threads as `set_threads` allows."""
    scaled = draw_truth(
        dataclasses.replace(
            STATES, particles=100, box_px=grid.box_px, sampling=grid.sampling, seed=seed
        )
    )
    transforms = [
        grid.to_fourier(grid.from_particle_box(phantom.volume(grid.box_px, grid.sampling))[None])
        for phantom in scaled.phantoms
    ]
    for number, first in enumerate(range(0, count, CHUNK)):
        rows = slice(first, min(first + CHUNK, count))
        # The box matters for the phantoms only, which are those from above.
        truth = draw_truth(
            dataclasses.replace(
                STATES, particles=rows.stop - first, box_px=16, seed=1000 * seed + number + 1
            )
        )
        values = np.empty((len(truth.state), len(grid.frequencies)), np.complex64)
        for k, transform in enumerate(transforms):
            mine = np.flatnonzero(truth.state == k)
            values[mine] = extract_slices(
                transform, truth.rotations[mine].astype(np.float32), grid
            )[..., 0]
        ctf = _degrade(values, truth, grid, [seed, number])
        yield Chunk(rows, truth, values, ctf)


def _degrade(values: np.ndarray, truth: Truth, grid: Grid, seed: list) -> np.ndarray:
    """CTF, contrast and noise, in place; the CTF is returned."""
    spatial = grid.frequencies / (grid.box_px * grid.sampling)
    ctf = np.empty(values.shape, np.float32)
    parameters: CTF = truth.particles.ctf  # type: ignore[assignment]

    def work(part: tuple[int, np.ndarray]) -> None:
        number, index = part
        some = slice(int(index[0]), int(index[-1]) + 1)
        ctf[some] = evaluate_ctf(parameters.take(some), spatial)
        noise = np.random.default_rng([*seed, number]).standard_normal(
            (len(index), 2 * values.shape[1]), np.float32
        )
        noise *= np.float32(np.sqrt(0.5))
        noise[:, 0] *= np.float32(np.sqrt(2))  # the first sample is real
        noise[:, 1] = 0
        values[some] *= ctf[some] * truth.contrast[some, None].astype(np.float32)
        values[some] += noise.view(np.complex64)

    parts = np.array_split(np.arange(len(values)), min(PARTS, len(values)))
    parallel_map(work, enumerate(parts))
    return ctf


def slices_in_memory(count: int, grid: Grid, seed: int = 0) -> Slices:
    """All particles at once, read-only, as the stages have them."""
    p = len(grid.frequencies)
    slices = Slices(
        np.empty((count, p), np.complex64),
        np.empty((count, p), np.float32),
        np.empty((count, 3, 3), np.float32),
        np.empty(count, np.int8),
        np.ones(count, bool),
        grid,
    )
    for chunk in simulate_crops(count, grid, seed):
        fill(slices, chunk)
    for name in ("values", "ctf", "rotations", "half", "usable"):
        getattr(slices, name).flags.writeable = False
    return slices


def fill(slices: Slices, chunk: Chunk) -> None:
    """Put a chunk where it belongs."""
    slices.values[chunk.rows], slices.ctf[chunk.rows] = chunk.values, chunk.ctf
    slices.rotations[chunk.rows] = chunk.truth.particles.rotations
    slices.half[chunk.rows] = chunk.truth.particles.half
