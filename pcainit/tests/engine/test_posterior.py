"""One pass over the particles against a dense solution: columns, posterior, likelihood, sums."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numba
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.buffers import Reused
from pcainit.engine.geometry.grid import CELL, Grid
from pcainit.engine.images.crop import crop_images
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.e_step import (
    class_e_step,
    class_responsibilities,
    component_e_step,
    posterior_moments,
    posterior_statistics,
)
from pcainit.engine.model.image_model import make_background
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.model.posterior import invert_posterior as _invert_posterior
from pcainit.engine.model.statistics import marginalise
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.engine.projection.slices import extract_slices
from pcainit.engine.simulation.simulate import Phantom
from pcainit.tests.engine.test_kernels import insert_by_numpy
from pcainit.tests.particle_examples import GRID, PLACES, blobs, model_background

TINY = Grid(16, 4.0, 20.0)
N, Q = 6, 2
PRECISION = np.array([1.0, 1.0, 40.0, 4.0, 4.0, 900.0, 900.0, 900.0, 25.0])
NAMES = ["contrast", "shift x", "shift y", "turn x", "turn y", "turn z", "fall-off"]
STEPS = [0.05, 0.2, -0.2, 0.02, -0.02, 0.02, -0.05]


@pytest.fixture(scope="module")
def tiny():
    """Background of a few particles and two volumes that are neither small nor orthogonal."""
    rng = np.random.default_rng(3)
    volumes = np.stack([blobs(TINY, PLACES[:2] * 0.5), blobs(TINY, PLACES[1:4] * 0.6)])
    volumes *= np.array([0.4, -0.3], np.float32)[:, None, None, None]
    background, _ = model_background(
        N, grid=TINY, differences=volumes, noise=0.6, coordinates=rng.normal(size=(N, Q))
    )
    background = dataclasses.replace(
        background, whitening=rng.uniform(0.5, 2, len(TINY.frequencies)).astype(np.float32)
    )
    return background, volumes


def dense_columns(background, volumes):
    """Residuals (n, p) and columns (n, p, q + nuisances), whitened, complex128."""
    slices, grid = background.slices, background.grid
    fixed = np.concatenate([background.mean[None], background.moments, volumes])
    read = extract_slices(grid.to_fourier(fixed), slices.rotations, grid).astype(complex)
    gain = slices.ctf * background.whitening.astype(float)
    mean, moments, columns = read[..., 0], read[..., 1:4], read[..., 4:]
    kx, ky = grid.frequencies.T.astype(float)
    pixel = 2 * np.pi / grid.box_px
    gradient = -1j * pixel * np.einsum("nij,npj->npi", slices.rotations.astype(float), moments)
    nuisances = [
        mean,
        -1j * pixel * kx * mean,
        -1j * pixel * ky * mean,
        -ky * gradient[..., 2],
        kx * gradient[..., 2],
        ky * gradient[..., 0] - kx * gradient[..., 1],
        fall_off(grid) * mean,
    ]
    columns = np.concatenate([columns, np.stack(nuisances, axis=-1)], axis=-1)
    residual = slices.values * background.whitening - gain * mean
    return residual, gain[..., None] * columns


def fall_off(grid):
    """Frequency squared, 1 at the last sample."""
    square = (grid.frequencies.astype(float) ** 2).sum(axis=1)
    return square / square.max()


def as_real(samples, grid):
    """Real vectors whose plain product is the kernels': parts times sqrt(multiplicity)."""
    weight = np.sqrt(grid.multiplicity.astype(float)).reshape((-1,) + (1,) * (samples.ndim - 2))
    return np.concatenate([weight * samples.real, weight * samples.imag], axis=1)


def log_gauss(vector, covariance):
    _, log_det = np.linalg.slogdet(covariance)
    return -0.5 * (vector @ np.linalg.solve(covariance, vector) + log_det)


def test_statistics_and_marginal_likelihood(tiny):
    background, volumes = tiny
    result = posterior_statistics(background, volumes, PRECISION, np.arange(N))
    gains = posterior_moments(background, volumes, PRECISION, np.arange(N)).gains
    residual, columns = dense_columns(background, volumes)
    r, a = as_real(residual, TINY), as_real(columns, TINY)
    gram, score = np.einsum("npa,npb->nab", a, a), np.einsum("npa,np->na", a, r)
    assert result.grams == pytest.approx(gram, abs=1e-4 * float(np.abs(gram).max()))
    assert result.scores == pytest.approx(score, abs=1e-4 * float(np.abs(score).max()))
    eye = np.eye(r.shape[1])
    for i in range(N):
        covariance = eye + (a[i] / PRECISION) @ a[i].T
        assert gains[i] == pytest.approx(
            log_gauss(r[i], covariance) - log_gauss(r[i], eye), abs=2e-3
        )


