"""The five-step method's parts: drawing, PCA, clusters, averages, differences."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pcainit.engine.classes.distances import noise_power, pairwise_differences
from pcainit.engine.volume_sets.batches import cluster_batches, draw_batches
from pcainit.engine.volume_sets.clusters import cluster_mixture
from pcainit.engine.volume_sets.volume_set import principal_components, weighted_averages
from pcainit.errors import InputError
from pcainit.pipeline.routes.from_latents import cluster
from pcainit.settings import Settings

QUICK = settings(max_examples=60, deadline=None)


@QUICK
@given(
    m=st.integers(1, 300),
    count=st.integers(1, 40),
    size=st.integers(1, 60),
    seed=st.integers(0, 10000),
    stratify=st.booleans(),
)
def test_batches_are_disjoint_while_there_are_enough(m, count, size, seed, stratify):
    assume(size <= m)
    usable = np.random.default_rng(seed + 1).permutation(2 * m)[:m]
    directions = Rotation.random(2 * m, random_state=seed).as_matrix()[:, 2] if stratify else None
    batches = draw_batches(usable, count, size, np.random.default_rng(seed), directions=directions)
    assert len(batches) == count
    for batch in batches:
        assert len(batch) == len(set(batch.tolist())) == size
        assert np.isin(batch, usable).all()
        assert (np.diff(batch) > 0).all()
    used = np.unique(np.concatenate(batches), return_counts=True)[1]
    if count * size <= m:
        assert used.max() == 1
    if not stratify:  # dealt round after round: nobody far ahead of the others
        every = np.zeros(2 * m, int)
        np.add.at(every, np.concatenate(batches), 1)
        assert np.ptp(every[usable]) <= 1


@QUICK
@given(st.integers(0, 10000))
def test_drawing_depends_on_the_seed_alone(seed):
    one, two = (draw_batches(np.arange(100), 7, 20, np.random.default_rng(seed)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    other = draw_batches(np.arange(100), 7, 20, np.random.default_rng(seed + 1))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other))


def test_stratified_batches_share_the_views():
    """Every band of latitude is in each batch to within two particles; random batches differ."""
    directions = Rotation.random(4000, random_state=3).as_matrix()[:, 2]
    band = np.minimum((np.abs(directions[:, 2]) * 18).astype(int), 17)

    def spread(batches):
        counts = np.array([np.bincount(band[batch], minlength=18) for batch in batches])
        return np.ptp(counts, axis=0).max()

    usable, rng = np.arange(4000), np.random.default_rng(0)
    assert spread(draw_batches(usable, 20, 200, rng, directions=directions)) <= 2
    assert spread(draw_batches(usable, 20, 200, rng)) > 6


def test_opposite_views_count_as_one():
    """Projections along opposite directions carry the same Fourier plane."""
    rng = np.random.default_rng(1)
    directions = Rotation.random(1000, random_state=3).as_matrix()[:, 2]
    directions[::2] *= -1
    batches = draw_batches(np.arange(1000), 10, 100, rng, directions=directions)
    polar = np.abs(directions[:, 2]) > 0.5
    assert np.ptp([polar[batch].sum() for batch in batches]) <= 2


def test_pca_finds_a_planted_direction_and_has_sklearns_values():
    rng = np.random.default_rng(5)
    mask = np.zeros((8, 8, 8), np.float32)
    mask[2:6, 2:6, 2:6] = 1
    mask[2, 2, 2:6] = 0.5
    direction = rng.normal(size=mask.shape) * mask
    direction /= np.linalg.norm(direction * mask)
    scores = rng.normal(0, 5, 30)
    volumes = (
        3 + scores[:, None, None, None] * direction + rng.normal(0, 0.1, (30, 8, 8, 8))
    ).astype(np.float32)
    found = principal_components(volumes, mask, np.ones(30), 3)
    assert found.components.shape == (3, 8, 8, 8)
    flat = found.components.reshape(3, -1).astype(float)
    assert flat @ flat.T == pytest.approx(np.eye(3), abs=1e-5)
    assert (found.components[:, mask == 0] == 0).all()
    masked = (volumes * mask).reshape(30, -1).astype(float)
    values = np.linalg.eigvalsh(np.cov(masked.T))[::-1]
    assert found.spectrum == pytest.approx(values[:29], rel=1e-6)
    assert found.variances == pytest.approx(found.coordinates.var(axis=0, ddof=1), rel=1e-9)
    planted = (direction * mask).ravel() / np.linalg.norm(direction * mask)
    assert abs(flat[0] @ planted) > 0.999
    assert found.average == pytest.approx((volumes * mask).mean(axis=0), abs=1e-4)


def test_clusters_are_found_and_numbered_by_size():
    rng = np.random.default_rng(6)
    truth = np.repeat([0, 1, 2], [10, 30, 20])
    coordinates = rng.normal(0, 0.1, (60, 2)) + np.array([[0, 0], [5, 0], [0, 5]])[truth]
    label = cluster_batches(coordinates, 3, seed=0)
    assert np.bincount(label).tolist() == [30, 20, 10]
    assert len({(a, b) for a, b in zip(truth, label)}) == 3


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 7), extra=st.integers(0, 5), seed=st.integers(0, 1000))
def test_no_cluster_is_empty(n, extra, seed):
    """Even when there are as many clusters as batches, or all batches coincide."""
    coordinates = np.random.default_rng(seed).normal(size=(n + extra, 2)) * (seed % 2)
    label = cluster_batches(coordinates, n, seed)
    sizes = np.bincount(label, minlength=n)
    assert len(sizes) == n and sizes.min() >= 1
    assert (np.diff(sizes) <= 0).all()


def test_the_data_choose_no_class_that_is_too_small():
    """A few particles far away are a class for the criterion, and none to reconstruct."""
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.normal(size=(1991, 2)), rng.normal(40, 0.1, (9, 2))])
    assert cluster_mixture(points, 0, 0).posterior.sum(axis=0).min() == pytest.approx(9, abs=0.1)
    found = cluster_mixture(points, 0, 0, least=20)
    assert found.posterior.sum(axis=0).min() >= 20
    assert len(found.tried) == len(found.bic) > 1
    assert len(cluster_mixture(points, 2, 0, least=20).weights) == 2  # as asked for


@pytest.mark.parametrize("share, classes", [(0.94, 4), (0.8, 3)])
def test_steps_along_an_axis_of_few_values_are_refused(share, classes):
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values[: int(1000 * share), 1] = 0.25
    wanted = Settings(classes=str(classes))
    with pytest.raises(
        InputError,
        match="classes is %d, .* along dimension 2 .%d different ones"
        % (classes, 1001 - 1000 * share),
    ):
        cluster(values, np.ones(1000, bool), wanted, 2)
    assert len(cluster(values, np.ones(1000, bool), wanted, 1).weights) == classes


def test_averages_keep_the_consensus_outside_the_mask():
    rng = np.random.default_rng(7)
    volumes = rng.normal(size=(5, 6, 6, 6)).astype(np.float32)
    consensus = rng.normal(size=(6, 6, 6)).astype(np.float32)
    mask = np.zeros((6, 6, 6), np.float32)
    mask[:3], mask[3] = 1, 0.25
    classes, _ = weighted_averages(volumes, np.eye(2)[[0, 1, 0, 0, 1]], mask, consensus)
    assert np.array_equal(classes[:, 4:], np.broadcast_to(consensus[4:], (2, 2, 6, 6)))
    assert classes[0, :3] == pytest.approx(volumes[[0, 2, 3], :3].mean(axis=0), abs=1e-6)
    assert classes[1, 3] == pytest.approx(
        0.75 * consensus[3] + 0.25 * volumes[[1, 4], 3].mean(axis=0), abs=1e-6
    )


def test_differences_are_one_for_copies_and_larger_for_others():
    rng = np.random.default_rng(9)
    mask = np.ones((16, 16, 16), np.float32)
    signal = rng.normal(size=mask.shape)
    truth = np.stack([signal, signal, 1.5 * signal])
    halves = [(truth + rng.normal(0, s, truth.shape)).astype(np.float32) for s in (0.4, 0.4)]
    noise = noise_power(*halves, mask)
    assert noise == pytest.approx(np.full(3, 0.4**2 / 2), rel=0.1)
    ratio = pairwise_differences((halves[0] + halves[1]) / 2, noise, mask)
    assert ratio[0, 1] == pytest.approx(1.0, abs=0.05)
    assert ratio[0, 2] == pytest.approx(np.sqrt(1 + 0.25 / 0.16), rel=0.05)
    assert np.array_equal(ratio, ratio.T) and (np.diag(ratio) == 0).all()
