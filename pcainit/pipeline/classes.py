"""The stages cluster and volumes of the method `particles`."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable

import numpy as np

from pcainit.engine.arrays import AnyArray, BoolArray, FloatArray
from pcainit.engine.classes.class_motion import MOTIONS, apply_class_motion, estimate_class_motion
from pcainit.engine.classes.class_refinement import refine_classes
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
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.class_model import ClassModel, populated, score_classes
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.likelihood import class_posteriors
from pcainit.engine.model.statistics import measure
from pcainit.engine.projection.reconstruction import fourier_shell_correlation, reconstruct_groups
from pcainit.engine.volume_sets.batches import draw_batches
from pcainit.engine.volume_sets.clusters import MAX_CLASSES
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.measurement import spread_out
from pcainit.pipeline.results import (
    ClusterResult,
    ParticleClasses,
    ParticleClusters,
    ParticleComponents,
    VolumesResult,
)
from pcainit.settings import Settings

Progress = Callable[[float], None]


def cluster_particles(
    slices: Slices, found: ParticleComponents, settings: Settings
) -> ClusterResult:
    """Number of classes and the mixture, in the space of the certified components.

    The number is chosen on particles that had no part in the components they are measured with:
    otherwise the components' own noise looks like further classes.
    """
    if not found.count:
        return _one_class(len(found.index))
    crossed = found.cross_statistics
    fits, held, best = choose_classes(
        crossed,
        slices.half[found.index],
        max(settings.n_classes, MAX_CLASSES),
        settings.seed,
        settings.n_classes,
    )
    wanted = min(settings.n_classes or best, best)
    resp, _ = responsibilities(crossed, fits[wanted - 1].weights, fits[wanted - 1].centres)
    particles = found.statistics.first(found.count)
    if best == 1 and settings.n_classes:
        variances = found.model.variances[: found.count]
        mixture = spread_points(variances, settings.n_classes, len(particles))
    else:
        mixture = refine_mixture(
            particles, fits[wanted - 1].weights, weighted_centres(particles, resp)
        )
    posterior, _ = responsibilities(particles, mixture.weights, mixture.centres)
    supported, _ = responsibilities(crossed, fits[best - 1].weights, fits[best - 1].centres)
    return ClusterResult(
        centres=mixture.centres,
        tried=np.arange(1, len(fits) + 1),
        bic=np.array([fit.bic for fit in fits]),
        held_out=held,
        particles=ParticleClusters(
            weights=mixture.weights,
            posterior=posterior,
            distances=centre_distances(mixture.centres, particles.precision),
            supported=int(best),
            supported_weights=fits[best - 1].weights,
            merged=(supported.T @ posterior).argmax(axis=1),
        ),
    )


def _one_class(count: int) -> ClusterResult:
    """Of so many particles, where no component tells them apart."""
    return ClusterResult(
        centres=np.zeros((1, 0)),
        bic=np.zeros(1),
        held_out=np.zeros(1),
        particles=ParticleClusters(
            weights=np.ones(1),
            posterior=np.ones((count, 1), np.float32),
            distances=np.zeros((1, 1)),
            supported=1,
            supported_weights=np.ones(1),
            merged=np.zeros(1, int),
        ),
    )


@dataclass(frozen=True, eq=False)
class _States:
    """Classes that the particles show.

    Parameters
    ----------
    filtered, whole : ClassModel
        Of all particles, with and without a local filter.
    halves : two ClassModel
        Of either half-set.
    rises : tuple of float
        Of the likelihood, at each step away from the components' span.
    """

    filtered: ClassModel
    whole: ClassModel
    halves: tuple[ClassModel, ClassModel]
    rises: tuple[float, ...] = ()

    def take(self, kept: AnyArray) -> _States:
        """Some of the classes; one alone is the consensus."""
        one, two = (model.take(kept) for model in self.halves)
        return _States(self.filtered.take(kept), self.whole.take(kept), (one, two), self.rises)


@dataclass(frozen=True, eq=False)
class _Differences:
    """What the K volumes differ from the consensus by.

    Parameters
    ----------
    shown, unfiltered : (K, box, box, box) float32
    noise : (K,) float64
        Variance of the noise in them.
    posterior : (n, K) float32
    copies : (K,) bool
        Random subsets of the particles, by which no state is meant.
    """

    shown: FloatArray
    unfiltered: FloatArray
    noise: FloatArray
    posterior: FloatArray
    copies: BoolArray


def make_volumes(
    particles: AnalysedParticles,
    found: ParticleComponents,
    clusters: ClusterResult,
    settings: Settings,
    progress: Progress,
) -> VolumesResult:
    """Class volumes, each particle's class, and how much the volumes differ."""
    spread, mask, grid = found.model.nuisance, particles.mask, particles.grid
    fitted = _fit_states(particles, found, clusters, progress)
    states, posterior = _drop_empty(particles, fitted, spread, asked=settings.n_classes > 0)
    moves = _class_motions(particles, states, posterior, spread)
    volumes = _fill_with_random_subsets(
        _state_volumes(particles, states, posterior, moves), particles, settings
    )
    mean_posterior = volumes.posterior[particles.quality.keep].mean(axis=0, dtype=np.float64)
    one, two = (model.differences for model in states.halves)
    return VolumesResult(
        volumes=(particles.consensus.mean + volumes.shown).astype(np.float32),
        weights=mean_posterior,
        pairwise=pairwise_differences(volumes.unfiltered, np.maximum(volumes.noise, 1e-30), mask),
        class_fsc=np.array([fourier_shell_correlation(a, b, grid) for a, b in zip(one, two)]),
        copies=volumes.copies,
        offsets=moves,
        dropped=len(fitted.whole.weights) - len(states.whole.weights),
        held_out=states.rises,
        particles=ParticleClasses(
            posterior=volumes.posterior,
            label=volumes.posterior.argmax(axis=1).astype(np.int32),
            junk=particles.quality.junk | ~particles.slices.usable,
            coordinates=found.coordinates,
            covariance=found.covariance,
            contrast=particles.quality.contrast,
        ),
    )


