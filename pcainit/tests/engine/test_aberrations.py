"""Images with beam tilt and higher aberrations, made in Fourier space, are as without them."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.aberrations import Aberrations, with_tilt
from pcainit.engine.images.crop import crop_particles
from pcainit.engine.images.kinds import ImageKinds
from pcainit.engine.images.particles import CTF, Particles

BOX, PIXEL, COUNT = 48, 3.0, 6
STRETCH = np.array([[1.0, 0.03], [0.0, 0.97]])  # its largest singular value is near 1


def particles_with(matrix, aberrations):
    """Particles of one magnification that share their optics."""
    values = dict(
        defocus_u=12000.0,
        defocus_v=11000.0,
        defocus_angle=30.0,
        phase_shift=0.0,
        voltage=300.0,
        spherical_aberration=2.7,
        amplitude_contrast=0.1,
        b_factor=0.0,
        scale=1.0,
    )
    kinds = ImageKinds(np.array([BOX]), np.array([PIXEL]), matrix[None], np.zeros(COUNT, np.int32))
    return Particles(
        stacks=("none",),
        stack=np.zeros(COUNT, np.int32),
        row=np.arange(COUNT),
        rotations=np.tile(np.eye(3, dtype=np.float32), (COUNT, 1, 1)),
        shifts_px=np.zeros((COUNT, 2), np.float32),
        ctf=CTF(**{name: np.full(COUNT, value) for name, value in values.items()}),
        half=np.ones(COUNT, np.int8),
        box_px=BOX,
        sampling=PIXEL,
        kinds=None if (matrix == np.eye(2)).all() else kinds,
        aberrations=aberrations,
    )


def crop(particles, images):
    grid = Grid(BOX, PIXEL, 9.0)
    chunk = (np.arange(COUNT), lambda: images.astype(np.float32))
    return crop_particles(particles, grid, [chunk])[0]


@pytest.mark.parametrize("matrix", [np.eye(2), STRETCH], ids=["plain", "stretched"])
def test_what_beam_tilt_and_trefoil_turn_is_turned_back(matrix):
    """RELION's images have minus the phase of coma, plus that of an odd polynomial."""
    rng = np.random.default_rng(1)
    f = np.fft.fftfreq(BOX, PIXEL)
    fx, fy = np.einsum("ij,jyx->iyx", matrix, np.meshgrid(f, f))
    tilt, trefoil, wave = np.array([2.0, -3.0]), 150.0, 0.0196875
    coma = 2 * np.pi * 2.7e7 * wave**2 * 1e-3 * (fx**2 + fy**2) * (fx * tilt[0] + fy * tilt[1])
    phase = -coma + trefoil * (3 * fx**2 * fy - fy**3)  # r^3 sin of three times the angle
    # Band-limited, and small about the middle: sampled between the frequencies as well.
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    images = rng.normal(size=(COUNT, BOX, BOX)) * np.exp(-(x**2 + y**2) / 50)
    spectrum = np.fft.fft2(images) * (np.hypot(*np.meshgrid(f, f)) < 1 / 7.5)
    clean = np.fft.ifft2(spectrum).real
    turned = np.fft.ifft2(spectrum * np.exp(1j * phase)).real
    odd = with_tilt(
        np.array([[0.0, 0, trefoil, 0, 0, 0]]), tilt[None], np.array([300.0]), np.array([2.7])
    )
    aberrations = Aberrations(odd, np.zeros((1, 0)), np.zeros(COUNT, np.int32))
    assert aberrations.largest(9.0).min() > 0.3
    expected = crop(particles_with(matrix, None), clean)
    found = crop(particles_with(matrix, aberrations), turned)
    size = np.abs(expected.values).max()
    assert np.abs(found.values - expected.values).max() < 0.02 * size
    unturned = crop(particles_with(matrix, None), turned)
    assert np.abs(unturned.values - expected.values).max() > 0.1 * size
    assert np.array_equal(found.ctf, expected.ctf)


def test_even_ones_are_taken_from_the_phase_of_the_ctf():
    """The first polynomial is a constant: what a phase plate of as much the other way does."""
    even = Aberrations(np.zeros((1, 0)), np.array([[0.4]]), np.zeros(COUNT, np.int32))
    images = np.random.default_rng(2).normal(size=(COUNT, BOX, BOX))
    found = crop(particles_with(np.eye(2), even), images)
    plain = particles_with(np.eye(2), None)
    shifted = dataclasses.replace(plain.ctf, phase_shift=np.full(COUNT, -np.degrees(0.4)))
    expected = crop(dataclasses.replace(plain, ctf=shifted), images)
    assert np.allclose(found.ctf, expected.ctf, atol=1e-5)
    assert np.array_equal(found.values, expected.values)
    assert not np.allclose(found.ctf, crop(plain, images).ctf, atol=0.1)
