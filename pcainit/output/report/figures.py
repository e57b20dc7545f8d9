"""Figures as HTML, embedded in the page."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass
from typing import Callable

from matplotlib.figure import Figure

from pcainit.output.plots import PLOTS, Result
from pcainit.output.plots.style import styled

PICTURES = frozenset(("volumes", "differences", "changes", "components", "variance"))
_DPI = 150  # of pictures, and of the many points within drawings
_REM_PER_INCH = 4.7  # on the page
_WIDE = 37.0  # rem; wider ones stand alone
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawn:
    """One figure for the page.

    Parameters
    ----------
    name, title, caption : str
    image : str
        A data URI; empty where the figure could not be drawn.
    problem : str
        Why not.
    width : float
        On the page, rem.
    """

    name: str
    title: str
    caption: str
    image: str
    problem: str = ""
    width: float = 34.8

    @property
    def wide(self) -> bool:
        """Whether it stands alone."""
        return self.width > _WIDE


def figure(result: Result, name: str) -> Drawn | None:
    """One figure with title and caption; None when the result does not hold what it needs."""
    plot = PLOTS[name]
    if not plot.available(result):
        return None
    return embed(name, *plot.words(result), lambda: plot.draw(result))


def embed(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Drawn:
    """A figure, drawn.

    A figure that fails must not take the finished run down with it: the page says so instead.
    """
    try:
        drawn = draw()
        image = _encode(drawn, "png" if name in PICTURES else "svg")
        width = drawn.get_size_inches()[0] * _REM_PER_INCH
    except Exception as problem:
        logger.warning("The figure %s could not be drawn: %s", name, problem)
        return Drawn(name, title, caption, "", str(problem))
    return Drawn(name, title, caption, image, width=width)


@styled
def _encode(drawn: Figure, kind: str) -> str:
    """A data URI; the same figure gives the same text."""
    buffer = io.BytesIO()
    nothing = {"svg": ("Creator", "Date", "Format", "Type"), "png": ("Software",)}[kind]
    faster = dict(pil_kwargs=dict(compress_level=4)) if kind == "png" else {}
    drawn.savefig(buffer, format=kind, dpi=_DPI, metadata=dict.fromkeys(nothing), **faster)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return "data:%s;base64,%s" % (mime, base64.b64encode(buffer.getvalue()).decode())
