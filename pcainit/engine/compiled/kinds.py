"""What kernels take: the type of each argument, so that each is compiled for one set of them."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from pcainit.engine.arrays import AnyArray

INT, REAL, SINGLE, YES_NO = types.int64, types.float64, types.float32, types.boolean


def reads(dtype: str, axes: int) -> Any:
    """A C-contiguous array that is not written to."""
    return types.Array(getattr(types, dtype), axes, "C", readonly=True)


def writes(dtype: str, axes: int) -> Any:
    """A C-contiguous array that results go to."""
    return types.Array(getattr(types, dtype), axes, "C")


def record(cls: type, *kinds: Any) -> Any:
    """A named tuple."""
    if len(set(kinds)) == 1:
        return types.NamedUniTuple(kinds[0], len(kinds), cls)
    return types.NamedTuple(kinds, cls)


def fitting(kind: Any, value: Any) -> Any:
    """A value as its kind has it: what is only read may be writable, and lie in any way.

    Raises
    ------
    TypeError
        It is of another kind: another number of axes, or other numbers; or results cannot be
        written to it.
    """
    if isinstance(value, tuple):
        return type(value)(*map(fitting, kind.types, value))
    if not isinstance(kind, types.Array):
        return value
    if str(value.dtype) != kind.dtype.name or value.ndim != kind.ndim:
        raise TypeError("%s %s where %s is needed" % (value.dtype, value.shape, kind))
    laid_out = value.flags.c_contiguous and value.flags.aligned
    if kind.mutable:
        if not (laid_out and value.flags.writeable):
            raise TypeError("results cannot be written to %s" % kind)
        return value
    out: AnyArray = value.view() if laid_out else np.array(value, order="C")
    out.flags.writeable = False
    return out
