"""The order of the stages: prepare, reconstruct, components, cluster, volumes."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Callable, Dict, List, Optional

import numpy as np

from pcainit import checks
from pcainit.engine import batches as five_steps
from pcainit.engine.differences import noise_power, pairwise_differences
from pcainit.engine.grid import Grid
from pcainit.engine.likelihood import log_likelihoods
from pcainit.engine.masks import auto_mask, fit_mask
from pcainit.engine.particles import Slices
from pcainit.engine.poses import symmetry_matrices, view_directions
from pcainit.engine.prepare import chunk_length, prepare_slices
from pcainit.engine.reconstruction import Consensus, reconstruct_consensus, reconstruct_groups
from pcainit.files.maps import read_map
from pcainit.files.stacks import read_chunks
from pcainit.files.star import ParticleTable, read_particles
from pcainit.files.workspace import Workspace
from pcainit.settings import InputError, Settings

Progress = Callable[[float], None]
Arrays = Dict[str, np.ndarray]


def file_identity(paths: List[str]) -> str:
    """Text that changes when one of these files is replaced or edited."""
    stats = [(os.path.realpath(p), os.stat(p).st_size, os.stat(p).st_mtime_ns) for p in paths]
    return hashlib.sha256(json.dumps(sorted(stats)).encode()).hexdigest()[:16]


def prepare(workspace: Workspace, star: str, data_dir: Optional[str], settings: Settings,
            threads: int, progress: Progress) -> None:
    """Read the particles, check everything, crop the images.

    Raises
    ------
    InputError
        Before anything is written, when the input or the settings do not fit.
    """
    table = ParticleTable(star)
    particles = read_particles(table, data_dir, use_ctf=not settings.no_ctf)
    wrong = checks.problems(settings, len(particles), particles.box_px, particles.sampling)
    if wrong:
        raise InputError(" ".join(wrong))
    symmetry_matrices(settings.symmetry)
    grid = Grid(particles.box_px, particles.sampling, settings.resolution)
    if settings.mask:
        fit_mask(*read_map(settings.mask, "mask"), grid)
    identity = file_identity([star, *particles.stacks])
    digest = settings.digest("prepare", identity)
    if workspace.has("prepare", digest) and workspace.folder is not None:
        try:
            workspace.slices()
            return
        except InputError:
            pass                        # damaged: prepare again
    chunks = read_chunks(particles.stacks, particles.stack, particles.row,
                         chunk_length(particles.box_px))
    try:
        slices = prepare_slices(particles, grid, chunks, invert=settings.invert_contrast,
                                normalise=settings.normalise, threads=threads,
                                allocate=workspace.allocate, progress=progress)
    except BaseException:
        workspace.discard_unfinished()
        raise
    workspace.keep_slices(slices)
    workspace.put("prepare", digest, dict(
        box_px=np.array(grid.box_px), sampling=np.array(grid.sampling),
        resolution=np.array(grid.resolution), rotations=slices.rotations, half=slices.half,
        usable=slices.usable, star=np.array(os.path.abspath(star)), identity=np.array(identity),
        star_identity=np.array(file_identity([star]))))


def _digest(workspace: Workspace, settings: Settings, stage: str) -> str:
    identity = str(workspace.get("prepare")["identity"])
    if settings.mask and stage != "prepare":
        identity += file_identity([settings.mask])
    return settings.digest(stage, identity)


def _prepared(workspace: Workspace, settings: Settings) -> Slices:
    meta = workspace.get("prepare")
    workspace.expect("prepare", settings.digest("prepare", str(meta["identity"])))
    return workspace.slices()


def _draw_groups(slices: Slices, settings: Settings) -> List[np.ndarray]:
    usable = np.flatnonzero(slices.usable)
    rng = np.random.default_rng([settings.seed, 1])
    size = settings.particles_per_reconstruction
    if settings.method == "simple":
        size = min(size, len(usable) // settings.n_classes)
        return five_steps.draw_batches(usable, settings.n_classes, size, rng)
    directions = view_directions(slices.rotations) if settings.stratify else None
    return five_steps.draw_batches(usable, settings.reconstructions, min(size, len(usable)), rng,
                                   directions=directions)


def reconstruct(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Consensus, noise, mask; and one volume per batch, where the method makes batches."""
    slices = _prepared(workspace, settings)
    digest = _digest(workspace, settings, "reconstruct")
    if workspace.has("reconstruct", digest):
        return
    symmetry = symmetry_matrices(settings.symmetry)
    consensus = reconstruct_consensus(slices, symmetry)
    progress(0.3)
    grid = slices.grid
    if settings.mask:
        mask = fit_mask(*read_map(settings.mask, "mask"), grid)
    else:
        mask = auto_mask(consensus.mean, grid, threshold=settings.mask_threshold,
                         near=settings.mask_near, far=settings.mask_far)
    result: Arrays = dict(mean=consensus.mean, noise=consensus.noise, signal=consensus.signal,
                          fsc=consensus.fsc, mask=mask)
    if settings.method != "particles":
        groups = _draw_groups(slices, settings)
        result["volumes"] = reconstruct_groups(slices, groups, consensus, symmetry=symmetry,
                                               progress=lambda s: progress(0.3 + 0.7 * s))
        if settings.method == "simple":     # halves of each subset tell its noise
            halves = [part for group in groups for part in (group[::2], group[1::2])]
            result["halves"] = reconstruct_groups(slices, halves, consensus, symmetry=symmetry)
    workspace.put("reconstruct", digest, result)
    progress(1.0)


