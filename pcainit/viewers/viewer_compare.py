"""What "Analyze results" opens for a comparison of sets of volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os

from pwem.viewers import EmProtocolViewer
from pyworkflow.protocol import params
from pyworkflow.viewer import DESKTOP_TKINTER

from pcainit.protocols import PcaInitProtCompare


class PcaInitViewerCompare(EmProtocolViewer):
    """Shows how different the volumes of each set are, what the sets have in common, and how
    well they agree with the truth.
    """

    _label = "comparison"
    _targets = [PcaInitProtCompare]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Results")
        comparison = self._comparison()
        if comparison is None:
            form.addParam("nothing", params.LabelParam, label="There are no results yet.")
            return
        from pcainit.output.plots.comparison import COMPARISON_PLOTS, comparison_plots

        self._names = comparison_plots(comparison)
        form.addParam(
            "page",
            params.LabelParam,
            important=True,
            label="Table and all figures",
            help="On one page, in your browser.",
        )
        if self._names:
            plots = [COMPARISON_PLOTS[name] for name in self._names]
            form.addParam(
                "figure",
                params.EnumParam,
                default=0,
                display=params.EnumParam.DISPLAY_COMBO,
                label="Figure",
                choices=[plot.title for plot in plots],
                help="\n".join("*%s*: %s" % plot[:2] for plot in plots),
            )

    def _getVisualizeDict(self):
        return {"page": self._showPage, "figure": self._showFigure}

    def _showPage(self, _=None):
        from pcainit.viewers.windows import ReportView

        path = self._file("comparison.html")
        if not os.path.exists(path):
            return [self.errorMessage("The page %s is missing." % path, "Comparison")]
        return [ReportView(path, parent=self.getTkRoot())]

    def _showFigure(self, _=None):
        from pcainit.output.plots.comparison import COMPARISON_PLOTS
        from pcainit.viewers.windows import FigureView

        plot = COMPARISON_PLOTS[self._names[self.figure.get()]]
        try:
            figure = plot.draw(self._comparison())
        except (ValueError, KeyError) as problem:
            return [self.errorMessage(str(problem), plot.title)]
        return [FigureView(figure, plot.title, self.getTkRoot())]

    def _file(self, name):
        return os.path.join(self.protocol._resultFolder(), name)

    def _comparison(self):
        """What was found; None when there is nothing yet."""
        try:
            with open(self._file("comparison.json"), encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return None
        return found if "difference_correlations" in found else None
