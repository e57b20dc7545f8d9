"""The order of the stages: prepare, reconstruct, components, cluster, volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from pcainit.checks import too_few
from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.masks import auto_mask, check_room, contradiction, fit_mask
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.errors import InputError
from pcainit.io.fingerprint import content_identity
from pcainit.io.maps import read_mask
from pcainit.pipeline import batches, classes, grown_mask, power_curve
from pcainit.pipeline.components import consensus_of
from pcainit.pipeline.given import given_identity
from pcainit.pipeline.prepare import prepare
from pcainit.pipeline.stage_order import STAGES, stage_digest
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

__all__ = ["prepare", "reconstruct", "components", "cluster", "volumes"]

Progress = Callable[[float], None]
Arrays = Dict[str, np.ndarray]


def _digest(workspace: Workspace, settings: Settings, stage: str) -> str:
    identity = str(workspace.get("prepare")["identity"])
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
        workspace.expect(earlier, _digest(workspace, settings, earlier))
    usable = workspace.get("prepare")["usable"]
    wrong = too_few(settings, int(usable.sum()), len(usable))
    if wrong:
        raise InputError(" ".join(wrong))
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
    note = ""
    if settings.method == "particles":
        consensus, extra = clean_consensus(slices, consensus, symmetry, settings.seed)
    if settings.mask:
        given, step = read_mask(settings.mask, settings.mask_sampling)
        mask = fit_mask(given, step, slices.grid)
        note = contradiction(len(given), step, slices.grid)
    else:
        mask = auto_mask(
            consensus.mean,
            slices.grid,
            threshold=settings.mask_threshold,
            near=settings.mask_near,
            far=settings.mask_far,
        )
    if settings.method != "particles":
        extra = batches.reconstruct_batches(
            slices, consensus, settings, symmetry, lambda share: progress(0.3 + 0.7 * share)
        )
    workspace.put(
        "reconstruct",
        digest,
        dict(
            mean=consensus.mean,
            noise=consensus.noise,
            signal=consensus.signal,
            fsc=consensus.fsc,
            mask=mask,
            mask_note=np.array(note),
            **extra,
        ),
    )
    progress(1.0)


def components(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Principal components, of the batches or of the particles."""
    digest = _start(workspace, settings, "components")
    if digest is None:
        return
    before = workspace.get("reconstruct")
    if settings.method != "simple":
        check_room(before["mask"], settings.components)
    if settings.method == "particles":
        result = power_curve.find_with_control(workspace.slices(), before, settings, progress)
    else:
        result = batches.find_components(before, settings)
    workspace.put("components", digest, result)
    progress(1.0)


def cluster(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """Clusters of batches, or of particles."""
    digest = _start(workspace, settings, "cluster")
    if digest is None:
        return
    before = workspace.get("components")
    if settings.method == "particles":
        result = classes.cluster_particles(workspace.slices(), before, settings)
    else:
        result = batches.cluster_batches(before, settings)
    workspace.put("cluster", digest, result)
    progress(1.0)


def volumes(workspace: Workspace, settings: Settings, progress: Progress) -> None:
    """The K volumes, each particle's class, and how much the volumes differ."""
    digest = _start(workspace, settings, "volumes")
    if digest is None:
        return
    slices, found = workspace.slices(), workspace.get("components")
    before = grown_mask.with_grown_mask(workspace.get("reconstruct"), found)
    clusters = workspace.get("cluster")
    if settings.method == "particles":
        result = classes.make_volumes(
            slices,
            before,
            found,
            clusters,
            settings,
            symmetry_matrices(settings.symmetry),
            progress,
        )
    else:
        result = batches.make_volumes(
            slices, before, consensus_of(before), clusters["batch_cluster"]
        )
    workspace.put("volumes", digest, result)
    progress(1.0)
