"""The form behind "Analyze results": figures, ChimeraX, the report, and subsets of particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import functools
import os
import shutil

import numpy as np
from pwem.viewers import EmProtocolViewer
from pyworkflow.protocol import params
from pyworkflow.viewer import DESKTOP_TKINTER, CommandView

from pcainit.output.result_folder import REPORT
from pcainit.protocols import PcaInitProtInitialVolumes, PcaInitProtLatents, PcaInitProtVolumePca

# The figures and their libraries are imported when a viewer is opened: Scipion imports this
# module at each start.
SCATTERS = ("particles", "batches")


class PcaInitViewerInitialVolumes(EmProtocolViewer):
    """Shows what the protocols that make initial volumes have found.

    Figures open in windows of their own. Volumes, components and movements open in ChimeraX by
    a script, which is kept in the run's extra folder. Particles chosen in the scatter become a
    subset.
    """

    _label = "results"
    _targets = [PcaInitProtInitialVolumes, PcaInitProtLatents, PcaInitProtVolumePca]
    _environments = [DESKTOP_TKINTER]

    # -------------------------- Form -----------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Results")
        result = self._result()
        if result is None:
            form.addParam("nothing", params.LabelParam, label="There are no results yet.")
            return
        self._defineFigures(form, result)
        self._defineMaps(form, result)
        if result.coordinates is not None:
            self._defineSelection(form, self._what(result))

    def _defineFigures(self, form, result):
        from pcainit.output.plots import PLOTS, best_pair

        names = [name for name, plot in PLOTS.items() if plot.available(result)]
        self._names = names
        first, second = best_pair(result)
        if result.class_volumes is not None:
            form.addParam(
                "report",
                params.LabelParam,
                important=True,
                label="Report",
                help="The verdict, what to do next and all figures on one page, in your browser.",
            )
        only = "variance" if result.kind == "variance" else names[0]  # what the run was made for
        form.addParam(
            "figure",
            params.EnumParam,
            default=names.index(only),
            display=params.EnumParam.DISPLAY_COMBO,
            choices=[PLOTS[name].words(result)[0] for name in names],
            label="Figure",
            help="\n".join("*%s*: %s" % PLOTS[name].words(result) for name in names),
        )
        if not set(SCATTERS) & set(names):
            return
        what = self._what(result)
        line = form.addLine(
            "%ss of the scatter" % what.capitalize(),
            help="Which two %ss the points are shown in; the same one twice gives "
            "histograms." % what,
        )
        line.addParam("firstComponent", params.IntParam, default=first, label="across")
        line.addParam("secondComponent", params.IntParam, default=second, label="up")

    def _defineMaps(self, form, result):
        group = form.addGroup("In ChimeraX")
        if result.class_volumes is not None:
            group.addParam(
                "volumes",
                params.LabelParam,
                label="Class volumes",
                help="All volumes at one level, side by side, in the colours of the figures.",
            )
        if result.components is None:
            return
        group.addParam(
            "components",
            params.LabelParam,
            label="Eigenvolumes",
            help="Each component over the mean map: red and blue parts come and go "
            "in opposite directions.",
        )
        group.addParam(
            "morph",
            params.IntParam,
            default=1,
            label="Movement along component",
            help="Plays the mean map plus more and more of one component. It is a "
            "straight line between densities: parts that come and go fade in and "
            "out.",
        )
        # No wider than the lines above: the window does not grow when the level is changed, and
        # the eyes would lie outside it.
        line = group.addLine(
            "Movement",
            expertLevel=params.LEVEL_ADVANCED,
            help="How many maps, and how many standard deviations to either side of the mean.",
        )
        line.addParam("morphSteps", params.IntParam, default=9, label="maps")
        line.addParam("morphSpread", params.FloatParam, default=2.0, label="± s.d.")

    def _defineSelection(self, form, what):
        form.addSection(label="Choose particles")
        form.addParam(
            "lasso",
            params.LabelParam,
            important=True,
            label="Draw around particles in the scatter",
            help="Opens the scatter of the two " + what + "s chosen on the first tab. "
            "Draw around particles with the left mouse button, then press a "
            "button: a new run makes a subset of the input particles, or one more "
            "volume beside those of this run.",
        )
        form.addParam(
            "rangeComponent",
            params.IntParam,
            default=1,
            label="Or take a range of %s" % what,
            help="The particles whose coordinate lies between the two limits; leave one "
            "empty for no limit. The eye makes the subset.",
        )
        line = form.addLine("Range")
        line.addParam("rangeFrom", params.FloatParam, allowsNull=True, default=None, label="from")
        line.addParam("rangeTo", params.FloatParam, allowsNull=True, default=None, label="to")

    def _getVisualizeDict(self):
        return {
            "report": self._showReport,
            "figure": self._showFigure,
            "volumes": self._showVolumes,
            "components": self._showComponents,
            "morph": self._showMorph,
            "lasso": self._showLasso,
            "rangeComponent": self._subsetOfRange,
        }

    # -------------------------- Figures --------------------------------------
    def _showReport(self, _=None):
        from pcainit.viewers.windows import ReportView

        path = os.path.join(self.protocol._resultFolder(), REPORT)
        if not os.path.exists(path):
            return [self.errorMessage("The report %s is missing." % path, "Report")]
        return [ReportView(path, parent=self.getTkRoot())]

    def _showFigure(self, _=None):
        from pcainit.output.plots import PLOTS
        from pcainit.viewers.windows import FigureView

        name = self._names[self.figure.get()]
        title, _ = PLOTS[name].words(self._result())
        pair = (self.firstComponent.get(), self.secondComponent.get()) if name in SCATTERS else ()
        try:
            figure = PLOTS[name].draw(self._result(), *pair)
        except ValueError as problem:
            return [self.errorMessage(str(problem), title)]
        return [FigureView(figure, title, self.getTkRoot())]

    # -------------------------- ChimeraX -------------------------------------
    def _showVolumes(self, _=None):
        from pcainit.viewers.chimerax import class_volumes_script

        return self._chimerax(class_volumes_script)

    def _showComponents(self, _=None):
        from pcainit.viewers.chimerax import components_script

        return self._chimerax(components_script)

    def _showMorph(self, _=None):
        from pcainit.viewers.chimerax import morph_script

        return self._chimerax(
            lambda result, folder: morph_script(
                result,
                self.morph.get(),
                folder,
                steps=max(2, self.morphSteps.get()),
                spread=self.morphSpread.get(),
            )
        )

    def _chimerax(self, write):
        """Write a script and open it, or say where it is."""
        from pathlib import Path

        try:
            script = write(self._result(), Path(self.protocol._getExtraPath("viewer")))
        except ValueError as problem:
            return [self.errorMessage(str(problem), "ChimeraX")]
        return [open_script(self, script)]

    # -------------------------- Subsets --------------------------------------
    def _showLasso(self, _=None):
        from pcainit.output.plots import latent_scatter
        from pcainit.viewers.selection import inside
        from pcainit.viewers.windows import LassoView

        result = self._result()
        first, second = self.firstComponent.get(), self.secondComponent.get()
        try:
            if first == second:
                raise ValueError("Choose two different %ss on the first tab." % self._what(result))
            figure = latent_scatter(result, first, second)
        except ValueError as problem:
            return [self.errorMessage(str(problem), "Choose particles")]
        words = "particles chosen in %ss %d and %d" % (self._what(result), first, second)
        buttons = {"Make a subset of them": functools.partial(self._makeSubset, label=words)}
        if isinstance(self.protocol, PcaInitProtInitialVolumes):  # which keeps cropped images
            buttons["Make a volume of them"] = functools.partial(
                self._makeVolume, label="volume of " + words
            )
        return [
            LassoView(
                figure,
                "Choose particles",
                result.coordinates[:, [first - 1, second - 1]],
                lambda outline: inside(result, first, second, outline),
                buttons,
                self.getTkRoot(),
            )
        ]

    def _subsetOfRange(self, _=None):
        from pcainit.viewers.selection import between

        result, component = self._result(), self.rangeComponent.get()
        if not 1 <= component <= result.coordinates.shape[1]:
            return [
                self.errorMessage(
                    "%s %d does not exist: there are %d."
                    % (self._what(result).capitalize(), component, result.coordinates.shape[1]),
                    "Range",
                )
            ]
        rows = between(result, component, self.rangeFrom.get(), self.rangeTo.get())
        if not len(rows):
            return [self.errorMessage("No particle lies in this range.", "Range")]
        subset = self._makeSubset(
            rows, "particles in a range of %s %d" % (self._what(result), component)
        )
        return [
            self.infoMessage(
                "The run '%s' makes a subset of %d particles." % (subset.getObjLabel(), len(rows)),
                "Range",
            )
        ]

    def _makeSubset(self, rows, label):
        """Start the run that makes a subset of these particles."""
        from pcainit.viewers.subset import subset_protocol

        return self._start(subset_protocol, rows, label)

    def _makeVolume(self, rows, label):
        """Start the run that makes one more volume from these particles."""
        from pcainit.viewers.subset import volume_protocol

        return self._start(volume_protocol, rows, label)

    def _start(self, make, rows, label):
        """Start a run on chosen particles."""
        ids = np.load(self.protocol._inputIds())[rows]
        run = make(self.getProject(), self.protocol, ids, label)
        windows = getattr(self, "windows", None)
        if windows is not None:  # in Scipion's main window, which shows the new run
            windows.getViewWidget().executeProtocol(run)
        else:
            self.getProject().launchProtocol(run)
        return run

    # -------------------------- Result ---------------------------------------
    @staticmethod
    def _what(result):
        """What the axes of the particles' space are."""
        return "coordinate" if result.kind == "latents" else "component"

    def _result(self):
        """The run's result, loaded once; None when there is none."""
        from pcainit.output.plots import load_result

        found = self.__dict__.get("_loaded")
        if found is None:
            try:
                found = load_result(self.protocol._resultFolder())
            except (OSError, ValueError):
                return None
            self._loaded = found
        return found


def open_script(viewer, script):
    """A view that opens a script in ChimeraX, or says where the script is."""
    program = chimeraxProgram()
    if program is None:
        return viewer.infoMessage(
            "ChimeraX was not found on this computer. The script for it is ready:\n\n%s\n\n"
            "Open it in ChimeraX wherever these files can be seen, or install ChimeraX "
            "(in Scipion: the plugin scipion-em-chimera)." % script.resolve(),
            "ChimeraX",
        )
    return CommandView('"%s" "%s" &' % (program, script.resolve()))


def chimeraxProgram():
    """Path of ChimeraX from Scipion's plugin or the user's path; None when there is none."""
    from pwem.viewers import Chimera

    candidates = [Chimera.getProgram(), shutil.which("ChimeraX"), shutil.which("chimerax")]
    return next((path for path in candidates if path and os.path.exists(path)), None)
