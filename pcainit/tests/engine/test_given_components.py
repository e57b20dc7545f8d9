"""Given components, as a start and as they are: true ones, rubbish, and noise of the particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json

import mrcfile
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from pcainit.engine.components.given import first_dependent, fit_component, fit_spread, likeness
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.image_model import NuisanceSpread
from pcainit.io.maps import write_map
from pcainit.tests.particle_examples import GRID, ball, blobs, model_background
from pcainit.tests.pipeline.test_particle_runs import (
    BOX,
    RESOLUTION,
    SAMPLING,
    command,
    run,
    simulate,
    true_states,
)
from pcainit.tests.volume_examples import STATES

MASK = ball(GRID, 5)
# What changes in the sets made from the model itself, of norm 1 inside the mask.
CHANGES = np.stack(
    [
        blobs(GRID, [[2, 1, 0]]) - blobs(GRID, [[-2, 1, 0]]),
        blobs(GRID, [[0, -2, 1]]) - blobs(GRID, [[1, 2, -1]]),
    ]
)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two states, 65 and 35 %, with the true maps, their difference and rubbish as files."""
    folder = tmp_path_factory.mktemp("given")
    simulate(
        folder,
        "--particles",
        2000,
        "--populations",
        "0.65,0.35",
        "--snr",
        0.15,
        "--domain",
        0.15,
        "--seed",
        4,
    )
    states = [mrcfile.read(folder / "truth" / ("class%02d.mrc" % k)) for k in (0, 1)]
    rng = np.random.default_rng(0)
    for name, volume in (
        ("mean", 0.65 * states[0] + 0.35 * states[1]),
        ("truth", -7 * (states[0] - states[1])),
        ("rubbish", ndimage.gaussian_filter(rng.normal(size=states[0].shape), 1.2)),
        ("rubbish2", ndimage.gaussian_filter(rng.normal(size=states[0].shape), 1.2)),
        ("whole", states[1]),
    ):
        write_map(folder / (name + ".mrc"), volume, SAMPLING)
    return folder


@pytest.fixture(scope="module")
def without(two, tmp_path_factory):
    """The result without anything given."""
    return run(two, tmp_path_factory.mktemp("without"), "--no-local-search")


def agreement(two, result):
    """How well the classes are the true states (adjusted Rand index)."""
    return adjusted_rand_score(true_states(two), result.label)


def test_fixed_components_give_the_states(two, without, tmp_path):
    """The true difference, upside down and on another scale, beside rubbish."""
    result = run(
        two,
        tmp_path / "out",
        "--given-components",
        two / "truth.mrc",
        two / "rubbish.mrc",
        "--given-use",
        "fixed",
    ).check()
    assert agreement(two, result) > max(0.8, agreement(two, without) - 0.03)
    assert result.summary["class_weights"] == pytest.approx([0.65, 0.35], abs=0.03)
    assert result.summary["half_set_cosines"] == [] == result.summary["changing_places"]
    assert result.summary["significant_components"] is None
    given = result.summary["given"]
    assert given["score"][0] > 20 and abs(given["score"][1]) < 4
    assert len(result.analysis["components"]) == 2
    assert "were taken at their word: no half-set test was made" in result.verdict
    assert "truth.mrc %.1f, rubbish.mrc" % given["score"][0] in result.verdict
    assert "evidence only if other particles gave the components" in result.verdict
    assert "reproducible" not in result.verdict and "2 classes (" in result.verdict


def test_whole_maps_with_their_mean(two, without, tmp_path):
    result = run(
        two,
        tmp_path / "out",
        "--given-components",
        two / "whole.mrc",
        "--given-mean",
        two / "mean.mrc",
        "--given-use",
        "fixed",
    )
    assert agreement(two, result) > max(0.8, agreement(two, without) - 0.03)


