"""Volumes of the classes: posterior-weighted reconstructions, then EM without alignment."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Tuple

import numpy as np
from scipy import fft

from pcainit.engine.latent_model import Background, NuisanceSpread, run_pass
from pcainit.engine.particle_pca import maximise
from pcainit.engine.shell_products import shell_products

# Steps from the volumes inside the components' span towards free ones: part of the way is better,
# by the data held out and by the truth, than either end.  Where one fails a shorter one is tried.
STEPS = (0.5, 0.25, 0.125)
LARGEST_GAIN = 1.5
CALIBRATIONS = 3


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
                nuisance: NuisanceSpread) -> Tuple[ClassModel, np.ndarray, float]:
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

    def judge(trial: Tuple[ClassModel, ClassModel]) -> float:
        return float(np.mean([score_classes(background, trial[1 - h], halves[h], nuisance)[1]
                              for h in (0, 1)]))

    held, step = [judge(pair)], 0
    for done in range(rounds):
        full = tuple(class_round(background, mask, pair[h], halves[h], nuisance)[0]
                     for h in (0, 1))
        while step < len(STEPS):
            trial = (_part_way(pair[0], full[0], STEPS[step]),
                     _part_way(pair[1], full[1], STEPS[step]))
            value = judge(trial)
            if value > held[-1]:
                break
            step += 1
        if step == len(STEPS):
            break
        held.append(value)
        pair = trial
        # With twice the particles, the noise that makes a shorter step better is half as strong.
        whole = _part_way(whole, class_round(background, mask, whole, everyone, nuisance)[0],
                          2 * STEPS[step] / (1 + STEPS[step]))
        progress((done + 1) / rounds)
    for _ in range(CALIBRATIONS):       # larger differences make the posteriors sharper
        whole, pair = calibrate(background, mask, whole, pair, halves, nuisance)
    return whole, pair, held


def _part_way(old: ClassModel, new: ClassModel, step: float) -> ClassModel:
    return ClassModel(old.differences + np.float32(step) * (new.differences - old.differences),
                      new.weights)


def calibrate(background: Background, mask: np.ndarray, whole: ClassModel,
              pair: Tuple[ClassModel, ClassModel], halves: Tuple[np.ndarray, np.ndarray],
              nuisance: NuisanceSpread
              ) -> Tuple[ClassModel, Tuple[ClassModel, ClassModel]]:
    """Give each shell of each difference the amplitude that images held out ask for.

    Regularisation damps the differences, more where the noise is strong.  The least-squares gain
    of one half-set's difference on the other half-set's images is ``T / (a (T + N))`` for true
    power T, noise N and damping a; with all particles the noise is half as strong.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    whole : ClassModel
        Of all particles.
    pair : two ClassModel
        Of each half-set alone.
    halves : two (m,) int arrays
    nuisance : NuisanceSpread

    Returns
    -------
    ClassModel
        Differences filtered by the gain, which is at most 1.5.
    (ClassModel, ClassModel)
        Those of each half, by the same gain: their mean has the noise of the first.
    """
    grid = background.grid
    product, square = np.zeros((2, len(whole.weights), grid.n_shells))
    for h in (0, 1):
        resp, _ = score_classes(background, pair[h], halves[h], nuisance)
        own = shell_products(background, pair[1 - h].differences, resp, halves[h])
        product, square = product + own[0], square + own[1]
    models = (whole, *pair)
    filtered = [np.empty_like(model.differences) for model in models]
    for k in range(len(whole.weights)):
        one, two = (half.differences[k] for half in pair)
        cross = _smooth(grid.shell_profile(one, two))
        power = _smooth(grid.shell_profile(one)) * _smooth(grid.shell_profile(two))
        agreement = np.clip(cross / np.sqrt(np.maximum(power, 1e-60)), 0, 1)
        gain = _smooth(product[k]) / np.maximum(_smooth(square[k]), 1e-30)
        gain = np.clip(gain * 2 / (1 + agreement), 0, LARGEST_GAIN)
        factor = np.append(gain, 0)[grid.box_shells]
        for model, out in zip(models, filtered):
            spectrum = fft.rfftn(model.differences[k]) * factor
            out[k] = fft.irfftn(spectrum, s=mask.shape) * mask
    done = [ClassModel(out, model.weights) for model, out in zip(models, filtered)]
    return done[0], (done[1], done[2])


def _smooth(profile: np.ndarray) -> np.ndarray:
    """Sum over each shell and its neighbours; the images' own means, shell 0, are left out."""
    padded = np.pad(profile[1:], 1)
    total = padded[:-2] + padded[1:-1] + padded[2:]
    return np.append(total[:1], total)
