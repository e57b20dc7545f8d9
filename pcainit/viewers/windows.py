"""Windows with a figure in them, with or without a lasso to choose points."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
import webbrowser
from pathlib import Path
from typing import Any, Callable, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from pyworkflow.viewer import View

Outline = Sequence[Tuple[float, float]]


class FigureView(View):
    """A figure in a window of its own, with matplotlib's toolbar.

    Parameters
    ----------
    figure : Figure
    title : str
    parent : tkinter widget, optional
    """

    def __init__(self, figure: Figure, title: str, parent: Any = None) -> None:
        self.figure, self.title, self.parent = figure, title, parent
        self.window = None

    def show(self) -> None:
        """Open the window."""
        import tkinter as tk

        from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg, NavigationToolbar2Tk

        self.window = tk.Toplevel(self.parent)
        self.window.withdraw()  # until it has its size
        self.window.title(self.title)
        self._add_controls()
        canvas = FigureCanvasTkAgg(self.figure, master=self.window)
        NavigationToolbar2Tk(canvas, self.window).pack(side="bottom", fill="x")
        canvas.get_tk_widget().pack(side="top", fill="both", expand=True)
        self.window.update_idletasks()
        self.window.deiconify()
        canvas.draw()

    def _add_controls(self) -> None:
        """More widgets, for views that have them."""


class LassoView(FigureView):
    """A scatter in which the user draws around points, and buttons that use them.

    Parameters
    ----------
    figure : Figure
        Its first axes hold the scatter.
    title : str
    points : (n, 2) ndarray
        What is drawn, to mark the chosen ones.
    choose : callable
        From an outline to the chosen rows.
    accept : dict of str to callable
        For each button its words and what is called with the chosen rows when it is pressed.
    parent : tkinter widget, optional
    """

    def __init__(
        self,
        figure: Figure,
        title: str,
        points: np.ndarray,
        choose: Callable[[Outline], np.ndarray],
        accept: dict[str, Callable[[np.ndarray], Any]],
        parent: Any = None,
    ) -> None:
        super().__init__(figure, title, parent)
        self.points, self.choose, self.accept = points, choose, accept
        self.rows = np.zeros(0, np.int64)
        self.lasso = self.label = self.marks = None
        self.buttons: dict[str, Any] = {}

    def show(self) -> None:
        """Open the window and wait for an outline."""
        from matplotlib.widgets import LassoSelector

        super().show()
        self.lasso = LassoSelector(
            self.figure.axes[0],
            onselect=self.select,
            useblit=False,
            props=dict(color="black", linewidth=1.5),
        )

    def select(self, outline: Outline) -> None:
        """Choose the points inside an outline, mark and count them."""
        self.rows = self.choose(outline)
        if self.marks is not None:
            self.marks.remove()
        (self.marks,) = self.figure.axes[0].plot(
            *self.points[self.rows].T, "o", color="black", markersize=2.5, alpha=0.6, zorder=7
        )
        self.figure.canvas.draw_idle()
        if self.label is not None:
            self.label.config(text="%s particles chosen" % format(len(self.rows), ","))
            self._enable(len(self.rows) > 0)

    def _add_controls(self) -> None:
        import tkinter as tk

        bar = tk.Frame(self.window)
        bar.pack(side="bottom", fill="x", padx=10, pady=6)
        self.label = tk.Label(bar, text="Draw around the particles with the left mouse button.")
        self.label.pack(side="left")
        for words in reversed(list(self.accept)):
            self.buttons[words] = tk.Button(
                bar, text=words, state="disabled", command=functools.partial(self.press, words)
            )
            self.buttons[words].pack(side="right", padx=4)

    def press(self, words: str) -> None:
        """Use the chosen points, once for each outline, and say what came of it."""
        self._enable(False)
        run = self.accept[words](self.rows)
        name = run.getObjLabel() if hasattr(run, "getObjLabel") else ""
        if self.label is not None and name:
            self.label.config(
                text="Started: '%s' (%s particles); see the project's window."
                % (name, format(len(self.rows), ","))
            )

    def _enable(self, yes: bool) -> None:
        for button in self.buttons.values():
            button.config(state="normal" if yes else "disabled")


class ReportView(View):
    """The report in the user's browser.

    Parameters
    ----------
    path : str or Path
    opened : callable, optional
        Opens an address and says whether it could.
    parent : tkinter widget, optional
    """

    def __init__(
        self, path: str | Path, opened: Callable[[str], Any] | None = None, parent: Any = None
    ) -> None:
        self.path = Path(path).resolve()
        self.uri = self.path.as_uri()
        self.opened = opened or webbrowser.open
        self.parent = parent

    def show(self) -> None:
        """Open the browser, or say where the page is if none can be started."""
        try:
            shown = self.opened(self.uri)
        except (OSError, webbrowser.Error):
            shown = False
        if not shown:
            from pyworkflow.viewer import MSG_WARN, MessageView

            MessageView(
                "No browser could be started here. The page is a single file, which can be copied "
                "and opened anywhere:\n\n%s" % self.path,
                "Report",
                msgType=MSG_WARN,
                tkParent=self.parent,
            ).show()
