"""Parts of a scatter of points by class: points or their density, margins, ellipses, legend."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.style import FAINT, class_colour, new_figure

_BINS = 180
_LEGEND = 12  # classes named in the legend


def joint_axes() -> tuple[Figure, Axes, Axes, Axes]:
    """A figure with axes for a scatter and for the histograms above and beside it."""
    figure = new_figure(7.4, 5.6, right=1.75)
    grid = figure.add_gridspec(
        2, 2, width_ratios=(6, 1), height_ratios=(1, 6), wspace=0.04, hspace=0.04
    )
    axes = figure.add_subplot(grid[1, 0])
    above = figure.add_subplot(grid[0, 0], sharex=axes)
    beside = figure.add_subplot(grid[1, 1], sharey=axes)
    for margin in (above, beside):
        margin.set_axis_off()
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    axes.axvline(0, color=FAINT, linewidth=0.6, zorder=0)
    return figure, axes, above, beside


def draw_points(
    axes: Axes, x: AnyArray, y: AnyArray, labels: AnyArray, size: float, alpha: float = 0.55
) -> None:
    """Draw points by class, -1 for none, in mixed order."""
    order = np.random.default_rng(0).permutation(len(x))  # no class on top of the others
    colours = np.array([to_rgb(FAINT) if k < 0 else to_rgb(class_colour(k)) for k in labels])
    axes.scatter(
        x[order],
        y[order],
        s=size,
        c=colours[order] if len(x) else None,
        alpha=alpha,
        linewidths=0,
        zorder=2,
        rasterized=len(x) > 500,
    )


def draw_density(
    axes: Axes, x: AnyArray, y: AnyArray, labels: AnyArray, limits: Sequence[tuple[float, float]]
) -> None:
    """Colour: mixture of the classes in a bin; strength: how many particles it holds."""
    colour, total = np.zeros((_BINS, _BINS, 3)), np.zeros((_BINS, _BINS))
    for k in np.unique(labels):
        count = np.histogram2d(y[labels == k], x[labels == k], bins=_BINS, range=limits[::-1])[0]
        colour += count[..., None] * to_rgb(class_colour(k) if k >= 0 else FAINT)
        total += count
    strength = np.log1p(total) / np.log1p(max(total.max(), 1))
    image = np.dstack([colour / np.maximum(total, 1)[..., None], np.clip(strength, 0, 1)])
    axes.imshow(
        image,
        origin="lower",
        extent=(*limits[0], *limits[1]),
        aspect="auto",
        zorder=2,
        interpolation="nearest",
    )


def draw_marginals(
    above: Axes,
    beside: Axes,
    x: AnyArray,
    y: AnyArray,
    labels: AnyArray,
    limits: Sequence[tuple[float, float]],
) -> None:
    """Draw histograms of each class along both axes."""
    for axes, values, limit, turned in ((above, x, limits[0], False), (beside, y, limits[1], True)):
        edges = np.linspace(*limit, 61 if len(x) > 1000 else 17)
        for k in np.unique(labels[labels >= 0]):
            count = np.histogram(values[labels == k], edges)[0]
            side = dict(orientation="horizontal" if turned else "vertical", color=class_colour(k))
            axes.stairs(count, edges, fill=True, alpha=0.3, **side)
            axes.stairs(count, edges, linewidth=1.0, **side)


def mark_class(axes: Axes, centre: AnyArray, covariance: AnyArray, k: int) -> None:
    """Draw a class's number in an ellipse of two standard deviations."""
    axes.add_patch(_ellipse(centre, covariance, k))
    number_class(axes, centre[0], centre[1], k)


def _ellipse(centre: AnyArray, covariance: AnyArray, k: int) -> Ellipse:
    variance, axes = np.linalg.eigh(covariance)
    width, height = 4 * np.sqrt(np.maximum(variance, 0))
    angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
    return Ellipse(
        centre,
        width,
        height,
        angle=angle,
        facecolor="none",
        linewidth=2.2,
        zorder=4,
        edgecolor=class_colour(k),
        path_effects=[withStroke(linewidth=4, foreground="white")],
    )


def number_class(axes: Axes, x: float, y: float, k: int) -> None:
    """Draw a class's number on a disc of its colour."""
    axes.plot(
        [x],
        [y],
        "o",
        markersize=19,
        color=class_colour(k),
        markeredgecolor="white",
        markeredgewidth=1.8,
        zorder=5,
    )
    axes.text(
        x,
        y,
        str(k + 1),
        color="white",
        ha="center",
        va="center",
        fontsize=11,
        fontweight="bold",
        zorder=6,
        clip_on=True,
    )


def add_legend(figure: Figure, names: list[str], junk: str) -> None:
    """Name the classes, and what was set aside, beside the axes."""
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=9, color=class_colour(k), label=name)
        for k, name in enumerate(names[:_LEGEND])
    ]
    if len(names) > _LEGEND:
        handles.append(Line2D([], [], linestyle="", label="and %d more" % (len(names) - _LEGEND)))
    if junk:
        handles.append(Line2D([], [], linestyle="", marker="x", color=FAINT, label=junk))
    figure.legend(
        handles=handles,
        loc="upper left",
        handletextpad=0.2,
        bbox_to_anchor=(1 - 1.8 / figure.get_figwidth(), 1.0),
    )
