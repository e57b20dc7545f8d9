"""Sets of volumes side by side, against sets made from known states."""
# SPDX-License-Identifier: GPL-3.0-or-later
import json

import numpy as np
import pytest

from pcainit.__main__ import main
from pcainit.files.maps import write_map
from pcainit.tests.volume_examples import BOX, SAMPLING, mixed, write_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """True states; the states on other grids and scales, in another order; copies of their mean."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / "truth", np.eye(3))
    write_set(folder / "good", np.eye(3)[[2, 0, 1]], noise=0.05, boxes=((64, 4.0), (BOX, SAMPLING)),
              scales=[(3, 0.1), (0.5, -0.1), (1, 0)])
    write_set(folder / "same", np.full((3, 3), 1 / 3), noise=0.05, seed=1)
    return folder


def _compare(*words):
    return main(["compare", *map(str, words)])


def test_figures_tell_the_sets_apart(sets, tmp_path, capsys):
    assert _compare("ours=%s" % (sets / "good"), sets / "same", "--truth", sets / "truth",
                    "-o", tmp_path) == 0
    text = capsys.readouterr().out
    assert text == (tmp_path / "comparison.txt").read_text() and "agreement with truth" in text
    found = json.loads((tmp_path / "comparison.json").read_text())
    ours, same, truth = found["sets"]
    assert [row["name"] for row in found["sets"]] == ["ours", "same", "truth"]
    assert min(ours["truth_correlations"]) > 0.9 and max(same["truth_correlations"]) < 0.5
    assert ours["truth_partners"] == [2, 3, 1]
    assert np.allclose(truth["truth_correlations"], 1)
    assert ours["diversity"] == pytest.approx(truth["diversity"], rel=0.1)
    assert same["diversity"] < 0.3 * truth["diversity"]
    scales = np.array(ours["greyscale"]) / ours["greyscale"][2]
    np.testing.assert_allclose(scales, [3, 0.5, 1], rtol=0.05)
    pairs = np.array(truth["pairwise_differences"])
    assert np.allclose(pairs, pairs.T) and not pairs.diagonal().any()
    assert np.array(same["same_to_resolution"]).max() <= np.array(
        truth["same_to_resolution"]).max()


def test_difference_against_a_direct_figure(sets, tmp_path):
    """Half of the density's spread, from arithmetic on the maps themselves."""
    from pcainit.engine.comparison import relative_differences
    one, two = mixed((1, 0, 0)), mixed((0, 1, 0))
    mask = np.ones_like(one)
    mean = (one + two) / 2
    expected = np.sqrt(((one - two) ** 2).mean()) / mean.std()
    assert relative_differences(np.stack([one, two]), mask)[0, 1] == pytest.approx(expected,
                                                                                   rel=1e-3)


def test_result_folders_and_single_maps(sets, tmp_path):
    """The folder of a run stands for its class volumes."""
    write_set(tmp_path / "run" / "volumes", np.eye(3)[:2])
    assert _compare(tmp_path / "run", sets / "truth" / "volume_0000.mrc",
                    sets / "truth" / "volume_0000.mrc", "-o", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [(row["name"], len(row["files"])) for row in found["sets"]] == [
        ("run", 2), ("volume_0000", 1), ("volume_0000 (3)", 1)]
    assert len(found["between"]) == 3


@pytest.mark.parametrize("words, said", [
    (["nowhere"], "no map (.mrc), folder or list"), (["=x"], "is not understood"),
    (["{truth}/volume_0000.mrc"], "only 1 volume"), (["{truth}", "--resolution", "7"], "Nyquist"),
    (["{truth}", "--threads", "0"], "threads is 0"), (["{truth}", "{dark}"], "dark on bright")])
def test_what_cannot_be_compared(sets, tmp_path, capsys, words, said):
    write_map(tmp_path / "dark" / "map.mrc", -mixed((1, 0, 0)), SAMPLING)
    words = [word.format(truth=sets / "truth", dark=tmp_path / "dark") for word in words]
    assert _compare(*words, "-o", tmp_path / "out") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
