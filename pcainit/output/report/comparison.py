"""The page of a comparison of sets of volumes: its table and figures."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
from typing import Any, Mapping

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.comparison import COMPARISON_PLOTS, comparison_plots
from pcainit.output.plots.style import class_colour
from pcainit.output.report.figures import embed
from pcainit.output.report.pack import MAX_STATES, pack_states
from pcainit.output.report.page import fill
from pcainit.output.words.comparison import comparison_headline, comparison_rows, pair_rows


def render_comparison(
    comparison: Mapping[str, Any],
    volumes: AnyArray | None = None,
    mask: AnyArray | None = None,
    voxel: float = 1.0,
) -> str:
    """One self-contained page.

    Parameters
    ----------
    comparison : dict
        Plain values, as in ``comparison.json``.
    volumes : (N, b, b, b) float32, optional
        Of all sets in their order, to be shown in 3D.
    mask : (b, b, b) float32, optional
    voxel : float
        Angstrom.
    """
    shown = comparison_plots(comparison)
    return fill(
        "comparison.html.jinja",
        title="pcainit: sets of volumes",
        headline=comparison_headline(comparison),
        comparison=comparison,
        volumes=_states(comparison, volumes, mask, voxel),
        common="the mean of all",
        null=True,
        most_states=MAX_STATES,
        known=any("truth_correlations" in row for row in comparison["sets"]),
        rows=comparison_rows(comparison),
        pairs=pair_rows(comparison),
        drawn=[
            embed(name, plot.title, plot.caption, functools.partial(plot.draw, comparison))
            for name, plot in COMPARISON_PLOTS.items()
            if name in shown
        ],
    )


def _states(
    comparison: Mapping[str, Any], volumes: AnyArray | None, mask: AnyArray | None, voxel: float
) -> dict[str, Any] | None:
    """The first volumes of each set, packed; in the colour of their set."""
    owners = [(k, j) for k, row in enumerate(comparison["sets"]) for j in range(len(row["files"]))]
    if volumes is None or len(owners) != len(volumes):
        return None
    most = max(1, MAX_STATES // len(comparison["sets"]))
    chosen = [i for i, (_, j) in enumerate(owners) if j < most][:MAX_STATES]
    mean = volumes.mean(axis=0, dtype=np.float64).astype(np.float32)
    if not np.isfinite(mean).all() or np.ptp(mean) == 0:
        return None
    return pack_states(
        mean,
        volumes[chosen],
        mask=mask,
        voxel=voxel,
        names=[
            "%s %d" % (comparison["sets"][owners[i][0]]["name"], owners[i][1] + 1) for i in chosen
        ],
        colours=[class_colour(owners[i][0]) for i in chosen],
        shares=[""] * len(chosen),
    )
