"""Where what varies goes on beyond the mask: places that the mask is extended by.

A mask made of the consensus cuts off what moves far or is seldom there.  Where a certified
component ends at the mask's edge, the particles that vary along it tell how it goes on outside.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy import ndimage

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.components.rules import RULES
from pcainit.engine.geometry.grid import radial_distance
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.model.em import Schedule, fit_components
from pcainit.engine.model.image_model import Background, LatentModel

ROUNDS = 2  # of EM in the whole sphere, from the components inside the mask


def grow_mask(
    background: Background,
    models: tuple[LatentModel, LatentModel],
    halves: tuple[IntArray, IntArray],
    mask: FloatArray,
) -> FloatArray:
    """Extend a mask by where components that two half-sets share go on outside.

    Parameters
    ----------
    background : Background
        Of images that are not windowed.
    models : two LatentModel
        The components of each half-set, one by one the same.
    halves : two (m,) int arrays
    mask : (box, box, box) float32

    Returns
    -------
    (box, box, box) float32
        The same mask where nothing goes on.
    """
    grid = background.grid
    sphere = soft_edge(radial_distance(grid.box), grid.box / 2 - 1, grid.box / 2)
    whole = np.maximum(mask, sphere.astype(np.float32))
    one, two = (
        fit_components(
            background,
            whole,
            model,
            index,
            schedule=Schedule(ROUNDS, early=0, learn_nuisance=False),
        ).components
        for model, index in zip(models, halves)
    )
    outside, left_out = np.zeros(mask.shape, bool), mask < 0.5
    for a, b in zip(one, two):
        common = a.astype(np.float64) * b
        common *= np.sign(common.sum())
        if common[left_out].sum() < RULES.min_outside * common.sum():
            continue
        both = np.minimum(np.abs(a), np.abs(b)) * (common > 0)
        top = ndimage.gaussian_filter(np.abs(a + b) / 2, 0.5).max()
        outside |= (ndimage.gaussian_filter(both, 0.5) > RULES.min_density * top) & left_out
    element = (0.5 * grid.resolution / grid.voxel) ** 3
    label, _ = ndimage.label(outside)
    sizes = np.bincount(label.ravel())
    sizes[0] = 0
    grown = sizes[label] >= RULES.min_elements * element
    if not grown.any():
        return mask
    distance = ndimage.distance_transform_edt(~grown) * grid.voxel
    step = 0.5 * grid.resolution
    return np.maximum(mask, soft_edge(distance, step, 2 * step) * sphere).astype(np.float32)
