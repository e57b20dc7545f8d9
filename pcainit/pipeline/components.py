"""The stage components of the method `particles`: global ones, local ones, and measurements."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Callable, NamedTuple

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.components.certify import Evidence, certify, confirm
from pcainit.engine.components.given import fit_spread, initial_model, share_in_span
from pcainit.engine.components.local_components import (
    Known,
    Place,
    append_orthogonal,
    describe_place,
    find_places,
)
from pcainit.engine.components.local_sweep import Region, detectable_share
from pcainit.engine.components.nuisance_span import ambiguous_directions, nuisance_share
from pcainit.engine.components.positive_control import measure_density, predict_power
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.score_test import (
    exceeds_model_error,
    held_out_score,
    marginal_variances,
)
from pcainit.engine.components.scrambling import Scrambled, scramble_residuals, turn_to_mates
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.model.axes import append, merge_models, put_first
from pcainit.engine.model.em import Schedule, fit_components
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.m_step import Weights
from pcainit.engine.model.nuisance_prior import TELLING
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.component_set import ComponentSet
from pcainit.pipeline.given import describe_given, load_given
from pcainit.pipeline.measurement import measured_components
from pcainit.pipeline.results import ComponentsResult, ComponentTests, ConsensusResult, LocalSearch
from pcainit.settings import FIXED, Settings

Progress = Callable[[float], None]

# More components are sought than are asked for: what is found must not hinge on their number.
MIN_COMPONENTS = 8
MIN_FRESH = 4  # of them at least, beside those that are given
HALF_ROUNDS, JOINT_ROUNDS = 8, 1


def find_components(
    slices: Slices,
    base: ConsensusResult,
    settings: Settings,
    progress: Progress,
    confirmed: bool = False,
) -> ComponentsResult:
    """Components of each half-set and of all particles, and what of them is certified.

    Parameters
    ----------
    slices : Slices
    base : ConsensusResult
    settings : Settings
    progress : callable
    confirmed : bool
        See `Scrambled`.

    Returns
    -------
    ComponentsResult
    """
    particles = AnalysedParticles.of(slices, base, settings)
    given = load_given(settings, particles.grid, particles.mask, particles.consensus.mean)
    if len(given) and settings.given_use == FIXED:
        return _taken_at_their_word(given, settings, particles, progress)
    half_models = _fit_half_sets(particles, settings, given, _part(progress, 0.0, 0.5))
    scrambled = _scramble(particles, settings.seed, confirmed)
    evidence = _certify(particles, half_models, scrambled, settings.seed, len(given) > 0)
    weights = Weights(particles.background)
    joint = _refit_jointly(particles, half_models, weights, _part(progress, 0.5, 0.15))
    ranked = _rank(joint, half_models, evidence, particles)
    least = RULES.min_variance * _power(particles)
    scrambled = dataclasses.replace(scrambled, strongest=evidence.around_score)
    surroundings = _surroundings(evidence, particles, joint.nuisance)
    places: list[Place] = []
    regions: list[Region] = []
    if not settings.no_local_search:
        known = ranked.clear.beside(surroundings)
        places, regions = find_places(
            particles.background,
            Known(known.halves, known.joint),
            particles.half_sets,
            particles.mask,
            settings.seed,
            weights,
            _part(progress, 0.65, 0.3),
            scrambled,
        )
    places = [place for place in places if place.joint.variances.max() > least]
    found = _without_ambiguous(_merge(ranked, places, particles), particles)
    found = found.select(found.joint.variances > least)
    wanted = max(settings.components - ranked.certified, 0 if found.q else 1)
    whole, _ = append_orthogonal(found.joint, [ranked.rest.take(slice(0, wanted))])
    result = measured_components(particles, whole, found.halves, surroundings.joint)
    power = _predict_power(particles, append(found.joint, surroundings.joint), scrambled, settings)
    tests = _tests(particles, found, whole.q, evidence, surroundings.joint)
    progress(1.0)
    return dataclasses.replace(
        result,
        noise_edge=float(ranked.rest.variances.max()) if ranked.rest.q else float("nan"),
        particles=dataclasses.replace(
            result.measured,
            tests=dataclasses.replace(tests, artefacts=ranked.artefacts),
            search=_describe_search(particles, places, regions),
            power=power,
            surroundings=surroundings.joint.components,
            given=describe_given(settings, found=share_in_span(given, found.joint.components)),
        ),
    )


def _part(progress: Progress, done: float, size: float) -> Progress:
    """Progress of a part that starts when `done` is done and makes up `size` of the whole."""
    return lambda share: progress(done + size * share)


def _taken_at_their_word(
    given: AnyArray, settings: Settings, particles: AnalysedParticles, progress: Progress
) -> ComponentsResult:
    """Given components as they are: what the particles say of each, and their spread along them."""
    background, everyone = particles.background, particles.everyone
    model = fit_spread(background, given, particles.spread, everyone, _part(progress, 0.0, 0.8))
    result = measured_components(particles, model, (model, model))
    described = describe_given(
        settings,
        score=held_out_score(given, background, everyone, model.nuisance).tolist(),
        nuisance=nuisance_share(given, background, particles.mask).tolist(),
    )
    return dataclasses.replace(
        result, particles=dataclasses.replace(result.measured, given=described)
    )


# --- the steps of the method ---------------------------------------------------------------------


def _fit_half_sets(
    particles: AnalysedParticles, settings: Settings, given: AnyArray, progress: Progress
) -> tuple[LatentModel, LatentModel]:
    """Components of each half-set, independently but for a start that may be given."""
    q = max(settings.components, MIN_COMPONENTS, len(given) + MIN_FRESH)

    def fit(h: int) -> LatentModel:
        index = particles.half_sets[h]
        # Each half has its own mean: the error of a common one would be found by both.
        background = particles.background_of(particles.polished(index))
        start = initial_model(background, particles.mask, q, settings.seed * 2 + h, given)
        return fit_components(
            background,
            particles.mask,
            dataclasses.replace(start, nuisance=particles.spread),
            index,
            schedule=Schedule(HALF_ROUNDS),
            progress=_part(progress, 0.5 * h, 0.5),
        )

    return fit(0), fit(1)


def _scramble(particles: AnalysedParticles, seed: int, confirmed: bool) -> Scrambled:
    """The particles with their residuals exchanged."""
    scrambled = scramble_residuals(particles.background, particles.half_sets, particles.body, seed)
    mates = turn_to_mates(particles.background, particles.symmetry, seed)
    # The window is gone once a mask has grown to where its images end.
    crowded = confirmed or particles.quality.window > 0
    return dataclasses.replace(scrambled, confirmed=confirmed, crowded=crowded, mates=mates)


def _certify(
    particles: AnalysedParticles,
    half_models: tuple[LatentModel, LatentModel],
    scrambled: Scrambled,
    seed: int,
    started: bool,
) -> Evidence:
    """What both half-sets agree on, the other half's particles confirm, and no artefact makes."""
    one, two = half_models
    return confirm(
        certify(one, two, particles.mask, particles.grid, seed),
        particles.background,
        particles.half_sets,
        particles.mask,
        one.nuisance,
        scrambled=scrambled,
        least=RULES.min_started_score if started else RULES.min_score,
    )


