"""Vectors for pooling: what ``vector`` lacks, which is "the greatest", and where it is.

``greater`` is the rule of max pooling, lane by lane: a later tap wins only if it is greater, or
NaN. Positions of maxima are carried as 32-bit (or, for float64, 64-bit) integers in the bits of a
vector of the same kind, and widened when they are stored.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import (
    I32,
    I64,
    Vector,
    emit_load_masked,
    emit_mask,
    emit_splat,
    emit_store,
    emit_store_first,
    nothing,
    pointer,
    vector_of,
    width,
)


def _whole(vector):
    """The type of integers as wide as the lanes of ``vector``."""
    kind = I32 if isinstance(vector.element, ir.FloatType) else I64
    return ir.VectorType(kind, vector.count)


def _constant(vector, value):
    return ir.Constant(vector, [value] * vector.count)


@intrinsic
def load_or(typing, x, at, first, other):
    """The vector x[at : at + first], and behind it the lanes of ``other``."""

    def code(context, builder, signature, args):
        vector, start = vector_of(x.dtype), pointer(context, builder, x, *args[:2])
        mask = emit_mask(builder, vector, args[2])
        return builder.select(mask, emit_load_masked(builder, vector, start, mask), args[3])

    return other(x, types.int64, types.int64, other), code


def emit_store_some(builder, value, at, first):
    """The ``first`` lanes of a vector, written; all of them by an ordinary store."""
    if isinstance(first, ir.Constant):
        emit_store(builder, value, at)
        return
    whole = builder.icmp_signed(">=", first, I64(value.type.count))
    with builder.if_else(whole) as (every, some):
        with every:
            emit_store(builder, value, at)
        with some:
            emit_store_first(builder, value, at, first)


def emit_beats(builder, value, best):
    """Whether ``value`` wins over what came before it: it is greater, or NaN."""
    return builder.or_(
        builder.fcmp_ordered(">", value, best), builder.fcmp_unordered("uno", value, value)
    )


def emit_greater(builder, best, value):
    """``value`` where it beats ``best``; else ``best``."""
    # In this form LLVM finds the CPU's own max, which is exactly the inner select.
    most = builder.select(builder.fcmp_ordered(">", value, best), value, best)
    return builder.select(builder.fcmp_unordered("uno", value, value), value, most)


def emit_where(builder, wins, here, where):
    """The integer ``here`` in the bits of the lanes that ``wins`` names; else ``where``."""
    whole = _whole(where.type)
    number = here if whole.element == I64 else builder.trunc(here, I32)
    return builder.select(
        wins, builder.bitcast(emit_splat(builder, whole, number), where.type), where
    )


@intrinsic
def greater(typing, best, value):
    """``value`` where it is greater than ``best``, or NaN; else ``best``."""

    def code(context, builder, signature, args):
        return emit_greater(builder, *args)

    return best(best, best), code


def emit_store_positions(builder, where, to, base, s, first):
    """to[i] = base + s*i + the integer in lane i of ``where``, for the ``first`` lanes."""
    n = where.type.count
    wide = ir.VectorType(I64, n)
    number = builder.bitcast(where, _whole(where.type))
    if number.type != wide:
        number = builder.sext(number, wide)
    steps = builder.mul(emit_splat(builder, wide, s), ir.Constant(wide, list(range(n))))
    number = builder.add(builder.add(number, steps), emit_splat(builder, wide, base))
    part = ir.VectorType(ir.DoubleType(), width(types.int64))
    for i in range(0, n, part.count):
        lanes = ir.Constant(ir.VectorType(I32, part.count), list(range(i, i + part.count)))
        half = builder.bitcast(builder.shuffle_vector(number, number, lanes), part)
        at = builder.bitcast(builder.gep(to, [I64(i)]), ir.DoubleType().as_pointer())
        rest = first if isinstance(first, ir.Constant) else builder.sub(first, I64(i))
        emit_store_some(builder, half, at, rest)


@intrinsic
def lowest(typing, x):
    """A vector of -inf for x's dtype."""

    def code(context, builder, signature, args):
        return _constant(vector_of(x.dtype), float("-inf"))

    return Vector(x.dtype)(x), code


@intrinsic
def greatest(typing, a):
    """The largest lane, by halves; NaN if there is one."""

    def code(context, builder, signature, args):
        value, n = args[0], args[0].type.count
        while n > 1:
            n //= 2
            lanes = [n + i if i < n else i for i in range(value.type.count)]
            lanes = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
            moved = builder.shuffle_vector(value, value, lanes)
            value = builder.select(emit_beats(builder, moved, value), moved, value)
        return builder.extract_element(value, I32(0))

    return a.dtype(a), code


@intrinsic
def call(typing, code, y, index, x, d, h, w, sizes, first, last):
    """The machine code at ``code``, of C's convention, for these addresses and numbers."""

    def emit(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [I64] * (len(args) - 1))
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return nothing(context)

    return types.void(*(types.int64,) * 10), emit
