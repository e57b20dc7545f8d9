"""The search of small regions: its parts against plain sums, and a small rare change it finds."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.engine.components.local_components import (
    Known,
    append_orthogonal,
    describe_place,
    find_places,
    neighbours,
    region_mask,
)
from pcainit.engine.components.local_sweep import Region, detectable_share, sweep
from pcainit.engine.components.region_sums import lay_regions, smooth_basis
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.model.e_step import unexplained_slices
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.m_step import total_weight
from pcainit.engine.projection.backproject import back_project, weight_kernel
from pcainit.engine.projection.slices import extract_slices
from pcainit.tests.engine.test_posterior import as_real, dense_columns
from pcainit.tests.particle_examples import GRID, ball, blobs, model_background

TINY = Grid(16, 4.0, 20.0)
WIDE = Grid(40, 6.0, 24.0)
SPREAD = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3)
PLACE = np.array([4.0, -3.0, 2.0])  # x, y, z of the change, voxels


def nothing(grid):
    return LatentModel(np.zeros((0,) + (grid.box,) * 3, np.float32), np.zeros(0), SPREAD)


def test_unexplained_by_dense_algebra():
    """Residual minus the columns times their posterior means, times CTF over noise."""
    volumes = np.stack([blobs(TINY, np.array([c])) for c in ([1.0, 0, 1], [0, -1.5, 0])])
    background, _ = model_background(
        5,
        grid=TINY,
        differences=volumes,
        noise=0.6,
        coordinates=np.random.default_rng(1).normal(size=(5, 2)),
    )
    spread = NuisanceSpread(0.2, 0.4, 0.03, 0.1)
    variances = np.array([0.5, 2.0])
    left = unexplained_slices(background, LatentModel(volumes, variances, spread), np.arange(5))
    residual, columns = dense_columns(background, volumes * np.sqrt(variances)[:, None, None, None])
    r, a = as_real(residual, TINY), as_real(columns, TINY)
    precision = np.concatenate([np.ones(2), spread.precision])
    gain = background.slices.ctf * background.whitening
    for i in range(5):
        mean = np.linalg.solve(a[i].T @ a[i] + np.diag(precision), a[i].T @ r[i])
        expected = gain[i] * (residual[i] - columns[i] @ mean)
        assert np.abs(left[i] - expected).max() < 2e-3 * np.abs(expected).max()


def test_back_projection_by_a_plain_sum():
    rng = np.random.default_rng(0)
    p = len(WIDE.frequencies)
    samples = (rng.normal(size=(3, p)) + 1j * rng.normal(size=(3, p))).astype(np.complex64)
    samples[:, 0] = samples[:, 0].real
    rotations = Rotation.random(3, random_state=1).as_matrix().astype(np.float32)
    points = rng.integers(-10, 10, (200, 3)).astype(np.float32)
    found = back_project(samples, rotations, points, WIDE)
    scale = (WIDE.box_px / WIDE.box) ** 3 / WIDE.box_px
    for i in range(3):
        place = points @ rotations[i].T  # in the image's frame
        phase = np.exp(2j * np.pi / WIDE.box * (place[:, :2] @ WIDE.frequencies.T))
        plain = scale * (phase * samples[i]).real @ WIDE.multiplicity
        assert np.corrcoef(found[:, i], plain)[0, 1] > 0.985
        assert found[:, i] @ plain / (plain @ plain) == pytest.approx(1, abs=0.03)


def test_weights_as_a_convolution():
    """u' H v from the kernel and from the slices of both volumes."""
    background, _ = model_background(400, grid=WIDE)
    index = np.arange(0, 400, 2)
    kernel = weight_kernel(total_weight(background, index), WIDE)
    volumes = np.stack([blobs(WIDE, np.array([c])) for c in ([3.0, 1, -2], [2.0, 2, -2])])
    read = extract_slices(WIDE.to_fourier(volumes), background.slices.rotations[index], WIDE)
    gain = background.slices.ctf[index] * background.whitening
    a, b = as_real(gain * read[..., 0], WIDE), as_real(gain * read[..., 1], WIDE)
    ball_ = np.argwhere(ball(WIDE, 6)) - WIDE.box // 2
    z, y, x = (ball_ + WIDE.box // 2).T
    gap = ball_[:, None] - ball_[None]
    normal = kernel[gap[..., 0], gap[..., 1], gap[..., 2]]
    u, v = volumes[0][z, y, x], volumes[1][z, y, x]
    assert u @ normal @ u == pytest.approx((a * a).sum(), rel=0.05)
    assert u @ normal @ v == pytest.approx((a * b).sum(), rel=0.05)


def test_regions_cover_the_mask():
    mask = ball(WIDE, 9)
    centres = lay_regions(mask, 4.0)
    places = np.argwhere(mask > 0.5)
    gap = np.sqrt(((places[:, None] - centres) ** 2).sum(axis=-1)).min(axis=1)
    assert (gap < 4).mean() > 0.98
    assert len(np.unique(centres, axis=0)) == len(centres) < 100


def test_basis_is_smooth_and_inside():
    offsets = np.argwhere(ball(WIDE, 4)) - WIDE.box // 2
    spectrum = np.exp(-np.arange(WIDE.n_shells) / 3.0)
    basis, variances = smooth_basis(offsets, 4.0, spectrum, WIDE)
    assert (np.diff(variances) <= 1e-9).all()
    assert basis.T @ basis == pytest.approx(np.diag(variances), abs=1e-6 * variances[0])
    edge = np.sqrt((offsets**2).sum(axis=1)) > 3.9
    assert np.abs(basis[edge]).max() < 0.02 * np.abs(basis).max()


def rare_change(share, n=3000, seed=0):
    """Particles of which a share has one more blob, the mask, and the halves."""
    change = 0.7 * blobs(WIDE, PLACE[None])
    has = np.random.default_rng([seed, 5]).uniform(size=n) < share
    background, _ = model_background(
        n,
        seed=seed,
        grid=WIDE,
        differences=change[None],
        coordinates=(has - share)[:, None],
        noise=6.0,
    )
    half = background.slices.half
    halves = np.flatnonzero(half == 1), np.flatnonzero(half == 2)
    return background, ball(WIDE, 9), halves, change


def test_a_rare_change_is_found_in_its_place():
    background, mask, halves, change = rare_change(0.1)
    empty = nothing(WIDE)
    places, regions = find_places(background, Known((empty, empty), empty), halves, mask, 0)
    assert len(places) == 1 and len(regions) > 10
    place = places[0]
    found = place.joint.components[0]
    assert abs((found * change).sum()) / np.sqrt((change**2).sum()) > 0.8
    where = describe_place(place, WIDE)
    gap = np.array([where["x"], where["y"], where["z"]]) / WIDE.voxel - PLACE
    assert np.sqrt((gap**2).sum()) < place.regions[0].radius
    assert place.cosines[0] > 0.6 and where["score"] > 8
    assert np.abs(found[mask == 0]).max() < 1e-6
    # Once known, it is not found again.
    again = sweep(background, (place.joint, place.joint), halves, mask)
    assert max(region.score for region in again) < 0.5 * max(r.score for r in regions)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_nothing_changes(seed):
    background, mask, halves, _ = rare_change(0.0, seed=seed)
    empty = nothing(WIDE)
    places, regions = find_places(background, Known((empty, empty), empty), halves, mask, seed)
    assert not places
    scores = np.array([region.score for region in regions])
    assert scores.max() < 5 and abs(np.median(scores)) < 1 and 0.4 < scores.std() < 1.8


def test_the_detectable_share_is_what_simulations_find():
    """Particles that lack what lies in one region: found above the share, not far below it."""
    grid, mask = WIDE, ball(WIDE, 9)
    plain, _ = model_background(3000, grid=grid, noise=60.0)
    half = plain.slices.half
    halves = np.flatnonzero(half == 1), np.flatnonzero(half == 2)
    empty = nothing(grid)
    regions = sweep(plain, (empty, empty), halves, mask)
    best = max(regions, key=lambda r: r.strength if r.radius < 6 else 0)
    share, radius = detectable_share([best], 3000)
    assert 0.005 < share < 0.1 and radius == best.radius
    axis = np.arange(grid.box)
    z, y, x = best.centre
    gap = np.sqrt((axis[:, None, None] - z) ** 2 + (axis[:, None] - y) ** 2 + (axis - x) ** 2)
    loss = (plain.mean * soft_edge(gap, 0.7 * radius, radius)).astype(np.float32)
    scores = []
    for p in (2 * share, share / 5):
        lacks = np.random.default_rng(3).uniform(size=3000) < p
        background, _ = model_background(
            3000, grid=grid, noise=60.0, differences=loss[None], coordinates=(p - lacks)[:, None]
        )
        found = sweep(background, (empty, empty), halves, mask)
        scores.append(max(r.score for r in found if np.array_equal(r.centre, best.centre)))
    assert scores[0] > 8 and scores[1] < 5
    assert detectable_share([best], 20)[0] == 1


def a_region(centre, score=6.0):
    pair = np.zeros((2,) + (GRID.box,) * 3, np.float32)
    return Region(np.array(centre), 3.0, pair, 0.5, score, 1.0)


def test_neighbours():
    one, near, far = a_region([8, 8, 8]), a_region([8, 8, 11], 9.0), a_region([14, 14, 14], 7.0)
    groups = neighbours([one, near, far])
    assert [[r is near or r is one for r in group] for group in groups] == [[True, True], [False]]
    assert groups[0][0] is near
    mask = region_mask(groups[0], np.ones((GRID.box,) * 3, np.float32))
    assert mask[8, 8, 8] == mask[8, 8, 11] == 1 and mask[14, 14, 14] == 0 <= mask.min()


def test_join_keeps_what_is_known_first():
    rng = np.random.default_rng(0)
    flat = np.linalg.qr(rng.normal(size=(GRID.box**3, 3)))[0].T.astype(np.float32)
    volumes = flat.reshape((3,) + (GRID.box,) * 3)
    first = LatentModel(volumes[:2], np.array([3.0, 2.0]), SPREAD)
    mixed = LatentModel(
        np.stack([0.8 * volumes[2] + 0.6 * volumes[0], 0.98 * volumes[1] + 0.199 * volumes[2]]),
        np.array([1.0, 1.0]),
        SPREAD,
    )
    both, taken = append_orthogonal(first, [mixed])
    assert taken.tolist() == [True, False]
    assert both.q == 3  # the last adds next to nothing
    assert np.array_equal(both.components[:2], first.components)
    assert abs((both.components[2] * volumes[2]).sum()) == pytest.approx(1, abs=1e-5)
    assert both.variances == pytest.approx([3, 2, 0.64], rel=1e-4)
    assert append_orthogonal(first, [])[0].components.shape == first.components.shape
    again, taken = append_orthogonal(
        first, [mixed], np.array([False, True])
    )  # as another half-set says
    assert again.q == 3 and taken.tolist() == [False, True]
    flat = again.components.reshape(3, -1)
    assert flat @ flat.T == pytest.approx(np.eye(3), abs=1e-5)


@pytest.mark.parametrize("radius", [5.0, 1.5])
def test_small_boxes_and_masks(radius):
    """A working box hardly larger than the spheres, and a mask far smaller than they are."""
    background, _ = model_background(60, grid=TINY)
    half = background.slices.half
    halves = np.flatnonzero(half == 1), np.flatnonzero(half == 2)
    empty = nothing(TINY)
    regions = sweep(background, (empty, empty), halves, ball(TINY, radius))
    assert all(np.isfinite([r.score, r.cosine, r.strength]).all() for r in regions)
    assert all(r.radius <= TINY.box / 4 for r in regions)
    assert bool(regions) == (radius > 2)
