"""Scatter of the particles, or of the batches, in the plane of two components."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.results import Result
from pcainit.output.plots.scatter import (
    add_legend,
    draw_density,
    draw_marginals,
    draw_points,
    joint_axes,
    mark_class,
    number_class,
)
from pcainit.output.plots.style import FAINT, INK, class_colour, new_figure, styled

MANY = 20000  # from here on, density in place of points
MAX_NAMED = 40  # points that are labelled


def best_pair(result: Result) -> tuple[int, int]:
    """The two components (from 1) to show first: reproducible ones before others."""
    order = sorted(
        range(result.n_components),
        key=lambda k: (result.standing(k) not in ("real", "above noise edge"), k),
    )
    first = order[0] + 1 if order else 1
    return first, order[1] + 1 if len(order) > 1 else first


@styled
def latent_scatter(
    result: Result, first: int | None = None, second: int | None = None, *, many: int = MANY
) -> Figure:
    """Particles in the plane of two components, coloured by class, with the mixture's ellipses.

    Parameters
    ----------
    result : Result
        With `coordinates` and `labels`.
    first, second : int, optional
        Components, from 1; the same one twice gives histograms. Default: `best_pair`.
    many : int
        From this number of particles on, their density is drawn in place of points.

    Returns
    -------
    Figure
        Its first axes hold the scatter.
    """
    if result.coordinates is None or result.labels is None:
        raise ValueError("This result has no latent coordinates of particles.")
    first, second = _pair(result, first, second, result.coordinates.shape[1])
    kept = np.flatnonzero(result.kept & np.isfinite(result.coordinates).all(axis=1))
    x, y = (result.coordinates[:, k - 1] for k in (first, second))
    if first == second:
        return _histogram(result, first, x[kept], result.labels[kept] - 1, "particles")
    figure, axes, above, beside = joint_axes()
    limits = _limits(x[kept], result, first), _limits(y[kept], result, second)
    if len(kept) >= many:
        draw_density(axes, x[kept], y[kept], result.labels[kept] - 1, limits)
    else:
        junk = np.setdiff1d(np.arange(len(x)), kept)
        if len(junk):
            axes.plot(
                x[junk],
                y[junk],
                "x",
                color=FAINT,
                markersize=3.5,
                alpha=0.6,
                zorder=1,
                rasterized=True,
            )
        draw_points(
            axes,
            x[kept],
            y[kept],
            result.labels[kept] - 1,
            float(np.clip(3000 / max(len(kept), 1), 2.5, 30)),
        )
    draw_marginals(above, beside, x[kept], y[kept], result.labels[kept] - 1, limits)
    _mixture(
        axes,
        result,
        [first - 1, second - 1],
        np.stack([x[kept], y[kept]], axis=1),
        result.labels[kept],
    )
    axes.set(
        xlim=limits[0], ylim=limits[1], xlabel=_axis(result, first), ylabel=_axis(result, second)
    )
    shares = result.class_weights
    names = [
        "class %d" % (k + 1) + ("" if shares is None else "   %.0f %%" % (100 * shares[k]))
        for k in range(result.n_classes)
    ]
    set_aside = 0 if result.junk is None else int(result.junk.sum())
    add_legend(figure, names, "%d set aside" % set_aside if set_aside else "")
    return figure


@styled
def batch_scatter(result: Result, first: int | None = None, second: int | None = None) -> Figure:
    """Reconstructions of batches, or given volumes, in the plane of two components, by cluster.

    Parameters
    ----------
    result : Result
        With `batch_coordinates` and `batch_cluster`.
    first, second : int, optional
        Components, from 1.
    """
    if result.batch_coordinates is None or result.batch_cluster is None:
        raise ValueError("This result has no reconstructions of batches.")
    first, second = _pair(result, first, second, result.batch_coordinates.shape[1])
    x, y = (result.batch_coordinates[:, k - 1] for k in (first, second))
    labels = result.batch_cluster.astype(int)
    if first == second:
        return _histogram(
            result,
            first,
            x,
            labels,
            "input volumes" if result.kind == "volumes" else "reconstructions",
        )
    figure, axes, above, beside = joint_axes()
    limits = _limits(x, result, first), _limits(y, result, second)
    draw_points(axes, x, y, labels, float(np.clip(6000 / len(x), 8, 70)), alpha=0.8)
    draw_marginals(above, beside, x, y, labels, limits)
    for k in np.unique(labels):
        number_class(axes, x[labels == k].mean(), y[labels == k].mean(), k)
    axes.set(
        xlim=limits[0], ylim=limits[1], xlabel=_axis(result, first), ylabel=_axis(result, second)
    )
    for name, *place in zip(point_names(result), x, y):
        axes.annotate(
            name, place, xytext=(5, 4), textcoords="offset points", fontsize=7, clip_on=True
        )
    counts = np.bincount(labels, minlength=result.n_classes)
    what = "class" if result.kind == "volumes" else "cluster"
    add_legend(figure, ["%s %d   %d" % (what, k + 1, count) for k, count in enumerate(counts)], "")
    return figure


def point_names(result: Result) -> list[str]:
    """Names of given volumes beside their points; none where there are too many to read."""
    files = [PurePath(path) for path in result.summary.get("files") or ()]
    if result.kind != "volumes" or not 0 < len(files) <= MAX_NAMED:
        return []
    several = len({path.stem for path in files}) < len(files)
    names = ["%s/%s" % (path.parent.name, path.stem) if several else path.stem for path in files]
    return [name if len(name) <= 24 else "..." + name[-21:] for name in names]


def _pair(result: Result, first: int | None, second: int | None, available: int) -> tuple[int, int]:
    best = best_pair(result)
    first, second = first or best[0], second or best[1]
    for k in (first, second):
        if not 1 <= k <= available:
            raise ValueError("Component %d does not exist: there are %d." % (k, available))
    return first, second


def _axis(result: Result, component: int) -> str:
    text = "%s %d" % ("coordinate" if result.kind == "latents" else "component", component)
    cosines = result.half_set_cosines
    if cosines is not None and component <= len(cosines):
        text += "  (half-set cosine %.2f)" % cosines[component - 1]
    return text


def _limits(values: AnyArray, result: Result, component: int) -> tuple[float, float]:
    """Range that holds nearly all points and all centres, unmoved by a few far outliers."""
    low, high = np.percentile(values, (0.1, 99.9)) if len(values) else (-1.0, 1.0)
    if (
        result.cluster_covariances is not None
        and result.centres is not None
        and component <= result.centres.shape[1]
    ):
        low = min(low, result.centres[:, component - 1].min())
        high = max(high, result.centres[:, component - 1].max())
    pad = 0.08 * (high - low) or 1.0
    return float(low - pad), float(high + pad)


def _mixture(
    axes: Axes, result: Result, pair: list[int], points: AnyArray, labels: AnyArray
) -> None:
    """Numbered centres with ellipses of two standard deviations.

    Of the mixture, where it has covariances in both components; else of the points drawn.
    """
    known = result.cluster_covariances
    if result.centres is not None and known is not None and max(pair) < known.shape[-1]:
        for k, centre in enumerate(result.centres):
            mark_class(axes, centre[pair], known[k][np.ix_(pair, pair)], k)
        return
    for k in range(result.n_classes):
        mine = points[labels == k + 1]
        if len(mine) > 2:
            mark_class(axes, mine.mean(axis=0), np.cov(mine.T), k)


def _histogram(
    result: Result, component: int, values: AnyArray, labels: AnyArray, what: str
) -> Figure:
    """One component alone: stacked histogram by class."""
    figure = new_figure(7.4, 4.2, right=1.75)
    axes = figure.add_subplot()
    present = np.unique(labels[labels >= 0])
    edges = np.linspace(*_limits(values, result, component), 81 if len(values) > 1000 else 25)
    axes.hist(
        [values[labels == k] for k in present],
        edges,
        stacked=True,
        linewidth=0,
        color=[class_colour(k) for k in present],
    )
    axes.set(xlabel=_axis(result, component), ylabel=what, xlim=(edges[0], edges[-1]))
    axes.tick_params(axis="y", colors=INK)
    add_legend(figure, ["class %d" % (k + 1) for k in range(result.n_classes)], "")
    return figure
