"""Wiener reconstructions: greyscale, spectra, symmetry, memory."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.images.particles import Slices
from pcainit.engine.projection.reconstruction import (
    fourier_shell_correlation,
    reconstruct_consensus,
    reconstruct_groups,
    wiener_volume,
)

GRID = Grid(32, 4.0, 12.0)
WIDTH = 9.0


def make_slices(n=1500, noise=1.0, seed=0, centres=None, scale=1.0):
    """Gaussian blobs projected in closed form, with a CTF-like factor and white noise.

    Returns the slices and the density in the working box.
    """
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-25, 25, (8, 3)) if centres is None else centres
    f = GRID.frequencies / (GRID.box_px * GRID.sampling)
    rotations = Rotation.random(n, random_state=seed).as_matrix().astype(np.float32)
    seen = np.einsum("nij,bj->nbi", rotations, centres)[..., :2]
    clean = np.exp(-2j * np.pi * np.einsum("pi,nbi->nbp", f, seen)).sum(axis=1)
    mass = scale * 2000.0
    clean = clean * mass / 4.0**3 / 32 * np.exp(-2 * (np.pi * WIDTH) ** 2 * (f**2).sum(axis=1))
    phase = rng.uniform(60, 120, n)[:, None] * (f**2).sum(axis=1) * 200
    ctf = np.sin(phase + 0.1).astype(np.float32)
    values = clean * ctf + noise * (
        rng.normal(size=clean.shape) + 1j * rng.normal(size=clean.shape)
    ) / np.sqrt(2)
    axis = (np.arange(GRID.box) - GRID.box // 2) * GRID.voxel
    line = np.exp(-0.5 * ((axis - centres[:, :, None]) / WIDTH) ** 2) / np.sqrt(2 * np.pi) / WIDTH
    density = mass * np.einsum("jz,jy,jx->zyx", line[:, 2], line[:, 1], line[:, 0])
    half = (np.arange(n) % 2 + 1).astype(np.int8)
    values = values.astype(np.complex64)
    return Slices(values, ctf, rotations, half, np.ones(n, bool), GRID), density


def test_consensus_has_the_densitys_greyscale_and_finds_the_noise():
    slices, density = make_slices(noise=0.7)
    consensus = reconstruct_consensus(slices)
    inner = radial_distance(GRID.box) < 0.4 * GRID.box
    truth = GRID.band_limit(density.astype(np.float32))[inner]
    found = consensus.mean[inner]
    slope = ((found - found.mean()) * (truth - truth.mean())).sum() / truth.var() / len(truth)
    assert slope == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(found, truth)[0, 1] > 0.99
    assert consensus.noise == pytest.approx(np.full(GRID.n_shells, 0.49), rel=0.15)
    assert consensus.fsc[1:6].min() > 0.9
    shells = slice(1, 4)
    assert consensus.signal[shells] == pytest.approx(GRID.shell_profile(density)[shells], rel=0.25)


def test_pure_noise_gives_a_mean_of_about_nothing():
    slices, density = make_slices(scale=0.0)
    consensus = reconstruct_consensus(slices)
    assert np.abs(consensus.fsc[2:]).max() < 0.35
    assert consensus.noise == pytest.approx(np.ones(GRID.n_shells), rel=0.1)
    assert np.isfinite(consensus.mean).all()
    strong, _ = make_slices(noise=0.7)
    assert consensus.mean.std() < 0.2 * reconstruct_consensus(strong).mean.std()


def test_unusable_particles_do_not_count():
    slices, _ = make_slices(n=400)
    spoilt = slices.values.copy()
    spoilt[::5] = 1e6
    usable = np.ones(400, bool)
    usable[::5] = False
    one = reconstruct_consensus(dataclasses.replace(slices, values=spoilt, usable=usable))
    zeros = slices.values.copy()
    zeros[::5] = 0
    two = reconstruct_consensus(dataclasses.replace(slices, values=zeros, usable=usable))
    for name in ("mean", "noise", "signal", "fsc"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_groups_are_what_each_group_gives_alone():
    slices, _ = make_slices(n=300)
    consensus = reconstruct_consensus(slices)
    rng = np.random.default_rng(1)
    groups = [np.sort(rng.permutation(300)[:k]) for k in (60, 100, 20)]
    together = reconstruct_groups(slices, groups, consensus, at_a_time=2)
    for group, volume in zip(groups, together):
        alone = reconstruct_groups(slices.take(group), [np.arange(len(group))], consensus)[0]
        assert np.array_equal(volume, alone)


def test_wiener_filter_trusts_data_where_there_are_many():
    """numerator = weight x constant: shrinks as noise / (signal x weight) says."""
    shape = GRID.half_shape
    signal, noise = np.full(GRID.n_shells, 2.0), np.full(GRID.n_shells, 3.0)
    for weight in (0.5, 5.0, 500.0):
        numerator = np.full(shape, weight, np.complex64)
        sharp = wiener_volume(
            numerator, np.full(shape, weight, np.float32), noise * 1e-9, signal, GRID
        )
        volume = wiener_volume(numerator, np.full(shape, weight, np.float32), noise, signal, GRID)
        shrink = weight / (weight + 3.0 / 2.0 / GRID.oversampling**3)
        assert volume == pytest.approx(sharp * shrink, abs=1e-4 * float(np.abs(sharp).max()))
    assert not wiener_volume(
        np.zeros(shape, np.complex64), np.zeros(shape, np.float32), noise, signal, GRID
    ).any()


def test_symmetry_is_applied_about_relions_axes():
    """A density made c4-symmetric about z: one quarter of the views does as well with c4."""
    quarter = np.random.default_rng(2).uniform(8, 25, (3, 3))
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    centres = np.concatenate([quarter @ np.linalg.matrix_power(turn, k).T for k in range(4)])
    slices, density = make_slices(n=120, noise=0.5, centres=centres)
    density = GRID.band_limit(density.astype(np.float32))
    plain = reconstruct_consensus(slices)
    symmetric = reconstruct_consensus(slices, symmetry_matrices("c4"))
    again = np.rot90(symmetric.mean[1:, 1:, 1:], axes=(1, 2))
    assert np.corrcoef(again.ravel(), symmetric.mean[1:, 1:, 1:].ravel())[0, 1] > 0.995
    fsc = [fourier_shell_correlation(c.mean, density, GRID)[1:6].mean() for c in (plain, symmetric)]
    assert fsc[1] > fsc[0]
