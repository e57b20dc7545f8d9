"""Several sets of volumes side by side: how different within, how alike between, how true."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from pcainit.engine.comparison import (
    difference_correlations,
    relative_differences,
    shell_correlations,
)
from pcainit.engine.volume_set import rough_mean
from pcainit.files.map_list import MapFile
from pcainit.settings import InputError, Settings
from pcainit.volume_method import make_mask, one_greyscale, read_volumes

Progress = Callable[[float], None]
MOST_VOLUMES = 500


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
    volumes, grid = read_volumes(entries, settings, lambda _, shape, dtype: np.empty(shape, dtype),
                                 lambda share: progress(0.7 * share))
    mask = make_mask(rough_mean(volumes), grid, settings)
    gains = one_greyscale(volumes, entries, mask)
    edges = np.cumsum([0, *(len(maps) for _, maps in groups)])
    parts = [volumes[a:b] for a, b in zip(edges, edges[1:])]
    result: Dict[str, Any] = dict(resolution=settings.resolution, box=grid.box_px,
                                  sampling=grid.sampling, mask=settings.mask or "automatic",
                                  frequencies=np.arange(grid.n_shells)
                                  / (grid.box_px * grid.sampling), sets=[])
    for k, (name, maps) in enumerate(groups):
        pairs = relative_differences(parts[k], mask)
        curves, same = shell_correlations(parts[k], mask, grid)
        apart = pairs[~np.eye(len(pairs), dtype=bool)]
        row: Dict[str, Any] = dict(
            name=name, files=[entry.path for entry in maps],
            greyscale=gains[edges[k]:edges[k + 1]], pairwise_differences=pairs,
            diversity=float(apart.mean()) if len(apart) else 0.0,
            least_difference=float(apart.min()) if len(apart) else 0.0,
            fsc=curves, same_to_resolution=same)
        if truth:
            table, partner = difference_correlations(parts[-1], parts[k], mask)
            found = [float(table[i, j]) if j >= 0 else 0.0 for i, j in enumerate(partner)]
            row.update(truth_correlations=found, truth_partners=partner + 1)
        result["sets"].append(row)
        progress(0.7 + 0.3 * (k + 1) / len(groups))
    result["between"] = [
        dict(sets=[groups[a][0], groups[b][0]], correlations=_between(parts[a], parts[b], mask))
        for a in range(len(sets)) for b in range(a)]
    return result


def _between(one: np.ndarray, two: np.ndarray, mask: np.ndarray) -> List[float]:
    """Correlation of each matched pair of difference maps, best first."""
    table, partner = difference_correlations(one, two, mask)
    return sorted((float(table[i, j]) for i, j in enumerate(partner) if j >= 0), reverse=True)


def text_table(result: Dict[str, Any]) -> str:
    """The comparison as text for people."""
    known = any("truth_correlations" in row for row in result["sets"])
    width = max([len(row["name"]) for row in result["sets"]] + [3])
    head = "%-*s  volumes  diversity %%  least difference %%  same to (A)" % (width, "set")
    lines = ["At %g A; differences in percent of the density's own spread inside the mask."
             % result["resolution"], "", head + ("  agreement with truth" if known else "")]
    for row in result["sets"]:
        same = np.asarray(row["same_to_resolution"], float)
        apart = same[~np.eye(len(same), dtype=bool)]
        line = "%-*s  %7d  %11.1f  %18.1f  %11s" % (
            width, row["name"], len(row["files"]), 100 * row["diversity"],
            100 * row["least_difference"], "%.3g" % np.median(apart) if len(apart) else "-")
        if known:
            line += "  " + " ".join("%.2f" % value for value in row["truth_correlations"])
        lines.append(line)
    if result["between"]:
        lines += ["", "Difference maps of two sets, best one-to-one match (1: the same):"]
        lines += ["%s | %s:  %s" % (*pair["sets"], " ".join("%.2f" % value
                                                            for value in pair["correlations"]))
                  for pair in result["between"]]
    return "\n".join(lines) + "\n"
