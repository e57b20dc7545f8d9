"""The stage components again, where what was found goes on beyond the automatic mask."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Callable

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.components.mask_growth import grow_mask
from pcainit.engine.components.rules import RULES
from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.image_model import LatentModel
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.components import find_components
from pcainit.pipeline.results import (
    ComponentsResult,
    ComponentTests,
    ConsensusResult,
    ParticleComponents,
)
from pcainit.settings import Settings

Progress = Callable[[float], None]


def find_in_grown_mask(
    slices: Slices, base: ConsensusResult, settings: Settings, progress: Progress
) -> ComponentsResult:
    """Find components, and again in a larger mask where they go on outside the automatic one.

    Parameters as of `find_components`.

    Returns
    -------
    ComponentsResult
        What of the stage reconstruct was made anew for the larger mask stands in `anew`.
    """
    found = find_components(slices, base, settings, progress)
    tests = found.measured.tests
    if settings.mask or settings.given_components or tests is None or not tests.certified.any():
        return found
    mask = _grown(AnalysedParticles.of(slices, base, settings, windowed=False), found.measured)
    if mask is base.mask:
        return found
    symmetry = symmetry_matrices(settings.symmetry)
    consensus, quality = clean_consensus(
        slices, reconstruct_consensus(slices, symmetry), symmetry, settings.seed, mask
    )
    anew = ConsensusResult.of_particles(consensus, quality, mask, slices.grid)
    wider = find_components(slices, anew, settings, progress, confirmed=True)
    again = wider.measured.tests
    if again is None or not _gains(tests, again):  # more noise came in
        return found
    return dataclasses.replace(
        wider, particles=dataclasses.replace(wider.measured, anew=anew, mask_grown=True)
    )


def _gains(before: ComponentTests, after: ComponentTests) -> bool:
    """Whether the strongest component is stronger, or about as strong and more are certified."""
    more = after.certified.sum() > before.certified.sum()
    return after.strongest > (RULES.min_strength_kept if more else 1.0) * before.strongest


def _grown(particles: AnalysedParticles, found: ParticleComponents) -> AnyArray:
    """The mask, extended by where certified components go on outside.

    Those that lie mostly outside the particle are looked at alone first.  Where they show nothing,
    or there are none, all are: a part that swings from inside to outside varies at both.
    """
    certified = found.model.components[: found.count]
    inside = (certified[:, particles.body] ** 2).sum(axis=1)
    everything, mask = np.arange(found.count), particles.mask
    for chosen in (np.flatnonzero(inside < RULES.max_inside), everything):
        if len(chosen) and mask is particles.mask:
            one, two = (
                LatentModel(
                    half.components[chosen], found.model.variances[chosen], found.model.nuisance
                )
                for half in found.half_models
            )
            mask = grow_mask(particles.background, (one, two), particles.half_sets, mask)
    return mask
