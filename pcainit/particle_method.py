"""The stages of the method `particles`; `pipeline` calls them in order."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Callable, Dict, List, Tuple

import numpy as np

from pcainit.engine.batches import draw_batches
from pcainit.engine.class_volumes import ClassModel, refine_classes, score_classes
from pcainit.engine.clean_consensus import polish_consensus
from pcainit.engine.differences import noise_power, pairwise_differences
from pcainit.engine.evidence import (
    MOST_NUISANCE,
    align_to,
    certify,
    confirm,
    explained_by,
    merge_models,
    nuisance_share,
    put_first,
)
from pcainit.engine.latent_model import (
    Background,
    LatentModel,
    NuisanceSpread,
    make_background,
)
from pcainit.engine.latents import Measurements, measure
from pcainit.engine.likelihood import class_posteriors
from pcainit.engine.masks import auto_mask
from pcainit.engine.mixture import (
    centre_distances,
    choose_classes,
    refine_mixture,
    responsibilities,
    spread_points,
    weighted_centres,
)
from pcainit.engine.particle_pca import fit_components, random_start
from pcainit.engine.particles import Slices
from pcainit.engine.pose_refinement import correct_slices
from pcainit.engine.poses import view_directions
from pcainit.engine.reconstruction import (
    Consensus,
    fourier_shell_correlation,
    reconstruct_groups,
)
from pcainit.settings import Settings

Arrays = Dict[str, np.ndarray]
Progress = Callable[[float], None]

# More components are sought than are asked for: what is found must not hinge on their number.
LEAST_COMPONENTS = 8
HALF_ROUNDS, JOINT_ROUNDS = 10, 3
MOST_CLASSES = 12


def consensus_of(result: Arrays) -> Consensus:
    """The `Consensus` in the result of the stage reconstruct."""
    return Consensus(result["mean"], result["noise"], result["signal"], result["fsc"])


def _part(progress: Progress, done: float, size: float) -> Progress:
    """Progress of a part that starts when `done` is done and makes up `size` of the whole."""
    return lambda share: progress(done + size * share)


def _halves(slices: Slices, keep: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(keep & (slices.half == 1)), np.flatnonzero(keep & (slices.half == 2))


def find_components(slices: Slices, before: Arrays, settings: Settings, progress: Progress
                    ) -> Arrays:
    """Components of each half-set and of all particles, and what of them is certified.

    Parameters
    ----------
    slices : Slices
    before : dict
        Result of the stage reconstruct.
    settings : Settings
    progress : callable

    Returns
    -------
    dict
        Result of the stage components.
    """
    grid, mask, offsets = slices.grid, before["mask"], before["offsets"]
    slices = correct_slices(slices, offsets)
    consensus = consensus_of(before)
    background = make_background(slices, consensus, auto_mask(consensus.mean, grid), offsets)
    halves = _halves(slices, before["keep"])
    everyone = np.flatnonzero(before["keep"])
    q = max(settings.components, LEAST_COMPONENTS)
    spread = NuisanceSpread(*before["spread"].tolist())
    models = []
    for h, index in enumerate(halves):
        # Each half has its own mean: the error of a common one would be found by both.
        own = polish_consensus(slices, consensus, index, spread, offsets)
        half_background = make_background(slices, own, auto_mask(own.mean, grid), offsets)
        start = random_start(half_background, mask, q, settings.seed * 2 + h)
        start = dataclasses.replace(start, nuisance=spread)
        models.append(fit_components(half_background, mask, start, index, rounds=HALF_ROUNDS,
                                     progress=_part(progress, 0.35 * h, 0.35)))
    evidence = confirm(certify(models[0], models[1], mask, grid, settings.seed), background,
                       halves, mask, models[0].nuisance)
    joint = fit_components(background, mask, merge_models(models), everyone, rounds=JOINT_ROUNDS,
                           progress=lambda share: progress(0.7 + 0.2 * share))
    count, artefacts = evidence.count, evidence.artefacts
    if count:
        joint = put_first(joint, evidence.basis)
        clean = nuisance_share(joint.components[:count], background, mask) < MOST_NUISANCE
        order = np.concatenate([np.flatnonzero(clean), np.flatnonzero(~clean),
                                np.arange(count, joint.q)])
        joint, artefacts = joint.take(order), artefacts + int((~clean).sum())
        count = int(clean.sum())
    joint = joint.take(slice(0, max(settings.components, count)))
    measured = measure(background, joint, everyone)
    coordinates, covariance = measured.marginal().posterior(joint.variances)
    n = len(slices)
    certified = joint.take(slice(0, count))
    aligned = [align_to(m, certified.components) for m in models] if count else []
    crossed = _measure_crossed(background, aligned, halves, n)
    progress(1.0)
    nuisance = joint.nuisance
    return dict(
        components=joint.components, eigenvalues=joint.variances,
        significant=np.arange(joint.q) < count,
        half_set_cosines=evidence.cosines[:joint.q],
        artefacts=np.array(artefacts), null_cosine=np.array(evidence.null),
        noise_edge=np.array(_noise_level(joint, count)),
        artefact=nuisance_share(joint.components, background, mask),
        explained=explained_by(coordinates, particle_features(slices)[everyone]),
        variance=_variance_map(joint, count), index=everyone,
        coordinates=_spread_out(coordinates, everyone, n),
        covariance=_spread_out(covariance, everyone, n),
        **_stored(measured, "all_"), **_stored(crossed, "cross_"),
        half_components=np.array([m.components for m in aligned], np.float32),
        spread=np.array(dataclasses.astuple(nuisance)))


def _measure_crossed(background: Background, aligned: List[LatentModel],
                     halves: Tuple[np.ndarray, np.ndarray], n: int) -> Measurements:
    """Each half-set's particles measured along components that they had no part in."""
    q = aligned[0].q if aligned else 0
    out = Measurements.at_contrast_one(np.zeros((n, q, q), np.float32),
                                       np.zeros((n, q), np.float32))
    for h in (0, 1) if q else ():
        found = measure(background, aligned[1 - h], halves[h])
        for mine, theirs in ((out.precision, found.precision), (out.score, found.score),
                             (out.contrast, found.contrast)):
            mine[halves[h]] = theirs
        out = dataclasses.replace(out, contrast_precision=found.contrast_precision)
    return out.take(np.sort(np.concatenate(halves)))