@pytest.mark.parametrize("names", [["truth"], ["rubbish", "rubbish2"]])
def test_a_start_does_no_harm(two, without, tmp_path, names):
    result = run(
        two,
        tmp_path / "out",
        "--no-local-search",
        "--given-components",
        *(two / (name + ".mrc") for name in names),
    ).check()
    assert agreement(two, result) > agreement(two, without) - 0.02
    assert result.summary["significant_components"] == without.summary["significant_components"]
    found = result.summary["given"]["found"]
    assert found[0] > 0.8 if names == ["truth"] else max(found) < 0.5
    assert "only what is found then too is independent" in result.verdict


@pytest.mark.slow
def test_noise_of_the_same_particles_is_not_certified(tmp_path):
    """Components fitted to the noise of these particles score high on them, but do not pass."""
    data = simulate(tmp_path, "--particles", 1500, "--populations", 1, "--snr", 0.05, "--seed", 5)
    first = run(data, tmp_path / "first", "--no-local-search")
    noise = sorted((first.folder / "components").glob("component_*.mrc"))
    assert first.summary["significant_components"] == 0 and len(noise) == 4
    again = run(data, tmp_path / "again", "--no-local-search", "--given-components", *noise)
    assert again.summary["significant_components"] == 0 and again.summary["classes"] == 1
    assert "No heterogeneity beyond noise" in again.verdict
    assert "started from the given components and did not confirm them" in again.verdict
    taken = run(data, tmp_path / "taken", "--given-components", *noise, "--given-use", "fixed")
    assert min(taken.summary["given"]["score"]) > 3  # and the verdict says what it is worth
    assert "noise that was fitted to the same particles scores high too" in taken.verdict


def test_the_variance_map_of_given_components(two, tmp_path):
    assert (
        command(
            "variance",
            two / "particles.star",
            "-o",
            tmp_path / "out",
            "--resolution",
            RESOLUTION,
            "--given-components",
            two / "truth.mrc",
            "--given-use",
            "fixed",
        )
        == 0
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["significant_components"] is None and "at its word" in summary["verdict"]
    grid = Grid(BOX, SAMPLING, RESOLUTION)
    square = grid.from_particle_box(mrcfile.read(two / "truth.mrc")) ** 2
    variance = grid.from_particle_box(mrcfile.read(tmp_path / "out/components/variance.mrc"))
    assert np.corrcoef(square.ravel(), variance.ravel())[0, 1] > 0.9


# ------------------------------- What is refused ----------------------------


def bad(two, folder, capsys, *words):
    """What is said of a run that is refused before it leaves anything."""
    assert (
        command(
            "run",
            two / "particles.star",
            "-o",
            folder / "out",
            "--resolution",
            RESOLUTION,
            "--given-components",
            *words,
        )
        == 2
    )
    said = capsys.readouterr().err.splitlines()
    assert not (folder / "out").exists()
    return said[-1]


def test_bad_components_are_refused(two, tmp_path, capsys):
    write_map(tmp_path / "flat.mrc", np.ones((BOX,) * 3), SAMPLING)
    broken = np.zeros((BOX,) * 3, np.float32)
    broken[0, 0, 0] = np.nan
    write_map(tmp_path / "nan.mrc", broken, SAMPLING)
    write_map(tmp_path / "long.mrc", np.zeros((BOX, BOX, BOX + 2)), SAMPLING)
    write_map(tmp_path / "scaleless.mrc", np.zeros((BOX,) * 3) + np.arange(BOX), 0)
    for name, said in (
        ("none", "does not exist"),
        ("flat", "is constant: leave it out"),
        ("nan", "not finite numbers"),
        ("long", "is not a cube"),
        ("scaleless", "no sampling rate"),
    ):
        assert said in bad(two, tmp_path, capsys, tmp_path / (name + ".mrc"))
    truth = two / "truth.mrc"
    assert "truth.mrc is a combination of those before it" in bad(
        two, tmp_path, capsys, two / "rubbish.mrc", truth, truth
    )
    assert "looks like the consensus itself" in bad(two, tmp_path, capsys, two / "whole.mrc")
    assert "none.mrc does not exist" in bad(
        two, tmp_path, capsys, truth, "--given-mean", tmp_path / "none.mrc"
    )
    assert "given_components are used by the method particles only" in bad(
        two, tmp_path, capsys, truth, "--method", "batches", "--classes", 3
    )
    assert (
        command("run", two / "particles.star", "-o", tmp_path / "out", "--given-mean", truth) == 2
    )
    assert "no given_components" in capsys.readouterr().err
    corner = np.exp(-0.5 * ((np.indices((BOX,) * 3) - 6) ** 2).sum(axis=0) / 2.5**2)
    write_map(tmp_path / "corner.mrc", corner, SAMPLING)
    ball_mask = np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0) < 6
    write_map(tmp_path / "mask.mrc", ball_mask, SAMPLING)
    assert "is constant inside the mask" in bad(
        two, tmp_path, capsys, tmp_path / "corner.mrc", "--mask", tmp_path / "mask.mrc"
    )
    assert "would replace" in _into_itself(two, tmp_path, capsys)


