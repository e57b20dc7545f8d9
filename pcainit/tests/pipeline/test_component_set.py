"""Components of all particles and of the half-sets, handled together."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.pipeline.component_set import ComponentSet

BASIS = np.eye(64, dtype=np.float32).reshape(64, 4, 4, 4)
WIDE = NuisanceSpread(contrast=0.5)


def model(rows, nuisance=WIDE):
    """Components given by rows of coefficients of the first voxels."""
    rows = np.atleast_2d(np.asarray(rows, np.float32))
    volumes = np.einsum("qk,kzyx->qzyx", rows, BASIS[: rows.shape[1]])
    return LatentModel(volumes.astype(np.float32), np.arange(1.0, len(rows) + 1), nuisance)


def members(rows, local=False):
    """A set of which all three models are the same."""
    one = model(rows)
    return ComponentSet(one, (one, one), np.full(one.q, local))


def test_halves_are_matched_to_all_particles():
    """Half-sets that have the same directions in another order and with another sign."""
    joint = model(np.eye(3)[:2])
    found = ComponentSet.matching(joint, [model([[0, -1, 0], [1, 0, 0]]), model(np.eye(3)[:2])])
    for half in found.halves:
        assert half.components == pytest.approx(joint.components, abs=1e-6)
    assert found.cosines == pytest.approx([1, 1]) and not found.local.any()
    assert ComponentSet.matching(joint.take(slice(0, 0)), [joint, joint]).q == 0


def test_cosines_are_between_the_half_sets():
    one, two = model([1, 0]), model([0.6, 0.8])
    assert ComponentSet(one, (one, two), np.zeros(1, bool)).cosines == pytest.approx([0.6])


def test_appended_components_are_orthogonal_and_know_their_place():
    place = members([[0.6, 0.8, 0], [0.99, 0, 0.141]], local=True)  # the second adds 2 %
    found = members([1, 0, 0]).append_orthogonal(place)
    assert found.q == 2 and found.local.tolist() == [False, True]
    for one in (found.joint, *found.halves):
        flat = one.components.reshape(2, -1)
        assert flat @ flat.T == pytest.approx(np.eye(2), abs=1e-6)
        assert np.abs(flat[1, 1]) == pytest.approx(1)
    assert found.joint.variances[1] == pytest.approx(0.64)  # of 1, what is new


def test_what_all_particles_take_the_half_sets_take_too():
    """Of a half-set alone the second would add nothing."""
    joint, half = model([[0, 1]]), model([[1, 0.1]])
    found = members([1, 0]).append_orthogonal(ComponentSet(joint, (half, half), np.zeros(1, bool)))
    assert found.q == 2 and [one.q for one in found.halves] == [2, 2]


def test_selecting_and_removing():
    found = members(np.eye(3))
    some = found.select(np.array([True, False, True]))
    assert some.q == 2 and some.joint.variances.tolist() == [1, 3] and len(some.local) == 2
    assert some.halves[1].components == pytest.approx(BASIS[[0, 2]])
    direction = (BASIS[0] + BASIS[5]) / 2**0.5
    rest = found.without(direction[None].astype(np.float64))
    for one in (rest.joint, *rest.halves):
        along = np.einsum("qzyx,zyx->q", one.components, direction)
        assert along == pytest.approx(np.zeros(3), abs=1e-6)


def test_beside_keeps_both_as_they_are():
    quiet = NuisanceSpread(contrast=0.01)
    half = model([0.6, 0.8], quiet)
    mine = ComponentSet(model([1, 0]), (half, half), np.zeros(1, bool))
    both = mine.beside(members([0.8, 0.6]))
    assert both.q == 2 and both.halves[0].nuisance == WIDE
    assert both.halves[0].components[0] == pytest.approx(half.components[0])
    assert both.joint.components[1] == pytest.approx(model([0.8, 0.6]).components[0])
