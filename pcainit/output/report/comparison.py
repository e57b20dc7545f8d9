"""The page of a comparison of sets of volumes: its table and figures."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
from typing import Any, Mapping

from pcainit.output.plots.comparison import COMPARISON_PLOTS, comparison_plots
from pcainit.output.report.figures import embed
from pcainit.output.report.page import text, whole_page


def render_comparison(comparison: Mapping[str, Any], table: str) -> str:
    """One self-contained page.

    Parameters
    ----------
    comparison : dict
        Plain values, as in ``comparison.json``.
    table : str
        As in ``comparison.txt``.
    """
    figures = "".join(
        embed(name, plot.title, plot.caption, functools.partial(plot.draw, comparison))
        for name, plot in COMPARISON_PLOTS.items()
        if name in comparison_plots(comparison)
    )
    files = "".join(
        "<h3>%s</h3><pre>%s</pre>" % (text(row["name"]), text("\n".join(row["files"])))
        for row in comparison["sets"]
    )
    return whole_page(
        "pcainit: sets of volumes",
        "<header><h1>%d sets of volumes side by side</h1></header><section><pre>%s</pre></section>"
        '<section><div class="figures">%s</div></section><section><details><summary>Files'
        "</summary>%s</details></section>" % (len(comparison["sets"]), text(table), figures, files),
    )
