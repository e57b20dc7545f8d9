"""The stages cluster and volumes of the method `particles`."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from pcainit.engine.classes.class_motion import MOTIONS, apply_class_motion, estimate_class_motion
from pcainit.engine.classes.distances import noise_power, pairwise_differences
from pcainit.engine.classes.local_filter import filter_differences
from pcainit.engine.classes.mixture import (
    centre_distances,
    refine_mixture,
    responsibilities,
    spread_points,
    weighted_centres,
)
from pcainit.engine.classes.number import choose_classes
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.class_model import ClassModel, populated, refine_classes, score_classes
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread, make_background
from pcainit.engine.model.likelihood import class_posteriors
from pcainit.engine.model.statistics import measure
from pcainit.engine.projection.reconstruction import fourier_shell_correlation, reconstruct_groups
from pcainit.engine.volume_sets.batches import draw_batches
from pcainit.engine.volume_sets.clusters import MAX_CLASSES
from pcainit.pipeline.components import (
    analysed_slices,
    consensus_of,
    half_sets,
    restored,
    spread_out,
)
from pcainit.settings import Settings

Arrays = Dict[str, np.ndarray]
Progress = Callable[[float], None]


def cluster_particles(slices: Slices, before: Arrays, settings: Settings) -> Arrays:
    """Number of classes and the mixture, in the space of the certified components.

    The number is chosen on particles that had no part in the components they are measured with:
    otherwise the components' own noise looks like further classes.
    """
    count = before["half_components"].shape[1]
    index = before["index"]
    if not count:
        return dict(
            weights=np.ones(1),
            centres=np.zeros((1, 0)),
            bic=np.zeros(1),
            held_out=np.zeros(1),
            found=np.array(1),
            supported_weights=np.ones(1),
            merged=np.zeros(1, int),
            distances=np.zeros((1, 1)),
            posterior=np.ones((len(index), 1), np.float32),
        )
    crossed = restored(before, "cross_")
    fits, held, best = choose_classes(
        crossed,
        slices.half[index],
        max(settings.n_classes, MAX_CLASSES),
        settings.seed,
        settings.n_classes,
    )
    wanted = min(settings.n_classes or best, best)
    resp, _ = responsibilities(crossed, fits[wanted - 1].weights, fits[wanted - 1].centres)
    particles = restored(before, "all_").first(count)
    if best == 1 and settings.n_classes:
        mixture = spread_points(before["eigenvalues"][:count], settings.n_classes, len(particles))
    else:
        mixture = refine_mixture(
            particles, fits[wanted - 1].weights, weighted_centres(particles, resp)
        )
    posterior, _ = responsibilities(particles, mixture.weights, mixture.centres)
    supported, _ = responsibilities(crossed, fits[best - 1].weights, fits[best - 1].centres)
    return dict(
        weights=mixture.weights,
        centres=mixture.centres,
        bic=np.array([fit.bic for fit in fits]),
        held_out=held,
        found=np.array(best),
        supported_weights=fits[best - 1].weights,
        merged=(supported.T @ posterior).argmax(axis=1),
        tried_classes=np.arange(1, len(fits) + 1),
        posterior=posterior,
        distances=centre_distances(mixture.centres, particles.precision),
    )


def make_volumes(
    slices: Slices,
    consensus_result: Arrays,
    found: Arrays,
    clusters: Arrays,
    settings: Settings,
    symmetry: np.ndarray,
    progress: Progress,
) -> Arrays:
    """Class volumes, each particle's class, and how much the volumes differ."""
    consensus, mask = consensus_of(consensus_result), consensus_result["mask"]
    grid, n, offsets = slices.grid, len(slices), consensus_result["offsets"]
    slices = analysed_slices(slices, consensus_result)
    background = make_background(slices, consensus, auto_mask(consensus.mean, grid), offsets)
    halves = half_sets(slices, consensus_result["keep"])
    spread = NuisanceSpread(*found["spread"].tolist())
    count, real = clusters["centres"].shape[1], len(clusters["weights"])
    whole = ClassModel(
        np.einsum("kq,qzyx->kzyx", clusters["centres"], found["components"][:count]).astype(
            np.float32
        ),
        clusters["weights"],
    )
    held: list[float] = []
    if real > 1:
        pair = (
            _half_model(background, found, clusters, halves, 0, spread),
            _half_model(background, found, clusters, halves, 1, spread),
        )
        whole, pair, held = refine_classes(
            background, mask, whole, pair, halves, spread, progress=progress
        )
        shares = spread_out(clusters["posterior"], found["index"], n)
        final = filter_differences(background, mask, whole, pair, halves, shares, spread)
    else:
        flat = ClassModel(np.zeros((1,) + mask.shape, np.float32), np.ones(1))
        final, whole, pair = flat, flat, (flat, flat)
    posterior, _ = score_classes(background, final, np.arange(n), spread)
    index = np.flatnonzero(consensus_result["keep"])
    asked = settings.n_classes > 0
    kept = populated(posterior[index], asked)
    while len(kept) < len(final.weights):  # others may now win the particles
        final, whole = (model.take(kept) for model in (final, whole))
        pair = (pair[0].take(kept), pair[1].take(kept))
        posterior, _ = score_classes(background, final, np.arange(n), spread)
        kept = populated(posterior[index], asked)
    dropped, real = real - len(kept), len(kept)
    moves = (
        estimate_class_motion(background, final, posterior, index, spread)
        if real > 1
        else np.zeros((real, MOTIONS))
    )
    final, whole = (apply_class_motion(background, mask, model, moves) for model in (final, whole))
    # Noise is looked at before the filter: common weights make the halves look more alike.
    noise = noise_power(pair[0].differences, pair[1].differences, mask)
    differences, unfiltered, copies = final.differences, whole.differences, np.zeros(real, bool)
    extra = max(settings.n_classes - real, 0)
    if extra:
        if real == 1:  # nothing to tell apart: all of them are bootstraps
            extra += 1
        seeds = _neutral_seeds(slices, consensus_result, settings, symmetry, extra)
        if real == 1:
            differences, unfiltered, copies = seeds, seeds, np.ones(extra, bool)
            posterior = class_posteriors(slices, consensus.mean + seeds, consensus.whitening(grid))
            noise = np.full(extra, float((seeds**2).mean(axis=0).sum()) / mask.sum())
        else:
            differences = np.concatenate([differences, seeds])
            unfiltered = np.concatenate([unfiltered, seeds])
            copies = np.append(copies, np.ones(extra, bool))
            posterior = np.concatenate([posterior, np.zeros((n, extra), np.float32)], axis=1)
            noise = np.append(noise, np.full(extra, noise.max()))
    label = posterior.argmax(axis=1).astype(np.int32)
    kept = consensus_result["keep"]
    weights = posterior[kept].mean(axis=0, dtype=np.float64)
    volumes = (consensus.mean + differences).astype(np.float32)
    fsc = [
        fourier_shell_correlation(a, b, grid)
        for a, b in zip(pair[0].differences, pair[1].differences)
    ]
    return dict(
        volumes=volumes,
        posterior=posterior,
        label=label,
        junk=consensus_result["junk"] | ~slices.usable,
        weights=weights,
        pairwise=pairwise_differences(unfiltered, np.maximum(noise, 1e-30), mask),
        class_fsc=np.array(fsc),
        copies=copies,
        offsets=moves,
        dropped=np.array(dropped),
        held_out=np.array(held),
        coordinates=found["coordinates"],
        covariance=found["covariance"],
        contrast=consensus_result["contrast"],
    )


def _half_model(background, found, clusters, halves, h, spread) -> ClassModel:
    """Class differences that a half-set alone gives, for the classes of its particles."""
    components = found["half_components"][h][: clusters["centres"].shape[1]]
    model = LatentModel(components, np.ones(len(components)), spread)
    mine = np.isin(found["index"], halves[h])
    centres = weighted_centres(measure(background, model, halves[h]), clusters["posterior"][mine])
    return ClassModel(
        np.einsum("kq,qzyx->kzyx", centres, components).astype(np.float32), clusters["weights"]
    )


def _neutral_seeds(slices, result, settings, symmetry, count) -> np.ndarray:
    """Differences of random subsets from the consensus: distinct, but no state is meant."""
    usable = np.flatnonzero(result["keep"])
    rng = np.random.default_rng([settings.seed, 41])
    groups = draw_batches(usable, count, max(1, len(usable) // (count + 1)), rng)
    volumes = reconstruct_groups(slices, groups, consensus_of(result), symmetry=symmetry)
    return (volumes - result["mean"]) * result["mask"]
