"""The stage components of the method `particles`: global ones, local ones, and measurements."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json
from typing import Callable, Dict, Tuple

import numpy as np

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
from pcainit.engine.components.nuisance_span import (
    ambiguous_directions,
    nuisance_share,
    without_directions,
)
from pcainit.engine.components.positive_control import measure_density, predict_power
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.score_test import (
    exceeds_model_error,
    explained_by,
    held_out_score,
    marginal_variances,
)
from pcainit.engine.components.scrambling import scramble_residuals, turn_to_mates
from pcainit.engine.consensus.poses import correct_slices
from pcainit.engine.consensus.refine import polish_consensus
from pcainit.engine.consensus.windowing import window_slices
from pcainit.engine.geometry.masks import auto_mask, particle_body
from pcainit.engine.geometry.poses import symmetry_matrices, view_directions
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.model.axes import align_to, append, merge_models, put_first
from pcainit.engine.model.em import Schedule, fit_components
from pcainit.engine.model.image_model import (
    Background,
    LatentModel,
    NuisanceSpread,
    make_background,
)
from pcainit.engine.model.m_step import Weights
from pcainit.engine.model.nuisance_prior import TELLING
from pcainit.engine.model.statistics import Measurements, measure
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.pipeline.given import describe_given, load_given
from pcainit.settings import FIXED, Settings

Arrays = Dict[str, np.ndarray]
Progress = Callable[[float], None]
Halves = Tuple[np.ndarray, np.ndarray]

# More components are sought than are asked for: what is found must not hinge on their number.
MIN_COMPONENTS = 8
MIN_FRESH = 4  # of them at least, beside those that are given
HALF_ROUNDS, JOINT_ROUNDS = 8, 1


def consensus_of(result: Arrays) -> Consensus:
    """The `Consensus` in the result of the stage reconstruct."""
    return Consensus(result["mean"], result["noise"], result["signal"], result["fsc"])


def half_sets(slices: Slices, keep: np.ndarray) -> Halves:
    """Particles of either half-set among those that are kept."""
    return np.flatnonzero(keep & (slices.half == 1)), np.flatnonzero(keep & (slices.half == 2))


def analysed_slices(slices: Slices, before: Arrays) -> Slices:
    """Slices as the stage reconstruct has left them: windowed, with their poses corrected."""
    return correct_slices(window_slices(slices, float(before["window"])), before["offsets"])


def _part(progress: Progress, done: float, size: float) -> Progress:
    """Progress of a part that starts when `done` is done and makes up `size` of the whole."""
    return lambda share: progress(done + size * share)


def find_components(
    slices: Slices, before: Arrays, settings: Settings, progress: Progress, confirmed: bool = False
) -> Arrays:
    """Components of each half-set and of all particles, and what of them is certified.

    Parameters
    ----------
    slices : Slices
    before : dict
        Result of the stage reconstruct.
    settings : Settings
    progress : callable
    confirmed : bool
        See `Scrambled`.

    Returns
    -------
    dict
        Result of the stage components.
    """
    grid, mask, offsets = slices.grid, before["mask"], before["offsets"]
    slices = analysed_slices(slices, before)
    consensus = consensus_of(before)
    background = make_background(slices, consensus, auto_mask(consensus.mean, grid), offsets)
    halves = half_sets(slices, before["keep"])
    everyone = np.flatnonzero(before["keep"])
    given = load_given(settings, grid, mask, consensus.mean)
    if len(given) and settings.given_use == FIXED:
        return _taken_at_their_word(given, settings, background, before, halves, progress)
    models = _half_models(
        slices, background, consensus, before, halves, settings, given, _part(progress, 0.0, 0.5)
    )
    body = particle_body(consensus.mean, auto_mask(consensus.mean, grid))
    scrambled = dataclasses.replace(
        scramble_residuals(background, halves, body, settings.seed),
        confirmed=confirmed,
        mates=turn_to_mates(background, symmetry_matrices(settings.symmetry), settings.seed),
    )
    evidence = confirm(
        certify(models[0], models[1], mask, grid, settings.seed),
        background,
        halves,
        mask,
        models[0].nuisance,
        scrambled=scrambled,
        least=RULES.min_started_score if len(given) else RULES.min_score,
    )
    weights = Weights(background)
    joint = fit_components(
        background,
        mask,
        merge_models(models),
        everyone,
        schedule=Schedule(JOINT_ROUNDS, early=0),
        weights=weights,
        progress=_part(progress, 0.5, 0.15),
    )
    joint, (strong, weak), artefacts = _certified_first(joint, evidence, background, mask)
    parts = [joint.take(slice(0, strong)), joint.take(slice(strong, strong + weak))]
    aligned = [
        [align_to(m, part.components) if part.q else m.take(slice(0, 0)) for part in parts]
        for m in models
    ]
    scrambled = dataclasses.replace(scrambled, strongest=evidence.around_score)
    around = _surroundings(evidence, background, everyone, joint.nuisance)
    places: list[Place] = []
    regions: list[Region] = []
    if not settings.no_local_search:
        known = [
            append(dataclasses.replace(m[0], nuisance=joint.nuisance), own)
            for m, own in zip(aligned, around)
        ]
        places, regions = find_places(
            background,
            Known((known[0], known[1]), append(parts[0], around[2])),
            halves,
            mask,
            settings.seed,
            weights,
            _part(progress, 0.65, 0.3),
            scrambled,
        )
    # What only a place shows well comes before what the whole mask shows badly.
    certified, taken = append_orthogonal(parts[0], [*(place.joint for place in places), parts[1]])
    extended = [
        append_orthogonal(m[0], [*(place.halves[h] for place in places), m[1]], taken)[0]
        for h, m in enumerate(aligned)
    ]
    local = np.arange(certified.q) >= strong
    local[certified.q - int(taken[len(taken) - weak :].sum()) :] = False
    crossed_models = [align_to(m, certified.components) if certified.q else m for m in extended]
    # Of a weak component only noise may be left beside the places.
    left = np.flatnonzero(
        (_cosines(crossed_models) >= RULES.min_cosine)
        & exceeds_model_error(certified.components, background, everyone, certified.nuisance)
    )
    certified, crossed_models = certified.take(left), [m.take(left) for m in crossed_models]
    shared = ambiguous_directions(certified, background, mask)
    certified = without_directions(certified, shared)
    crossed_models = [without_directions(model, shared) for model in crossed_models]
    rest = joint.take(slice(strong + weak, None))
    wanted = max(settings.components - strong - weak, 0 if certified.q else 1)
    joint, _ = append_orthogonal(certified, [rest.take(slice(0, wanted))])
    scale = measure_density(consensus.mean, auto_mask(consensus.mean, grid), grid)
    power = predict_power(
        background, everyone, mask, scale, append(certified, around[2]), scrambled, settings.seed
    )
    progress(1.0)
    cosines = np.concatenate([_cosines(crossed_models), evidence.cosines[evidence.count :]])
    order = np.arange(joint.q)
    return dict(
        measure_along(background, joint, crossed_models, everyone, halves, mask, around[2]),
        significant=order < certified.q,
        local=np.append(local[left], np.zeros(joint.q - certified.q, bool)),
        half_set_cosines=cosines[: joint.q],
        artefacts=np.array(artefacts),
        null_cosine=np.array(evidence.null),
        strongest=np.array(
            held_out_score(
                certified.components, background, everyone, certified.nuisance, around[2]
            ).max(initial=0.0)
        ),
        noise_edge=np.array(rest.variances.max() if rest.q else np.nan),
        regions_tried=np.array(len(regions)),
        surroundings=np.array(around[2].q),
        around=around[2].components,
        scrambled_score=np.array(max((r.scrambled_most for r in regions), default=0.0)),
        detectable=np.array(detectable_share(regions, len(everyone)) if regions else (1, 0.0)),
        power=np.array(json.dumps(dict(short=power, long=None, density=scale.density))),
        places=np.array(json.dumps([describe_place(place, grid) for place in places])),
        place_mask=np.max([np.zeros_like(mask), *(place.mask for place in places)], axis=0),
        given=describe_given(settings, found=share_in_span(given, certified.components)),
    )


def _surroundings(
    evidence: Evidence, background: Background, index: np.ndarray, nuisance: NuisanceSpread
) -> list[LatentModel]:
    """Components of backgrounds and neighbours: of each half-set, and of all particles."""
    one, two = evidence.pairs[:, :0] if evidence.around is None else evidence.around
    both = find_around(one + two, background, index, nuisance)
    return [*(dataclasses.replace(both, components=own) for own in (one, two)), both]


def find_around(
    volumes: np.ndarray, background: Background, index: np.ndarray, nuisance: NuisanceSpread
) -> LatentModel:
    """Measure how strong components of backgrounds and neighbours are, given what they look like.

    Parameters
    ----------
    volumes : (a, box, box, box) float32
    background : Background
    index : (m,) int
        Particles.
    nuisance : NuisanceSpread

    Returns
    -------
    LatentModel
        Orthonormal components, to be integrated out beside others.
    """
    norm = np.sqrt((volumes**2).sum(axis=(1, 2, 3), keepdims=True))
    unit = volumes / np.maximum(norm, 1e-30)
    variances = marginal_variances(unit, background, subsample(index, TELLING), nuisance)
    return LatentModel(unit, variances, nuisance)


def measure_along(
    background: Background,
    model: LatentModel,
    pair: list[LatentModel],
    index: np.ndarray,
    halves: Halves,
    mask: np.ndarray,
    beside: LatentModel | None = None,
) -> Arrays:
    """Measure the particles along a model, and those of each half-set along the other's of `pair`.

    Parameters
    ----------
    background : Background
    model : LatentModel
    pair : two LatentModel
        Certified components of the half-sets.
    index : (m,) int
        Particles.
    halves : two int arrays
    mask : (box, box, box) float32
    beside : LatentModel, optional
        Of backgrounds and neighbours, integrated out.

    Returns
    -------
    dict
        Part of the result of the stage components.
    """
    slices = background.slices
    measured = measure(background, model, index, beside)
    coordinates, covariance = measured.marginal().posterior(model.variances)
    crossed = _measure_crossed(background, pair, halves, len(slices), beside)
    return dict(
        components=model.components,
        eigenvalues=model.variances,
        artefact=nuisance_share(model.components, background, mask),
        explained=explained_by(coordinates, particle_features(slices)[index]),
        variance=_variance_map(model, pair[0].q),
        index=index,
        coordinates=spread_out(coordinates, index, len(slices)),
        covariance=spread_out(covariance, index, len(slices)),
        **stored(measured, "all_"),
        **stored(crossed, "cross_"),
        half_components=np.array([m.components for m in pair], np.float32),
        spread=np.array(dataclasses.astuple(model.nuisance)),
    )


def _taken_at_their_word(
    given: np.ndarray,
    settings: Settings,
    background: Background,
    before: Arrays,
    halves: Halves,
    progress: Progress,
) -> Arrays:
    """Given components as they are: what the particles say of each, and their spread along them."""
    everyone = np.flatnonzero(before["keep"])
    spread = NuisanceSpread(*before["spread"].tolist())
    model = fit_spread(background, given, spread, everyone, _part(progress, 0.0, 0.8))
    return dict(
        measure_along(background, model, [model, model], everyone, halves, before["mask"]),
        given=describe_given(
            settings,
            score=held_out_score(given, background, everyone, model.nuisance).tolist(),
            nuisance=nuisance_share(given, background, before["mask"]).tolist(),
        ),
    )


def _half_models(
    slices: Slices,
    background: Background,
    consensus: Consensus,
    before: Arrays,
    halves: Halves,
    settings: Settings,
    given: np.ndarray,
    progress: Progress,
) -> list[LatentModel]:
    """Components of each half-set, independently but for a start that may be given."""
    mask, offsets, grid = before["mask"], before["offsets"], slices.grid
    spread = NuisanceSpread(*before["spread"].tolist())
    symmetry = symmetry_matrices(settings.symmetry)
    q = max(settings.components, MIN_COMPONENTS, len(given) + MIN_FRESH)
    models = []
    for h, index in enumerate(halves):
        # Each half has its own mean: the error of a common one would be found by both.
        own = polish_consensus(
            slices, consensus, index, spread, offsets, rounds=2, symmetry=symmetry
        )
        half_background = make_background(
            slices, own, auto_mask(own.mean, grid), offsets, background.room
        )
        start = initial_model(half_background, mask, q, settings.seed * 2 + h, given)
        start = dataclasses.replace(start, nuisance=spread)
        models.append(
            fit_components(
                half_background,
                mask,
                start,
                index,
                schedule=Schedule(HALF_ROUNDS),
                progress=_part(progress, 0.5 * h, 0.5),
            )
        )
    return models


def _certified_first(
    joint: LatentModel, evidence: Evidence, background: Background, mask: np.ndarray
) -> tuple[LatentModel, tuple[int, int], int]:
    """The joint model, first what is certified and clear, then what is certified but weak.

    Returns
    -------
    LatentModel
    (int, int)
        Number of clear and of weak components.
    int
        Number of artefacts, which are certified in none of them.
    """
    counts, artefacts, done = [], evidence.artefacts, []
    clear = evidence.cosines[: evidence.count] >= RULES.clear_cosine
    for chosen in (clear, ~clear):
        if chosen.any():
            joint = put_first(joint, evidence.basis[chosen])
        size = int(chosen.sum())
        clean = nuisance_share(joint.components[:size], background, mask) < RULES.max_nuisance
        done.append(joint.take(np.flatnonzero(clean)))
        counts.append(int(clean.sum()))
        artefacts += size - counts[-1]
        joint = joint.take(slice(size, None))
    done.append(joint)
    whole = dataclasses.replace(
        joint,
        components=np.concatenate([m.components for m in done]),
        variances=np.concatenate([m.variances for m in done]),
    )
    return whole, (counts[0], counts[1]), artefacts


def _cosines(pair: list[LatentModel]) -> np.ndarray:
    """Of the corresponding components of two half-sets."""
    return np.array(
        [abs(float((a * b).sum())) for a, b in zip(pair[0].components, pair[1].components)]
    )


def _measure_crossed(
    background: Background,
    aligned: list[LatentModel],
    halves: Halves,
    n: int,
    beside: LatentModel | None,
) -> Measurements:
    """Each half-set's particles measured along components that they had no part in."""
    q = aligned[0].q if aligned else 0
    out = Measurements.at_contrast_one(
        np.zeros((n, q, q), np.float32), np.zeros((n, q), np.float32)
    )
    for h in (0, 1) if q else ():
        found = measure(background, aligned[1 - h], halves[h], beside)
        for mine, theirs in (
            (out.precision, found.precision),
            (out.score, found.score),
            (out.contrast, found.contrast),
        ):
            mine[halves[h]] = theirs
        out = dataclasses.replace(out, contrast_precision=found.contrast_precision)
    return out.take(np.sort(np.concatenate(halves)))