def _into_itself(two, folder, capsys):
    place = folder / "again" / "components" / "component_001.mrc"
    write_map(place, mrcfile.read(two / "truth.mrc"), SAMPLING)
    assert (
        command("run", two / "particles.star", "-o", folder / "again", "--given-components", place)
        == 2
    )
    return capsys.readouterr().err


# ------------------------------- The pieces ---------------------------------


@pytest.mark.parametrize("box, sampling", [(48, 5.0), (64, 4.1), (35, 6.6)])
def test_any_box_and_sampling(box, sampling):
    """The same change on other grids is the same component."""
    grid = Grid(48, 5.0, 20.0)
    mask = (np.linalg.norm(np.indices((grid.box,) * 3) - grid.box // 2, axis=0) < 9).astype("f4")
    change = [
        STATES[0].volume(b, s) - STATES[1].volume(b, s) for b, s in ((48, 5.0), (box, sampling))
    ]
    one, two = (fit_component(volume, s, grid, mask) for volume, s in zip(change, (5.0, sampling)))
    assert (one.astype(float) ** 2).sum() == pytest.approx(1, abs=1e-5)
    assert (one * two).sum() > 0.995 and not one[mask == 0].any()


def test_dependent_volumes_are_told():
    rng = np.random.default_rng(1)
    volumes = rng.normal(size=(4, 5, 5, 5))
    volumes[2] = volumes[0] - 2 * volumes[1]
    volumes /= np.sqrt((volumes**2).sum(axis=(1, 2, 3), keepdims=True))
    assert first_dependent(volumes) == 2
    assert first_dependent(volumes[[0, 1, 3]]) == -1
    assert likeness(volumes[0], -3 * volumes[0], np.ones((5, 5, 5))) == pytest.approx(1)


def test_spread_along_given_components():
    """Variances, from a start that knows nothing, against those the particles were drawn with."""
    changes = np.stack([c * MASK / np.sqrt((c**2 * MASK**2).sum()) for c in CHANGES])
    rng = np.random.default_rng(3)
    true = np.array([9.0, 3.0])
    z = rng.normal(size=(4000, 2)) * np.sqrt(true)
    background, _ = model_background(4000, seed=3, differences=changes, coordinates=z)
    turned = np.stack([changes[0] + changes[1], changes[0] - 0.5 * changes[1]])
    turned /= np.sqrt((turned**2).sum(axis=(1, 2, 3), keepdims=True))
    model = fit_spread(
        background,
        turned.astype(np.float32),
        NuisanceSpread(0.02, 0.02, 0.002, 0.02),
        np.arange(4000),
    )
    overlap = np.einsum("azyx,bzyx->ab", changes, changes)
    drawn = np.linalg.eigvals(np.diag(true) @ overlap)
    np.testing.assert_allclose(model.variances, np.sort(drawn)[::-1], rtol=0.15)
    assert abs((model.components[0] * changes[0]).sum()) > 0.97
