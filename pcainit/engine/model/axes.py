"""Models in other axes: matched to given directions, certified ones first, halves together."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

import numpy as np

from pcainit.engine.arrays import FloatArray
from pcainit.engine.geometry.linear_algebra import principal_axes
from pcainit.engine.model.image_model import LatentModel


def _closest_rotation(one: FloatArray, two: FloatArray) -> FloatArray:
    """Rotation (a, b) between rows (a, v) and (b, v): ``rotation @ two`` is close to `one`."""
    left, _, right = np.linalg.svd(one @ two.T, full_matrices=False)
    out: FloatArray = left @ right
    return out


def rotate_onto(scaled: FloatArray, goal: FloatArray) -> FloatArray:
    """Volumes (q, ...) mixed among each other by the rotation that brings them closest to others.

    What they span and the covariance ``W W'`` stay; the axes of two rounds need not correspond.
    """
    flat = scaled.reshape(len(scaled), -1)
    return (_closest_rotation(goal.reshape(len(goal), -1), flat) @ flat).reshape(scaled.shape)


def append(first: LatentModel, other: LatentModel) -> LatentModel:
    """Put another model's components behind those of the first, all as they are."""
    return dataclasses.replace(
        first,
        components=np.concatenate([first.components, other.components]),
        variances=np.append(first.variances, other.variances),
    )


def align_to(model: LatentModel, basis: FloatArray) -> LatentModel:
    """The directions inside a model's span that are closest to a given orthonormal set.

    Parameters
    ----------
    model : LatentModel
        Components, their variances and the spread of the nuisances.
    basis : (c, box, box, box) float32
        Orthonormal directions to turn the components onto.

    Returns
    -------
    LatentModel
        Orthonormal components that correspond to `basis` one by one.
    """
    own = model.components.reshape(model.q, -1).astype(np.float64)
    turn = _closest_rotation(own, basis.reshape(len(basis), -1))
    components = (turn.T @ own).reshape((len(basis),) + model.components.shape[1:])
    variances = np.einsum("qc,q->c", turn**2, model.variances)
    return LatentModel(components.astype(np.float32), variances, model.nuisance, model.gain)


def put_first(model: LatentModel, basis: FloatArray) -> LatentModel:
    """The model in other axes: first what certified directions span, then the rest.

    Both parts are principal components in themselves; the model's covariance of densities is
    kept but for what correlates the two.

    Parameters
    ----------
    model : LatentModel
        Components, their variances and the spread of the nuisances.
    basis : (c, box, box, box) float32, nearly orthonormal
        Orthonormal directions that shall come first.

    Returns
    -------
    LatentModel
    """
    own = model.components.reshape(model.q, -1).astype(np.float64)
    inside = own @ basis.reshape(len(basis), -1).T  # (q, c)
    frame = np.linalg.qr(np.concatenate([inside, np.eye(model.q)], axis=1))[0]
    parts, values = [], []
    for part in (frame[:, : len(basis)], frame[:, len(basis) :]):
        spread, turn = np.linalg.eigh(part.T @ (model.variances[:, None] * part))
        order = np.argsort(-spread)
        parts.append(part @ turn[:, order])
        values.append(spread[order])
    components = np.concatenate(parts, axis=1).T @ own
    return LatentModel(
        components.reshape(model.components.shape).astype(np.float32),
        np.maximum(np.concatenate(values), 1e-30),
        model.nuisance,
        model.gain,
    )


def merge_models(models: list[LatentModel]) -> LatentModel:
    """Principal components of the halves' components together, as many as each has."""
    q = models[0].q
    stacked = np.concatenate([m.scaled for m in models])
    flat = stacked.reshape(len(stacked), -1).astype(np.float64) / np.sqrt(len(models))
    axes, singular = principal_axes(flat)
    return LatentModel(
        axes[:q].reshape(models[0].components.shape).astype(np.float32),
        np.maximum(singular[:q] ** 2, 1e-30),
        models[0].nuisance,
    )
