"""Dialogs that show the consensus while the user chooses the resolution or the mask."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import tkinter as tk
from typing import Any, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from pyworkflow.gui.dialog import RESULT_CANCEL, RESULT_CLOSE, RESULT_YES, Dialog

from pcainit.errors import InputError
from pcainit.output.plots.preview import draw_preview
from pcainit.pipeline.routes.preview import Preview

Slider = Tuple[str, str, float, float, float, float]  # name, label, value, low, high, step
DELAY_MS = 120  # after the last movement of a slider
PROTEIN = 1210.0  # cubic Angstrom of a kDa
SIZE = (9.6, 3.5)  # of the figure, inches


class PreviewDialog(Dialog):
    """Central sections of the consensus above sliders; *OK* keeps the sliders' values.

    Parameters
    ----------
    parent : tkinter widget
    title : str
    preview : Preview
    sliders : sequence of (name, label, value, low, high, step)
    resolution : float
        Resolution that is shown when no slider is called ``resolution``, Angstrom.
    mask : (box, box, box) float32, optional
        Outlined as it is; without it, the automatic mask of the sliders is, if they are the mask's.
    """

    def __init__(
        self,
        parent: Any,
        title: str,
        preview: Preview,
        sliders: Sequence[Slider],
        *,
        resolution: float = 20.0,
        mask: np.ndarray | None = None,
    ) -> None:
        self.preview, self.sliders, self.mask = preview, sliders, mask
        self.resolution = min(max(resolution, preview.finest), preview.coarsest)
        self.scales: dict[str, tk.Scale] = {}
        self.figure = Figure(figsize=SIZE, dpi=100)
        self._waiting = None
        super().__init__(
            parent,
            title,
            buttons=[("OK", RESULT_YES), ("Cancel", RESULT_CANCEL)]
            if sliders
            else [("Close", RESULT_CLOSE)],
        )

    def body(self, frame: tk.Frame) -> None:
        """The figure, the sliders, and a line of words."""
        from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg

        self.canvas = FigureCanvasTkAgg(self.figure, master=frame)
        self.canvas.get_tk_widget().grid(row=0, column=0, columnspan=2, sticky="news")
        for row, (name, label, value, low, high, step) in enumerate(self.sliders, 1):
            tk.Label(frame, text=label).grid(row=row, column=0, sticky="se", padx=8, pady=4)
            scale = tk.Scale(
                frame,
                from_=low,
                to=high,
                resolution=step,
                orient="horizontal",
                command=lambda _: self._later(),
            )
            scale.set(min(max(value, low), high))
            scale.grid(row=row, column=1, sticky="ew", padx=8)
            self.scales[name] = scale
        self.words = tk.Label(frame, justify="left", anchor="w")
        self.words.grid(
            row=len(self.sliders) + 1, column=0, columnspan=2, sticky="w", padx=8, pady=6
        )
        frame.columnconfigure(1, weight=1)
        self.draw()

    def values(self) -> dict[str, float]:
        """The sliders' values by name."""
        return {name: float(scale.get()) for name, scale in self.scales.items()}

    def apply(self) -> None:
        """Keep the values: the sliders are gone once the dialog is closed."""
        self.chosen = self.values()

    def draw(self) -> None:
        """Draw the sections and say what the values mean."""
        self._waiting = None
        preview, values = self.preview, self.values()
        resolution = values.get("resolution", self.resolution)
        volume, mask = preview.low_passed(resolution), self.mask
        words = "Consensus of %s of the %s particles." % (
            format(preview.count, ","),
            format(preview.total, ","),
        )
        if "resolution" in values:
            words += "  At %g Å all cropped images take %s MB of memory or disk." % (
                resolution,
                format(round(preview.megabytes(resolution)), ","),
            )
        elif mask is None:
            try:
                mask = preview.mask(
                    volume,
                    values["mask_threshold"],
                    values["mask_near"],
                    max(values["mask_near"], values["mask_far"]),
                )
            except InputError as problem:
                words += "  " + str(problem)
        if mask is not None:
            words += (
                "  The mask (thick line: 0.5) has room for %.0f kDa of protein (%.0f %% of the "
                "box)." % (float(mask.sum()) * preview.grid.voxel**3 / PROTEIN, 100 * mask.mean())
            )
        draw_preview(self.figure, volume, preview.grid.voxel, mask)
        self.canvas.draw()
        self.words.config(text=words)

    def _later(self) -> None:
        """Draw when the slider has come to rest."""
        if self._waiting is not None:
            self.after_cancel(self._waiting)
        self._waiting = self.after(DELAY_MS, self.draw)
