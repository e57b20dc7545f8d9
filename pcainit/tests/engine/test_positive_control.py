"""Domains added to particles: their mass, what is predicted of them, and what a search finds."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.components.positive_control import (
    PLACES,
    VOLUME_PER_KDA,
    add_domain,
    ball_radius,
    choose_places,
    choose_sizes,
    expect_share,
    make_domain,
    measure_density,
)
from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.projection.slices import extract_slices
from pcainit.engine.simulation.simulate import Simulation
from pcainit.pipeline.power_curve import (
    SHARES,
    Search,
    choose_size,
    find_with_control,
    fit_share,
    is_found,
    likeness,
)
from pcainit.pipeline.results import ConsensusResult
from pcainit.settings import Settings
from pcainit.tests.particle_examples import GRID, ball, blobs, model_background, simulated_slices

QUIET = Settings(resolution=24.0, components=2)


@pytest.mark.parametrize("kda", [8, 60, 240])
def test_a_ball_weighs_what_it_should(kda):
    domain = make_domain(np.array([8, 7, 10]), kda, 0.1, GRID)
    weight = float(domain.sum(dtype=np.float64)) * GRID.voxel**3 / VOLUME_PER_KDA
    assert weight == pytest.approx(0.1 * kda, rel=1e-4)
    square = domain.astype(np.float64) ** 2
    middle = np.einsum("zyx,zyxd->d", square, np.moveaxis(np.indices(domain.shape), 0, 3))
    assert middle / square.sum() == pytest.approx([8, 7, 10], abs=0.3)
    assert 4 / 3 * np.pi * ball_radius(kda) ** 3 == pytest.approx(kda * VOLUME_PER_KDA)


def test_density_of_a_known_solid():
    for kda in (300, 450):
        mean = make_domain(np.full(3, GRID.box // 2), kda, 0.1, GRID) - np.float32(0.01)
        scale = measure_density(mean, auto_mask(mean, GRID), GRID)
        assert scale.density == pytest.approx(0.1, rel=0.15)
        assert scale.mass == pytest.approx(kda, rel=0.25)


def test_sizes_go_with_the_particle():
    assert choose_sizes(500) == [8, 15, 30, 60, 120]
    assert choose_sizes(2500) == [30, 60, 120, 240, 480]
    assert choose_sizes(2) == [4] and choose_sizes(1e6) == [480]


def test_places_lie_in_the_mask_and_apart():
    mask = ball(GRID, 8)
    places = choose_places(mask, 15, GRID, 1)
    assert len(places) == PLACES and (mask[tuple(places.T)] > 0.5).all()
    gaps = np.linalg.norm(places[:, None] - places, axis=2) + 99 * np.eye(PLACES)
    assert gaps.min() > 4
    assert len(choose_places(np.zeros_like(mask), 15, GRID, 1)) == 0


def test_a_domain_is_seen_through_pose_and_ctf():
    background, _ = model_background(40)
    slices, domain = background.slices, blobs(GRID, [[3, 1, -2]])
    present = np.arange(40) % 3 == 0
    changed = add_domain(slices, domain, present)
    seen = extract_slices(GRID.to_fourier(domain[None]), slices.rotations, GRID)[..., 0]
    assert changed.values == pytest.approx(
        slices.values + seen * slices.ctf * present[:, None], abs=1e-5
    )


def test_share_falls_with_strength_and_rises_with_backgrounds():
    none, one, inside = np.zeros(4), np.ones(4), np.ones(4, bool)
    shares = [expect_share(s * one, none, one, inside, 3000) for s in (150, 300, 600)]
    assert shares[0] > shares[1] > shares[2] > 0.01
    assert expect_share(10 * one, none, one, inside, 3000) is None
    outside = expect_share(300 * one, 10 * one, one, ~inside, 3000)
    assert outside is None or outside > shares[1]
    assert expect_share(1e6 * one, none, one, inside, 500) == 0.1


def test_what_a_size_takes_and_what_was_found():
    short = [dict(kda=8, share=None), dict(kda=30, share=0.25), dict(kda=60, share=0.1)]
    assert choose_size(short) == 30 and choose_size(short[:1]) == 8 and choose_size([]) is None
    assert fit_share([4, 4, 1]) is None and fit_share([]) is None
    assert SHARES[0] < fit_share([1, 1, 1]) < SHARES[2] < fit_share([3, 3, 2]) <= SHARES[-1]
    a, b = np.eye(8, dtype=np.float32)[:2].reshape(2, 1, 2, 2, 2)
    assert likeness(a[0] + b[0], a, b) == pytest.approx(1)
    assert likeness(a[0] + b[0], a[:0], b) == pytest.approx(0.5**0.5)
    assert likeness(a[0], b, b) == 0 == likeness(a[0], b[:0], b[:0])


def prepared(count):
    """Slices of one state, and the result of the stage reconstruct."""
    _, slices, consensus = simulated_slices(
        Simulation(count, 32, 6.0, populations=(1.0,), snr=0.1, seed=11), 24.0
    )
    consensus, quality = clean_consensus(slices, consensus, np.eye(3)[None], 0)
    mask = auto_mask(consensus.mean, slices.grid)
    return slices, ConsensusResult.of_particles(consensus, quality, mask, slices.grid)


@pytest.fixture(scope="module")
def example():
    slices, before = prepared(1500)
    return slices, before, find_with_control(slices, before, QUIET, lambda share: None)


def test_the_short_form_goes_with_size_and_number(example):
    shares = []
    slices, before = prepared(500)
    few = find_with_control(slices, before, QUIET, lambda share: None)
    for found in (example[2], few):
        power = found.measured.power
        assert power["long"] is None and power["density"] > 0
        shares.append({size["kda"]: size["share"] or 1.0 for size in power["short"]})
        ordered = [shares[-1][kda] for kda in sorted(shares[-1])]
        assert ordered == sorted(ordered, reverse=True)
    assert all(shares[0][kda] <= shares[1][kda] for kda in set(shares[0]) & set(shares[1]))


def test_what_is_predicted_is_found_and_a_fifth_of_it_is_not(example):
    slices, before, found = example
    power = found.measured.power
    size = [s for s in power["short"] if s["share"] is not None and s["share"] < 0.4][0]
    place = choose_places(before.mask, size["kda"], slices.grid, 5)[2]
    domain = make_domain(place, size["kda"], power["density"], slices.grid)
    search = Search(slices, before, found, QUIET)
    assert is_found(search, domain, size["share"], 3)
    assert not is_found(search, domain, size["share"] / 5, 3)
