"""Beam tilt and higher aberrations: phases of the images, and of the CTF, as RELION defines them.

Odd polynomials turn the phase of the image at the frequency k by their value there, and so move
fine detail against coarse; even ones are taken from the phase of the CTF.  Both are sums of
Zernike polynomials in the frequency (1/Angstrom, not scaled), at the specimen's frequencies where
the image is magnified.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.images.ctf import electron_wavelength


@dataclass(frozen=True, eq=False)
class Aberrations:
    """Aberrations of some particles' images.

    Parameters
    ----------
    odd, even : (g, c) float64
        Coefficients of each group, in the order of `polynomial`.
    of : (n,) int32
        Group of each particle's image.
    """

    odd: FloatArray
    even: FloatArray
    of: IntArray

    def take(self, index: IntArray | slice) -> Aberrations:
        """The aberrations of some of the particles."""
        return dataclasses.replace(self, of=self.of[index])

    def turn_back(self, crops: ComplexArray, frequencies: FloatArray) -> ComplexArray:
        """Undo the odd ones in the crops (n, p) of these particles."""
        if not self.odd.any():
            return crops
        groups, mine = np.unique(self.of, return_inverse=True)
        phase = total(self.odd[groups], True, frequencies)
        back = (np.cos(phase) - 1j * np.sin(phase)).astype(np.complex64)
        out: ComplexArray = crops * back[mine.ravel()]
        return out

    def offset(self, frequencies: FloatArray) -> FloatArray | None:
        """What the even ones take from the CTF's phase, (n, p) float64; None for nothing."""
        if not self.even.any():
            return None
        groups, mine = np.unique(self.of, return_inverse=True)
        out: FloatArray = total(self.even[groups], False, frequencies)[mine.ravel()]
        return out

    def largest(self, resolution: float) -> FloatArray:
        """Largest phase of each particle up to a resolution, (n,) radians."""
        radius, angle = np.meshgrid(np.linspace(0, 1 / resolution, 33), np.linspace(0, np.pi, 37))
        frequencies = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        frequencies = frequencies.reshape(-1, 2)
        phases = [
            np.abs(total(values, odd, frequencies)).max(axis=1)
            for values, odd in ((self.odd, True), (self.even, False))
        ]
        out: FloatArray = np.maximum(*phases)[self.of]
        return out


def with_tilt(
    odd: FloatArray, tilt: FloatArray, voltage: FloatArray, aberration: FloatArray
) -> FloatArray:
    """Odd coefficients with what beam tilt adds to them.

    Parameters
    ----------
    odd : (n, c) float64
        Five at least.
    tilt : (n, 2) float64
        mrad.
    voltage : (n,) float64
        kV.
    aberration : (n,) float64
        Spherical aberration, mm.
    """
    # Coma, -(2 pi Cs lambda^2) k^2 (k . tilt), in the polynomials (3 r^3 - 2 r) and r.
    coma = 2 * np.pi * aberration * 1e7 * electron_wavelength(voltage) ** 2 * 1e-3
    share = -coma[:, None] * tilt / 3
    out = odd.copy()
    out[:, 3] += share[:, 1]
    out[:, 4] += share[:, 0]
    out[:, 0] += 2 * share[:, 1]
    out[:, 1] += 2 * share[:, 0]
    return out


def total(coefficients: FloatArray, odd: bool, frequencies: FloatArray) -> FloatArray:
    """Sum of polynomials with coefficients (g, c) at frequencies (p, 2), (g, p) radians."""
    fx, fy = np.asarray(frequencies, np.float64).T
    radius, angle = np.hypot(fx, fy), np.arctan2(fy, fx)
    out = np.zeros((len(coefficients), len(fx)))
    for i in range(coefficients.shape[1]):
        if coefficients[:, i].any():
            out += coefficients[:, i, None] * polynomial(i, odd, radius, angle)
    return out


def polynomial(i: int, odd: bool, radius: FloatArray, angle: FloatArray) -> FloatArray:
    """The i-th odd or even Zernike polynomial in RELION's order.

    Odd ones have (m, n) = (-1, 1), (1, 1), (-3, 3), (-1, 3), (1, 3), (3, 3) and so on, even ones
    (0, 0), (-2, 2), (0, 2), (2, 2), (-4, 4) and so on; sines for negative m.
    """
    if odd:
        k = int((np.sqrt(1 + 4 * i) - 1) / 2 + 1e-9)
        n = 2 * k + 1
        m = 2 * (i - k * (k + 1)) - n
    else:
        k = int(np.sqrt(i) + 1e-9)
        n, m = 2 * k, 2 * (i - k * k - k)
    turn = np.cos(m * angle) if m >= 0 else np.sin(-m * angle)
    out: FloatArray = _radial(n, abs(m), radius) * turn
    return out


def _radial(n: int, m: int, radius: FloatArray) -> FloatArray:
    """Radial part of a Zernike polynomial."""
    value, factorial = np.zeros(radius.shape), np.cumprod([1.0, *range(1, n + 1)])
    for k in range((n - m) // 2 + 1):
        share = factorial[k] * factorial[(n + m) // 2 - k] * factorial[(n - m) // 2 - k]
        value += (-1) ** k * factorial[n - k] / share * radius ** (n - 2 * k)
    return value
