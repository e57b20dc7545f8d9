"""Photograph the form, its wizards and the viewer inside Scipion; started by make_pictures.py.

usage: python docs/scipion_pictures.py PARTICLES.star RESULT OUT WIDTH [ROUTE=FOLDER ...]

Needs a display of WIDTH pixels and Scipion's environment variables.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import shutil
import sys
import traceback
from pathlib import Path

import numpy as np
import pyworkflow
import pyworkflow.gui.project  # must come before the form
from make_pictures import grab
from pyworkflow.gui.form import FormWindow
from pyworkflow.project import Manager

from pcainit.pipeline.routes.preview import make_preview
from pcainit.protocols import (
    PcaInitProtChosenVolume,
    PcaInitProtCompare,
    PcaInitProtImport,
    PcaInitProtInitialVolumes,
    PcaInitProtLatents,
    PcaInitProtVolumePca,
)
from pcainit.settings import Settings
from pcainit.viewers import PcaInitViewerCompare, PcaInitViewerInitialVolumes
from pcainit.viewers.preview_dialog import PreviewDialog
from pcainit.wizards import MASK_SLIDERS

FORMS = {
    "form_import": PcaInitProtImport,
    "form": PcaInitProtInitialVolumes,
    "form_chosen": PcaInitProtChosenVolume,
    "form_volumes": PcaInitProtVolumePca,
    "form_latents": PcaInitProtLatents,
    "form_compare": PcaInitProtCompare,
}
ROUTES = {
    "run": PcaInitProtInitialVolumes,
    "variance": PcaInitProtInitialVolumes,
    "volumes": PcaInitProtVolumePca,
    "latents": PcaInitProtLatents,
    "compare": PcaInitProtCompare,
}
CHOSEN = 2  # the class that the picture of the lasso draws around


def main(star, result, out, width, routes):
    """Open everything in one project window, photograph it, and end the process."""
    pyworkflow.Config.setDomain("pwem")
    pyworkflow.Config.getDomain().getViewers()  # loads the plugins
    out.mkdir(parents=True, exist_ok=True)
    manager = Manager()
    if not manager.hasProject("pictures"):
        manager.createProject("pictures")
    window = pyworkflow.gui.project.ProjectWindow(manager.getProjectPath("pictures"))

    def work():
        try:
            if str(result) != "-":
                form_pictures(window, out)
                wizard_pictures(window, star, result, out)
                viewer_pictures(window, "run", result, out, width, "")
            for route, folder in routes:
                viewer_pictures(window, route, Path(folder), out, width, Path(folder).name + "_")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)  # Scipion's own threads would keep the process alive

    window.root.after(1000, work)
    window.show()


def form_pictures(window, out):
    """Each tab of each protocol's form, all parameters shown."""
    for name, protocol_class in FORMS.items():
        protocol = window.project.newProtocol(protocol_class)
        protocol.expertLevel.set(1)
        form = FormWindow(
            protocol_class._label,
            protocol,
            window.viewWidget._executeSaveProtocol,
            window,
            updateProtocolCallback=window.viewWidget._updateProtocol,
        )
        form.adjustSize()
        tabs = _notebook(form.root)
        for number, tab in enumerate(tabs.tabs(), 1):
            tabs.select(tab)
            grab(form.root, out / ("%s_%d.png" % (name, number)))
        form.root.destroy()


def wizard_pictures(window, star, result, out):
    """The dialogs of the resolution and of the mask."""
    preview = make_preview(str(star), None, Settings(), threads=2)
    fields = Settings.fields()
    chosen = json.loads((result / "summary.json").read_text(encoding="utf-8"))["resolution"]
    low = -(-preview.finest // 0.5) * 0.5
    for name, sliders in (
        (
            "resolution",
            [("resolution", "Resolution (Å)", chosen, low, min(60, preview.coarsest), 0.5)],
        ),
        (
            "mask",
            [
                (name, fields[name]["label"], fields[name]["default"], *limits)
                for name, *limits in MASK_SLIDERS
            ],
        ),
    ):

        def photograph(name=name, seen=False):
            dialog = next(
                (one for one in window.root.winfo_children() if isinstance(one, PreviewDialog)),
                None,
            )
            if not seen:  # then give it the time to notice that it is visible
                seen = dialog is not None and bool(dialog.winfo_viewable())
                window.root.after(2000, lambda: photograph(name, seen))
                return
            grab(dialog, out / ("wizard_%s.png" % name))
            dialog.cancel()

        window.root.after(1500, photograph)
        PreviewDialog(window.root, name, preview, sliders, resolution=chosen)


def viewer_pictures(window, route, result, out, width, prefix):
    """The form of "Analyze results", each of its figures, and the lasso."""
    project = window.project
    protocol = project.newProtocol(ROUTES[route])
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    shutil.copytree(result, protocol._resultFolder())
    kind = PcaInitViewerCompare if route == "compare" else PcaInitViewerInitialVolumes
    viewer = kind(project=project, protocol=protocol)
    FormWindow.show = lambda self, **options: None  # it would wait for the user
    viewer.visualize(protocol)
    root = viewer.formWindow.root
    viewer.formWindow.adjustSize()
    tabs = _notebook(root)
    for number, tab in enumerate(tabs.tabs(), 1):
        tabs.select(tab)
        grab(root, out / ("%sviewer_form_%d.png" % (prefix, number)))
    show = viewer._getVisualizeDict()
    for number, name in enumerate(viewer._names):
        viewer.figure.set(number)
        (view,) = show["figure"]("figure")
        view.show()
        _maximise(view.window, width)
        grab(view.window, out / ("%sviewer_%s.png" % (prefix, name)))
        view.window.destroy()
    if viewer.getParam("lasso") is not None:
        (view,) = show["lasso"]("lasso")
        view.show()
        _maximise(view.window, width)
        view.figure.canvas.draw()
        angles = np.linspace(0, 2 * np.pi, 60)
        labels = viewer._result().labels
        some = labels == min(CHOSEN, int(labels.max()))
        (x, y), reach = view.points[some].mean(axis=0), view.points.std(axis=0)
        view.select(list(zip(x + reach[0] * np.cos(angles), y + reach[1] * np.sin(angles))))
        grab(view.window, out / (prefix + "viewer_lasso.png"))
        view.window.destroy()


def _maximise(window, width):
    window.geometry("%dx%d+0+0" % (width, width * 9 // 16 - 40))
    window.update()


def _notebook(widget):
    from tkinter import ttk

    for child in widget.winfo_children():
        found = child if isinstance(child, ttk.Notebook) else _notebook(child)
        if found is not None:
            return found
    return None


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]), [word.split("=", 1) for word in sys.argv[5:]])
