"""What surrounds a simulated particle: its neighbours, a smooth background, normalisation."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

import numpy as np
from scipy import fft
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.images.ctf import electron_wavelength, evaluate_ctf

if TYPE_CHECKING:
    from pcainit.engine.simulation.simulate import Truth

PER_PLANE = 25  # particles drawn together; each image is cut from around one of them
CORE = 0.6  # diameter of the disc that no other particle's centre enters, boxes
CIRCLE = 0.375  # radius of the circle outside which is background, boxes (RELION's default)
_PAD = 8  # what a drawn particle gets beyond its box, pixels
_PROPOSALS = 500  # places proposed at once
_PATIENCE = 200  # proposals in vain (in those) after which a plane is begun anew


def place_particles(
    offsets: FloatArray, diameter: float, coverage: float, rng: np.random.Generator
) -> tuple[FloatArray, int]:
    """Place discs at random on a periodic plane, none overlapping another.

    Parameters
    ----------
    offsets : (n, 2) float
        What each particle's centre has beyond a whole pixel, pixels.
    diameter : float
        Of the discs, pixels.
    coverage : float
        Share of the plane that the discs cover; 0.5 at most (random placing jams at 0.547).
    rng : numpy.random.Generator

    Returns
    -------
    places : (n, 2) int
        The whole pixels: centres are at ``places + offsets``.
    side : int
        Of the plane, pixels.
    """
    n = len(offsets)
    side = int(np.ceil(np.sqrt(n * np.pi * diameter**2 / 4 / coverage)))
    places: list[FloatArray] = []
    centres = np.empty((n, 2))
    vain = 0
    while len(places) < n:
        k = len(places)
        proposed = rng.integers(0, side, (_PROPOSALS, 2))
        apart = proposed[:, None] + offsets[k] - centres[None, :k]
        apart -= side * np.round(apart / side)
        free = np.flatnonzero(((apart**2).sum(axis=2) >= diameter**2).all(axis=1))
        if len(free):
            places.append(proposed[free[0]])
            centres[k] = places[k] + offsets[k]
            vain = 0
        else:
            vain += 1
            if vain == _PATIENCE:
                places, vain = [], 0
    return np.array(places), side


def crowded_views(truth: Truth, crowding: float, seed: int) -> Iterator[FloatArray]:
    """The particles one after the other with all their neighbours, (box, box), without noise.

    `PER_PLANE` particles lie in one plane, with their own states, poses and contrasts.  What
    lies around one of them is multiplied by its CTF before the image is cut.  Junk leaves its
    place empty.

    Parameters
    ----------
    truth : Truth
    crowding : float
        Share of the plane that the particles' discs (`CORE`) cover.
    seed : int
    """
    n, box, sampling = len(truth.state), truth.particles.box_px, truth.particles.sampling
    size = _field_size(truth)
    fy, fx = fft.fftfreq(size, sampling), fft.rfftfreq(size, sampling)
    spatial = np.stack(np.broadcast_arrays(fx[None, :], fy[:, None]), axis=-1).reshape(-1, 2)
    around, inside = (
        np.arange(size) - size // 2,
        slice(size // 2 - box // 2, size // 2 - box // 2 + box),
    )
    for first in range(0, n, PER_PLANE):
        rng = np.random.default_rng([seed, 4, first // PER_PLANE])
        rows = np.arange(first, min(first + PER_PLANE, n))
        places, plane = _draw_plane(truth, rows, crowding, rng)
        for i, (x, y) in zip(rows, places):
            field = plane[np.ix_((y + around) % len(plane), (x + around) % len(plane))]
            ctf = evaluate_ctf(truth.ctf.take(slice(i, i + 1)), spatial)[0]
            seen = fft.irfft2(fft.rfft2(field) * ctf.reshape(size, -1), s=(size, size))
            yield seen[inside, inside].astype(np.float64)


def _field_size(truth: Truth) -> int:
    """Side of what is multiplied by the CTF: the box and as far as the CTF carries signal."""
    box, sampling, ctf = truth.particles.box_px, truth.particles.sampling, truth.ctf
    highest = 1 / (np.sqrt(2) * sampling)  # in the corners of the transform
    carried = (
        electron_wavelength(ctf.voltage) * np.maximum(ctf.defocus_u, ctf.defocus_v) * highest
    ).max() / sampling
    out: int = 2 * fft.next_fast_len(box // 2 + int(min(np.ceil(carried) + 4, box)), real=True)
    return out


def _draw_plane(
    truth: Truth, rows: IntArray, crowding: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Whole pixels (x, y) of the particles of a plane, and the plane, CTF not applied.

    Where `rows` are few, further particles like those of the set fill the plane.
    """
    box, sampling = truth.particles.box_px, truth.particles.sampling
    more = rng.integers(0, len(truth.state), PER_PLANE - len(rows))
    about_z = np.radians(rng.uniform(0, 360, PER_PLANE))[:, None] * np.array([0.0, 0.0, 1.0])
    turns = Rotation.from_rotvec(about_z).as_matrix()
    members = np.concatenate([rows, more])
    rotations = truth.rotations[members].copy()
    rotations[len(rows) :] = turns[len(rows) :] @ rotations[len(rows) :]
    places, side = place_particles(-truth.shifts_px[members], CORE * box, crowding, rng)
    plane, size = np.zeros((side, side), np.float32), box + _PAD
    around = np.arange(size) - size // 2
    for i, rotation, (x, y) in zip(members, rotations, places):
        if truth.state[i] >= 0:
            stamp = (
                truth.phantoms[truth.state[i]].projection(
                    rotation, truth.shifts_px[i], size, sampling
                )
                * truth.contrast[i]
            )
            plane[np.ix_((y + around) % side, (x + around) % side)] += stamp
    return places, plane


def draw_backgrounds(count: int, box_px: int, deviation: float, seed: int) -> Iterator[FloatArray]:
    """Smooth backgrounds one after the other, (box, box): a pedestal, slopes and bends.

    Each is a random sum of six shapes of the same mean square: a pedestal over the particle, two
    slopes and three bends (of second degree) over the box.

    Parameters
    ----------
    count, box_px : int
    deviation : float
        Root of the mean square over all images and pixels.
    seed : int
    """
    axis = (np.arange(box_px) - (box_px - 1) / 2) / box_px
    x, y = np.broadcast_arrays(axis[None, :], axis[:, None])
    radius = np.hypot(x, y)
    pedestal = 0.5 * np.cos(np.pi * np.clip((radius - 0.25) / 0.2, 0, 1)) + 0.5
    bend = radius**2 - (radius**2).mean()
    shapes = np.stack([pedestal, x, y, bend, x**2 - y**2, x * y])
    shapes /= np.sqrt((shapes**2).mean(axis=(1, 2), keepdims=True) * len(shapes))
    rng = np.random.default_rng([seed, 5])
    for _ in range(count):
        yield np.tensordot(rng.normal(0, deviation, len(shapes)), shapes, 1)


def measure_background(image: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of an image outside the circle of the particle."""
    box = len(image)
    axis = np.arange(box) - box // 2
    outside = image[np.hypot(axis, axis[:, None]) > CIRCLE * box]
    return float(outside.mean()), float(outside.std())
