"""Several sets of volumes side by side: how different within, how alike between, how true."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from pcainit.engine.comparison import (
    best_match,
    difference_table,
    relative_differences,
    shell_correlations,
)
from pcainit.engine.grid import Grid
from pcainit.engine.volume_set import rough_mean
from pcainit.files.map_list import MapFile
from pcainit.settings import FIXED, InputError, Settings
from pcainit.verdict import listed_figures
from pcainit.volume_method import check_widths, make_mask, one_greyscale, read_volumes

Progress = Callable[[float], None]
MOST_VOLUMES = 500
WRITTEN_OUT = 16            # volumes of a set whose curves are all kept


def compare_sets(sets: List[Tuple[str, List[MapFile]]], truth: List[MapFile], settings: Settings,
                 progress: Progress) -> Dict[str, Any]:
    """Compare sets of volumes after bringing all to one grid and greyscale.

    Parameters
    ----------
    sets : list of (name, list of MapFile)
    truth : list of MapFile
        Empty when the true volumes are not known.
    settings : Settings
        Resolution and mask are used.
    progress : callable

    Returns
    -------
    dict
        Plain values for ``comparison.json``.

    Raises
    ------
    InputError
        A volume cannot be read or does not look like the others.
    """
    groups = [*sets, *([("truth", truth)] if truth else [])]
    entries = [entry for _, maps in groups for entry in maps]
    if len(entries) < 2:
        raise InputError("There is only 1 volume: give at least 2 to compare.")
    if len(entries) > MOST_VOLUMES:
        raise InputError("There are %d volumes: compare at most %d at a time."
                         % (len(entries), MOST_VOLUMES))
    volumes, grid, widths = read_volumes(
        entries, settings, lambda _, shape, dtype: np.empty(shape, dtype),
        lambda share: progress(0.7 * share))
    mask = make_mask(rough_mean(volumes), grid, settings)
    check_widths(widths, entries, mask, grid)
    gains = one_greyscale(volumes, entries, mask)
    edges = np.cumsum([0, *(len(maps) for _, maps in groups)])
    parts = [volumes[a:b] for a, b in zip(edges, edges[1:])]
    table = difference_table(parts, mask)
    blocks = [slice(a, b) for a, b in zip(edges, edges[1:])]
    result: Dict[str, Any] = dict(resolution=settings.resolution, box=grid.box_px,
                                  sampling=grid.sampling, mask=settings.mask or "automatic",
                                  frequencies=np.arange(grid.n_shells)
                                  / (grid.box_px * grid.sampling), sets=[],
                                  difference_correlations=table.round(4))
    for k, (name, maps) in enumerate(groups):
        row = dict(_within(parts[k], mask, grid), name=name, files=[entry.path for entry in maps],
                   greyscale=gains[blocks[k]], over_noise=noise_ratios(maps))
        if truth:
            to_truth = table[blocks[-1], blocks[k]]
            partner = best_match(to_truth)
            row.update(truth_partners=partner + 1, truth_correlations=[
                float(to_truth[i, j]) if j >= 0 else 0.0 for i, j in enumerate(partner)])
        result["sets"].append(row)
        progress(0.7 + 0.3 * (k + 1) / len(groups))
    result["between"] = [
        dict(sets=[groups[a][0], groups[b][0]], correlations=_matched(table[blocks[a], blocks[b]]))
        for a in range(len(sets)) for b in range(a + 1, len(sets))]
    return result


def _within(volumes: np.ndarray, mask: np.ndarray, grid: Grid) -> Dict[str, Any]:
    """How different the volumes of one set are."""
    pairs = relative_differences(volumes, mask)
    curves, same = shell_correlations(volumes, mask, grid)
    other = ~np.eye(len(pairs), dtype=bool)
    row: Dict[str, Any] = dict(
        pairwise_differences=pairs, diversity=float(pairs[other].mean()) if other.any() else 0.0,
        least_difference=float(pairs[other].min()) if other.any() else 0.0,
        same_to_resolution=same)
    if other.any():
        row.update(fsc_mean=curves[other].mean(axis=0), fsc_least=curves[other].min(axis=0))
    if len(pairs) <= WRITTEN_OUT:
        row["fsc"] = curves
    return row


def noise_ratios(maps: List[MapFile]) -> Optional[np.ndarray]:
    """Pairwise differences over noise of class volumes that lie in the result folder of a run.

    The run has measured them; volumes alone do not tell what of them is noise.

    Returns
    -------
    (K, K) float64 or None
        None where no run knows.
    """
    folders = {Path(os.path.realpath(entry.path)).parent for entry in maps}
    numbers = [re.match(r"^class_(\d+)\.mrc$", Path(entry.path).name) for entry in maps]
    if len(folders) != 1 or not all(numbers) or len(maps) < 2:
        return None
    try:
        text = (folders.pop().parent / "summary.json").read_text(encoding="utf-8")
        summary = json.loads(text)
        known = np.array(summary["pairwise_differences"], float)
        rows = [int(found.group(1)) - 1 for found in numbers if found]
        # Their units are others: the spread within classes, noise along what was given.
        if summary["method"] == "volumes" or (summary.get("given") or {}).get("use") == FIXED:
            return None
        return known[np.ix_(rows, rows)]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None


def _matched(table: np.ndarray) -> List[float]:
    """Correlation of each matched pair of difference maps, best first."""
    return sorted((float(table[i, j]) for i, j in enumerate(best_match(table)) if j >= 0),
                  reverse=True)


def noise_in_words(ratios: Optional[Any]) -> str:
    """The least and the largest difference over noise of a set."""
    if ratios is None:
        return "-"
    values = np.asarray(ratios, float)
    apart = values[~np.eye(len(values), dtype=bool)]
    low, high = ("%.1f" % value for value in (apart.min(), apart.max()))
    return low if low == high else "%s to %s" % (low, high)


def text_table(result: Dict[str, Any]) -> str:
    """The comparison as text for people."""
    known = any("truth_correlations" in row for row in result["sets"])
    width = max([len(row["name"]) for row in result["sets"]] + [3])
    head = "%-*s  volumes  diversity %%  least difference %%   over noise  same to (A)" % (width,
                                                                                     "set")
    lines = ["pcainit, at %g A; differences in percent of the density's own spread inside the mask."
             % result["resolution"], "", head + ("  agreement with truth" if known else "")]
    for row in result["sets"]:
        same = np.asarray(row["same_to_resolution"], float)
        apart, agreement = same[~np.eye(len(same), dtype=bool)], "-"
        figures = ["-"] * 4
        if len(apart):
            figures = ["%.1f" % (100 * row["diversity"]), "%.1f" % (100 * row["least_difference"]),
                       noise_in_words(row["over_noise"]), "%.3g" % np.median(apart)]
            agreement = listed_figures(row.get("truth_correlations", []))
        line = "%-*s  %7d  %11s  %18s  %11s  %11s" % (width, row["name"], len(row["files"]),
                                                      *figures)
        lines.append(line + ("  " + agreement if known else ""))
    lines += ["", "over noise: differences over the volumes' noise (1: noise alone), where the run "
              "that made them", "has measured it. same to: where the Fourier shell correlation of "
              "two volumes falls below 0.5, the median."]
    sizes = {row["name"]: row["files"] for row in result["sets"]}
    if result["between"]:
        lines += ["", "Difference maps of two sets, best one-to-one match (1: the same):"]
        lines += ["%s | %s:  %s" % (*pair["sets"], listed_figures(pair["correlations"])
                                 if all(len(sizes[name]) > 1 for name in pair["sets"])
                                 else "-, as one of them has one volume only")
                  for pair in result["between"]]
    return "\n".join(lines) + "\n"
