"""Winograd's three transforms of a tile, emitted as straight-line vector code.

A vector holds one element of the tile for ``lanes`` channels, so a transform is a fixed list of
additions and FMAs without a shuffle. m and r arrive as the *lengths of tuples*: Numba then knows
them when it compiles, and one function serves every F(m, r) without a closure.

Pairs of rows that differ in signs only (those of p and -p) share their even and odd halves.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import I64, emit_fma, emit_load, emit_store, nothing, pointer, vector_of
from .winograd_matrices import matrices


def _combine(builder, vector, terms):
    """The sum of coefficient * value: those of 1 first, by additions; the others by FMAs."""
    terms = [(c, v) for c, v in terms if c]
    terms.sort(key=lambda term: (abs(term[0]) != 1, -term[0]))
    total = None
    for c, v in terms:
        constant = ir.Constant(vector, [float(c)] * vector.count)
        if total is None:
            total = v if c == 1 else builder.fmul(v, constant)
        elif abs(c) == 1:
            total = builder.fadd(total, v) if c == 1 else builder.fsub(total, v)
        else:
            total = emit_fma(builder, v, constant, total)
    return total


def _mirrored(row, other):
    """Whether two rows differ in the signs of some elements only, and sharing halves pays."""
    same = all(abs(a) == abs(b) for a, b in zip(row, other, strict=True))
    return same and row != other and sum(a != 0 for a in row) > 2


def _apply(builder, vector, matrix, values):
    """matrix @ values."""
    out = [None] * len(matrix)
    for i, row in enumerate(matrix):
        if out[i] is not None:
            continue
        j = next((j for j in range(i + 1, len(matrix)) if _mirrored(row, matrix[j])), None)
        if j is None:
            out[i] = _combine(builder, vector, zip(row, values, strict=True))
            continue
        pairs = list(zip(row, matrix[j], values, strict=True))
        even = _combine(builder, vector, [(a, v) for a, b, v in pairs if a == b])
        odd = _combine(builder, vector, [(a, v) for a, b, v in pairs if a != b])
        out[i], out[j] = builder.fadd(even, odd), builder.fsub(even, odd)
    return out


def _both(builder, vector, matrix, tile):
    """matrix @ tile @ matrix.T, a list of rows in and out."""
    columns = [
        _apply(builder, vector, matrix, [row[j] for row in tile]) for j in range(len(tile[0]))
    ]
    return [
        _apply(builder, vector, matrix, [column[i] for column in columns])
        for i in range(len(matrix))
    ]


def _read(builder, vector, at, rows, columns, row, column):
    """rows x columns vectors from ``at`` on, ``row`` and ``column`` elements apart."""
    tile = []
    for _ in range(rows):
        here, line = at, []
        for _ in range(columns):
            line.append(emit_load(builder, vector, here))
            here = builder.gep(here, [column])
        tile.append(line)
        at = builder.gep(at, [row])
    return tile


def _transformed(m, r, source, target, matrix, size):
    """Signature and code of the transform of a size x size tile of ``source`` by ``matrix``."""

    def code(context, builder, signature, args):
        vector = vector_of(source.dtype)
        start = pointer(context, builder, source, *args[2:4])
        end = pointer(context, builder, target, *args[6:8])
        tile = _read(builder, vector, start, size, size, args[4], args[5])
        for line in _both(builder, vector, matrix, tile):
            for value in line:
                emit_store(builder, value, end)
                end = builder.gep(end, [args[8]])
        return nothing(context)

    n = types.int64
    return types.void(m, r, source, n, n, n, target, n, n), code


@intrinsic
def into(typing, m, r, x, at, row, column, V, to, point):
    """V[to + i*point] = element i of BT d B, d the tile at x[at], by rows."""
    return _transformed(m, r, x, V, matrices(m.count, r.count)[2], m.count + r.count - 1)


@intrinsic
def weights(typing, m, r, g, at, row, column, U, to, point):
    """U[to + i*point] = element i of G g GT, g the r x r filter at g[at]."""
    return _transformed(m, r, g, U, matrices(m.count, r.count)[1], r.count)


@intrinsic
def out(typing, m, r, M, at, point, bias, bias_at, y, to, row):
    """y[to + i*row + j*lanes] = element (i, j) of AT M A, plus bias[bias_at:]."""

    def code(context, builder, signature, args):
        matrix, vector = matrices(m.count, r.count)[0], vector_of(M.dtype)
        a = m.count + r.count - 1
        start, end = (
            pointer(context, builder, M, *args[2:4]),
            pointer(context, builder, y, *args[7:9]),
        )
        added = emit_load(builder, vector, pointer(context, builder, bias, *args[5:7]))
        values = _read(builder, vector, start, 1, a * a, args[4], args[4])[0]
        tile = [values[i * a : i * a + a] for i in range(a)]
        for line in _both(builder, vector, matrix, tile):
            here = end
            for value in line:
                emit_store(builder, builder.fadd(value, added), here)
                here = builder.gep(here, [I64(vector.count)])
            end = builder.gep(end, [args[9]])
        return nothing(context)

    n = types.int64
    return types.void(m, r, M, n, n, bias, n, y, n, n), code
