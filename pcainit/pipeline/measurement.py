"""Particles measured along components, by all particles and across the half-sets."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.components.nuisance_span import nuisance_share
from pcainit.engine.components.score_test import explained_by
from pcainit.engine.geometry.poses import view_directions
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.statistics import Measurements, measure
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.results import ComponentsResult, ParticleComponents


def measured_components(
    particles: AnalysedParticles,
    model: LatentModel,
    half_models: tuple[LatentModel, LatentModel],
    beside: LatentModel | None = None,
) -> ComponentsResult:
    """A model, the particles measured along it, and those of the half-sets along theirs.

    Parameters
    ----------
    particles : AnalysedParticles
    model : LatentModel
        Of all particles.
    half_models : two LatentModel
        Of either half-set: the certified ones.
    beside : LatentModel, optional
        Components that are integrated out.

    Returns
    -------
    ComponentsResult
        Without tests.
    """
    background, index, slices = particles.background, particles.everyone, particles.slices
    measured = measure(background, model, index, beside)
    coordinates, covariance = measured.marginal().posterior(model.variances)
    return ComponentsResult(
        variance=_variance_map(model, half_models[0].q),
        particles=ParticleComponents(
            model=_plain(model),
            half_models=(_plain(half_models[0]), _plain(half_models[1])),
            index=index,
            statistics=measured,
            cross_statistics=_measure_crossed(particles, half_models, beside),
            coordinates=spread_out(coordinates, index, len(slices)),
            covariance=spread_out(covariance, index, len(slices)),
            artefact=nuisance_share(model.components, background, particles.mask),
            explained=explained_by(coordinates, particle_features(slices)[index]),
        ),
    )


def _plain(model: LatentModel) -> LatentModel:
    """The same, its numbers as a file gives them back."""
    nuisance = NuisanceSpread(*map(float, dataclasses.astuple(model.nuisance)))
    return dataclasses.replace(model, nuisance=nuisance, gain=float(model.gain))


def _measure_crossed(
    particles: AnalysedParticles,
    half_models: tuple[LatentModel, LatentModel],
    beside: LatentModel | None,
) -> Measurements:
    """Each half-set's particles measured along components that they had no part in."""
    n, q, halves = len(particles.slices), half_models[0].q, particles.half_sets
    out = Measurements.at_contrast_one(
        np.zeros((n, q, q), np.float32), np.zeros((n, q), np.float32)
    )
    for h in (0, 1) if q else ():
        found = measure(particles.background, half_models[1 - h], halves[h], beside)
        for mine, theirs in (
            (out.precision, found.precision),
            (out.score, found.score),
            (out.contrast, found.contrast),
        ):
            mine[halves[h]] = theirs
        out = dataclasses.replace(out, contrast_precision=found.contrast_precision)
    return out.take(np.sort(np.concatenate(halves)))


def _variance_map(model: LatentModel, count: int) -> AnyArray:
    """Variance of the density that the certified components give each voxel."""
    chosen = model.take(slice(0, count))
    variance = np.einsum("q,qzyx->zyx", chosen.variances, chosen.components**2)
    return np.asarray(variance, np.float32)


def spread_out(values: AnyArray, index: AnyArray, n: int) -> AnyArray:
    """Rows of some particles among all, zero for the others."""
    out = np.zeros((n,) + values.shape[1:], values.dtype)
    out[index] = values
    return out


def particle_features(slices: Slices) -> AnyArray:
    """View and defocus of each particle, (n, 6): what heterogeneity should not follow.

    Defocus is represented by the mean CTF^2 of the particle's samples.
    """
    x, y, z = view_directions(slices.rotations).T
    power = np.einsum("np,np->n", slices.ctf, slices.ctf) / slices.ctf.shape[1]
    return np.column_stack([x * x - y * y, x * y, x * z, y * z, z * z, power])
