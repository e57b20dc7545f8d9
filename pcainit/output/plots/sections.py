"""How sections of volumes are cut and laid side by side in one picture."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.results import Result
from pcainit.output.plots.style import colour_bar

PLANES = ("xy", "xz", "yz")
_TILE = 225  # pixels of one section in the figure
_GAP = 0.04  # between sections, in sections
SCALE_BARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
Point = Tuple[int, int, int]


def tile_axes(
    columns: int, rows: int, panel: float, *, left: float, top: float
) -> tuple[Figure, Axes]:
    """Axes for tiles of `panel` inches, with margins in inches and room for the colour bar."""
    width, height = left + columns * panel + 1.05, top + rows * panel + 0.1
    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes(
        (left / width, 0.1 / height, columns * panel / width, rows * panel / height)
    )


def explain_colours(axes: Axes, label: str) -> None:
    """Draw the colour bar of a picture beside it."""
    colour_bar(axes, label).ax.yaxis.set_major_formatter("{x:g}")


class SectionView:
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

    def section(self, volume: AnyArray, plane: str) -> AnyArray:
        """The section's pixels within the view, interpolated; the first row is the lowest."""
        axis = PLANES.index(plane)
        if self.through is None:
            highest, lowest = volume.max(axis=axis), volume.min(axis=axis)
            cut = np.where(highest >= -lowest, highest, lowest)
        else:
            cut = volume.take(self.through[axis], axis=axis)
        part = cut[self.low : self.high, self.low : self.high]
        finer: AnyArray = self.finer @ part @ self.finer.T
        return finer

    def draw(
        self,
        axes: Axes,
        placed: Sequence[tuple[AnyArray, str, int, int]],
        shape: tuple[int, int],
        outline: AnyArray | None,
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


def _extent(mask: AnyArray, through: Point | None) -> tuple[int, int]:
    """Range of voxels, the same on all axes, that holds the mask and the point."""
    half = mask.shape[0] // 2
    inside = np.argwhere(mask > 0.5)
    reach = max([abs(v - half) for v in through or ()] + [2])
    if len(inside):
        reach = max(reach, int(np.abs(inside - half).max()))
    return max(0, half - reach - 1), min(mask.shape[0], half + reach + 2)
