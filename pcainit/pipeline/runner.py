"""The order of the stages: prepare, reconstruct, components, cluster, volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import functools
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
from pcainit.pipeline.prepare_result import PrepareResult, StageResult
from pcainit.pipeline.results import (
    STAGE_RESULTS,
    ClusterResult,
    ComponentsResult,
    ConsensusResult,
    VolumesResult,
)
from pcainit.pipeline.stage_order import STAGES, stage_digest
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

__all__ = ["prepare", "reconstruct", "components", "cluster", "volumes"]

Progress = Callable[[float], None]
Maker = Callable[[Workspace, Settings, Progress], StageResult]


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


def _stage(make: Maker) -> Callable[[Workspace, Settings, Progress], None]:
    """A stage of what makes its result: made only where it is not kept already, then kept."""

    @functools.wraps(make)
    def run(workspace: Workspace, settings: Settings, progress: Progress) -> None:
        digest = _start(workspace, settings, make.__name__)
        if digest is None:
            return
        workspace.put(make(workspace, settings, progress), digest)
        progress(1.0)

    return run


@_stage
def reconstruct(workspace: Workspace, settings: Settings, progress: Progress) -> ConsensusResult:
    """Consensus, noise, mask; junk set aside, or one volume per batch, as the method asks."""
    slices = workspace.slices_at(settings.resolution)
    symmetry = symmetry_matrices(settings.symmetry)
    consensus = reconstruct_consensus(slices, symmetry)
    progress(0.3)
    if settings.method == "particles":
        consensus, quality = clean_consensus(slices, consensus, symmetry, settings.seed)
        mask, note = mask_and_note(consensus.mean, slices.grid, settings)
        return dataclasses.replace(
            ConsensusResult.of_particles(consensus, quality, mask, slices.grid), mask_note=note
        )
    mask, note = mask_and_note(consensus.mean, slices.grid, settings)
    made = batches.reconstruct_batches(
        slices, consensus, settings, symmetry, lambda share: progress(0.3 + 0.7 * share)
    )
    return ConsensusResult(consensus, mask, slices.grid, batches=made, mask_note=note)


@_stage
def components(workspace: Workspace, settings: Settings, progress: Progress) -> ComponentsResult:
    """Principal components, of the batches or of the particles."""
    base = workspace.get(ConsensusResult)
    if settings.method != "simple":
        check_room(base.mask, settings.components)
    if settings.method != "particles":
        return batches.find_components(base, settings)
    coarse = workspace.slices_at(settings.resolution)
    found = power_curve.find_with_control(
        coarse, base, settings, lambda share: progress(0.75 * share)
    )
    return fine.refine_found(
        workspace.slices(), base, found, settings, lambda share: progress(0.75 + 0.25 * share)
    )


@_stage
def cluster(workspace: Workspace, settings: Settings, progress: Progress) -> ClusterResult:
    """Clusters of batches, or of particles."""
    found = workspace.get(ComponentsResult)
    if found.particles is None:
        return batches.cluster_batches(found, settings)
    return classes.cluster_particles(workspace.slices(), found.particles, settings)


@_stage
def volumes(workspace: Workspace, settings: Settings, progress: Progress) -> VolumesResult:
    """The K volumes, each particle's class, and how much the volumes differ."""
    base, clusters = workspace.get(ConsensusResult), workspace.get(ClusterResult)
    found = workspace.get(ComponentsResult).particles
    base = base if found is None else found.consensus_of(base)
    slices = workspace.slices_at(base.grid.resolution)
    if found is None:
        return batches.make_volumes(slices, base, clusters)
    particles = AnalysedParticles.of(slices, base, settings)
    return classes.make_volumes(particles, found, clusters, settings, progress)
