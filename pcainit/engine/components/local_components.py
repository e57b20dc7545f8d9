"""Components of small regions, and the model they make together with the global ones."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from pcainit.engine.arrays import BoolArray, FloatArray, IntArray
from pcainit.engine.components.certify import Evidence, certify, confirm
from pcainit.engine.components.local_sweep import Region, sweep
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.score_test import exceeds_model_error
from pcainit.engine.components.scrambling import Scrambled
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.linear_algebra import principal_axes
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.axes import align_to, merge_models
from pcainit.engine.model.em import Schedule, fit_components
from pcainit.engine.model.image_model import Background, LatentModel
from pcainit.engine.model.m_step import Weights

MAX_PLACES = 4
SAMPLE = 5000  # particles that tell
ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Place:
    """Neighbouring regions that change, and their certified components.

    Parameters
    ----------
    regions : tuple of Region
        Best first.
    mask : (box, box, box) float32
        Soft union of their spheres, inside the mask.
    halves : two LatentModel
        Components of each half-set, one by one those of `joint`.
    joint : LatentModel
        Of all particles.
    cosines : (c,) float64
        Between the halves.
    """

    regions: tuple[Region, ...]
    mask: FloatArray
    halves: tuple[LatentModel, LatentModel]
    joint: LatentModel
    cosines: FloatArray


@dataclass(frozen=True, eq=False)
class Known:
    """Certified components beside which others are sought.

    Parameters
    ----------
    halves : two LatentModel
        Of each half-set.
    joint : LatentModel
        The same of all particles.
    """

    halves: tuple[LatentModel, LatentModel]
    joint: LatentModel

    def with_place(self, place: Place) -> Known:
        """These, and what a place's components add to them."""
        joint, new = append_orthogonal(self.joint, [place.joint])
        one, two = (
            append_orthogonal(mine, [its], new)[0] for mine, its in zip(self.halves, place.halves)
        )
        return Known((one, two), joint)


def find_places(
    background: Background,
    known: Known,
    halves: tuple[IntArray, IntArray],
    mask: FloatArray,
    seed: int,
    weights: Weights | None = None,
    progress: Callable[[float], None] = lambda share: None,
    scrambled: Scrambled | None = None,
) -> tuple[list[Place], list[Region]]:
    """Small places that change beside what is known already.

    Parameters
    ----------
    background : Background
    known : Known
    halves : two (m,) int arrays
    mask : (box, box, box) float32
    seed : int
    weights : Weights, optional
        Those of `background`, with what has been summed before.
    progress : callable
    scrambled : Scrambled, optional
        What changes in them as well is none of the particle's.

    Returns
    -------
    list of Place
        Certified: like global components, inside the place's own mask.
    list of Region
        All that were looked at.
    """
    weights = weights or Weights(background)
    regions = sweep(
        background,
        known.halves,
        halves,
        mask,
        weights,
        lambda share: progress(0.7 * share),
        scrambled if scrambled is not None and scrambled.crowded else None,
    )
    least = RULES.min_sweep_score * (1.0 if scrambled is None else scrambled.redundancy)
    groups = neighbours(
        [
            r
            for r in regions
            if r.score - max(r.scrambled_score, 0) > least and r.cosine > RULES.min_sweep_cosine
        ]
    )
    found: list[Place] = []
    for group in groups[:MAX_PLACES]:
        # A change that spreads over several places is taken once.
        place = _certified(background, group, known, halves, mask, seed, weights, scrambled)
        if place is not None:
            found.append(place)
            known = known.with_place(place)
    progress(1.0)
    return found, regions


def neighbours(regions: Sequence[Region]) -> list[list[Region]]:
    """Groups of regions whose spheres overlap by much, best first."""
    left = sorted(regions, key=lambda r: -r.score)
    groups = []
    while left:
        group, rest = [left[0]], left[1:]
        for region in rest:
            best = group[0]
            gap = np.sqrt(((region.centre - best.centre) ** 2).sum())
            if gap < 1.1 * max(region.radius, best.radius):
                group.append(region)
        left = [r for r in rest if not any(r is g for g in group)]
        groups.append(group)
    return groups


def region_mask(regions: Sequence[Region], mask: FloatArray) -> FloatArray:
    """Soft union of spheres inside a mask, (box, box, box) float32."""
    axis = np.arange(len(mask))
    union = np.zeros(mask.shape, np.float32)
    for region in regions:
        z, y, x = region.centre
        distance = np.sqrt(
            (axis[:, None, None] - z) ** 2 + (axis[:, None] - y) ** 2 + (axis - x) ** 2
        )
        union = np.maximum(union, soft_edge(distance, 0.7 * region.radius, region.radius))
    return (union * mask).astype(np.float32)


