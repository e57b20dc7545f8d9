"""Components at a finer resolution: each where half-sets agree on it, from its own particles.

Components are found at a coarse resolution, where they are cheap and clear.  What a particle
carries beyond it tells it apart from others just as well.  Two rounds of EM (Tipping and Bishop's
for probabilistic PCA, on central slices) at the fine resolution give each component its fine
shells; inside the whole mask these would be mostly noise, so each is kept to its support: where
the half-sets' coarse components agree.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np
from scipy import fft, ndimage

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.components.rules import RULES
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.model.axes import align_to
from pcainit.engine.model.e_step import component_e_step
from pcainit.engine.model.em import COMPONENT_DAMPING, orthonormalise
from pcainit.engine.model.image_model import Background, LatentModel, NuisanceSpread
from pcainit.engine.model.m_step import Weights, maximise
from pcainit.engine.projection.reconstruction import fourier_shell_correlation

ROUNDS = 2  # of EM; the first gives the fine shells, the second is told apart by them
# Edge of a support, in resolutions beyond where the half-sets agree.
EDGE = 0.25, 0.75


@dataclass(frozen=True, eq=False)
class FineComponents:
    """Certified components at the fine resolution.

    Parameters
    ----------
    joint : LatentModel
        Of all particles, one for each coarse component and close to it.
    pair : (LatentModel, LatentModel)
        Of the half-sets, along the same axes.
    agreement : (q, n_shells) float64
        Fourier shell correlation of the half-sets' components.
    """

    joint: LatentModel
    pair: tuple[LatentModel, LatentModel]
    agreement: FloatArray


def find_supports(one: FloatArray, two: FloatArray, mask: FloatArray, grid: Grid) -> FloatArray:
    """Find where the components of two half-sets agree.

    There the local correlation of the two, over half a resolution about each voxel, exceeds
    ``RULES.min_agreement``, and their common amplitude is not negligible.

    Parameters
    ----------
    one, two : (q, box, box, box) float32
        Corresponding components.
    mask : (box, box, box) float32
    grid : Grid

    Returns
    -------
    (q, box, box, box) float32
        Soft masks within `mask`; the mask itself for a component without such a place.
    """
    width, out = 0.5 * grid.resolution / grid.voxel, []
    for first, second in zip(one, two):
        product = first * second * np.sign((first * second).sum())
        common = ndimage.gaussian_filter(product, width)
        power = ndimage.gaussian_filter((first**2 + second**2) / 2, width)
        amplitude = np.sqrt(np.maximum(common, 0))
        agree = (common > RULES.min_agreement * power) & (
            amplitude > RULES.min_amplitude * amplitude.max()
        )
        if not agree.any():
            out.append(mask)
            continue
        distance = ndimage.distance_transform_edt(~agree) * grid.voxel
        out.append(soft_edge(distance, *(edge * grid.resolution for edge in EDGE)) * mask)
    supports: FloatArray = np.stack(out).astype(np.float32)
    return supports


def refine_components(
    background: Background,
    supports: FloatArray,
    coarse: FloatArray,
    pair: tuple[FloatArray, FloatArray],
    halves: tuple[IntArray, IntArray],
    spread: NuisanceSpread,
    progress: Callable[[float], None] = lambda share: None,
) -> FineComponents:
    """Give coarse components their fine shells, in each half-set independently.

    Each shell of a component is then weighted by what the half-sets agree on in it: by the FSC *a*
    for a half-set's own, and by ``2 a / (1 + a)`` for both together.

    Parameters
    ----------
    background : Background
        At the fine resolution.
    supports : (q, box, box, box) float32
        See `find_supports`.
    coarse : (q, box, box, box) float32
        Coarse components of all particles, brought to the fine grid.
    pair : two (q, box, box, box) float32
        Coarse components of the half-sets times their standard deviations, brought to the grid.
    halves : two (m,) int arrays
    spread : NuisanceSpread
    progress : callable

    Returns
    -------
    FineComponents
    """
    grid, weights, mask = background.grid, Weights(background), supports.max(axis=0)
    precision = spread.precision_beside(len(coarse))
    fitted, moments = [], np.zeros((len(coarse), len(coarse)))
    for h, (scaled, index) in enumerate(zip(pair, halves)):
        scaled = scaled * supports
        for k in range(ROUNDS):
            result = component_e_step(background, scaled, precision, index)
            weight, damping = weights.of(index), COMPONENT_DAMPING * mask.mean()
            scaled = maximise(background, result, scaled, mask, weight, damping) * supports
            progress((h * ROUNDS + k + 1) / (2 * ROUNDS))
        fitted.append(scaled)
        moments += result.moments[: len(coarse), : len(coarse)] / 2
    agreement = np.array([fourier_shell_correlation(a, b, grid) for a, b in zip(*fitted)])
    own = np.clip(agreement, 0, 1)
    both = 2 * own / (1 + own)

    def model(volumes: FloatArray, gain: FloatArray) -> LatentModel:
        shaped = np.stack([_shaped(v, g, grid) for v, g in zip(volumes, gain)]) * supports
        return LatentModel(*orthonormalise(shaped.astype(np.float32), moments), spread)

    joint = align_to(model((fitted[0] + fitted[1]) / 2, both), coarse)
    one, two = (align_to(model(volumes, own), joint.components) for volumes in fitted)
    return FineComponents(joint, (one, two), agreement)


def _shaped(volume: FloatArray, gain: FloatArray, grid: Grid) -> FloatArray:
    """A volume with each shell multiplied by a number."""
    shells = np.append(gain, 0)[grid.box_shells]
    shaped: FloatArray = fft.irfftn(fft.rfftn(volume) * shells, s=volume.shape)
    return shaped


def worth_measuring(fine: FineComponents) -> bool:
    """Whether both half-sets kept all components: none has become zero."""
    return bool(
        np.isfinite(fine.joint.variances).all()
        and all((m.components**2).sum(axis=(1, 2, 3)).min(initial=1) > 0.5 for m in fine.pair)
    )
