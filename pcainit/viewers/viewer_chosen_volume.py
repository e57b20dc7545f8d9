"""What "Analyze results" opens for one more volume, of chosen particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

from pwem.viewers import EmProtocolViewer
from pyworkflow.protocol import params
from pyworkflow.viewer import DESKTOP_TKINTER

from pcainit.protocols import PcaInitProtChosenVolume


class PcaInitViewerChosenVolume(EmProtocolViewer):
    """Shows the new volume, alone and beside the volumes of the run that it comes from."""

    _label = "chosen volume"
    _targets = [PcaInitProtChosenVolume]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Results")
        if not hasattr(self.protocol, "outputVolume"):
            form.addParam("nothing", params.LabelParam, label="There are no results yet.")
            return
        form.addParam(
            "sections",
            params.LabelParam,
            important=True,
            label="Central sections of the new volume",
            help="Three sections through the centre, of the volume as it was written.",
        )
        form.addParam(
            "volumes",
            params.LabelParam,
            label="All volumes in ChimeraX",
            help="The volumes of the run, and the new one last.",
        )

    def _getVisualizeDict(self):
        return {"sections": self._showSections, "volumes": self._showVolumes}

    def _showSections(self, _=None):
        from matplotlib.figure import Figure

        from pcainit.errors import InputError
        from pcainit.io.maps import read_map
        from pcainit.output.plots.preview import draw_preview
        from pcainit.viewers.windows import FigureView

        title = "Volume of %s" % self.protocol.outputVolume.getObjComment()
        try:
            volume, sampling = read_map(self.protocol.outputVolume.getFileName())
        except InputError as problem:
            return [self.errorMessage(str(problem), title)]
        figure = Figure(figsize=(9.6, 3.5), dpi=100)
        draw_preview(figure, volume, sampling, None)
        return [FigureView(figure, title, self.getTkRoot())]

    def _showVolumes(self, _=None):
        from pcainit.io.atomic import write_text
        from pcainit.viewers.viewer_initial_volumes import open_script

        script = Path(self.protocol._getExtraPath("viewer", "volumes.cxc"))
        lines = [
            'open "%s"' % Path(volume.getFileName()).resolve()
            for volume in self.protocol.outputVolumes.iterItems()
        ]
        script.parent.mkdir(parents=True, exist_ok=True)
        write_text(script, "\n".join([*lines, "volume style surface", "tile"]) + "\n")
        return [open_script(self, script)]
