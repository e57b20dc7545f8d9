"""The working grid: bounds, round trips, resampling, masks, background."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.masks import auto_mask, fit_mask, soft_edge
from pcainit.engine.images.crop import normalise_background, prepare_slices
from pcainit.engine.images.particles import Particles
from pcainit.errors import InputError

even_boxes = st.integers(8, 256).map(lambda half: 2 * half)


def blobs(box, voxel, seed=0):
    """A smooth density well inside the box, analytic at any sampling."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(box) - box // 2) * voxel
    centres = rng.uniform(-45, 45, (8, 3))
    line = np.exp(-0.5 * ((axis - centres[:, :, None]) / 12.0) ** 2)
    return np.einsum("jz,jy,jx->zyx", line[:, 2], line[:, 1], line[:, 0]).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(even_boxes, st.floats(0.0, 1.0), st.sampled_from([1.2, 1.5, 2.0]))
def test_every_sample_falls_inside_the_stored_half_space(box, share, padding):
    """Kernels index without checks: no rotated sample may lie in a cell beyond the stored ones."""
    radius = 6 + share * (box / 2 - 6)
    grid = Grid(box, 1.0, box / radius, padding)
    length = np.sqrt((grid.frequencies.astype(float) ** 2).sum(axis=1).max())
    assert np.floor(length * grid.oversampling * (1 + 1e-6)) + 1 <= grid.reach
    assert grid.box % 2 == 0 and grid.padded_box % 2 == 0
    assert grid.box <= box <= 2 * box
    assert grid.box / 2 > grid.cutoff
    assert np.abs(grid.frequencies).max() <= box // 2 - 1


def test_samples_hold_each_friedel_pair_once():
    grid = Grid(32, 2.0, 8.0)
    pairs = {tuple(k) for k in grid.frequencies}
    mates = {tuple(-k) for k in grid.frequencies}
    assert len(pairs) == len(grid.frequencies)
    assert pairs & mates == {(0, 0)}
    r = np.arange(-16, 17)
    inside = {(x, y) for x in r for y in r if x * x + y * y < grid.sample_cutoff**2}
    assert pairs | mates == inside
    assert grid.multiplicity.sum() == len(inside)


@pytest.mark.parametrize("threads", [2, 3, 100])
def test_transforms_do_not_hang_on_threads(threads):
    grid = Grid(48, 4.0, 20.0)
    volumes = np.stack([blobs(grid.box, grid.voxel, seed) for seed in range(3)])
    one = grid.to_fourier(volumes, 4)
    assert np.array_equal(grid.to_fourier(volumes, 4, threads), one)
    assert not one[..., 3].any() and one[..., :3].any(axis=(0, 1, 2)).all()


@pytest.mark.parametrize("padding", [1.5, 2.0])
@pytest.mark.parametrize(
    "box, sampling, resolution", [(48, 4.0, 20.0), (64, 4.0, 40.0), (40, 5.0, 10.5)]
)
def test_transform_round_trip(box, sampling, resolution, padding):
    """Each way is corrected once for the trilinear kernel, whose transform is sinc^2 per axis."""
    grid = Grid(box, sampling, resolution, padding)
    volume = grid.band_limit(blobs(grid.box, grid.voxel))
    line = np.sinc((np.arange(grid.box) - grid.box // 2) / grid.padded_box) ** 2
    kernel = line[:, None, None] * line[:, None] * line
    again = grid.to_real(grid.to_fourier(volume[None])[..., 0])
    inner = radial_distance(grid.box) < 0.45 * grid.box
    assert np.abs(grid.band_limit(again * kernel**2) - volume)[inner].max() < 0.01 * volume.max()


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([(48, 4.0, 20.0), (64, 3.0, 24.0), (20, 2.0, 4.0), (100, 2.0, 30.0)]),
    st.integers(0, 1000),
)
def test_box_round_trip(case, seed):
    grid = Grid(*case)
    volume = np.random.default_rng(seed).normal(size=(grid.box,) * 3).astype(np.float32)
    limited = grid.band_limit(volume)
    assert np.abs(grid.from_particle_box(grid.to_particle_box(volume)) - limited).max() < 1e-4
    assert np.abs(grid.band_limit(limited) - limited).max() < 1e-5


def test_box_change_keeps_densities_and_place():
    """An analytic density sampled in one box becomes the same density sampled in the other."""
    grid = Grid(60, 4.0, 20.0)
    assert grid.box < 60
    fine, coarse = blobs(60, 4.0), blobs(grid.box, grid.voxel)
    assert np.abs(grid.to_particle_box(coarse) - fine).max() < 0.005 * fine.max()
    assert np.abs(grid.from_particle_box(fine) - coarse).max() < 0.005 * fine.max()


def test_band_limit_removes_what_is_finer():
    grid = Grid(48, 4.0, 24.0)
    noise = np.random.default_rng(0).normal(size=(grid.box,) * 3).astype(np.float32)
    f = np.fft.fftfreq(grid.box, 1 / grid.box)
    far = np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)
    spectrum = np.abs(np.fft.fftn(grid.band_limit(noise)))
    assert spectrum[far > 48 * 4 / 24.0 + 1].max() < 1e-3
    assert spectrum[far < 48 * 4 / 24.0 - 1].min() > 0


