"""3D classification without alignment: EM that keeps of new volumes what the half-sets agree on.

The centres of a mixture give volumes inside the span of the components.  States differ by more than
that: rounds of EM lead out of it.  A new volume is mostly noise, above all in its fine shells, and
classes of noisy volumes tell particles apart by noise; so each new difference is weighted by how
far the half-sets agree near a place and a resolution (`engine.classes.local_filter`) before
particles are told apart with it.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.classes.local_filter import Pair, localise
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.class_model import ClassModel, class_round, part_way, score_classes
from pcainit.engine.model.image_model import Background, NuisanceSpread

# Of the way to the new volumes: images held out choose.  Half of it averages the noise of two
# rounds; of a mixture whose own volumes are better still a quarter may be worth a round.
STEPS = (1.0, 0.5, 0.25)
JUDGES = 5000  # particles of each half-set, which tell better volumes from worse ones
# A rise of a particle's mean log-likelihood that is worth another round; of less than one in
# proportion less.
MIN_RISE = 1e-3
ROUNDS = 5  # at most


@dataclass(frozen=True, eq=False)
class RefinedClasses:
    """Classes after some rounds of EM.

    Parameters
    ----------
    whole : ClassModel
        Of all particles.
    pair : two ClassModel
        Of each half-set; weighted like `whole` by what both agree on where there were rounds.
    unfiltered : ClassModel
        Of all particles, without these weights.
    unfiltered_pair : two ClassModel
        Of each half-set, without these weights: independent, as evidence has to be.
    held_out : tuple of float
        Log-likelihood per particle held out, after 0, 1, ... rounds.
    """

    whole: ClassModel
    pair: Pair
    unfiltered: ClassModel
    unfiltered_pair: Pair
    held_out: tuple[float, ...]

    @property
    def rounds(self) -> int:
        """How many rounds particles held out have gained from."""
        return len(self.held_out) - 1


def refine_classes(
    background: Background,
    mask: FloatArray,
    whole: ClassModel,
    pair: Pair,
    halves: tuple[IntArray, IntArray],
    nuisance: NuisanceSpread,
    *,
    rounds: int = ROUNDS,
    progress: Callable[[float], None] = lambda share: None,
) -> RefinedClasses:
    """Refine class volumes for as long as particles held out gain by it.

    Each half-set goes on from its own volumes, and some particles of each judge the other's.

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
    RefinedClasses
    """
    judges = (subsample(halves[0], JUDGES), subsample(halves[1], JUDGES))

    def judge(trial: Pair) -> float:
        scores = [score_classes(background, trial[1 - h], judges[h], nuisance)[1] for h in (0, 1)]
        return float(np.mean(scores))

    held = [judge(pair)]
    plain, plain_pair = whole, pair
    for done in range(rounds):
        full = _new_volumes(background, mask, pair, halves, nuisance)
        mean = part_way(full[0], full[1], 0.5)
        local, local_pair = localise(background.grid, mask, mean, full)
        trials = []
        for step in STEPS:
            trial = _pair_part_way(pair, local_pair, step)
            trials.append((judge(trial), step, trial))
            if len(trials) > 1 and trials[-1][0] < trials[-2][0]:
                break
        value, step, trial = max(trials, key=lambda trial: trial[0])
        if not value > held[-1] + MIN_RISE * min(abs(held[-1]), 1.0):
            break
        held.append(value)
        pair = trial
        # With twice the particles, the noise that makes a shorter step better is half as strong.
        more = 2 * step / (1 + step)
        whole = part_way(whole, local, more)
        plain, plain_pair = part_way(plain, mean, more), _pair_part_way(plain_pair, full, step)
        progress((done + 1) / rounds)
    return RefinedClasses(whole, pair, plain, plain_pair, tuple(held))


def _new_volumes(
    background: Background,
    mask: FloatArray,
    pair: Pair,
    halves: tuple[IntArray, IntArray],
    nuisance: NuisanceSpread,
) -> Pair:
    """Volumes of each half-set after a round of EM, both with the mean of their weights."""
    one, two = (
        class_round(background, mask, model, half, nuisance)[0] for model, half in zip(pair, halves)
    )
    weights = (one.weights + two.weights) / 2
    return ClassModel(one.differences, weights), ClassModel(two.differences, weights)


def _pair_part_way(old: Pair, new: Pair, step: float) -> Pair:
    return part_way(old[0], new[0], step), part_way(old[1], new[1], step)
