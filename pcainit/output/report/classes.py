"""One row for each class: how large, how certain, how fine, and which is nearest."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots import Result
from pcainit.output.plots.style import class_colour

TABLED = 200  # classes in the table
AGREEING = 0.143  # Fourier shell correlation of two half-sets
_BINS = (6, 8)  # of views, in the cosine of the tilt and in the rotation


def class_rows(result: Result) -> list[dict[str, Any]]:
    """What is known of each class, as words.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of dict
        `name`, `colour`, `share`, `particles`, `half`, `sure` (particles at a posterior over 0.5
        and 0.9), `detail` (A), `view` (how far membership follows the viewing direction), `nearest`
        and `file`; empty text where it is not known.
    """
    sizes = _sizes(result)
    rows = []
    for k in range(min(result.n_classes, TABLED)):
        rows.append(
            dict(
                name="class %d" % (k + 1),
                colour=class_colour(k),
                share=""
                if result.class_weights is None
                else "%.1f %%" % (100 * result.class_weights[k]),
                particles=f"{int(sizes[k]):,}" if len(sizes) > k else "",
                half=_certain(result, k, 0.5),
                sure=_certain(result, k, 0.9),
                detail=_detail(result, k),
                view=_view(result, k),
                nearest=_nearest(result, k),
                file="volumes/class_%03d.mrc" % (k + 1),
            )
        )
    return rows


def view_dependence(membership: AnyArray, view: AnyArray) -> float:
    """Share of the spread of membership that the viewing direction explains.

    Chance is taken off, so that about 0 is expected where a class is seen from everywhere alike.

    Parameters
    ----------
    membership : (n,) float
        Of one class, 0 to 1.
    view : (n, 2) float
        Rotation and tilt, degrees.

    Returns
    -------
    float
        0 to 1.
    """
    up = np.floor((np.cos(np.radians(view[:, 1])) + 1) / 2 * _BINS[0]).clip(0, _BINS[0] - 1)
    around = np.floor(np.mod(view[:, 0], 360) / 360 * _BINS[1]).clip(0, _BINS[1] - 1)
    place = (up * _BINS[1] + around).astype(int)
    counts = np.bincount(place)
    used, total = int((counts > 0).sum()), float(np.sum((membership - membership.mean()) ** 2))
    if len(membership) <= used or total <= 0:
        return 0.0
    sums = np.bincount(place, membership - membership.mean())
    between = float(np.sum(sums**2 / np.maximum(counts, 1)))
    chance = (total - between) / (len(membership) - used) * (used - 1)
    return float(np.clip((between - chance) / total, 0, 1))


def _sizes(result: Result) -> Any:
    if result.kind == "volumes":
        return result.summary.get("class_sizes") or []
    return result.class_sizes if result.labels is not None else []


def _certain(result: Result, k: int, least: float) -> str:
    if result.posterior is None or result.labels is None or k >= result.posterior.shape[1]:
        return ""
    members = result.kept & (result.labels == k + 1)
    return f"{int((result.posterior[members, k] > least).sum()):,}"


def _detail(result: Result, k: int) -> str:
    curves, shells = result.class_fsc, result.frequencies
    if curves is None or shells is None or k >= len(curves) or curves.shape[1] != len(shells):
        return ""
    curve = np.nan_to_num(curves[k][1:])
    under = np.flatnonzero(curve < AGREEING)
    if not len(under):
        return "%.0f" % (1 / shells[-1])
    if under[0] == 0:
        return "none"
    return "%.0f" % (1 / shells[under[0]])


def _view(result: Result, k: int) -> str:
    if result.view is None or result.posterior is None or result.labels is None:
        return ""
    good = result.kept & np.isfinite(result.view).all(axis=1)
    if k >= result.posterior.shape[1] or good.sum() < 500 or result.n_classes < 2:
        return ""
    return "%.0f %%" % (100 * view_dependence(result.posterior[good, k], result.view[good]))


def _nearest(result: Result, k: int) -> str:
    if result.spare[k]:
        return "random subset, shows no state"
    if result.pairwise is None or len(result.pairwise) < 2:
        return ""
    ratio = np.where(np.arange(len(result.pairwise)) == k, np.inf, result.pairwise[k])
    other = int(np.nanargmin(ratio))
    return "class %d, %.1f × %s apart" % (
        other + 1,
        ratio[other],
        "their spread" if result.kind == "volumes" else "noise",
    )