def stored(particles: Measurements, prefix: str) -> Arrays:
    """Measurements as arrays of a stage's result."""
    return {
        prefix + field.name: np.asarray(getattr(particles, field.name))
        for field in dataclasses.fields(particles)
    }


def restored(arrays: Arrays, prefix: str) -> Measurements:
    """Measurements from a stage's result."""
    return Measurements(
        arrays[prefix + "precision"],
        arrays[prefix + "score"],
        arrays[prefix + "contrast"],
        float(arrays[prefix + "contrast_precision"]),
    )


def _variance_map(model: LatentModel, count: int) -> np.ndarray:
    """Variance of the density that the certified components give each voxel."""
    chosen = model.take(slice(0, count))
    return np.einsum("q,qzyx->zyx", chosen.variances, chosen.components**2).astype(np.float32)


def spread_out(values: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
    """Rows of some particles among all, zero for the others."""
    out = np.zeros((n,) + values.shape[1:], values.dtype)
    out[index] = values
    return out


def particle_features(slices: Slices) -> np.ndarray:
    """View and defocus of each particle, (n, 6): what heterogeneity should not follow.

    Defocus is represented by the mean CTF^2 of the particle's samples.
    """
    x, y, z = view_directions(slices.rotations).T
    power = np.einsum("np,np->n", slices.ctf, slices.ctf) / slices.ctf.shape[1]
    return np.column_stack([x * x - y * y, x * y, x * z, y * z, z * z, power])
