"""Images and volumes as the kernels take them, and where the samples of a slice lie."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.jit import OPTIONS, part
from pcainit.engine.compiled.kinds import INT, SINGLE, reads, record
from pcainit.engine.compiled.lanes import LANES, padded, weighted_corners
from pcainit.engine.geometry.grid import Grid


def sample_frequencies(grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Frequencies (kx, ky) of the samples as the kernels take them, two (p,) float32."""
    kx, ky = np.ascontiguousarray(grid.frequencies.T.astype(np.float32))
    return kx, ky


class SlicePlanes(NamedTuple):
    """Positions of central slices, in the form that the kernels take.

    Parameters
    ----------
    rotations : (n, 3, 3) float32
        Specimen to image.
    kx, ky : (p,) float32
        Frequencies of the samples.
    oversampling : float32
    reach : int
        See `Grid`.
    """

    rotations: FloatArray
    kx: FloatArray
    ky: FloatArray
    oversampling: np.float32
    reach: int


class SliceData(NamedTuple):
    """The slices of n images, as the kernels take them.

    Parameters
    ----------
    values : (n, 2p) float32
        Real and imaginary parts in turn.
    ctf, whitening : (n, p), (p,) float32
        The latter is one over the noise's standard deviation at each sample.
    rotations, kx, ky, oversampling, reach
        As of `SlicePlanes`: kernels take no tuple inside a tuple.
    """

    values: FloatArray
    ctf: FloatArray
    whitening: FloatArray
    rotations: FloatArray
    kx: FloatArray
    ky: FloatArray
    oversampling: np.float32
    reach: int


SLICE_PLANES = record(
    SlicePlanes, reads("float32", 3), reads("float32", 1), reads("float32", 1), SINGLE, INT
)


SLICE_DATA = record(
    SliceData,
    reads("float32", 2),
    reads("float32", 2),
    reads("float32", 1),
    reads("float32", 3),
    reads("float32", 1),
    reads("float32", 1),
    SINGLE,
    INT,
)


class Places(NamedTuple):
    """Places of one slice's samples in the stored half-space; see `locate`.

    Parameters
    ----------
    cells : (p,) int32
        Index of the lower corner of the sample's cell among all voxels.
    fractions : (3, p) float32
        Position in the cell along x, y, z.
    signs : (p,) float32
        Sign of the imaginary part: -1 where the Friedel mate is stored.
    """

    cells: IntArray
    fractions: FloatArray
    signs: FloatArray


def slice_planes(rotations: FloatArray, grid: Grid) -> SlicePlanes:
    """Planes of images with given rotations (n, 3, 3)."""
    return SlicePlanes(
        np.asarray(rotations, np.float32),
        *sample_frequencies(grid),
        np.float32(grid.oversampling),
        grid.reach,
    )


def slice_data(
    values: ComplexArray,
    ctf: FloatArray,
    rotations: FloatArray,
    grid: Grid,
    whitening: FloatArray | None = None,
) -> SliceData:
    """Slices as the kernels take them.

    Parameters
    ----------
    values, ctf : (n, p) complex64, (n, p) float32
        Centred transform and CTF of each particle at each sample.
    rotations : (n, 3, 3) float32
        Specimen to image, of each particle.
    grid : Grid
        Working grid: its samples, shells and boxes.
    whitening : (p,) float32, optional
        1 by default.
    """
    if whitening is None:
        whitening = np.ones(values.shape[1], np.float32)
    return SliceData(
        as_floats(values),
        np.asarray(ctf),
        np.asarray(whitening, np.float32),
        *slice_planes(rotations, grid),
    )


@part
def empty_places(n_samples):
    """Room for what `locate` finds."""
    return Places(
        np.empty(n_samples, np.int32),
        np.empty((3, n_samples), np.float32),
        np.empty(n_samples, np.float32),
    )


@part
def locate(rotation, planes, places):
    """Find where each sample of one slice lies in the stored half-space.

    `places` gets it: a `Places`, or whatever else has its fields; `planes` is a `SlicePlanes` or
    has its fields too, of which the rotations are not looked at.
    """
    kx, ky, oversampling, reach = planes.kx, planes.ky, planes.oversampling, planes.reach
    cells, fractions, signs = places.cells, places.fractions, places.signs
    row = np.int32(reach + 1)
    plane = np.int32((2 * reach + 1) * (reach + 1))
    origin = np.int32(reach)
    x, y, z = fractions[0], fractions[1], fractions[2]
    xx, xy = oversampling * rotation[0, 0], oversampling * rotation[1, 0]
    yx, yy = oversampling * rotation[0, 1], oversampling * rotation[1, 1]
    zx, zy = oversampling * rotation[0, 2], oversampling * rotation[1, 2]
    for k in range(len(cells)):
        signs[k] = np.float32(-1) if xx * kx[k] + xy * ky[k] < 0 else np.float32(1)
    for k in range(len(cells)):
        x[k] = signs[k] * (xx * kx[k] + xy * ky[k])
    for k in range(len(cells)):
        y[k] = signs[k] * (yx * kx[k] + yy * ky[k])
    for k in range(len(cells)):
        z[k] = signs[k] * (zx * kx[k] + zy * ky[k])
    for k in range(len(cells)):
        cells[k] = (
            (np.int32(np.floor(z[k])) + origin) * plane
            + (np.int32(np.floor(y[k])) + origin) * row
            + np.int32(np.floor(x[k]))
        )
    for k in range(len(cells)):
        x[k] -= np.floor(x[k])
    for k in range(len(cells)):
        y[k] -= np.floor(y[k])
    for k in range(len(cells)):
        z[k] -= np.floor(z[k])


@numba.njit(inline="always", **OPTIONS)
def read_cell(flat, channels, reach, cells, fractions, k, out, start):
    """Trilinear value of every channel at sample k: ``out[start:start + channels]``.

    `flat` are volumes (z, y, x, channels) in whole `LANES`.
    """
    step_y = (reach + 1) * channels
    step_z = (2 * reach + 1) * step_y
    fx, fy, fz = fractions[0, k], fractions[1, k], fractions[2, k]
    gx, gy, gz = 1 - fx, 1 - fy, 1 - fz
    w00, w01, w10, w11 = gz * gy, gz * fy, fz * gy, fz * fy
    place = cells[k] * channels
    for s in range(0, channels, LANES):
        weighted_corners(
            flat,
            place + s,
            channels,
            step_y,
            step_z,
            w00 * gx,
            w00 * fx,
            w01 * gx,
            w01 * fx,
            w10 * gx,
            w10 * fx,
            w11 * gx,
            w11 * fx,
            out,
            start + s,
        )


def as_floats(array: ComplexArray) -> FloatArray:
    """The same complex64 data as float32, last axis doubled (re, im)."""
    return np.ascontiguousarray(array).view(np.float32)


def in_lanes(transforms: ComplexArray) -> FloatArray:
    """Transforms (z, y, x, c) complex64 as the kernels read them: float32 in whole `LANES`."""
    missing = channel_count(transforms.shape[3]) - transforms.shape[3]
    if missing:
        transforms = np.pad(transforms, [(0, 0)] * 3 + [(0, missing)])
    return as_floats(transforms)


def channel_count(volumes: int) -> int:
    """Number of complex channels for some volumes, in whole `LANES` of real numbers."""
    return padded(2 * volumes) // 2
