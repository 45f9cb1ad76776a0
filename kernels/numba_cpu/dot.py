"""Two more register tiles, for what the gradients need: operands gathered on both sides.

``gathered``   C[co + r*c_row + j] = start + sum over k of A(r, k) * B[bo + k*b_row + j]
               A(r, k) = A[ao + row[r0 + r] + at[k0 + k]]
    ``pixels`` whose rows are anywhere too: weights times pixels of any phase (dgrad), inputs of any
    channel and tap times pixels of dy (wgrad).
``dots``       S[so + (r*s_row + v)*lanes + l] += sum over k of A(r, k) * B(v, k)
               A(r, k) = A[ao + r*a_row + k*lanes + l],  B(v, k) = B[bo + at[v0 + v] + k*lanes + l]
    Rows times rows: a sum is a vector of partial sums, one a lane, that ``total`` adds at the end.
    For few channels, of which vectors would be mostly empty.

As in ``compiled`` a tile is machine code of its own, called by ``address``. K must be at least 1.
"""

from functools import lru_cache

import numpy as np
from numba import cfunc, from_dtype, types
from numba.extending import intrinsic

from .compiled import SHAPES
from .tile import _each, _Tile
from .vector import (
    I64,
    REGISTERS,
    emit_fma,
    emit_load,
    emit_store,
    nothing,
    pointer,
    vector_of,
)
from .worker import emit_call

#: Columns of ``dots`` by its rows, 1 to 4: so many rows of B share a load of A's.
COLUMNS = (9, 9, 7, 6) if REGISTERS >= 32 else (9, 5, 3, 2)


def _gathered_of(shapes):

    @intrinsic
    def tile(typing, rows, columns, C, co, c_row, A, ao, row, r0, at, k0, B, bo, b_row, K, start,
             bias, bias_at, last):  # fmt: skip
        def code(context, builder, signature, args):
            table = pointer(context, builder, at, *args[9:11])
            base, b_at = pointer(context, builder, A, *args[5:7]), pointer(context, builder, B,
                                                                          *args[11:13])  # fmt: skip
            where = pointer(context, builder, row, *args[7:9])

            def emit(r, v):
                tile = _Tile(context, builder, C.dtype, r, v, args[18])
                c_rows = tile.at(pointer(context, builder, C, *args[2:4]), r, args[4])
                offsets = [builder.load(builder.gep(where, [I64(i)])) for i in range(r)]
                a_rows = [builder.gep(base, [offset]) for offset in offsets]
                bias_row = pointer(context, builder, bias, *args[16:18])
                sums = tile.begin(args[15], c_rows, bias_row)
                sums = tile.loop(sums, args[14], a_rows, b_at, args[13], table, "a")
                tile.end(sums, c_rows)

            return _each(context, builder, args[0], args[1], shapes, emit)

        n = types.int64
        return types.void(n, n, C, n, n, A, n, row, n, at, n, B, n, n, n, n, bias, n, n), code

    return tile


def _dots_of(shapes):

    @intrinsic
    def tile(typing, rows, columns, S, so, s_row, A, ao, a_row, B, bo, at, v0, K):
        def code(context, builder, signature, args):
            table = pointer(context, builder, at, *args[10:12])

            def emit(r, v):
                sums = pointer(context, builder, S, *args[2:4])
                a_at = pointer(context, builder, A, *args[5:7])
                b_at = pointer(context, builder, B, *args[8:10])
                b_rows = [
                    builder.gep(b_at, [builder.load(builder.gep(table, [I64(i)]))])
                    for i in range(v)
                ]
                _emit_dots(builder, vector_of(S.dtype), sums, args[4], (a_at, args[7], r), b_rows,
                           args[12])  # fmt: skip

            return _each(context, builder, args[0], args[1], shapes, emit)

        n = types.int64
        return types.void(n, n, S, n, n, A, n, n, B, n, at, n, n), code

    return tile


