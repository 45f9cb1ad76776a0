"""Vectors for Numba: one register of the CPU as a value, and the few things done with it.

Numba compiles loops and hopes that LLVM vectorises them. Here a loop says what it means: ``load``
gives a vector, ``fma`` multiplies and adds vectors, ``store`` writes one. Each function emits the
LLVM instruction of its name; LLVM still chooses registers and schedules. A vector fills one
register: ``lanes(x)`` elements of x's dtype (float32: 16 with AVX-512, 8 with AVX2, else 4).
Arrays are flat; nothing is checked.

These functions stand at module level, and so must the kernels that use them: Numba keys its disk
cache by what a closure holds, so that one over an intrinsic is compiled anew in every process.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once, for_range
from numba.extending import intrinsic, models, overload, register_model

from .emit import BYTES as BYTES
from .emit import (
    I32,
    I64,
    MASKS,
    bytes_of,
    emit_fma,
    emit_load,
    emit_load_first,
    emit_load_part,
    emit_mask,
    emit_prefetch_to_write,
    emit_splat,
    emit_store,
    emit_store_first,
    emit_transpose,
    nothing,
    pointer,
    vector_of,
    width,
)
from .emit import REGISTERS as REGISTERS
from .emit import emit_load_masked as emit_load_masked


class Vector(types.Type):
    """Numba's type of a vector of ``dtype`` (float32 or float64) that fills a register."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, vector_of(fe_type.dtype))


# What kernels call.


@intrinsic
def lanes(typing, x):
    """Lanes of a vector of x's dtype; a constant."""

    def code(context, builder, signature, args):
        return I64(width(x.dtype))

    return types.int64(x), code


@intrinsic
def prefetch_to_write(typing, x, at):
    """Ask for the cache line of x[at], to be written soon: without it a store that misses makes all
    later stores wait.
    """

    def code(context, builder, signature, args):
        emit_prefetch_to_write(builder, pointer(context, builder, x, *args))
        return nothing(context)

    return types.void(x, types.int64), code


@intrinsic
def load(typing, x, at):
    """The vector x[at : at + lanes]."""

    def code(context, builder, signature, args):
        return emit_load(builder, vector_of(x.dtype), pointer(context, builder, x, *args))

    return Vector(x.dtype)(x, types.int64), code


@intrinsic
def load_first(typing, x, at, first):
    """The vector x[at : at + first], zeros behind; nothing behind is read."""

    def code(context, builder, signature, args):
        vector, start = vector_of(x.dtype), pointer(context, builder, x, *args[:2])
        whole = builder.icmp_signed(">=", args[2], I64(vector.count))
        return emit_load_part(
            builder, vector, start, whole, lambda: emit_mask(builder, vector, args[2])
        )

    return Vector(x.dtype)(x, types.int64, types.int64), code


@intrinsic
def load_range(typing, x, at, lo, hi):
    """The vector x[at : at + lanes] in lanes lo to hi, zeros elsewhere; nothing else is read."""

    def code(context, builder, signature, args):
        vector, start = vector_of(x.dtype), pointer(context, builder, x, *args[:2])

        def mask():
            outside = emit_mask(builder, vector, args[2])
            return builder.and_(emit_mask(builder, vector, args[3]), builder.not_(outside))

        from_first = builder.icmp_signed("<=", args[2], I64(0))
        to_last = builder.icmp_signed(">=", args[3], I64(vector.count))
        whole = builder.and_(from_first, to_last)
        return emit_load_part(builder, vector, start, whole, mask)

    return Vector(x.dtype)(x, types.int64, types.int64, types.int64), code


@intrinsic
def store(typing, x, at, value):
    """x[at : at + lanes] = value."""

    def code(context, builder, signature, args):
        emit_store(builder, args[2], pointer(context, builder, x, *args[:2]))
        return nothing(context)

    return types.void(x, types.int64, value), code


@intrinsic
def store_first(typing, x, at, value, first):
    """x[at : at + first] = value's first lanes."""

    def code(context, builder, signature, args):
        emit_store_first(builder, args[2], pointer(context, builder, x, *args[:2]), args[3])
        return nothing(context)

    return types.void(x, types.int64, value, types.int64), code


@intrinsic
def splat(typing, x, at):
    """The vector of lanes that all hold x[at]."""

    def code(context, builder, signature, args):
        one = builder.load(pointer(context, builder, x, *args))
        return emit_splat(builder, vector_of(x.dtype), one)

    return Vector(x.dtype)(x, types.int64), code


