"""Sets of volumes side by side, against sets made from known states."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json

import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.io.maps import write_map
from pcainit.tests.volume_examples import BOX, SAMPLING, mixed, write_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """True states; the states on other grids and scales, in another order; copies of their mean."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / "truth", np.eye(3))
    write_set(
        folder / "good",
        np.eye(3)[[2, 0, 1]],
        noise=0.05,
        boxes=((64, 4.0), (BOX, SAMPLING)),
        scales=[(3, 0.1), (0.5, -0.1), (1, 0)],
    )
    write_set(folder / "same", np.full((3, 3), 1 / 3), noise=0.05, seed=1)
    return folder


def _compare(*words):
    return main(["compare", *map(str, words)])


def test_figures_tell_the_sets_apart(sets, tmp_path, capsys):
    assert (
        _compare(
            "ours=%s" % (sets / "good"), sets / "same", "--truth", sets / "truth", "-o", tmp_path
        )
        == 0
    )
    text = capsys.readouterr().out
    assert text == "%s%s\n" % (
        (tmp_path / "comparison.txt").read_text(),
        tmp_path / "comparison.html",
    )
    assert "agreement with truth" in text
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
    assert np.array(same["same_to_resolution"]).max() <= np.array(truth["same_to_resolution"]).max()


def test_difference_against_a_direct_figure(sets, tmp_path):
    """Half of the density's spread, from arithmetic on the maps themselves."""
    from pcainit.engine.volume_sets.comparison import relative_differences

    one, two = mixed((1, 0, 0)), mixed((0, 1, 0))
    mask = np.ones_like(one)
    mean = (one + two) / 2
    expected = np.sqrt(((one - two) ** 2).mean()) / mean.std()
    assert relative_differences(np.stack([one, two]), mask)[0, 1] == pytest.approx(
        expected, rel=1e-3
    )


def test_result_folders_and_single_maps(sets, tmp_path):
    """The folder of a run stands for its class volumes."""
    write_set(tmp_path / "run" / "volumes", np.eye(3)[:2])
    assert (
        _compare(
            tmp_path / "run",
            sets / "truth" / "volume_0000.mrc",
            sets / "truth" / "volume_0000.mrc",
            "-o",
            tmp_path / "out",
        )
        == 0
    )
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [(row["name"], len(row["files"])) for row in found["sets"]] == [
        ("run", 2),
        ("volume_0000", 1),
        ("volume_0000 (3)", 1),
    ]
    assert len(found["between"]) == 3


def test_shell_correlations_are_those_of_each_pair():
    """All at once as one pair at a time; where they first fall below one half."""
    from pcainit.engine.geometry.grid import Grid
    from pcainit.engine.projection.reconstruction import fourier_shell_correlation
    from pcainit.engine.volume_sets.comparison import shell_correlations

    rng, grid = np.random.default_rng(2), Grid(BOX, SAMPLING, 20.0)
    common = rng.normal(size=(grid.box,) * 3)
    volumes = np.stack(
        [
            grid.band_limit(common) + 0.9 * k * grid.band_limit(rng.normal(size=common.shape))
            for k in range(4)
        ]
    ).astype(np.float32)
    mask = rng.uniform(0.5, 1, common.shape).astype(np.float32)
    curves, same = shell_correlations(volumes, mask, grid)
    for a in range(4):
        for b in range(4):
            curve = fourier_shell_correlation(volumes[a] * mask, volumes[b] * mask, grid)
            np.testing.assert_allclose(curves[a, b], curve, atol=1e-5)
            below = np.flatnonzero(curve[1 : int(grid.cutoff) + 1] < 0.5)
            shell = below[0] + 1 if len(below) else np.floor(grid.radius)
            assert same[a, b] == pytest.approx(BOX * SAMPLING / shell)
    assert same[0, 1] < same[0, 3]