def test_shell_profile_is_the_mean_power():
    grid = Grid(32, 2.0, 8.0)
    volume = np.random.default_rng(3).normal(size=(grid.box,) * 3)
    f = np.fft.fftfreq(grid.box, 1 / grid.box)
    shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)).astype(int)
    scale = (32 / grid.box) ** 3 / 32
    power = np.abs(np.fft.fftn(volume) * scale) ** 2
    expected = [power[shell == s].mean() for s in range(grid.n_shells)]
    assert grid.shell_profile(volume) == pytest.approx(np.array(expected), rel=1e-6)


# --- masks --------------------------------------------------------------------------------------


def ball(box, voxel, radius):
    """1 inside `radius` Angstrom, soft over one voxel."""
    return np.clip(0.5 + radius / voxel - radial_distance(box).astype(np.float64), 0, 1)


def test_auto_mask_has_the_stated_distances():
    grid = Grid(64, 4.0, 20.0)
    mask = auto_mask(
        ball(grid.box, grid.voxel, 50.0).astype(np.float32),
        grid,
        threshold=0.5,
        near=10.0,
        far=30.0,
    )
    distance = radial_distance(grid.box) * grid.voxel
    assert mask[distance < 58 - grid.voxel].min() == 1
    assert mask[distance > 81 + grid.voxel].max() == 0
    assert mask[np.abs(distance - 70 + grid.voxel) < 1].mean() > 0.5
    assert mask[np.abs(distance - 70 - grid.voxel) < 1].mean() < 0.5


def test_auto_mask_leaves_specks_out():
    grid = Grid(64, 4.0, 20.0)
    volume = ball(grid.box, grid.voxel, 40.0).astype(np.float32)
    c = grid.box // 2
    volume[c, c, 2:4] = 1.0
    assert auto_mask(volume, grid, near=0.0, far=1.0)[c, c, 2:4].max() == 0


def test_auto_mask_refuses_dark_particles():
    grid = Grid(32, 4.0, 20.0)
    with pytest.raises(InputError, match="invert their contrast"):
        auto_mask(-ball(grid.box, grid.voxel, 40.0).astype(np.float32), grid)


def test_soft_edge():
    assert soft_edge(np.array([0, 5, 10, 15, 20, 30.0]), 10, 20) == pytest.approx(
        [1, 1, 1, 0.5, 0, 0]
    )


@pytest.mark.parametrize("box, sampling", [(64, 4.0), (32, 8.0), (100, 2.0), (90, 5.5), (63, 4.0)])
def test_mask_of_any_box_and_sampling_becomes_the_analytic_ball(box, sampling):
    grid = Grid(64, 4.0, 20.0)
    fitted = fit_mask(ball(box, sampling, 60.0).astype(np.float32), sampling, grid)
    distance = radial_distance(grid.box) * grid.voxel
    soft = 1.2 * max(grid.voxel, sampling)
    assert fitted[distance < 60 - soft].min() > 0.97
    assert fitted[distance > 60 + soft].max() < 0.03
    assert fitted.sum() * grid.voxel**3 == pytest.approx(4 / 3 * np.pi * 60**3, rel=0.03)