def test_posterior_moments_and_sums(tiny):
    background, volumes = tiny
    result = component_e_step(background, volumes, PRECISION, np.arange(N))
    residual, columns = dense_columns(background, volumes)
    r, a = as_real(residual, TINY), as_real(columns, TINY)
    # Joint Gaussian of coefficients and image, conditioned on the image.
    prior = np.diag(1 / PRECISION)
    mean, second = np.empty((N, Q + NUISANCES)), np.empty((N,) + (Q + NUISANCES,) * 2)
    for i in range(N):
        gain = prior @ a[i].T @ np.linalg.inv(a[i] @ prior @ a[i].T + np.eye(len(a[i])))
        mean[i] = gain @ r[i]
        second[i] = prior - gain @ a[i] @ prior + np.outer(mean[i], mean[i])
    assert result.moments == pytest.approx(second.mean(axis=0), abs=1e-4)
    assert result.squares == pytest.approx((mean**2).mean(axis=0), abs=1e-4)
    gain = background.slices.ctf * background.whitening.astype(float)
    for j in range(Q):
        left = residual * mean[:, None, j] - np.einsum(
            "npl,nl->np", columns[..., Q:], second[:, Q:, j]
        )
        numerator, _ = insert_by_numpy(gain * left, gain, TINY, background.slices.rotations)
        found = result.sums[..., 2 * j] + 1j * result.sums[..., 2 * j + 1]
        assert np.abs(found - numerator).max() < 1e-3 * np.abs(numerator).max()
    first = component_e_step(background, volumes, PRECISION, np.arange(N), n_free=1)
    left = residual * mean[:, None, 0] - np.einsum("npl,nl->np", columns[..., 1:], second[:, 1:, 0])
    numerator, _ = insert_by_numpy(gain * left, gain, TINY, background.slices.rotations)
    found = first.sums[..., 0] + 1j * first.sums[..., 1]
    assert np.abs(found - numerator).max() < 1e-3 * np.abs(numerator).max()
    expected = cell_means(background, gain**2, second[:, :Q, :Q])
    assert result.local == pytest.approx(expected, rel=1e-3, abs=1e-4 * np.abs(expected).max())
    assert first.local[:, 0] == pytest.approx(expected[:, 0], rel=1e-3)


def cell_means(background, weight, second):
    """Weighted mean second moment (lower triangle) of what lies next to each cell's voxels."""
    grid, lower = background.grid, np.tril_indices(second.shape[1])
    total = np.zeros(grid.cell_shape + (1 + len(lower[0]),))
    middle = np.array(grid.cell_shape) // 2 * np.array([1, 1, 0])
    for i, rotation in enumerate(background.slices.rotations.astype(float)):
        for k, frequency in enumerate(grid.frequencies):
            x, y, z = grid.oversampling * (rotation[:2].T @ frequency)
            sign = -1 if x < 0 else 1
            # The nearest voxel, then the cell whose middle is nearest to that.
            place = np.rint(np.rint(sign * np.array([z, y, x])) / CELL).astype(int)
            add = weight[i, k] * np.append(1, second[i][lower])
            total[tuple(place + middle)] += add
            if place[2] == 0:  # the Friedel mate lies there too
                total[tuple(middle - place)] += add
    total = total.reshape(-1, total.shape[-1])
    return np.where(
        total[:, :1] > 0, total[:, 1:] / np.maximum(total[:, :1], 1e-30), second.mean(axis=0)[lower]
    )


