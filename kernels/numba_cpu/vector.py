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

from llvmlite import binding, ir
from numba import types
from numba.core import config
from numba.core.cgutils import alloca_once, for_range
from numba.extending import intrinsic, models, overload, register_model

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


def _register():
    """Bytes of a vector register, and how many there are, from the features Numba compiles for.

    Those are part of its cache's key. Of a CPU that is only named they are not known.
    """
    features = config.CPU_FEATURES
    if features is None and config.CPU_NAME is None:
        features = binding.get_host_cpu_features().flatten()
    found = (features or "").split(",")
    if "+avx512f" in found:
        return 64, 32
    if "+avx2" in found and "+fma" in found:
        return 32, 16
    return 16, 32 if "+neon" in found else 16


#: Bytes of a vector register, and how many registers a kernel has.
BYTES, REGISTERS = _register()
#: Whether masks have registers of their own, and masked loads and stores cost what others do.
MASKS = BYTES == 64


class Vector(types.Type):
    """Numba's type of a vector of ``dtype`` (float32 or float64) that fills a register."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, vector_of(fe_type.dtype))


# How IR is emitted: what follows is called while Numba compiles, by the intrinsics here and by
# those of the modules that emit whole tiles.


def width(dtype):
    """Lanes of a vector of the Numba type ``dtype``."""
    return BYTES * 8 // dtype.bitwidth


def vector_of(dtype):
    """LLVM's type for a vector of ``dtype``."""
    scalar = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(scalar, width(dtype))


def pointer(context, builder, kind, array, *offsets):
    """The pointer to an element of a flat ``array`` (or C pointer), ``offsets`` from its start."""
    is_array = isinstance(kind, types.Array)
    at = context.make_array(kind)(context, builder, array).data if is_array else array
    for offset in offsets:
        at = builder.gep(at, [offset])
    return at


def emit_load(builder, vector, at):
    """A vector from any address."""
    loaded = builder.load(builder.bitcast(at, vector.as_pointer()))
    loaded.align = _bytes(vector)
    return loaded


def emit_store(builder, value, at):
    """A vector to any address."""
    builder.store(value, builder.bitcast(at, value.type.as_pointer())).align = _bytes(value.type)


def emit_splat(builder, vector, scalar):
    """A vector of one scalar."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
    lanes = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lanes)


def emit_fma(builder, a, b, c):
    """a * b + c, rounded once."""
    return builder.call(
        _function(builder, f"llvm.fma.{_name(a.type)}", a.type, [a.type] * 3), [a, b, c]
    )


def emit_mask(builder, vector, first):
    """The mask of the ``first`` lanes."""
    wide = ir.VectorType(I32, vector.count)
    numbers = ir.Constant(wide, list(range(vector.count)))
    return builder.icmp_signed("<", numbers, emit_splat(builder, wide, builder.trunc(first, I32)))


def emit_load_first(builder, vector, at, first):
    """A vector whose ``first`` lanes are loaded; the others are 0 and their memory is not read."""
    return emit_load_masked(builder, vector, at, emit_mask(builder, vector, first))


def emit_load_masked(builder, vector, at, mask):
    """A vector whose lanes in ``mask`` are loaded; the others are 0, their memory is not read."""
    kinds = [vector.as_pointer(), I32, ir.VectorType(I1, vector.count), vector]
    function = _function(builder, f"llvm.masked.load.{_name(vector)}.p0", vector, kinds)
    zero = ir.Constant(vector, [0.0] * vector.count)
    at = builder.bitcast(at, vector.as_pointer())
    return builder.call(function, [at, I32(_bytes(vector)), mask, zero])


def emit_store_first(builder, value, at, first):
    """The ``first`` lanes of a vector, written; what lies behind them stays as it is."""
    vector = value.type
    if not MASKS:
        whole = builder.icmp_signed(">=", first, I64(vector.count))
        with builder.if_else(whole) as (every, some):
            with every:
                emit_store(builder, value, at)
            with some:
                _emit_store_pieces(builder, value, at, first)
        return
    kinds = [vector, vector.as_pointer(), I32, ir.VectorType(I1, vector.count)]
    function = _function(builder, f"llvm.masked.store.{_name(vector)}.p0", ir.VoidType(), kinds)
    at = builder.bitcast(at, vector.as_pointer())
    builder.call(function, [value, at, I32(_bytes(vector)), emit_mask(builder, vector, first)])


def _emit_store_pieces(builder, value, at, first):
    """Fewer lanes than all: a half, a quarter, …, those whose bit is set in ``first``. AVX2's masked
    store takes 12 cycles of an AMD core; one of these takes one.
    """
    half = value.type.count // 2
    while half:
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(I32, half), list(range(i, i + half)))
            )
            for i in (0, half)
        )
        bit = builder.icmp_unsigned("!=", builder.and_(first, I64(half)), I64(0))
        before = builder.block
        with builder.if_then(bit):
            emit_store(builder, low, at)
            behind, within = builder.gep(at, [I64(half)]), builder.block
        value, where = builder.phi(low.type), builder.phi(at.type)
        for block, rest, place in ((before, low, at), (within, high, behind)):
            value.add_incoming(rest, block)
            where.add_incoming(place, block)
        at, half = where, half // 2


def emit_transpose(builder, rows):
    """A square of as many vectors as a vector has lanes, transposed: log2(lanes) steps, and step h
    exchanges blocks of h x h lanes between rows h apart.
    """
    n, h = len(rows), 1
    kind = ir.VectorType(I32, n)
    while h < n:
        low = [n + (c ^ h) if c & h else c for c in range(n)]
        high = [n + c if c & h else c ^ h for c in range(n)]
        new = list(rows)
        for i in range(n):
            if not i & h:
                a, b = rows[i], rows[i + h]
                new[i] = builder.shuffle_vector(a, b, ir.Constant(kind, low))
                new[i + h] = builder.shuffle_vector(a, b, ir.Constant(kind, high))
        rows, h = new, 2 * h
    return rows


def _bytes(vector):
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def _name(vector):
    return f"v{vector.count}f{8 * _bytes(vector)}"


def _function(builder, name, result, arguments):
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def nothing(context):
    """What an intrinsic without a result returns."""
    return context.get_dummy_value()


# What kernels call.


@intrinsic
def lanes(typing, x):
    """Lanes of a vector of x's dtype; a constant."""

    def code(context, builder, signature, args):
        return I64(width(x.dtype))

    return types.int64(x), code


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
        start = pointer(context, builder, x, *args[:2])
        return emit_load_first(builder, vector_of(x.dtype), start, args[2])

    return Vector(x.dtype)(x, types.int64, types.int64), code


@intrinsic
def load_range(typing, x, at, lo, hi):
    """The vector x[at : at + lanes] in lanes lo to hi, zeros elsewhere; nothing else is read."""

    def code(context, builder, signature, args):
        vector, start = vector_of(x.dtype), pointer(context, builder, x, *args[:2])
        outside = emit_mask(builder, vector, args[2])
        inside = builder.and_(emit_mask(builder, vector, args[3]), builder.not_(outside))
        return emit_load_masked(builder, vector, start, inside)

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
            builder.store(row, builder.gep(square, [I32(i)])).align = _bytes(vector)
        with for_range(builder, args[8]) as loop:
            row = builder.load(builder.gep(square, [loop.index]))
            row.align = _bytes(vector)
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
