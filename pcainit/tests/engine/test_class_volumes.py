"""Amplitudes of class volumes, and the level of a volume, against known truth."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from scipy import fft

from pcainit.engine.classes.local_filter import (
    CALIBRATIONS,
    Sample,
    calibrate,
    draw_telling,
    localise,
)
from pcainit.engine.geometry.masks import solvent_level
from pcainit.engine.model.class_model import ClassModel
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.engine.model.shell_products import shell_products
from pcainit.engine.projection.slices import extract_slices
from pcainit.tests.particle_examples import GRID, ball, blobs, model_background


def every_other(count):
    """Samples of two half-sets that hold all of their particles."""
    return tuple(Sample(np.arange(h, count, 2), np.ones(count // 2)) for h in (0, 1))


def filtered(volume, gain):
    """A volume with each shell times `gain` (n_shells,)."""
    spectrum = fft.rfftn(volume) * np.append(gain, 0)[GRID.box_shells]
    return fft.irfftn(spectrum, s=volume.shape).astype(np.float32)


def test_solvent_level_finds_an_offset_that_is_the_same_everywhere():
    mask, density = ball(GRID, 6), blobs(GRID, [[0, 1, 2], [1, -1, 0]])
    assert solvent_level(density * mask + 0.3, mask) == pytest.approx(0.3, abs=1e-3)


def test_solvent_level_is_nothing_where_there_is_no_solvent():
    assert solvent_level(np.full((8, 8, 8), 2, np.float32), np.ones((8, 8, 8), np.float32)) == 0


def test_level_ignores_what_is_in_the_corners_of_the_box():
    mask, volume = ball(GRID, 6), np.zeros((GRID.box,) * 3, np.float32)
    volume[0, 0, 0] = 1e6
    assert solvent_level(volume, mask) == 0


@pytest.mark.parametrize("damping", [0.75, 1.0, 1.4])
def test_calibration_undoes_what_was_done_to_each_shell(damping):
    difference = 0.6 * blobs(GRID, [[1, 1, 2], [-2, 0, 1]], width=1.5)
    label = np.random.default_rng(5).integers(0, 2, 4000)
    background, mask = model_background(
        4000, differences=difference[None], noise=0.02, coordinates=(label - 0.5)[:, None]
    )
    gain = damping * np.linspace(1.0, 1.2, GRID.n_shells)  # slower than the smoothing
    true = np.stack([-difference / 2, difference / 2])
    damped = ClassModel(np.stack([filtered(v, gain) for v in true]), np.full(2, 0.5))
    mended, pair = calibrate(
        background,
        np.ones_like(mask),
        damped,
        (damped, damped),
        every_other(4000),
        NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3),
    )
    assert np.array_equal(pair[0].differences, mended.differences)  # the same, by the same
    for old, new, ours in zip(damped.differences, true, mended.differences):
        before, wanted = GRID.shell_profile(old), GRID.shell_profile(new)
        after = GRID.shell_profile(ours)
        strong = slice(1, 4)
        assert np.sqrt(after[strong] / wanted[strong]) == pytest.approx(1, abs=0.04)
        if damping != 1:
            assert abs(np.sqrt(before[1] / wanted[1]) - 1) > 0.1


def test_calibration_leaves_nothing_of_differences_that_the_other_half_does_not_show():
    rng = np.random.default_rng(3)
    background, mask = model_background(2000, noise=0.5)
    flat = np.ones(GRID.n_shells)

    def noise():
        volumes = 0.05 * rng.standard_normal((2,) + mask.shape).astype(np.float32)
        return ClassModel(np.stack([filtered(v, flat) for v in volumes]) * mask, np.full(2, 0.5))

    whole, pair = noise(), (noise(), noise())
    mended, _ = calibrate(background, mask, whole, pair, every_other(2000), NuisanceSpread())
    power = (mended.differences**2).sum() / (whole.differences**2).sum()
    assert power < 0.3


def test_shell_products_by_numpy():
    differences = np.stack([blobs(GRID, [[1, 1, 2]]), -0.5 * blobs(GRID, [[-2, 0, 1]])])
    background, _ = model_background(
        40,
        differences=differences,
        noise=0.5,
        coordinates=np.random.default_rng(1).normal(size=(40, 2)),
    )
    index, weights = np.arange(0, 40, 3), np.random.default_rng(2).uniform(size=(14, 2))
    slices = background.slices
    transforms = GRID.to_fourier(np.concatenate([background.mean[None], differences]))
    factor = slices.ctf[index] * background.whitening
    views = extract_slices(transforms, slices.rotations[index], GRID) * factor[..., None]
    rest = slices.values[index] * background.whitening - views[..., 0]
    products, squares = shell_products(background, differences, weights, index)
    for k in range(2):
        view = views[..., k + 1]
        for found, each in ((products, (view * rest.conj()).real), (squares, np.abs(view) ** 2)):
            expected = np.bincount(GRID.shell, weights[:, k] @ each)
            assert found[k] == pytest.approx(expected, rel=1e-4, abs=1e-4 * expected.max())


def test_calibration_reaches_its_end():
    """Classes that overlap: damped differences make soft posteriors, which hide the damping."""
    difference = 0.35 * blobs(GRID, [[1, 1, 2], [-2, 0, 1]], width=1.5)
    label = np.random.default_rng(5).integers(0, 2, 6000)
    background, mask = model_background(
        6000, differences=difference[None], noise=0.6, coordinates=(label - 0.5)[:, None]
    )
    true = np.stack([-difference / 2, difference / 2])
    whole = ClassModel(0.6 * true, np.full(2, 0.5))
    pair = whole, whole
    samples = every_other(6000)
    spread = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3)
    sizes = []
    for _ in range(CALIBRATIONS):
        whole, pair = calibrate(background, np.ones_like(mask), whole, pair, samples, spread)
        sizes.append(float((whole.differences * true).sum() / (true**2).sum()))
    assert 0.6 < sizes[0] < sizes[-1] - 0.03
    assert sizes[-1] == pytest.approx(1, abs=0.1)


def test_a_sample_holds_enough_of_each_class_and_stands_for_all():
    rng = np.random.default_rng(4)
    label = rng.choice(3, size=30000, p=[0.8, 0.19, 0.01])
    shares = (0.94 * np.eye(3)[label] + 0.02).astype(np.float32)
    index = np.arange(1, 30000, 2)
    sample = draw_telling(shares, index, count=500)
    assert np.isin(sample.index, index).all() and (np.diff(sample.index) > 0).all()
    sizes = np.bincount(label[sample.index])
    assert (sizes[:2] > 450).all() and len(sample.index) < 2000
    assert sizes[2] > 0.9 * (label[index] == 2).sum()
    assert (sample.stand_for >= 1).all()
    values = rng.normal(1, 0.2, size=(30000, 3)) * shares
    found = (values[sample.index] * sample.stand_for[:, None]).sum(axis=0)
    assert found == pytest.approx(values[index].sum(axis=0), rel=0.1)


@pytest.mark.parametrize("period", [2, 3, 4, 7])
def test_a_sample_of_classes_that_take_turns(period):
    shares = np.eye(period, dtype=np.float32)[np.arange(20000) % period]
    sample = draw_telling(shares, np.arange(20000), count=1000)
    sizes = np.bincount(sample.index % period, minlength=period)
    assert sizes == pytest.approx(1000, abs=3) and (np.diff(sample.index) > 0).all()


@pytest.mark.parametrize("period", [2, 3, 5])
def test_a_sample_within_one_class_follows_no_period(period):
    """Tilt pairs, or sessions that take turns, in one class."""
    sample = draw_telling(np.ones((5000, 1), np.float32), np.arange(5000), count=2500)
    sizes = np.bincount(sample.index % period, minlength=period)
    assert sizes == pytest.approx(2500 / period, abs=5)


def test_nobody_stands_for_very_many():
    """A particle that the shares know nothing of may turn out to be of the rare class."""
    shares = np.zeros((100000, 2), np.float32)
    shares[:, 0] = 1
    shares[:100] = 0, 1
    sample = draw_telling(shares, np.arange(100000), count=100)
    assert sample.stand_for.max() <= 20 and len(sample.index) < 6000
    assert np.isin(np.arange(100), sample.index).all()


def test_calibration_by_a_sample_is_that_by_all():
    """One class of 5 %: it comes nearly whole, of the other a part."""
    difference = 0.6 * blobs(GRID, [[1, 1, 2], [-2, 0, 1]], width=1.5)
    label = (np.random.default_rng(5).uniform(size=6000) < 0.05).astype(int)
    background, mask = model_background(
        6000, differences=difference[None], noise=0.3, coordinates=label[:, None] - 0.5
    )
    damped = ClassModel(0.7 * np.stack([-difference / 2, difference / 2]), np.array([0.95, 0.05]))
    spread, shares = NuisanceSpread(1e-3, 1e-3, 1e-4, 1e-3), np.eye(2, dtype=np.float32)[label]
    samples = tuple(draw_telling(shares, np.arange(h, 6000, 2), count=300) for h in (0, 1))
    assert all(len(sample.index) < 900 and sample.stand_for.max() > 5 for sample in samples)
    found = [
        calibrate(background, np.ones_like(mask), damped, (damped, damped), each, spread)[0]
        for each in (samples, every_other(6000))
    ]
    for one, two in zip(*(model.differences for model in found)):
        assert np.sqrt((one**2).sum() / (two**2).sum()) == pytest.approx(1, abs=0.03)


def test_few_particles_are_all_in_the_sample():
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], size=300).astype(np.float32)
    sample = draw_telling(shares, np.arange(100), count=100)
    assert np.array_equal(sample.index, np.arange(100)) and (sample.stand_for == 1).all()


def test_each_place_keeps_what_the_half_sets_agree_on():
    rng = np.random.default_rng(7)
    signal = blobs(GRID, [[1, 1, 2]], width=1.5)

    def noisy(level):
        noise = filtered(rng.standard_normal(signal.shape), np.ones(GRID.n_shells))
        return ClassModel((signal + level * noise)[None], np.ones(1))

    level = 0.15 * float(signal.max())
    halves = noisy(level), noisy(level)
    mean = ClassModel((halves[0].differences + halves[1].differences) / 2, np.ones(1))
    whole, pair = localise(GRID, np.ones_like(signal), mean, halves)
    error = [float(((model.differences[0] - signal) ** 2).sum()) for model in (mean, whole)]
    assert error[1] < 0.6 * error[0]
    place = signal > 0.5 * signal.max()
    assert whole.differences[0][place].sum() == pytest.approx(signal[place].sum(), rel=0.1)
    for old, new in zip(halves, pair):
        assert (new.differences**2).sum() < (old.differences**2).sum()


def test_halves_that_are_the_same_go_through_as_they_are():
    signal = blobs(GRID, [[1, 1, 2], [-2, 0, 1]], width=1.5)[None]
    same = ClassModel(GRID.band_limit(signal[0])[None], np.ones(1))
    whole, _ = localise(GRID, np.ones_like(signal[0]), same, (same, same))
    assert whole.differences == pytest.approx(same.differences, abs=1e-4 * float(signal.max()))
