"""Products of complex arrays that are rounded the same wherever the arrays lie in memory.

numpy multiplies complex numbers with or without fused operations, as the arrays' sizes and places
in memory allow, so that the last bit of a product may differ from one run to the next.  Products
and sums of real arrays are each rounded on their own.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import AnyArray, ComplexArray, FloatArray


def multiply(one: ComplexArray, two: ComplexArray) -> ComplexArray:
    """Product of two arrays of one shape, complex64."""
    out = np.empty(one.shape, np.complex64)
    out.real = one.real * two.real - one.imag * two.imag
    out.imag = one.real * two.imag + one.imag * two.real
    return out


def cross_power(one: FloatArray, two: FloatArray) -> FloatArray:
    """Real part of the product with the conjugate of the second."""
    return one.real * two.real + one.imag * two.imag


def power(values: AnyArray) -> FloatArray:
    """Squared modulus."""
    return cross_power(values, values)
