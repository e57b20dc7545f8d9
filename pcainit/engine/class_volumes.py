"""Volumes of the classes: posterior-weighted reconstructions, then EM without alignment."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Tuple

import numpy as np

from pcainit.engine.latent_model import Background, LatentModel, NuisanceSpread, run_pass
from pcainit.engine.latents import compute_latents
from pcainit.engine.particle_pca import maximise

# A round goes half-way from the volumes inside the components' span to free ones: measured better,
# by the data held out and by the truth, than either.
HALF_WAY = 0.5


@dataclass(frozen=True, eq=False)
class ClassModel:
    """K classes as differences from the consensus.

    Parameters
    ----------
    differences : (K, box, box, box) float32
        Zero outside the mask.
    weights : (K,) float64
    """

    differences: np.ndarray
    weights: np.ndarray


def class_round(background: Background, mask: np.ndarray, model: ClassModel, index: np.ndarray,
                nuisance: NuisanceSpread, *, relax: float = 1.0
                ) -> Tuple[ClassModel, np.ndarray, float]:
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
    k = len(model.weights)
    precision = np.concatenate([np.ones(k), nuisance.precision])
    result = run_pass(background, model.differences, precision, index,
                      log_weights=np.log(np.maximum(model.weights, 1e-12)), update=True, keep=True)
    fresh = maximise(background, result, model.differences, mask)
    fresh = model.differences + relax * (fresh - model.differences)
    resp = result.scores[:, :k]
    weights = resp.mean(axis=0, dtype=np.float64)
    return ClassModel(fresh, weights / weights.sum()), resp, float(result.gains.mean())


def score_classes(background: Background, model: ClassModel, index: np.ndarray,
                  nuisance: NuisanceSpread) -> Tuple[np.ndarray, float]:
    """Responsibilities (m, K) and mean log-likelihood of particles under given volumes."""
    k = len(model.weights)
    precision = np.concatenate([np.ones(k), nuisance.precision])
    result = run_pass(background, model.differences, precision, index,
                      log_weights=np.log(np.maximum(model.weights, 1e-12)), keep=True)
    return result.scores[:, :k], float(result.gains.mean())


def refine_classes(background: Background, mask: np.ndarray, whole: ClassModel,
                   pair: Tuple[ClassModel, ClassModel],
                   halves: Tuple[np.ndarray, np.ndarray], nuisance: NuisanceSpread, *,
                   rounds: int = 5, progress: Callable[[float], None] = lambda share: None
                   ) -> Tuple[ClassModel, Tuple[ClassModel, ClassModel], list]:
    """EM without alignment, for as long as half-sets held out gain by it.

    Two independent half-sets go on from their own volumes; each judges the other's.  As many
    rounds as they gain from are then given to the volumes of all particles.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    whole : ClassModel
        Of all particles.
    pair : two ClassModel
        Of each half-set alone.
    halves : two (m,) int arrays
        Particles of each half-set.
    nuisance : NuisanceSpread
    rounds : int
        At most so many.
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
    held = []
    for step in range(rounds + 1):
        if step:
            trial = (class_round(background, mask, pair[0], halves[0], nuisance, relax=HALF_WAY)[0],
                     class_round(background, mask, pair[1], halves[1], nuisance, relax=HALF_WAY)[0])
        else:
            trial = pair
        held.append(float(np.mean([score_classes(background, trial[1 - h], halves[h], nuisance)[1]
                                   for h in (0, 1)])))
        progress((step + 1) / (rounds + 1))
        if step and held[-1] <= held[-2]:
            break
        if step:
            pair = trial
            whole = class_round(background, mask, whole, everyone, nuisance, relax=HALF_WAY)[0]
    return calibrate(background, whole, everyone, nuisance), pair, held


def calibrate(background: Background, model: ClassModel, index: np.ndarray,
              nuisance: NuisanceSpread) -> ClassModel:
    """Give each difference the amplitude that the images have: regularisation damps it.

    Parameters
    ----------
    background : Background
    model : ClassModel
    index : (m,) int
    nuisance : NuisanceSpread

    Returns
    -------
    ClassModel
        Differences times the least-squares gain of their own class's particles, 1 to 1.5.
    """
    resp, _ = score_classes(background, model, index, nuisance)
    columns = LatentModel(model.differences, np.ones(len(model.weights)), nuisance)
    latents = compute_latents(background, columns, index)
    own = np.einsum("nkk->nk", latents.precision)
    gain = (resp * latents.score).sum(axis=0) / np.maximum((resp * own).sum(axis=0), 1e-30)
    gain = np.clip(gain, 1.0, 1.5).astype(np.float32)
    return ClassModel(model.differences * gain[:, None, None, None], model.weights)