def test_classes_by_brute_force(tiny):
    """Nuisances integrated out under each class; sums of each class's own particles."""
    background, volumes = tiny
    volumes = 0.08 * volumes  # particles that could be of either class
    weights = np.array([0.3, 0.7])
    result = class_e_step(background, volumes, weights, PRECISION, np.arange(N))
    without_sums = class_responsibilities(background, volumes, weights, PRECISION, np.arange(N))
    assert np.array_equal(without_sums.responsibilities, result.responsibilities)
    assert np.array_equal(without_sums.gains, result.gains)
    residual, columns = dense_columns(background, volumes)
    r, a = as_real(residual, TINY), as_real(columns, TINY)
    contrast = np.empty((N, Q))  # of the class's own volume
    products = np.empty((N, Q, NUISANCES))  # its second moments with all nuisances
    resp = np.empty((N, Q))
    for i in range(N):
        logs = np.empty(Q)
        for k in range(Q):
            nuisance = a[i][:, Q:].copy()
            nuisance[:, 0] += a[i][:, k]
            covariance = np.eye(len(nuisance)) + (nuisance / PRECISION[Q:]) @ nuisance.T
            logs[k] = np.log(weights[k]) + log_gauss(r[i] - a[i][:, k], covariance)
            gain = (nuisance / PRECISION[Q:]).T @ np.linalg.inv(covariance)
            fitted = gain @ (r[i] - a[i][:, k])
            spread = np.diag(1 / PRECISION[Q:]) - gain @ nuisance / PRECISION[Q:]
            contrast[i, k] = 1 + fitted[0]
            products[i, k] = fitted * contrast[i, k] + spread[:, 0]
        resp[i] = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
        nuisance = a[i][:, Q:]
        covariance = np.eye(len(nuisance)) + (nuisance / PRECISION[Q:]) @ nuisance.T
        assert result.gains[i] == pytest.approx(
            np.logaddexp(*logs) - log_gauss(r[i], covariance), abs=2e-3
        )
    assert result.responsibilities == pytest.approx(resp, abs=1e-3)
    assert resp.min() > 0.001 and np.ptp(resp[:, 0]) > 0.2
    gain = background.slices.ctf * background.whitening.astype(float)
    for k in range(Q):
        left = residual * contrast[:, None, k] - np.einsum(
            "npl,nl->np", columns[..., Q:], products[:, k]
        )
        square = contrast[:, k] + products[:, k, 0]
        numerator, weight = insert_by_numpy(
            gain * left * resp[:, None, k],
            gain**2 * (resp[:, k] * square)[:, None],
            TINY,
            background.slices.rotations,
        )
        found = result.sums[..., 2 * k] + 1j * result.sums[..., 2 * k + 1]
        assert np.abs(found - numerator).max() < 1e-3 * np.abs(numerator).max()
        diagonal = result.sums[..., 2 * Q + k]
        assert np.abs(diagonal - weight).max() < 1e-3 * weight.max()
    assert result.sums.shape[-1] == 3 * Q  # classes do not overlap


def test_what_was_corrected_before_counts(tiny):
    """The prior is about the recorded poses: the coefficients' prior mean is minus the offsets."""
    background, volumes = tiny
    rng = np.random.default_rng(9)
    offsets = np.zeros((N, NUISANCES), np.float32)
    offsets[:, 1:6] = rng.normal(size=(N, 5)) / np.sqrt(PRECISION[Q + 1 : Q + 6])
    moved = dataclasses.replace(background, offsets=offsets)
    result = posterior_moments(moved, volumes, PRECISION, np.arange(N))
    residual, columns = dense_columns(background, volumes)
    r, a = as_real(residual, TINY), as_real(columns, TINY)
    prior = np.concatenate([np.zeros((N, Q)), -offsets.astype(float)], axis=1)
    mean, spread = np.empty(prior.shape), np.empty(prior.shape)
    for i in range(N):
        covariance = np.linalg.inv(a[i].T @ a[i] + np.diag(PRECISION))
        mean[i] = prior[i] + covariance @ a[i].T @ (r[i] - a[i] @ prior[i])
        spread[i] = np.diag(covariance)
    whole = mean - prior  # from the recorded pose, all in all
    whole[:, :Q] = mean[:, :Q]
    assert result.squares == pytest.approx((whole**2).mean(axis=0), rel=1e-3, abs=1e-5)
    assert np.diag(result.moments) == pytest.approx((whole**2 + spread).mean(axis=0), rel=1e-3)


def test_only_the_particles_asked_for(tiny):
    background, volumes = tiny
    index = np.array([4, 1])
    each = posterior_statistics(background, volumes, PRECISION, index)
    every = posterior_statistics(background, volumes, PRECISION, np.arange(N))
    assert np.array_equal(each.grams, every.grams[index])
    some = component_e_step(background, volumes, PRECISION, index)
    everyone = posterior_moments(background, volumes, PRECISION, np.arange(N))
    assert np.array_equal(some.gains, everyone.gains[index])
    parts = [component_e_step(background, volumes, PRECISION, np.array([i])).sums for i in index]
    assert some.sums == pytest.approx(sum(parts), abs=1e-5 * float(np.abs(some.sums).max()))


@pytest.fixture(scope="module")
def phantom():
    """Blobs without symmetry (Angstrom), and views."""
    body = Phantom(PLACES * 9.0, np.array([1, 2, 1.5, 3, 1, 2.0]) * 2e3, 11.0)
    return body, Rotation.random(4, random_state=5).as_matrix()