def test_mask_without_sampling_takes_the_particles():
    grid = Grid(64, 4.0, 20.0)
    mask = ball(64, 4.0, 60.0).astype(np.float32)
    assert np.array_equal(fit_mask(mask, 0.0, grid), fit_mask(mask, 4.0, grid))


def test_small_mask_box_is_zero_outside():
    grid = Grid(64, 4.0, 20.0)
    fitted = fit_mask(np.pad(np.ones((18,) * 3, np.float32), 1), 4.0, grid)
    assert fitted[radial_distance(grid.box) * grid.voxel > 80].max() == 0
    assert fitted.max() == 1


@pytest.mark.parametrize(
    "volume, words",
    [
        (np.zeros((32,) * 3), "empty"),
        (np.ones((32,) * 3), "1 everywhere"),
        (np.random.default_rng(0).normal(0, 5, (32,) * 3), "no mask"),
        (np.random.default_rng(0).uniform(-0.01, 0.08, (32,) * 3), "no mask"),  # a density map
        (255 * ball(32, 1.0, 10), "no mask"),
        (
            np.roll(ball(32, 10.0, 40.0), 14, 0) * (np.arange(32) > 28)[:, None, None],
            "next to nothing",
        ),
    ],
)
def test_what_is_no_mask_is_refused(volume, words):
    with pytest.raises(InputError, match=words):
        fit_mask(volume.astype(np.float32), 10.0, Grid(32, 4.0, 20.0))


# --- images to slices ---------------------------------------------------------------------------


def make_particles(n, box):
    return Particles(
        ("s.mrcs",),
        np.zeros(n, np.int32),
        np.arange(n),
        np.tile(np.eye(3, dtype=np.float32), (n, 1, 1)),
        np.zeros((n, 2), np.float32),
        None,
        np.ones(n, np.int8),
        box,
        2.0,
    )


def test_background_is_normalised_outside_the_circle():
    images = np.random.default_rng(1).normal(5, 3, (4, 32, 32)).astype(np.float32)
    images[:, 12:20, 12:20] += 100
    normalise_background(images)
    outside = np.hypot(*(np.mgrid[:32, :32] - 16)) > 16
    assert images[:, outside].mean(axis=1) == pytest.approx(np.zeros(4), abs=1e-4)
    assert images[:, outside].std(axis=1) == pytest.approx(np.ones(4), abs=1e-4)
    assert images[:, 12:20, 12:20].min() > 20


def test_constant_images_are_set_aside_and_inversion_flips_the_sign():
    grid, n = Grid(32, 2.0, 8.0), 6
    images = np.random.default_rng(2).normal(size=(n, 32, 32)).astype(np.float32)
    images[2], images[4] = 0, 7.5
    chunks = [
        (np.array(index), lambda index=index: images[index]) for index in ([4, 1, 0], [2, 3, 5])
    ]
    plain = prepare_slices(make_particles(n, 32), grid, chunks)
    flipped = prepare_slices(make_particles(n, 32), grid, chunks, invert=True)
    assert plain.usable.tolist() == [True, True, False, True, False, True]
    assert np.array_equal(plain.values, -flipped.values)
    assert (plain.ctf == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_images_that_are_not_finite_are_named(bad):
    images = np.random.default_rng(3).normal(size=(3, 32, 32)).astype(np.float32)
    images[1, 4, 4] = bad
    with pytest.raises(InputError, match="Image 2 of s.mrcs"):
        prepare_slices(make_particles(3, 32), Grid(32, 2.0, 8.0), [(np.arange(3), images.copy)])


def test_settings_of_a_grid_can_be_replaced():
    grid = Grid(32, 2.0, 8.0)
    assert dataclasses.replace(grid, padding=2.0).padded_box > grid.padded_box
