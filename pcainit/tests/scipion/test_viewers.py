"""The viewer: its form, its figures, scripts for ChimeraX, and subsets of chosen particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
import shutil
import stat
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from pcainit.io.atomic import write_arrays
from pcainit.io.maps import read_map
from pcainit.output.plots import latent_scatter, load_result
from pcainit.tests.conftest import PARTICLES
from pcainit.tests.example_result import make_result

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion


@pytest.fixture(scope="module")
def finished(scipion_session, tmp_path_factory):
    """A run as the particle method leaves it; its result is made up."""
    os.chdir(scipion_session.path)
    protocol = scipion_session.new_volumes(method=0)
    scipion_session.project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    make_result(protocol._resultFolder(), PARTICLES)
    ids = sorted(scipion_session.imported.outputParticles.getIdSet())
    np.save(protocol._inputIds(), np.array(ids, np.int64))
    return protocol


@pytest.fixture
def viewer(scipion, finished):
    return open_viewer(scipion, finished)


@pytest.fixture
def result(finished):
    return load_result(finished._resultFolder())


@pytest.fixture(scope="module")
def display():
    """A tkinter root window, on a virtual screen where there is no real one."""
    tkinter = pytest.importorskip("tkinter", reason="this Python has no tkinter")
    server = None
    if not os.environ.get("DISPLAY"):
        if not shutil.which("Xvfb"):
            pytest.skip("no display, and Xvfb is not installed")
        reading, writing = os.pipe()
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1200x24"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as answer:
            os.environ["DISPLAY"] = ":" + answer.readline().strip()
    try:
        root = tkinter.Tk()
        yield root
        root.destroy()
    finally:
        if server is not None:
            del os.environ["DISPLAY"]
            server.terminate()
            server.wait()


def open_viewer(scipion, protocol):
    from pcainit.viewers import PcaInitViewerInitialVolumes

    viewer = PcaInitViewerInitialVolumes(project=scipion.project, protocol=protocol)
    viewer.setProtocol(protocol)
    return viewer


def views(viewer, name):
    return viewer._getVisualizeDict()[name](name)


def message(view):
    return view.getMessage()


def test_scipion_finds_the_viewer(scipion, finished):
    import pyworkflow

    found = pyworkflow.Config.getDomain().findViewers(finished, "tkinter")
    assert found[0].__name__ == "PcaInitViewerInitialVolumes"


def test_form(viewer, result):
    names = [name for name, _ in viewer.iterDefinitionAttributes()]
    for name in viewer._getVisualizeDict():
        assert name in names
    choices = list(viewer.getParam("figure").choices)
    assert choices[0] == "Particles in the latent space" and len(choices) == 11
    assert (viewer.firstComponent.get(), viewer.secondComponent.get()) == (1, 2)
    for name in names:
        param = viewer.getParam(name)
        assert param.label.get(), "%s has no label" % name


def test_every_figure_opens(viewer, result):
    for number, name in enumerate(viewer._names):
        viewer.figure.set(number)
        (view,) = views(viewer, "figure")
        assert view.figure.axes, name
    viewer.figure.set(0)
    viewer.firstComponent.set(3)
    (view,) = views(viewer, "figure")
    assert "component 3" in view.figure.axes[0].get_xlabel()


def test_wrong_component_is_explained(viewer):
    viewer.figure.set(0)
    viewer.secondComponent.set(7)
    (view,) = views(viewer, "figure")
    assert message(view) == "Component 7 does not exist: there are 4."


def test_run_without_results(scipion):
    protocol = scipion.new_volumes()
    scipion.project.saveProtocol(protocol)
    viewer = open_viewer(scipion, protocol)
    assert "no results" in viewer.getParam("nothing").label.get()


def test_batch_method(scipion):
    protocol = scipion.run(scipion.new_volumes())
    viewer = open_viewer(scipion, protocol)
    assert viewer.getParam("figure").choices[0] == "Reconstructions of batches"
    (view,) = views(viewer, "figure")
    assert len(view.figure.axes[0].collections[0].get_offsets()) == 25
    assert viewer.getParam("lasso") is None


def test_report(viewer, finished):
    (view,) = views(viewer, "report")
    assert "missing" in message(view)
    path = os.path.join(finished._resultFolder(), "report.html")
    open(path, "w").close()
    (view,) = views(viewer, "report")
    view.opened = mock.Mock()
    view.show()
    assert view.opened.call_args[0][0] == "file://" + os.path.abspath(path)
    os.remove(path)


@pytest.mark.parametrize("opened", [mock.Mock(return_value=False), mock.Mock(side_effect=OSError)])
def test_browser_that_cannot_start_is_reported(tmp_path, opened):
    from pyworkflow.viewer import MessageView

    from pcainit.viewers.windows import ReportView

    with mock.patch.object(MessageView, "show", autospec=True) as shown:
        ReportView(tmp_path / "report.html", opened).show()
    assert str(tmp_path / "report.html") in shown.call_args[0][0].getMessage()


def test_chosen_volume_has_a_viewer(scipion, finished, tmp_path):
    import pyworkflow

    from pcainit.io.maps import write_map
    from pcainit.protocols import PcaInitProtChosenVolume, results

    protocol = scipion.project.newProtocol(PcaInitProtChosenVolume)
    scipion.project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    (found,) = pyworkflow.Config.getDomain().findViewers(protocol, "tkinter")[:1]
    assert found.__name__ == "PcaInitViewerChosenVolume"
    viewer = found(project=scipion.project, protocol=protocol)
    viewer.setProtocol(protocol)
    assert "no results" in viewer.getParam("nothing").label.get()
    path = protocol._volumeFile()
    write_map(path, np.random.default_rng(0).normal(size=(16, 16, 16)), 4.0)
    volumes = protocol._createSetOfVolumes()
    volumes.setSamplingRate(4.0)
    volumes.append(results.make_volume(path, 4.0))
    protocol._defineOutputs(outputVolumes=volumes, outputVolume=results.make_volume(path, 4.0))
    viewer = found(project=scipion.project, protocol=protocol)
    viewer.setProtocol(protocol)
    (view,) = views(viewer, "sections")
    assert len(view.figure.axes) >= 3
    with mock.patch("pcainit.viewers.viewer_initial_volumes.chimeraxProgram", return_value=None):
        (view,) = views(viewer, "volumes")
    script = os.path.abspath(protocol._getExtraPath("viewer", "volumes.cxc"))
    assert script in message(view)
    with open(script) as file:
        assert 'open "%s"' % os.path.abspath(path) in file.read()


@pytest.mark.parametrize(
    "name, script",
    [("volumes", "class_volumes.cxc"), ("components", "components.cxc"), ("morph", "morph_01.cxc")],
)
def test_chimerax_scripts(viewer, finished, name, script):
    with mock.patch("pcainit.viewers.viewer_initial_volumes.chimeraxProgram", return_value=None):
        (view,) = views(viewer, name)
    path = os.path.abspath(finished._getExtraPath("viewer", script))
    assert path in message(view) and "was not found" in message(view)
    with open(path) as file:
        lines = file.read().split("\n")
    opened = [word for line in lines if line.startswith("open ") for word in line.split('"')[1::2]]
    assert len(opened) == {"volumes": 4, "components": 5, "morph": 9}[name]
    assert all(os.path.isabs(file) and os.path.exists(file) for file in opened)
    assert any(line.startswith("volume #1 style surface") for line in lines)


def test_chimerax_is_started(viewer, tmp_path):
    program = tmp_path / "Chimera X"
    program.write_text('#!/bin/sh\necho "$1" > %s/seen\n' % tmp_path)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with mock.patch(
        "pcainit.viewers.viewer_initial_volumes.chimeraxProgram", return_value=str(program)
    ):
        (view,) = views(viewer, "volumes")
    view._cmd = view._cmd.rstrip("& ")  # wait for it
    view.show()
    assert (tmp_path / "seen").read_text().strip().endswith("class_volumes.cxc")


def test_morph_maps(viewer, finished, result):
    viewer.morph.set(2)
    viewer.morphSteps.set(5)
    views(viewer, "morph")
    maps = [
        read_map(finished._getExtraPath("viewer", "morph_02", "step_%03d.mrc" % (k + 1)))
        for k in range(5)
    ]
    middle, voxel = maps[2]
    assert voxel == pytest.approx(float(result.voxel) / 2, rel=1e-4)
    np.testing.assert_allclose(middle[::2, ::2, ::2], result.mean, atol=1e-4 * result.mean.max())
    reach = 2 * np.sqrt(result.eigenvalues[1])
    np.testing.assert_allclose(
        (maps[4][0] - middle)[::2, ::2, ::2],
        reach * result.components[1],
        atol=1e-3 * np.abs(reach * result.components[1]).max(),
    )


def test_selection(result):
    from pcainit.viewers.selection import between, inside

    low, high = np.percentile(result.coordinates[:, 1], (20, 60))
    rows = between(result, 2, low, high)
    assert np.array_equal(
        rows,
        [k for k, z in enumerate(result.coordinates) if low <= z[1] <= high and not result.junk[k]],
    )
    assert len(between(result, 2, None, None)) == (~result.junk).sum()
    x, y = result.centres[3, :2]
    r = 2 * np.sqrt(result.cluster_covariances[3, 0, 0])
    box = [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
    chosen = inside(result, 1, 2, box)
    assert len(chosen) and np.isin(result.labels[chosen], [4]).mean() > 0.9
    assert not result.junk[chosen].any() and not len(inside(result, 1, 2, box[:2]))


def test_range_makes_a_subset(scipion, viewer, finished, result):
    low = float(np.median(result.coordinates[:, 0]))
    viewer.rangeComponent.set(1)
    viewer.rangeFrom.set(low)
    with mock.patch.object(scipion.project, "launchProtocol", scipion.run):
        (view,) = views(viewer, "rangeComponent")
    subset = scipion.project.getRuns(refresh=True)[-1].outputParticles
    rows = np.flatnonzero((result.coordinates[:, 0] >= low) & ~result.junk)
    assert "%d particles" % len(rows) in message(view)
    assert subset.getClassName() == "SetOfParticles"
    assert sorted(subset.getIdSet()) == np.load(finished._inputIds())[rows].tolist()
    first = subset.getFirstItem()
    original = scipion.imported.outputParticles[first.getObjId()]
    assert first.getLocation() == original.getLocation() and subset.hasAlignmentProj()
    assert np.allclose(first.getTransform().getMatrix(), original.getTransform().getMatrix())


def test_subset_starts_in_the_main_window(viewer):
    viewer.windows = mock.Mock()
    with mock.patch.object(viewer.getProject(), "launchProtocol") as launch:
        subset = viewer._makeSubset(np.array([0, 2]), "two")
    viewer.windows.getViewWidget().executeProtocol.assert_called_once_with(subset)
    assert not launch.called and subset.getObjLabel() == "two"


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(rangeFrom=1e9), "No particle lies in this range"),
        (dict(rangeComponent=9), "Component 9 does not exist"),
    ],
)
def test_bad_range_is_explained(viewer, values, words):
    for name, value in values.items():
        getattr(viewer, name).set(value)
    (view,) = views(viewer, "rangeComponent")
    assert words in message(view)


@pytest.mark.display
def test_lasso(viewer, result, display):
    """Draw around class 4 with mouse events and press the button."""
    with mock.patch.object(viewer, "getTkRoot", return_value=display):
        (view,) = views(viewer, "lasso")
    assert list(view.accept) == ["Make a subset of them", "Make a volume of them"]
    view.accept = {
        words: mock.Mock(return_value=mock.Mock(getObjLabel=lambda: "a new run"))
        for words in view.accept
    }
    view.show()
    display.update()
    axes, canvas = view.figure.axes[0], view.figure.canvas
    canvas.draw()
    x, y = result.centres[3, :2]
    r = 2 * np.sqrt(result.cluster_covariances[3, 0, 0])
    corners = axes.transData.transform(
        [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r), (x - r, y - r)]
    )
    corners = np.clip(corners, axes.bbox.min + 2, axes.bbox.max - 2)
    _mouse(canvas, "button_press_event", corners[0])
    for corner in corners[1:]:
        _mouse(canvas, "motion_notify_event", corner)
    _mouse(canvas, "button_release_event", corners[-1])
    display.update()
    assert len(view.rows) and (result.labels[view.rows] == 4).mean() > 0.9
    assert view.label.cget("text") == "%s particles chosen" % format(len(view.rows), ",")
    assert len(view.marks.get_xdata()) == len(view.rows)
    for number, (words, button) in enumerate(view.buttons.items()):
        if number:
            view.select([(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)])
        button.invoke()
        assert view.accept[words].call_args[0][0] is view.rows
        assert {one.cget("state") for one in view.buttons.values()} == {"disabled"}
        assert "Started: 'a new run'" in view.label.cget("text")
    view.window.destroy()


def _mouse(canvas, name, place):
    from matplotlib.backend_bases import MouseButton, MouseEvent

    canvas.callbacks.process(name, MouseEvent(name, canvas, *place, button=MouseButton.LEFT))


@pytest.mark.display
def test_window(result, display):
    from pcainit.viewers.windows import FigureView

    view = FigureView(latent_scatter(result), "Particles", display)
    view.show()
    display.update()
    assert view.window.title() == "Particles" and view.window.winfo_width() > 500
    view.window.destroy()


@pytest.mark.display
def test_real_form(viewer, finished, display):
    """Scipion's own form window, with an eye beside each entry that shows something."""
    import pyworkflow.gui.project  # noqa: F401 (must come before the form)
    from pyworkflow.gui.form import FormWindow

    with mock.patch.object(FormWindow, "show"):
        viewer.visualize(finished)
    form = viewer.formWindow
    form.root.update()
    assert set(viewer._getVisualizeDict()) <= set(form.widgetDict)
    form.root.destroy()


def test_light_import():
    code = (
        "import sys, pwem.viewers, pcainit.protocols\n"
        "before = set(sys.modules)\n"
        "import pcainit.viewers\n"
        "new = set(sys.modules) - before\n"
        "assert not [m for m in new if not m.startswith('pcainit.viewers')], new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_old_result_without_components(viewer, finished, tmp_path):
    from pcainit.viewers.chimerax import components_script, morph_script

    make_result(tmp_path, 50)
    write_arrays(tmp_path / "analysis.npz", {"class_weights": np.ones(4) / 4})
    result = load_result(tmp_path)
    with pytest.raises(ValueError, match="has no components"):
        components_script(result, tmp_path)
    with pytest.raises(ValueError, match="has no components"):
        morph_script(result, 1, tmp_path)
