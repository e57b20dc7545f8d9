"""Images that were masked, filtered or left unnormalised elsewhere: refused, or said."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json
import warnings
from unittest import mock

import mrcfile
import numpy as np
import pytest
from scipy import fft

from pcainit.cli.main import main
from pcainit.cli.simulate import write_simulation
from pcainit.engine.images.census import (
    Surroundings,
    describe_images,
    measure_surroundings,
    warn_of_images,
)
from pcainit.engine.simulation.simulate import Simulation, draw_truth, simulate_images
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.store import Workspace

COUNT, BOX, SAMPLING = 240, 32, 6.0
SIMULATION = Simulation(particles=COUNT, box_px=BOX, sampling=SAMPLING, snr=0.2, seed=3)
FACTORS = np.random.default_rng(5).uniform(-1, 1, (COUNT, 1, 1))
SIMPLE = [
    "--method",
    "simple",
    "--classes",
    "2",
    "--particles-per-reconstruction",
    "100",
    "--threads",
    "1",
]


def distance(box=BOX):
    axis = np.arange(box) - box // 2
    return np.hypot(axis[:, None], axis)


def masked(images, radius=0.8, edge=3.0, fill=0.0):
    """Softly set to a constant beyond a share of half the box."""
    keep = np.clip((radius * BOX / 2 - distance()) / max(edge, 1e-9), 0, 1)
    return images * keep + fill * (1 - keep)


def filtered(images, gain):
    """Each Fourier sample times a function of its distance from the origin, in pixels."""
    places = fft.fftfreq(images.shape[1], 1 / images.shape[1])
    return fft.ifft2(fft.fft2(images) * gain(np.hypot(places[:, None], places))).real


def crowded(images):
    """Parts of other particles in the corners, and a gradient."""
    others = np.roll(images[::-1] - images.mean(), (BOX // 2, BOX // 3), axis=(1, 2))
    slope = FACTORS * np.linspace(-1, 1, BOX)
    return images + 0.8 * others[np.roll(np.arange(COUNT), 7)] + slope


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    write_simulation(folder, SIMULATION, draw_truth(SIMULATION))
    return folder


@pytest.fixture
def prepared(good, tmp_path):
    """A copy of the good particles with other images."""

    def make(change, dtype=np.float32):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "particles.star").write_bytes((good / "particles.star").read_bytes())
        images = change(mrcfile.read(str(good / "particles.mrcs")).astype(np.float64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mrcfile.write(str(tmp_path / "data" / "particles.mrcs"), images.astype(dtype))
        return tmp_path / "data"

    return make


@pytest.fixture
def go(tmp_path, capsys):
    """Runs a quick method; its summary, or the sentence that refused."""

    def run(data, *options):
        capsys.readouterr()
        with mock.patch("pcainit.output.report.write_report"):
            code = main(
                [
                    "run",
                    str(data / "particles.star"),
                    "-o",
                    str(tmp_path / "out"),
                    *SIMPLE,
                    *options,
                ]
            )
        if code == 0:
            return json.loads((tmp_path / "out" / "summary.json").read_text())
        last = capsys.readouterr().err.splitlines()[-1]
        assert code == 2 and last.startswith("pcainit: ") and last.endswith(".")
        assert not (tmp_path / "out").exists()
        return last

    return run


@pytest.mark.parametrize(
    "change",
    [
        lambda images: masked(images, edge=0),
        masked,
        lambda images: masked(images, 1.0, 3.0),
        lambda images: masked(images, fill=1.7) * 3 + 100,
        lambda images: masked(filtered(images, lambda k: np.exp(-0.02 * k**2))),
    ],
    ids=["hard", "soft", "wide", "other fill", "smooth"],
)
@pytest.mark.parametrize("options", [(), ("--normalise",)], ids=["as is", "normalised"])
def test_masked_images_are_refused_with_a_remedy(go, prepared, change, options):
    sentence = go(prepared(change), *options)
    assert "The images are masked: 100 %" in sentence and "without a mask" in sentence


def test_half_precision_hides_no_mask(go, prepared):
    assert "The images are masked" in go(prepared(masked, np.float16))


def test_a_few_masked_images_are_set_aside_and_counted(go, prepared):
    def change(images):
        images[10:30] = masked(images[10:30])
        return images

    summary = go(prepared(change))
    assert summary["masked_images"] == 20 and summary["saturated_images"] == 0
    assert "20 masked images left out." in summary["verdict"] and summary["warnings"] == []


@pytest.mark.parametrize(
    "change, dtype",
    [
        (lambda images: images, np.float32),
        (crowded, np.float32),
        (lambda images: images, np.float16),
        (lambda images: 1e-6 * images, np.float32),
        (lambda images: 1000 * images, np.float32),
        (lambda images: masked(images, 1.5, 3.0), np.float32),
        (lambda images: filtered(images, lambda k: np.exp(-0.01 * k**2)), np.float32),
    ],
    ids=["plain", "crowded", "float16", "faint", "strong", "mask in the corners", "smooth"],
)
def test_usual_images_are_neither_refused_nor_warned_of(go, prepared, change, dtype):
    summary = go(prepared(change, dtype))
    assert summary["warnings"] == [] and summary["masked_images"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        dict(coloured=True),
        dict(snr=1e-3),
        dict(snr=1e9),
        dict(snr=3.0, box_px=64, sampling=3.0),
        dict(junk=0.3, contrast_sd=0.4),
        dict(populations=(1.0,)),
    ],
    ids=["coloured", "no signal", "no noise", "strong", "junk", "homogeneous"],
)
def test_simulated_images_are_neither_refused_nor_warned_of(go, tmp_path, changes):
    simulation = dataclasses.replace(SIMULATION, **changes)
    (tmp_path / "data").mkdir()
    write_simulation(tmp_path / "data", simulation, draw_truth(simulation))
    assert go(tmp_path / "data")["warnings"] == []


def test_dark_images_are_no_masked_ones(go, prepared):
    assert go(prepared(lambda images: -images), "--invert-contrast")["warnings"] == []


@pytest.mark.parametrize("radius, edge", [(0.8, 3.0), (0.8, 0.0), (1.0, 6.0)])
def test_masks_are_seen_after_the_images_were_cropped_in_fourier_space(radius, edge):
    """Ripples are left where there was nothing."""
    simulation = dataclasses.replace(SIMULATION, particles=40, box_px=2 * BOX, sampling=3.0)
    images = np.array(list(simulate_images(simulation, draw_truth(simulation))))
    keep = np.clip((radius * BOX - distance(2 * BOX)) / max(edge, 1e-9), 0, 1)
    for factor, expected in ((1, False), (keep, True)):
        places = slice(BOX // 2, -BOX // 2)
        small = fft.fftshift(fft.fft2(images * factor), axes=(1, 2))[:, places, places]
        cropped = fft.ifft2(fft.ifftshift(small, axes=(1, 2))).real.astype(np.float32)
        measured = measure_surroundings(cropped)
        found = Surroundings(np.column_stack([measured, np.ones(len(cropped))]), False)
        assert (found.masked().mean() > 0.9) == expected and not found.blank().any()
        assert expected or not found.masked().any()


def test_what_is_measured():
    images = np.random.default_rng(0).normal(30, 2, (5, 24, 24)).astype(np.float32)
    images[3] *= 5
    images[4, 6:18, 6:18] += np.linspace(0, 50, 12)
    found = measure_surroundings(images)
    outside, inside = distance(24) > 12, distance(24) <= 6
    assert found[:, 0] == pytest.approx(images[:, outside].mean(axis=1), rel=1e-5)
    assert found[:, 1] == pytest.approx(images[:, outside].var(axis=1), rel=1e-4)
    assert found[:, 2] == pytest.approx(images[:, inside].var(axis=1), rel=1e-4)
    assert found[[0, 1, 2, 4], 3] == pytest.approx(np.full(4, 4.0), rel=0.3)  # no gradient
    assert found[3, 3] == pytest.approx(100.0, rel=0.3)
    again = measure_surroundings(images[[4, 1]])  # whatever its company
    assert np.array_equal(again, found[[4, 1]])


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images + 2.5,
        lambda images: 100 * images - 250,
        lambda images: images * np.exp(0.7 * FACTORS),
    ],
    ids=["offset", "offset and scale", "scales"],
)
def test_unnormalised_images_are_named_and_normalised_ones_are_not(go, prepared, tmp_path, change):
    data = prepared(change)
    summary = go(data)
    assert len(summary["warnings"]) == 1 and "--normalise" in summary["warnings"][0]
    assert summary["verdict"].endswith(summary["warnings"][0])
    again = go(data, "--normalise")
    assert again["warnings"] == [] and again["images"]["normalised"]
    assert again["images"]["background_sd"] == summary["images"]["background_sd"]


@pytest.mark.parametrize(
    "change",
    [lambda images: 100 * images + 3000, lambda images: images * np.exp(2 * FACTORS)],
    ids=["offset", "scales"],
)
def test_what_gives_wrong_results_is_refused(go, prepared, change):
    data = prepared(change)
    sentence = go(data)
    assert "not normalised" in sentence and "--normalise" in sentence
    assert go(data, "--normalise")["warnings"] == []


@pytest.mark.parametrize("edge", [1.5, 3.5])
def test_high_passed_images_are_named(go, prepared, edge):
    summary = go(prepared(lambda images: filtered(images, lambda k: 1.0 * (k > edge))))
    assert len(summary["warnings"]) == 1 and "high-pass" in summary["warnings"][0]
    assert summary["verdict"].endswith(summary["warnings"][0])
    assert summary["images"]["low_frequency"][1] < 0.2


def test_chunks_and_threads_give_the_same_census(good, tmp_path):
    def prepare(name, *options):
        words = ["prepare", str(good / "particles.star"), "--work", str(tmp_path / name)]
        assert main([*words, *options]) == 0

    def census(name):
        return Workspace(tmp_path / name).get(PrepareResult).images

    with mock.patch("pcainit.pipeline.prepare.chunk_length", lambda box: 17):
        prepare("one", "--threads", "1")
        prepare("two", "--threads", "2")
    for part in ("3/3", "1/3", "2/3"):
        prepare("parts", "--chunk", part)
    prepare("parts", "--join", "3")
    prepare("whole")
    assert census("one") == census("two") == census("parts") == census("whole")
    assert census("one")["masked"] == 0 and not census("one")["normalised"]


def test_images_of_which_nothing_is_known_give_no_warning():
    """Summaries of earlier versions have no such numbers."""
    assert warn_of_images({}) == []
    nothing = describe_images(Surroundings.empty(3, False), np.ones(3, bool), 0)
    assert warn_of_images(nothing) == [] and json.loads(json.dumps(nothing)) == nothing
