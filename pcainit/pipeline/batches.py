"""The stages of the methods `batches` and `simple`; `pipeline` calls them in order."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from pcainit.engine.classes.distances import noise_power, pairwise_differences
from pcainit.engine.geometry.poses import view_directions
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.likelihood import class_posteriors
from pcainit.engine.projection.reconstruction import Consensus, reconstruct_groups
from pcainit.engine.volume_sets import batches as five_steps
from pcainit.engine.volume_sets.noise_edge import noise_edge
from pcainit.engine.volume_sets.volume_set import principal_components, weighted_averages
from pcainit.settings import Settings

Arrays = Dict[str, np.ndarray]
Progress = Callable[[float], None]


def _draw_groups(slices: Slices, settings: Settings) -> list[np.ndarray]:
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
    slices: Slices,
    consensus: Consensus,
    settings: Settings,
    symmetry: np.ndarray,
    progress: Progress,
) -> Arrays:
    """One volume per batch; for the simple method also halves of each, which tell its noise.

    Returns
    -------
    dict
        `volumes` (n, box, box, box), and `halves` (2n, box, box, box) for the simple method.
    """
    groups = _draw_groups(slices, settings)
    result = dict(
        volumes=reconstruct_groups(slices, groups, consensus, symmetry=symmetry, progress=progress)
    )
    if settings.method == "simple":
        halves = [part for group in groups for part in (group[::2], group[1::2])]
        result["halves"] = reconstruct_groups(slices, halves, consensus, symmetry=symmetry)
    return result


def find_components(before: Arrays, settings: Settings) -> Arrays:
    """PCA of the batch volumes; nothing for the simple method."""
    if settings.method == "simple":
        return {}
    found = principal_components(
        before["volumes"], before["mask"], np.ones(len(before["volumes"])), settings.components
    )
    return dict(
        average=found.average,
        components=found.components,
        batch_coordinates=found.coordinates,
        eigenvalues=found.variances,
        spectrum=found.spectrum,
        noise_edge=np.array(noise_edge(before["volumes"], before["mask"], found)),
    )


def cluster_batches(before: Arrays, settings: Settings) -> Arrays:
    """Cluster of each batch; each subset is its own for the simple method."""
    if settings.method == "simple":
        return dict(batch_cluster=np.arange(settings.n_classes))
    return dict(
        batch_cluster=five_steps.cluster_batches(
            before["batch_coordinates"], settings.n_classes, settings.seed
        )
    )


def make_volumes(slices: Slices, before: Arrays, consensus: Consensus, label: np.ndarray) -> Arrays:
    """Average of each cluster's volumes; each particle's class is the one that explains it best.

    Parameters
    ----------
    slices : Slices
    before : dict
        Result of the stage reconstruct.
    consensus : Consensus
    label : (n,) int
        Cluster of each batch.

    Returns
    -------
    dict
        Result of the stage volumes.
    """
    mask = before["mask"]
    classes, _ = weighted_averages(
        before["volumes"], np.eye(label.max() + 1)[label], mask, before["mean"]
    )
    posterior = class_posteriors(slices, classes, consensus.whitening(slices.grid))
    found = posterior.argmax(axis=1).astype(np.int32)
    counted = np.bincount(found[slices.usable], minlength=len(classes))
    return dict(
        volumes=classes,
        posterior=posterior,
        label=found,
        junk=~slices.usable,
        weights=counted / counted.sum(),
        batch_shares=np.bincount(label) / len(label),
        pairwise=pairwise_differences(classes, _noise(before, label, mask), mask),
    )


def _noise(before: Arrays, label: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Noise variance of each cluster's average."""
    if "halves" in before:
        return noise_power(before["halves"][::2], before["halves"][1::2], mask)
    spread = before["volumes"].var(axis=0, ddof=1, dtype=np.float64)
    return (spread * mask).sum() / mask.sum() / np.bincount(label)
