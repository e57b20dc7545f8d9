"""From raw images to centred Fourier crops: each image is read once and never touched again."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Tuple

import numpy as np

from pcainit.engine.arrays import AnyArray, BoolArray, ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.products import multiply, power
from pcainit.engine.compiled.threads import in_turn
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.images.census import (
    Surroundings,
    describe_images,
    find_masked,
    measure_surroundings,
)
from pcainit.engine.images.ctf import evaluate_ctf
from pcainit.engine.images.kinds import cut
from pcainit.engine.images.particles import Particles, Slices, fair_halves, is_varying, subsample
from pcainit.engine.images.premultiplied import TELLING, leak_of, measure_leak, restore
from pcainit.errors import InputError
from pcainit.limits import MIN_PARTICLES

CHUNK_BYTES = 8 * 2**20  # small enough to lie in the cache between two steps
Chunk = Tuple[IntArray, Callable[[], FloatArray]]  # numbers of images, and what reads them

MIN_CTF = 1e-3  # of any sample of any particle
SMALLEST, LARGEST = 1e-9, 1e9  # typical Fourier sample (of background 1: 1)
MAX_POWER = 100.0  # of an image, in units of the median: beyond it something else is seen


def chunk_length(box_px: int) -> int:
    """How many images a thread works on at a time."""
    return max(1, CHUNK_BYTES // (4 * box_px * box_px))


def crop_images(images: FloatArray, grid: Grid, step: float = 1.0) -> ComplexArray:
    """Fourier samples of real images inside the resolution circle.

    Parameters
    ----------
    images : (n, box, box) float32
    grid : Grid
    step : float
        Frequency of the images, in pixels of theirs, that the grid's first frequency is.

    Returns
    -------
    (n, p) complex64
        About the pixel ``box // 2``, divided by the box.
    """
    columns, lines = _fourier_rows(grid, images.shape[1], step)
    kx, ky = grid.frequencies.T
    below = np.sign(ky).astype(np.float32)
    size, up = columns.shape[1] // 2, np.abs(ky)
    # Each image is a product of its own: the result does not hang on its company.
    both = lines @ (images @ columns)
    out = np.empty((len(images), len(kx)), np.complex64)
    out.real = both[:, up, kx] + below * both[:, size + up, size + kx]
    out.imag = both[:, up, size + kx] - below * both[:, size + up, kx]
    return out


@functools.lru_cache(maxsize=16)
def _fourier_rows(grid: Grid, n: int, step: float) -> tuple[FloatArray, FloatArray]:
    """Rows of the Fourier transform that the circle needs, about the middle of a box of n.

    Products with them are faster than whole transforms: few of a transform's samples are kept.

    Returns
    -------
    columns : (n, 2r) float32
        Cosines and minus sines of kx = 0, 1, ... over the box, to be multiplied from the right.
    lines : (2r, n) float32
        Cosines and sines of ky = 0, 1, ..., from the left.
    """
    frequencies = step * np.arange(grid.frequencies.max() + 1)
    angle = 2 * np.pi / n * np.outer(np.arange(n) - n // 2, frequencies)
    cosine, sine = np.cos(angle), np.sin(angle)
    return (
        np.concatenate([cosine, -sine], axis=1).astype(np.float32) / np.float32(n),
        np.concatenate([cosine.T, sine.T]).astype(np.float32),
    )


def shift_phases(shifts_px: FloatArray, grid: Grid) -> ComplexArray:
    """Phase factors that move images by (x, y) pixels, (n, p) complex64."""
    x, y = shifts_px.astype(np.float32).T[:, :, None]
    kx, ky = grid.frequencies.T.astype(np.float32)
    # No matrix product: BLAS may round one image differently in company of others.
    angle = np.float32(-2 * np.pi / grid.box_px) * (x * kx + y * ky)
    out: ComplexArray = np.cos(angle) + 1j * np.sin(angle)
    return out


def normalise_background(images: FloatArray) -> FloatArray:
    """Mean 0 and standard deviation 1 outside the circle that touches the box, in place."""
    box = images.shape[1]
    outside = radial_distance(box)[box // 2] > box / 2
    background = images[:, outside]
    images -= background.mean(axis=1)[:, None, None]
    deviation = background.std(axis=1)
    images /= np.where(deviation > 0, deviation, 1)[:, None, None]
    return images


@dataclass(frozen=True, eq=False)
class Census:
    """What the images of some particles are like.

    Parameters
    ----------
    powers : (n,) float64
        Sum of squared moduli of each image's samples but the first.
    varied : (n,) bool
        Whether the image is more than a constant.
    transferred : float
        Largest modulus of the CTF.
    surroundings : Surroundings
        Of the images as they lie in their files.
    """

    powers: FloatArray
    varied: BoolArray
    transferred: float
    surroundings: Surroundings

    def usable(self, n_samples: int) -> BoolArray:
        """Which images can be used, (n,) bool.

        Raises
        ------
        InputError
            Too few can: all are constant, copies of each other, of extreme size, most are masked
            or far from normalised, or the CTF is zero.
        """
        usable, n = self.varied.copy(), len(self.varied)
        if not usable.any():
            raise InputError(
                "All images are constant (for instance all zero): these are not particle images."
            )
        different = len(np.unique(self.powers[usable]))  # equal to the last digit: one image
        if different < MIN_PARTICLES <= n:
            raise InputError(
                "Only %d of the %d images can be used: the others are constant or "
                "copies of these. At least %d are needed." % (different, n, MIN_PARTICLES)
            )
        size = np.sqrt(np.median(self.powers[usable]) / n_samples)
        if not SMALLEST < size < LARGEST:
            raise InputError(
                "The images' values are about %.0e in size, which single precision "
                "cannot work with: rescale them, for instance to a background with a "
                "standard deviation of 1." % size
            )
        usable &= self.powers <= MAX_POWER * np.median(self.powers[usable])
        if not self.transferred > MIN_CTF:
            raise InputError(
                "The CTF of all particles is zero at this resolution: check their "
                "defocus, or run without CTF correction (--no-ctf)."
            )
        return usable & ~find_masked(self.surroundings, usable)

    def describe(self, usable: BoolArray) -> dict[str, Any]:
        """See `describe_images`."""
        masked = int((self.surroundings.blank() & self.varied & ~usable).sum())
        return describe_images(self.surroundings, usable, masked)


def prepare_slices(
    particles: Particles, grid: Grid, chunks: Iterable[Chunk], **options: Any
) -> Slices:
    """`crop_particles`, with what cannot be used set aside, in half-sets of about one size.

    Raises
    ------
    InputError
        An image holds something that is not a finite number, or too few images can be used.
    """
    slices, census = crop_particles(particles, grid, chunks, **options)
    usable = census.usable(len(grid.frequencies)) & particles.fit()
    return dataclasses.replace(slices, usable=usable, half=fair_halves(particles, usable))


def with_leak(
    particles: Particles, grid: Grid, read: Callable[[Particles], Iterable[Chunk]]
) -> Particles:
    """Particles with their leak, where any are premultiplied; a few are read for that.

    Parameters
    ----------
    particles : Particles
    grid : Grid
    read : callable
        Gives the chunks of some particles, see `crop_particles`.

    Raises
    ------
    InputError
        As for `crop_particles`; or the images were not multiplied by their CTF.
    """
    if particles.premultiplied is None or particles.ctf is None:
        return particles
    chosen = np.flatnonzero(particles.premultiplied & particles.fit())
    some = particles.take(subsample(chosen, TELLING))
    assert some.ctf is not None  # only with a CTF can images be premultiplied by it
    plain = dataclasses.replace(some, premultiplied=None)
    slices, census = crop_particles(plain, grid, read(plain))
    places = grid.frequencies / (grid.box_px * grid.sampling)
    good = np.flatnonzero(census.varied)
    return dataclasses.replace(
        particles,
        leak=measure_leak(
            slices.values[good], slices.ctf[good], grid.shell, some.ctf.take(good), places
        ),
    )


def _in_memory(name: str, shape: tuple[int, ...], dtype: type) -> AnyArray:
    return np.empty(shape, dtype)


def crop_particles(
    particles: Particles,
    grid: Grid,
    chunks: Iterable[Chunk],
    *,
    invert: bool = False,
    normalise: bool = False,
    threads: int = 1,
    allocate: Callable[..., AnyArray] | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Slices, Census]:
    """Crop and centre all images, and evaluate their CTF on the same samples.

    Parameters
    ----------
    particles : Particles
    grid : Grid
    chunks : iterable of (index, read)
        Particle numbers (m,), each once, and what reads their images (m, box, box) float32, which
        are overwritten; it is called by one of the threads.
    invert : bool
        Change the sign of the images.
    normalise : bool
        Apply `normalise_background`.
    threads : int
        Each works on a chunk of its own.
    allocate : callable(name, shape, dtype), optional
        Makes the two large arrays (for instance memory-mapped ones).
    progress : callable
        Told the share that is done.

    Returns
    -------
    Slices
        All taken for usable.
    Census

    Raises
    ------
    InputError
        An image holds something that is not a finite number.
    """
    n, p = len(particles), len(grid.frequencies)
    if allocate is None:
        allocate = _in_memory
    values = allocate("values", (n, p), np.complex64)
    ctf = allocate("ctf", (n, p), np.float32)
    powers, varied, surroundings = np.zeros(n), np.ones(n, bool), Surroundings.empty(n, normalise)
    lowest = grid.shell[1:] == 1

    def crop(chunk: Chunk) -> tuple[int, float]:
        index, images = chunk[0], chunk[1]()
        with np.errstate(all="ignore"):  # what is not finite is refused here
            measured = measure_surroundings(images)
            images = normalise_background(images) if normalise else images
            crops = _crop_kinds(images, particles, index, grid)
            powered = power(crops[:, 1:])
            strength = powered.sum(axis=1, dtype=np.float64)
            finite = np.isfinite(crops).all(axis=1) & np.isfinite(strength)
        if not finite.all():
            bad = index[int(np.argmax(~finite))]
            raise InputError(
                "Image %d of %s holds values that are not finite numbers, or too "
                "large ones: remove this particle."
                % (particles.row[bad] + 1, particles.stacks[particles.stack[bad]])
            )
        powers[index], varied[index] = strength, is_varying(crops)
        unit = measured[:, 1] if normalise else 1.0
        crops, transfer = _transfer_kinds(crops, particles, index, grid)
        if particles.premultiplied is not None:  # the noise is white only now
            powered = power(crops[:, 1:])
        surroundings.table[index] = np.column_stack(
            [measured, unit * powered[:, lowest].mean(axis=1, dtype=np.float64)]
        )
        if particles.dark is not None:
            crops[particles.dark[index]] *= -1
        values[index] = multiply(
            -crops if invert else crops, shift_phases(particles.shifts_px[index], grid)
        )
        ctf[index] = transfer
        return len(index), float(np.abs(transfer).max())

    done, transferred = 0, 0.0
    for count, largest in in_turn(crop, chunks, threads):
        done, transferred = done + count, max(transferred, largest)
        progress(done / n)
    slices = Slices(values, ctf, particles.rotations, particles.half, np.ones(n, bool), grid)
    return slices, Census(powers, varied, transferred, surroundings)


def _crop_kinds(
    images: FloatArray, particles: Particles, index: IntArray, grid: Grid
) -> ComplexArray:
    """`crop_images` of the images of some particles, which have one box."""
    kinds = particles.kinds
    if kinds is None:
        return crop_images(images, grid)
    crops = np.empty((len(images), len(grid.frequencies)), np.complex64)
    for kind in np.unique(kinds.of[index]):
        mine = np.flatnonzero(kinds.of[index] == kind)
        some = np.ascontiguousarray(cut(images[mine], kinds.window(kind, grid)))
        crops[mine] = crop_images(some, grid, kinds.step(kind, grid))
    return crops


def _transfer_kinds(
    crops: ComplexArray, particles: Particles, index: IntArray, grid: Grid
) -> tuple[ComplexArray, FloatArray]:
    """Crops of some particles with white noise, and what the CTF is in them.

    Returns
    -------
    crops : (m, p) complex64
    transfer : (m, p) or, without a CTF, (1, 1) float32
    """
    spatial, kinds = grid.frequencies / (grid.box_px * grid.sampling), particles.kinds
    if kinds is None:
        if particles.ctf is None:
            return crops, np.ones((1, 1), np.float32)
        return _transfer(crops, particles, index, spatial)
    transfer = np.ones((len(index), len(spatial)), np.float32)
    for kind in np.unique(kinds.of[index]):
        mine = np.flatnonzero(kinds.of[index] == kind)
        if particles.ctf is not None:  # at the specimen's frequencies, as RELION has it
            places = spatial @ kinds.rest[kind].T
            crops[mine], transfer[mine] = _transfer(crops[mine], particles, index[mine], places)
        transfer[mine] *= np.float32(kinds.amplitude(kind, grid))
    return crops, transfer


def _transfer(
    crops: ComplexArray, particles: Particles, index: IntArray, places: FloatArray
) -> tuple[ComplexArray, FloatArray]:
    """CTF of images of one kind at the specimen's frequencies; see `_transfer_kinds`."""
    assert particles.ctf is not None
    offset = None
    if particles.aberrations is not None:
        own_aberrations = particles.aberrations.take(index)
        crops, offset = own_aberrations.turn_back(crops, places), own_aberrations.offset(places)
    transfer = evaluate_ctf(particles.ctf.take(index), places, offset)
    if particles.premultiplied is not None:
        own = np.flatnonzero(particles.premultiplied[index])
        if len(own):
            leak = leak_of(particles.ctf.take(index[own]), places, particles.leak)
            crops[own], transfer[own] = restore(crops[own], transfer[own], leak)
    return crops, transfer
