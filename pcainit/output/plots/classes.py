"""How large the classes are and how much their volumes differ."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pcainit.output.plots.results import Result
from pcainit.output.plots.style import INK, class_colour, colour_bar, new_figure, styled

_NUMBERED = 16  # classes whose matrix is written out
_SEQUENTIAL = LinearSegmentedColormap.from_list(
    "pcainit", ("#ffffff", "#9ecae1", "#0072b2", "#00304d")
)


@styled
def class_shares(result: Result) -> Figure:
    """Share of each class as a bar, with its number of particles.

    Parameters
    ----------
    result : Result
        With `class_weights`.
    """
    if result.class_weights is None:
        raise ValueError("This result has no class weights.")
    shares, sizes = 100 * result.class_weights, result.class_sizes
    count = len(shares)
    figure = new_figure(7.4, float(np.clip(0.9 + 0.52 * count, 2.0, 12.0)), top=0.05)
    axes = figure.add_subplot()
    bars = axes.barh(
        np.arange(count), shares, height=0.68, color=[class_colour(k) for k in range(count)]
    )
    for k, bar in enumerate(bars):
        text = "%.1f %%" % shares[k]
        if result.labels is not None:
            text += "   %s particles" % format(int(sizes[k]), ",")
        if result.spare[k]:
            text += "   random subset"
            bar.set(hatch="//", edgecolor="white", linewidth=0)
        axes.annotate(
            text, (shares[k], k), (6, 0), textcoords="offset points", va="center", fontsize=11
        )
    what = {"volumes": "input volumes"}.get(result.kind, "particles")
    axes.set_xlabel("share of the %s (%%)" % what, loc="left")
    axes.set(xlim=(0, max(1.75 * shares.max(), 1)), ylim=(count - 0.5, -0.5))
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= shares.max() * 1.02])
    axes.set_yticks(np.arange(count), ["class %d" % (k + 1) for k in range(count)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_bounds(0, shares.max())
    return figure


@styled
def difference_matrix(result: Result) -> Figure:
    """Root-mean-square difference of each pair of volumes over what noise alone gives.

    Parameters
    ----------
    result : Result
        With `pairwise`.
    """
    if result.pairwise is None:
        raise ValueError("This result has no pairwise differences.")
    ratio = np.array(result.pairwise, float)
    np.fill_diagonal(ratio, np.nan)
    count = len(ratio)
    side = float(np.clip(2.4 + 0.62 * count, 3.6, 9.0))
    figure = new_figure(side + 1.1, side, left=0.7, right=1.25, top=0.1)
    axes = figure.add_subplot()
    top = max(2.0, float(np.nanmax(ratio))) if np.isfinite(ratio).any() else 2.0
    image = axes.imshow(
        ratio, cmap=_SEQUENTIAL, vmin=min(1.0, np.nanmin(ratio, initial=1.0)), vmax=top
    )
    if count <= _NUMBERED:
        for (a, b), value in np.ndenumerate(ratio):
            if np.isfinite(value):
                shade = image.norm(value)
                axes.text(
                    b,
                    a,
                    "%.1f" % value,
                    ha="center",
                    va="center",
                    color="white" if shade > 0.5 else INK,
                    fontsize=13 if count <= 8 else 9,
                )
    step = max(1, count // 16)
    ticks = np.arange(0, count, step)
    for axis, setter in ((axes.xaxis, axes.set_xticks), (axes.yaxis, axes.set_yticks)):
        setter(ticks, [str(k + 1) for k in ticks])
        axis.set_tick_params(length=0)
        axis.set_label_text("class")
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if count <= _NUMBERED else 0.5)
    axes.tick_params(which="minor", length=0)
    colour_bar(
        axes,
        "difference / spread within classes"
        if result.kind == "volumes"
        else "difference / noise  (1: noise alone)",
    )
    return figure
