"""Figures of sections through volumes, always on one common scale."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.results import Result
from pcainit.output.plots.sections import PLANES, Point, SectionView, explain_colours, tile_axes
from pcainit.output.plots.style import INCHES_PER_PANEL, INK, RELIEF, class_colour, styled

_PER_ROW = 8  # volumes side by side
_AT_MOST = 32  # volumes in one figure


@styled
def class_slices(result: Result, through: Point | None = None) -> Figure:
    """Sections of all class volumes on one grey scale.

    Parameters
    ----------
    result : Result
        With `class_volumes`.
    through : (3,) int, optional
        Voxel (z, y, x) of the working box that the sections meet in; its centre by default.
    """
    volumes = _needed(result.class_volumes, "class volumes")
    low, high = np.percentile(volumes, (1, 99.9))
    return _panels(
        result,
        volumes,
        _class_titles(result),
        through or _centre(volumes),
        cmap="gray",
        vmin=low,
        vmax=high,
        label="density",
    )


@styled
def class_differences(
    result: Result, through: Point | None = None, *, projected: bool = False
) -> Figure:
    """Sections of the class volumes minus the consensus, on one symmetric scale.

    Parameters
    ----------
    result : Result
        With `class_volumes`; without `mean`, their own weighted mean takes its place.
    through : (3,) int, optional
        Voxel (z, y, x) that the sections meet in; by default where the classes differ most.
    projected : bool
        In place of sections, show the strongest difference along each line of sight.
    """
    volumes = _needed(result.class_volumes, "class volumes")
    mean = result.mean
    if mean is None or mean.shape != volumes.shape[1:]:
        mean = np.average(volumes, axis=0, weights=result.class_weights)
    differences = volumes - mean
    if result.mask is not None and result.mask.shape == mean.shape:
        differences = differences * result.mask
    top = _extreme(differences)
    return _panels(
        result,
        differences,
        _class_titles(result),
        None if projected else through or strongest(differences),
        outline=mean,
        cmap=RELIEF,
        vmin=-top,
        vmax=top,
        label="density minus %s" % ("mean" if result.kind == "volumes" else "consensus"),
    )


def class_changes(result: Result) -> Figure:
    """The strongest difference from the consensus along each line of sight."""
    return class_differences(result, projected=True)


@styled
def component_slices(result: Result, through: Point | None = None) -> Figure:
    """Sections of the eigenvolumes, each scaled to one standard deviation of its coordinate.

    Parameters
    ----------
    result : Result
        With `components` and `eigenvalues`.
    through : (3,) int, optional
        Voxel (z, y, x) that the sections meet in; by default where the eigenvolumes are
        strongest.
    """
    components = _needed(result.components, "components")
    eigenvalues = np.ones(len(components)) if result.eigenvalues is None else result.eigenvalues
    scaled = components * np.sqrt(np.maximum(eigenvalues, 0))[:, None, None, None]
    top = _extreme(scaled)
    titles = []
    for k in range(len(components)):
        word = {"real": "reproducible", "artefact": "artefact", "noise": "noise"}.get(
            result.standing(k), ""
        )
        titles.append(("component %d" % (k + 1) + ("\n%s" % word if word else ""), INK))
    return _panels(
        result,
        scaled,
        titles,
        through or strongest(scaled),
        outline=result.mean,
        cmap=RELIEF,
        vmin=-top,
        vmax=top,
        label="density per standard deviation",
    )


@styled
def variance_slices(result: Result, through: Point | None = None) -> Figure:
    """Sections of the variance map beside those of the consensus.

    Parameters
    ----------
    result : Result
        With `variance`.
    through : (3,) int, optional
        Voxel (z, y, x) that the sections meet in; by default where the variance is largest.
    """
    variance = _needed(result.variance, "variance map")
    spread = np.sqrt(np.maximum(variance, 0))
    through = through or strongest(spread[None])
    view = SectionView(result, spread.shape, through)
    figure, axes = tile_axes(3, 1, 1.35 * INCHES_PER_PANEL, left=0.08, top=0.32)
    view.draw(
        axes,
        [(spread, plane, 0, k) for k, plane in enumerate(PLANES)],
        (1, 3),
        result.mean,
        "white",
        cmap="inferno",
        vmin=0,
        vmax=max(float(spread.max()), 1e-12),
    )
    for k, plane in enumerate(PLANES):
        axes.text(k, -0.03, view.caption(plane))
    view.scale_bar(axes, 0, "white")
    explain_colours(axes, "density (std. dev.)")
    return figure


def strongest(volumes: AnyArray) -> Point:
    """Voxel (z, y, x) around which the volumes (k, b, b, b) are largest in square."""
    power = ndimage.gaussian_filter((volumes.astype(np.float64) ** 2).sum(axis=0), 1.0)
    z, y, x = np.unravel_index(int(power.argmax()), power.shape)
    return int(z), int(y), int(x)


def _needed(array: AnyArray | None, what: str) -> AnyArray:
    if array is None:
        raise ValueError("This result has no %s." % what)
    return array


def _extreme(volumes: AnyArray) -> float:
    """Half-range of a symmetric scale."""
    return max(float(np.percentile(np.abs(volumes).max(axis=0), 99.95)), 1e-12)


def _centre(volumes: AnyArray) -> Point:
    half = volumes.shape[-1] // 2
    return half, half, half


def _class_titles(result: Result) -> list[tuple[str, str]]:
    return [("class %d" % (k + 1), class_colour(k)) for k in range(result.n_classes)]


def _panels(
    result: Result,
    volumes: AnyArray,
    titles: Sequence[tuple[str, str]],
    through: Point | None,
    *,
    label: str,
    outline: AnyArray | None = None,
    **colours: Any,
) -> Figure:
    """One column of three sections for each volume, wrapped into rows of columns."""
    count = min(len(volumes), _AT_MOST)
    per_row = min(count, _PER_ROW)
    rows = 3 * -(-count // per_row)
    view = SectionView(result, volumes.shape[1:], through)
    placed = [
        (volumes[k], plane, 3 * (k // per_row) + row, k % per_row)
        for k in range(count)
        for row, plane in enumerate(PLANES)
    ]
    two_lines = any("\n" in title for title, _ in titles)
    figure, axes = tile_axes(
        per_row, rows, INCHES_PER_PANEL, left=0.42, top=0.52 if two_lines else 0.32
    )
    view.draw(axes, placed, (rows, per_row), outline, INK, **colours)
    for row in range(rows):
        axes.text(
            -0.04, row + 0.5, view.caption(PLANES[row % 3]), rotation=90, ha="right", va="center"
        )
    for k, (title, colour) in enumerate(titles[:count]):
        inside = k >= per_row
        axes.text(
            k % per_row + 0.5,
            3 * (k // per_row) + (0.04 if inside else -0.05),
            title,
            color=colour,
            ha="center",
            va="top" if inside else "bottom",
            fontweight="bold",
            fontsize=13,
        )
    view.scale_bar(axes, rows - 1, "white" if colours["cmap"] == "gray" else INK)
    explain_colours(axes, label)
    if len(volumes) > count:
        axes.text(0, rows, "the first %d of %d" % (count, len(volumes)), fontsize=11, va="top")
    return figure
