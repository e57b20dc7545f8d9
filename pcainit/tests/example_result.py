"""A made-up result folder of the method particles, with every optional array in it."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.simulation.simulate import Simulation, make_states
from pcainit.io.atomic import to_json_types, write_arrays, write_json
from pcainit.io.maps import write_map
from pcainit.settings import Settings

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
COMPONENTS = 4  # of which three are real
VERDICT = (
    "3 of 4 components agree between half-sets (cosines 0.97, 0.92, 0.87; noise alone gives "
    "0.20). 4 classes: 50, 30, 15 and 5 % of the particles."
)


def make_result(folder: Path, particles: int = 3000, seed: int = 0) -> dict[str, Any]:
    """Write the folder, without a report, and return its summary."""
    folder, rng, grid = Path(folder), np.random.default_rng(seed), Grid(64, 5.0, 20.0)
    states = make_states(Simulation(populations=tuple(SHARES)))
    volumes = np.stack([state.volume(grid.box, grid.voxel) for state in states])
    noise = 0.004 * volumes.max()
    volumes += rng.normal(0, noise, volumes.shape).astype(np.float32)
    mean = np.average(volumes, axis=0, weights=SHARES).astype(np.float32)
    mask = auto_mask(mean, grid)
    basis, centres = _components((volumes - mean) * mask, mask, rng)
    width = 0.12 * np.ptp(centres[:, 0])
    labels = np.searchsorted(np.cumsum(SHARES), rng.uniform(size=particles)).clip(0, 3)
    coordinates = centres[labels] + rng.normal(0, width, (particles, COMPONENTS))
    junk = rng.uniform(size=particles) < 0.03
    coordinates[junk] = rng.normal(0, 3 * width, (junk.sum(), COMPONENTS))
    posterior = np.full((particles, 4), 0.02, np.float32)
    posterior[np.arange(particles), labels] = 0.94
    write_arrays(
        folder / "latents.npz",
        {
            "coordinates": coordinates.astype(np.float32),
            "posterior": posterior,
            "junk": junk,
            "covariance": np.broadcast_to(np.eye(4) * width**2, (particles, 4, 4)),
            "class": labels + 1,
            "contrast": rng.normal(1, 0.15, particles),
        },
    )
    eigenvalues = np.sort(coordinates[~junk].var(axis=0))[::-1]
    shells = np.arange(17) / (grid.box_px * grid.sampling)
    gaps = ((volumes[:, None] - volumes) ** 2 * mask).sum(axis=(2, 3, 4)) / mask.sum()
    analysis = dict(
        mean=mean,
        mask=mask,
        class_volumes=volumes,
        components=basis,
        eigenvalues=eigenvalues,
        variance=np.einsum("k,kzyx->zyx", SHARES, (volumes - mean) ** 2) * mask,
        spectrum=np.concatenate([eigenvalues, eigenvalues[-1] * 0.97 ** np.arange(8)]),
        noise_edge=1.15 * eigenvalues[3],
        half_set_cosines=np.array([0.97, 0.92, 0.87, 0.14]),
        null_cosine=0.2,
        significant=np.arange(4) < 3,
        artefact=np.full(4, 0.02),
        centres=centres,
        cluster_covariances=np.stack([np.eye(4) * width**2] * 4),
        class_weights=SHARES,
        pairwise=np.sqrt(gaps / 2) / noise,
        copies=np.zeros(4, bool),
        class_fsc=1 / (1 + np.exp((shells - np.linspace(0.06, 0.045, 4)[:, None]) * 220)),
        consensus_fsc=1 / (1 + np.exp((shells - 0.075) * 220)),
        frequencies=shells,
        voxel=grid.voxel,
        tried_classes=np.arange(1, 7),
        bic=np.array([900.0, 500, 210, 100, 130, 175]),
        held_out=np.array([-9.0, -5, -2.2, -1.05, -1.07, -1.1]),
    )
    write_arrays(folder / "analysis.npz", analysis)
    for name, maps in (
        ("volumes/class_%03d.mrc", volumes),
        ("components/component_%03d.mrc", basis),
    ):
        for k, volume in enumerate(maps):
            write_map(folder / (name % (k + 1)), volume, grid.voxel)
    for name in ("mean", "variance", "mask"):
        write_map(folder / "components" / (name + ".mrc"), analysis[name], grid.voxel)
    summary = to_json_types(_summary(particles, grid, np.bincount(labels, minlength=4), analysis))
    write_json(folder / "summary.json", summary)
    return summary


def _components(differences, mask, rng):
    """Orthonormal components, the last one noise; and the states' coordinates on them."""
    flat = differences.reshape(len(differences), -1)
    _, _, real = np.linalg.svd(flat, full_matrices=False)
    noise = rng.normal(size=(1, mask.size)) * (mask.ravel() > 0)
    basis = np.linalg.qr(np.concatenate([real[: COMPONENTS - 1], noise]).T)[0].T
    return basis.reshape(-1, *mask.shape).astype(np.float32), flat @ basis.T


def _summary(particles, grid, sizes, analysis):
    return dict(
        program="pcainit",
        version="0.1.0",
        method="particles",
        threads=2,
        seed=0,
        parameters=dict(Settings().as_dict(), resolution=15.0),
        particles=particles,
        versions=dict(python="3.11.7", numpy="1.26.1", scipy="1.10.0"),
        box=grid.box_px,
        sampling=grid.sampling,
        working_box=grid.box,
        resolution=15.0,
        classes=4,
        seconds=dict(prepare=12.1, reconstruct=3.2, components=20.5, cluster=4.1, volumes=6.3),
        class_weights=SHARES,
        class_sizes=sizes,
        eigenvalues=analysis["eigenvalues"],
        noise_edge=analysis["noise_edge"],
        half_set_cosines=analysis["half_set_cosines"],
        null_cosine=0.2,
        significant_components=3,
        pairwise_differences=analysis["pairwise"],
        constant_images=0,
        copies=[False] * 4,
        verdict=VERDICT,
        nuisance=dict(contrast_sd=0.17, shift_px=0.73, rotation_deg=1.6, junk_share=0.031),
    )
