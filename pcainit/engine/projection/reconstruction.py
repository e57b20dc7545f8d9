"""Wiener reconstructions: the consensus with its noise and signal spectra, and many at once."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable

import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.products import power
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.masks import soft_edge
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.projection.slices import insert_slices, residual_power

# The consensus is worth a finer grid: at 1.5 its outer shells lose 0.3 % of their correlation.
CONSENSUS_PADDING = 2.0
TELLING_NOISE = 20000  # particles tell the noise of all


@dataclass(frozen=True, eq=False)
class Consensus:
    """The mean of all particles and the two spectra that every Wiener filter needs.

    Parameters
    ----------
    mean : (box, box, box) float32
        Working box, the data's own greyscale.
    noise : (n_shells,) float64
        Noise variance of a Fourier sample.
    signal : (n_shells,) float64
        Mean power of the volume's transform.
    fsc : (n_shells,) float64
        Between the two half-sets.
    """

    mean: FloatArray
    noise: FloatArray
    signal: FloatArray
    fsc: FloatArray

    def whitening(self, grid: Grid) -> FloatArray:
        """One over the noise's standard deviation at each sample, (p,) float32."""
        out: FloatArray = (1 / np.sqrt(self.noise[grid.shell])).astype(np.float32)
        return out


def wiener_volume(
    numerator: ComplexArray, weight: FloatArray, noise: FloatArray, signal: FloatArray, grid: Grid
) -> FloatArray:
    """Volume from back-projected sums: numerator / (weight + noise / signal).

    Equation (4) of docs/theory.md.

    Parameters
    ----------
    numerator : `Grid.half_shape` complex64
        Sum of CTF x value over noise variance.
    weight : `Grid.half_shape` float32
        Sum of CTF^2 over noise variance.
    noise : (n_shells,) float64
        Noise variance that the sums have not been divided by (1 when they have).
    signal : (n_shells,) float64
        Expected power of the volume's transform.
    grid : Grid
        Working grid: its samples, shells and boxes.

    Returns
    -------
    (box, box, box) float32
    """
    # Oversampling spreads each coefficient's information over os^3 grid points.
    prior = np.zeros(max(grid.n_shells, int(grid.shell_map.max()) + 1))
    prior[: grid.n_shells] = noise / (np.maximum(signal, 1e-30) * grid.oversampling**3)
    beyond = grid.shell_map >= grid.n_shells
    denominator = weight + prior[grid.shell_map].astype(np.float32)
    estimate = np.where(beyond, 0, numerator / np.maximum(denominator, 1e-30))
    return grid.band_limit(grid.to_real(estimate.astype(np.complex64)))


def fourier_shell_correlation(one: FloatArray, two: FloatArray, grid: Grid) -> FloatArray:
    """FSC of two working-box volumes, (n_shells,) float64.

    Parameters
    ----------
    one, two : (box, box, box) float32
        Volumes in the working box.
    grid : Grid
        Working grid: its samples, shells and boxes.

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.geometry.grid import Grid
    >>> from pcainit.engine.projection.reconstruction import fourier_shell_correlation
    >>> grid = Grid(box_px=32, sampling=5.0, resolution=20.0)
    >>> volume = np.random.default_rng(0).standard_normal((grid.box,) * 3).astype(np.float32)
    >>> bool(np.allclose(fourier_shell_correlation(volume, 2 * volume, grid), 1))
    True
    """
    cross = grid.shell_profile(one, two)
    power = grid.shell_profile(one) * grid.shell_profile(two)
    out: FloatArray = cross / np.sqrt(np.maximum(power, 1e-60))
    return out


def reconstruct_consensus(slices: Slices, symmetry: FloatArray | None = None) -> Consensus:
    """Mean of all usable particles, noise variance per shell, signal power per shell.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    symmetry : (s, 3, 3), optional
        Matrices of the point group; none for c1.

    Returns
    -------
    Consensus
    """
    grid = dataclasses.replace(slices.grid, padding=CONSENSUS_PADDING)
    halves = np.stack([slices.half == 1, slices.half == 2], axis=1) & slices.usable[:, None]
    numerator, weight = insert_slices(
        slices.values,
        slices.ctf,
        slices.rotations,
        grid,
        weights=halves.astype(np.float32),
        symmetry=symmetry,
    )
    numerator, weight = numerator[0], weight[0]
    # First guess of both spectra: all is noise, and a signal of about that power.
    usable = np.flatnonzero(slices.usable)
    telling = subsample(usable, TELLING_NOISE)
    sample = power(slices.values[usable[:5000]])
    count = np.bincount(grid.shell)
    noise = np.bincount(grid.shell, sample.mean(axis=0)) / count / slices.seen
    signal = np.full(grid.n_shells, noise.mean())
    ball = soft_edge(radial_distance(grid.box), 0.45 * grid.box, 0.5 * grid.box)
    for _ in range(2):
        one, two = (
            wiener_volume(n, w, noise, signal, grid) * ball for n, w in zip(numerator, weight)
        )
        fsc = fourier_shell_correlation(one, two, grid)
        signal = _signal_power(grid.shell_profile(one, two), grid)
        mean = wiener_volume(numerator.sum(axis=0), weight.sum(axis=0), noise, signal, grid)
        noise = measure_noise(slices, mean, telling, grid)
    return Consensus(mean, noise, signal, fsc)


def measure_noise(
    slices: Slices, mean: FloatArray, index: IntArray, grid: Grid | None = None
) -> FloatArray:
    """Mean power that the projections of a mean leave of some particles, where they are seen.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    mean : (box, box, box) float32
        Volume whose projections are taken off.
    index : (m,) int
        Rows of the particles that are looked at.
    grid : Grid, optional
        To project on; the slices' own by default.

    Returns
    -------
    (n_shells,) float64
        Noise variance of a Fourier sample in each shell.
    """
    grid = grid or slices.grid
    return (
        residual_power(
            slices.values, slices.ctf, slices.rotations, index, grid.to_fourier(mean[None]), grid
        )
        / slices.seen
    )


def _signal_power(cross: FloatArray, grid: Grid) -> FloatArray:
    """Half-set cross power made positive: shells of noise get a thousandth of the strongest."""
    floor = 1e-3 * max(float(np.max(cross[1:])), 1e-30)
    power = np.maximum(cross, floor)
    power[0] = max(power[0], power[1])
    return power


def reconstruct_groups(
    slices: Slices,
    groups: list[IntArray],
    consensus: Consensus,
    *,
    symmetry: FloatArray | None = None,
    at_a_time: int = 16,
    progress: Callable[[float], None] = lambda share: None,
) -> FloatArray:
    """One Wiener volume for each group of particles.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    groups : list of (k,) int arrays
        Rows of the particles of each volume.
    consensus : Consensus
        Gives the noise and signal spectra of the Wiener filter.
    symmetry : (s, 3, 3), optional
        Matrices of the point group; none for c1.
    at_a_time : int
        Groups held in memory together.
    progress : callable
        Told the share that is done.

    Returns
    -------
    (len(groups), box, box, box) float32
    """
    grid = slices.grid
    volumes = np.empty((len(groups),) + (grid.box,) * 3, np.float32)
    for first in range(0, len(groups), at_a_time):
        some = groups[first : first + at_a_time]
        numerator, weight = insert_slices(
            slices.values, slices.ctf, slices.rotations, grid, groups=some, symmetry=symmetry
        )
        for k in range(len(some)):
            volumes[first + k] = wiener_volume(
                numerator[k, 0], weight[k, 0], consensus.noise, consensus.signal, grid
            )
        progress((first + len(some)) / len(groups))
    return volumes
