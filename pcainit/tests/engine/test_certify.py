"""Do two half-sets agree, and with what?  Subspaces of known angles, noise, artefacts."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcainit.engine.components import score_test
from pcainit.engine.components.certify import certify, null_cosines, principal_directions
from pcainit.engine.components.nuisance_span import (
    ambiguous_directions,
    nuisance_share,
    nuisance_span,
    without_directions,
)
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.score_test import exceeds_model_error, explained_by
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.axes import align_to, merge_models, put_first
from pcainit.engine.model.em import colour
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.tests.particle_examples import GRID as GRID_OF_MODEL
from pcainit.tests.particle_examples import ball, blobs, model_background

QUICK = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**31 - 1)
GRID = Grid(32, 4.0, 16.0)
MASK = ball(GRID, 6)
SPECTRUM = np.linspace(3, 1, GRID.n_shells)


def subspace(rng, q, shape=(5, 5, 5)):
    """Orthonormal volumes, (q,) + shape."""
    return np.linalg.qr(rng.normal(size=(int(np.prod(shape)), q)))[0].T.reshape((q,) + shape)


def model_of(components, variances=None):
    q = len(components)
    variances = np.sort(np.arange(1.0, q + 1))[::-1] if variances is None else variances
    return LatentModel(
        np.asarray(components, np.float32), np.asarray(variances, float), NuisanceSpread()
    )


def covariance(model):
    flat = model.components.reshape(model.q, -1).astype(float)
    return (flat.T * model.variances) @ flat


def noise_model(seed, q=6, shared=None):
    """Coloured noise inside the mask, the first direction in common with other models."""
    rng = np.random.default_rng([seed, 6])
    volumes = [
        colour(rng.normal(size=MASK.shape).astype(np.float32), SPECTRUM, GRID) * MASK
        for _ in range(q)
    ]
    if shared is not None:
        volumes[0] = shared
    flat = np.stack(volumes).reshape(q, -1)
    return model_of(np.linalg.qr(flat.T.astype(float))[0].T.reshape((q,) + MASK.shape))


@QUICK
@given(seeds, st.integers(1, 4))
def test_principal_directions(seed, q):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, np.pi / 2, q))
    frame = subspace(rng, 2 * q)
    one = frame[:q]
    shape = (q,) + (1,) * 3
    two = np.cos(angles).reshape(shape) * one + np.sin(angles).reshape(shape) * frame[q:]
    turn, _ = np.linalg.qr(rng.normal(size=(q, q)))
    two = np.tensordot(turn, two, 1)  # any axes of the same subspace
    cosines, first, second = principal_directions(one, two)
    assert cosines == pytest.approx(np.cos(angles), abs=1e-6)
    products = first.reshape(q, -1) @ second.reshape(q, -1).T
    assert products == pytest.approx(np.diag(cosines), abs=1e-6)
    for found in (first, second):
        assert found.reshape(q, -1) @ found.reshape(q, -1).T == pytest.approx(np.eye(q), abs=1e-6)


@QUICK
@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_put_first_keeps_the_span(seed, q, count):
    count = min(count, q)
    rng = np.random.default_rng(seed)
    model = model_of(subspace(rng, q))
    turn = np.linalg.qr(rng.normal(size=(q, q)))[0][:, :count]
    basis = np.tensordot(turn.T, model.components, 1)
    moved = put_first(model, basis)
    flat = moved.components.reshape(q, -1).astype(float)
    own = model.components.reshape(q, -1).astype(float)
    assert flat @ flat.T == pytest.approx(np.eye(q), abs=1e-5)
    assert flat.T @ flat == pytest.approx(own.T @ own, abs=1e-5)
    inside = basis.reshape(count, -1)
    assert flat[:count].T @ flat[:count] == pytest.approx(inside.T @ inside, abs=1e-5)
    # The total, and all inside either part, are kept; what goes between them is dropped.
    assert np.trace(covariance(moved)) == pytest.approx(np.trace(covariance(model)), rel=1e-5)
    for part in (flat[:count], flat[count:]):
        assert part @ covariance(moved) @ part.T == pytest.approx(
            part @ covariance(model) @ part.T, abs=1e-4
        )
    assert (np.diff(moved.variances[:count]) <= 1e-6).all()
    assert (np.diff(moved.variances[count:]) <= 1e-6).all()


def test_put_first_of_own_axes_changes_nothing():
    model = model_of(subspace(np.random.default_rng(2), 4))
    moved = put_first(model, model.components[:2])
    assert covariance(moved) == pytest.approx(covariance(model), abs=1e-5)
    assert moved.variances == pytest.approx(model.variances)


@QUICK
@given(seeds, st.integers(1, 4))
def test_align_to(seed, count):
    rng = np.random.default_rng(seed)
    basis = subspace(rng, count).astype(np.float32)
    wide = np.concatenate([basis + 0.05 * rng.normal(size=basis.shape) / 11, subspace(rng, 3)])
    wide = np.linalg.qr(wide.reshape(len(wide), -1).T)[0].T
    turn, _ = np.linalg.qr(rng.normal(size=(len(wide),) * 2))
    model = model_of((turn @ wide).reshape((-1, 5, 5, 5)))
    aligned = align_to(model, basis)
    flat = aligned.components.reshape(count, -1).astype(float)
    assert flat @ flat.T == pytest.approx(np.eye(count), abs=1e-5)
    assert np.diag(flat @ basis.reshape(count, -1).T) == pytest.approx(np.ones(count), abs=0.02)
    own = model.components.reshape(model.q, -1).astype(float)
    assert flat @ own.T @ own == pytest.approx(flat, abs=1e-5)  # inside the model's span
    assert (model.variances.min() - 1e-6 <= aligned.variances).all()
    assert (aligned.variances <= model.variances.max() + 1e-6).all()


def test_merging_models():
    rng = np.random.default_rng(4)
    model = model_of(subspace(rng, 3))
    same = merge_models([model, model])
    assert covariance(same) == pytest.approx(covariance(model), abs=1e-5)
    both = merge_models([model_of(subspace(rng, 3)), model])
    flat = both.components.reshape(3, -1)
    assert flat @ flat.T == pytest.approx(np.eye(3), abs=1e-5)
    assert (np.diff(both.variances) <= 0).all()
    assert both.variances.max() <= model.variances.max() + 1e-6


def test_null_cosines():
    """They are what noise reaches, and grow as the space shrinks."""
    spectra = np.tile(SPECTRUM, (6, 1))
    nulls = null_cosines(spectra, MASK, GRID, 0)
    null = nulls[0]
    reached = [
        principal_directions(noise_model(k).components, noise_model(100 + k).components)[0][0]
        for k in range(15)
    ]
    assert np.mean(np.array(reached) > null) <= 0.1
    assert null < 2 * np.median(reached) < 1.0
    assert null_cosines(spectra, ball(GRID, 3), GRID, 0)[0] > null
    assert nulls.shape == (6,) and (np.diff(nulls) < 0).all()
    assert np.array_equal(null_cosines(spectra, MASK, GRID, 0), nulls)
    steep = spectra.copy()
    steep[0] *= np.exp(-np.arange(GRID.n_shells))  # one that is of low resolution alone
    with_steep = null_cosines(steep, MASK, GRID, 0)
    assert with_steep[0] > null
    assert with_steep[1:] == pytest.approx(nulls[1:])  # of those that come after it
    assert 0 < null_cosines(spectra[:1], MASK, GRID, 3)[0] < 1


def test_certify():
    model = noise_model(0)
    same = certify(model, model, MASK, GRID, 0)
    assert same.count == 6 and same.cosines == pytest.approx(np.ones(6), abs=1e-5)
    alone = certify(model, noise_model(1), MASK, GRID, 0)
    assert alone.count == 0 and alone.basis.shape == (0,) + MASK.shape
    assert alone.cosines.max() < max(1.5 * alone.null, RULES.min_cosine)
    shared = blobs(GRID, [[3, 0, -2]]) * MASK
    one = certify(noise_model(2, shared=shared), noise_model(3, shared=shared), MASK, GRID, 0)
    assert one.count == 1 and one.cosines[0] > 0.99
    basis = one.basis[0]
    assert (basis**2).sum() == pytest.approx(1, abs=1e-5)
    assert abs((basis * shared).sum()) / np.sqrt((shared**2).sum()) > 0.99


def test_artefacts_are_told():
    background, solvent = model_background(10)
    axis = np.arange(len(solvent)) - len(solvent) // 2
    body = background.mean * solvent
    gradient = [g * solvent for g in np.gradient(background.mean)]
    turned = axis[:, None] * gradient[2] - axis * gradient[1]
    other = blobs(background.grid, [[4, -3, 2]], 0.8) * solvent
    volumes = np.stack([body, gradient[2], turned, other])
    volumes /= np.sqrt((volumes**2).sum(axis=(1, 2, 3)))[:, None, None, None]
    share = nuisance_share(volumes, background, solvent)
    assert share[:3] == pytest.approx(np.ones(3), abs=1e-6)
    assert 0 <= share[3] < 0.3


def test_what_contrast_explains_as_well_is_left_to_contrast():
    background, solvent = model_background(10)
    body = nuisance_span(background, solvent)[0]
    size = np.sqrt((body**2).sum())
    other = blobs(background.grid, [[4, -3, 2]], 0.8) * solvent
    other -= (other * body).sum() / size**2 * body
    other /= np.sqrt((other**2).sum())
    mixed = np.sqrt(0.2) * body / size + np.sqrt(0.8) * other
    for contrast, count in ((0.3, 1), (0.01, 0)):
        spread = NuisanceSpread(contrast, 1e-4, 1e-4, 1e-4)
        model = LatentModel(mixed[None], np.array([0.1 * size**2]), spread)
        shared = ambiguous_directions(model, background, solvent)
        assert len(shared) == count
        left = without_directions(model, shared)
        expected = other if count else mixed
        assert np.abs(left.components[0] - expected).max() < 1e-5
        assert left.variances[0] == pytest.approx(model.variances[0] * (0.8 if count else 1))
    none = LatentModel(mixed[None][:0], np.zeros(0), NuisanceSpread())
    assert without_directions(none, ambiguous_directions(none, background, solvent)).q == 0


def test_too_weak_beside_the_strongest():
    """Two true components: variances of 30 and 0.03 times the particles' noise, or of 30 and 3."""
    n, rng = 3000, np.random.default_rng(3)
    frame = np.linalg.qr(
        np.stack([blobs(GRID_OF_MODEL, [p], 0.9).ravel() for p in ([3, 0, 0], [-2, 2, 0])], axis=1)
    )[0]
    volumes = frame.T.reshape((2,) + (GRID_OF_MODEL.box,) * 3).astype(np.float32)
    for ratio, expected in ((1e-3, [True, False]), (0.1, [True, True])):
        coordinates = rng.normal(size=(n, 2)) * 12 * np.sqrt([1, ratio])
        background, _ = model_background(n, differences=volumes, coordinates=coordinates)
        found = exceeds_model_error(volumes, background, np.arange(n), NuisanceSpread())
        assert found.tolist() == expected
    none = exceeds_model_error(volumes[:0], background, np.arange(n), NuisanceSpread())
    assert none.shape == (0,)


