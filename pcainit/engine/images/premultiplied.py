"""Images that were multiplied by their CTF: made into images with white noise again.

Such an image is ``y = C x`` of an image ``x = C s + n`` with white noise.  All that is ever asked
of x by particles with known poses is ``C x``, which is y itself, and the weight C^2: nothing has
to be divided by a CTF that is near zero.  So y is divided by ``sqrt(C^2 + l)`` with the sign of C,
and what remains of the specimen in it is ``C^2 / sqrt(C^2 + l)`` of that sign.  The product of the
two is y again but for samples near the zeros, which tell nothing.

The leak l is the power, over that of x, which y has at the zeros of C.  It is next to nothing
where images kept the box that they were multiplied in.  Those that were cut out of a larger one
afterwards have there what the cut smears into the zeros: it goes with the square of the CTF's
slope, and how much it is is measured (`measure_leak`).  With it the noise is white to the eye.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.images.ctf import electron_wavelength
from pcainit.engine.images.particles import CTF
from pcainit.errors import InputError

LEAST_LEAK = 1e-5  # a few times what rounding to half precision leaves
TELLING = 400  # images that the leak is measured on
NEAR_ZERO, BESIDE = 0.02, (0.05, 0.2)  # C^2 of the samples that are compared
# Power near zeros over power beside them: 0.1 in the same box, at most 0.8 where a narrow cut has
# mixed all frequencies, and 0.9 to 1 in images that were not multiplied.
MOST_RATIO = 0.8
FULL = 0.5  # no leak is more than the CTF's mean square
_FEWEST = 500  # samples near zeros that tell anything


def leak_of(ctf: CTF, frequencies: FloatArray, strength: float) -> FloatArray:
    """Power at each sample that does not follow the CTF's square, (n, p) float32.

    Parameters
    ----------
    ctf : CTF
        Of n particles.
    frequencies : (p, 2) float
        1/Angstrom.
    strength : float
        See `measure_leak`.
    """
    leak = LEAST_LEAK + np.minimum(strength * _slope(ctf, frequencies) ** 2, FULL)
    return leak.astype(np.float32)


def _slope(ctf: CTF, frequencies: FloatArray) -> FloatArray:
    """Slope of the CTF's phase along the radius, (n, p) radians times Angstrom."""
    radius = np.hypot(*np.asarray(frequencies, np.float64).T)
    wave = electron_wavelength(ctf.voltage)[:, None]
    defocus = (ctf.defocus_u + ctf.defocus_v)[:, None] / 2
    aberration = ctf.spherical_aberration[:, None] * 1e7
    slope: FloatArray = 2 * np.pi * (wave * defocus * radius - aberration * wave**3 * radius**3)
    return slope


def restore(
    values: ComplexArray, transfer: FloatArray, leak: FloatArray
) -> tuple[ComplexArray, FloatArray]:
    """Images with white noise, and what the CTF is in them.

    Parameters
    ----------
    values : (n, p) complex64
        Premultiplied.
    transfer : (n, p) float32
        CTF that they were multiplied by.
    leak : (n, p) float32
        See `leak_of`.

    Returns
    -------
    values : (n, p) complex64
    transfer : (n, p) float32
    """
    divisor = np.copysign(np.sqrt(transfer**2 + leak), transfer)
    return values / divisor, transfer**2 / divisor


def measure_leak(
    values: ComplexArray, transfer: FloatArray, shell: IntArray, ctf: CTF, frequencies: FloatArray
) -> float:
    """How strongly power leaks into the zeros of the CTF, in units of the squared slope.

    Power near the zeros is compared with power beside them, where the CTF is still so small that
    noise is most of it; both in units of that of their shell.

    Parameters
    ----------
    values, transfer : (n, p)
        Of some images, as they come.
    shell : (p,) int
        Of each sample.
    ctf : CTF
        Of these images.
    frequencies : (p, 2) float
        1/Angstrom.

    Returns
    -------
    float
        0 where no zeros are reached.

    Raises
    ------
    InputError
        The images were not multiplied by this CTF.
    """
    square = transfer.astype(np.float64) ** 2
    power = np.abs(values).astype(np.float64) ** 2
    power /= np.maximum(power.mean(axis=1, keepdims=True), 1e-30)  # of unequal scales
    whole = np.bincount(shell, square.sum(axis=0))
    unit = np.bincount(shell, power.sum(axis=0)) / np.maximum(whole, 1e-30)
    power /= np.maximum(unit[shell], 1e-30)
    slope = _slope(ctf, frequencies) ** 2
    # Beyond the first maximum: before it signal is strong where the CTF is weak.
    wave = electron_wavelength(ctf.voltage)[:, None]
    defocus = np.abs(ctf.defocus_u + ctf.defocus_v)[:, None] / 2
    beyond = wave * defocus * (np.asarray(frequencies) ** 2).sum(axis=1) > 0.5
    low = beyond & (square < NEAR_ZERO)
    beside = beyond & (square > BESIDE[0]) & (square < BESIDE[1])
    if low.sum() < _FEWEST or beside.sum() < _FEWEST:
        return 0.0
    ratio = power[low].mean() / power[beside].mean()
    if ratio > MOST_RATIO:
        raise InputError(
            "The images are said to be CTF-premultiplied (rlnCtfDataAreCtfPremultiplied), but "
            "their power at the zeros of the CTF is %.2g of that beside them, as if they were not: "
            "correct the column, or the defocus." % ratio
        )
    excess = ratio * square[beside].mean() - square[low].mean()
    share = slope[low].mean() - ratio * slope[beside].mean()
    return max(0.0, float(excess / share)) if share > 0 else 0.0
