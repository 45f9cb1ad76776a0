"""The loop over a window's taps, with neighbouring windows in the lanes of a vector.

    lane j  =  x[at + table[r] + k*step + j*s], joined over r < rows and then k < K

``table`` says where a window's rows lie. Tap k of windows a stride s apart is s loads and s - 1
shuffles; s taps side by side are the same s loads, so in rows that are written out they are taken
together. Only the ``first`` lanes count, and nothing is read but their taps. Each case has a loop
of its own, chosen by a jump.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .pool_vector import emit_beats, emit_store_positions, emit_store_some, emit_where
from .vector import (
    I32,
    I64,
    emit_load_masked,
    emit_mask,
    emit_splat,
    nothing,
    pointer,
    vector_of,
)

#: The longest stride.
STRIDES = 4
#: (stride, taps in a row) of the usual windows, whose rows are written out.
KNOWN = {(1, 2), (1, 3), (2, 2), (2, 3)}
MOST = 4  # taps in a row that might be known


def _picked(builder, parts, start):
    """Lanes start, start + s, … of the s vectors ``parts`` joined."""
    s, n = len(parts), parts[0].type.count
    if s == 1:
        return parts[0]
    lanes = [start + j * s for j in range(n)]
    kind = ir.VectorType(I32, n)
    found = parts[0]
    for i in range(1, s):
        # Lanes up to part i; what stands in later ones does not matter yet.
        old = [j if i > 1 else min(lanes[j], n - 1) for j in range(n)]
        numbers = [n + at - i * n if at // n == i else o for at, o in zip(lanes, old, strict=True)]
        found = builder.shuffle_vector(found, parts[i], ir.Constant(kind, numbers))
    return found


class _Windows:
    """The loops of one case: a stride, and perhaps a known number of taps.

    ``window`` joins taps: its ``join(value, tap)`` takes a vector and where in a window it is,
    ``end(j, first)`` stores windows j, j+1, ….
    """

    def __init__(self, builder, vector, operands, s, window):
        self.builder, self.vector, self.s, self.window = builder, vector, s, window
        self.at, self.table, self.rows, self.taps, self.step, self.count = operands

    def masks(self, first, together):
        """Which lanes of s vectors side by side hold taps of ``first`` windows; ``together``: s
        taps of each, or one, and then nothing s - 1 elements behind the last one.
        """
        b, n = self.builder, self.vector.count
        reach = b.sub(b.mul(first, I64(self.s)), I64(0 if together else self.s - 1))
        return [emit_mask(b, self.vector, b.sub(reach, I64(i * n))) for i in range(self.s)]

    def load(self, at, masks):
        n = self.vector.count
        for i, mask in enumerate(masks):
            yield emit_load_masked(
                self.builder, self.vector, self.builder.gep(at, [I64(i * n)]), mask
            )

    def some(self, j, first, known):
        """The windows from j on: as many as lanes, or the ``first`` of them."""
        b, s = self.builder, self.s
        self.window.begin()
        at = b.gep(self.at, [b.mul(j, I64(s))])
        one, every = self.masks(first, False), self.masks(first, True)

        def take(tap, masks, number):
            parts = list(self.load(b.gep(at, [tap]), masks))
            for i in range(number):
                self.window.join(_picked(b, parts, i), b.add(tap, I64(i)))

        with cgutils.for_range(b, self.rows) as row:
            start = b.load(b.gep(self.table, [row.index]))
            if known:
                for k in range(0, known, s):
                    number = min(s, known - k)
                    take(b.add(start, I64(k)), every if number == s else one, number)
            else:
                with cgutils.for_range(b, self.taps) as tap:
                    take(b.add(start, b.mul(tap.index, self.step)), one, 1)
        self.window.end(j, first)

    def emit(self, known):
        """All windows, ``known`` taps side by side in a row, or 0: as many as there are."""
        b, n = self.builder, I64(self.vector.count)
        whole = b.sub(self.count, b.srem(self.count, n)) if known else I64(0)
        if known:
            with cgutils.for_range_slice(b, I64(0), whole, n) as (j, _):
                self.some(j, n, known)
        with cgutils.for_range_slice(b, whole, self.count, n) as (j, _):
            rest = b.sub(self.count, j)
            self.some(j, b.select(b.icmp_signed("<", rest, n), rest, n), known)


def _case(builder, vector, table, window, s, known, given):
    """A function of its own for one case, called here: LLVM then keeps what one loop needs in
    registers, not what any of them might.
    """
    kind = f"{window.__name__}_{vector.count}x{vector.element}".replace(" ", "")
    name = f"refconv_pool_{kind}_stride_{s}_taps_{known}"
    module, arguments = builder.module, [*table, *given]
    function = module.globals.get(name)
    if function is None:
        types_of = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
        function = ir.Function(module, types_of, name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        own = list(function.args)
        places = window(inside, vector, own[len(table) :])
        _Windows(inside, vector, own[: len(table)], s, places).emit(known)
        inside.ret_void()
    builder.call(function, arguments)


def _emit(context, builder, x, table, args, window, given):
    """A call for every case, of which the stride, the number of taps and their step choose one."""
    at = pointer(context, builder, x, *args[:2])
    rows, taps, step, s, count = args[3:]
    operands = at, pointer(context, builder, table, args[2]), rows, taps, step, count
    usual = builder.and_(
        builder.icmp_signed("==", step, I64(1)), builder.icmp_unsigned("<", taps, I64(MOST))
    )
    case = builder.add(builder.mul(s, I64(MOST)), builder.select(usual, taps, I64(0)))
    done = builder.append_basic_block("done")
    switch = builder.switch(case, done)
    for stride in range(1, STRIDES + 1):
        other = builder.append_basic_block(f"stride_{stride}")
        for number in range(MOST):
            known = number if (stride, number) in KNOWN else 0
            block = builder.append_basic_block(f"taps_{number}") if known else other
            switch.add_case(I64(MOST * stride + number), block)
            if known or number == 0:
                builder.position_at_end(block)
                _case(builder, vector_of(x.dtype), operands, window, stride, known, given)
                builder.branch(done)
    builder.position_at_end(done)
    return nothing(context)


class _Window:
    """What windows hold while their taps are joined, from ``start`` on; ``given`` are operands."""

    start: tuple[float, ...]

    def __init__(self, builder, vector, given):
        self.builder, self.vector, self.given = builder, vector, given
        # Places in the function's first block, which LLVM turns into registers.
        self.places = [cgutils.alloca_once(builder, vector) for _ in self.start]

    def begin(self):
        for place, value in zip(self.places, self.start, strict=True):
            constant = ir.Constant(self.vector, [value] * self.vector.count)
            self.builder.store(constant, place)

    def load(self):
        return [self.builder.load(place) for place in self.places]

    def store(self, *values):
        for place, value in zip(self.places, values, strict=True):
            self.builder.store(value, place)


class _Greatest(_Window):
    """The greatest tap, or the last NaN; given: y."""

    start = float("-inf"), 0.0

    def join(self, value, tap):
        # Two chains, for each of which the CPU has an instruction: a NaN is never greater.
        b, (best, nan) = self.builder, self.load()
        best = b.select(b.fcmp_ordered(">", value, best), value, best)
        self.store(best, b.select(b.fcmp_unordered("uno", value, value), value, nan))

    def end(self, j, first):
        b, (best, nan), (y,) = self.builder, self.load(), self.given
        best = b.select(b.fcmp_unordered("uno", nan, nan), nan, best)
        emit_store_some(b, best, b.gep(y, [j]), first)


class _GreatestAt(_Window):
    """As ``_Greatest``, and where it is; given: y, index, the first window's position, stride."""

    start = float("-inf"), 0.0

    def join(self, value, tap):
        best, where = self.load()
        wins = emit_beats(self.builder, value, best)
        best = self.builder.select(wins, value, best)
        self.store(best, emit_where(self.builder, wins, tap, where))

    def end(self, j, first):
        b, (best, where), (y, index, start, s) = self.builder, self.load(), self.given
        emit_store_some(b, best, b.gep(y, [j]), first)
        base = b.add(start, b.mul(j, s))
        emit_store_positions(b, where, b.gep(index, [j]), base, s, first)


