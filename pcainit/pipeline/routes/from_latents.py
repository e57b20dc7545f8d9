"""Volumes from latent coordinates of any program: clusters, soft-weighted reconstructions."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.classes.distances import noise_power, pairwise_differences
from pcainit.engine.images.particles import Slices
from pcainit.engine.projection.reconstruction import (
    Consensus,
    fourier_shell_correlation,
    reconstruct_consensus,
    wiener_volume,
)
from pcainit.engine.projection.slices import insert_slices
from pcainit.engine.volume_sets.clusters import (
    Clusters,
    cluster_along,
    cluster_mixture,
    drop_empty_classes,
    even_steps,
    moments,
    principal_axes,
)
from pcainit.errors import InputError
from pcainit.pipeline.masks import mask_and_note
from pcainit.pipeline.results import (
    ClusterResult,
    ComponentsResult,
    ConsensusResult,
    ParticleClasses,
    RunResults,
    VolumesResult,
)
from pcainit.settings import Settings

Progress = Callable[[float], None]

MIN_CLASS_WEIGHT = 20  # of a class, in weight
_AT_A_TIME = 8  # classes that are back-projected together


def check_axis(along: int, dimensions: int, settings: Settings) -> None:
    """Whether volumes along an axis can be made; 0 stands for no axis.

    Raises
    ------
    InputError
        The axis does not exist, or the number of classes is not given with it.
    """
    if not 0 <= along <= dimensions:
        raise InputError(
            "along is %d, but the coordinates have %d dimension%s: give a number "
            "from 1 to %d." % (along, dimensions, "" if dimensions == 1 else "s", dimensions)
        )
    if along and not settings.n_classes:
        raise InputError("classes is auto, but along needs a number of volumes: give one.")


def cluster(coordinates: AnyArray, usable: AnyArray, settings: Settings, along: int) -> Clusters:
    """Classes of all particles, from the coordinates of the usable ones.

    Parameters
    ----------
    coordinates : (n, q) float64
    usable : (n,) bool
    settings : Settings
        Classes and seed are used.
    along : int
        0: a mixture; else the axis of the coordinates, from 1, to take even steps along.

    Returns
    -------
    Clusters
        Of the usable particles, in their own coordinates.

    Raises
    ------
    InputError
        Steps along the axis would have no particles.
    """
    some = coordinates[usable]
    if along:
        values = some[:, along - 1]
        steps = drop_empty_classes(cluster_along(some, along - 1, settings.n_classes))
        distinct = len(np.unique(even_steps(values, settings.n_classes)))
        if min(len(steps.weights), distinct) < settings.n_classes:
            raise InputError(
                "classes is %d, but too many particles have the same value along "
                "dimension %d (%d different ones in all): ask for fewer, choose "
                "another dimension, or leave along out."
                % (settings.n_classes, along, len(np.unique(values)))
            )
        return steps
    found = drop_empty_classes(
        cluster_mixture(
            principal_axes(some), settings.n_classes, settings.seed, least=MIN_CLASS_WEIGHT
        )
    )
    own = moments(some, found.posterior)
    return Clusters(
        found.posterior, own.weights, own.centres, own.covariances, found.tried, found.bic
    )


def reconstruct(
    slices: Slices,
    coordinates: AnyArray,
    settings: Settings,
    symmetry: AnyArray,
    along: int,
    progress: Progress,
) -> RunResults:
    """One volume for each cluster of the coordinates.

    Parameters
    ----------
    slices : Slices
    coordinates : (n, q) float64
    settings : Settings
    symmetry : (s, 3, 3)
    along : int
        See `cluster`.
    progress : callable

    Returns
    -------
    RunResults

    Raises
    ------
    InputError
        A cluster has too few particles.
    """
    n, grid, usable = len(slices), slices.grid, slices.usable
    found = cluster(coordinates, usable, settings, along)
    k = len(found.weights)
    sizes = found.posterior.sum(axis=0)
    if sizes.min() < MIN_CLASS_WEIGHT:
        raise InputError(
            "classes is %s, but one of them would have %.0f particles: ask for fewer "
            "classes." % (settings.classes, sizes.min())
        )
    progress(0.1)
    consensus = reconstruct_consensus(slices, symmetry)
    mask, note = mask_and_note(consensus.mean, grid, settings)
    progress(0.4)
    posterior = np.zeros((n, k), np.float32)
    posterior[usable] = found.posterior
    volumes, halves = _weighted_volumes(
        slices, posterior, consensus, symmetry, lambda share: progress(0.4 + 0.5 * share)
    )
    classes = (consensus.mean + mask * (volumes - consensus.mean)).astype(np.float32)
    differences = (halves - consensus.mean) * mask
    noise = noise_power(differences[0], differences[1], mask)
    tried = len(found.tried) > 1
    return RunResults(
        grid,
        consensus.mean,
        mask,
        ConsensusResult(consensus, mask, slices.grid, mask_note=note),
        ComponentsResult(variance=_variance_between(classes, sizes / sizes.sum())),
        ClusterResult(
            centres=found.centres,
            covariances=found.covariances,
            tried=found.tried if tried else None,
            bic=found.bic if tried else None,
        ),
        VolumesResult(
            volumes=classes,
            weights=sizes / sizes.sum(),
            pairwise=pairwise_differences(classes, np.maximum(noise, 1e-30), mask),
            class_fsc=np.array(
                [fourier_shell_correlation(a, b, grid) for a, b in zip(*differences)]
            ),
            particles=ParticleClasses(
                posterior=posterior,
                label=posterior.argmax(axis=1).astype(np.int32),
                junk=~usable,
                coordinates=coordinates.astype(np.float32),
            ),
        ),
    )


def _variance_between(volumes: AnyArray, shares: AnyArray) -> AnyArray:
    """Variance of the volumes where each counts by its share, (box, box, box) float32."""
    mean = np.tensordot(shares, volumes, 1)
    total = sum(share * (volume - mean) ** 2 for share, volume in zip(shares, volumes))
    return np.asarray(total, np.float32)


def _weighted_volumes(
    slices: Slices,
    posterior: AnyArray,
    consensus: Consensus,
    symmetry: AnyArray,
    progress: Progress,
) -> tuple[AnyArray, AnyArray]:
    """Volumes (K, box, box, box), and those of the two half-sets (2, K, box, box, box)."""
    grid, count = slices.grid, posterior.shape[1]
    whole = np.empty((count,) + (grid.box,) * 3, np.float32)
    halves = np.empty((2,) + whole.shape, np.float32)
    one = (slices.half == 1)[:, None]
    for first in range(0, count, _AT_A_TIME):
        some = posterior[:, first : first + _AT_A_TIME]
        size = some.shape[1]
        weights = np.ascontiguousarray(np.concatenate([some * one, some * ~one], axis=1))
        numerator, weight = insert_slices(
            slices.values, slices.ctf, slices.rotations, grid, weights=weights, symmetry=symmetry
        )
        for j in range(size):
            for h in (0, 1):
                halves[h, first + j] = wiener_volume(
                    numerator[0, h * size + j],
                    weight[0, h * size + j],
                    consensus.noise,
                    consensus.signal,
                    grid,
                )
            whole[first + j] = wiener_volume(
                numerator[0, j] + numerator[0, size + j],
                weight[0, j] + weight[0, size + j],
                consensus.noise,
                consensus.signal,
                grid,
            )
        progress((first + size) / count)
    return whole, halves