def values_at(body, rotations, grid, column, step):
    """Samples of projections of which one nuisance differs from the rotations given."""
    turn, shift, scale = np.eye(3), np.zeros(2), 1.0
    if column == 0:
        scale += step
    elif column < 3:
        shift[column - 1] = -step  # the shift that would centre the image
    elif column < 6:
        turn = Rotation.from_rotvec(step * np.eye(3)[column - 3]).as_matrix()
    images = scale * np.stack(
        [body.projection(turn @ r, shift, grid.box_px, grid.sampling) for r in rotations]
    )
    values = np.ascontiguousarray(crop_images(images.astype(np.float32), grid))
    if column == 6:
        values *= (1 + step * fall_off(grid)).astype(np.float32)
    return values


@pytest.mark.parametrize("column, step", enumerate(STEPS), ids=NAMES)
def test_a_nuisance_is_read_as_what_it_is(phantom, column, step):
    """Particles that are brighter, shifted or turned by a step: finite differences of columns."""
    body, rotations = phantom
    grid = Grid(GRID.box_px, GRID.sampling, GRID.resolution, 3.0)
    n = len(rotations)
    values = (
        values_at(body, rotations, grid, column, step)
        - values_at(body, rotations, grid, column, -step)
    ) / 2
    mean = grid.from_particle_box(body.volume(grid.box_px, grid.sampling))
    p = len(grid.frequencies)
    slices = Slices(
        values,
        np.ones((n, p), np.float32),
        rotations.astype(np.float32),
        np.ones(n, np.int8),
        np.ones(n, bool),
        grid,
    )
    consensus = Consensus(
        mean, np.ones(grid.n_shells), np.ones(grid.n_shells), np.ones(grid.n_shells)
    )
    background = make_background(slices, consensus, np.ones(mean.shape, np.float32))
    none = np.zeros((0,) + mean.shape, np.float32)
    result = posterior_statistics(background, none, np.full(NUISANCES, 1e-6), np.arange(n))
    nothing = dataclasses.replace(background, slices=dataclasses.replace(slices, values=0 * values))
    zero = posterior_statistics(nothing, none, np.full(NUISANCES, 1e-6), np.arange(n))
    score = result.scores - zero.scores  # of the difference alone
    read = np.linalg.solve(result.grams.astype(float), score[..., None])[..., 0]
    heard = values * (background.whitening > 0)  # an image's own mean is not looked at
    power = np.einsum("npa,npa->na", *[as_real(heard[..., None], grid)] * 2)[:, 0]
    gram = result.grams[:, column, column]
    cosine = score[:, column] * np.sign(step) / np.sqrt(power * gram)
    assert cosine == pytest.approx(np.ones(n), abs=0.01)
    assert np.sqrt(power / gram) == pytest.approx(np.full(n, abs(step)), rel=0.03)
    assert read[:, column] == pytest.approx(np.full(n, step), rel=0.1)


@numba.njit
def invert_posterior(gram, precision, score, covariance, mean, room):
    """As a kernel would call it."""
    return _invert_posterior(gram, precision, score, covariance, mean, room)


def test_invert_posterior_and_marginalise():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 7, 7))
    gram = root @ root.transpose(0, 2, 1)
    score, precision = rng.normal(size=(3, 7)), rng.uniform(0.5, 3, 7)
    covariance, mean, room = np.full((7, 7), np.nan), np.empty(7), np.empty(7)
    for i in range(3):
        gain = invert_posterior(np.tril(gram[i]), precision, score[i], covariance, mean, room)
        full = np.linalg.inv(gram[i] + np.diag(precision))
        assert covariance == pytest.approx(full) and mean == pytest.approx(full @ score[i])
        _, log_det = np.linalg.slogdet(np.eye(7) + gram[i] / precision)
        assert gain == pytest.approx(0.5 * (score[i] @ mean - log_det))
    # Whatever the prior of the first three, their posterior is the one with all seven in it.
    reduced = marginalise(gram.astype(np.float32), score.astype(np.float32), 3, precision[3:])
    mean, covariance = reduced.posterior(1 / precision[:3])
    for i in range(3):
        full = np.linalg.inv(gram[i] + np.diag(precision))
        assert covariance[i] == pytest.approx(full[:3, :3], abs=1e-4)
        assert mean[i] == pytest.approx((full @ score[i])[:3], abs=1e-4)


def test_a_pass_does_not_remember_the_one_before(tiny):
    """Sums use the same memory again: more channels, then fewer, then as many as at first."""
    background, volumes = tiny
    index = np.arange(N)

    def sums(q):
        precision = np.append(np.ones(q), PRECISION[Q:])
        made = component_e_step(background, volumes[:q], precision, index)
        fresh = dataclasses.replace(background, room=Reused())
        again = component_e_step(fresh, volumes[:q], precision, index)
        assert np.array_equal(made.sums, again.sums) and made.sums.any()
        return made.sums

    first, other = sums(Q), sums(1)
    assert first.shape[-1] == 2 * other.shape[-1]
    assert np.array_equal(sums(Q), first)
