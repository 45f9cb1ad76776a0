"""Vectors: every operation against NumPy, in both dtypes, with what lies around left alone."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from refconv.kernels.numba_cpu import vector
from refconv.kernels.numba_cpu.vector import (
    evens,
    fma,
    lanes,
    load,
    load_first,
    load_range,
    splat,
    store,
    store_first,
    total,
    transpose,
    transpose_part,
    zeros,
)

DTYPES = [np.float32, np.float64]


@njit
def _moves(y, x, first, lo, hi):
    n = lanes(x)
    store(y, 0, load(x, 1))
    store(y, n, load_first(x, 2, first))
    store(y, 2 * n, load_range(x, 3, lo, hi))
    store(y, 3 * n, splat(x, 4))
    store(y, 4 * n, zeros(x))
    store(y, 5 * n, evens(load(x, 0), load(x, n)))
    store_first(y, 6 * n, load(x, 5), first)
    return n


@njit
def _arithmetic(y, a, b, c):
    n, u, v, w = lanes(a), load(a, 0), load(b, 0), load(c, 0)
    store(y, 0, fma(u, v, w))
    store(y, n, u + v)
    store(y, 2 * n, u - v)
    store(y, 3 * n, u * v)
    return total(u)


@njit
def _transposes(y, part, x, row, rows, first):
    transpose(x, 1, row, y, 2, row)
    transpose_part(x, 1, row, rows, first, part, 2, row, first, rows)


@pytest.mark.parametrize("dtype", DTYPES)
def test_moves(dtype):
    n = vector.BYTES // np.dtype(dtype).itemsize
    x = np.arange(1, 2 * n + 10, dtype=dtype)
    ranges = [(0, 0, 0), (1, 1, 2), (n - 1, -3, n + 5), (n, 2, 1), (2, -7, -2), (1, 0, n)]
    for first, lo, hi in ranges + [(first, 1, first) for first in range(n)]:
        y = np.full(7 * n + 3, np.nan, dtype)
        assert _moves(y, x, first, lo, hi) == n
        lane = np.arange(n)
        want = [
            x[1 : n + 1],
            np.where(lane < first, x[2 : n + 2], 0),
            np.where((lane >= lo) & (lane < hi), np.resize(x[3:], n), 0),
            np.full(n, x[4]),
            np.zeros(n),
            x[: 2 * n : 2],
        ]
        np.testing.assert_array_equal(y[: 6 * n], np.concatenate(want))
        np.testing.assert_array_equal(y[6 * n : 6 * n + first], x[5 : 5 + first])
        assert np.isnan(y[6 * n + first :]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype):
    """fma rounds once: 1 + e times 1 - e less 1 is -e*e, which two roundings would lose."""
    n = vector.BYTES // np.dtype(dtype).itemsize
    e = np.finfo(dtype).eps
    a = np.full(n, 1 + e, dtype)
    b, c = np.full(n, 1 - e, dtype), np.full(n, -1, dtype)
    a[0], b[0], c[0] = 3, -5, 7
    y = np.empty(4 * n, dtype)
    got = _arithmetic(y, a, b, c)
    np.testing.assert_array_equal(y[:n], np.r_[-8, np.full(n - 1, -e * e)].astype(dtype))
    np.testing.assert_array_equal(y[n:], np.concatenate([a + b, a - b, a * b]))
    assert got == pytest.approx(float(a.sum(dtype=np.float64)), rel=float(n * e))


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposes(dtype):
    n = vector.BYTES // np.dtype(dtype).itemsize
    row = n + 3
    x = np.arange(n * row + 2, dtype=dtype)
    square = np.lib.stride_tricks.sliding_window_view(x, row)[1::row][:n, :n]
    for rows, first in [(n, n), (1, n), (n, 1), (n // 2, n - 1)]:
        y, part = np.full((2, n * row + 2), np.nan, dtype)
        _transposes(y, part, x, row, rows, first)
        want = np.full((2, n * row + 2), np.nan, dtype)
        for i in range(n):
            want[0, 2 + i * row : 2 + i * row + n] = square[:, i]
        for i in range(first):
            want[1, 2 + i * row : 2 + i * row + rows] = square[:rows, i]
        np.testing.assert_array_equal(y, want[0])
        np.testing.assert_array_equal(part, want[1])
