"""What the particles themselves allow: each told by the true maps."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from truth_sets import TruthSet

from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.projection.slices import extract_slices, residual_power
from pcainit.pipeline import runner
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

PART = 1000  # particles at a time


def oracle_labels(truth: TruthSet, resolution: float, threads: int = 1) -> np.ndarray:
    """The likeliest state of each image when the true maps are known.

    Under each map, an image is contrast times its projection with the CTF, plus a constant, plus
    noise whose power in each shell is the mean over the particles.  Contrast (not below 0) and
    constant are fitted to that image alone, at the recorded pose; the constant is the whole of the
    sample at frequency 0.  Likelihoods are weighted by the true shares.

    Parameters
    ----------
    truth : TruthSet
    resolution : float
        Finer samples are left out.
    threads : int

    Returns
    -------
    (n,) int
    """
    set_threads(threads)
    workspace = Workspace(None)
    runner.prepare(
        workspace,
        str(truth.star),
        str(truth.root),
        Settings(resolution=resolution).at_one_resolution(),
        threads,
        lambda share: None,
    )
    slices = workspace.slices()
    grid, everyone = slices.grid, np.arange(len(slices))
    maps = np.array([grid.from_particle_box(volume) for volume in truth.maps])
    mean = np.average(maps, axis=0, weights=truth.populations).astype(np.float32)
    noise = residual_power(
        slices.values, slices.ctf, slices.rotations, everyone, grid.to_fourier(mean[None]), grid
    )
    weight = grid.multiplicity / noise[grid.shell]
    weight[0] = 0  # what a constant leaves of it
    transforms, scores = grid.to_fourier(maps), np.empty((len(slices), len(maps)))
    for first in range(0, len(slices), PART):
        part = slice(first, first + PART)
        seen = extract_slices(transforms, slices.rotations[part], grid)
        seen *= slices.ctf[part][:, :, None]
        common = np.einsum("p,npc,np->nc", weight, seen.conj(), slices.values[part]).real
        power = np.einsum("p,npc->nc", weight, np.abs(seen) ** 2)
        scores[part] = np.maximum(common, 0) ** 2 / np.maximum(power, 1e-30) / 2
    return (scores + np.log(truth.populations)).argmax(axis=1)
