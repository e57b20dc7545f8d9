"""The order of the stages: prepare, reconstruct, components, cluster, volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Callable

from pcainit.checks import too_few
from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.masks import check_room
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.errors import InputError
from pcainit.io.fingerprint import content_identity
from pcainit.pipeline import batches, classes, fine, power_curve
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.given import given_identity
from pcainit.pipeline.masks import mask_and_note
from pcainit.pipeline.prepare import prepare
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.results import STAGE_RESULTS, ClusterResult, ComponentsResult, ConsensusResult
from pcainit.pipeline.stage_order import STAGES, stage_digest
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

__all__ = ["prepare", "reconstruct", "components", "cluster", "volumes"]

Progress = Callable[[float], None]


def _digest(workspace: Workspace, settings: Settings, stage: str) -> str:
    identity = workspace.get(PrepareResult).identity
    if settings.mask and stage != "prepare":
        identity += _mask_identity(settings.mask)
    if STAGES.index(stage) >= STAGES.index("components"):
        identity += given_identity(settings)
    return stage_digest(settings, stage, identity)


def _mask_identity(mask: str) -> str:
    try:
        return content_identity(mask)
    except OSError as error:
        raise InputError(
            "The mask %s cannot be read (%s): check the path." % (mask, error.strerror)
        ) from None


def _start(workspace: Workspace, settings: Settings, stage: str) -> str | None:
    """Digest of a stage whose result has to be made; None when it is there already.

    The results of all earlier stages must be there and fit the settings, and so must the number of
    images that can be used.
    """
    for earlier in STAGES[: STAGES.index(stage)]:
        workspace.expect(STAGE_RESULTS[earlier], _digest(workspace, settings, earlier))
    usable = workspace.get(PrepareResult).usable
    wrong = too_few(settings, int(usable.sum()), len(usable))
    if wrong:
        raise InputError(" ".join(wrong))
    digest = _digest(workspace, settings, stage)
    return None if workspace.has(STAGE_RESULTS[stage], digest) else digest


def reconstruct(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Consensus, noise, mask; junk set aside, or one volume per batch, as the method asks."""
    digest = _start(workspace, settings, "reconstruct")
    if digest is None:
        return
    slices = workspace.slices_at(settings.resolution)
    symmetry = symmetry_matrices(settings.symmetry)
    consensus = reconstruct_consensus(slices, symmetry)
    progress(0.3)
    if settings.method == "particles":
        consensus, quality = clean_consensus(slices, consensus, symmetry, settings.seed)
        mask, note = mask_and_note(consensus.mean, slices.grid, settings)
        result = dataclasses.replace(
            ConsensusResult.of_particles(consensus, quality, mask, slices.grid), mask_note=note
        )
    else:
        mask, note = mask_and_note(consensus.mean, slices.grid, settings)
        made = batches.reconstruct_batches(
            slices, consensus, settings, symmetry, lambda share: progress(0.3 + 0.7 * share)
        )
        result = ConsensusResult(consensus, mask, slices.grid, batches=made, mask_note=note)
    workspace.put(result, digest)
    progress(1.0)


def components(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Principal components, of the batches or of the particles."""
    digest = _start(workspace, settings, "components")
    if digest is None:
        return
    base = workspace.get(ConsensusResult)
    if settings.method != "simple":
        check_room(base.mask, settings.components)
    if settings.method == "particles":
        coarse = workspace.slices_at(settings.resolution)
        result = power_curve.find_with_control(
            coarse, base, settings, lambda share: progress(0.75 * share)
        )
        result = fine.refine_found(
            workspace.slices(), base, result, settings, lambda share: progress(0.75 + 0.25 * share)
        )
    else:
        result = batches.find_components(base, settings)
    workspace.put(result, digest)
    progress(1.0)


def cluster(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Clusters of batches, or of particles."""
    digest = _start(workspace, settings, "cluster")
    if digest is None:
        return
    found = workspace.get(ComponentsResult)
    if found.particles is not None:
        result = classes.cluster_particles(workspace.slices(), found.particles, settings)
    else:
        result = batches.cluster_batches(found, settings)
    workspace.put(result, digest)
    progress(1.0)


def volumes(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """The K volumes, each particle's class, and how much the volumes differ."""
    digest = _start(workspace, settings, "volumes")
    if digest is None:
        return
    base, clusters = workspace.get(ConsensusResult), workspace.get(ClusterResult)
    found = workspace.get(ComponentsResult).particles
    base = base if found is None else found.consensus_of(base)
    slices = workspace.slices_at(base.grid.resolution)
    if found is not None:
        particles = AnalysedParticles.of(slices, base, settings)
        result = classes.make_volumes(particles, found, clusters, settings, progress)
    else:
        result = batches.make_volumes(slices, base, clusters)
    workspace.put(result, digest)
    progress(1.0)
