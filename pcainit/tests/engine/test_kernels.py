"""Slice kernels against plain numpy: adjointness, brute force, additivity, threads."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numba
import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pcainit.engine.compiled.jit import OPTIONS
from pcainit.engine.compiled.lanes import LANES, from_rows, to_rows
from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.likelihood import log_likelihoods
from pcainit.engine.projection.slices import extract_slices, insert_slices, residual_power

QUICK = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31 - 1)
grids = st.sampled_from(
    [
        Grid(16, 4.0, 10.0),
        Grid(20, 1.0, 3.0),
        Grid(32, 2.0, 8.0, 2.0),
        Grid(24, 1.0, 2.0),
        Grid(48, 3.0, 18.0, 1.2),
    ]
)


def draw_slices(seed, grid, n):
    """Random values, CTF and rotations; the zero frequency is real."""
    rng = np.random.default_rng(seed)
    p = len(grid.frequencies)
    values = (rng.normal(size=(n, p)) + 1j * rng.normal(size=(n, p))).astype(np.complex64)
    values[:, 0] = values[:, 0].real
    ctf = rng.uniform(-1, 1, (n, p)).astype(np.float32)
    rotations = Rotation.random(n, random_state=seed).as_matrix().astype(np.float32)
    return values, ctf, rotations, rng


def draw_transform(rng, grid, channels=1):
    """A stored half-space with Friedel symmetry on its plane x = 0."""
    shape = grid.half_shape + (channels,)
    transform = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    plane = transform[:, :, 0]
    transform[:, :, 0] = (plane + plane[::-1, ::-1].conj()) / 2
    return transform


def corners(grid, rotations):
    """Every sample and its Friedel mate: indices into a whole cube (z, y, x), trilinear weights."""
    k = np.concatenate([grid.frequencies, np.zeros((len(grid.frequencies), 1))], axis=1)
    position = grid.oversampling * np.einsum("pi,nij->npj", k, rotations.astype(np.float64))
    for sign in (1, -1):
        low = np.floor(sign * position)
        part = sign * position - low
        for corner in np.ndindex(2, 2, 2):
            weight = np.where(corner, part, 1 - part).prod(axis=2)
            index = (low + corner).astype(int) + grid.reach
            yield sign, tuple(np.moveaxis(index[..., ::-1], 2, 0)), weight


def insert_by_numpy(values, weights, grid, rotations):
    """Both Friedel mates of every sample added to a whole cube; its half x >= 0."""
    side = 2 * grid.reach + 1
    cube, density = np.zeros((side,) * 3, complex), np.zeros((side,) * 3)
    for sign, index, w in corners(grid, rotations):
        np.add.at(cube, index, w * (values if sign > 0 else values.conj()))
        np.add.at(density, index, w * weights)
    return cube[:, :, grid.reach :], density[:, :, grid.reach :]


def extract_by_numpy(transform, grid, rotations):
    """Trilinear reading of a whole cube that is completed by Friedel symmetry."""
    half = transform.astype(complex)
    cube = np.concatenate([half[::-1, ::-1, :0:-1].conj(), half], axis=2)
    return sum(w * cube[index] for sign, index, w in corners(grid, rotations) if sign > 0)


@QUICK
@given(grids, seeds)
def test_insertion_equals_a_plain_loop(grid, seed):
    values, ctf, rotations, rng = draw_slices(seed, grid, 3)
    whitening = rng.uniform(0.5, 2, values.shape[1]).astype(np.float32)
    numerator, weight = insert_slices(values, ctf, rotations, grid, whitening=whitening)
    expected = insert_by_numpy(values * ctf * whitening**2, (ctf * whitening) ** 2, grid, rotations)
    assert np.abs(numerator[0, 0] - expected[0]).max() < 2e-4 * np.abs(expected[0]).max()
    assert np.abs(weight[0, 0] - expected[1]).max() < 2e-4 * expected[1].max()


@QUICK
@given(grids, seeds)
def test_extraction_equals_a_plain_loop(grid, seed):
    _, _, rotations, rng = draw_slices(seed, grid, 3)
    transforms = draw_transform(rng, grid, 2)
    found = extract_slices(transforms, rotations, grid)
    for c in range(2):
        expected = extract_by_numpy(transforms[..., c], grid, rotations)
        assert np.abs(found[..., c] - expected).max() < 2e-4


@QUICK
@given(grids, seeds)
def test_insertion_is_the_adjoint_of_extraction(grid, seed):
    """<C E F, y> over samples = <F, insert(y)> over the half-space.

    The plane x = 0 holds both members of each Friedel pair, so it counts half.
    """
    values, ctf, rotations, rng = draw_slices(seed, grid, 5)
    transform = draw_transform(rng, grid)
    numerator, _ = insert_slices(values, ctf, rotations, grid)
    read = extract_slices(transform, rotations, grid)[..., 0].astype(complex)
    left = (np.conj(ctf * read) * values).real.sum()
    product = (np.conj(transform[..., 0].astype(complex)) * numerator[0, 0]).real
    right = product.sum() - 0.5 * product[:, :, 0].sum()
    scale = np.sqrt((np.abs(ctf * read) ** 2).sum() * (np.abs(values) ** 2).sum())
    assert abs(left - right) < 1e-5 * scale


@QUICK
@given(grids, seeds, st.integers(1, 9))
def test_chunks_add_up(grid, seed, cut):
    values, ctf, rotations, _ = draw_slices(seed, grid, 10)
    whole = insert_slices(values, ctf, rotations, grid)
    parts = [
        insert_slices(values[s], ctf[s], rotations[s], grid)
        for s in (slice(0, cut), slice(cut, 10))
    ]
    for k in range(2):
        total = parts[0][k] + parts[1][k]
        assert np.abs(whole[k] - total).max() < 1e-5 * np.abs(total).max()


@QUICK
@given(grids, seeds)
def test_half_space_is_completed(grid, seed):
    values, ctf, rotations, _ = draw_slices(seed, grid, 4)
    numerator, weight = insert_slices(values, ctf, rotations, grid)
    plane, density = numerator[0, 0, :, :, 0], weight[0, 0, :, :, 0]
    assert np.abs(plane - plane[::-1, ::-1].conj()).max() < 1e-5 * np.abs(plane).max()
    assert np.abs(density - density[::-1, ::-1]).max() < 1e-5 * density.max()


def test_channels_and_groups_are_separate_sums():
    grid = Grid(24, 2.0, 8.0)
    values, ctf, rotations, rng = draw_slices(3, grid, 12)
    weights = rng.uniform(0, 2, (12, 3)).astype(np.float32)
    groups = [np.array([0, 5, 7]), np.array([5, 11]), np.array([2])]
    numerator, weight = insert_slices(values, ctf, rotations, grid, weights=weights, groups=groups)
    assert numerator.shape == (3, 3) + grid.half_shape
    for g, members in enumerate(groups):
        for m in range(3):
            w = weights[members, m][:, None]
            alone = insert_by_numpy(
                values[members] * ctf[members] * w, ctf[members] ** 2 * w, grid, rotations[members]
            )
            assert np.abs(numerator[g, m] - alone[0]).max() < 2e-4 * np.abs(alone[0]).max()
            assert np.abs(weight[g, m] - alone[1]).max() < 2e-4 * alone[1].max()


def test_symmetry_adds_each_related_pose():
    grid = Grid(24, 2.0, 8.0)
    values, ctf, rotations, _ = draw_slices(4, grid, 4)
    group = symmetry_matrices("d3")
    numerator, weight = insert_slices(values, ctf, rotations, grid, symmetry=group)
    posed = [(rotations @ matrix).astype(np.float32) for matrix in group]
    alone = [insert_by_numpy(values * ctf, ctf**2, grid, poses) for poses in posed]
    expected = sum(a[0] for a in alone), sum(a[1] for a in alone)
    assert np.abs(numerator[0, 0] - expected[0]).max() < 2e-4 * np.abs(expected[0]).max()
    assert np.abs(weight[0, 0] - expected[1]).max() < 2e-4 * expected[1].max()


def make_likelihoods(grid, seed, n, k):
    values, ctf, rotations, rng = draw_slices(seed, grid, n)
    slices = Slices(values, ctf, rotations, np.ones(n, np.int8), np.ones(n, bool), grid)
    whitening = rng.uniform(0.5, 2, values.shape[1]).astype(np.float32)
    return slices, draw_transform(rng, grid, k), whitening


@QUICK
@given(grids, seeds)
def test_log_likelihoods_against_brute_force(grid, seed):
    """Minus half the squared residual over the noise, 2 p - 1 real numbers, up to a constant."""
    slices, transforms, whitening = make_likelihoods(grid, seed, 4, 3)
    found = log_likelihoods(slices, transforms, whitening)
    direct = np.empty((4, 3))
    for c in range(3):
        model = slices.ctf * extract_by_numpy(transforms[..., c], grid, slices.rotations)
        residual = np.abs((slices.values - model) * whitening) ** 2
        direct[:, c] = -0.5 * (2 * residual.sum(axis=1) - residual[:, 0])
    found, direct = (x - x[:, :1] for x in (found, direct))
    assert np.abs(found - direct).max() < 1e-3 * max(1, np.abs(direct).max())


def test_residual_power_against_brute_force():
    grid = Grid(24, 2.0, 8.0)
    slices, transforms, _ = make_likelihoods(grid, 5, 7, 1)
    chosen = np.array([0, 2, 3, 6])
    found = residual_power(slices.values, slices.ctf, slices.rotations, chosen, transforms, grid)
    model = slices.ctf * extract_by_numpy(transforms[..., 0], grid, slices.rotations)
    power = (np.abs(slices.values - model) ** 2)[chosen].mean(axis=0)
    expected = np.bincount(grid.shell, power) / np.bincount(grid.shell)
    assert found == pytest.approx(expected, rel=1e-4)


def test_results_do_not_depend_on_threads():
    grid = Grid(32, 2.0, 8.0)
    slices, transforms, whitening = make_likelihoods(grid, 6, 200, 2)
    args = slices.values, slices.ctf, slices.rotations
    results = []
    try:
        for threads in (1, 2):
            set_threads(threads)
            results.append(
                [
                    *insert_slices(*args, grid),
                    extract_slices(transforms, slices.rotations, grid),
                    log_likelihoods(slices, transforms, whitening),
                    residual_power(*args, np.arange(200), transforms[..., :1], grid),
                ]
            )
    finally:
        set_threads(2)
    for one, two in zip(*results):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("padding, error", [(1.5, 0.03), (2.0, 0.015)])
def test_slices_of_gaussian_blobs_are_analytic(padding, error):
    """Volume -> transform -> slice against the closed form of each blob's projection.

    The zero frequency always falls on a grid point, where trilinear interpolation is least like
    its average; it is left out.
    """
    rng = np.random.default_rng(7)
    box, sampling, width = 48, 4.0, 9.0
    grid = Grid(box, sampling, 24.0, padding)
    centres, mass = rng.uniform(-40, 40, (6, 3)), rng.uniform(1e4, 3e4, 6)
    axis = (np.arange(grid.box) - grid.box // 2) * grid.voxel
    line = np.exp(-0.5 * ((axis - centres[:, :, None]) / width) ** 2) / np.sqrt(2 * np.pi) / width
    volume = np.einsum("j,jz,jy,jx->zyx", mass, line[:, 2], line[:, 1], line[:, 0])
    rotations = Rotation.random(20, random_state=1).as_matrix()
    transform = grid.to_fourier(volume[None].astype(np.float32))
    found = extract_slices(transform, rotations, grid)[..., 0]
    f = grid.frequencies / (box * sampling)
    seen = np.einsum("nij,bj->nbi", rotations, centres)[..., :2]
    phase = np.exp(-2j * np.pi * np.einsum("pi,nbi->nbp", f, seen))
    expected = (
        np.einsum("b,nbp->np", mass, phase)
        * np.exp(-2 * (np.pi * width) ** 2 * (f**2).sum(axis=1))
        / sampling**3
        / box
    )
    known = (grid.shell > 0) & (grid.shell <= int(grid.radius))
    power = np.abs(expected[:, known]) ** 2
    residual = np.abs(found - expected)[:, known] ** 2
    assert residual.sum() < error**2 * power.sum()


def test_one_thread_in_blas_whatever_the_kernels_have():
    set_threads(2)
    found = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    assert len(found) >= 1 and all(lib["num_threads"] == 1 for lib in found)


@numba.njit(**OPTIONS)
def _there_and_back(values, start, step, targets, first, place, even, odd, rows, back):
    to_rows(values, start, step, rows, targets, first, place, even, odd)
    from_rows(rows, targets, first, place, even, odd, back, start, step)


@QUICK
@given(seeds, st.integers(0, 9), st.integers(LANES, 30), st.integers(0, 5), st.integers(0, 12))
def test_samples_are_turned_into_rows_and_back(seed, start, step, first, place):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=300).astype(np.float32)
    even, odd = rng.normal(size=(2, 40)).astype(np.float32)
    targets = 40 * rng.permutation(first + LANES)  # rows of 40 numbers
    rows, back = np.zeros((2, 40 * len(targets))).astype(np.float32), np.zeros(300, np.float32)
    _there_and_back(values, start, step, targets, first, place, even, odd, rows[0], back)
    expected = np.zeros_like(back)
    for j in range(LANES):
        factor = odd if j % 2 else even
        for u in range(LANES):
            at, row = start + u * step + j, targets[first + j] + place + u
            rows[1, row] = values[at] * factor[place + u]
            expected[at] = rows[1, row] * factor[place + u]
    assert np.array_equal(*rows) and np.array_equal(back, expected)
