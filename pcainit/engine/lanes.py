"""Vector arithmetic inside compiled kernels: eight float32 at a time.

A compiler turns a loop over channels into vector instructions only where it knows their number and
that arrays do not overlap; these two say so.  Arrays are one-dimensional and C-contiguous, the
number of channels is a multiple of `LANES`.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 8

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)


def padded(count: int) -> int:
    """The next multiple of `LANES`."""
    return -(-count // LANES) * LANES


def _pointer(context, builder, kind, array, index):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _everywhere(builder, scalar):
    """A vector with the same value in each lane."""
    empty = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, empty, _FIRST)


@intrinsic
def add_scaled(typing, out, place, values, start, factor):
    """``out[place:place + LANES] += factor * values[start:start + LANES]``."""
    signature = types.void(out, types.intp, values, types.intp, types.float32)

    def generate(context, builder, signature, args):
        target = _pointer(context, builder, signature.args[0], args[0], args[1])
        source = _pointer(context, builder, signature.args[2], args[2], args[3])
        step = builder.fmul(builder.load(source, align=4), _everywhere(builder, args[4]),
                            flags=("fast",))
        builder.store(builder.fadd(builder.load(target, align=4), step, flags=("fast",)), target,
                      align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def weighted_corners(typing, volume, place, step_x, step_y, step_z, w000, w001, w010, w011, w100,
                     w101, w110, w111, out, start):
    """``out[start:start + LANES]`` = weighted sum of the eight corners of a cell.

    The corner at (z, y, x), each 0 or 1, lies at ``place + z step_z + y step_y + x step_x``.
    """
    weights = (types.float32,) * 8
    signature = types.void(volume, *(types.intp,) * 4, *weights, out, types.intp)

    def generate(context, builder, signature, args):
        total = None
        for corner, weight in enumerate(args[5:13]):
            at = args[1]
            for bit, step in enumerate(args[2:5]):
                if corner >> bit & 1:
                    at = builder.add(at, step)
            value = builder.load(_pointer(context, builder, signature.args[0], args[0], at),
                                 align=4)
            term = builder.fmul(value, _everywhere(builder, weight), flags=("fast",))
            total = term if total is None else builder.fadd(total, term, flags=("fast",))
        builder.store(total, _pointer(context, builder, signature.args[13], args[13], args[14]),
                      align=4)
        return context.get_dummy_value()

    return signature, generate
