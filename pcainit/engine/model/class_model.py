"""Volumes of the classes: posterior-weighted reconstructions, then EM without alignment."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.e_step import class_e_step, class_responsibilities
from pcainit.engine.model.image_model import Background, NuisanceSpread
from pcainit.engine.model.m_step import maximise_classes

# Steps from the volumes inside the components' span towards free ones: part of the way is better,
# by the data held out and by the truth, than either end.  Where one fails a shorter one is tried.
STEPS = (0.5, 0.25, 0.125)
JUDGES = 5000  # particles of each half-set used to compare volumes
# Fewer particles make no volume; and of a class's weight, this share must be particles of which it
# is the most probable class (0.001 was seen of classes that described the noise of all).
MIN_SIZE, MIN_OF_WEIGHT = 10, 0.1
# A rise of a particle's mean log-likelihood that is worth another round; of less than one in
# proportion less.
MIN_RISE = 1e-3


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


def refine_classes(
    background: Background,
    mask: FloatArray,
    whole: ClassModel,
    pair: tuple[ClassModel, ClassModel],
    halves: tuple[IntArray, IntArray],
    nuisance: NuisanceSpread,
    *,
    rounds: int = 5,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[ClassModel, tuple[ClassModel, ClassModel], list[float]]:
    """EM without alignment, for as long as half-sets held out gain by it.

    Two independent half-sets go on from their own volumes; some of each judge the other's.  As many
    rounds as they gain from are then given to the volumes of all particles.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    mask : (box, box, box) float32
        Where the result may differ from zero, 0 to 1.
    whole : ClassModel
        Of all particles.
    pair : two ClassModel
        Of each half-set alone.
    halves : two (m,) int arrays
        Particles of each half-set.
    nuisance : NuisanceSpread
        Standard deviations of contrast, pose errors and fall-off.
    rounds : int
        Largest number.
    progress : callable
        Told the share that is done.

    Returns
    -------
    ClassModel
        Of all particles.
    (ClassModel, ClassModel)
        Of each half.
    list of float
        Held-out log-likelihood per particle after 0, 1, ... rounds.
    """
    everyone = np.sort(np.concatenate(halves))
    judges = tuple(subsample(half, JUDGES) for half in halves)

    def judge(trial: tuple[ClassModel, ClassModel]) -> float:
        return float(
            np.mean(
                [score_classes(background, trial[1 - h], judges[h], nuisance)[1] for h in (0, 1)]
            )
        )

    held, step = [judge(pair)], 0
    for done in range(rounds):
        full = tuple(class_round(background, mask, pair[h], halves[h], nuisance)[0] for h in (0, 1))
        while step < len(STEPS):
            trial = (
                _part_way(pair[0], full[0], STEPS[step]),
                _part_way(pair[1], full[1], STEPS[step]),
            )
            value = judge(trial)
            if value > held[-1] + MIN_RISE * min(abs(held[-1]), 1.0):
                break
            step += 1
        if step == len(STEPS):
            break
        held.append(value)
        pair = trial
        # With twice the particles, the noise that makes a shorter step better is half as strong.
        whole = _part_way(
            whole,
            class_round(background, mask, whole, everyone, nuisance)[0],
            2 * STEPS[step] / (1 + STEPS[step]),
        )
        progress((done + 1) / rounds)
    return whole, pair, held


def _part_way(old: ClassModel, new: ClassModel, step: float) -> ClassModel:
    return ClassModel(
        old.differences + np.float32(step) * (new.differences - old.differences), new.weights
    )
