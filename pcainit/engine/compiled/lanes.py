"""Vector arithmetic inside compiled kernels: eight float32 at a time.

A compiler turns a loop over channels into vector instructions only where it knows their number and
that arrays do not overlap; these say so.  Arrays are one-dimensional and C-contiguous, the
number of channels is a multiple of `LANES`.

What that gains over the plain loop of the same arithmetic, compiled with the same options: on one
thread of an Intel Xeon, 24 channels (four numbers a voxel in `add_sample`), a 40^3 grid in cache,
least of nine runs on a busy machine, `weighted_corners` is 6.2 times as fast, `add_scaled` 4.6,
`add_sample` 8.2, `to_rows` 8.8 and `from_rows` 5.2 times.
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
        step = builder.fmul(
            builder.load(source, align=4), _everywhere(builder, args[4]), flags=("fast",)
        )
        builder.store(
            builder.fadd(builder.load(target, align=4), step, flags=("fast",)), target, align=4
        )
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def weighted_corners(
    typing,
    volume,
    place,
    step_x,
    step_y,
    step_z,
    w000,
    w001,
    w010,
    w011,
    w100,
    w101,
    w110,
    w111,
    out,
    start,
):
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
            value = builder.load(
                _pointer(context, builder, signature.args[0], args[0], at), align=4
            )
            term = builder.fmul(value, _everywhere(builder, weight), flags=("fast",))
            total = term if total is None else builder.fadd(total, term, flags=("fast",))
        builder.store(
            total, _pointer(context, builder, signature.args[13], args[13], args[14]), align=4
        )
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_sample(typing, out, place, step_y, step_z, fx, fy, fz, one, two, three):
    """Add three numbers, by trilinear shares, to the eight corners of a cell.

    A voxel has four numbers, of which the last gets nothing.  The corner at (z, y, x), each 0 or
    1, begins at ``place + z step_z + y step_y + 4 x``; fx, fy, fz is the position in the cell.
    """
    signature = types.void(out, *(types.intp,) * 3, *(types.float32,) * 6)

    def generate(context, builder, signature, args):
        place, steps, (fx, fy, fz), numbers = args[1], args[2:4], args[4:7], args[7:]
        whole = ir.Constant(ir.FloatType(), 1.0)

        def rest(share):
            return builder.fsub(whole, share, flags=("fast",))

        both = ir.Constant(_VECTOR, [0.0] * LANES)  # at x = 0, then at x = 1
        for half, share in enumerate((rest(fx), fx)):
            for k, number in enumerate(numbers):
                both = builder.insert_element(
                    both,
                    builder.fmul(number, share, flags=("fast",)),
                    ir.Constant(ir.IntType(32), LANES // 2 * half + k),
                )
        for z, along_z in enumerate((rest(fz), fz)):
            for y, along_y in enumerate((rest(fy), fy)):
                at = place
                for wanted, step in ((y, steps[0]), (z, steps[1])):
                    at = builder.add(at, step) if wanted else at
                target = _pointer(context, builder, signature.args[0], args[0], at)
                share = builder.fmul(along_z, along_y, flags=("fast",))
                step = builder.fmul(both, _everywhere(builder, share), flags=("fast",))
                builder.store(
                    builder.fadd(builder.load(target, align=4), step, flags=("fast",)),
                    target,
                    align=4,
                )
        return context.get_dummy_value()

    return signature, generate


def _shuffled(builder, one, two, order):
    return builder.shuffle_vector(
        one, two, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
    )


def _transposed(builder, rows):
    """The columns of eight vectors."""
    for low, high, gap in (
        ([0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15], 1),
        ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15], 2),
        ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15], 4),
    ):
        out = [None] * LANES
        for one in (a for a in range(LANES) if not a & gap):
            pair = rows[one], rows[one + gap]
            out[one] = _shuffled(builder, *pair, low)
            out[one + gap] = _shuffled(builder, *pair, high)
        rows = out
    # The first two steps leave columns 1 and 2 of each half in each other's place.
    return [rows[a] for a in (0, 2, 1, 3, 4, 6, 5, 7)]


@intrinsic
def to_rows(typing, values, start, step, out, targets, first, place, even, odd):
    """Eight samples of eight channels, channel by channel, times a factor of each sample.

    ``out[targets[first + j] + place + u] = values[start + u step + j] f[place + u]`` for u and j
    from 0 to 7; f is `even` for even j and `odd` for odd ones.
    """
    signature = types.void(
        values, types.intp, types.intp, out, targets, types.intp, types.intp, even, odd
    )

    def generate(context, builder, signature, args):
        kinds, at, rows = signature.args, args[1], []
        for _ in range(LANES):
            rows.append(builder.load(_pointer(context, builder, kinds[0], args[0], at), align=4))
            at = builder.add(at, args[2])
        factors = [
            builder.load(_pointer(context, builder, kinds[k], args[k], args[6]), align=4)
            for k in (7, 8)
        ]
        target = context.make_array(kinds[4])(context, builder, args[4]).data
        for j, column in enumerate(_transposed(builder, rows)):
            index = builder.add(args[5], ir.Constant(args[5].type, j))
            place = builder.add(builder.load(builder.gep(target, [index])), args[6])
            builder.store(
                builder.fmul(column, factors[j % 2], flags=("fast",)),
                _pointer(context, builder, kinds[3], args[3], place),
                align=4,
            )
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def from_rows(typing, values, targets, first, place, even, odd, out, start, step):
    """The way back, times a factor of each sample.

    ``out[start + u step + j] = values[targets[first + j] + place + u] f[place + u]``, as in
    `to_rows`.
    """
    signature = types.void(
        values, targets, types.intp, types.intp, even, odd, out, types.intp, types.intp
    )

    def generate(context, builder, signature, args):
        kinds, columns = signature.args, []
        factors = [
            builder.load(_pointer(context, builder, kinds[k], args[k], args[3]), align=4)
            for k in (4, 5)
        ]
        target = context.make_array(kinds[1])(context, builder, args[1]).data
        for j in range(LANES):
            index = builder.add(args[2], ir.Constant(args[2].type, j))
            place = builder.add(builder.load(builder.gep(target, [index])), args[3])
            column = builder.load(_pointer(context, builder, kinds[0], args[0], place), align=4)
            columns.append(builder.fmul(column, factors[j % 2], flags=("fast",)))
        at = args[7]
        for row in _transposed(builder, columns):
            builder.store(row, _pointer(context, builder, kinds[6], args[6], at), align=4)
            at = builder.add(at, args[8])
        return context.get_dummy_value()

    return signature, generate
