"""The figures hold the data: points, labels, scales; and cope with results of any method."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pcainit.io.atomic import read_arrays, write_arrays, write_json
from pcainit.output import plots
from pcainit.tests.example_result import SHARES, make_result

PARTICLES = 1500
MAPS = ("volumes", "differences", "changes", "components", "variance")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    make_result(folder, PARTICLES)
    return plots.load_result(folder)


@pytest.fixture
def batches(result):
    """The same as if reconstructions had been clustered."""
    rng = np.random.default_rng(0)
    return dataclasses.replace(
        result,
        summary=dict(result.summary, method="batches"),
        coordinates=None,
        centres=None,
        half_set_cosines=None,
        significant=None,
        artefact=None,
        junk=None,
        batch_coordinates=rng.normal(size=(60, 4)),
        batch_cluster=np.arange(60) % 4,
    )


def axes_of(figure):
    return figure.axes[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("name", [name for name in plots.PLOTS if name != "batches"])
def test_every_figure_can_be_drawn(result, name):
    plot = plots.PLOTS[name]
    assert plot.available(result)
    figure = plot.draw(result)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    axes = axes_of(figure)
    if name not in MAPS:  # these have neither axis nor ticks, but a colour bar with a label
        assert axes.get_xlabel()
    else:
        assert figure.axes[1].get_ylabel().startswith("density")


@pytest.mark.parametrize("name", ["volumes", "differences", "variance", "pairwise"])
@pytest.mark.parametrize("size", [None, (19, 6), (6, 12)])
def test_colour_bars_stay_beside_their_pictures(result, name, size):
    """Whatever the shape of the window that the figure is drawn in."""
    figure = plots.PLOTS[name].draw(result)
    if size:
        figure.set_size_inches(size)
    figure.draw_without_rendering()
    picture, bar = (axes.get_window_extent() for axes in figure.axes[:2])
    assert 0 < (bar.x0 - picture.x1) / figure.dpi < 0.2  # inches
    assert picture.y0 < bar.y0 < bar.y1 < picture.y1


def test_no_global_state(result):
    before = dict(matplotlib.rcParams)
    plots.latent_scatter(result)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_scatter_holds_every_particle(result):
    axes = axes_of(plots.latent_scatter(result, 1, 3))
    kept = ~result.junk
    drawn = axes.collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(result.coordinates[kept, 0]))
    np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(result.coordinates[kept, 2]))
    colours = {tuple(colour) for colour in np.round(axes.collections[0].get_facecolor()[:, :3], 3)}
    assert len(colours) == len(SHARES)
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses[0].get_xdata()) == result.junk.sum()
    assert "component 1" in axes.get_xlabel() and "0.97" in axes.get_xlabel()
    assert "component 3" in axes.get_ylabel() and "0.87" in axes.get_ylabel()


def test_scatter_shows_the_mixture(result):
    axes = axes_of(plots.latent_scatter(result, 1, 2))
    assert [text for text in texts(axes) if text] == ["1", "2", "3", "4"]
    ellipses = [patch for patch in axes.patches if type(patch).__name__ == "Ellipse"]
    np.testing.assert_allclose([e.get_center() for e in ellipses], result.centres[:, :2])
    deviation = np.sqrt(result.cluster_covariances[0, 0, 0])
    assert ellipses[0].get_width() == pytest.approx(4 * deviation)
    legend = axes.figure.legends[0]
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[0].startswith("class 1") and "50 %" in labels[0]
    assert "%d set aside" % result.junk.sum() in labels


def test_without_covariances_the_points_are_described(result):
    """Also of components that the mixture does not know."""
    bare = dataclasses.replace(result, cluster_covariances=None, centres=result.centres[:3, :2])
    axes = axes_of(plots.latent_scatter(bare, 1, 4))
    ellipses = [patch for patch in axes.patches if type(patch).__name__ == "Ellipse"]
    mine = result.coordinates[(result.labels == 2) & ~result.junk][:, [0, 3]]
    np.testing.assert_allclose(ellipses[1].get_center(), mine.mean(axis=0), rtol=1e-5)
    assert len(ellipses) == 4


def test_spare_classes_have_no_centre(tmp_path):
    make_result(tmp_path, 100)
    arrays = read_arrays(tmp_path / "analysis.npz")
    for name in ("centres", "cluster_covariances", "class_fsc"):
        arrays[name] = arrays[name][:3]
    write_arrays(tmp_path / "analysis.npz", arrays)
    result = plots.load_result(tmp_path)
    assert len(result.centres) == len(result.class_fsc) == 3 and result.n_classes == 4
    assert len([t for t in texts(axes_of(plots.latent_scatter(result))) if t]) == 3


def test_density_in_place_of_many_points(result):
    axes = axes_of(plots.latent_scatter(result, 1, 2, many=100))
    assert not axes.collections and len(axes.images) == 1
    image = axes.images[0].get_array()
    assert image.shape[2] == 4 and image[..., 3].max() == 1 and image[..., 3].min() == 0


def test_one_component_gives_a_histogram(result):
    axes = axes_of(plots.latent_scatter(result, 2, 2))
    assert axes.get_ylabel() == "particles"
    assert sum(patch.get_height() for patch in axes.patches) <= (~result.junk).sum()


def test_components_that_do_not_exist_are_refused(result):
    with pytest.raises(ValueError, match="Component 9 does not exist: there are 4"):
        plots.latent_scatter(result, 1, 9)


def test_reproducible_components_come_first(result):
    changed = dataclasses.replace(result, significant=np.array([False, True, False, True]))
    assert plots.best_pair(changed) == (2, 4)
    one = dataclasses.replace(result, eigenvalues=np.ones(1), significant=np.array([True]))
    assert plots.best_pair(one) == (1, 1)


def test_batches(batches):
    axes = axes_of(plots.batch_scatter(batches, 2, 4))
    assert len(axes.collections[0].get_offsets()) == 60
    assert [text for text in texts(axes) if text] == ["1", "2", "3", "4"]
    assert axes_of(plots.class_shares(batches)).get_xlabel() == "share of the particles (%)"
    assert not plots.PLOTS["particles"].available(batches)


def test_spectrum(result):
    left, right = plots.spectrum(result).axes[:2]
    heights = [bar.get_height() for bar in left.patches]
    np.testing.assert_allclose(sorted(heights), sorted(result.spectrum))
    assert "noise edge" in texts(left)
    bars = [patch for patch in right.patches if isinstance(patch, Rectangle)][:4]
    assert [bar.get_height() for bar in bars] == list(result.half_set_cosines)
    assert "0.97" in texts(right)
    colours = [bar.get_facecolor() for bar in bars]
    assert len({colours[0], colours[1], colours[2]}) == 1 and colours[3] != colours[0]


def test_spectrum_without_half_sets(batches):
    figure = plots.spectrum(batches)
    assert len(figure.axes) == 1
    assert batches.standing(0) == "above noise edge" and batches.standing(3) == "noise"


def test_artefacts_are_not_real(result):
    flagged = dataclasses.replace(result, artefact=np.array([0.6, 0.1, 0.0, 0.9]))
    assert [flagged.standing(k) for k in range(4)] == ["artefact", "real", "real", "noise"]
    assert plots.best_pair(flagged) == (2, 3)


def test_shares_and_spare_classes(result):
    repeated = dataclasses.replace(result, copies=np.array([False, False, False, True]))
    axes = axes_of(plots.class_shares(repeated))
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], 100 * SHARES)
    assert axes.patches[3].get_hatch() and not axes.patches[0].get_hatch()
    written = texts(axes)
    assert "50.0 %" in written[0] and "random subset" in written[3]
    sizes = np.bincount(result.labels[~result.junk])[1:]
    assert format(sizes[0], ",") in written[0]


def test_pairwise_numbers(result):
    axes = axes_of(plots.difference_matrix(result))
    assert len(texts(axes)) == 12
    assert "%.1f" % result.pairwise[0, 1] in texts(axes)


@pytest.mark.parametrize("name", ["differences", "changes", "components"])
def test_signed_maps_share_one_symmetric_scale(result, name):
    image = axes_of(plots.PLOTS[name].draw(result)).images
    assert len(image) == 1  # one picture: one scale
    low, high = image[0].get_clim()
    assert low == -high and high > 0


def test_slices_are_of_the_right_places(result):
    point = (10, 20, 15)
    volumes = np.zeros_like(result.class_volumes)
    volumes[1][point] = 1.0
    marked = dataclasses.replace(result, class_volumes=volumes, mask=None)
    axes = axes_of(plots.class_slices(marked, point))
    picture = np.nan_to_num(axes.images[0].get_array().filled(0))
    height, width = picture.shape
    box = volumes.shape[-1]
    for row, (up, across) in enumerate(((20, 15), (10, 15), (10, 20))):  # xy, xz, yz
        tile = picture[row * height // 3 : (row + 1) * height // 3, width // 4 : width // 2]
        y, x = np.unravel_index(tile.argmax(), tile.shape)
        assert x / tile.shape[1] * box == pytest.approx(across + 0.5, abs=1.5)
        assert (1 - y / tile.shape[0]) * box == pytest.approx(up + 0.5, abs=2.5)
    assert any("z = " in text for text in texts(axes))


def test_strongest_place(result):
    volumes = np.zeros((2, 12, 12, 12))
    volumes[1, 3, 4, 5] = -2
    assert plots.strongest(volumes) == (3, 4, 5)


def test_resolution_is_labelled_in_angstrom(result):
    axes = axes_of(plots.resolution_curves(result))
    assert axes.get_xlabel() == "resolution (Å)"
    labels = [int(label.get_text()) for label in axes.get_xticklabels()]
    np.testing.assert_allclose(axes.get_xticks(), 1 / np.array(labels))
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["class 1", "class 2", "class 3", "class 4", "consensus"]


def test_many_classes(result):
    count = 40
    many = dataclasses.replace(
        result,
        class_weights=np.full(count, 1 / count),
        pairwise=np.ones((count, count)),
        class_volumes=np.repeat(result.class_volumes, 10, axis=0),
        centres=None,
        copies=None,
        class_fsc=None,
        labels=result.labels * 10,
    )
    for name in ("particles", "shares", "pairwise", "volumes"):
        plots.PLOTS[name].draw(many).draw_without_rendering()
    assert "the first 32 of 40" in texts(axes_of(plots.class_slices(many)))


@pytest.mark.parametrize("drop", ["analysis.npz", "latents.npz"])
def test_missing_files(tmp_path, drop):
    make_result(tmp_path, 50)
    (tmp_path / drop).unlink()
    result = plots.load_result(tmp_path)
    for plot in plots.PLOTS.values():
        if plot.available(result):
            plot.draw(result)


def test_arrays_that_do_not_fit_are_left_out(tmp_path):
    make_result(tmp_path, 50)
    arrays = read_arrays(tmp_path / "analysis.npz")
    arrays["significant"] = np.array([True])
    arrays["bic"] = np.zeros(0)
    write_arrays(tmp_path / "analysis.npz", arrays)
    result = plots.load_result(tmp_path)
    assert result.significant is None and result.bic is None
    assert result.standing(0) == "above noise edge"


def test_empty_folder(tmp_path):
    write_json(tmp_path / "summary.json", {})
    result = plots.load_result(tmp_path)
    assert result.n_classes == 0 and result.n_components == 0
    assert not any(plot.available(result) for plot in plots.PLOTS.values())
    with pytest.raises(ValueError, match="no latent coordinates"):
        plots.latent_scatter(result)


def test_number_of_classes_is_relative_to_the_best(result):
    left, right = plots.number_of_classes(result).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), result.bic - result.bic.min())
    np.testing.assert_allclose(right.lines[0].get_ydata(), result.held_out - result.held_out.max())
    assert left.lines[1].get_xdata() == right.lines[1].get_xdata() == [4]  # that was used
    assert left.get_xlabel() == "number of classes"


def test_one_class(result):
    """What is left when nothing but noise was found."""
    one = {
        name: getattr(result, name)[:1]
        for name in (
            "class_weights",
            "class_volumes",
            "centres",
            "cluster_covariances",
            "class_fsc",
            "copies",
        )
    }
    alone = dataclasses.replace(
        result,
        pairwise=None,
        labels=np.ones_like(result.labels),
        significant=np.zeros(4, bool),
        **one,
    )
    for plot in plots.PLOTS.values():
        if plot.available(alone):
            plot.draw(alone).draw_without_rendering()
    assert plots.best_pair(alone) == (1, 2)
