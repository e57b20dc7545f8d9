"""Rounds of EM that lead classes out of the span of components, against known states."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.classes.class_refinement import MIN_RISE, refine_classes
from pcainit.engine.model.class_model import ClassModel, score_classes
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.tests.particle_examples import GRID, blobs, model_background

COUNT = 3000
SPREAD = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3)
HALVES = np.arange(0, COUNT, 2), np.arange(1, COUNT, 2)
# Three states by what they have of two differences; their mean is zero.
STATES = np.array([[-1.0, -0.6], [0.0, 1.2], [1.0, -0.6]])
START = [1.0, 0.1]  # of what they have, where the search begins


def classes(volumes):
    return ClassModel(np.asarray(volumes, np.float32), np.full(len(volumes), 1 / len(volumes)))


def correlation(one, two):
    return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


@pytest.fixture(scope="module")
def three_states():
    parts = np.stack([blobs(GRID, [[2, 0, 1]]), blobs(GRID, [[-2, 1, -1]])])
    label = np.random.default_rng(8).integers(0, 3, COUNT)
    background, mask = model_background(
        COUNT, differences=parts, noise=0.3, coordinates=STATES[label]
    )
    return parts, label, background, mask


def test_what_the_start_has_too_little_of_is_found(three_states):
    parts, label, background, mask = three_states
    true = np.einsum("kq,qzyx->kzyx", STATES, parts) * mask
    start = classes(np.einsum("kq,qzyx->kzyx", STATES * START, parts) * mask)
    found = refine_classes(background, mask, start, (start, start), HALVES, SPREAD)
    assert found.rounds >= 1
    assert (np.diff(found.held_out) > 0).all()
    for model in (found.whole, *found.pair):
        for k in (0, 2):
            before = correlation(start.differences[k], true[k])
            assert before < 0.91 < 0.96 < correlation(model.differences[k], true[k])
    right = [
        (score_classes(background, m, np.arange(COUNT), SPREAD)[0].argmax(1) == label).mean()
        for m in (start, found.whole)
    ]
    assert right[1] > right[0] + 0.02


def test_classes_that_are_all_there_is_stay_as_they_are(three_states):
    parts, _, background, mask = three_states
    true = classes(np.einsum("kq,qzyx->kzyx", STATES, parts) * mask)
    found = refine_classes(background, mask, true, (true, true), HALVES, SPREAD)
    assert found.rounds == 0 and found.whole is true
    assert MIN_RISE > 0