def _stored(particles: Measurements, prefix: str) -> Arrays:
    return {prefix + field.name: np.asarray(getattr(particles, field.name))
            for field in dataclasses.fields(particles)}


def _restored(arrays: Arrays, prefix: str) -> Measurements:
    return Measurements(arrays[prefix + "precision"], arrays[prefix + "score"],
                        arrays[prefix + "contrast"], float(arrays[prefix + "contrast_precision"]))


def _noise_level(model: LatentModel, count: int) -> float:
    rest = model.variances[count:]
    return float(rest.max()) if len(rest) else float(model.variances[-1])


def _variance_map(model: LatentModel, count: int) -> np.ndarray:
    """Variance of the density that the certified components give each voxel."""
    chosen = model.take(slice(0, count))
    return np.einsum("q,qzyx->zyx", chosen.variances, chosen.components ** 2).astype(np.float32)


def _spread_out(values: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
    """Rows of some particles among all, zero for the others."""
    out = np.zeros((n,) + values.shape[1:], values.dtype)
    out[index] = values
    return out


def cluster_particles(slices: Slices, before: Arrays, settings: Settings) -> Arrays:
    """Number of classes and the mixture, in the space of the certified components.

    The number is chosen on particles that had no part in the components they are measured with:
    otherwise the components' own noise looks like further classes.
    """
    count = int(before["significant"].sum())
    index = before["index"]
    if not count:
        return dict(weights=np.ones(1), centres=np.zeros((1, 0)), bic=np.zeros(1),
                    held_out=np.zeros(1), found=np.array(1), supported_weights=np.ones(1),
                    merged=np.zeros(1, int), distances=np.zeros((1, 1)),
                    posterior=np.ones((len(index), 1), np.float32))
    crossed = _restored(before, "cross_")
    fits, held, best = choose_classes(crossed, slices.half[index],
                                      max(settings.n_classes or 0, MOST_CLASSES), settings.seed)
    wanted = min(settings.n_classes or best, best)
    resp, _ = responsibilities(crossed, fits[wanted - 1].weights, fits[wanted - 1].centres)
    particles = _restored(before, "all_").first(count)
    if best == 1 and settings.n_classes:
        mixture = spread_points(before["eigenvalues"][:count], settings.n_classes, len(particles))
    else:
        mixture = refine_mixture(particles, fits[wanted - 1].weights,
                                 weighted_centres(particles, resp))
    posterior, _ = responsibilities(particles, mixture.weights, mixture.centres)
    supported, _ = responsibilities(crossed, fits[best - 1].weights, fits[best - 1].centres)
    return dict(weights=mixture.weights, centres=mixture.centres,
                bic=np.array([fit.bic for fit in fits]), held_out=held, found=np.array(best),
                supported_weights=fits[best - 1].weights,
                merged=(supported.T @ posterior).argmax(axis=1),
                tried_classes=np.arange(1, len(fits) + 1), posterior=posterior,
                distances=centre_distances(mixture.centres, particles.precision))


def make_volumes(slices: Slices, consensus_result: Arrays, found: Arrays, clusters: Arrays,
                 settings: Settings, symmetry: np.ndarray, progress: Progress) -> Arrays:
    """Class volumes, each particle's class, and how much the volumes differ."""
    consensus, mask = consensus_of(consensus_result), consensus_result["mask"]
    grid, n, offsets = slices.grid, len(slices), consensus_result["offsets"]
    slices = correct_slices(slices, offsets)
    background = make_background(slices, consensus, auto_mask(consensus.mean, grid), offsets)
    halves = _halves(slices, consensus_result["keep"])
    spread = NuisanceSpread(*found["spread"].tolist())
    count, real = int(found["significant"].sum()), len(clusters["weights"])
    whole = ClassModel(np.einsum("kq,qzyx->kzyx", clusters["centres"],
                                 found["components"][:count]).astype(np.float32),
                       clusters["weights"])
    held: List[float] = []
    if real > 1:
        pair = (_half_model(background, found, clusters, halves, 0, spread),
                _half_model(background, found, clusters, halves, 1, spread))
        whole, pair, held = refine_classes(background, mask, whole, pair, halves, spread,
                                           progress=progress)
    else:
        flat = ClassModel(np.zeros((1,) + mask.shape, np.float32), np.ones(1))
        whole, pair = flat, (flat, flat)
    posterior, _ = score_classes(background, whole, np.arange(n), spread)
    noise = noise_power(pair[0].differences, pair[1].differences, mask)
    differences, copies = whole.differences, np.zeros(real, bool)
    extra = max(settings.n_classes - real, 0)
    if extra:
        if real == 1:                   # nothing to tell apart: all of them are bootstraps
            extra += 1
        seeds = _neutral_seeds(slices, consensus_result, settings, symmetry, extra)
        if real == 1:
            differences, copies = seeds, np.ones(extra, bool)
            posterior = class_posteriors(slices, consensus.mean + seeds,
                                         consensus.whitening(grid))
            noise = np.full(extra, float((seeds ** 2).mean(axis=0).sum()) / mask.sum())
        else:
            differences = np.concatenate([differences, seeds])
            copies = np.append(copies, np.ones(extra, bool))
            posterior = np.concatenate([posterior, np.zeros((n, extra), np.float32)], axis=1)
            noise = np.append(noise, np.full(extra, noise.max()))
    label = posterior.argmax(axis=1).astype(np.int32)
    kept = consensus_result["keep"]
    weights = posterior[kept].mean(axis=0, dtype=np.float64)
    volumes = (consensus.mean + differences).astype(np.float32)
    fsc = [fourier_shell_correlation(a, b, grid)
           for a, b in zip(pair[0].differences, pair[1].differences)]
    return dict(volumes=volumes, posterior=posterior, label=label,
                junk=consensus_result["junk"] | ~slices.usable, weights=weights,
                pairwise=pairwise_differences(volumes, np.maximum(noise, 1e-30), mask),
                class_fsc=np.array(fsc), copies=copies, held_out=np.array(held),
                coordinates=found["coordinates"], covariance=found["covariance"],
                contrast=consensus_result["contrast"])


def _half_model(background, found, clusters, halves, h, spread) -> ClassModel:
    """Class differences that a half-set alone gives, for the classes of its particles."""
    components = found["half_components"][h]
    model = LatentModel(components, np.ones(len(components)), spread)
    mine = np.isin(found["index"], halves[h])
    centres = weighted_centres(measure(background, model, halves[h]), clusters["posterior"][mine])
    return ClassModel(np.einsum("kq,qzyx->kzyx", centres, components).astype(np.float32),
                      clusters["weights"])


def _neutral_seeds(slices, result, settings, symmetry, count) -> np.ndarray:
    """Differences of random subsets from the consensus: distinct, but no state is meant."""
    usable = np.flatnonzero(result["keep"])
    rng = np.random.default_rng([settings.seed, 41])
    groups = draw_batches(usable, count, max(1, len(usable) // (count + 1)), rng)
    volumes = reconstruct_groups(slices, groups, consensus_of(result), symmetry=symmetry)
    return (volumes - result["mean"]) * result["mask"]


def particle_features(slices: Slices) -> np.ndarray:
    """View and defocus of each particle, (n, 6): what heterogeneity should not follow.

    Defocus is represented by the mean CTF^2 of the particle's samples.
    """
    x, y, z = view_directions(slices.rotations).T
    power = np.array([np.mean(np.square(row)) for row in slices.ctf])
    return np.column_stack([x * x - y * y, x * y, x * z, y * z, z * z, power])
