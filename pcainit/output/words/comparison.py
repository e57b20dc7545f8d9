"""The comparison of several sets of volumes, in words."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Mapping

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


def comparison_headline(result: Mapping[str, Any]) -> str:
    """What the comparison shows, in one line."""
    sets = [row for row in result["sets"] if row["name"] != "truth" or not _known(result)]
    if len(sets) == 1 and not _known(result):
        row = sets[0]
        if len(row["files"]) < 2:
            return "One volume, nothing to compare"
        return "The %d volumes of %s differ by %.0f %% of their density" % (
            len(row["files"]),
            row["name"],
            100 * row["diversity"],
        )
    if _known(result):
        means = [(float(np.mean(row["truth_correlations"])), row["name"]) for row in sets]
        best = max(means)
        return "%s comes closest to the true volumes (mean agreement %.2f of 1)" % (
            best[1],
            best[0],
        )
    several = [row for row in sets if len(row["files"]) > 1]
    if not several:
        return "%d single volumes side by side" % len(sets)
    best_row = max(several, key=lambda row: float(row["diversity"]))
    return "%d sets of volumes: those of %s differ most among themselves" % (
        len(sets),
        best_row["name"],
    )


def comparison_rows(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each set, as words."""
    rows = []
    for row in result["sets"]:
        same = np.asarray(row["same_to_resolution"], float)
        apart, several = same[~np.eye(len(same), dtype=bool)], len(same) > 1
        rows.append(
            dict(
                name=row["name"],
                volumes=str(len(row["files"])),
                diversity="%.1f" % (100 * row["diversity"]) if several else "-",
                least="%.1f" % (100 * row["least_difference"]) if several else "-",
                noise=noise_in_words(row["over_noise"]) if several else "-",
                same="%.3g" % np.median(apart) if several else "-",
                truth=listed_figures(row.get("truth_correlations", [])) if several else "-",
            )
        )
    return rows


def pair_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Names of two sets, and how well their difference maps match."""
    sizes = {row["name"]: len(row["files"]) for row in result["sets"]}
    return [
        (
            *pair["sets"],
            listed_figures(pair["correlations"])
            if all(sizes[name] > 1 for name in pair["sets"])
            else "-, as one of them has one volume only",
        )
        for pair in result["between"]
    ]


def _known(result: Mapping[str, Any]) -> bool:
    return any("truth_correlations" in row for row in result["sets"])


def text_table(result: dict[str, Any]) -> str:
    """The comparison as text for people."""
    known = _known(result)
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
    for row in comparison_rows(result):
        words = [row[name] for name in ("volumes", "diversity", "least", "noise", "same")]
        line = row["name"].ljust(width) + "  %7s  %11s  %18s  %11s  %11s" % tuple(words)
        lines.append(line + ("  " + row["truth"] if known else ""))
    lines += [
        "",
        "over noise: differences over the volumes' noise (1: noise alone), where the run "
        "that made them",
        "has measured it. same to: where the Fourier shell correlation of "
        "two volumes falls below 0.5, the median.",
    ]
    if result["between"]:
        lines += ["", "Difference maps of two sets, best one-to-one match (1: the same):"]
        lines += ["%s | %s:  %s" % pair for pair in pair_rows(result)]
    return "\n".join(lines) + "\n"