def _emit_dots(builder, vector, sums, s_row, a, b_rows, steps):
    """The loop over k of r x v vector sums, which start from memory and return there."""
    a_at, a_row, rows = a
    step = vector.count
    a_rows, cells, line = [a_at], [], sums
    for _ in range(rows - 1):
        a_rows.append(builder.gep(a_rows[-1], [a_row]))
    for _ in range(rows):
        cells += [builder.gep(line, [I64(v * step)]) for v in range(len(b_rows))]
        line = builder.gep(line, [builder.mul(s_row, I64(step))])
    starts = [emit_load(builder, vector, cell) for cell in cells]
    before, body = builder.block, builder.append_basic_block("k")
    done = builder.append_basic_block("end")
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(I64)
    k.add_incoming(I64(0), before)
    carried = [builder.phi(vector) for _ in cells]
    at = builder.mul(k, I64(step))
    left = [emit_load(builder, vector, builder.gep(row, [at])) for row in a_rows]
    new = list(carried)
    for v, row in enumerate(b_rows):
        right = emit_load(builder, vector, builder.gep(row, [at]))
        for r in range(rows):
            i = r * len(b_rows) + v
            new[i] = emit_fma(builder, left[r], right, carried[i])
    following = builder.add(k, I64(1))
    k.add_incoming(following, body)
    for phi, start, value in zip(carried, starts, new, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", following, steps), body, done)
    builder.position_at_end(done)
    for value, cell in zip(new, cells, strict=True):
        emit_store(builder, value, cell)


_gather = _gathered_of(SHAPES["taps"])
_dot = _dots_of([(r + 1, COLUMNS[r]) for r in range(len(COLUMNS))])


def _gathered(rows, columns, C, c_row, A, row, at, B, b_row, K, start, bias, last):
    _gather(rows, columns, C, 0, c_row, A, 0, row, 0, at, 0, B, 0, b_row, K, start, bias, 0, last)


def _dots(rows, columns, S, s_row, A, a_row, B, at, K):
    _dot(rows, columns, S, 0, s_row, A, 0, a_row, B, 0, at, 0, K)


_n, _table = types.int64, types.CPointer(types.int64)
_KINDS = {
    "gathered": (
        _gathered,
        lambda p: (_n, _n, p, _n, p, _table, _table, p, _n, _n, _n, p, _n),
    ),
    "dots": (_dots, lambda p: (_n, _n, p, _n, p, _n, p, _table, _n)),
}


@lru_cache(maxsize=4)
def _function(kind, dtype):
    body, arguments = _KINDS[kind]
    signature = types.void(*arguments(types.CPointer(from_dtype(dtype))))
    return cfunc(signature, cache=True, error_model="numpy")(body)


def address(kind, dtype):
    """Where the machine code of ``gathered`` or ``dots`` for ``dtype`` begins."""
    return _function(kind, np.dtype(dtype)).address


@intrinsic
def gathered(typing, code, rows, columns, C, co, c_row, A, ao, row, r0, at, k0, B, bo, b_row, K,
             start, bias, bias_at, last):  # fmt: skip
    """The tile ``gathered`` of any of its shapes."""

    def emit(context, builder, signature, args):
        arrays = ((C, 3), (A, 6), (row, 8), (at, 10), (B, 12), (bias, 17))
        c, a, r, k, b, base = (
            pointer(context, builder, kind, args[i], args[i + 1]) for kind, i in arrays
        )
        emit_call(
            builder, args[0], [*args[1:3], c, args[5], a, r, k, b, *args[14:17], base, args[19]]
        )
        return nothing(context)

    n = types.int64
    return types.void(n, n, n, C, n, n, A, n, row, n, at, n, B, n, n, n, n, bias, n, n), emit


@intrinsic
def dots(typing, code, rows, columns, S, so, s_row, A, ao, a_row, B, bo, at, v0, K):
    """The tile ``dots`` of any of its shapes."""

    def emit(context, builder, signature, args):
        s, a, b, v = (
            pointer(context, builder, kind, args[i], args[i + 1])
            for kind, i in ((S, 3), (A, 6), (B, 9), (at, 11))
        )
        emit_call(builder, args[0], [*args[1:3], s, args[5], a, args[8], b, v, args[13]])
        return nothing(context)

    n = types.int64
    return types.void(n, n, n, S, n, n, A, n, n, B, n, at, n, n), emit