def _certified(
    background: Background,
    group: list[Region],
    known: Known,
    halves: tuple[IntArray, IntArray],
    mask: FloatArray,
    seed: int,
    weights: Weights,
    scrambled: Scrambled | None,
) -> Place | None:
    """Components of one place, when both half-sets find them; None when they do not."""
    place, joint = region_mask(group, mask), known.joint
    starts = [
        _start([region.pair[h] for region in group], background, place, joint) for h in (0, 1)
    ]
    everyone = np.sort(np.concatenate(halves))
    some = subsample(everyone, SAMPLE)
    if not all(
        exceeds_model_error(
            np.concatenate([joint.components, start.components]),
            background,
            some,
            joint.nuisance,
            RULES.min_start,
        )[joint.q :].any()
        for start in starts
    ):
        return None
    models = []
    for h, start in enumerate(starts):
        models.append(
            fit_components(
                background,
                place,
                start,
                halves[h],
                held=known.halves[h],
                schedule=Schedule(ROUNDS, learn_nuisance=False),
                weights=weights,
            )
        )
    evidence = confirm(
        certify(models[0], models[1], place, background.grid, seed),
        background,
        halves,
        place,
        joint.nuisance,
        beside=known.halves,
        scrambled=scrambled,
    )
    evidence = _strong(evidence, joint, background, everyone)
    if not evidence.count:
        return None
    start = align_to(merge_models(models), evidence.basis)
    whole = fit_components(
        background,
        place,
        start,
        everyone,
        held=joint,
        schedule=Schedule(rounds=1, early=0, learn_nuisance=False),
        weights=weights,
    )
    first, second = (align_to(model, whole.components) for model in models)
    return Place(tuple(group), place, (first, second), whole, evidence.cosines[: evidence.count])


def _strong(
    evidence: Evidence, joint: LatentModel, background: Background, index: IntArray
) -> Evidence:
    """Without directions that only what is wrong about the known components makes."""
    if not evidence.count:
        return evidence
    both = np.concatenate([joint.components, evidence.basis])
    keep = exceeds_model_error(both, background, index, joint.nuisance)[joint.q :]
    order = np.concatenate(
        [
            np.flatnonzero(keep),
            np.flatnonzero(~keep),
            np.arange(evidence.count, len(evidence.cosines)),
        ]
    )
    return dataclasses.replace(
        evidence,
        cosines=evidence.cosines[order],
        basis=evidence.basis[keep],
        pairs=evidence.pairs[:, keep],
    )


def _start(
    volumes: list[FloatArray],
    background: Background,
    place: FloatArray,
    joint: LatentModel,
    q: int = 2,
) -> LatentModel:
    """What the regions' components have in common, with a small share of the mean's power."""
    flat = np.stack(volumes).reshape(len(volumes), -1)
    right = principal_axes(flat.astype(np.float64))[0][:q]
    power = 0.01 * float((background.mean.astype(np.float64) ** 2 * place).sum())
    return LatentModel(
        right.reshape((len(right),) + place.shape).astype(np.float32),
        np.full(len(right), power),
        joint.nuisance,
    )


def append_orthogonal(
    first: LatentModel, others: Sequence[LatentModel], chosen: BoolArray | None = None
) -> tuple[LatentModel, BoolArray]:
    """The first model's components as they are, then what the others add to them, orthonormal.

    Parameters
    ----------
    first : LatentModel
    others : sequence of LatentModel
    chosen : (c,) bool, optional
        Which of the others' components to take; by default, those that add enough.

    Returns
    -------
    LatentModel
    (c,) bool
        Which of the others' components, one after the other, were taken.
    """
    basis, variances = list(first.components), list(first.variances)
    taken: list[bool] = []
    for model in others:
        for volume, variance in zip(model.components, model.variances):
            rest = volume.astype(np.float64)
            for known in basis:
                rest = rest - (rest * known).sum() * known
            share = float((rest**2).sum())
            taken.append(share > RULES.min_new if chosen is None else bool(chosen[len(taken)]))
            if taken[-1]:
                basis.append((rest / np.sqrt(max(share, 1e-12))).astype(np.float32))
                variances.append(variance * share)
    shape = (len(basis),) + first.components.shape[1:]
    model = dataclasses.replace(
        first,
        components=np.array(basis, np.float32).reshape(shape),
        variances=np.array(variances, np.float64),
    )
    return model, np.array(taken, bool)


def describe_place(place: Place, grid: Grid) -> dict[str, Any]:
    """Where a place is and how sure it is, as plain values (Angstrom from the box's centre)."""
    weight = place.mask.astype(np.float64)
    axis = np.arange(grid.box) - grid.box // 2
    total = weight.sum()
    z, y, x = (
        float((weight.sum(axis=tuple(a for a in range(3) if a != k)) * axis).sum() / total)
        for k in range(3)
    )
    radius = (3 * total / (4 * np.pi)) ** (1 / 3)
    return dict(
        x=x * grid.voxel,
        y=y * grid.voxel,
        z=z * grid.voxel,
        radius=radius * grid.voxel,
        cosines=place.cosines.tolist(),
        score=place.regions[0].score,
    )
