"""Sections of the consensus at one resolution, with the outline of a mask."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Sequence

import numpy as np
from matplotlib.figure import Figure

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots.sections import PLANES, SCALE_BARS
from pcainit.output.plots.style import INK, WARN, styled


@styled
def draw_preview(
    figure: Figure, volume: AnyArray, voxel: float, mask: AnyArray | None = None
) -> None:
    """Draw the three central sections of one volume into a figure, in place of what it held.

    Parameters
    ----------
    figure : Figure
    volume : (box, box, box) float32
    voxel : float
        Angstrom.
    mask : (box, box, box) float32, optional
        Outlined where it reaches 0.5, and more faintly where it begins and ends.
    """
    figure.clear()
    _draw_rows(figure, [("", volume)], voxel, mask)


@styled
def resolution_figure(
    volumes: Sequence[tuple[str, AnyArray]], voxel: float, mask: AnyArray | None = None
) -> Figure:
    """One row of central sections for each volume.

    Parameters
    ----------
    volumes : sequence of (title, (box, box, box) float32)
    voxel : float
        Angstrom.
    mask : (box, box, box) float32, optional
        As in `draw_preview`.
    """
    figure = Figure(figsize=(8.2, 2.75 * len(volumes)))
    _draw_rows(figure, volumes, voxel, mask)
    return figure


def _draw_rows(
    figure: Figure, volumes: Sequence[tuple[str, AnyArray]], voxel: float, mask: AnyArray | None
) -> None:
    figure.subplots_adjust(
        left=0.06,
        right=0.995,
        bottom=0.005,
        wspace=0.02,
        hspace=0.02,
        top=1 - 0.3 / figure.get_figheight(),
    )
    axes = figure.subplots(len(volumes), 3, squeeze=False)
    for row, (title, volume) in zip(axes, volumes):
        low, high = np.percentile(volume, (0.5, 99.95))
        half = len(volume) // 2
        reach = half * voxel
        for axis, place in enumerate(row):
            extent = (-reach, reach, -reach, reach)
            place.imshow(
                volume.take(half, axis=axis),
                cmap="gray",
                vmin=low,
                vmax=high,
                origin="lower",
                extent=extent,
                interpolation="bilinear",
            )
            if mask is not None:
                cut = mask.take(half, axis=axis)
                for level, width in ((0.02, 0.8), (0.5, 2.0), (0.98, 0.8)):
                    if cut.min() < level < cut.max():
                        place.contour(
                            cut, levels=[level], colors=WARN, linewidths=width, extent=extent
                        )
            place.set_xticks([])
            place.set_yticks([])
            for spine in place.spines.values():
                spine.set_visible(False)
        row[0].set_ylabel(title, fontsize=13, fontweight="bold", color=INK)
        length = max(value for value in SCALE_BARS if value <= max(reach / 2, 1))
        row[0].plot(
            [-0.92 * reach, -0.92 * reach + length],
            [-0.9 * reach] * 2,
            color="white",
            linewidth=3,
            solid_capstyle="butt",
        )
        row[0].text(
            -0.92 * reach, -0.86 * reach, "%d Å" % length, color="white", fontsize=10, va="bottom"
        )
    for place, plane in zip(axes[0], PLANES):
        place.set_title("section " + plane, fontsize=11, fontweight="normal", loc="center", pad=4)
