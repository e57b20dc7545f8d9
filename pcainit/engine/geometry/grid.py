"""The working grid: which Fourier samples are kept, and every transform between spaces."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import concurrent.futures
from dataclasses import dataclass
from functools import cached_property
from typing import Iterable, Iterator, Sequence

import numpy as np
from scipy import fft

from pcainit.buffers import aligned_array
from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.products import cross_power
from pcainit.limits import WORKING_BOX_FACTOR

PLANES = 16  # of a map that are made at a time
CELL = 3  # voxels (odd) of the oversampled half-space along the edge of a cell


@dataclass(frozen=True)
class Grid:
    """Fourier samples inside the resolution circle, and the boxes that hold them.

    Equation (2) of docs/theory.md.

    Parameters
    ----------
    box_px : int
        Box of the particles, pixels (even).
    sampling : float
        Sampling rate of the particles, Angstrom per pixel.
    resolution : float
        Initialisation resolution, Angstrom.
    padding : float
        Fourier oversampling of the volumes that slices are read from and added to.

    Examples
    --------
    >>> from pcainit.engine.geometry.grid import Grid
    >>> grid = Grid(box_px=128, sampling=2.5, resolution=20.0)
    >>> grid.radius, grid.box, grid.n_shells
    (16.0, 36, 18)
    """

    box_px: int
    sampling: float
    resolution: float
    padding: float = 1.5

    @cached_property
    def radius(self) -> float:
        """Radius of the resolution circle in Fourier pixels of the particles' box."""
        return min(self.box_px * self.sampling / self.resolution, self.box_px / 2 - 2.0)

    @property
    def cutoff(self) -> float:
        """Largest distance from the origin in a volume: the last shell is whole."""
        out: float = np.floor(self.radius) + 0.5
        return out

    @property
    def sample_cutoff(self) -> float:
        """Largest distance in an image: one shell more, without which a volume's last is poor."""
        return self.cutoff + 1

    @cached_property
    def box(self) -> int:
        """Working box, pixels (even): about 2.2 x box x sampling / resolution."""
        whole = 2 * self.sample_cutoff + 1
        return min(_even_fast_length(max(WORKING_BOX_FACTOR * self.radius, whole)), self.box_px)

    @property
    def voxel(self) -> float:
        """Sampling rate of the working box, Angstrom."""
        return self.sampling * self.box_px / self.box

    @cached_property
    def padded_box(self) -> int:
        """Box of the oversampled volume, pixels (even)."""
        return max(_even_fast_length(self.padding * self.box), self.box)

    @property
    def oversampling(self) -> float:
        """Exact ratio of padded box to working box."""
        return self.padded_box / self.box

    @cached_property
    def reach(self) -> int:
        """Largest index of the stored part of the oversampled half-space."""
        return int(np.ceil(self.oversampling * self.sample_cutoff)) + 1

    @property
    def half_shape(self) -> tuple[int, int, int]:
        """Shape (z, y, x) of the stored half-space, x >= 0, origin at (reach, reach, 0)."""
        return (2 * self.reach + 1, 2 * self.reach + 1, self.reach + 1)

    @cached_property
    def frequencies(self) -> IntArray:
        """(p, 2) int32, the samples (kx, ky) in pixels of the particles' box, DC first."""
        r = int(self.sample_cutoff)
        ky, kx = np.mgrid[-r : r + 1, 0 : r + 1]
        inside = (kx**2 + ky**2 < self.sample_cutoff**2) & ((kx > 0) | (ky >= 0))
        samples = np.stack([kx[inside], ky[inside]], axis=1).astype(np.int32)
        first = np.flatnonzero((samples == 0).all(axis=1))
        return np.concatenate([samples[first], np.delete(samples, first, axis=0)])

    @cached_property
    def shell(self) -> IntArray:
        """(p,) int32, index of each sample's shell: its rounded distance from the origin."""
        out: IntArray = np.rint(np.hypot(*self.frequencies.T)).astype(np.int32)
        return out

    @property
    def n_shells(self) -> int:
        """Number of shells."""
        return int(self.shell.max()) + 1

    @cached_property
    def multiplicity(self) -> FloatArray:
        """(p,) float32, real degrees of freedom: 2 of a complex sample, 1 of the DC term."""
        weight = np.full(len(self.frequencies), 2, np.float32)
        weight[0] = 1
        return weight

    @cached_property
    def shell_map(self) -> IntArray:
        """Shell of each voxel of the stored half-space, `half_shape`, int32."""
        z, y, x = self._half_axes()
        out: IntArray = np.rint(np.sqrt(z**2 + y**2 + x**2) / self.oversampling).astype(np.int32)
        return out

    @cached_property
    def cells(self) -> IntArray:
        """Number of the cell of `CELL` cubed voxels that each voxel lies in, `half_shape` int32.

        The cells of Friedel mates are mates, and so they lie in `cell_shape`.
        """
        _, y, x = self.cell_shape
        z = (np.arange(-self.reach, self.reach + 1) + CELL // 2) // CELL
        half = z[self.reach :]
        out: IntArray = (
            (z - z[0])[:, None, None] * (y * x) + (z - z[0])[:, None] * x + half
        ).astype(np.int32)
        return out

    @property
    def cell_shape(self) -> tuple[int, int, int]:
        """Cells along z, y and x."""
        half = (self.reach + CELL // 2) // CELL
        return (2 * half + 1, 2 * half + 1, half + 1)

    def _half_axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        full = np.arange(-self.reach, self.reach + 1, dtype=np.float64)
        return full[:, None, None], full[None, :, None], full[None, None, self.reach :]

    @cached_property
    def _gridding(self) -> FloatArray:
        """Transform of the trilinear kernel over the working box (separable sinc^2)."""
        x = (np.arange(self.box) - self.box // 2) / self.padded_box
        line = np.sinc(x) ** 2
        out: FloatArray = (line[:, None, None] * line[None, :, None] * line).astype(np.float32)
        return out

    @property
    def _scale(self) -> float:
        return (self.box_px / self.box) ** 3 / self.box_px

    def to_fourier(self, volumes: FloatArray, channels: int = 0, workers: int = 1) -> ComplexArray:
        """Oversampled half-space transforms of real volumes, ready to read slices from.

        Parameters
        ----------
        volumes : (c, box, box, box) float32
            Real volumes in the working box.
        channels : int
            Number of volumes to make room for; channels beyond those given stay zero.
        workers : int
            Threads.

        Returns
        -------
        (z, y, x, c) complex64
            Channels last; `half_shape` first.
        """
        return self.side_by_side(self.transforms(volumes, workers), channels, workers)

    def transforms(self, volumes: Iterable[FloatArray], workers: int = 1) -> list[ComplexArray]:
        """Oversampled transforms of real volumes (box, box, box), each `stored` part alone."""
        n, k = self.padded_box, self.stored
        turn = np.exp(2j * np.pi * (self.box // 2) / n * k)  # the origin is in the middle
        phases = self._scale * turn[:, None, None] * turn[:, None] * turn[k >= 0]
        phases = phases.astype(np.complex64)

        def transform(volume: FloatArray) -> ComplexArray:
            # One axis after the other: most of the padding is never transformed.
            t = fft.rfft(volume / self._gridding, n, axis=2)[..., k[k >= 0]]
            out: ComplexArray = fft.fft(fft.fft(t, n, axis=1)[:, k], n, axis=0)[k] * phases
            return out

        with concurrent.futures.ThreadPoolExecutor(max(workers, 1)) as pool:
            return list(pool.map(transform, volumes))

    def side_by_side(
        self, transforms: Sequence[ComplexArray], channels: int = 0, workers: int = 1
    ) -> ComplexArray:
        """Interleave transforms channel-last, as `to_fourier` returns them."""
        out = aligned_array(self.half_shape + (max(channels, len(transforms)),), np.complex64)
        margin = self.stored_part[0].start

        def fill(layers: slice) -> None:
            out[layers] = 0
            stored = slice(max(layers.start - margin, 0), max(layers.stop - margin, 0))
            for c, t in enumerate(transforms):
                out[self.stored_part][stored, ..., c] = t[stored]

        cuts = np.linspace(0, len(out), max(workers, 1) + 1).astype(int)
        with concurrent.futures.ThreadPoolExecutor(max(workers, 1)) as pool:
            list(pool.map(fill, map(slice, cuts[:-1], cuts[1:])))
        return out

    def to_real(self, transform: ComplexArray, workers: int = 1) -> FloatArray:
        """Real volume in the working box from an oversampled half-space transform.

        Parameters
        ----------
        transform : `half_shape` complex64
            One oversampled half-space.
        workers : int
            Threads of the transform.

        Returns
        -------
        (box, box, box) float32
        """
        n, k = self.padded_box, self.stored
        inside = np.arange(self.box) - self.box // 2
        t = transform[self.stored_part]
        for axis in (0, 1):
            shape = t.shape[:axis] + (n,) + t.shape[axis + 1 :]
            full = np.zeros(shape, np.complex64)
            full[(slice(None),) * axis + (k,)] = t
            t = fft.ifft(full, axis=axis, workers=workers).take(inside, axis=axis, mode="wrap")
        volume = fft.irfft(t, n, axis=2, workers=workers).take(inside, axis=2, mode="wrap")
        out: FloatArray = (volume / (self._scale * self._gridding)).astype(np.float32)
        return out

    @cached_property
    def stored(self) -> IntArray:
        """Indices of the oversampled transform that are stored, along z or y.

        Small grids store a margin that lies beyond the transform's own end; it stays zero.
        """
        r = min(self.reach, self.padded_box // 2 - 1)
        return np.arange(-r, r + 1)

    @property
    def stored_part(self) -> tuple[slice, ...]:
        """Place of these in an array of `half_shape`."""
        r = int(self.stored[-1])
        return (slice(self.reach - r, self.reach + r + 1),) * 2 + (slice(0, r + 1),)

    @cached_property
    def box_shells(self) -> IntArray:
        """Shell of each voxel of ``rfftn`` of the working box; `n_shells` for all beyond, int."""
        f = fft.fftfreq(self.box, 1 / self.box)
        x = fft.rfftfreq(self.box, 1 / self.box)
        shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + x**2))
        out: IntArray = np.minimum(shell.astype(int), self.n_shells)
        return out

    def shell_profile(self, volume: FloatArray, other: FloatArray | None = None) -> FloatArray:
        """Mean power of a working-box volume in each shell, (n_shells,) float64.

        With a second volume, the mean of their cross power (which noise does not bias).
        """
        one = fft.rfftn(volume)
        power = cross_power(one, one if other is None else fft.rfftn(other))
        power = power.astype(np.float64) * self._scale**2
        x = fft.rfftfreq(self.box, 1 / self.box)
        shell = self.box_shells
        weight = np.where((x == 0) | (x == self.box // 2), 1.0, 2.0) * np.ones_like(power)
        total = np.bincount(shell.ravel(), (power * weight).ravel())
        return (total / np.bincount(shell.ravel(), weight.ravel()))[: self.n_shells]

    def band_limit(self, volume: FloatArray) -> FloatArray:
        """Remove everything finer than the resolution, same box, float32."""
        f = fft.fftfreq(self.box, 1 / self.box)
        x = fft.rfftfreq(self.box, 1 / self.box)
        keep = f[:, None, None] ** 2 + f[None, :, None] ** 2 + x**2 < self.cutoff**2
        spectrum = np.where(keep, fft.rfftn(volume), 0)
        out: FloatArray = fft.irfftn(spectrum, s=volume.shape).astype(np.float32)
        return out

    def moments(self, volume: FloatArray) -> FloatArray:
        """A volume times x, y and z (pixels of the particles' box), (3, box, box, box) float32."""
        axis = (np.arange(self.box) - self.box // 2) * np.float32(self.box_px / self.box)
        return np.stack(
            [volume * axis, volume * axis[:, None], volume * axis[:, None, None]]
        ).astype(np.float32)

    def to_particle_box(self, volume: FloatArray) -> FloatArray:
        """Volume resampled to the particles' box and sampling (Fourier padding), float32.

        Densities keep their values; nothing finer than the resolution is added.
        """
        return np.concatenate(list(self.particle_box_blocks(volume)))

    def particle_box_blocks(self, volume: FloatArray) -> Iterator[FloatArray]:
        """`to_particle_box` in blocks of planes along z: the whole need not be in memory."""
        n, b = self.box_px, self.box
        limited = self.band_limit(volume)
        if n == b:
            yield limited
            return

        def widened(part: FloatArray, axis: int) -> FloatArray:
            low, high = np.split(part, 2, axis=axis)
            shape = list(part.shape)
            shape[axis] = n - b
            part = np.concatenate([low, np.zeros(shape, np.complex64), high], axis=axis)
            out: FloatArray = fft.ifft(part, axis=axis, overwrite_x=True)
            return out

        # Both origins are the centre, n and b are even: the signs that shift them cancel.
        lines = widened(fft.rfftn(limited)[:, :, : b // 2] * np.float32((n / b) ** 3), 0)
        for first in range(0, n, PLANES):
            yield fft.irfft(widened(lines[first : first + PLANES], 1), n, axis=2)

    def from_particle_box(self, volume: FloatArray) -> FloatArray:
        """Volume of the particles' box Fourier-cropped to the working box, float32."""
        n, b = self.box_px, self.box
        full = fft.fftshift(fft.rfftn(fft.ifftshift(np.asarray(volume, np.float32))), axes=(0, 1))
        lo = n // 2 - b // 2
        small = fft.ifftshift(full[lo : lo + b, lo : lo + b, : b // 2 + 1], axes=(0, 1))
        real = fft.fftshift(fft.irfftn(small, s=(b, b, b)))
        return self.band_limit((real * (b / n) ** 3).astype(np.float32))


def _even_fast_length(n: float) -> int:
    """Smallest even length of at least `n` with small prime factors."""
    length = int(np.ceil(n))
    while True:
        length = fft.next_fast_len(length, real=False)
        if length % 2 == 0:
            out: int = length
            return out
        length += 1


def radial_distance(box: int) -> FloatArray:
    """Distance of each voxel of a cube from its origin, pixels, float32."""
    axis = (np.arange(box) - box // 2).astype(np.float32)
    out: FloatArray = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2)
    return out
