"""Several vectors as one value: the running sums of a kernel, a tuple of registers.

A kernel whose loops are ordinary code keeps its sums in a tuple and hands it from step to step;
LLVM takes the tuple apart, and each part stays in its register through the loops. How many there
are is the length of a tuple, so part of a type: Numba compiles a kernel once for each number asked
for, and its disk cache tells them apart. Arguments of which only the length counts are called
``rows``, ``columns`` or ``number`` here.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import (
    I64,
    Vector,
    emit_fma,
    emit_load,
    emit_load_masked,
    emit_mask,
    emit_splat,
    emit_store,
    emit_store_first,
    emit_transpose,
    nothing,
    pointer,
    vector_of,
    width,
)

N = types.int64


def units(total, most):
    """``total`` in equal parts of at most ``most``: the size of a part, and of the last one."""
    parts = max(1, -(-total // most))
    size = -(-total // parts)
    return size, total - size * (parts - 1)


def tuples(total, most):
    """``units`` as tuples of these lengths; the first is None where there is only the last."""
    size, last = units(total, most)
    return None if size == total else (0,) * size, (0,) * last


def key(x, plan):
    """What the code for ``plan`` depends on: x's dtype, and the lengths of its tuples, which stand
    behind the numbers.
    """
    return x.dtype, *(t if t is None else len(t) for t in plan[1:])


def _parts(builder, value):
    return [builder.extract_value(value, i) for i in range(value.type.count)]


def _joined(builder, parts):
    whole = ir.Constant(ir.ArrayType(parts[0].type, len(parts)), ir.Undefined)
    for i, part in enumerate(parts):
        whole = builder.insert_value(whole, part, i)
    return whole


def _walk(builder, start, step, number):
    """``number`` pointers, ``step`` elements apart."""
    found = [start]
    for _ in range(number - 1):
        found.append(builder.gep(found[-1], [step]))
    return found


def _some(builder, i, limit, first):
    """``first`` where i < limit, else 0."""
    return builder.select(builder.icmp_signed("<", I64(i), limit), first, I64(0))


@intrinsic
def spread(typing, value, number):
    """Copies of the vector ``value``."""

    def code(context, builder, signature, args):
        return _joined(builder, [args[0]] * number.count)

    return types.UniTuple(value, number.count)(value, number), code


@intrinsic
def load_each(typing, x, at, step, number):
    """The vectors at x[at], x[at + step], and so on."""

    def code(context, builder, signature, args):
        places = _walk(builder, pointer(context, builder, x, *args[:2]), args[2], number.count)
        return _joined(builder, [emit_load(builder, vector_of(x.dtype), at) for at in places])

    return types.UniTuple(Vector(x.dtype), number.count)(x, N, N, number), code


@intrinsic
def store_each(typing, x, at, step, count, spare, values):
    """Vector i of ``values`` is written to x[at + i*step], those from ``count`` on to x[spare]."""

    def code(context, builder, signature, args):
        places = _walk(builder, pointer(context, builder, x, *args[:2]), args[2], values.count)
        unwanted = pointer(context, builder, x, args[0], args[4])
        for i, (part, at) in enumerate(zip(_parts(builder, args[5]), places, strict=True)):
            wanted = builder.icmp_signed("<", I64(i), args[3])
            emit_store(builder, part, builder.select(wanted, at, unwanted))
        return nothing(context)

    return types.void(x, N, N, N, N, values), code


@intrinsic
def load_window(typing, x, at, row, rows, columns):
    """The vectors x[at + r*row + c*lanes], r outermost."""

    def code(context, builder, signature, args):
        lines = _walk(builder, pointer(context, builder, x, *args[:2]), args[2], rows.count)
        vector = vector_of(x.dtype)
        step = I64(vector.count)
        places = [at for line in lines for at in _walk(builder, line, step, columns.count)]
        return _joined(builder, [emit_load(builder, vector, at) for at in places])

    number = rows.count * columns.count
    return types.UniTuple(Vector(x.dtype), number)(x, N, N, rows, columns), code


@intrinsic
def store_window(typing, x, at, row, columns, values):
    """What ``load_window`` loaded is written back."""

    def code(context, builder, signature, args):
        rows, parts = values.count // columns.count, _parts(builder, args[4])
        lines = _walk(builder, pointer(context, builder, x, *args[:2]), args[2], rows)
        step = I64(parts[0].type.count)
        places = [at for line in lines for at in _walk(builder, line, step, columns.count)]
        for part, place in zip(parts, places, strict=True):
            emit_store(builder, part, place)
        return nothing(context)

    return types.void(x, N, N, columns, values), code


@intrinsic
def load_rows(typing, y, at, row, rows, first, number):
    """Vectors of the ``first`` elements from y[at + r*row] on, for r < rows; the rest are 0."""

    def code(context, builder, signature, args):
        vector, loaded = vector_of(y.dtype), []
        start = pointer(context, builder, y, *args[:2])
        for i, place in enumerate(_walk(builder, start, args[2], number.count)):
            mask = emit_mask(builder, vector, _some(builder, i, args[3], args[4]))
            loaded.append(emit_load_masked(builder, vector, place, mask))
        return _joined(builder, loaded)

    return types.UniTuple(Vector(y.dtype), number.count)(y, N, N, N, N, number), code


@intrinsic
def store_rows(typing, y, at, row, rows, first, values):
    """The ``first`` lanes of vector r of ``values`` are written to y[at + r*row], for r < rows."""

    def code(context, builder, signature, args):
        places = _walk(builder, pointer(context, builder, y, *args[:2]), args[2], values.count)
        for i, (part, at) in enumerate(zip(_parts(builder, args[5]), places, strict=True)):
            emit_store_first(builder, part, at, _some(builder, i, args[3], args[4]))
        return nothing(context)

    return types.void(y, N, N, N, N, values), code


@intrinsic
def fma_rows(typing, sums, rows, columns, x, nowhere, plane, row, ih, H, iw, W, w, k, k_row):
    """Sum i gains row ih + i + r of a plane of x, from column iw + c on, times w[k + r*k_row + c],
    for all r of ``rows`` and c of ``columns``.

    Each row is loaded once a c: it serves up to ``rows`` sums. Columns outside [0, W) and rows
    outside [0, H) count as zeros and are not read; ``nowhere`` is a row of zeros.
    """

    def code(context, builder, signature, args):
        b, vector, parts = builder, vector_of(x.dtype), _parts(builder, args[0])
        start = pointer(context, b, x, args[3], args[5])
        empty = pointer(context, b, nowhere, args[4], I64(0))
        row, ih, height, iw, wide = args[6:11]
        weights = _walk(b, pointer(context, b, w, *args[11:13]), args[13], rows.count)
        lines = []
        for i in range(len(parts) + rows.count - 1):
            here = b.add(ih, I64(i))
            line = b.gep(start, [b.mul(here, row)])
            line = b.select(b.icmp_unsigned("<", here, height), line, empty)
            lines.append(b.gep(line, [iw]))
        for c in range(columns.count):
            column = b.add(iw, I64(c))
            mask = emit_mask(b, vector, b.sub(wide, column))
            mask = b.and_(b.not_(emit_mask(b, vector, b.neg(column))), mask)
            factors = [emit_splat(b, vector, b.load(b.gep(at, [I64(c)]))) for at in weights]
            for i, line in enumerate(lines):
                value = emit_load_masked(b, vector, b.gep(line, [I64(c)]), mask)
                for r, factor in enumerate(factors):
                    if 0 <= i - r < len(parts):
                        parts[i - r] = emit_fma(b, factor, value, parts[i - r])
        return _joined(b, parts)

    return sums(sums, rows, columns, x, nowhere, N, N, N, N, N, N, w, N, N), code


@intrinsic
def fma_along(typing, sums, x, at, w, k, step, columns):
    """Sum i gains vector i*s + c of x[at:] times vector c of w[k:], for all c of ``columns``, where
    s is the length of ``step``.

    All offsets are constants, and each vector of x is loaded once.
    """

    def code(context, builder, signature, args):
        b, vector, parts, loaded = builder, vector_of(x.dtype), _parts(builder, args[0]), {}
        start, factors = pointer(context, b, x, *args[1:3]), pointer(context, b, w, *args[3:5])
        for c in range(columns.count):
            factor = emit_load(b, vector, b.gep(factors, [I64(c * vector.count)]))
            for i in range(len(parts)):
                place = i * step.count + c
                if place not in loaded:
                    at = b.gep(start, [I64(place * vector.count)])
                    loaded[place] = emit_load(b, vector, at)
                parts[i] = emit_fma(b, loaded[place], factor, parts[i])
        return _joined(b, parts)

    return sums(sums, x, N, w, N, step, columns), code


@intrinsic
def fma_window(typing, sums, x, at, line, line_step, count, row, empty, columns, factor):
    """Sum (r, c), r outermost, gains ``factor`` times vector c of the line number
    line + r*line_step, which starts at x[at + number*row], or at x[at + empty] where there is no
    such line among ``count``; c runs over ``columns``.
    """

    def code(context, builder, signature, args):
        b, vector, parts = builder, vector_of(x.dtype), _parts(builder, args[0])
        start, number = pointer(context, b, x, *args[1:3]), args[3]
        for i in range(len(parts)):
            if i % columns.count == 0:
                inside = b.icmp_unsigned("<", number, args[5])
                offset = b.select(inside, b.mul(number, args[6]), args[7])
                first = b.gep(start, [offset])
                number = b.add(number, args[4])
            place = b.gep(first, [I64(i % columns.count * vector.count)])
            parts[i] = emit_fma(b, emit_load(b, vector, place), args[9], parts[i])
        return _joined(b, parts)

    return sums(sums, x, N, N, N, N, N, N, columns, factor), code


@intrinsic
def to_lanes(typing, x, at, row, rows, first, y, places, entry):
    """Element j of ``rows`` rows of x becomes the lanes of vector places[entry + j] of y, for
    j < first: a square transposed. Lanes from ``rows`` on are 0. The other entries of a square in
    ``places`` are written too, with zeros.
    """

    def code(context, builder, signature, args):
        b, vector, loaded = builder, vector_of(x.dtype), []
        start, end = pointer(context, b, x, *args[:2]), pointer(context, b, y, args[5], I64(0))
        entries = pointer(context, b, places, *args[6:8])
        for i, line in enumerate(_walk(b, start, args[2], width(x.dtype))):
            mask = emit_mask(b, vector, _some(b, i, args[3], args[4]))
            loaded.append(emit_load_masked(b, vector, line, mask))
        for j, value in enumerate(emit_transpose(b, loaded)):
            place = b.load(b.gep(entries, [I64(j)]))
            emit_store(b, value, b.gep(end, [b.mul(place, I64(vector.count))]))
        return nothing(context)

    return types.void(x, N, N, N, N, y, places, N), code
