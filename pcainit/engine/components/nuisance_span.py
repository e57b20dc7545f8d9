"""Volumes along which contrast and pose errors move the mean, and what of components they are."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

import numpy as np

from pcainit.engine.arrays import FloatArray
from pcainit.engine.geometry.linear_algebra import orthonormal
from pcainit.engine.model.image_model import Background, LatentModel


def nuisance_span(background: Background, mask: FloatArray) -> FloatArray:
    """Mean, its gradients (along x, y, z) and rotation derivatives, masked.

    Per unit of contrast, per voxel of the working box and per radian.

    Returns
    -------
    (7, box, box, box) float32
    """
    gradient = np.stack(np.gradient(background.mean)[::-1]) * mask
    axis = np.arange(len(mask)) - len(mask) // 2
    x, y, z = axis[None, None, :], axis[None, :, None], axis[:, None, None]
    turns = [
        y * gradient[2] - z * gradient[1],
        z * gradient[0] - x * gradient[2],
        x * gradient[1] - y * gradient[0],
    ]
    return np.stack([background.mean * mask, *gradient, *turns])


def nuisance_share(
    components: FloatArray, background: Background, mask: FloatArray, *, contrast: bool = True
) -> FloatArray:
    """Share of each component that lies in the span of contrast, shift and rotation of the mean.

    Parameters
    ----------
    components : (q, box, box, box) float32
    background : Background
    mask : (box, box, box) float32
    contrast : bool
        Whether the mean itself is in the span. Not for a place: contrast is the whole particle's,
        and what comes and goes in a place looks like the mean there.

    Returns
    -------
    (q,) float64, 0 to 1
    """
    span = nuisance_span(background, mask).reshape(7, -1)[0 if contrast else 1 :]
    frame = orthonormal(span.astype(np.float64))
    inside = components.reshape(len(components), mask.size) @ frame.T
    out: FloatArray = (inside**2).sum(axis=1)
    return out


def ambiguous_directions(
    model: LatentModel, background: Background, mask: FloatArray
) -> FloatArray:
    """Orthonormal directions that the nuisances of a model explain as well as its components.

    Where contrast varies by more than the components' own part along the mean, that part could be
    either: the images do not tell, and it is contrast by convention.  Likewise for shifts and
    rotations.

    Parameters
    ----------
    model : LatentModel
    background : Background
    mask : (box, box, box) float32

    Returns
    -------
    (d, box, box, box) float64, d from 0 to 7
    """
    grid, spread = background.grid, model.nuisance
    sd = [spread.contrast] + [spread.shift_px * grid.box / grid.box_px] * 3 + [spread.rotation] * 3
    found: list[FloatArray] = []
    for size, volume in zip(sd, nuisance_span(background, mask).astype(np.float64)):
        direction = volume / max(float(np.sqrt((volume**2).sum())), 1e-30)
        along = np.einsum("qzyx,zyx->q", model.components, direction)
        if (model.variances * along**2).sum() < (size * (direction * volume).sum()) ** 2:
            found.append(volume.ravel())
    frame = orthonormal(np.reshape(found, (len(found), mask.size)))
    return frame.reshape((-1,) + mask.shape)


def without_directions(model: LatentModel, directions: FloatArray) -> LatentModel:
    """The model without some orthonormal directions; its components stay orthonormal, in order."""
    flat = model.components.reshape(model.q, np.prod(model.components.shape[1:])).astype(np.float64)
    frame = directions.reshape(len(directions), flat.shape[1])
    rest = flat - (flat @ frame.T) @ frame
    values, axes = np.linalg.eigh(rest @ rest.T)
    nearest = (axes / np.sqrt(np.maximum(values, 1e-12))) @ axes.T @ rest
    return dataclasses.replace(
        model,
        components=nearest.reshape(model.components.shape).astype(np.float32),
        variances=model.variances * (rest**2).sum(axis=1),
    )
