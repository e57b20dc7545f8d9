"""Residuals exchanged between images: who gives to whom, and what variance outlives it."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest

from pcainit.engine.components.certify import Evidence, confirm
from pcainit.engine.components.score_test import held_out_score
from pcainit.engine.components.scrambling import scramble_residuals
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.masks import particle_body
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.engine.projection.slices import extract_slices
from pcainit.tests.particle_examples import ball, blobs, model_background

GRID = Grid(32, 6.0, 24.0)
COUNT = 1600
SPREAD = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3)
PLACE = np.array([[4.0, -2.0, 1.0]])


def unit(volume):
    return (volume / np.sqrt((volume.astype(float) ** 2).sum())).astype(np.float32)


COMPONENT = unit(blobs(GRID, PLACE))
PEDESTAL = unit(np.exp(-0.5 * ((radial_distance(GRID.box) - 5.5) / 1.5) ** 2))


def half_sets(slices):
    return np.flatnonzero(slices.half == 1), np.flatnonzero(slices.half == 2)


def projections(background, slices):
    """Slices of the mean times the CTF, (n, p)."""
    grid = slices.grid
    read = extract_slices(grid.to_fourier(background.mean[None]), slices.rotations, grid)
    return read[..., 0] * slices.ctf


@pytest.fixture(scope="module")
def marked():
    """Particles whose residual is their own number, in a column of its own each."""
    background, mask = model_background(700, grid=GRID, noise=1.0)
    slices = background.slices
    rng = np.random.default_rng(4)
    half = (rng.uniform(size=700) < 0.45).astype(np.int8) + 1
    values = projections(background, slices) + np.arange(1, 701)[:, None]
    slices = dataclasses.replace(slices, half=half, values=values.astype(np.complex64))
    return dataclasses.replace(background, slices=slices), mask > 0.5


def givers(background, scrambled):
    """Whose residual each scrambled particle has, from 0: what its projection leaves."""
    slices = scrambled.background.slices
    left = (slices.values - projections(background, slices)).real
    assert left.std(axis=1).max() < 0.01  # the model's projection is all the rest
    return np.rint(left.mean(axis=1)).astype(int) - 1


def test_each_residual_is_given_once_inside_its_half_set(marked):
    background, body = marked
    halves = half_sets(background.slices)
    scrambled = scramble_residuals(background, halves, body, 0, count=2100)
    everyone = np.concatenate(halves)  # the order of the scrambled particles
    source = givers(background, scrambled).reshape(3, 700)
    half = background.slices.half
    for turn in source:
        assert np.array_equal(np.sort(turn), np.arange(700))
        assert (turn != everyone).all() and np.array_equal(half[turn], half[everyone])
    assert (source[0] != source[1]).mean() > 0.9
    assert scrambled.scale == pytest.approx(1 / np.sqrt(3))
    for number, index in zip((1, 2), scrambled.halves):
        assert (scrambled.background.slices.half[index] == number).all()
        assert len(index) == 3 * len(halves[number - 1])
    again = scramble_residuals(background, halves, body, 0, count=2100)
    assert np.array_equal(again.background.slices.values, scrambled.background.slices.values)


def test_of_many_particles_some_are_exchanged(marked):
    background, body = marked
    scrambled = scramble_residuals(background, half_sets(background.slices), body, 1, count=200)
    assert len(scrambled.background.slices) == 200
    assert scrambled.scale == pytest.approx(np.sqrt(700 / 200))
    assert len(np.unique(givers(background, scrambled))) == 200


def test_residuals_go_to_like_defocus():
    background, mask = model_background(4000, grid=Grid(16, 6.0, 40.0))
    slices = background.slices
    values = projections(background, slices) + np.arange(1, 4001)[:, None]
    background = dataclasses.replace(
        background, slices=dataclasses.replace(slices, values=values.astype(np.complex64))
    )
    scrambled = scramble_residuals(background, half_sets(slices), mask > 0.5, 0, count=4000)
    likeness = (slices.ctf**2).mean(axis=1)
    own = (scrambled.background.slices.ctf**2).mean(axis=1)
    assert np.corrcoef(likeness[givers(background, scrambled)], own)[0, 1] > 0.95


def test_white_noise_keeps_its_power_in_each_shell():
    background, mask = model_background(COUNT, grid=GRID, noise=2.0)
    scrambled = scramble_residuals(background, half_sets(background.slices), mask > 0.5, 0)
    slices = scrambled.background.slices
    power = (np.abs(slices.values - projections(background, slices)) ** 2).mean(axis=0)
    shells = np.bincount(GRID.shell, power) / np.bincount(GRID.shell)
    assert shells[1:] == pytest.approx(np.full(GRID.n_shells - 1, 2.0), rel=0.03)


@pytest.fixture(scope="module")
def both():
    """Particles with a component of their own and a pedestal that does not know the view."""
    rng = np.random.default_rng(6)
    background, _ = model_background(
        COUNT,
        seed=3,
        grid=GRID,
        differences=np.stack([COMPONENT, PEDESTAL]),
        coordinates=rng.normal(size=(COUNT, 2)) * [2.5, 2.5],
        noise=4.0,
    )
    halves = half_sets(background.slices)
    body = particle_body(background.mean, ball(GRID, 6))
    return background, halves, scramble_residuals(background, halves, body, 0)


def test_what_knows_the_view_is_lost_and_what_does_not_stays(both):
    background, halves, scrambled = both
    volumes = np.stack([COMPONENT, PEDESTAL])
    real = held_out_score(volumes, background, np.concatenate(halves), SPREAD)
    null = held_out_score(volumes, scrambled.background, np.concatenate(scrambled.halves), SPREAD)
    assert real.min() > 30
    ratio = null * scrambled.scale / real
    assert ratio[0] < 0.1
    assert ratio[1] == pytest.approx(1, abs=0.2)


def test_confirm_sets_backgrounds_aside(both):
    background, halves, scrambled = both
    mask = ball(GRID, 8)
    volumes = np.stack([PEDESTAL, COMPONENT])
    evidence = Evidence(np.array([0.97, 0.95]), 0.2, volumes, np.stack([volumes, volumes]))
    plain = confirm(evidence, background, halves, mask, SPREAD)
    assert plain.count == 2 and plain.around.shape[1] == 0
    found = confirm(evidence, background, halves, mask, SPREAD, scrambled=scrambled)
    assert found.count == 1 and found.artefacts == 0
    assert np.array_equal(found.basis[0], COMPONENT)
    assert found.cosines.tolist() == [0.95, 0.97]
    assert np.array_equal(found.around, np.stack([volumes[:1]] * 2))
