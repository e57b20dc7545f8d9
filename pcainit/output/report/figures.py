"""Figures as HTML, embedded in the page."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import html
import io
import logging
from typing import Callable

from matplotlib.figure import Figure

from pcainit.output.plots import PLOTS, Result
from pcainit.output.plots.style import styled

PICTURES = frozenset(("volumes", "differences", "changes", "components", "variance"))
_DPI = 150  # of pictures, and of the many points within drawings
_REM_PER_INCH = 4.7  # on the page
_WIDE = 37.0  # rem; wider ones stand alone
_FIGURE = """<figure id="%s"%s style="width:%.1frem"><h3>%s</h3>%s
<figcaption>%s</figcaption></figure>"""
logger = logging.getLogger(__name__)


def figure(result: Result, name: str) -> str:
    """One figure with title and caption; empty when the result does not hold what it needs."""
    plot = PLOTS[name]
    if not plot.available(result):
        return ""
    return embed(name, *plot.words(result), lambda: plot.draw(result))


def embed(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> str:
    """A figure as HTML.

    A figure that fails must not take the finished run down with it: the page says so instead.
    """
    width = 34.8
    try:
        drawn = draw()
        image = _encode(drawn, "png" if name in PICTURES else "svg")
        width = drawn.get_size_inches()[0] * _REM_PER_INCH
        body = '<img alt="%s" src="%s">' % (html.escape(title), image)
    except Exception as problem:
        logger.warning("The figure %s could not be drawn: %s", name, problem)
        body = '<p class="note">This figure could not be drawn: %s</p>' % html.escape(str(problem))
    wide = ' class="wide"' if width > _WIDE else ""
    return _FIGURE % (name, wide, width, html.escape(title), body, html.escape(caption))


@styled
def _encode(drawn: Figure, kind: str) -> str:
    """A data URI; the same figure gives the same text."""
    buffer = io.BytesIO()
    nothing = {"svg": ("Creator", "Date", "Format", "Type"), "png": ("Software",)}[kind]
    faster = dict(pil_kwargs=dict(compress_level=4)) if kind == "png" else {}
    drawn.savefig(buffer, format=kind, dpi=_DPI, metadata=dict.fromkeys(nothing), **faster)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return "data:%s;base64,%s" % (mime, base64.b64encode(buffer.getvalue()).decode())
