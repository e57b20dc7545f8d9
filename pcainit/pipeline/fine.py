"""Coarse to fine: what was found at the volumes' resolution, measured with finer detail."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from pcainit.engine.components.fine_shells import find_supports, refine_components, worth_measuring
from pcainit.engine.consensus.refine import polish_consensus
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.geometry.resample import mask_to_grid, to_grid
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread, make_background
from pcainit.engine.projection.reconstruction import reconstruct_consensus
from pcainit.pipeline.components import analysed_slices, find_around, half_sets, measure_along
from pcainit.pipeline.grown_mask import AGAIN, with_grown_mask
from pcainit.settings import Settings

Arrays = Dict[str, np.ndarray]
Progress = Callable[[float], None]

MEAN_ROUNDS = 2  # of EM for the mean at the fine resolution


def refine_found(
    slices: Slices,
    coarse: Grid,
    before: Arrays,
    found: Arrays,
    settings: Settings,
    progress: Progress,
) -> Arrays:
    """Give certified components their fine shells, and measure the particles along them.

    Parameters
    ----------
    slices : Slices
        At the resolution of the analysis.
    coarse : Grid
        That the components were found on.
    before : dict
        Result of the stage reconstruct, on that grid.
    found : dict
        Result of the stage components, on that grid.
    settings : Settings
    progress : callable

    Returns
    -------
    dict
        Result of the stage components on the fine grid, with what takes the place of the stage
        reconstruct's; `found` itself where nothing is certified or nothing is gained.
    """
    grid, count = slices.grid, found["half_components"].shape[1]
    if not count or grid.resolution == coarse.resolution:
        return found
    before = with_grown_mask(before, found)
    symmetry, offsets = symmetry_matrices(settings.symmetry), before["offsets"]
    spread = NuisanceSpread(*found["spread"].tolist())
    own, everyone = analysed_slices(slices, before), np.flatnonzero(before["keep"])
    consensus = polish_consensus(
        own,
        reconstruct_consensus(own, symmetry),
        everyone,
        spread,
        offsets,
        rounds=MEAN_ROUNDS,
        symmetry=symmetry,
    )
    progress(0.3)
    background = make_background(own, consensus, auto_mask(consensus.mean, grid), offsets)
    mask = mask_to_grid(before["mask"], coarse, grid)
    one, two = found["half_components"]
    halves = half_sets(own, before["keep"])
    deviation = np.sqrt(found["eigenvalues"][:count])[:, None, None, None]
    supports = find_supports(one, two, before["mask"], coarse)
    basis = to_grid(found["components"], coarse, grid)
    fine = refine_components(
        background,
        mask,
        to_grid(supports, coarse, grid).clip(0, 1) * mask,
        basis[:count],
        (to_grid(one * deviation, coarse, grid), to_grid(two * deviation, coarse, grid)),
        halves,
        spread,
        lambda share: progress(0.3 + 0.5 * share),
    )
    if not worth_measuring(fine):
        return found
    rest = basis[count:]  # shown, but not used
    norm = np.sqrt((rest**2).sum(axis=(1, 2, 3), keepdims=True))
    joint = LatentModel(
        np.concatenate([fine.joint.components, rest / np.maximum(norm, 1e-30)]),
        np.append(fine.joint.variances, found["eigenvalues"][count:]),
        spread,
    )
    around = find_around(to_grid(found["around"], coarse, grid), background, everyone, spread)
    measured = measure_along(background, joint, list(fine.pair), everyone, halves, mask, around)
    progress(1.0)
    again = dict(
        mean=consensus.mean,
        noise=consensus.noise,
        signal=consensus.signal,
        fsc=consensus.fsc,
        mask=mask,
        resolution=np.array(grid.resolution),
    )
    return dict(
        found,
        **measured,
        agreement=fine.agreement,
        place_mask=mask_to_grid(found["place_mask"], coarse, grid),
        **{AGAIN + name: value for name, value in again.items()},
    )