def test_differences_over_noise_are_those_that_the_run_has_measured(tmp_path, capsys):
    """Of a whole result folder or some of its volumes; never of other units."""
    from pcainit.io.map_list import MapFile
    from pcainit.pipeline.routes.compare import noise_ratios

    run, known = tmp_path / "run", np.array([[0, 3, 4], [3, 0, 5], [4, 5, 0.0]])
    for k in range(3):
        write_map(run / "volumes" / ("class_%03d.mrc" % (k + 1)), mixed(np.eye(3)[k]), SAMPLING)
    maps = [MapFile(str(path)) for path in sorted(run.glob("volumes/*.mrc"))]
    assert noise_ratios(maps) is None

    def ratios(maps, **summary):
        (run / "summary.json").write_text(
            json.dumps(dict(summary, pairwise_differences=known.tolist()))
        )
        return noise_ratios(maps)

    assert np.array_equal(ratios(maps, method="particles"), known)
    assert np.array_equal(ratios(maps[::-2], method="simple"), [[0, 4], [4, 0]])
    assert ratios(maps, method="volumes") is None
    assert ratios(maps, method="particles", given=dict(use="fixed")) is None
    assert ratios(maps[:1], method="particles") is None
    write_map(run / "volumes" / "class_009.mrc", mixed((1, 1, 1)), SAMPLING)
    assert ratios([*maps, MapFile(str(run / "volumes" / "class_009.mrc"))], method="x") is None
    (run / "volumes" / "class_009.mrc").unlink()
    ratios(maps, method="latents")
    assert _compare(run, "-o", tmp_path / "out") == 0
    assert "3.0 to 5.0" in capsys.readouterr().out


def test_page_and_figures(sets, tmp_path):
    """Every figure is drawn, and a set of one volume is none of differences."""
    from pcainit.output.plots.comparison import COMPARISON_PLOTS, comparison_plots

    words = [sets / "good", "alone=%s" % (sets / "same" / "volume_0000.mrc")]
    assert _compare(*words, "--truth", sets / "truth", "-o", tmp_path / "true") == 0
    assert _compare(*words, "-o", tmp_path / "out") == 0
    for name, count in ("true", 4), ("out", 3):
        found = json.loads((tmp_path / name / "comparison.json").read_text())
        page = (tmp_path / name / "comparison.html").read_text()
        plots = comparison_plots(found)
        assert len(plots) == count and page.count("<figure") == count
        assert "could not be drawn" not in page
        for plot in plots:
            assert COMPARISON_PLOTS[plot].draw(found).axes
    text = (tmp_path / "true" / "comparison.txt").read_text()
    assert "alone 1 - - - - -" in " ".join(text.split()) and "one volume only" in text
    table = np.array(found["difference_correlations"])
    assert table.shape == (4, 4) and np.allclose(table, table.T) and not table[3].any()
    np.testing.assert_allclose(table.diagonal()[:3], 1, atol=1e-3)
    assert comparison_plots(None) == []


@pytest.mark.parametrize(
    "words, said",
    [
        (["nowhere"], "nowhere does not exist"),
        (["{dark}/../small.mrc", "{truth}"], "too coarse"),
        (["{truth}", "{dark}/../small.mrc"], "is 100 A wide, but the mask reaches"),
        (["=x"], "is not understood"),
        (["{truth}/volume_0000.mrc"], "only 1 volume"),
        (["{truth}", "--resolution", "7"], "Nyquist"),
        (["{truth}", "--threads", "0"], "threads is 0"),
        (["{truth}", "{dark}"], "dark on bright"),
    ],
)
def test_what_cannot_be_compared(sets, tmp_path, capsys, words, said):
    write_map(tmp_path / "dark" / "map.mrc", -mixed((1, 0, 0)), SAMPLING)
    write_map(tmp_path / "small.mrc", mixed((1, 0, 0))[14:34, 14:34, 14:34], SAMPLING)
    words = [word.format(truth=sets / "truth", dark=tmp_path / "dark") for word in words]
    assert _compare(*words, "-o", tmp_path / "out") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
