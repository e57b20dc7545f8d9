"""Images of several pixel sizes, boxes and magnifications on the grid of one of them.

An image of magnification M (2 x 2, as RELION defines it) holds at its frequency k what the
specimen has at M k.  M is split into a factor, its largest singular value, and a rest that
stretches nothing.  The factor, the pixel size and the box decide at which frequencies the image's
Fourier transform is evaluated; the rest goes into the particle's matrix (`Particles.rotations`),
by which slices are read and back-projected.  Nothing is interpolated that was not before.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.geometry.grid import Grid

MARGIN = 1.02  # of two widths of boxes that are taken for one
SHARED = 1.1  # of the grid's width to the narrowest image: beyond it the grid is made smaller


@dataclass(frozen=True, eq=False)
class ImageKinds:
    """The kinds of images that a set of particles has.

    Parameters
    ----------
    box_px : (g,) int64
    sampling : (g,) float64
        Angstrom per pixel.
    matrix : (g, 2, 2) float64
        Magnification.
    of : (n,) int32
        Kind of each particle's image.
    """

    box_px: IntArray
    sampling: FloatArray
    matrix: FloatArray
    of: IntArray

    def take(self, index: IntArray | slice) -> ImageKinds:
        """The kinds of some of the particles."""
        return dataclasses.replace(self, of=self.of[index])

    @property
    def factor(self) -> FloatArray:
        """Largest singular value of each magnification, (g,) float64."""
        return np.linalg.svd(self.matrix, compute_uv=False)[:, 0]

    @property
    def rest(self) -> FloatArray:
        """What is left of each magnification, (g, 2, 2) float64; it stretches nothing."""
        rest: FloatArray = self.matrix / self.factor[:, None, None]
        return rest

    @property
    def finest(self) -> float:
        """Finest resolution that all of the images reach, Angstrom."""
        return float((2 * self.sampling / self.factor).max())

    def common_grid(self) -> tuple[int, float]:
        """Box (pixels) and sampling rate that suit all: those of most of the images.

        Their box is made smaller where that of others is: what lies outside an image is not known.
        """
        count = np.bincount(self.of, minlength=len(self.box_px))
        most = int(np.lexsort([self.sampling, -count])[0])  # of several, that of the finest pixels
        box, sampling = int(self.box_px[most]), float(self.sampling[most])
        used = count > 0
        width = float((self.box_px * self.sampling / self.factor)[used].min())
        if box * sampling > SHARED * width:
            box = 2 * int(width / sampling / 2)
        return box, sampling

    def window(self, kind: int, grid: Grid) -> int:
        """Box that the images of a kind are cut to before anything else, pixels."""
        width = grid.box_px * grid.sampling * float(self.factor[kind]) / self.sampling[kind]
        box = int(self.box_px[kind])
        return box if box <= MARGIN * width or box % 2 else min(box, 2 * int(np.ceil(width / 2)))

    def step(self, kind: int, grid: Grid) -> float:
        """Frequency of the cut image, in its pixels, that the grid's first frequency is."""
        length = self.window(kind, grid) * self.sampling[kind]
        return float(length / (grid.box_px * grid.sampling * self.factor[kind]))

    def amplitude(self, kind: int, grid: Grid) -> float:
        """What noise of the same variance is worth in an image of this kind.

        A Fourier sample, divided by the box, has the pixels' variance as its noise whatever the
        box and the pixel size are; the particle's part of it shrinks with the width of the box.
        """
        length = self.window(kind, grid) * self.sampling[kind]
        return float(grid.box_px * grid.sampling / length)

    def reached(self, grid: Grid) -> bool:
        """Whether all images have the grid's samples."""
        return all(
            grid.sample_cutoff * self.step(kind, grid) <= self.window(kind, grid) / 2 + 1e-6
            for kind in np.unique(self.of)
        )


def cut(images: FloatArray, box: int) -> FloatArray:
    """The middle of images, about the pixel that is their middle: ``box // 2``."""
    first = images.shape[1] // 2 - box // 2
    return images[:, first : first + box, first : first + box]