@intrinsic
def zeros(typing, x):
    """A vector of zeros for x's dtype."""

    def code(context, builder, signature, args):
        kind = vector_of(x.dtype)
        return ir.Constant(kind, [0.0] * kind.count)

    return Vector(x.dtype)(x), code


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, lane by lane, each rounded once."""

    def code(context, builder, signature, args):
        return emit_fma(builder, *args)

    return a(a, b, c), code


@intrinsic
def evens(typing, a, b):
    """Lanes 0, 2, 4, … of a and then of b."""

    def code(context, builder, signature, args):
        n = args[0].type.count
        numbers = ir.Constant(ir.VectorType(I32, n), [2 * i for i in range(n)])
        return builder.shuffle_vector(*args, numbers)

    return a(a, b), code


@intrinsic
def transpose(typing, x, at, x_row, y, to, y_row):
    """A square of lanes x lanes elements: y[to + i*y_row + j] = x[at + j*x_row + i]."""

    def code(context, builder, signature, args):
        start, end = (
            pointer(context, builder, x, *args[:2]),
            pointer(context, builder, y, *args[3:5]),
        )
        rows = []
        for _ in range(width(x.dtype)):
            rows.append(emit_load(builder, vector_of(x.dtype), start))
            start = builder.gep(start, [args[2]])
        for row in emit_transpose(builder, rows):
            emit_store(builder, row, end)
            end = builder.gep(end, [args[5]])
        return nothing(context)

    number = types.int64
    return types.void(x, number, number, y, number, number), code


@intrinsic
def transpose_part(typing, x, at, x_row, x_rows, x_first, y, to, y_row, y_rows, y_first):
    """As ``transpose``, at an edge: of x only ``x_rows`` rows of ``x_first`` elements are read, the
    others count as 0; of y only ``y_rows`` rows of ``y_first`` elements are written.
    """

    def code(context, builder, signature, args):
        start, end = (
            pointer(context, builder, x, *args[:2]),
            pointer(context, builder, y, *args[5:7]),
        )
        vector, rows = vector_of(x.dtype), []

        def some(i, limit, first):
            return builder.select(builder.icmp_signed("<", I64(i), limit), first, I64(0))

        for i in range(vector.count):
            rows.append(emit_load_first(builder, vector, start, some(i, args[3], args[4])))
            start = builder.gep(start, [args[2]])
        rows = emit_transpose(builder, rows)
        if MASKS:
            for i, row in enumerate(rows):
                emit_store_first(builder, row, end, some(i, args[8], args[9]))
                end = builder.gep(end, [args[7]])
            return nothing(context)
        # Branches for each row would be much code: the rows pass through memory instead.
        square = alloca_once(builder, vector, size=vector.count)
        for i, row in enumerate(rows):
            builder.store(row, builder.gep(square, [I32(i)])).align = bytes_of(vector)
        with for_range(builder, args[8]) as loop:
            row = builder.load(builder.gep(square, [loop.index]))
            row.align = bytes_of(vector)
            to = builder.gep(end, [builder.mul(loop.index, args[7])])
            emit_store_first(builder, row, to, args[9])
        return nothing(context)

    n = types.int64
    return types.void(x, n, n, n, n, y, n, n, n, n), code


def _elementwise(instruction):
    @intrinsic
    def two(typing, a, b):
        def code(context, builder, signature, args):
            return getattr(builder, instruction)(*args)

        return a(a, b), code

    return two


_add, _subtract, _multiply = _elementwise("fadd"), _elementwise("fsub"), _elementwise("fmul")


def _operate(symbol, two):
    @overload(symbol, inline="always")
    def implementation(a, b):
        if isinstance(a, Vector) and a == b:
            return lambda a, b: two(a, b)
        return None


_operate(operator.add, _add)
_operate(operator.sub, _subtract)
_operate(operator.mul, _multiply)


@intrinsic
def total(typing, a):
    """The sum of a vector's lanes, by halves."""

    def code(context, builder, signature, args):
        value, n = args[0], args[0].type.count
        kind = ir.VectorType(I32, n)
        while n > 1:
            n //= 2
            other = [n + i if i < n else i for i in range(value.type.count)]
            moved = builder.shuffle_vector(value, value, ir.Constant(kind, other))
            value = builder.fadd(value, moved)
        return builder.extract_element(value, I32(0))

    return a.dtype(a), code
