"""Curves: eigenvalues, half-set agreement, Fourier shell correlation, number of classes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.results import Result
from pcainit.output.plots.style import (
    ACCENT,
    FAINT,
    INK,
    PALE,
    WARN,
    class_colour,
    new_figure,
    styled,
)

STANDING = {
    "real": (ACCENT, "agrees between half-sets"),
    "above noise edge": (ACCENT, "above the noise edge"),
    "artefact": (WARN, "resembles contrast or pose error"),
    "noise": ("#b9c0c8", "noise"),
    "untested": ("#7d8894", "not tested"),
}
_SHOWN = 60  # eigenvalues
_LABELLED = 16  # bars with their number on top
_RESOLUTIONS = (400, 200, 100, 80, 60, 50, 40, 30, 25, 20, 16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2)


@styled
def spectrum(result: Result) -> Figure:
    """Eigenvalues with the noise edge; beside them the half-set cosines where there are any.

    Parameters
    ----------
    result : Result
        With `eigenvalues`.
    """
    if result.eigenvalues is None:
        raise ValueError("This result has no eigenvalues.")
    cosines = result.half_set_cosines
    figure = new_figure(
        7.4, 4.6, left=0.95, top=0.4, bottom=1.0, between=0.0 if cosines is None else 0.9
    )
    panels = figure.subplots(1, 1 if cosines is None else 2, squeeze=False)[0]
    _eigenvalues(panels[0], result)
    if cosines is not None:
        _cosines(panels[1], result, cosines)
    kinds = [
        kind
        for kind in STANDING
        if kind in {result.standing(k) for k in range(result.n_components)}
    ]
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="s",
            markersize=10,
            color=STANDING[kind][0],
            label=STANDING[kind][1],
        )
        for kind in kinds
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles))
    return figure


def _eigenvalues(axes: Axes, result: Result) -> None:
    values = np.asarray(result.eigenvalues)
    longer = result.spectrum
    if longer is not None and len(longer) > len(values):
        rest = np.arange(len(values) + 1, min(len(longer), _SHOWN) + 1)
        axes.bar(rest, longer[rest - 1], width=0.75, color=PALE)
        values = np.asarray(longer[: len(values)])
    axes.bar(np.arange(1, len(values) + 1), values, width=0.75, color=_colours(result))
    if result.noise_edge is not None and np.isfinite(result.noise_edge):
        axes.axhline(float(result.noise_edge), color=INK, linestyle=(0, (4, 3)), linewidth=1.4)
        axes.annotate(
            "noise edge",
            (1, float(result.noise_edge)),
            (0, 3),
            ha="right",
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            color=INK,
        )
    axes.set(title="Strength", xlabel="component", ylabel="eigenvalue (density²)")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0.4, max(axes.get_xlim()[1], 4.6))
    axes.set_ylim(0, 1.12 * np.nanmax([values.max(), float(result.noise_edge or 0)]))
    _number(axes, len(values) if longer is None else len(longer))


def _cosines(axes: Axes, result: Result, cosines: AnyArray) -> None:
    number = np.arange(1, len(cosines) + 1)
    axes.bar(number, cosines, width=0.75, color=_colours(result))
    if len(cosines) <= _LABELLED:
        for x, value in zip(number, cosines):
            axes.annotate(
                "%.2f" % value,
                (x, value),
                (0, 3),
                textcoords="offset points",
                ha="center",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
    if result.null_cosine is not None and np.isfinite(result.null_cosine):
        edge = float(result.null_cosine)
        axes.axhspan(0, edge, color=INK, alpha=0.10, linewidth=0, zorder=0)
        axes.axhline(edge, color=INK, linestyle=(0, (4, 3)), linewidth=1.4)
        axes.set_xlim(0.4, 0.6 + 1.25 * len(cosines))
        axes.annotate(
            "noise",
            (1, edge),
            (0, 3),
            ha="right",
            color=INK,
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
        )
    axes.set(
        title="Agreement of two half-sets",
        xlabel="component",
        ylim=(0, 1.1),
        ylabel="cosine (1: the same)",
    )
    _number(axes, len(cosines))


def _number(axes: Axes, count: int) -> None:
    """Ticks at whole numbers, none beyond the last bar."""
    last = min(count, axes.get_xlim()[1])
    axes.set_xticks(
        [
            tick
            for tick in MaxNLocator(integer=True, min_n_ticks=1).tick_values(1, last)
            if 1 <= tick <= last
        ]
    )


def _colours(result: Result) -> list[str]:
    return [STANDING[result.standing(k)][0] for k in range(result.n_components)]


@styled
def resolution_curves(result: Result) -> Figure:
    """Fourier shell correlation of half-sets: consensus, and the classes' differences from it.

    Parameters
    ----------
    result : Result
        With `frequencies` and at least one of `class_fsc` and `consensus_fsc`.
    """
    if result.frequencies is None or (result.class_fsc is None and result.consensus_fsc is None):
        raise ValueError("This result has no Fourier shell correlations.")
    frequencies = result.frequencies
    figure = new_figure(7.4, 4.4, right=1.75)
    axes = figure.add_subplot()
    # Differences made of components that were given are alike in both half-sets from the start.
    if result.class_fsc is not None and result.kind != "given":
        for k, curve in enumerate(result.class_fsc):
            upto = min(len(curve), len(frequencies))
            axes.plot(
                frequencies[:upto], curve[:upto], color=class_colour(k), label="class %d" % (k + 1)
            )
    if result.consensus_fsc is not None:
        axes.plot(
            frequencies,
            result.consensus_fsc,
            color=INK,
            label="consensus",
            linewidth=2.6,
            linestyle=(0, (5, 2)) if axes.lines else "-",
        )
    axes.axhline(0.143, color=FAINT, linewidth=1.2)
    axes.annotate(
        "0.143",
        (0, 0.143),
        (4, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        color=FAINT,
    )
    axes.axhline(0, color=FAINT, linewidth=0.6)
    last, lines = float(frequencies[-1]), len(axes.lines)
    axes.set(
        xlim=(0, last),
        ylim=(-0.1, 1.03),
        xlabel="resolution (Å)",
        ylabel="Fourier shell correlation",
    )
    resolution_ticks(axes, last)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=min(11, 110 / lines))
    return figure


def resolution_ticks(axes: Axes, last: float) -> None:
    """Ticks at round resolutions, at least a tenth of the axis apart."""
    ticks: list[int] = []
    for value in _RESOLUTIONS:
        room = 1 / value - (1 / ticks[-1] if ticks else 0)
        if room >= 0.09 * last and 1 / value <= last * 1.0001:
            ticks.append(value)
    axes.set_xticks([1 / value for value in ticks], [str(value) for value in ticks])


@styled
def number_of_classes(result: Result) -> Figure:
    """How well each number of classes that was tried explains the data.

    Parameters
    ----------
    result : Result
        With `tried_classes` and at least one of `bic` and `held_out`.
    """
    tried = result.tried_classes
    series = [
        (values, title, best)
        for values, title, best in (
            (result.bic, "BIC: smaller is better", np.min),
            (result.held_out, "Held-out: larger is better", np.max),
        )
        if values is not None and np.isfinite(values).any()
    ]
    if tried is None or not series:
        raise ValueError("This result did not try several numbers of classes.")
    used = result.n_classes - int(result.spare.sum())
    figure = new_figure(3.7 * len(series), 3.6, top=0.4, between=0.85 if len(series) > 1 else 0.0)
    for axes, (values, title, best) in zip(
        figure.subplots(1, len(series), squeeze=False)[0], series
    ):
        known = np.isfinite(values)
        x, y = tried[known], values[known] - best(values[known])
        axes.plot(x, y, "o-", color=FAINT, markersize=7)
        axes.plot(x[x == used], y[x == used], "o", color=ACCENT, markersize=13)
        axes.set_title(title)
        axes.set_xlabel("number of classes")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter("{x:,.5g}")
    return figure
