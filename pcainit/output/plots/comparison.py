"""Figures of a comparison of several sets of volumes, made from its ``comparison.json``."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.spectra import resolution_ticks
from pcainit.output.plots.style import (
    FAINT,
    INK,
    RELIEF,
    class_colour,
    colour_bar,
    new_figure,
    styled,
)

_NUMBERED = 20  # volumes whose matrix is written out
_LONGEST_NAME = 36
_LETTER = 0.105  # inches, at most

Comparison = Mapping[str, Any]


class ComparisonPlot(NamedTuple):
    """One kind of figure: title, caption, how it is drawn, and whether there is something to."""

    title: str
    caption: str
    draw: Callable[[Comparison], Figure]
    available: Callable[[Comparison], bool]


@styled
def set_differences(comparison: Comparison) -> Figure:
    """How much the volumes of each set differ: a dot for each pair, a bar for their mean."""
    rows = comparison["sets"]
    figure, axes = _by_set(rows, "difference of two volumes (% of the density's spread)")
    largest = 1.0
    for k, row in enumerate(rows):
        pairs = 100 * _pairs(row["pairwise_differences"])
        if not len(pairs):
            _note(axes, 0, k, "one volume")
            continue
        _dots(axes, pairs, k)
        largest = max(largest, pairs.max())
        if row.get("over_noise") is not None:
            noise = _pairs(row["over_noise"])
            low, high = ("%.1f" % value for value in (noise.min(), noise.max()))
            _note(
                axes,
                pairs.max(),
                k,
                (low if low == high else "%s to %s" % (low, high)) + " × noise",
            )
    axes.set_xlim(0, 1.4 * largest)
    return figure


@styled
def truth_agreement(comparison: Comparison) -> Figure:
    """Correlation of each true difference map with the one of each set that matches it best."""
    rows = [row for row in comparison["sets"] if "truth_correlations" in row][:-1]
    if not rows:
        raise ValueError("No true volumes were given.")
    figure, axes = _by_set(rows, "correlation with the true difference map")
    for k, row in enumerate(rows):
        values = np.asarray(row["truth_correlations"], float)
        if len(row["files"]) < 2:
            _note(axes, 0, k, "one volume")
            continue
        _dots(axes, values, k)
        _note(axes, max(float(values.max()), 0), k, "mean %.2f" % values.mean())
    axes.set_xlim(min(0, *(min(row["truth_correlations"]) for row in rows)) - 0.03, 1.25)
    axes.set_xticks(np.linspace(0, 1, 6))
    return figure


@styled
def set_matches(comparison: Comparison) -> Figure:
    """Correlations of the difference maps of all volumes, set by set."""
    table = np.array(comparison["difference_correlations"], float)
    sizes = [len(row["files"]) for row in comparison["sets"]]
    edges, count = np.cumsum([0, *sizes]), len(table)
    side = float(np.clip(2.4 + 0.5 * count, 4.2, 9.0))
    left, right, foot = _margin(comparison["sets"]), 1.25, 0.75
    figure = new_figure(
        side + left + right, side + foot, left=left, right=right, bottom=foot, top=0.1
    )
    axes = figure.add_subplot()
    axes.imshow(table, cmap=RELIEF, vmin=-1, vmax=1)
    if count <= _NUMBERED:
        for (a, b), value in np.ndenumerate(table):
            words = "%.2f" % (round(float(value), 2) + 0.0)  # no -0
            axes.text(
                b,
                a,
                words.replace("0.", ".").replace("1.00", "1"),
                ha="center",
                va="center",
                color="white" if abs(value) > 0.6 else INK,
                fontsize=11 if count <= 12 else 8,
            )
    for edge in edges[1:-1] - 0.5:
        axes.axhline(edge, color=INK, linewidth=1.4)
        axes.axvline(edge, color=INK, linewidth=1.4)
    middle = (edges[:-1] + edges[1:] - 1) / 2
    axes.set_yticks(middle, [_short(row["name"]) for row in comparison["sets"]])
    axes.set_xticks(middle, [str(k + 1) for k in range(len(sizes))])
    axes.set_xlabel("the same sets in the same order")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    colour_bar(axes, "correlation of difference maps")
    return figure


@styled
def set_resolution(comparison: Comparison) -> Figure:
    """Fourier shell correlation between the volumes of each set: mean, and down to the least."""
    frequencies = np.asarray(comparison["frequencies"], float)
    right = 0.5 + _margin(comparison["sets"])
    figure = new_figure(5.6 + right, 4.4, right=right)
    axes = figure.add_subplot()
    lowest = 0.0
    for k, row in enumerate(comparison["sets"]):
        if "fsc_mean" not in row:
            continue
        mean, least = (np.asarray(row[name], float) for name in ("fsc_mean", "fsc_least"))
        axes.plot(frequencies, mean, color=class_colour(k), label=_short(row["name"]))
        axes.fill_between(frequencies, least, mean, color=class_colour(k), alpha=0.15, linewidth=0)
        lowest = min(lowest, float(least.min()))
    if not axes.lines:
        raise ValueError("No set has two volumes.")
    lines, last = len(axes.lines), float(frequencies[-1])
    axes.axhline(0.5, color=FAINT, linewidth=1.2)
    axes.annotate(
        "0.5",
        (0, 0.5),
        (4, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        color=FAINT,
    )
    axes.set(
        xlim=(0, last),
        ylim=(lowest - 0.05, 1.03),
        xlabel="resolution (Å)",
        ylabel="Fourier shell correlation",
    )
    resolution_ticks(axes, last)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=min(11, 110 / lines))
    return figure


def _by_set(rows: list[Any], what: str) -> tuple[Figure, Axes]:
    """Axes with one line for each set."""
    count = len(rows)
    left = _margin(rows)
    figure = new_figure(
        5.2 + left, float(np.clip(0.9 + 0.52 * count, 2.0, 12.0)), left=left, top=0.05
    )
    axes = figure.add_subplot()
    axes.set_xlabel(what, loc="left")
    axes.set(ylim=(count - 0.5, -0.5))
    axes.set_yticks(np.arange(count), [_short(row["name"]) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure, axes


def _dots(axes: Axes, values: AnyArray, k: int) -> None:
    axes.plot(
        values,
        np.full(len(values), k),
        "o",
        color=class_colour(k),
        markersize=8,
        alpha=0.7,
        markeredgewidth=0,
    )
    axes.plot([values.mean()] * 2, [k - 0.27, k + 0.27], color=class_colour(k), linewidth=3)


def _note(axes: Axes, x: float, k: int, words: str) -> None:
    axes.annotate(words, (x, k), (10, 0), textcoords="offset points", va="center", fontsize=11)


def _pairs(table: Any) -> AnyArray:
    """What stands above the diagonal."""
    values = np.asarray(table, float)
    return values[np.triu_indices(len(values), 1)]


def _margin(rows: list[Any]) -> float:
    """Inches that the longest name takes."""
    return 0.3 + _LETTER * max(len(_short(row["name"])) for row in rows)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _several(comparison: Comparison) -> bool:
    return any(len(row["files"]) > 1 for row in comparison["sets"])


COMPARISON_PLOTS: dict[str, ComparisonPlot] = {
    "differences": ComparisonPlot(
        "How much the volumes of each set differ",
        "A dot for each pair of volumes of a set, a bar at their mean. Beside them, where the run "
        "that made the set has measured it, the same in units of the volumes' noise: 1 is noise "
        "alone.",
        set_differences,
        _several,
    ),
    "truth": ComparisonPlot(
        "Agreement with the truth",
        "A dot for each true volume: how well its difference from the mean of all true volumes "
        "matches that of the set's best volume, one to one. 1 is the same, 0 nothing in common; a "
        "bar at the mean.",
        truth_agreement,
        lambda comparison: any("truth_correlations" in row for row in comparison["sets"]),
    ),
    "matches": ComparisonPlot(
        "What the sets have in common",
        "Correlation of the difference maps (a volume minus the mean of its own set) of all "
        "volumes. A set that shows the same changes as another has one value near 1 in each row "
        "of their block.",
        set_matches,
        _several,
    ),
    "resolution": ComparisonPlot(
        "Resolution up to which the volumes are the same",
        "Fourier shell correlation between the volumes of each set: the line is the mean of all "
        "pairs, the shade reaches down to the least.",
        set_resolution,
        _several,
    ),
}


def comparison_plots(comparison: Comparison | None) -> list[str]:
    """Names of the figures that a comparison has."""
    return [
        name
        for name, plot in COMPARISON_PLOTS.items()
        if comparison is not None and plot.available(comparison)
    ]
