"""Components of particles: the voxels' equations, principal axes, and EM on a known direction."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.components.score_test import held_out_score
from pcainit.engine.consensus.poses import improve_offsets
from pcainit.engine.model import image_model as latent_model
from pcainit.engine.model.axes import rotate_onto
from pcainit.engine.model.e_step import component_e_step
from pcainit.engine.model.em import Schedule, colour, fit_components, orthonormalise, random_start
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.m_step import Weights, maximise, solve_voxels, total_weight
from pcainit.engine.model.nuisance_prior import measure_quality
from pcainit.engine.model.statistics import compute_latents, measure
from pcainit.engine.projection.slices import insert_slices
from pcainit.tests.particle_examples import GRID, blobs, model_background

QUICK = settings(max_examples=20, deadline=None)
COUNT, SD = 1600, 0.8


@QUICK
@given(st.integers(1, 6), st.integers(0, 2**31 - 1))
def test_voxels_equal_numpy(q, seed):
    rng = np.random.default_rng(seed)
    shape, lower = (3, 4, 5), np.tril_indices(q)
    root = rng.normal(size=(7, q, q))
    local = (root @ np.swapaxes(root, -1, -2))[(slice(None),) + lower].astype(np.float32)
    weight = rng.uniform(0, 2, shape).astype(np.float32)
    cells = rng.integers(0, 7, shape).astype(np.int32)
    target = rng.normal(size=shape + (q,)) + 1j * rng.normal(size=shape + (q,))
    target = target.astype(np.complex64)
    prior, shell = rng.uniform(0.2, 2, (q, 3)), rng.integers(0, 4, shape).astype(np.int32)
    out = np.empty(shape + (q,), np.complex64)
    solve_voxels(0, len(target), target.view(np.float32), weight, cells, local, prior, shell, out)
    full = np.zeros(shape + (q, q))
    full[(...,) + lower] = weight[..., None] * local[cells]
    full = full + np.swapaxes(np.tril(full, -1), -1, -2)
    full += np.eye(q) * np.append(prior, np.ones((q, 1)), axis=1).T[shell][..., None]
    expected = np.linalg.solve(full, target[..., None])[..., 0]
    expected[shell == 3] = 0  # beyond the last shell
    assert out == pytest.approx(expected, abs=2e-4 * max(1, np.abs(expected).max()))


@QUICK
@given(st.integers(1, 6), st.integers(0, 2**31 - 1))
def test_principal_axes(q, seed):
    rng = np.random.default_rng(seed)
    volumes = rng.normal(size=(q, 4, 4, 4)).astype(np.float32)
    root = rng.normal(size=(q, q))
    second = root @ root.T
    components, variances = orthonormalise(volumes, second)
    flat, own = components.reshape(q, -1).astype(float), volumes.reshape(q, -1).astype(float)
    assert flat @ flat.T == pytest.approx(np.eye(q), abs=1e-5)
    assert (np.diff(variances) <= 1e-9).all() and (variances > 0).all()
    covariance = own.T @ second @ own  # of the densities, voxel by voxel
    assert (flat.T * variances) @ flat == pytest.approx(
        covariance, abs=1e-4 * np.abs(covariance).max()
    )
    again = orthonormalise(-volumes, second)[0]
    assert np.array_equal(again, components)  # signs do not hang on the start


def test_volumes_are_turned_towards_others():
    """What is the same but for a rotation comes out the same, and the covariance always stays."""
    rng = np.random.default_rng(4)
    goal = rng.normal(size=(4, 6, 6, 6)).astype(np.float32)
    mix = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    mixed = np.einsum("ab,bzyx->azyx", mix, goal).astype(np.float32)
    assert rotate_onto(mixed, goal) == pytest.approx(goal, abs=1e-5)
    other = rotate_onto(mixed, rng.normal(size=goal.shape)).reshape(4, -1)
    flat = mixed.reshape(4, -1)
    assert other.T @ other == pytest.approx(flat.T @ flat, abs=1e-4)


@pytest.fixture(scope="module")
def linear():
    """Particles with one linear coordinate of known direction: background, mask, truth."""
    rng = np.random.default_rng(8)
    direction = blobs(GRID, [[3, 2, -1]], 1.4) - blobs(GRID, [[-3, 1, 1]], 1.4)
    z = rng.normal(size=(COUNT, 1)) * SD
    background, mask = model_background(
        COUNT, seed=2, differences=direction[None], coordinates=z, noise=6.0
    )
    return background, mask, direction * mask, z[:, 0]


def cosine(one, two):
    return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def start(background, mask, q=1, seed=0):
    model = random_start(background, mask, q, seed)
    return dataclasses.replace(model, nuisance=NuisanceSpread(0.02, 0.02, 0.002, 0.02))


def test_a_known_direction_is_found(linear):
    background, mask, direction, z = linear
    model = fit_components(background, mask, start(background, mask, 2), np.arange(COUNT))
    assert abs(cosine(model.components[0], direction)) > 0.95
    # Its variance, and each particle's coordinate, on the scale of the truth.
    size = np.sqrt((direction**2).sum())
    assert np.sqrt(model.variances[0]) == pytest.approx(SD * size, rel=0.2)
    assert model.variances[1] < 0.2 * model.variances[0]
    assert np.abs(model.components[:, mask == 0]).max() < 1e-6
    latents = compute_latents(background, model, np.arange(COUNT))
    mean, covariance = latents.posterior(model.variances)
    sign = np.sign(cosine(model.components[0], direction))
    assert np.corrcoef(mean[:, 0], sign * z)[0, 1] > 0.9
    error = (mean[:, 0] - sign * z * size) ** 2
    assert error.mean() == pytest.approx(covariance[:, 0, 0].mean(), rel=0.35)


def test_measured_in_parts(linear, monkeypatch):
    """However many particles are looked at together: measurements, scores and pose steps."""
    background, mask, direction, _ = linear
    model = LatentModel(
        (direction / np.sqrt((direction**2).sum()))[None],
        np.ones(1),
        NuisanceSpread(0.02, 0.02, 0.002, 0.02),
    )
    index, out = np.arange(3, COUNT), []
    for size in (2**15, 500):
        monkeypatch.setattr(latent_model, "PART", size)
        measured = measure(background, model, index)
        out.append(
            [
                measured.precision,
                measured.score,
                measured.contrast,
                held_out_score(model.components, background, index, model.nuisance),
                improve_offsets(background, index, model.nuisance),
                measure_quality(background, index).contrast,
            ]
        )
    for one, two in zip(*out):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-5 * float(np.abs(two).max()))


def test_total_weight(linear):
    background, index = linear[0], np.arange(3, COUNT, 7)
    slices = background.slices.take(index)
    _, weight = insert_slices(
        slices.values, slices.ctf, slices.rotations, GRID, whitening=background.whitening
    )
    found = total_weight(background, index[::-1])
    assert found == pytest.approx(weight[0, 0], abs=1e-5 * float(weight.max()))


def test_weights_of_a_group_are_summed_once(linear):
    background, one, two = linear[0], np.arange(0, COUNT, 3), np.arange(1, COUNT, 3)
    weights = Weights(background)
    first, second = weights.of(one), weights.of(two)
    assert weights.of(one.copy()) is first and weights.of(two) is second
    assert np.array_equal(second, total_weight(background, two))


def test_the_gain_rises(linear):
    background, mask, _, _ = linear
    index, told = np.arange(0, COUNT, 2), []
    gains = [
        fit_components(
            background,
            mask,
            start(background, mask),
            index,
            schedule=Schedule(k, early=0, learn_nuisance=False),
            progress=told.append,
        ).gain
        for k in range(1, 8)
    ]
    # Masks and priors are no part of the likelihood: they may cost a little of it.
    assert (np.diff(gains) > -0.02 * gains[-1]).all() and gains[-1] > 5 * gains[0]
    assert told[-7:] == pytest.approx(np.arange(1, 8) / 7)


def test_seed_and_threads(linear):
    background, mask, _, _ = linear
    index = np.arange(0, COUNT, 4)
    models = []
    try:
        for threads, seed in ((1, 5), (2, 5), (2, 6)):
            set_threads(threads)
            models.append(
                fit_components(
                    background, mask, start(background, mask, 3, seed), index, schedule=Schedule(3)
                )
            )
    finally:
        set_threads(2)
    one, two, other = models
    assert np.array_equal(one.components, two.components)
    assert np.array_equal(one.variances, two.variances)
    assert (one.nuisance, one.gain) == (two.nuisance, two.gain)
    assert not np.array_equal(one.components, other.components)


def test_the_truth_is_close_to_a_fixed_point(linear):
    background, mask, direction, _ = linear
    index = np.arange(COUNT)
    scaled = (direction * SD)[None]
    precision = np.concatenate([[1.0], NuisanceSpread(0.02, 0.02, 0.002, 0.02).precision])
    result = component_e_step(background, scaled, precision, index)
    found = maximise(background, result, scaled, mask, total_weight(background, index))
    assert cosine(found, scaled) > 0.97
    assert 0.75 < (found * scaled).sum() / (scaled**2).sum() < 1.1  # the prior damps it


def test_random_start_and_colour():
    background, mask = model_background(20)
    model = random_start(background, mask, 3, 4)
    flat = model.components.reshape(3, -1)
    assert flat @ flat.T == pytest.approx(np.eye(3), abs=1e-4)
    assert not np.array_equal(random_start(background, mask, 3, 5).components, model.components)
    rng = np.random.default_rng(0)
    spectrum = np.linspace(2, 1, GRID.n_shells)
    white = [rng.normal(size=(GRID.box,) * 3).astype(np.float32) for _ in range(40)]
    power = np.mean([GRID.shell_profile(colour(v, spectrum, GRID)) for v in white], axis=0)
    assert power[2:] / power[2] == pytest.approx(spectrum[2:] / spectrum[2], rel=0.1)


def test_scaled_and_take():
    rng = np.random.default_rng(1)
    model = LatentModel(
        rng.normal(size=(3, 2, 2, 2)).astype(np.float32), np.array([4.0, 1, 0.25]), NuisanceSpread()
    )
    scale = np.array([2, 1, 0.5]).reshape(3, 1, 1, 1)
    assert model.scaled == pytest.approx(model.components * scale)
    assert model.take(slice(1, 3)).q == 2 and model.q == 3
