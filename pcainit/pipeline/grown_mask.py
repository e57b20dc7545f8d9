"""The stage components again, where what was found goes on beyond the automatic mask."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from pcainit.engine.components.mask_growth import grow_mask
from pcainit.engine.components.rules import RULES
from pcainit.engine.consensus.poses import correct_slices
from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.masks import auto_mask, particle_body
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread, make_background
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.pipeline.components import consensus_of, find_components, half_sets
from pcainit.settings import Settings

Arrays = Dict[str, np.ndarray]
Progress = Callable[[float], None]

AGAIN = "again_"  # before the names of what takes the place of the stage reconstruct's


def find_in_grown_mask(
    slices: Slices, before: Arrays, settings: Settings, progress: Progress
) -> Arrays:
    """Find components, and again in a larger mask where they go on outside the automatic one.

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
        Result of the stage components; what of the stage reconstruct was made anew for the larger
        mask stands there too, see `with_grown_mask`.
    """
    found = find_components(slices, before, settings, progress)
    if settings.mask or settings.given_components or not found["significant"].any():
        return found
    mask = _grown(slices, before, found)
    if mask is before["mask"]:
        return found
    symmetry = symmetry_matrices(settings.symmetry)
    consensus, extra = clean_consensus(
        slices, reconstruct_consensus(slices, symmetry), symmetry, settings.seed, mask
    )
    again = dict(
        mean=consensus.mean,
        noise=consensus.noise,
        signal=consensus.signal,
        fsc=consensus.fsc,
        mask=mask,
        **extra,
    )
    wider = find_components(slices, again, settings, progress, confirmed=True)
    if wider["strongest"] <= found["strongest"]:  # no gain: more noise came in
        return found
    return dict(wider, **{AGAIN + name: value for name, value in again.items()})


def with_grown_mask(before: Arrays, found: Arrays) -> Arrays:
    """Take the result of the stage reconstruct with what was made anew for a larger mask."""
    anew = {name[len(AGAIN) :]: value for name, value in found.items() if name.startswith(AGAIN)}
    return dict(before, **anew)


def _grown(slices: Slices, before: Arrays, found: Arrays) -> np.ndarray:
    """The mask, extended by where certified components go on outside."""
    slices = correct_slices(slices, before["offsets"])
    consensus = consensus_of(before)
    count = found["half_components"].shape[1]
    spread = NuisanceSpread(*found["spread"].tolist())
    solvent = auto_mask(consensus.mean, slices.grid)
    background = make_background(slices, consensus, solvent, before["offsets"])
    body = particle_body(consensus.mean, solvent)
    outer = [
        j for j in range(count) if (found["components"][j] ** 2)[body].sum() < RULES.max_inside
    ]
    if not outer:
        return before["mask"]
    one, two = (
        LatentModel(components[outer], found["eigenvalues"][outer], spread)
        for components in found["half_components"]
    )
    return grow_mask(background, (one, two), half_sets(slices, before["keep"]), before["mask"])
