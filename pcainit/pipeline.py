"""The order of the stages: prepare, reconstruct, components, cluster, volumes."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from typing import Callable, Dict, Optional

import numpy as np

from pcainit import batch_method, checks, particle_components, particle_method
from pcainit.engine.clean_consensus import clean_consensus
from pcainit.engine.grid import Grid
from pcainit.engine.masks import auto_mask, fit_mask
from pcainit.engine.poses import symmetry_matrices
from pcainit.engine.prepare import chunk_length, prepare_slices
from pcainit.engine.reconstruction import reconstruct_consensus
from pcainit.files.identity import file_identity
from pcainit.files.maps import read_map
from pcainit.files.stacks import read_chunks
from pcainit.files.star import ParticleTable, read_particles
from pcainit.files.workspace import Workspace
from pcainit.given_volumes import check_given, given_identity
from pcainit.settings import STAGES, InputError, Settings

Progress = Callable[[float], None]
Arrays = Dict[str, np.ndarray]


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
    check_given(settings)
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
    if STAGES.index(stage) >= STAGES.index("components"):
        identity += given_identity(settings)
    return settings.digest(stage, identity)


def _start(workspace: Workspace, settings: Settings, stage: str) -> Optional[str]:
    """Digest of a stage whose result has to be made; None when it is there already.

    The results of all earlier stages must be there and fit the settings.
    """
    for earlier in STAGES[:STAGES.index(stage)]:
        workspace.expect(earlier, _digest(workspace, settings, earlier))
    digest = _digest(workspace, settings, stage)
    return None if workspace.has(stage, digest) else digest


def reconstruct(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Consensus, noise, mask; junk set aside, or one volume per batch, as the method asks."""
    digest = _start(workspace, settings, "reconstruct")
    if digest is None:
        return
    slices = workspace.slices()
    symmetry = symmetry_matrices(settings.symmetry)
    consensus = reconstruct_consensus(slices, symmetry)
    progress(0.3)
    extra: Arrays = {}
    if settings.method == "particles":
        consensus, extra = clean_consensus(slices, consensus, symmetry, settings.seed)
    if settings.mask:
        mask = fit_mask(*read_map(settings.mask, "mask"), slices.grid)
    else:
        mask = auto_mask(consensus.mean, slices.grid, threshold=settings.mask_threshold,
                         near=settings.mask_near, far=settings.mask_far)
    if settings.method != "particles":
        extra = batch_method.reconstruct_batches(slices, consensus, settings, symmetry,
                                                 lambda share: progress(0.3 + 0.7 * share))
    workspace.put("reconstruct", digest, dict(
        mean=consensus.mean, noise=consensus.noise, signal=consensus.signal, fsc=consensus.fsc,
        mask=mask, **extra))
    progress(1.0)


def components(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Principal components, of the batches or of the particles."""
    digest = _start(workspace, settings, "components")
    if digest is None:
        return
    before = workspace.get("reconstruct")
    if settings.method == "particles":
        result = particle_components.find_components(workspace.slices(), before, settings, progress)
    else:
        result = batch_method.find_components(before, settings)
    workspace.put("components", digest, result)
    progress(1.0)


def cluster(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Clusters of batches, or of particles."""
    digest = _start(workspace, settings, "cluster")
    if digest is None:
        return
    before = workspace.get("components")
    if settings.method == "particles":
        result = particle_method.cluster_particles(workspace.slices(), before, settings)
    else:
        result = batch_method.cluster_batches(before, settings)
    workspace.put("cluster", digest, result)
    progress(1.0)


def volumes(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """The K volumes, each particle's class, and how much the volumes differ."""
    digest = _start(workspace, settings, "volumes")
    if digest is None:
        return
    slices, before = workspace.slices(), workspace.get("reconstruct")
    found, clusters = workspace.get("components"), workspace.get("cluster")
    if settings.method == "particles":
        result = particle_method.make_volumes(slices, before, found, clusters, settings,
                                              symmetry_matrices(settings.symmetry), progress)
    else:
        result = batch_method.make_volumes(slices, before, particle_components.consensus_of(before),
                                           clusters["batch_cluster"])
    workspace.put("volumes", digest, result)
    progress(1.0)
