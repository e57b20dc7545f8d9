"""Volumes of the classes: posterior-weighted reconstructions, then EM without alignment."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.model.e_step import class_e_step, class_responsibilities
from pcainit.engine.model.image_model import Background, NuisanceSpread
from pcainit.engine.model.m_step import maximise_classes

# Fewer particles make no volume; and of a class's weight, this share must be particles of which it
# is the most probable class (0.001 was seen of classes that described the noise of all).
MIN_SIZE, MIN_OF_WEIGHT = 10, 0.1


@dataclass(frozen=True, eq=False)
class ClassModel:
    """K classes as differences from the consensus.

    Parameters
    ----------
    differences : (K, box, box, box) float32
        Zero outside the mask.
    weights : (K,) float64
    """

    differences: FloatArray
    weights: FloatArray

    def take(self, kept: IntArray) -> ClassModel:
        """Some of the classes; one alone is the consensus."""
        differences = self.differences[kept]
        return ClassModel(
            differences if len(kept) > 1 else np.zeros_like(differences),
            self.weights[kept] / self.weights[kept].sum(),
        )


def populated(posterior: FloatArray, asked: bool = False) -> IntArray:
    """Find the classes that particles really belong to.

    A class of so few particles makes no volume, and one whose weight is spread over particles that
    are more probably of others describes the noise of all.

    Parameters
    ----------
    posterior : (m, K) float32
        Responsibilities of the classes.
    asked : bool
        So many classes were asked for: they may be parts of a movement that overlap.

    Returns
    -------
    (k,) int64
        One class at least.
    """
    sizes = np.bincount(posterior.argmax(axis=1), minlength=posterior.shape[1])
    weights = posterior.sum(axis=0, dtype=np.float64)
    real = (sizes >= MIN_SIZE) & (asked | (sizes >= MIN_OF_WEIGHT * weights))
    if len(real) == 1 or not real.any():
        return np.array([int(sizes.argmax())])
    return np.flatnonzero(real)


def class_round(
    background: Background,
    mask: FloatArray,
    model: ClassModel,
    index: IntArray,
    nuisance: NuisanceSpread,
) -> tuple[ClassModel, FloatArray, float]:
    """One round of EM: responsibilities under the present volumes, then new volumes.

    Returns
    -------
    ClassModel
        The new one.
    (m, K) float32
        Responsibilities under the old one.
    float
        Mean log-likelihood of a particle under the old one, against the mean alone.
    """
    precision = nuisance.precision_beside(len(model.weights))
    found = class_e_step(background, model.differences, model.weights, precision, index)
    fresh = maximise_classes(background, found.sums, model.differences, mask)
    weights = found.responsibilities.mean(axis=0, dtype=np.float64)
    return (
        ClassModel(fresh, weights / weights.sum()),
        found.responsibilities,
        float(found.gains.mean()),
    )


def score_classes(
    background: Background, model: ClassModel, index: IntArray, nuisance: NuisanceSpread
) -> tuple[FloatArray, float]:
    """Responsibilities (m, K) and mean log-likelihood of particles under given volumes."""
    precision = nuisance.precision_beside(len(model.weights))
    found = class_responsibilities(background, model.differences, model.weights, precision, index)
    return found.responsibilities, float(found.gains.mean())


def part_way(old: ClassModel, new: ClassModel, step: float) -> ClassModel:
    """Go a share `step` of the way from one set of volumes to another, whose weights are taken."""
    return ClassModel(
        old.differences + np.float32(step) * (new.differences - old.differences), new.weights
    )
