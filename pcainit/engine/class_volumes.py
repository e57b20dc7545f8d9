"""Volumes of the classes: posterior-weighted reconstructions, then EM without alignment."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Tuple

import numpy as np

from pcainit.engine.particle_pca import Background, NuisanceSpread, maximise, run_pass


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
                ) -> "Tuple[ClassModel, np.ndarray, float]":
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
                  nuisance: NuisanceSpread) -> "Tuple[np.ndarray, float]":
    """Responsibilities (m, K) and mean log-likelihood of particles under given volumes."""
    k = len(model.weights)
    precision = np.concatenate([np.ones(k), nuisance.precision])
    result = run_pass(background, model.differences, precision, index,
                      log_weights=np.log(np.maximum(model.weights, 1e-12)), keep=True)
    return result.scores[:, :k], float(result.gains.mean())


def refine_classes(background: Background, mask: np.ndarray, start: ClassModel,
                   halves: "Tuple[np.ndarray, np.ndarray]", nuisance: NuisanceSpread, *,
                   rounds: int = 8, progress: Callable[[float], None] = lambda share: None
                   ) -> "Tuple[ClassModel, Tuple[ClassModel, ClassModel], list]":
    """EM without alignment on two independent half-sets, for as long as held-out data gain.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    start : ClassModel
        The same for both halves.
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
        Held-out log-likelihood per particle before each round.
    """
    pair = (start, start)
    kept, held = pair, []
    for step in range(rounds + 1):
        if step:                            # each half judges the other's volumes
            judged = [score_classes(background, pair[1 - h], halves[h], nuisance)[1]
                      for h in (0, 1)]
            held.append(float(np.mean(judged)))
            if len(held) > 1 and held[-1] < held[-2]:
                break
            kept = pair
        if step < rounds:
            pair = tuple(class_round(background, mask, pair[h], halves[h], nuisance)[0]
                         for h in (0, 1))
        progress(step / rounds)
    share = np.array([len(h) for h in halves], float) / sum(len(h) for h in halves)
    mean = ClassModel(sum(s * m.differences for s, m in zip(share, kept)).astype(np.float32),
                      sum(s * m.weights for s, m in zip(share, kept)))
    # One more round on all particles gives volumes regularised for all of them.
    joint, _, _ = class_round(background, mask, mean, np.sort(np.concatenate(halves)), nuisance)
    return joint, kept, held
