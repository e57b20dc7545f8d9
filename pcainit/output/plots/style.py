"""The figures' common look: colours that colour-blind people can tell apart, large labels."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

_GAP, _THICK, _LONGEST = 0.1, 0.16, 4.0  # of colour bars, inches
INK = "#1f2933"
FAINT = "#8a94a0"
PALE = "#e4e8ec"
ACCENT = "#0072b2"
WARN = "#d55e00"
# Okabe and Ito's palette in an order that keeps neighbours far apart in lightness, then darker
# and lighter versions.
CLASSES = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#6a3d9a",
    "#7f7f7f",
    "#003f63",
    "#7a3600",
    "#00563f",
    "#8a3d66",
    "#8f6300",
    "#1d7fb8",
    "#b39ddb",
    "#bdb76b",
)
RELIEF = "RdBu_r"  # differences: red is more density, blue is less
INCHES_PER_PANEL = 1.5

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 12,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "hatch.linewidth": 1.2,
    "svg.fonttype": "path",  # looks the same on every computer
    "svg.hashsalt": "pcainit",  # the same figure gives the same file
}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def styled(function: _Function) -> _Function:
    """Run a function with the common look; the caller's settings stay as they are."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        # Other plugins of Scipion change the settings of the whole process, some on import.
        with style.context(["default", _STYLE]):
            return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def new_figure(
    width: float,
    height: float,
    *,
    left: float = 0.85,
    right: float = 0.15,
    bottom: float = 0.62,
    top: float = 0.15,
    between: float = 0.0,
) -> Figure:
    """An empty figure; size, margins and the mean gap between panels are in inches.

    Fixed margins take a third of the time of matplotlib's automatic layouts.
    """
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height
    )
    if between:
        panel = (width - left - right - between) / 2
        figure.subplots_adjust(wspace=between / panel)
    return figure


def colour_bar(picture: Axes, label: str) -> Any:
    """The colour bar of a picture, which stays beside it whatever the shape of the window.

    Parameters
    ----------
    picture : Axes
        Of its images the first is explained.  To the right there is room for the bar.
    label : str
    """
    figure = picture.get_figure()
    place = figure.add_axes((0.9, 0.1, 0.02, 0.8))
    bar = figure.colorbar(picture.images[0], cax=place)
    bar.set_label(label)
    bar.outline.set_visible(False)

    def beside(_: Any, __: Any) -> Bbox:
        picture.apply_aspect()
        box = picture.get_position()
        width, height = figure.get_size_inches()
        length = min(0.8 * box.height, _LONGEST / height)
        middle = (box.y0 + box.y1) / 2
        return Bbox.from_bounds(box.x1 + _GAP / width, middle - length / 2, _THICK / width, length)

    place.set_axes_locator(beside)
    return bar


def class_colour(k: int) -> str:
    """Colour of class k (from 0)."""
    return CLASSES[k % len(CLASSES)]