def consensus_of(result: Arrays) -> Consensus:
    """The `Consensus` in the result of the stage reconstruct."""
    return Consensus(result["mean"], result["noise"], result["signal"], result["fsc"])


def components(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Principal components, of the batches or of the particles."""
    before = workspace.expect("reconstruct", _digest(workspace, settings, "reconstruct"))
    digest = _digest(workspace, settings, "components")
    if workspace.has("components", digest):
        return
    result: Arrays = {}
    if settings.method == "batches":
        found = five_steps.batch_pca(before["volumes"], before["mask"], settings.components)
        result = dict(average=found.average, components=found.components,
                      batch_coordinates=found.coordinates, eigenvalues=found.variances,
                      spectrum=found.spectrum,
                      noise_edge=np.array(five_steps.noise_edge(found.spectrum)))
    workspace.put("components", digest, result)
    progress(1.0)


def cluster(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Clusters of batches, or of particles."""
    before = workspace.expect("components", _digest(workspace, settings, "components"))
    digest = _digest(workspace, settings, "cluster")
    if workspace.has("cluster", digest):
        return
    result: Arrays = {}
    if settings.method == "batches":
        result["batch_cluster"] = five_steps.cluster_batches(
            before["batch_coordinates"], settings.n_classes, settings.seed)
    elif settings.method == "simple":
        result["batch_cluster"] = np.arange(settings.n_classes)
    workspace.put("cluster", digest, result)
    progress(1.0)


def volumes(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """The K volumes, each particle's class, and how much the volumes differ."""
    before = workspace.expect("reconstruct", _digest(workspace, settings, "reconstruct"))
    label = workspace.expect("cluster", _digest(workspace, settings, "cluster"))["batch_cluster"]
    digest = _digest(workspace, settings, "volumes")
    if workspace.has("volumes", digest):
        return
    slices = workspace.slices()
    mask = before["mask"]
    classes = five_steps.average_clusters(before["volumes"], label, mask, before["mean"])
    noise = _batch_noise(before, label, mask)
    progress(0.5)
    likelihood = log_likelihoods(slices, slices.grid.to_fourier(classes),
                                 consensus_of(before).whitening(slices.grid))
    posterior = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    workspace.put("volumes", digest, dict(
        volumes=classes, posterior=posterior.astype(np.float32),
        label=posterior.argmax(axis=1).astype(np.int32), junk=~slices.usable,
        weights=np.bincount(label) / len(label),
        pairwise=pairwise_differences(classes, noise, mask)))
    progress(1.0)


def _batch_noise(before: Arrays, label: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Noise variance of each cluster's average, from halves of it."""
    if "halves" in before:
        return noise_power(before["halves"][::2], before["halves"][1::2], mask)
    spread = before["volumes"].var(axis=0, ddof=1, dtype=np.float64)
    return (spread * mask).sum() / mask.sum() / np.bincount(label)


def work_folder(path: str | Path) -> Workspace:
    """The workspace that stages run one by one share."""
    return Workspace(Path(path))
