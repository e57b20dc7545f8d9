"""Several sets of volumes side by side: how different within, how alike between, how true."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.volume_sets.comparison import (
    best_match,
    difference_table,
    relative_differences,
    shell_correlations,
)
from pcainit.engine.volume_sets.volume_set import rough_mean
from pcainit.errors import InputError
from pcainit.io.map_list import MapFile
from pcainit.pipeline.routes.from_volumes import (
    check_widths,
    make_mask,
    one_greyscale,
    read_volumes,
)
from pcainit.settings import FIXED, Settings

Progress = Callable[[float], None]
MAX_VOLUMES = 500
WRITTEN_OUT = 16  # volumes of a set whose curves are all kept


def compare_sets(
    sets: list[tuple[str, list[MapFile]]],
    truth: list[MapFile],
    settings: Settings,
    progress: Progress,
    keep: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare sets of volumes after bringing all to one grid and greyscale.

    Parameters
    ----------
    sets : list of (name, list of MapFile)
    truth : list of MapFile
        Empty when the true volumes are not known.
    settings : Settings
        Resolution and mask are used.
    progress : callable
    keep : dict, optional
        Gets `volumes`, (N, box, box, box) on one greyscale, `mask` and `voxel`.

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
    if len(entries) > MAX_VOLUMES:
        raise InputError(
            "There are %d volumes: compare at most %d at a time." % (len(entries), MAX_VOLUMES)
        )
    volumes, grid, widths = read_volumes(
        entries,
        settings,
        lambda _, shape, dtype: np.empty(shape, dtype),
        lambda share: progress(0.7 * share),
    )
    mask = make_mask(rough_mean(volumes), grid, settings)
    check_widths(widths, entries, mask, grid)
    gains = one_greyscale(volumes, entries, mask)
    if keep is not None:
        keep.update(volumes=volumes, mask=mask, voxel=grid.voxel)
    edges = np.cumsum([0, *(len(maps) for _, maps in groups)])
    parts = [volumes[a:b] for a, b in zip(edges, edges[1:])]
    table = difference_table(parts, mask)
    blocks = [slice(a, b) for a, b in zip(edges, edges[1:])]
    result: dict[str, Any] = dict(
        resolution=settings.resolution,
        box=grid.box_px,
        sampling=grid.sampling,
        mask=settings.mask or "automatic",
        frequencies=np.arange(grid.n_shells) / (grid.box_px * grid.sampling),
        sets=[],
        difference_correlations=table.round(4),
    )
    for k, (name, maps) in enumerate(groups):
        row = dict(
            _within(parts[k], mask, grid),
            name=name,
            files=[entry.path for entry in maps],
            greyscale=gains[blocks[k]],
            over_noise=noise_ratios(maps),
        )
        if truth:
            to_truth = table[blocks[-1], blocks[k]]
            partner = best_match(to_truth)
            row.update(
                truth_partners=partner + 1,
                truth_correlations=[
                    float(to_truth[i, j]) if j >= 0 else 0.0 for i, j in enumerate(partner)
                ],
            )
        result["sets"].append(row)
        progress(0.7 + 0.3 * (k + 1) / len(groups))
    result["between"] = [
        dict(sets=[groups[a][0], groups[b][0]], correlations=_matched(table[blocks[a], blocks[b]]))
        for a in range(len(sets))
        for b in range(a + 1, len(sets))
    ]
    return result


def _within(volumes: AnyArray, mask: AnyArray, grid: Grid) -> dict[str, Any]:
    """How different the volumes of one set are."""
    pairs = relative_differences(volumes, mask)
    curves, same = shell_correlations(volumes, mask, grid)
    other = ~np.eye(len(pairs), dtype=bool)
    row: dict[str, Any] = dict(
        pairwise_differences=pairs,
        diversity=float(pairs[other].mean()) if other.any() else 0.0,
        least_difference=float(pairs[other].min()) if other.any() else 0.0,
        same_to_resolution=same,
    )
    if other.any():
        row.update(fsc_mean=curves[other].mean(axis=0), fsc_least=curves[other].min(axis=0))
    if len(pairs) <= WRITTEN_OUT:
        row["fsc"] = curves
    return row


def noise_ratios(maps: list[MapFile]) -> AnyArray | None:
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


def _matched(table: AnyArray) -> list[float]:
    """Correlation of each matched pair of difference maps, best first."""
    return sorted(
        (float(table[i, j]) for i, j in enumerate(best_match(table)) if j >= 0), reverse=True
    )