def _fit_states(
    particles: AnalysedParticles,
    found: ParticleComponents,
    clusters: ClusterResult,
    progress: Progress,
) -> _States:
    """The classes' volumes, from the components' span towards free ones; one is the consensus."""
    mixture, centres = clusters.particles, clusters.centres
    assert mixture is not None and centres is not None
    mask, spread, halves = particles.mask, found.model.nuisance, particles.half_sets
    if len(mixture.weights) == 1:
        flat = ClassModel(np.zeros((1,) + mask.shape, np.float32), np.ones(1))
        return _States(flat, flat, (flat, flat))
    start = ClassModel(_mixed(centres, found.model.components[: centres.shape[1]]), mixture.weights)
    pair = (
        _half_model(particles, found, mixture, 0, centres.shape[1]),
        _half_model(particles, found, mixture, 1, centres.shape[1]),
    )
    background = particles.background
    fine = refine_classes(background, mask, start, pair, halves, spread, progress=progress)
    shares = spread_out(mixture.posterior, found.index, len(particles.slices))
    final = filter_differences(
        background, mask, fine.whole, fine.pair, halves, shares, spread, localised=fine.rounds > 0
    )
    return _States(final, fine.unfiltered, fine.unfiltered_pair, fine.held_out)


def _half_model(
    particles: AnalysedParticles,
    found: ParticleComponents,
    mixture: ParticleClusters,
    h: int,
    count: int,
) -> ClassModel:
    """Class differences that a half-set alone gives, for the classes of its particles."""
    components, index = found.half_models[h].components[:count], particles.half_sets[h]
    model = LatentModel(components, np.ones(len(components)), found.model.nuisance)
    mine = np.isin(found.index, index)
    centres = weighted_centres(measure(particles.background, model, index), mixture.posterior[mine])
    return ClassModel(_mixed(centres, components), mixture.weights)


