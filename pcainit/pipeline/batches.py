"""The stages of the methods `batches` and `simple`; `runner` calls them in order."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.classes.distances import noise_power, pairwise_differences
from pcainit.engine.geometry.poses import view_directions
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.likelihood import class_posteriors
from pcainit.engine.projection.reconstruction import Consensus, reconstruct_groups
from pcainit.engine.volume_sets import batches as five_steps
from pcainit.engine.volume_sets.noise_edge import noise_edge
from pcainit.engine.volume_sets.volume_set import principal_components, weighted_averages
from pcainit.pipeline.results import (
    BatchVolumes,
    ClusterResult,
    ComponentsResult,
    ConsensusResult,
    ParticleClasses,
    VolumesResult,
)
from pcainit.settings import Settings

Progress = Callable[[float], None]


def _draw_groups(slices: Slices, settings: Settings) -> list[AnyArray]:
    usable = np.flatnonzero(slices.usable)
    rng = np.random.default_rng([settings.seed, 1])
    size = settings.particles_per_reconstruction
    if settings.method == "simple":
        size = min(size, len(usable) // settings.n_classes)
        return five_steps.draw_batches(usable, settings.n_classes, size, rng)
    directions = view_directions(slices.rotations) if settings.stratify else None
    return five_steps.draw_batches(
        usable, settings.reconstructions, min(size, len(usable)), rng, directions=directions
    )


def reconstruct_batches(
    slices: Slices, consensus: Consensus, settings: Settings, symmetry: AnyArray, progress: Progress
) -> BatchVolumes:
    """One volume per batch; for the simple method also halves of each, which tell its noise."""
    groups = _draw_groups(slices, settings)
    volumes = reconstruct_groups(slices, groups, consensus, symmetry=symmetry, progress=progress)
    if settings.method != "simple":
        return BatchVolumes(volumes, None)
    halves = [part for group in groups for part in (group[::2], group[1::2])]
    return BatchVolumes(volumes, reconstruct_groups(slices, halves, consensus, symmetry=symmetry))


def find_components(base: ConsensusResult, settings: Settings) -> ComponentsResult:
    """PCA of the batch volumes; nothing for the simple method."""
    if settings.method == "simple":
        return ComponentsResult()
    volumes = _batches_of(base).volumes
    found = principal_components(volumes, base.mask, np.ones(len(volumes)), settings.components)
    edge = float(noise_edge(volumes, base.mask, found))
    return ComponentsResult(volumes=found, noise_edge=edge)


def cluster_batches(found: ComponentsResult, settings: Settings) -> ClusterResult:
    """Cluster of each batch; each subset is its own for the simple method."""
    if found.volumes is None:
        return ClusterResult(label=np.arange(settings.n_classes))
    return ClusterResult(
        label=five_steps.cluster_batches(
            found.volumes.coordinates, settings.n_classes, settings.seed
        )
    )


def make_volumes(slices: Slices, base: ConsensusResult, clusters: ClusterResult) -> VolumesResult:
    """Average of each cluster's volumes; each particle's class is the one that explains it best.

    Parameters
    ----------
    slices : Slices
    base : ConsensusResult
    clusters : ClusterResult
        With the cluster of each batch.

    Returns
    -------
    VolumesResult
    """
    consensus, mask, label = base.consensus, base.mask, clusters.label
    assert label is not None
    batches = _restored(_batches_of(base), consensus.mean, slices)
    classes, _ = weighted_averages(
        batches.volumes, np.eye(label.max() + 1)[label], mask, consensus.mean
    )
    posterior = class_posteriors(slices, classes, consensus.whitening(slices.grid))
    found = posterior.argmax(axis=1).astype(np.int32)
    counted = np.bincount(found[slices.usable], minlength=len(classes))
    return VolumesResult(
        volumes=classes,
        weights=counted / counted.sum(),
        pairwise=pairwise_differences(classes, _noise(batches, label, mask), mask),
        particles=ParticleClasses(posterior, found, ~slices.usable),
    )


def _batches_of(base: ConsensusResult) -> BatchVolumes:
    assert base.batches is not None
    return base.batches


def _restored(batches: BatchVolumes, mean: AnyArray, slices: Slices) -> BatchVolumes:
    """The same at the amplitude of the consensus; halves of batches have lost more than they."""
    halves = batches.halves
    return BatchVolumes(
        five_steps.restore_amplitude(batches.volumes, mean, slices.grid),
        None if halves is None else five_steps.restore_amplitude(halves, mean, slices.grid),
    )


def _noise(batches: BatchVolumes, label: AnyArray, mask: AnyArray) -> AnyArray:
    """Noise variance of each cluster's average."""
    if batches.halves is not None:
        return noise_power(batches.halves[::2], batches.halves[1::2], mask)
    spread = batches.volumes.var(axis=0, ddof=1, dtype=np.float64)
    variance: AnyArray = (spread * mask).sum() / mask.sum() / np.bincount(label)
    return variance
