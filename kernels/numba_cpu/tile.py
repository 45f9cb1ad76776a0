"""The register tile: rows x columns of sums held in registers through one loop over k.

    C[co + r*c_row + v*lanes + l]  =  start + sum over k of A(r, k) * B(k, v*lanes + l)

A gives scalars (``rows`` of them a step), B gives vectors (``columns`` of them), every step is
rows*columns FMAs for rows + columns loads. With 24 sums in 32 registers that is the machine's peak:
the FMAs take 12 cycles of two ports, the loads 5. Everything else in a fast convolution serves to
keep this loop fed from the first two caches.

Where the operands lie is what distinguishes the three kinds:

``panel``   A(r, k) = A[ao + r*a_row + k],       B(k, j) = B[bo + k*b_row + j]
            weights as they are times a packed panel; Winograd's products
``taps``    A(r, k) = A[ao + r*a_row + k],       B(k, j) = B[bo + at[k] + j]
            weights as they are times shifted rows of a padded input: nothing is packed
``pixels``  A(r, k) = A[ao + r*a_row + at[k]],   B(k, j) = B[bo + k*b_row + j]
            pixels of a padded input times weights packed output channel by output channel

Sums start from what ``start`` says: ``ZERO``; ``SUMS``, what C holds; ``ROWS``, a bias a row
(bias[bias_at + r]); ``COLUMNS``, a bias a column. The last vector of a row may be partial: ``last``
lanes of it are read and written (``taps`` reads no more of B either, so that B may be the user's
array; packed panels are whole). K must be at least 1. Each sum is one chain of FMAs in the order of
k: gamma_K of the direct bound.

A partial vector is masked where masks have registers of their own. Elsewhere a mask would take one
of 16 registers and a masked store some 12 cycles; there the last vector begins earlier instead, so
that it ends where the row ends. What it shares with the vector before is computed twice, to the
same sums. Only a row of less than a vector needs a mask.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .emit import BYTES, emit_prefetch_to_write
from .vector import (
    I64,
    MASKS,
    REGISTERS,
    emit_fma,
    emit_load,
    emit_load_first,
    emit_splat,
    emit_store,
    emit_store_first,
    nothing,
    pointer,
    vector_of,
)

ZERO, SUMS, ROWS, COLUMNS = 0, 1, 2, 3


class _Tile:
    """The emitter of one tile: ``rows`` x ``columns`` vectors over flat arrays of one dtype, of
    which the last column's have ``last`` lanes.
    """

    def __init__(self, context, builder, dtype, rows, columns, last):
        self.context, self.builder = context, builder
        self.vector = vector_of(dtype)
        self.rows, self.columns, self.last = rows, columns, last
        self.cells = [(r, v) for r in range(rows) for v in range(columns)]
        self.starts = [I64(v * self.vector.count) for v in range(columns)]
        self.partial = MASKS or columns == 1
        if not self.partial:
            self.starts[-1] = builder.add(I64((columns - 2) * self.vector.count), last)

    def at(self, base, row, step):
        """``rows`` pointers, ``step`` elements apart, from ``base``."""
        found = [base]
        for _ in range(row - 1):
            found.append(self.builder.gep(found[-1], [step]))
        return found

    def column(self, base, v):
        return self.builder.gep(base, [self.starts[v]])

    def load(self, base, v):
        """Vector v of a row; the last one may be partial."""
        at = self.column(base, v)
        if self.partial and v == self.columns - 1:
            return emit_load_first(self.builder, self.vector, at, self.last)
        return emit_load(self.builder, self.vector, at)

    def store(self, value, base, v):
        at = self.column(base, v)
        if self.partial and v == self.columns - 1:
            emit_store_first(self.builder, value, at, self.last)
        else:
            emit_store(self.builder, value, at)

    def begin(self, start, c, bias):
        """The sums before the first step, by ``start``: one block a case, joined by phis."""
        b = self.builder
        for r in range(self.rows):
            for v in range(0, self.columns, max(1, 64 // BYTES)):
                emit_prefetch_to_write(b, self.column(c[r], v))
            emit_prefetch_to_write(b, self.column(c[r], self.columns - 1))
        zero = ir.Constant(self.vector, [0.0] * self.vector.count)
        joined = b.append_basic_block("begin")
        blocks = [b.append_basic_block(f"start{i}") for i in range(4)]
        switch = b.switch(start, blocks[ZERO])
        for number in (SUMS, ROWS, COLUMNS):
            switch.add_case(I64(number), blocks[number])
        values = {}
        for number, block in enumerate(blocks):
            b.position_at_end(block)
            if number == ZERO:
                values[number] = [zero for _ in self.cells]
            elif number == SUMS:
                values[number] = [self.load(c[r], v) for r, v in self.cells]
            elif number == ROWS:
                rows = [
                    emit_splat(b, self.vector, b.load(b.gep(bias, [I64(r)])))
                    for r in range(self.rows)
                ]
                values[number] = [rows[r] for r, _ in self.cells]
            else:
                columns = [self.load(bias, v) for v in range(self.columns)]
                values[number] = [columns[v] for _, v in self.cells]
            b.branch(joined)
        b.position_at_end(joined)
        sums = [b.phi(self.vector) for _ in self.cells]
        for i, phi in enumerate(sums):
            for number, block in enumerate(blocks):
                phi.add_incoming(values[number][i], block)
        return sums

    def loop(self, sums, steps, a, b_at, b_row, table, tabled):
        """The loop over k; ``tabled`` names the operand that ``table`` places, or is empty."""
        b = self.builder
        before, body, done = b.block, b.append_basic_block("k"), b.append_basic_block("end")
        b.branch(body)
        b.position_at_end(body)
        k = b.phi(I64)
        k.add_incoming(I64(0), before)
        moving = b.phi(b_at.type)
        moving.add_incoming(b_at, before)
        carried = [b.phi(self.vector) for _ in sums]
        for phi, start in zip(carried, sums, strict=True):
            phi.add_incoming(start, before)
        offset = b.load(b.gep(table, [k])) if tabled else k
        row = b.gep(b_at, [offset]) if tabled == "b" else moving
        if tabled == "b":
            vectors = [self.load(row, v) for v in range(self.columns)]
        else:
            vectors = [emit_load(b, self.vector, self.column(row, v)) for v in range(self.columns)]
        new = list(carried)
        for r in range(self.rows):
            scalar = b.load(b.gep(a[r], [offset if tabled == "a" else k]))
            weight = emit_splat(b, self.vector, scalar)
            for v in range(self.columns):
                i = r * self.columns + v
                new[i] = emit_fma(b, weight, vectors[v], carried[i])
        following = b.add(k, I64(1))
        k.add_incoming(following, body)
        moving.add_incoming(b.gep(moving, [b_row]), body)
        for phi, value in zip(carried, new, strict=True):
            phi.add_incoming(value, body)
        b.cbranch(b.icmp_signed("<", following, steps), body, done)
        b.position_at_end(done)
        return new

    def end(self, sums, c):
        for (r, v), value in zip(self.cells, sums, strict=True):
            self.store(value, c[r], v)


def _emit(context, builder, kinds, rows, columns, c, a, b, table, tabled, steps, start, bias, last):
    """One tile; every operand is (its array's position in ``kinds``, array, offset, row)."""
    tile = _Tile(context, builder, kinds[0].dtype, rows, columns, last)
    c_rows = tile.at(pointer(context, builder, kinds[0], c[0], c[1]), rows, c[2])
    a_rows = tile.at(pointer(context, builder, kinds[1], a[0], a[1]), rows, a[2])
    b_at = pointer(context, builder, kinds[2], b[0], b[1])
    bias_at = pointer(context, builder, kinds[3], bias[0], bias[1])
    sums = tile.begin(start, c_rows, bias_at)
    sums = tile.loop(sums, steps, a_rows, b_at, b[2], table, tabled)
    tile.end(sums, c_rows)
    return nothing(context)


def panel(rows, columns):
    """The tile whose operands are both regular."""

    @intrinsic
    def tile(typing, C, co, c_row, A, ao, a_row, B, bo, b_row, K, start, bias, bias_at, last):
        def code(context, builder, signature, args):
            c, a, b = args[0:3], args[3:6], args[6:9]
            steps, start, bias, bias_at, last = args[9:]
            kinds = (C, A, B, signature.args[11])
            return _emit(context, builder, kinds, rows, columns, c, a, b, None, "", steps,
                         start, (bias, bias_at), last)  # fmt: skip

        n = types.int64
        return types.void(C, n, n, A, n, n, B, n, n, n, n, bias, n, n), code

    return tile


def taps(rows, columns):
    """The tile whose vectors are found through a table of offsets."""

    @intrinsic
    def tile(typing, C, co, c_row, A, ao, a_row, B, bo, at, K, start, bias, bias_at, last):
        def code(context, builder, signature, args):
            c, a, b = args[0:3], args[3:6], (args[6], args[7], I64(0))
            table = pointer(context, builder, at, args[8])
            steps, start, bias, bias_at, last = args[9:]
            kinds = (C, A, B, signature.args[11])
            return _emit(context, builder, kinds, rows, columns, c, a, b, table, "b", steps,
                         start, (bias, bias_at), last)  # fmt: skip

        n = types.int64
        return types.void(C, n, n, A, n, n, B, n, at, n, n, bias, n, n), code

    return tile


def pixels(rows, columns):
    """The tile whose scalars are found through a table of offsets."""

    @intrinsic
    def tile(typing, C, co, c_row, A, ao, a_row, at, B, bo, b_row, K, start, bias, bias_at, last):
        def code(context, builder, signature, args):
            c, a, b = args[0:3], args[3:6], args[7:10]
            table = pointer(context, builder, at, args[6])
            steps, start, bias, bias_at, last = args[10:]
            kinds = (C, A, B, signature.args[12])
            return _emit(context, builder, kinds, rows, columns, c, a, b, table, "a", steps,
                         start, (bias, bias_at), last)  # fmt: skip

        n = types.int64
        return types.void(C, n, n, A, n, n, at, B, n, n, n, n, bias, n, n), code

    return tile


# The same tiles where the best shape depends on the problem: the first two arguments, rows and
# columns, choose among ``shapes`` by a jump. A shape that is not among them computes nothing.


def _each(context, builder, rows, columns, shapes, emit):
    done = builder.append_basic_block("chosen")
    number = builder.add(builder.mul(rows, I64(REGISTERS)), columns)
    switch = builder.switch(number, done)
    for r, v in shapes:
        block = builder.append_basic_block(f"tile_{r}x{v}")
        switch.add_case(I64(r * REGISTERS + v), block)
        builder.position_at_end(block)
        emit(r, v)
        builder.branch(done)
    builder.position_at_end(done)
    return nothing(context)


def panel_of(shapes):
    """``panel`` of the shape that its first two arguments name."""

    @intrinsic
    def tile(typing, rows, columns, C, co, c_row, A, ao, a_row, B, bo, b_row, K, start, bias,
             bias_at, last):  # fmt: skip
        def code(context, builder, signature, args):
            def emit(r, v):
                _emit(context, builder, (C, A, B, bias), r, v, args[2:5], args[5:8], args[8:11],
                      None, "", args[11], args[12], args[13:15], args[15])  # fmt: skip

            return _each(context, builder, args[0], args[1], shapes, emit)

        n = types.int64
        return types.void(n, n, C, n, n, A, n, n, B, n, n, n, n, bias, n, n), code

    return tile


def taps_of(shapes):
    """``taps`` of the shape that its first two arguments name."""

    @intrinsic
    def tile(typing, rows, columns, C, co, c_row, A, ao, a_row, B, bo, at, K, start, bias, bias_at,
             last):  # fmt: skip
        def code(context, builder, signature, args):
            table = pointer(context, builder, at, args[10])

            def emit(r, v):
                _emit(context, builder, (C, A, B, bias), r, v, args[2:5], args[5:8],
                      (args[8], args[9], I64(0)), table, "b", args[11], args[12], args[13:15],
                      args[15])  # fmt: skip

            return _each(context, builder, args[0], args[1], shapes, emit)

        n = types.int64
        return types.void(n, n, C, n, n, A, n, n, B, n, at, n, n, bias, n, n), code

    return tile


def pixels_of(shapes):
    """``pixels`` of the shape that its first two arguments name; its table is at[lo:]."""

    @intrinsic
    def tile(typing, rows, columns, C, co, c_row, A, ao, a_row, at, lo, B, bo, b_row, K, start,
             bias, bias_at, last):  # fmt: skip
        def code(context, builder, signature, args):
            table = pointer(context, builder, at, args[8], args[9])

            def emit(r, v):
                _emit(context, builder, (C, A, B, bias), r, v, args[2:5], args[5:8], args[10:13],
                      table, "a", args[13], args[14], args[15:17], args[17])  # fmt: skip

            return _each(context, builder, args[0], args[1], shapes, emit)

        n = types.int64
        return types.void(n, n, C, n, n, A, n, n, at, n, B, n, n, n, n, bias, n, n), code

    return tile
