"""Register tiles: against a matrix product, at every edge; and the machine code they become."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from numba import njit

from refconv.kernels.numba_cpu import compiled, tile, vector

DTYPES = [np.float32, np.float64]
K, ROWS, COLUMNS = 5, 3, 2

_panel, _taps, _pixels = (f(ROWS, COLUMNS) for f in (tile.panel, tile.taps, tile.pixels))


@njit
def _run_panel(C, c_row, A, a_row, B, b_row, start, bias, last):
    _panel(C, 1, c_row, A, 2, a_row, B, 3, b_row, K, start, bias, 1, last)


@njit
def _run_taps(C, c_row, A, a_row, B, at, start, bias, last):
    _taps(C, 1, c_row, A, 2, a_row, B, 3, at, K, start, bias, 1, last)


@njit
def _run_pixels(C, c_row, A, a_row, at, B, b_row, start, bias, last):
    _pixels(C, 1, c_row, A, 2, a_row, at, B, 3, b_row, K, start, bias, 1, last)


@njit
def _compiled(code, kind, rows, columns, C, c_row, A, a_row, B, at, b_row, start, bias, last):
    if kind == 0:
        compiled.panel(code, rows, columns, C, 1, c_row, A, 2, a_row, B, 3, b_row, K, start, bias,
                       1, last)  # fmt: skip
    elif kind == 1:
        compiled.taps(code, rows, columns, C, 1, c_row, A, 2, a_row, B, 3, at, K, start, bias, 1,
                      last)  # fmt: skip
    else:
        compiled.pixels(code, rows, columns, C, 1, c_row, A, 2, at, 1, B, 3, b_row, K, start, bias,
                        1, last)  # fmt: skip


class _Case:
    """Integer operands for a tile, A's rows ``apart``, and what it must make of them."""

    def __init__(self, kind, rows, columns, last, dtype, apart=9):
        rng = np.random.default_rng(rows * 8 + columns)
        n = vector.BYTES // np.dtype(dtype).itemsize
        self.width = (columns - 1) * n + last
        self.c_row, self.a_row, self.b_row = columns * n + 3, apart, columns * n
        self.at = np.array([0, 7, 4, 19, 30])
        self.C = rng.integers(-9, 9, 2 + rows * self.c_row).astype(dtype)
        self.A = rng.integers(-9, 9, 64 + rows * self.a_row).astype(dtype)
        # ``taps`` reads no more of B than its lanes: it ends there.
        reach = self.at[-1] + self.width if kind == "taps" else K * self.b_row
        self.B = rng.integers(-9, 9, 3 + reach).astype(dtype)
        self.bias = rng.integers(-9, 9, 2 + max(rows, columns * n)).astype(dtype)
        r, k, j = np.ogrid[:rows, :K, : self.width]
        r, k = r[..., 0], k[0]
        if kind == "pixels":
            a = self.A[2 + r * self.a_row + self.at[k.T]]
        else:
            a = self.A[2 + r * self.a_row + k.T]
        b = self.B[3 + (self.at[k] + j[0] if kind == "taps" else k * self.b_row + j[0])]
        self.product = a @ b

    def check(self, start, call):
        got = self.C.copy()
        call(got)
        want = self.C.copy()
        rows = want[1 : 1 + len(self.product) * self.c_row].reshape(-1, self.c_row)
        before = {
            tile.ZERO: 0,
            tile.SUMS: rows[:, : self.width].copy(),
            tile.ROWS: self.bias[1 : 1 + len(rows), None],
            tile.COLUMNS: self.bias[1 : 1 + self.width],
        }[start]
        rows[:, : self.width] = before + self.product
        np.testing.assert_array_equal(got, want)


STARTS = [tile.ZERO, tile.SUMS, tile.ROWS, tile.COLUMNS]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["panel", "taps", "pixels"])
def test_tile(kind, dtype):
    """Every start, whole and partial last vectors; nothing outside the tile is written."""
    n = vector.BYTES // np.dtype(dtype).itemsize
    for start in STARTS:
        for last in (1, n - 1, n):
            t = _Case(kind, ROWS, COLUMNS, last, dtype)
            common = (start, t.bias, last)
            if kind == "panel":
                t.check(start, lambda C, t=t, c=common: _run_panel(
                    C, t.c_row, t.A, t.a_row, t.B, t.b_row, *c))  # fmt: skip
            elif kind == "taps":
                t.check(start, lambda C, t=t, c=common: _run_taps(
                    C, t.c_row, t.A, t.a_row, t.B, t.at, *c))  # fmt: skip
            else:
                t.check(start, lambda C, t=t, c=common: _run_pixels(
                    C, t.c_row, t.A, t.a_row, t.at, t.B, t.b_row, *c))  # fmt: skip


@pytest.mark.parametrize("kind", ["panel", "taps", "pixels"])
def test_compiled_tiles_of_every_shape(kind):
    """The same through an address; ``pixels`` with neighbours one element apart."""
    number = ["panel", "taps", "pixels"].index(kind)
    code = compiled.address(kind, np.float32)
    for (rows, columns), last in product(compiled.SHAPES[kind], (3, vector.BYTES // 4)):
        t = _Case(kind, rows, columns, last, np.float32, apart=1)
        at = np.r_[0, t.at] if kind == "pixels" else t.at
        t.check(tile.ROWS, lambda C, t=t, at=at, r=rows, c=columns, last=last: _compiled(
            code, number, r, c, C, t.c_row, t.A, t.a_row, t.B, at, t.b_row, tile.ROWS, t.bias,
            last))  # fmt: skip


#: Rows and columns of a tile whose sums fill three quarters of the registers.
PEAK = (6, 4) if vector.REGISTERS >= 32 else (6, 2)
_panel_peak, _taps_peak = tile.panel(*PEAK), tile.taps(*PEAK)


@njit
def _peak(C, A, B, at, steps, last):
    _panel_peak(C, 0, 64, A, 0, 8, B, 0, 64, steps, 0, C, 0, last)


@njit
def _peak_taps(C, A, B, at, steps, last):
    _taps_peak(C, 0, 64, A, 0, 8, B, 0, at, steps, 0, C, 0, last)


@pytest.mark.parametrize("kernel", [_peak, _peak_taps], ids=["panel", "taps"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loop_is_vector_fmas_and_spills_nothing(dtype, kernel):
    """FMAs of the full width in the innermost loop, and no register stored on the stack; where a
    mask would take one of few registers, no mask either.
    """
    if vector.BYTES < 32:
        pytest.skip(f"registers of {vector.BYTES} bytes: what they are called is not known here")
    arrays = np.zeros(6 * 64, dtype), np.ones(6 * 8, dtype), np.ones(8 * 64, dtype)
    kernel(*arrays, np.arange(8), 8, 3)
    kinds = [s for s in kernel.signatures if s[0].dtype.name == np.dtype(dtype).name]
    register, form = {32: "ymm", 64: "zmm"}[vector.BYTES], {4: "ps", 8: "pd"}[dtype().itemsize]
    fma = re.compile(rf"vfmadd\d+{form}\s.*%{register}\d+")
    assembly = kernel.inspect_asm(kinds[0])
    blocks = re.split(r"\n\.?\w+:", assembly)
    loop = max(blocks, key=lambda block: len(fma.findall(block)))
    sums = PEAK[0] * PEAK[1]
    # LLVM may take two steps at a time.
    assert len(fma.findall(loop)) in (sums, 2 * sums)
    assert not re.search(rf"vmov\w+\s+%{register}\d+, .*\(%r[sb]p\)", loop), loop
    assert vector.MASKS or "vmaskmov" not in assembly
