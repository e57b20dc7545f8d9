"""PCA of given volumes: against known states, across boxes and greyscales, refused where not."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json
import re

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.resample import resample
from pcainit.engine.volume_sets.volume_set import match_greyscale, principal_components
from pcainit.io.maps import write_map
from pcainit.output.plots import load_result
from pcainit.tests.volume_examples import (
    BOX,
    SAMPLING,
    STATES,
    mixed,
    smooth_states,
    state_volumes,
    write_set,
)


def _shares(n, seed=0):
    """Two tight states and a bridge of intermediates between the first and the second."""
    rng = np.random.default_rng(seed)
    t = np.concatenate(
        [
            rng.normal(0, 0.02, n // 2),
            rng.normal(1, 0.02, n // 4),
            rng.uniform(0, 1, n - n // 2 - n // 4),
        ]
    )
    return np.column_stack([1 - t, t, np.zeros(n)]), t


def _match(volume, truth):
    return np.corrcoef(volume.ravel(), truth.ravel())[0, 1]


@pytest.mark.parametrize("box, sampling", [(48, 5.0), (64, 4.1), (49, 5.0), (40, 7.3), (96, 2.5)])
def test_resampling_keeps_the_density(box, sampling):
    """Against the same phantom, smooth enough for all grids, written on the working grid."""
    grid, smooth = Grid(BOX, SAMPLING, 20.0), dataclasses.replace(STATES[0], width=12.0)
    expected = grid.band_limit(smooth.volume(grid.box, grid.voxel))
    found = resample(smooth.volume(box, sampling) + 3, sampling, grid) - 3
    assert np.abs(found - expected).max() < 0.01 * expected.max()


def test_components_are_those_of_a_singular_value_decomposition():
    rng = np.random.default_rng(3)
    volumes = rng.normal(size=(9, 6, 6, 6)).astype(np.float32)
    mask = rng.uniform(0, 1, (6, 6, 6)).astype(np.float32)
    ours = principal_components(volumes, mask, np.ones(9), 4)
    data = (volumes * mask).reshape(9, -1).astype(float)
    left, singular, right = np.linalg.svd(data - data.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(ours.spectrum, singular[:8] ** 2 / 8, rtol=1e-5)
    for k in range(4):
        sign = np.sign(ours.components[k].ravel() @ right[k])
        np.testing.assert_allclose(ours.components[k].ravel(), sign * right[k], atol=1e-5)
        np.testing.assert_allclose(
            ours.coordinates[:, k], sign * left[:, k] * singular[k], atol=1e-4
        )


def test_spectrum_is_no_longer_than_the_mask_has_voxels():
    volumes = np.random.default_rng(6).normal(size=(12, 4, 4, 4)).astype(np.float32)
    mask = np.zeros((4, 4, 4), np.float32)
    mask[1, 1, :3] = 1
    assert len(principal_components(volumes, mask, np.ones(12), 2).spectrum) == 3


def test_weights_are_as_good_as_copies():
    rng = np.random.default_rng(4)
    volumes = rng.normal(size=(7, 5, 5, 5)).astype(np.float32)
    mask, weights = np.ones((5, 5, 5), np.float32), np.array([1, 2, 3, 1, 2, 1, 2.0])
    ours = principal_components(volumes, mask, weights / weights.mean(), 3)
    copies = principal_components(
        np.repeat(volumes, weights.astype(int), axis=0), mask, np.ones(12), 3
    )
    np.testing.assert_allclose(
        np.abs((ours.components * copies.components).sum(axis=(1, 2, 3))), 1, atol=1e-5
    )


def test_greyscale_is_found():
    rng = np.random.default_rng(5)
    grid = Grid(BOX, SAMPLING, 20.0)
    clean = resample(state_volumes()[0], SAMPLING, grid)
    gains, offsets = rng.uniform(0.2, 5, 12), rng.normal(0, 2, 12)
    volumes = np.stack([g * clean + o for g, o in zip(gains, offsets)]).astype(np.float32)
    found, _ = match_greyscale(volumes, (clean > 0.1 * clean.max()).astype(np.float32))
    np.testing.assert_allclose(found, gains / np.median(gains), rtol=1e-3)
    assert np.ptp(volumes, axis=0).max() < 1e-3 * np.ptp(volumes[0])
    volumes[4] *= -1
    assert match_greyscale(volumes, np.ones_like(clean))[0][4] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "boxes, greyscale",
    [(((BOX, SAMPLING),), False), (((BOX, SAMPLING), (64, 4.0), (45, 5.5)), True)],
)
def test_states_and_coordinates_are_recovered(tmp_path, boxes, greyscale):
    shares, t = _shares(240)
    rng = np.random.default_rng(7)
    scales = np.column_stack([rng.uniform(0.5, 2, 240), rng.normal(0, 0.02, 240)])
    maps = write_set(
        tmp_path / "maps", shares, noise=1.0, boxes=boxes, scales=scales if greyscale else None
    )
    out = tmp_path / "out"
    words = ["--align-greyscale"] if greyscale else []
    assert main(["volumes", str(maps), "-o", str(out), "--resolution", "20", *words]) == 0
    result = load_result(out)
    assert abs(_match(result.batch_coordinates[:, 0], t)) > 0.98
    # Each end is shown by a representative: its difference map is the state's.
    truth, voxels = smooth_states(), [mrcfile.read(p) for p in sorted(out.glob("volumes/*.mrc"))]
    assert voxels[0].shape == (boxes[0][0],) * 3
    change = truth[1] - truth[0]
    along = [float((v * change).sum()) for v in voxels]
    first, last = voxels[int(np.argmin(along))], voxels[int(np.argmax(along))]
    assert _match(last - first, change) > 0.95
    with mrcfile.open(out / "volumes" / "class_001.mrc") as mrc:
        assert float(mrc.voxel_size.x) == pytest.approx(SAMPLING)
    for name in ("mean", "mask", "variance", "component_001"):
        assert (out / "components" / (name + ".mrc")).is_file()
    assert len((out / "coordinates.txt").read_text().splitlines()) == 241
    text = re.sub('base64,[^"]*', "", (out / "report.html").read_text())
    assert "240</b> input volumes" in text and "Input volumes as points" in text
    assert "mask_near" in text and "Align the greyscale?" in text  # what was used
    assert "no_ctf" not in text and "symmetry" not in text  # and nothing else
    assert "Reconstructions" not in text and "consensus" not in text


def test_number_of_classes_and_weights(tmp_path, no_report):
    """Three tight states: BIC finds three, and the shares follow the weights."""
    rng = np.random.default_rng(8)
    state = np.repeat([0, 1, 2], [40, 30, 20])
    maps = write_set(tmp_path / "maps", np.eye(3)[state] + rng.normal(0, 0.02, (90, 3)), noise=0.5)
    rows = "".join(
        "%s %d\n" % (maps / ("volume_%04d.mrc" % k), 1 + (state[k] == 2)) for k in range(90)
    )
    (tmp_path / "list.txt").write_text(rows)
    for words, k in ([], 3), (["--classes", "2"], 2):
        out = tmp_path / ("out%d" % k)
        assert main(["volumes", str(tmp_path / "list.txt"), "-o", str(out), *words]) == 0
        summary = json.loads((out / "summary.json").read_text())
        assert summary["classes"] == k and summary["method"] == "volumes"
    out = tmp_path / "out3"
    summary = json.loads((out / "summary.json").read_text())
    assert sorted(summary["class_sizes"]) == [20, 30, 40]
    assert sorted(np.round(np.array(summary["class_weights"]) * 110)) == [30, 40, 40]
    smooth = smooth_states()
    found = [mrcfile.read(p) for p in sorted(out.glob("volumes/*.mrc"))]
    match = np.array(
        [
            [_match(v - np.mean(found, axis=0), s - np.mean(smooth, axis=0)) for s in smooth]
            for v in found
        ]
    )
    assert sorted(match.argmax(axis=1)) == [0, 1, 2] and match.max(axis=1).min() > 0.9


def test_the_same_seed_gives_the_same(tmp_path, no_report):
    maps = write_set(tmp_path / "maps", _shares(20)[0], noise=1.0)
    for name in "ab":
        assert (
            main(
                [
                    "volumes",
                    str(maps),
                    "-o",
                    str(tmp_path / name),
                    "--threads",
                    "1" if name == "a" else "2",
                    "--classes",
                    "3",
                ]
            )
            == 0
        )
    one, two = ((tmp_path / name / "volumes" / "class_002.mrc").read_bytes() for name in "ab")
    assert one[1024:] == two[1024:]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--resolution", "8"], "finer than Nyquist of the volume"),
        (["--resolution", "80"], "too coarse for the box of 240 A"),
        (["--classes", "9"], "only 4 volumes: give at least 9"),
        (["--mask", "nothing.mrc"], "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, capsys, words, said):
    maps = write_set(tmp_path / "maps", _shares(4)[0])
    out = tmp_path / "out"
    assert main(["volumes", str(maps), "-o", str(out), *words]) == 2
    said_all = capsys.readouterr().err
    assert said in said_all and said_all.count("\n") == 1 and not out.exists()


def test_bad_volumes_are_refused(tmp_path, capsys):
    maps, out = write_set(tmp_path / "maps", _shares(4)[0]), str(tmp_path / "out")

    def refused(*words):
        assert main(["volumes", *map(str, words), "-o", out]) == 2
        return capsys.readouterr().err

    assert "does not exist" in refused(maps / "none.mrc")
    assert "has no maps" in refused(tmp_path)
    assert "only 1 volumes" in refused(maps / "volume_0000.mrc")
    assert "No volumes are given" in refused()
    (tmp_path / "list.txt").write_text("maps/volume_0000.mrc heavy\n")
    assert "line 1 cannot be read" in refused(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("maps/volume_0000.mrc 0\n")
    assert "The weight of" in refused(tmp_path / "list.txt")
    write_map(maps / "volume_0009.mrc", np.zeros((BOX,) * 3), SAMPLING)
    assert "is constant" in refused(maps)
    write_map(maps / "volume_0009.mrc", -mixed((1, 0, 0)), SAMPLING)
    assert "does not look like the others" in refused(maps, "--align-greyscale")
    write_map(maps / "volume_0009.mrc", np.full((BOX,) * 3, 2.3), SAMPLING)
    assert "is constant" in refused(maps)
    write_map(maps / "volume_0009.mrc", mixed((1, 0, 0))[14:34, 14:34, 14:34], SAMPLING)
    assert "is 100 A wide, but the mask reaches" in refused(maps)
    (tmp_path / "empty").mkdir()
    assert "has no maps" in refused(tmp_path / "empty")
    assert "nothing does not exist: check the path" in refused(tmp_path / "nothing")
    write_map(maps / "volume_0009.mrc", mixed((1, 0, 0)), 0)
    assert "no sampling rate" in refused(maps)
    assert "would replace" in _into_itself(maps, capsys)


def test_more_components_than_the_mask_has_voxels(tmp_path, capsys):
    maps = write_set(tmp_path / "maps", np.eye(3)[np.arange(15) % 3], noise=0.3)
    grid = Grid(BOX, SAMPLING, 20.0)
    mask = np.zeros((grid.box,) * 3)
    mask[(slice(grid.box // 2, grid.box // 2 + 2),) * 3] = 1
    write_map(tmp_path / "mask.mrc", mask, grid.voxel)
    assert (
        main(
            [
                "volumes",
                str(maps),
                "-o",
                str(tmp_path / "out"),
                "--components",
                "12",
                "--mask",
                str(tmp_path / "mask.mrc"),
            ]
        )
        == 2
    )
    assert "components is 12, but the mask has only 8 voxels" in capsys.readouterr().err


@pytest.mark.parametrize(
    "scales, said",
    [
        ((1, 1.2), None),
        ((1, 3), "contrast differs by a factor of 3"),
        ((1, -1), "does not look like the others"),
    ],
)
def test_greyscales_that_were_not_aligned_are_noticed(tmp_path, scales, said, no_report):
    """A quarter of the volumes on another scale: with the wish to align them nothing is said."""
    pairs = [(scales[k % 4 == 3], 0) for k in range(12)]
    maps = write_set(tmp_path / "maps", np.eye(3)[np.arange(12) % 3], noise=0.3, scales=pairs)
    for words in ([], ["--align-greyscale"]) if scales[1] > 0 else ([],):
        out = tmp_path / ("out%d" % len(words))
        assert main(["volumes", str(maps), "-o", str(out), "--classes", "2", *words]) == 0
        verdict = json.loads((out / "summary.json").read_text())["verdict"]
        for text in ("contrast differs", "does not look like"):
            assert (text in verdict) == (not words and said is not None and text in said), verdict


def _into_itself(maps, capsys):
    folder = maps.parent / "again"
    write_set(folder / "volumes", _shares(4)[0])
    assert main(["volumes", str(maps), "-o", str(maps)]) == 2
    assert "is one of the inputs: choose another" in capsys.readouterr().err
    assert main(["volumes", str(folder), "-o", str(folder)]) == 2
    return capsys.readouterr().err


def test_three_obvious_pairs_are_three_classes(tmp_path, no_report):
    """Few volumes: groups that stand apart are found, and each point is named in the figure."""
    from pcainit.output.plots import PLOTS, load_result

    shares = np.repeat(np.eye(3), 2, axis=0)
    write_set(tmp_path / "maps", shares, noise=0.2)
    assert main(["volumes", str(tmp_path / "maps"), "-o", str(tmp_path / "out")]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["classes"] == 3 and summary["class_sizes"] == [2, 2, 2]
    assert "stand apart by more than chance" in summary["verdict"]
    result = load_result(tmp_path / "out")
    pairs = result.batch_cluster.reshape(3, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all() and len(set(pairs[:, 0])) == 3
    figure = PLOTS["batches"].draw(result, 1, 2)
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {"volume_%04d" % k for k in range(6)} <= shown


def test_one_state_with_noise_is_one_class(tmp_path, no_report):
    """Few volumes of one state fall into groups no more often than chance would have it."""
    found = []
    for seed in range(4):
        folder = tmp_path / ("maps%d" % seed)
        write_set(folder, np.tile([1.0, 0, 0], (6, 1)), noise=1.0, seed=seed)
        assert main(["volumes", str(folder), "-o", str(tmp_path / ("out%d" % seed))]) == 0
        found.append(json.loads((tmp_path / ("out%d" % seed) / "summary.json").read_text()))
    assert [summary["classes"] for summary in found] == [1] * 4
    assert "give the number of classes" in found[0]["verdict"]