def _refit_jointly(
    particles: AnalysedParticles,
    half_models: tuple[LatentModel, LatentModel],
    weights: Weights,
    progress: Progress,
) -> LatentModel:
    """Components of all particles, from those of the half-sets."""
    return fit_components(
        particles.background,
        particles.mask,
        merge_models(list(half_models)),
        particles.everyone,
        schedule=Schedule(JOINT_ROUNDS, early=0),
        weights=weights,
        progress=progress,
    )


class _Ranked(NamedTuple):
    """Components that are certified and clear, certified but weak, and all others."""

    clear: ComponentSet
    weak: ComponentSet
    rest: LatentModel
    artefacts: int  # which are certified in none of them

    @property
    def certified(self) -> int:
        """Number of certified components."""
        return self.clear.q + self.weak.q


def _rank(
    joint: LatentModel,
    half_models: tuple[LatentModel, LatentModel],
    evidence: Evidence,
    particles: AnalysedParticles,
) -> _Ranked:
    """Turn the joint model to what is certified, and set artefacts aside."""
    parts, artefacts = [], evidence.artefacts
    clear = evidence.cosines[: evidence.count] >= RULES.clear_cosine
    for chosen in (clear, ~clear):
        if chosen.any():
            joint = put_first(joint, evidence.basis[chosen])
        size = int(chosen.sum())
        share = nuisance_share(joint.components[:size], particles.background, particles.mask)
        clean = np.flatnonzero(share < RULES.max_nuisance)
        parts.append(ComponentSet.matching(joint.take(clean), half_models))
        artefacts += size - len(clean)
        joint = joint.take(slice(size, None))
    return _Ranked(parts[0], parts[1], joint, artefacts)