class _Mean(_Window):
    """The sum of taps over a divisor; given: y, divisor."""

    start = (0.0,)

    def join(self, value, tap):
        self.store(self.builder.fadd(*self.load(), value))

    def end(self, j, first):
        b, (found,), (y, divisor) = self.builder, self.load(), self.given
        mean = b.fdiv(found, emit_splat(b, self.vector, divisor))
        emit_store_some(b, mean, b.gep(y, [j]), first)


_NUMBERS = (types.int64,) * 5


@intrinsic
def max_windows(typing, y, to, x, at, table, rows, taps, step, s, count):
    """y[to + j] = the greatest tap of window j, or its last NaN."""

    def code(context, builder, signature, args):
        given = [pointer(context, builder, y, *args[:2])]
        return _emit(context, builder, x, table, args[2:], _Greatest, given)

    return types.void(y, types.int64, x, types.int64, table, *_NUMBERS), code


@intrinsic
def max_windows_at(typing, y, index, to, x, at, start, table, rows, taps, step, s, count):
    """As ``max_windows``, and index[to + j] = where it is, x[at] being position ``start``."""

    def code(context, builder, signature, args):
        outputs = (
            pointer(context, builder, kind, args[i], args[2]) for i, kind in enumerate((y, index))
        )
        given = [*outputs, args[5], args[10]]
        return _emit(context, builder, x, table, [*args[3:5], *args[6:]], _GreatestAt, given)

    n = types.int64
    return types.void(y, index, n, x, n, n, table, *_NUMBERS), code


@intrinsic
def avg_windows(typing, y, to, divisor, x, at, table, rows, taps, step, s, count):
    """y[to + j] = the sum of the taps of window j, over ``divisor``."""

    def code(context, builder, signature, args):
        given = [pointer(context, builder, y, *args[:2]), args[2]]
        return _emit(context, builder, x, table, args[3:], _Mean, given)

    n = types.int64
    return types.void(y, n, x.dtype, x, n, table, *_NUMBERS), code
