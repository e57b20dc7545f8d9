"""What travels through the engine: particles, their CTF, and their cropped slices."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pcainit.engine.arrays import AnyArray, BoolArray, ComplexArray, FloatArray, IntArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.kinds import ImageKinds

if TYPE_CHECKING:
    from pcainit.engine.images.aberrations import Aberrations

_PER_PARTICLE = (
    *("stack", "row", "rotations", "shifts_px", "half", "dark", "source", "aside"),
    "premultiplied",
)
_ROWS = 4096  # of a large array that are copied at a time


@dataclass(frozen=True, eq=False)
class CTF:
    """CTF parameters, one value per particle, all (n,) float64.

    Parameters
    ----------
    defocus_u, defocus_v : Angstrom, underfocus positive
    defocus_angle : degrees from the x axis to the direction of `defocus_u`
    phase_shift : degrees
    voltage : kV
    spherical_aberration : mm
    amplitude_contrast : fraction, 0 to 1
    b_factor : Angstrom^2
    scale : factor
    """

    defocus_u: FloatArray
    defocus_v: FloatArray
    defocus_angle: FloatArray
    phase_shift: FloatArray
    voltage: FloatArray
    spherical_aberration: FloatArray
    amplitude_contrast: FloatArray
    b_factor: FloatArray
    scale: FloatArray

    def take(self, index: IntArray | slice) -> CTF:
        """The CTF of some of the particles."""
        return CTF(*(getattr(self, f.name)[index] for f in dataclasses.fields(self)))


@dataclass(frozen=True, eq=False)
class Particles:
    """Particles with known poses, in the order of the input.

    Parameters
    ----------
    stacks : tuple of str
        Files of images.
    stack : (n,) int32
        Which file each particle is in.
    row : (n,) int64
        Its image in that file, from 0.
    rotations : (n, 3, 3) float32
        Specimen to image; times `ImageKinds.rest` where there are several kinds.
    shifts_px : (n, 2) float32
        (x, y) shift that centres the particle, pixels of the grid.
    ctf : CTF or None
        None when the images are used without CTF correction.
    half : (n,) int8
        Half-set 1 or 2.
    box_px : int
        Of the grid: of the images, unless they are of several kinds.
    sampling : float
        Angstrom per pixel of the grid.
    dark : (n,) bool, optional
        Images whose sign is to be changed: particles are darker than the background there.
    source : (n,) int64, optional
        Particles with the same number share noise; by default those of the same image do.
    kinds : ImageKinds or None
        None when all images have this box and sampling rate, and no magnification of their own.
    aside : (n,) int8 or None
        Which particles are set aside, by the number of the reason from 1; None when none are.
    reasons : tuple of str
    notes : tuple of str
        Sentences on what is unusual about the particles.
    premultiplied : (n,) bool or None
        Images that were multiplied by their CTF; None when none were.
    leak : float
        See `pcainit.engine.images.premultiplied`.
    aberrations : Aberrations or None
        None when there are none.
    """

    stacks: tuple[str, ...]
    stack: IntArray
    row: IntArray
    rotations: FloatArray
    shifts_px: FloatArray
    ctf: CTF | None
    half: IntArray
    box_px: int
    sampling: float
    dark: BoolArray | None = None
    source: IntArray | None = None
    kinds: ImageKinds | None = None
    aside: IntArray | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    premultiplied: BoolArray | None = None
    leak: float = 0.0
    aberrations: Aberrations | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def finest(self) -> float:
        """Finest resolution that all images reach, Angstrom."""
        return 2 * self.sampling if self.kinds is None else self.kinds.finest

    def boxes(self) -> IntArray | None:
        """Box of each particle's image, (n,) int64 pixels; None where all have `box_px`."""
        return None if self.kinds is None else self.kinds.box_px[self.kinds.of]

    def fit(self) -> BoolArray | bool:
        """Which particles are not set aside, (n,) bool; True for all."""
        return True if self.aside is None else self.aside == 0

    def take(self, index: IntArray | slice) -> Particles:
        """Some of the particles."""
        some = {
            name: getattr(self, name)[index]
            for name in _PER_PARTICLE
            if getattr(self, name) is not None
        }
        return dataclasses.replace(
            self,
            ctf=self.ctf and self.ctf.take(index),
            kinds=self.kinds and self.kinds.take(index),
            aberrations=self.aberrations and self.aberrations.take(index),
            **some,
        )


