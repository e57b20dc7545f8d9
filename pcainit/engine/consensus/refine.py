"""The consensus without junk, with pose errors and contrast accounted for."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pcainit.buffers import Reused
from pcainit.engine.arrays import BoolArray, FloatArray, IntArray
from pcainit.engine.consensus.poses import LARGE_PHASE, correct_slices, improve_offsets, phase_error
from pcainit.engine.consensus.windowing import choose_window, window_slices
from pcainit.engine.geometry.grid import radial_distance
from pcainit.engine.geometry.masks import auto_mask, soft_edge, solvent_level
from pcainit.engine.geometry.rigid_motion import symmetrise
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.model.class_model import ClassModel, class_round
from pcainit.engine.model.e_step import posterior_moments, posterior_statistics
from pcainit.engine.model.em import MIN_EARLY, Schedule, fit_components, random_start
from pcainit.engine.model.image_model import Background, NuisanceSpread, make_background
from pcainit.engine.model.nuisance_prior import (
    MAX_LEARNT,
    TELLING,
    Quality,
    measure_quality,
    pose_information,
)
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.model.statistics import marginalise
from pcainit.engine.projection.reconstruction import (
    TELLING_NOISE,
    Consensus,
    measure_noise,
    reconstruct_consensus,
)

# Standard deviation of the solvent's level about 0, as a share of the largest density: halos of
# real consensus maps reach a fifth.
LEVEL_SD = 0.2
# A polished mean whose noise rises more than this in any shell is not taken.
MAX_RISE = 1.02
LEADING = 6000  # particles used to estimate pose errors, with all steps of pose corrections


@dataclass(frozen=True, eq=False)
class ParticleQuality:
    """The particles that are kept, with contrast, junk and pose of each.

    Parameters
    ----------
    keep : (n,) bool
        Usable and no junk.
    junk : (n,) bool
    contrast : (n,) float32
    spread : NuisanceSpread
    offsets : (n, 7) float32
        What the poses have been corrected by.
    window : float
        Radius of the circle that images are seen through, voxels, or 0.
    pose_information : (2,) float64
        How much of the scores of shifts and rotations is left; see `pose_information`.
    """

    keep: BoolArray
    junk: BoolArray
    contrast: FloatArray
    spread: NuisanceSpread
    offsets: FloatArray
    window: float
    pose_information: FloatArray


def clean_consensus(
    slices: Slices,
    consensus: Consensus,
    symmetry: FloatArray,
    seed: int,
    seen: FloatArray | None = None,
) -> tuple[Consensus, ParticleQuality]:
    """Set junk aside and make the consensus again without it.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    consensus : Consensus
        Of all usable particles.
    symmetry : (s, 3, 3)
        Matrices of the point group; none for c1.
    seed : int
        Of the random numbers: the same one gives the same result.
    seen : (box, box, box) float32, optional
        What a window must not cut off; the particle by default.

    Returns
    -------
    Consensus
    ParticleQuality
    """
    solvent = auto_mask(consensus.mean, slices.grid)
    window = choose_window(slices, consensus, solvent if seen is None else seen)
    if window:
        slices = window_slices(slices, window)
        consensus = reconstruct_consensus(slices, symmetry)
        solvent = auto_mask(consensus.mean, slices.grid)
    index = np.flatnonzero(slices.usable)
    quality = measure_quality(make_background(slices, consensus, solvent), index)
    keep = slices.usable & ~quality.junk
    if quality.junk.any():
        consensus = reconstruct_consensus(dataclasses.replace(slices, usable=keep), symmetry)
    index = np.flatnonzero(keep)
    consensus = polish_consensus(slices, consensus, index, quality.spread, symmetry=symmetry)
    background = make_background(slices, consensus, auto_mask(consensus.mean, slices.grid))
    spread = measure_quality(background, subsample(index, MAX_LEARNT)).spread
    offsets, asked = background.offsets, pose_information(background, index)
    solvent = auto_mask(consensus.mean, slices.grid)
    if phase_error(spread, background, solvent) > LARGE_PHASE:
        spread = _spread_with_motion(background, solvent, index, spread, seed)
    if phase_error(spread, background, solvent) > LARGE_PHASE:
        del background
        consensus, spread, offsets, moved = _refine_poses(
            slices, consensus, index, spread, symmetry
        )
        consensus, spread, quality = _look_again(
            moved, consensus, index, spread, offsets, quality, symmetry
        )
        keep &= ~quality.junk
    return consensus, ParticleQuality(
        keep=keep,
        junk=quality.junk,
        contrast=quality.contrast,
        spread=NuisanceSpread(*map(float, dataclasses.astuple(spread))),
        offsets=offsets,
        window=float(window),
        pose_information=asked,
    )


def _spread_with_motion(
    background: Background,
    solvent: FloatArray,
    index: IntArray,
    spread: NuisanceSpread,
    seed: int,
    q: int = 6,
) -> NuisanceSpread:
    """The spread when some components may explain what else looks like pose errors."""
    some = subsample(index, LEADING)
    start = dataclasses.replace(random_start(background, solvent, q, seed), nuisance=spread)
    return fit_components(background, solvent, start, some, schedule=Schedule(rounds=6)).nuisance


def _look_again(
    moved: Slices,
    consensus: Consensus,
    index: IntArray,
    spread: NuisanceSpread,
    offsets: FloatArray,
    first: Quality,
    symmetry: FloatArray,
) -> tuple[Consensus, NuisanceSpread, Quality]:
    """Junk and contrast under sharper poses; the mean is put on the greyscale of contrast 1."""
    background = make_background(moved, consensus, auto_mask(consensus.mean, moved.grid), offsets)
    quality = measure_quality(background, index, spread)
    contrast = first.contrast.copy()
    contrast[index] = quality.contrast[index]
    good = index[~quality.junk[index]]
    scale = float(np.average(contrast[good], weights=quality.precision[good]))
    consensus = dataclasses.replace(consensus, mean=consensus.mean * np.float32(scale))
    spread = dataclasses.replace(spread, contrast=spread.contrast / scale)
    consensus = polish_consensus(
        moved, consensus, good, spread, offsets, rounds=2, symmetry=symmetry
    )
    return (
        consensus,
        spread,
        dataclasses.replace(
            quality, junk=first.junk | quality.junk, contrast=contrast / np.float32(scale)
        ),
    )


def _refine_poses(
    slices: Slices,
    consensus: Consensus,
    index: IntArray,
    spread: NuisanceSpread,
    symmetry: FloatArray,
) -> tuple[Consensus, NuisanceSpread, FloatArray, Slices]:
    """Pose steps and consensus by turns; the slices under the last poses too.

    Some particles lead the consensus and the spread most of the way.
    """
    leading = slices.take(subsample(index, LEADING))
    consensus, spread, _, _ = _pose_steps(
        leading, consensus, np.arange(len(leading)), spread, symmetry
    )
    return _pose_steps(slices, consensus, index, spread, symmetry)


def _pose_steps(
    slices: Slices,
    consensus: Consensus,
    index: IntArray,
    spread: NuisanceSpread,
    symmetry: FloatArray,
    steps: int = 2,
) -> tuple[Consensus, NuisanceSpread, FloatArray, Slices]:
    """Some steps of `_refine_poses` from the recorded poses."""
    offsets = np.zeros((len(slices), NUISANCES), np.float32)
    moved = slices
    for _ in range(steps):
        solvent = auto_mask(consensus.mean, slices.grid)
        background = make_background(moved, consensus, solvent, offsets)
        offsets = improve_offsets(background, index, spread)
        del background, moved  # one copy of all slices less
        moved = correct_slices(slices, offsets)
        consensus = polish_consensus(
            moved, consensus, index, spread, offsets, rounds=2, symmetry=symmetry
        )
        background = make_background(moved, consensus, solvent, offsets)
        none = np.zeros((0,) + consensus.mean.shape, np.float32)
        for _ in range(2):
            some = subsample(index, TELLING)
            result = posterior_moments(background, none, spread.precision, some)
            spread = spread.improved(np.diag(result.moments), result.squares)
    return consensus, spread, offsets, moved


def polish_consensus(
    slices: Slices,
    consensus: Consensus,
    index: IntArray,
    spread: NuisanceSpread,
    offsets: FloatArray | None = None,
    *,
    rounds: int = 3,
    symmetry: FloatArray | None = None,
) -> Consensus:
    """EM for the mean itself, with contrast and pose errors integrated out.

    What a direct reconstruction leaves in the residuals (regularisation, interpolation, the blur of
    pose errors) is the same in both half-sets and would be found as a component.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    consensus : Consensus
        Mean of the particles with its noise and signal spectra.
    index : (m,) int
        Particles to use; the first of several rounds uses a quarter of them.
    spread : NuisanceSpread
        Standard deviations of contrast, pose errors and fall-off.
    offsets : (n, 7) float32, optional
        What the slices have been corrected by.
    rounds : int
        How often mean and poses are improved in turn.
    symmetry : (s, 3, 3), optional
        The mean is averaged over it at the end.

    Returns
    -------
    Consensus
        With a new mean and noise.
    """
    grid = slices.grid
    ball, room = soft_edge(radial_distance(grid.box), 0.45 * grid.box, 0.5 * grid.box), Reused()
    first = consensus
    for k in range(rounds):
        early = k == 0 and rounds > 1
        some = subsample(index, max(len(index) // 4, MIN_EARLY)) if early else index
        solvent = auto_mask(consensus.mean, grid)
        background = make_background(slices, consensus, solvent, offsets, room)
        blank = ClassModel(np.zeros((1,) + ball.shape, np.float32), np.ones(1))
        step, _, _ = class_round(background, ball.astype(np.float32), blank, some, spread)
        consensus = dataclasses.replace(consensus, mean=consensus.mean + step.differences[0])
    background = make_background(slices, consensus, auto_mask(consensus.mean, grid), offsets, room)
    level = measure_level(background, subsample(index, TELLING), spread)
    candidates = [consensus.mean + np.float32(level), consensus.mean, first.mean]
    return _first_quiet(
        [
            dataclasses.replace(
                consensus, mean=mean if symmetry is None else symmetrise(mean, symmetry)
            )
            for mean in candidates
        ],
        slices,
        subsample(index, TELLING_NOISE),
    )


def _first_quiet(candidates: list[Consensus], slices: Slices, index: IntArray) -> Consensus:
    """Choose the first consensus whose noise rises in no shell above that of the last one.

    The zero frequency, which has no weight anywhere, does not count.
    """

    def with_noise(consensus: Consensus) -> Consensus:
        return dataclasses.replace(consensus, noise=measure_noise(slices, consensus.mean, index))

    last = with_noise(candidates[-1])
    for candidate in candidates[:-1]:
        measured = with_noise(candidate)
        if (measured.noise[1:] <= MAX_RISE * last.noise[1:]).all():
            return measured
    return last


def measure_level(background: Background, index: IntArray, nuisance: NuisanceSpread) -> float:
    """Estimate the constant that the images ask to be added to the mean.

    The images' own means have no weight, and inside the box a constant is hardly seen: but it makes
    an edge at the rim of the box, which the lowest shells show well.  The most likely constant
    under a prior of a solvent at 0, give or take `LEVEL_SD` of the largest density: crowding and
    the normalisation of backgrounds put a halo of negative density around a particle, which is
    no solvent level and must not be taken for one.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    index : (m,) int
        Rows of the particles that are looked at.
    nuisance : NuisanceSpread
        Prior of the nuisances.

    Returns
    -------
    float
        In the mean's own greyscale.
    """
    mean, box = background.mean, background.grid.box
    flat = np.ones((1, box, box, box), np.float32)
    result = posterior_statistics(background, flat, nuisance.precision_beside(1), index)
    alone = marginalise(result.grams, result.scores, 1, nuisance.precision)
    precision = float(alone.precision.sum(dtype=np.float64))
    score = float(alone.score.sum(dtype=np.float64))
    prior = (LEVEL_SD * float(mean.max())) ** -2
    expected = -solvent_level(mean, auto_mask(mean, background.grid))
    return (score + prior * expected) / (precision + prior)
