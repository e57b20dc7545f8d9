"""The contrast transfer function, as RELION defines it."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray
from pcainit.engine.images.particles import CTF


def electron_wavelength(voltage: FloatArray) -> FloatArray:
    """Relativistic electron wavelength in Angstrom for an acceleration voltage in kV."""
    volts = np.asarray(voltage, np.float64) * 1e3
    return 12.2643247 / np.sqrt(volts * (1.0 + volts * 0.978466e-6))


def evaluate_ctf(ctf: CTF, frequencies: FloatArray, offset: FloatArray | None = None) -> FloatArray:
    """CTF of each particle at each spatial frequency.

    ``sin(pi lambda u^2 dz - pi/2 Cs lambda^3 u^4 + phase shift + asin(Q))``: underfocus is
    positive and the value at zero frequency is plus the amplitude contrast Q (RELION's sign).

    Parameters
    ----------
    ctf : CTF
        Of n particles.
    frequencies : (p, 2) float
        (x, y) spatial frequencies, 1/Angstrom.
    offset : (n, p) float64, optional
        Taken from the phase: even aberrations.

    Returns
    -------
    (n, p) float32

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.images.ctf import evaluate_ctf
    >>> from pcainit.engine.images.particles import CTF
    >>> one = np.ones(1)
    >>> ctf = CTF(15000 * one, 15000 * one, 0 * one, 0 * one, 300 * one, 2.7 * one, 0.1 * one,
    ...           0 * one, one)
    >>> round(float(evaluate_ctf(ctf, np.zeros((1, 2)))[0, 0]), 3)  # the amplitude contrast
    0.1
    """
    fx, fy = np.asarray(frequencies, np.float64).T
    u2 = fx**2 + fy**2
    azimuth = np.arctan2(fy, fx)
    wavelength = electron_wavelength(ctf.voltage)
    mean = (ctf.defocus_u + ctf.defocus_v) / 2
    half_difference = (ctf.defocus_u - ctf.defocus_v) / 2
    astigmatism = np.radians(ctf.defocus_angle)
    # cos(2(a - a0)) expanded, so that only small (n, 1) x (1, p) products are needed.
    defocus = (
        mean[:, None]
        + (half_difference * np.cos(2 * astigmatism))[:, None] * np.cos(2 * azimuth)
        + (half_difference * np.sin(2 * astigmatism))[:, None] * np.sin(2 * azimuth)
    )
    phase = np.pi * wavelength[:, None] * defocus * u2
    phase -= (np.pi / 2 * ctf.spherical_aberration * 1e7 * wavelength**3)[:, None] * u2**2
    phase += (np.radians(ctf.phase_shift) + np.arcsin(ctf.amplitude_contrast))[:, None]
    value = np.sin(phase if offset is None else phase - offset)
    if np.any(ctf.b_factor):
        value *= np.exp(-ctf.b_factor[:, None] / 4 * u2)
    out: FloatArray = (value * ctf.scale[:, None]).astype(np.float32)
    return out
