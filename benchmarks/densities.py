"""Densities that can be added to particles or taken away, and their projections with the CTF."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.images.crop import shift_phases
from pcainit.engine.images.ctf import evaluate_ctf
from pcainit.engine.images.particles import CTF
from pcainit.engine.projection.slices import extract_slices

VOLUME = 1210.0  # A^3 per kDa of protein
BAND = (15.0, 100.0)  # A: where density is compared; finer is noise, coarser background
THICKNESS, NEAR = 30.0, 0.9  # of a cap on the outside, A; cosine of what is in its direction
EDGE = 0.98  # share of the particle's voxels that lie within its radius
PART = 256  # images at a time


class Projector:
    """Noiseless images of a volume, in its own box.

    Parameters
    ----------
    volume : (box, box, box) float32
    sampling : float
        Angstrom per pixel.
    """

    def __init__(self, volume: np.ndarray, sampling: float) -> None:
        self.grid = Grid(len(volume), sampling, 2 * sampling, padding=2.0)
        self._transform = self.grid.to_fourier(self.grid.from_particle_box(volume)[None])

    def images(self, ctf: CTF | None, rotations: np.ndarray, shifts_px: np.ndarray) -> np.ndarray:
        """Of particles at these poses, with their CTF.

        Parameters
        ----------
        ctf : CTF or None
        rotations : (n, 3, 3)
        shifts_px : (n, 2)
            That would centre the images.

        Returns
        -------
        (n, box, box) float32
        """
        grid, box = self.grid, self.grid.box_px
        kx, ky = grid.frequencies.T
        mates = (kx == 0) & (ky > 0)
        out = np.empty((len(rotations), box, box), np.float32)
        for first in range(0, len(out), PART):
            part = slice(first, first + PART)
            values = extract_slices(self._transform, rotations[part], grid)[:, :, 0]
            values *= np.conj(shift_phases(shifts_px[part], grid))
            if ctf is not None:
                values *= evaluate_ctf(ctf.take(part), grid.frequencies / (box * grid.sampling))
            half = np.zeros((len(values), box, box // 2 + 1), np.complex64)
            half[:, ky, kx] = values
            half[:, -ky[mates], 0] = np.conj(values[:, mates])
            out[part] = fft.fftshift(fft.irfft2(half, s=(box, box)), axes=(1, 2)) * box
        return out


def band_pass(volume: np.ndarray, sampling: float) -> np.ndarray:
    """What of a volume lies between the two resolutions of `BAND`, softly."""
    axes = [fft.fftfreq(len(volume), sampling)] * 2 + [fft.rfftfreq(len(volume), sampling)]
    square = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))
    fine, coarse = (np.exp(-square * (length / 2) ** 2) for length in BAND)
    return fft.irfftn(fft.rfftn(volume) * fine * (1 - coarse), s=volume.shape)


def solid_of(consensus: np.ndarray, sampling: float, mass: float) -> tuple[np.ndarray, float]:
    """Where the protein is, and its density on the images' greyscale.

    The densest voxels that hold its mass; their level from the map between 15 and 100 A.

    Parameters
    ----------
    consensus : (box, box, box)
    sampling : float
    mass : float
        Of the whole particle, kDa.

    Returns
    -------
    (box, box, box) bool
    float
    """
    inside = radial_distance(len(consensus)) < 0.45 * len(consensus)
    smooth = np.where(inside, gaussian_filter(consensus, 1), consensus.min())
    count = int(mass * VOLUME / sampling**3)
    if count >= inside.sum():
        raise SystemExit("A particle of %g kDa does not fit into the box." % mass)
    solid = smooth > np.partition(smooth.ravel(), -count)[-count]
    one, two = (band_pass(v, sampling)[inside] for v in (consensus, solid.astype(np.float32)))
    return solid, float(one @ two / (two @ two))


def make_density(
    kind: str,
    kda: float,
    solid: np.ndarray,
    level: float,
    sampling: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A density to be added to some of the particles, in a random direction.

    Parameters
    ----------
    kind : str
        `outside`: a cap on the surface; `cavity`: a ball that touches the wall from inside;
        `subunit`: a compact piece of the particle, negative, to take it away.
    kda : float
    solid, level : see `solid_of`
    sampling : float
    rng : Generator

    Returns
    -------
    (box, box, box) float32
    """
    box, volume = len(solid), kda * VOLUME
    axis = (np.arange(box) - box // 2) * sampling
    place = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], axis=-1)  # x, y, z
    radius = np.sqrt((place**2).sum(axis=-1))
    direction = Rotation.random(random_state=rng).as_matrix()[2]
    cosine = place @ direction / np.maximum(radius, 1e-6)
    if kind == "outside":
        near = solid & (cosine > NEAR)
        low = np.quantile(radius[near if near.any() else solid], EDGE)
        high = low + THICKNESS
        share = volume * 3 / (high**3 - low**3) / (2 * np.pi)
        if high > 0.5 * box * sampling or share > 1:
            raise SystemExit("There is no room for %g kDa outside the particle." % kda)
        piece = (radius > low) & (radius < high) & (cosine > 1 - share)
    elif kind == "cavity":
        wall, ball = np.quantile(radius[solid], 1 - EDGE), (volume * 3 / 4 / np.pi) ** (1 / 3)
        if ball > wall:
            raise SystemExit("There is no cavity for %g kDa." % kda)
        piece = ((place - (wall - ball) * direction) ** 2).sum(axis=-1) < ball**2
    elif kind == "subunit":
        middle = np.median(radius[solid]) * direction
        away = np.where(solid, ((place - middle) ** 2).sum(axis=-1), np.inf)
        count = min(int(volume / sampling**3), int(solid.sum()))
        piece, level = away <= np.partition(away.ravel(), count - 1)[count - 1], -level
    else:
        raise SystemExit("%r is no kind of density: outside, cavity or subunit." % kind)
    return level * gaussian_filter(piece.astype(np.float32), 1)
