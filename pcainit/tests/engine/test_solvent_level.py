"""The level of the solvent: its constant, halos that are none, and masks that count from it."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from pcainit.engine.consensus import refine as module
from pcainit.engine.consensus.refine import measure_level, polish_consensus
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.masks import auto_mask, particle_body, soft_edge, solvent_level
from pcainit.engine.model.class_model import ClassModel
from pcainit.engine.model.image_model import NuisanceSpread, make_background
from pcainit.engine.projection.reconstruction import Consensus, measure_noise
from pcainit.tests.particle_examples import model_background

GRID = Grid(32, 6.0, 24.0)
SPREAD = NuisanceSpread(0.02, 0.02, 0.002, 0.02)
COUNT = 600
FINE = Grid(40, 4.0, 12.0)


def shell(halo=0.0):
    """A hollow sphere of density 1, with a layer of another density around it."""
    distance = radial_distance(GRID.box)
    around = halo * np.exp(-0.5 * ((distance - 7.2) / 1.4) ** 2)
    return (np.exp(-0.5 * ((distance - 3.5) / 1.0) ** 2) + around).astype(np.float32)


def particles(mean, seed=0, noise=4.0):
    """Slices of particles of a mean, and a consensus of just that mean."""
    background, _ = model_background(COUNT, seed=seed, grid=GRID, noise=noise, mean=mean)
    return background.slices, Consensus(
        mean, background.noise, background.signal, np.ones(GRID.n_shells)
    )


def level_of(slices, consensus, mean):
    consensus = dataclasses.replace(consensus, mean=mean)
    background = make_background(slices, consensus, auto_mask(mean, slices.grid))
    return measure_level(background, np.arange(len(slices)), SPREAD)


def test_the_constant_that_the_images_ask_for():
    """A constant is taken from the true mean, and asked back within a few standard errors."""
    found = {-0.02: [], 0.0: [], 0.02: []}
    for seed in range(6):
        slices, consensus = particles(shell(), seed)
        for constant, levels in found.items():
            levels.append(level_of(slices, consensus, consensus.mean - np.float32(constant)))
    error = np.std(found[0.0], ddof=1)
    assert error < 0.01
    for constant, levels in found.items():
        assert np.mean(levels) == pytest.approx(constant, abs=3 * error / np.sqrt(6) + 0.001)
        assert np.abs(np.array(levels) - constant).max() < 4 * error


def test_a_halo_is_no_level():
    mean = shell(halo=-0.2)
    slices, consensus = particles(mean)
    around = solvent_level(mean, auto_mask(mean, GRID))
    assert around < -0.03 * mean.max()  # what a level must not be taken from
    assert abs(level_of(slices, consensus, mean)) < 0.05 * mean.max()
    again = level_of(slices, consensus, mean - np.float32(0.05))
    assert again == pytest.approx(0.05, abs=0.02)


def test_polishing_leaves_a_halo():
    mean = shell(halo=-0.2)
    slices, consensus = particles(mean)
    polished = polish_consensus(slices, consensus, np.arange(COUNT), SPREAD)
    distance = radial_distance(len(mean))
    for near, far in ((6, 8), (8, 9.5)):  # the halo, and what lies beyond
        there = (distance >= near) & (distance < far)
        assert abs(float((polished.mean - mean)[there].mean())) < 0.02
    assert (polished.noise[1:] < 1.03 * 4).all()


def rise(slices, consensus, mean):
    """Noise that a mean leaves over that of the first one, above shell 0."""
    everyone = np.arange(len(slices))
    before = measure_noise(slices, consensus.mean, everyone)
    return (measure_noise(slices, mean, everyone) / before)[1:]


@pytest.mark.parametrize("wrong", ["level", "step", "both"])
def test_the_noise_of_a_polished_mean_never_rises(wrong, monkeypatch):
    """However wrong the level or the steps are."""
    slices, consensus = particles(shell(halo=-0.2))
    stain = 0.5 * np.roll(shell(), 2, axis=0)
    if wrong in ("level", "both"):
        monkeypatch.setattr(module, "measure_level", lambda *given: 0.3)
        assert rise(slices, consensus, consensus.mean + np.float32(0.3)).max() > 1.2
    if wrong in ("step", "both"):
        assert rise(slices, consensus, consensus.mean + 2 * stain).max() > 1.2
        monkeypatch.setattr(
            module,
            "class_round",
            lambda *given: (ClassModel(stain[None].astype(np.float32), np.ones(1)), None, 0.0),
        )
    polished = polish_consensus(slices, consensus, np.arange(COUNT), SPREAD, rounds=2)
    assert rise(slices, consensus, polished.mean).max() <= 1.021
    assert polished.noise == pytest.approx(measure_noise(slices, polished.mean, np.arange(COUNT)))
    moved = np.abs(polished.mean - consensus.mean).max()
    assert moved == 0 if wrong == "both" or wrong == "step" else moved < 0.2


def solid(inner, outer, size=FINE.box):
    distance = radial_distance(size)
    return ((distance >= inner) & (distance <= outer)).astype(np.float32)


def plain_mask(dense):
    """1 up to 10 A from dense voxels, 0 beyond 20."""
    distance = ndimage.distance_transform_edt(~dense) * FINE.voxel
    return soft_edge(distance, 10.0, 20.0) * (radial_distance(FINE.box) < FINE.box / 2 - 1)


def test_a_ball_on_zero_has_the_mask_it_had():
    ball = solid(0, 7)
    for volume in (ball, ball * np.float32(0.03)):
        assert np.abs(auto_mask(volume, FINE) - plain_mask(ball > 0)).max() < 1e-6
    positive = ball + np.float32(0.05) * (1 - ball)  # a level above 0 does not count
    assert np.abs(auto_mask(positive, FINE) - plain_mask(ball > 0)).max() < 1e-6


def test_cavities_are_filled():
    volume = solid(6, 8)
    mask, distance = auto_mask(volume, FINE), radial_distance(FINE.box)
    assert plain_mask(volume > 0)[distance < 1].max() == 0  # 24 A from the nearest density
    assert (mask[distance < 8] == 1).all()
    outer = distance > 8
    assert np.abs(mask - plain_mask(volume > 0))[outer].max() < 1e-6
    body = particle_body(volume, mask)
    assert np.array_equal(body, distance <= 8)
    open_shell = volume.copy()
    open_shell[: FINE.box // 2, 17:24, 17:24] = 0  # a channel: nothing is enclosed
    assert not particle_body(open_shell, mask)[FINE.box // 2, FINE.box // 2, FINE.box // 2]


def test_densities_count_from_a_negative_level():
    """A weak domain of a tenth of the density is the particle's where the level is negative."""
    volume, weak = solid(0, 6), np.zeros((FINE.box,) * 3, bool)
    weak[
        FINE.box // 2 - 1 : FINE.box // 2 + 2,
        FINE.box // 2 - 1 : FINE.box // 2 + 2,
        FINE.box // 2 + 7 : FINE.box // 2 + 12,
    ] = True
    volume[weak] = 0.1
    low = volume.copy()
    low[(volume == 0)] = -0.2
    tip = FINE.box // 2, FINE.box // 2, FINE.box // 2 + 13
    assert auto_mask(volume, FINE)[tip] == 0
    mask = auto_mask(low, FINE)
    assert mask[tip] > 0.5
    assert np.abs(mask - plain_mask(volume > 0))[FINE.box // 2].max() < 1e-6
    assert particle_body(low, mask)[weak].all() and not particle_body(volume, mask)[weak].any()
    assert np.abs(auto_mask(3 * low, FINE) - mask).max() < 1e-6