def _mixed(centres: AnyArray, components: AnyArray) -> AnyArray:
    """Volumes at some places along components, (K, box, box, box) float32."""
    return np.asarray(np.einsum("kq,qzyx->kzyx", centres, components), np.float32)


def _drop_empty(
    particles: AnalysedParticles, states: _States, spread: NuisanceSpread, asked: bool
) -> tuple[_States, AnyArray]:
    """The classes that have members, and the share (n, K) of each in each particle."""
    everyone, index = np.arange(len(particles.slices)), particles.everyone
    while True:
        posterior, _ = score_classes(particles.background, states.filtered, everyone, spread)
        kept = populated(posterior[index], asked)
        if len(kept) == len(states.filtered.weights):
            return states, posterior
        states = states.take(kept)  # others may now win the particles


def _class_motions(
    particles: AnalysedParticles, states: _States, posterior: AnyArray, spread: NuisanceSpread
) -> AnyArray:
    """How each class as a whole lies against the consensus, (K, 6)."""
    if len(states.whole.weights) == 1:
        return np.zeros((1, MOTIONS))
    return estimate_class_motion(
        particles.background, states.filtered, posterior, particles.everyone, spread
    )


def _state_volumes(
    particles: AnalysedParticles, states: _States, posterior: AnyArray, moves: AnyArray
) -> _Differences:
    """The states as they are shown: each moved to where it lies, with the noise in it."""
    background, mask = particles.background, particles.mask
    shown, unfiltered = (
        apply_class_motion(background, mask, model, moves).differences
        for model in (states.filtered, states.whole)
    )
    # Noise is looked at before the filter: common weights make the halves look more alike.
    noise = noise_power(states.halves[0].differences, states.halves[1].differences, mask)
    return _Differences(shown, unfiltered, noise, posterior, np.zeros(len(shown), bool))


def _fill_with_random_subsets(
    states: _Differences, particles: AnalysedParticles, settings: Settings
) -> _Differences:
    """Add random subsets up to the number of classes asked for.

    Where there is nothing to tell apart all of them are random subsets.
    """
    real, wanted = len(states.copies), settings.n_classes
    if wanted <= real:
        return states
    if real == 1:
        seeds = _random_subsets(particles, settings.seed, wanted)
        consensus = particles.consensus
        return _Differences(
            seeds,
            seeds,
            np.full(wanted, float((seeds**2).mean(axis=0).sum()) / particles.mask.sum()),
            class_posteriors(
                particles.slices, consensus.mean + seeds, consensus.whitening(particles.grid)
            ),
            np.ones(wanted, bool),
        )
    extra = wanted - real
    seeds = _random_subsets(particles, settings.seed, extra)
    none = np.zeros((len(states.posterior), extra), np.float32)
    return dataclasses.replace(
        states,
        shown=np.concatenate([states.shown, seeds]),
        unfiltered=np.concatenate([states.unfiltered, seeds]),
        noise=np.append(states.noise, np.full(extra, states.noise.max())),
        posterior=np.concatenate([states.posterior, none], axis=1),
        copies=np.append(states.copies, np.ones(extra, bool)),
    )


def _random_subsets(particles: AnalysedParticles, seed: int, count: int) -> AnyArray:
    """Differences of random subsets from the consensus: distinct, but no state is meant."""
    usable = particles.everyone
    rng = np.random.default_rng([seed, 41])
    groups = draw_batches(usable, count, max(1, len(usable) // (count + 1)), rng)
    volumes = reconstruct_groups(
        particles.slices, groups, particles.consensus, symmetry=particles.symmetry
    )
    differences: AnyArray = (volumes - particles.consensus.mean) * particles.mask
    return differences