@dataclass(frozen=True, eq=False)
class Slices:
    """Centred images cropped in Fourier space: all that is kept of the particles.

    Parameters
    ----------
    values : (n, p) complex64
    ctf : (n, p) float32
    rotations : (n, 3, 3) float32
    half : (n,) int8
        Half-set 1 or 2.
    usable : (n,) bool
        False for constant images, and for those with far more power than all others (saturated).
    grid : Grid
    seen : float
        Share of an image's noise power that a window lets through; see `windowing`.
    """

    values: ComplexArray
    ctf: FloatArray
    rotations: FloatArray
    half: IntArray
    usable: BoolArray
    grid: Grid
    seen: float = 1.0

    def __len__(self) -> int:
        return len(self.values)

    def left_out(self, aside: BoolArray | bool = False) -> tuple[int, int]:
        """How many images are constant, and how many have far too much power.

        Parameters
        ----------
        aside : (n,) bool
            Particles that are left out for other reasons.
        """
        saturated = is_varying(self.values[np.flatnonzero(~self.usable & ~np.asarray(aside))])
        return int((~saturated).sum()), int(saturated.sum())

    def take(self, index: IntArray) -> Slices:
        """Some of the particles (copies)."""
        return Slices(
            self.values[index],
            self.ctf[index],
            self.rotations[index],
            self.half[index],
            self.usable[index],
            self.grid,
            self.seen,
        )


def within_resolution(
    slices: Slices,
    resolution: float,
    allocate: Callable[[tuple[int, ...], type], AnyArray] = np.empty,
) -> Slices:
    """Keep the samples of a coarser resolution.

    Parameters
    ----------
    slices : Slices
    resolution : float
        Angstrom; that of the slices themselves gives them back.
    allocate : callable(shape, dtype)
        Gives the room for the copies.

    Returns
    -------
    Slices
        As if the images had been cropped at that resolution.
    """
    if resolution == slices.grid.resolution:
        return slices
    grid = dataclasses.replace(slices.grid, resolution=resolution)
    width = 4 * slices.grid.box_px
    number = slices.grid.frequencies @ [width, 1]
    order = np.argsort(number)
    chosen = order[np.searchsorted(number, grid.frequencies @ [width, 1], sorter=order)]
    values = allocate((len(slices), len(chosen)), np.complex64)
    ctf = allocate((len(slices), len(chosen)), np.float32)
    for first in range(0, len(slices), _ROWS):
        rows = slice(first, first + _ROWS)
        values[rows], ctf[rows] = slices.values[rows][:, chosen], slices.ctf[rows][:, chosen]
    return dataclasses.replace(slices, values=values, ctf=ctf, grid=grid)


def image_numbers(stack: IntArray, row: IntArray) -> IntArray:
    """Number of each particle's image among all different ones, in the order of the particles."""
    _, first, image = np.unique(
        np.stack([stack.astype(np.int64), row]), axis=1, return_index=True, return_inverse=True
    )
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    out: IntArray = place[image.ravel()]
    return out


def balanced(half: IntArray) -> bool:
    """Whether neither half-set is much larger than the other."""
    return bool(0.4 * len(half) <= (half == 1).sum() <= 0.6 * len(half))


def random_halves(image: IntArray) -> IntArray:
    """Random half-set of each particle, the same for all particles of one image.

    Parameters
    ----------
    image : (n,) int
        See `image_numbers`.

    Returns
    -------
    (n,) int8
    """
    count = int(image.max()) + 1
    return np.random.default_rng(count).permutation(np.arange(count) % 2 + 1).astype(np.int8)[image]


def fair_halves(particles: Particles, usable: BoolArray) -> IntArray:
    """The half-sets, drawn anew where what cannot be used leaves one much larger than the other.

    With next to nothing in one of them there is no agreement between the two to go by.
    """
    if balanced(particles.half[usable]):
        return particles.half
    half = particles.half.copy()
    if particles.source is None:
        source = image_numbers(particles.stack[usable], particles.row[usable])
    else:
        source = np.unique(particles.source[usable], return_inverse=True)[1].ravel()
    half[usable] = random_halves(source)
    return half


def joint_groups(first: IntArray, second: IntArray) -> IntArray:
    """Number of the group of each particle, where sharing either number makes one group.

    Parameters
    ----------
    first, second : (n,) int
        From 0.

    Returns
    -------
    (n,) int64
        From 0.
    """
    count = int(first.max()) + 1
    edges = coo_matrix(
        (np.ones(len(first), np.int8), (first, count + second)),
        shape=(count + int(second.max()) + 1,) * 2,
    )
    label = connected_components(edges, directed=False)[1][first]
    group: IntArray = np.unique(label, return_inverse=True)[1].ravel().astype(np.int64)
    return group


def subsample(index: IntArray, most: int) -> IntArray:
    """At most so many particles: one of each of so many stretches.

    Which one follows the golden ratio, not a period: half-sets and states may take turns.
    """
    starts = np.linspace(0, len(index), min(len(index), most) + 1).astype(int)
    within = low_discrepancy(len(starts) - 1)
    out: IntArray = index[starts[:-1] + (within * np.diff(starts)).astype(int)]
    return out


def low_discrepancy(count: int) -> FloatArray:
    """Multiples of the golden ratio modulo 1, (count,) float64: even in any stretch or step."""
    return np.arange(count) * ((5**0.5 - 1) / 2) % 1


def is_varying(values: AnyArray) -> BoolArray:
    """Whether images, given by their Fourier samples with DC first, are more than a constant."""
    out: BoolArray = np.abs(values[:, 1:]).max(axis=1, initial=0) > 1e-6 * np.abs(values[:, 0])
    return out
