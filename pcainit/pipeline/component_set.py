"""Components of all particles and of either half-set, handled together."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from pcainit.engine.arrays import AnyArray, BoolArray
from pcainit.engine.components import local_components
from pcainit.engine.components.local_components import Place
from pcainit.engine.components.nuisance_span import without_directions
from pcainit.engine.model.axes import align_to, append
from pcainit.engine.model.image_model import LatentModel


@dataclass(frozen=True, eq=False)
class ComponentSet:
    """Directions as all particles, and either half-set alone, give them.

    Parameters
    ----------
    joint : LatentModel
        Of all particles.
    halves : two LatentModel
        Of either half-set, one by one those of `joint`.
    local : (q,) bool
        Those that were found in a small place, not in the whole mask.
    """

    joint: LatentModel
    halves: tuple[LatentModel, LatentModel]
    local: BoolArray

    @classmethod
    def matching(cls, joint: LatentModel, models: Sequence[LatentModel]) -> ComponentSet:
        """Global components, and what is closest to them in the half-sets' models."""
        one, two = (_aligned(model, joint) for model in models)
        return cls(joint, (one, two), np.zeros(joint.q, bool))

    @classmethod
    def of_place(cls, place: Place) -> ComponentSet:
        """The components of a small place."""
        return cls(place.joint, place.halves, np.ones(place.joint.q, bool))

    @property
    def q(self) -> int:
        """Number of components."""
        return self.joint.q

    @property
    def cosines(self) -> AnyArray:
        """(q,) float64: between the half-sets' corresponding components."""
        one, two = self.halves
        pairs = zip(one.components, two.components)
        return np.array([abs(float((a * b).sum())) for a, b in pairs])

    def beside(self, other: ComponentSet) -> ComponentSet:
        """Those of another set behind these, all as they are; nuisances are those of `joint`."""
        nuisance = self.joint.nuisance
        one, two = (
            append(dataclasses.replace(mine, nuisance=nuisance), theirs)
            for mine, theirs in zip(self.halves, other.halves)
        )
        local = np.concatenate([self.local, other.local])
        return ComponentSet(append(self.joint, other.joint), (one, two), local)

    def append_orthogonal(self, other: ComponentSet) -> ComponentSet:
        """What another set adds to this one, orthonormal; what adds next to nothing is left out."""
        joint, taken = local_components.append_orthogonal(self.joint, [other.joint])
        one, two = (
            local_components.append_orthogonal(mine, [theirs], taken)[0]
            for mine, theirs in zip(self.halves, other.halves)
        )
        return ComponentSet(joint, (one, two), np.concatenate([self.local, other.local[taken]]))

    def aligned(self) -> ComponentSet:
        """The half-sets' components turned to those of all particles, within what they span."""
        return self._each(lambda model: _aligned(model, self.joint), self.joint)

    def select(self, kept: AnyArray) -> ComponentSet:
        """Some of the components."""
        kept = np.flatnonzero(kept)
        chosen = self._each(lambda model: model.take(kept), self.joint.take(kept))
        return dataclasses.replace(chosen, local=self.local[kept])

    def without(self, directions: AnyArray) -> ComponentSet:
        """The same components without their parts along some orthonormal directions."""
        return self._each(
            lambda model: without_directions(model, directions),
            without_directions(self.joint, directions),
        )

    def _each(
        self, change: Callable[[LatentModel], LatentModel], joint: LatentModel
    ) -> ComponentSet:
        one, two = (change(model) for model in self.halves)
        return dataclasses.replace(self, joint=joint, halves=(one, two))


def _aligned(model: LatentModel, joint: LatentModel) -> LatentModel:
    """What of a half-set's model is closest to the components of all particles."""
    return align_to(model, joint.components) if joint.q else model.take(slice(0, 0))
