"""Register tiles compiled once, and called by address.

A tile in thirty shapes is more code than the kernel around it, and Numba compiles what a function
calls again with it: at each level of calls, and twice more for a ``prange``. So these stand alone:
machine code of C's calling convention, one function a kind and dtype, made or read from the cache
when first asked for. A kernel is given ``address(kind, dtype)`` and calls it with ``taps``,
``pixels`` or ``panel``. Their arguments are those of the tiles in ``tile``, after the address and
the shape: rows and columns among ``SHAPES``.

A call costs some ten cycles: pointers go in registers, and numbers in a block of memory, each read
as it was written. As further arguments they would be copied four at a time, for which the CPU waits
until all that the last tile stored has left: 150 cycles.
"""

from functools import lru_cache

import numpy as np
from numba import cfunc, from_dtype, types
from numba.core.cgutils import alloca_once
from numba.extending import intrinsic

from .tile import panel_of, pixels_of, taps_of
from .vector import I64, REGISTERS, nothing, pointer
from .worker import emit_call

#: Vectors along a row, and rows of a tile by its vectors, at most: 24 sums in 32 registers.
VECTORS = 4 if REGISTERS > 16 else 3
ROWS_OF = {v: min(8, REGISTERS * 3 // 4 // v) for v in range(1, VECTORS + 1)}
#: The same for ``pixels``: 28 sums.
PIXELS_OF = {v: min(14, (REGISTERS - 4) // v) for v in (1, 2)}


def _shapes(most):
    return [(r, v) for v in most for r in range(1, most[v] + 1)]


SHAPES = {"taps": _shapes(ROWS_OF), "panel": _shapes(ROWS_OF), "pixels": _shapes(PIXELS_OF)}

_taps_of, _panel_of = taps_of(SHAPES["taps"]), panel_of(SHAPES["panel"])
_pixels_of = pixels_of(SHAPES["pixels"])

# The bodies: n holds rows, columns, c_row, a_row, b_row, K, start, last.


def _taps(C, A, B, bias, at, n):
    _taps_of(n[0], n[1], C, 0, n[2], A, 0, n[3], B, 0, at, n[5], n[6], bias, 0, n[7])


def _panel(C, A, B, bias, at, n):
    _panel_of(n[0], n[1], C, 0, n[2], A, 0, n[3], B, 0, n[4], n[5], n[6], bias, 0, n[7])


def _pixels(C, A, B, bias, at, n):
    # That neighbouring pixels are one element apart goes into the machine code.
    _pixels_of(n[0], n[1], C, 0, n[2], A, 0, 1, at, 0, B, 0, n[4], n[5], n[6], bias, 0, n[7])


_BODIES = {"taps": _taps, "panel": _panel, "pixels": _pixels}


@lru_cache(maxsize=8)
def _function(kind, dtype):
    numbers, data = types.CPointer(types.int64), types.CPointer(from_dtype(dtype))
    signature = types.void(data, data, data, data, numbers, numbers)
    return cfunc(signature, cache=True, error_model="numpy")(_BODIES[kind])


def address(kind, dtype):
    """Where the machine code of a kind of tile for ``dtype`` (float32, float64) begins."""
    return _function(kind, np.dtype(dtype)).address


def _call(context, builder, code, arrays, table, numbers):
    """The call; ``arrays`` and ``table`` are (Numba type, array, offset)."""
    block = alloca_once(builder, I64, size=len(numbers))
    for i, number in enumerate(numbers):
        builder.store(number, builder.gep(block, [I64(i)]))
    found = [pointer(context, builder, *array) for array in arrays]
    found += [pointer(context, builder, *table) if table else block, block]
    emit_call(builder, code, found)
    return nothing(context)


@intrinsic
def taps(typing, code, rows, columns, C, co, c_row, A, ao, a_row, B, bo, at, K, start, bias,
         bias_at, last):  # fmt: skip
    """``tile.taps`` of any of its shapes."""

    def emit(context, builder, signature, a):
        arrays = [(C, a[3], a[4]), (A, a[6], a[7]), (B, a[9], a[10]), (bias, a[14], a[15])]
        numbers = [a[1], a[2], a[5], a[8], I64(0), a[12], a[13], a[16]]
        return _call(context, builder, a[0], arrays, (at, a[11]), numbers)

    n = types.int64
    return types.void(n, n, n, C, n, n, A, n, n, B, n, at, n, n, bias, n, n), emit


@intrinsic
def panel(typing, code, rows, columns, C, co, c_row, A, ao, a_row, B, bo, b_row, K, start, bias,
          bias_at, last):  # fmt: skip
    """``tile.panel`` of any of its shapes."""

    def emit(context, builder, signature, a):
        arrays = [(C, a[3], a[4]), (A, a[6], a[7]), (B, a[9], a[10]), (bias, a[14], a[15])]
        numbers = [a[1], a[2], a[5], a[8], a[11], a[12], a[13], a[16]]
        return _call(context, builder, a[0], arrays, None, numbers)

    n = types.int64
    return types.void(n, n, n, C, n, n, A, n, n, B, n, n, n, n, bias, n, n), emit


@intrinsic
def pixels(typing, code, rows, columns, C, co, c_row, A, ao, at, lo, B, bo, b_row, K, start, bias,
           bias_at, last):  # fmt: skip
    """``tile.pixels`` of any of its shapes, pixels side by side; its table is at[lo:]."""

    def emit(context, builder, signature, a):
        arrays = [(C, a[3], a[4]), (A, a[6], a[7]), (B, a[10], a[11]), (bias, a[15], a[16])]
        numbers = [a[1], a[2], a[5], I64(1), a[12], a[13], a[14], a[17]]
        return _call(context, builder, a[0], arrays, (at, a[8], a[9]), numbers)

    n = types.int64
    return types.void(n, n, n, C, n, n, A, n, at, n, B, n, n, n, n, bias, n, n), emit