@pytest.mark.parametrize(
    "second,looks,expected",
    [
        ((20.0, 45.0), 1, True),
        ((-1.0, 0.0), 1, False),
        ((4.0, 6.0), 2, False),
        ((2.5, 9.0), 2, True),
    ],
)
def test_a_sample_is_asked_first_and_all_where_it_leaves_a_doubt(
    second, looks, expected, monkeypatch
):
    """Scores of 20,000 and of 100,000 particles; the bound is 3 for the sample and 7 for all."""
    scores, asked = {20000: [300.0, second[0]], 100000: [700.0, second[1]]}, []

    def score(directions, background, index, spread):
        asked.append(len(index))
        return np.array(scores[len(index)])

    monkeypatch.setattr(score_test, "held_out_score", score)
    found = exceeds_model_error(None, None, np.arange(100000), NuisanceSpread())
    assert found.tolist() == [True, expected]
    assert asked == [20000, 100000][:looks]


def test_what_features_explain():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 3))
    noise = rng.normal(size=(2000, 3))
    coordinates = np.stack([features[:, 0] + 5, features[:, 1] + noise[:, 1], noise[:, 2]], axis=1)
    assert explained_by(coordinates, features) == pytest.approx([1, 0.5, 0], abs=0.05)
    assert np.isfinite(explained_by(np.zeros((50, 2)), rng.normal(size=(50, 2)))).all()
