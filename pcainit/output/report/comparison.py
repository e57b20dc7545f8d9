"""The page of a comparison of sets of volumes: its table and figures."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
from typing import Any, Mapping

from pcainit.output.plots.comparison import COMPARISON_PLOTS, comparison_plots
from pcainit.output.report.figures import embed
from pcainit.output.report.page import fill
from pcainit.output.words.comparison import comparison_headline, comparison_rows, pair_rows


def render_comparison(comparison: Mapping[str, Any]) -> str:
    """One self-contained page.

    Parameters
    ----------
    comparison : dict
        Plain values, as in ``comparison.json``.
    """
    shown = comparison_plots(comparison)
    return fill(
        "comparison.html.jinja",
        title="pcainit: sets of volumes",
        headline=comparison_headline(comparison),
        comparison=comparison,
        known=any("truth_correlations" in row for row in comparison["sets"]),
        rows=comparison_rows(comparison),
        pairs=pair_rows(comparison),
        drawn=[
            embed(name, plot.title, plot.caption, functools.partial(plot.draw, comparison))
            for name, plot in COMPARISON_PLOTS.items()
            if name in shown
        ],
    )
