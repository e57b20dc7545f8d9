"""The comparison of several sets of volumes, in words."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import numpy as np

from pcainit.output.words.verdict import listed_figures


def noise_in_words(ratios: Any | None) -> str:
    """The least and the largest difference over noise of a set."""
    if ratios is None:
        return "-"
    values = np.asarray(ratios, float)
    apart = values[~np.eye(len(values), dtype=bool)]
    low, high = ("%.1f" % value for value in (apart.min(), apart.max()))
    return low if low == high else "%s to %s" % (low, high)


def text_table(result: dict[str, Any]) -> str:
    """The comparison as text for people."""
    known = any("truth_correlations" in row for row in result["sets"])
    width = max([len(row["name"]) for row in result["sets"]] + [3])
    head = "%-*s  volumes  diversity %%  least difference %%   over noise  same to (A)" % (
        width,
        "set",
    )
    lines = [
        "pcainit, at %g A; differences in percent of the density's own spread inside the mask."
        % result["resolution"],
        "",
        head + ("  agreement with truth" if known else ""),
    ]
    for row in result["sets"]:
        same = np.asarray(row["same_to_resolution"], float)
        apart, agreement = same[~np.eye(len(same), dtype=bool)], "-"
        figures = ["-"] * 4
        if len(apart):
            figures = [
                "%.1f" % (100 * row["diversity"]),
                "%.1f" % (100 * row["least_difference"]),
                noise_in_words(row["over_noise"]),
                "%.3g" % np.median(apart),
            ]
            agreement = listed_figures(row.get("truth_correlations", []))
        line = "%-*s  %7d  %11s  %18s  %11s  %11s" % (
            width,
            row["name"],
            len(row["files"]),
            *figures,
        )
        lines.append(line + ("  " + agreement if known else ""))
    lines += [
        "",
        "over noise: differences over the volumes' noise (1: noise alone), where the run "
        "that made them",
        "has measured it. same to: where the Fourier shell correlation of "
        "two volumes falls below 0.5, the median.",
    ]
    sizes = {row["name"]: row["files"] for row in result["sets"]}
    if result["between"]:
        lines += ["", "Difference maps of two sets, best one-to-one match (1: the same):"]
        lines += [
            "%s | %s:  %s"
            % (
                *pair["sets"],
                listed_figures(pair["correlations"])
                if all(len(sizes[name]) > 1 for name in pair["sets"])
                else "-, as one of them has one volume only",
            )
            for pair in result["between"]
        ]
    return "\n".join(lines) + "\n"
