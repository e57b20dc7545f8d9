"""Coarse to fine: what was found at the volumes' resolution, measured with finer detail."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Callable

import numpy as np

from pcainit.engine.components.fine_shells import (
    FineComponents,
    find_supports,
    refine_components,
    worth_measuring,
)
from pcainit.engine.components.score_test import marginal_variances
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.geometry.resample import mask_to_grid, to_grid
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.model.image_model import LatentModel
from pcainit.engine.model.nuisance_prior import TELLING
from pcainit.engine.model.statistics import held_out_gain
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.measurement import measured_components
from pcainit.pipeline.results import ComponentsResult, ConsensusResult, ParticleComponents
from pcainit.settings import Settings

Progress = Callable[[float], None]


def refine_found(
    slices: Slices,
    base: ConsensusResult,
    found: ComponentsResult,
    settings: Settings,
    progress: Progress,
) -> ComponentsResult:
    """Give certified components their fine shells, and measure the particles along them.

    Parameters
    ----------
    slices : Slices
        At the resolution of the analysis.
    base : ConsensusResult
        At the resolution that the components were found at.
    found : ComponentsResult
        Of the method particles.
    settings : Settings
    progress : callable

    Returns
    -------
    ComponentsResult
        At the resolution of the analysis, with the consensus there in `anew`; `found` itself where
        nothing is certified, or held-out particles are not explained better.
    """
    known = found.measured
    base = known.consensus_of(base)
    if not known.count or slices.grid.resolution == base.grid.resolution:
        return found
    particles, anew = _at_resolution(slices, base, settings)
    progress(0.3)
    fine = _refine(particles, base, known, lambda share: progress(0.3 + 0.5 * share))
    if not worth_measuring(fine):
        return found
    result = measured_components(
        particles,
        _with_others(fine, known, base, particles),
        fine.pair,
        _surroundings(known, base, particles),
    )
    progress(1.0)
    made = result.measured
    variances = known.model.variances[: known.count]
    if held_out_gain(made.cross_statistics, fine.joint.variances) <= held_out_gain(
        known.cross_statistics, variances
    ):
        return found
    search = known.search and dataclasses.replace(
        known.search,
        mask=mask_to_grid(known.search.mask, base.grid, particles.grid),
        detectable_radius=known.search.detectable_radius * base.grid.voxel / particles.grid.voxel,
    )
    kept = {
        name: getattr(known, name)
        for name in ("tests", "power", "given", "mask_grown", "surroundings")
    }
    return dataclasses.replace(
        result,
        noise_edge=found.noise_edge,
        particles=dataclasses.replace(
            made, search=search, anew=anew, agreement=fine.agreement, **kept
        ),
    )


def _at_resolution(
    slices: Slices, base: ConsensusResult, settings: Settings
) -> tuple[AnalysedParticles, ConsensusResult]:
    """The particles with the same window, poses and mask, around their mean at that resolution."""
    grid, quality = slices.grid, base.quality
    assert quality is not None
    quality = dataclasses.replace(quality, window=quality.window * base.grid.voxel / grid.voxel)
    mask = mask_to_grid(base.mask, base.grid, grid)
    first = dataclasses.replace(base, mask=mask, grid=grid, quality=quality)
    particles = AnalysedParticles.of(slices, first, settings)
    mean = reconstruct_consensus(particles.slices, particles.symmetry)
    particles = dataclasses.replace(particles, consensus=mean)
    mean = particles.polished(particles.everyone)
    solvent = auto_mask(mean.mean, grid)
    anew = dataclasses.replace(first, consensus=mean, solvent=solvent)
    return dataclasses.replace(particles, consensus=mean, solvent=solvent), anew


def _refine(
    particles: AnalysedParticles,
    base: ConsensusResult,
    known: ParticleComponents,
    progress: Progress,
) -> FineComponents:
    """Two rounds of EM at the fine resolution, inside each component's support."""
    coarse, grid, count = base.grid, particles.grid, known.count
    one, two = (half.components for half in known.half_models)
    deviation = np.sqrt(known.model.variances[:count])[:, None, None, None]
    supports = to_grid(find_supports(one, two, base.mask, coarse), coarse, grid)
    return refine_components(
        particles.background,
        supports.clip(0, 1) * particles.mask,
        to_grid(known.model.components[:count], coarse, grid),
        (to_grid(one * deviation, coarse, grid), to_grid(two * deviation, coarse, grid)),
        particles.half_sets,
        known.model.nuisance,
        progress,
    )


def _with_others(
    fine: FineComponents,
    known: ParticleComponents,
    base: ConsensusResult,
    particles: AnalysedParticles,
) -> LatentModel:
    """The refined components, and behind them those that are not certified as they were."""
    others = to_grid(known.model.components[known.count :], base.grid, particles.grid)
    norm = np.sqrt((others**2).sum(axis=(1, 2, 3), keepdims=True))
    return LatentModel(
        np.concatenate([fine.joint.components, others / np.maximum(norm, 1e-30)]),
        np.append(fine.joint.variances, known.model.variances[known.count :]),
        known.model.nuisance,
    )


def _surroundings(
    known: ParticleComponents, base: ConsensusResult, particles: AnalysedParticles
) -> LatentModel | None:
    """Components of backgrounds and neighbours, to be integrated out beside the others."""
    if known.surroundings is None or not len(known.surroundings):
        return None
    volumes = to_grid(known.surroundings, base.grid, particles.grid)
    volumes /= np.sqrt((volumes**2).sum(axis=(1, 2, 3), keepdims=True))
    some = subsample(particles.everyone, TELLING)
    spread = known.model.nuisance
    variances = marginal_variances(volumes, particles.background, some, spread)
    return LatentModel(volumes, variances, spread)
