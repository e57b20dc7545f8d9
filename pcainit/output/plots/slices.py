"""Sections through volumes, always on one common scale."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from pcainit.output.plots.results import Result
from pcainit.output.plots.style import (
    INCHES_PER_PANEL,
    INK,
    RELIEF,
    class_colour,
    colour_bar,
    styled,
)

PLANES = ("xy", "xz", "yz")
_PER_ROW = 8  # volumes side by side
_AT_MOST = 32  # volumes in one figure
_TILE = 225  # pixels of one section in the figure
_GAP = 0.04  # between sections, in sections
SCALE_BARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
Point = Tuple[int, int, int]


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
    view = _View(result, spread.shape, through)
    figure, axes = _canvas(3, 1, 1.35 * INCHES_PER_PANEL, left=0.08, top=0.32)
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
    _explain(axes, "density (std. dev.)")
    return figure


def strongest(volumes: np.ndarray) -> Point:
    """Voxel (z, y, x) around which the volumes (k, b, b, b) are largest in square."""
    power = ndimage.gaussian_filter((volumes.astype(np.float64) ** 2).sum(axis=0), 1.0)
    z, y, x = np.unravel_index(int(power.argmax()), power.shape)
    return int(z), int(y), int(x)


def _needed(array: np.ndarray | None, what: str) -> np.ndarray:
    if array is None:
        raise ValueError("This result has no %s." % what)
    return array


def _extreme(volumes: np.ndarray) -> float:
    """Half-range of a symmetric scale."""
    return max(float(np.percentile(np.abs(volumes).max(axis=0), 99.95)), 1e-12)


def _centre(volumes: np.ndarray) -> Point:
    half = volumes.shape[-1] // 2
    return half, half, half


def _class_titles(result: Result) -> list[tuple[str, str]]:
    return [("class %d" % (k + 1), class_colour(k)) for k in range(result.n_classes)]


def _panels(
    result: Result,
    volumes: np.ndarray,
    titles: Sequence[tuple[str, str]],
    through: Point | None,
    *,
    label: str,
    outline: np.ndarray | None = None,
    **colours: Any,
) -> Figure:
    """One column of three sections for each volume, wrapped into rows of columns."""
    count = min(len(volumes), _AT_MOST)
    per_row = min(count, _PER_ROW)
    rows = 3 * -(-count // per_row)
    view = _View(result, volumes.shape[1:], through)
    placed = [
        (volumes[k], plane, 3 * (k // per_row) + row, k % per_row)
        for k in range(count)
        for row, plane in enumerate(PLANES)
    ]
    two_lines = any("\n" in title for title, _ in titles)
    figure, axes = _canvas(
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
    _explain(axes, label)
    if len(volumes) > count:
        axes.text(0, rows, "the first %d of %d" % (count, len(volumes)), fontsize=11, va="top")
    return figure


def _canvas(
    columns: int, rows: int, panel: float, *, left: float, top: float
) -> tuple[Figure, Axes]:
    """Axes for tiles of `panel` inches, with margins in inches and room for the colour bar."""
    width, height = left + columns * panel + 1.05, top + rows * panel + 0.1
    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes(
        (left / width, 0.1 / height, columns * panel / width, rows * panel / height)
    )


def _explain(axes: Axes, label: str) -> None:
    colour_bar(axes, label).ax.yaxis.set_major_formatter("{x:g}")


class _View:
    """Sections that meet in one voxel, cut to the particle, as the tiles of one picture.

    Parameters
    ----------
    result : Result
    shape : (3,) int
    through : (3,) int, optional
        Voxel (z, y, x); without it, each pixel shows the strongest value along its line of
        sight.
    """

    def __init__(self, result: Result, shape: tuple[int, ...], through: Point | None) -> None:
        self.through, self.box = through, shape[0]
        self.voxel = float(result.voxel) if result.voxel is not None else 0.0
        mask = result.mask if result.mask is not None else np.zeros(0)
        fits = mask.shape == tuple(shape)
        self.low, self.high = _extent(mask, through) if fits else (0, shape[0])
        side = self.high - self.low
        # Cubic interpolation is linear: as a matrix, from what it makes of unit vectors.
        self.finer = ndimage.zoom(
            np.eye(side), (_TILE * (1 - _GAP) / side, 1), order=3, mode="nearest", grid_mode=True
        ).astype(np.float32)

    def section(self, volume: np.ndarray, plane: str) -> np.ndarray:
        """The section's pixels within the view, interpolated; the first row is the lowest."""
        axis = PLANES.index(plane)
        if self.through is None:
            highest, lowest = volume.max(axis=axis), volume.min(axis=axis)
            cut = np.where(highest >= -lowest, highest, lowest)
        else:
            cut = volume.take(self.through[axis], axis=axis)
        return self.finer @ cut[self.low : self.high, self.low : self.high] @ self.finer.T

    def draw(
        self,
        axes: Axes,
        placed: Sequence[tuple[np.ndarray, str, int, int]],
        shape: tuple[int, int],
        outline: np.ndarray | None,
        line: str,
        **colours: Any,
    ) -> None:
        """Draw (volume, plane, row, column) tiles; each is one unit wide, row 0 is on top."""
        picture, lines = (
            np.full((shape[0] * _TILE, shape[1] * _TILE), np.nan, np.float32) for _ in range(2)
        )
        if outline is None or outline.shape != placed[0][0].shape:
            outline = np.zeros_like(placed[0][0])
        outlines = {plane: self.section(outline, plane) for plane in PLANES}
        for volume, plane, row, column in placed:
            tile = self.section(volume, plane)
            place = np.s_[
                row * _TILE : row * _TILE + len(tile), column * _TILE : column * _TILE + len(tile)
            ]
            picture[place] = tile[::-1]
            lines[place] = outlines[plane][::-1]
        level = 0.2 * float(outline.max())
        if np.nanmin(lines) < level < np.nanmax(lines):
            x, y = ((np.arange(count) + 0.5) / _TILE for count in lines.shape[::-1])
            axes.contour(x, y, lines, levels=[level], colors=line, linewidths=0.8, alpha=0.7)
        axes.imshow(
            picture, extent=(0, shape[1], shape[0], 0), interpolation="antialiased", **colours
        )
        axes.set_axis_off()

    def caption(self, plane: str) -> str:
        """Name of the section with the distance from the box's centre."""
        axis = PLANES.index(plane)
        if self.through is None:
            return "along %s" % "zyx"[axis]
        offset = self.through[axis] - self.box // 2
        if not self.voxel or not offset:
            return plane
        return "%s, %s = %+.0f Å" % (plane, "zyx"[axis], offset * self.voxel)

    def scale_bar(self, axes: Axes, row: int, colour: str) -> None:
        """A bar of a round length, Angstrom, in the first tile of a row."""
        if not self.voxel:
            return
        width = (self.high - self.low) * self.voxel / (1 - _GAP)  # of one unit, Angstrom
        length = max(v for v in SCALE_BARS if v <= max(width / 3, SCALE_BARS[0]))
        axes.plot(
            [0.06, 0.06 + length / width],
            [row + 0.92] * 2,
            color=colour,
            linewidth=3,
            solid_capstyle="butt",
        )
        axes.text(0.06, row + 0.88, "%d Å" % length, color=colour, fontsize=10, va="bottom")


def _extent(mask: np.ndarray, through: Point | None) -> tuple[int, int]:
    """Range of voxels, the same on all axes, that holds the mask and the point."""
    half = mask.shape[0] // 2
    inside = np.argwhere(mask > 0.5)
    reach = max([abs(v - half) for v in through or ()] + [2])
    if len(inside):
        reach = max(reach, int(np.abs(inside - half).max()))
    return max(0, half - reach - 1), min(mask.shape[0], half + reach + 2)