def _surroundings(
    evidence: Evidence, particles: AnalysedParticles, nuisance: NuisanceSpread
) -> ComponentSet:
    """Components of backgrounds and neighbours: of all particles, and of each half-set."""
    one, two = evidence.pairs[:, :0] if evidence.around is None else evidence.around
    both = one + two
    both /= np.sqrt((both**2).sum(axis=(1, 2, 3), keepdims=True))
    some = subsample(particles.everyone, TELLING)
    variances = marginal_variances(both, particles.background, some, nuisance)
    first, second, joint = (LatentModel(v, variances, nuisance) for v in (one, two, both))
    return ComponentSet(joint, (first, second), np.zeros(len(both), bool))


def _merge(ranked: _Ranked, places: list[Place], particles: AnalysedParticles) -> ComponentSet:
    """What is certified anywhere; what only a place shows well comes before what is weak."""
    found = ranked.clear
    for place in places:
        found = found.append_orthogonal(ComponentSet.of_place(place))
    found = found.append_orthogonal(ranked.weak).aligned()
    # Of a weak component only noise may be left beside the places.
    joint = found.joint
    return found.select(
        (found.cosines >= RULES.min_cosine)
        & exceeds_model_error(
            joint.components, particles.background, particles.everyone, joint.nuisance
        )
    )


def _power(particles: AnalysedParticles) -> float:
    """Power of the consensus where heterogeneity is sought."""
    masked = particles.consensus.mean.astype(np.float64) * particles.mask
    return float((masked**2).sum())


def _without_ambiguous(found: ComponentSet, particles: AnalysedParticles) -> ComponentSet:
    """The same without what could as well be contrast or pose errors."""
    return found.without(ambiguous_directions(found.joint, particles.background, particles.mask))


# --- what is known of them -----------------------------------------------------------------------


def _tests(
    particles: AnalysedParticles,
    found: ComponentSet,
    q: int,
    evidence: Evidence,
    surroundings: LatentModel,
) -> ComponentTests:
    """What is certified of q components, and by how much."""
    more = np.zeros(q - found.q, bool)
    score = held_out_score(
        found.joint.components,
        particles.background,
        particles.everyone,
        found.joint.nuisance,
        surroundings,
    )
    return ComponentTests(
        certified=np.append(np.ones(found.q, bool), more),
        local=np.append(found.local, more),
        half_set_cosines=np.concatenate([found.cosines, evidence.cosines[evidence.count :]])[:q],
        null_cosine=float(evidence.null),
        artefacts=evidence.artefacts,
        strongest=float(score.max(initial=0.0)),
        surroundings=surroundings.q,
    )


def _describe_search(
    particles: AnalysedParticles, places: list[Place], regions: list[Region]
) -> LocalSearch:
    """What the search of small regions has found, and what it would have."""
    share, radius = detectable_share(regions, len(particles.everyone)) if regions else (1.0, 0.0)
    nothing = np.zeros_like(particles.mask)
    return LocalSearch(
        tried=len(regions),
        places=[describe_place(place, particles.grid) for place in places],
        mask=np.max([nothing, *(place.mask for place in places)], axis=0),
        scrambled_score=float(max((r.scrambled_most for r in regions), default=0.0)),
        detectable_share=float(share),
        detectable_radius=float(radius),
    )


def _predict_power(
    particles: AnalysedParticles, known: LatentModel, scrambled: Scrambled, settings: Settings
) -> dict[str, object]:
    """From what share on domains of some sizes would be found, without any search."""
    scale = measure_density(particles.consensus.mean, particles.solvent, particles.grid)
    short = predict_power(
        particles.background,
        particles.everyone,
        particles.mask,
        scale,
        known,
        scrambled,
        settings.seed,
    )
    return dict(short=short, long=None, density=float(scale.density))
