"""How vectors become LLVM's IR: called while Numba compiles, by the intrinsics of ``vector`` and by
those of the modules that emit whole tiles.

Part of a vector is loaded and stored by a mask where masks have registers of their own (AVX-512).
Elsewhere a whole vector is told from a part by a branch, which is cheaper than its mask.
"""

from llvmlite import binding, ir
from numba import types
from numba.core import config

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
    loaded.align = bytes_of(vector)
    return loaded


def emit_store(builder, value, at):
    """A vector to any address."""
    builder.store(value, builder.bitcast(at, value.type.as_pointer())).align = bytes_of(value.type)


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
    return builder.call(function, [at, I32(bytes_of(vector)), mask, zero])


def emit_load_part(builder, vector, at, whole, mask):
    """What ``emit_load_masked`` loads by the mask that ``mask()`` emits. ``whole``: whether that is
    everything; most vectors are, and for them making a mask is saved where it is work.
    """
    if MASKS:
        return emit_load_masked(builder, vector, at, mask())
    with builder.if_else(whole) as (every, some):
        with every:
            all_lanes, one = emit_load(builder, vector, at), builder.block
        with some:
            lanes_of_mask, other = emit_load_masked(builder, vector, at, mask()), builder.block
    found = builder.phi(vector)
    found.add_incoming(all_lanes, one)
    found.add_incoming(lanes_of_mask, other)
    return found


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
    builder.call(function, [value, at, I32(bytes_of(vector)), emit_mask(builder, vector, first)])


def _emit_store_pieces(builder, value, at, first):
    """Fewer lanes than all, or none: a half, a quarter, …, those whose bit is set in ``first``.
    AVX2's masked store is microcode on AMD: some dozen cycles, whatever the mask.
    """
    first = builder.select(builder.icmp_signed(">", first, I64(0)), first, I64(0))
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


def bytes_of(vector):
    """Bytes of an element; a vector may lie at any multiple of them."""
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def _name(vector):
    return f"v{vector.count}f{8 * bytes_of(vector)}"


def _function(builder, name, result, arguments):
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def nothing(context):
    """What an intrinsic without a result returns."""
    return context.get_dummy_value()


def emit_prefetch_to_write(builder, at):
    """Ask for the cache line of ``at``, to be written soon."""
    byte = builder.bitcast(at, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [byte.type, I32, I32, I32])
    asked = builder.module.declare_intrinsic("llvm.prefetch", [byte.type], kind)
    builder.call(asked, [byte, I32(1), I32(3), I32(1)])
