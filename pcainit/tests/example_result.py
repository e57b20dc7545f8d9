"""A made-up result folder of the method particles, with every optional array in it."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np

from pcainit.engine.masks import auto_mask
from pcainit.engine.grid import Grid
from pcainit.engine.simulation import Simulation, make_states
from pcainit.files.atomic import write_arrays, write_json
from pcainit.files.maps import write_map
from pcainit.settings import Settings

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
BOX, VOXEL = 36, 8.9


def make_result(folder: Path, particles: int = 3000, components: int = 4, seed: int = 0
                ) -> Dict[str, Any]:
    """Write the folder and return its summary.

    Parameters
    ----------
    folder : Path
    particles : int
    components : int
        At least 3: so many tell the states apart.
    seed : int
    """
    rng = np.random.default_rng(seed)
    grid = Grid(64, 5.0, 20.0)
    states = make_states(Simulation(box_px=BOX, sampling=VOXEL, populations=tuple(SHARES)))
    volumes = np.stack([state.volume(BOX, VOXEL) for state in states])
    noise = 0.02 * volumes.max()
    volumes += rng.normal(0, noise, volumes.shape).astype(np.float32)
    mean = np.average(volumes, axis=0, weights=SHARES).astype(np.float32)
    mask = auto_mask(mean, Grid(BOX, VOXEL, 20.0)) if BOX == grid.box else np.ones_like(mean)
    _, _, axes = np.linalg.svd(((volumes - mean) * mask).reshape(len(SHARES), -1),
                               full_matrices=False)
    extra = rng.normal(size=(components, mean.size)) * (mask.ravel() > 0)
    basis = np.linalg.qr(np.concatenate([axes[:3], extra]).T)[0].T[:components]
    centres = ((volumes - mean) * mask).reshape(len(SHARES), -1) @ basis.T
    own = np.array([np.diag(np.full(components, (0.12 * np.ptp(centres[:, 0])) ** 2))] * 4)
    labels = np.searchsorted(np.cumsum(SHARES), rng.uniform(size=particles)).clip(0, 3)
    coordinates = centres[labels] + rng.normal(0, 1, (particles, components)) * np.sqrt(own[0, 0, 0])
    junk = rng.uniform(size=particles) < 0.03
    coordinates[junk] = rng.normal(0, 3 * np.sqrt(own[0, 0, 0]), (junk.sum(), components))
    eigenvalues = np.sort(coordinates.var(axis=0))[::-1]
    significant = np.arange(components) < 3
    cosines = np.where(significant, 0.97 - 0.05 * np.arange(components), 0.14)
    gap = np.sqrt(((volumes[:, None] - volumes) ** 2).mean(axis=(2, 3, 4)) / 2) / noise
    pairwise = gap * 1.0
    shells = np.arange(17) / 320.0
    analysis = dict(
        mean=mean, mask=mask, class_volumes=volumes, eigenvalues=eigenvalues,
        components=basis.reshape(-1, BOX, BOX, BOX).astype(np.float32),
        variance=np.einsum("k,kzyx->zyx", SHARES, (volumes - mean) ** 2) * mask,
        spectrum=np.concatenate([eigenvalues, eigenvalues[-1] * 0.97 ** np.arange(8)]),
        noise_edge=np.array(1.15 * eigenvalues[3:].max(initial=0)),
        half_set_cosines=cosines, null_cosines=rng.uniform(0, 0.22, 50), significant=significant,
        artefact=np.zeros(components, bool), centres=centres, cluster_covariances=own,
        class_weights=SHARES, pairwise=pairwise,
        class_fsc=1 / (1 + np.exp((shells - np.linspace(0.062, 0.045, 4)[:, None]) * 220)),
        consensus_fsc=1 / (1 + np.exp((shells - 0.075) * 220)), frequencies=shells,
        voxel=np.array(VOXEL), copies=np.zeros(4, int), tried_classes=np.arange(1, 7),
        bic=np.array([900.0, 500, 210, 100, 130, 175]),
        held_out=np.array([-9.0, -5, -2.2, -1.05, -1.07, -1.1]))
    posterior = np.full((particles, 4), 0.02, np.float32)
    posterior[np.arange(particles), labels] = 0.94
    folder = Path(folder)
    write_arrays(folder / "analysis.npz", analysis)
    write_arrays(folder / "latents.npz", {
        "coordinates": coordinates.astype(np.float32), "posterior": posterior, "junk": junk,
        "covariance": np.broadcast_to(own[0], (particles, components, components)),
        "class": labels + 1, "contrast": rng.normal(1, 0.15, particles)})
    for k, volume in enumerate(volumes):
        write_map(folder / "volumes" / ("class_%03d.mrc" % (k + 1)), volume, VOXEL)
    for k, volume in enumerate(analysis["components"]):
        write_map(folder / "components" / ("component_%03d.mrc" % (k + 1)), volume, VOXEL)
    for name in ("mean", "variance", "mask"):
        write_map(folder / "components" / (name + ".mrc"), analysis[name], VOXEL)
    summary = dict(
        program="pcainit", version="0.1.0", method="particles", threads=2, seed=0,
        parameters=dict(Settings(resolution=20.0).as_dict(), mask="<b>bad & mask</b>.mrc"),
        versions=dict(python="3.11.7", numpy="1.26.1", scipy="1.10.0"), particles=particles,
        box=64, sampling=5.0, working_box=BOX, resolution=20.0,
        seconds=dict(prepare=12.1, reconstruct=3.2, components=20.5, cluster=4.1, volumes=6.3),
        classes=4, class_weights=SHARES, class_sizes=np.bincount(labels, minlength=4),
        eigenvalues=eigenvalues, noise_edge=float(analysis["noise_edge"]),
        half_set_cosines=cosines, null_cosine=0.2, significant_components=3,
        pairwise_differences=pairwise, constant_images=0, copies=[0, 0, 0, 0],
        nuisance=dict(contrast_sd=0.17, shift_px=0.73, rotation_deg=1.6, junk_share=0.031),
        verdict="3 of 4 components agree between half-sets (cosines 0.97, 0.92, 0.87; noise "
                "alone gives 0.20). 4 classes: 50, 30, 15 and 5 % of the particles.")
    write_json(folder / "summary.json", summary)
    return summary
