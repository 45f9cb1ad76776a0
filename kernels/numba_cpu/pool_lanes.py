"""Pooling a run of like windows by vectors, in one of two ways.

Neighbouring windows in the lanes of a vector (``pool_taps``): a tap of 16 windows a stride s apart
is s loads. Nothing is kept between rows: overlapping rows are re-read, from the first cache. The
order of taps is D, H, W for each window, so that the result has the bits of the plain loops: which
of 0 and -0, which NaN.

Neighbouring taps in the lanes: where a window's rows are long and windows are few or far apart
(global and adaptive pooling), a vector runs along each row, and its lanes are joined in the end. A
maximum is found first, and then where it lies.

Other dtypes than float32 and float64 are done window by window.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from .pool_taps import STRIDES, avg_windows, max_windows, max_windows_at
from .pool_vector import greater, greatest, load_or, lowest
from .pool_windows import BEHIND, FIRST, STRIDE, TAPS, add_up, divide, scan
from .vector import lanes, load_first, total, zeros

#: Joining the lanes of a vector is worth about as many loads.
JOIN = 8


@njit(cache=True, error_model="numpy")
def place_rows(table, depth, height, step, H, W):
    """Where the rows of a window lie behind its start, in the order D, H; how many there are."""
    rows = 0
    for id in range(0, depth, step[0]):
        for ih in range(0, height, step[1]):
            table[rows] = (id * H + ih) * W
            rows += 1
    return rows


@njit(cache=True, error_model="numpy", forceinline=True)
def _along(x, run, rows, step):
    """Whether taps are to lie in lanes, not windows: it takes fewer loads, or windows are too far
    apart.
    """
    L, count, K = lanes(x), run[BEHIND] - run[FIRST], run[TAPS]
    side = (count + L - 1) // L * rows * K * run[STRIDE]
    fewer = step == 1 and count * (rows * ((K + L - 1) // L) + JOIN) < side
    return fewer or run[STRIDE] > STRIDES


@njit(cache=True, error_model="numpy", forceinline=True)
def _greatest_along(x, at, table, rows, K):
    """The greatest of K taps side by side in each row."""
    best = lowest(x)
    for r in range(rows):
        for k in range(0, K, lanes(x)):
            best = greater(best, load_or(x, at + table[r] + k, K - k, best))
    return greatest(best)


@njit(cache=True, error_model="numpy")
def _where(x, at, table, rows, K, value):
    """Where behind ``at`` the first tap equal to ``value`` lies or, of a NaN, the last."""
    found = 0
    for r in range(rows):
        for k in range(K):
            v = x[np.uint64(at + table[r] + k)]
            if v == value:
                return table[r] + k
            if v != v:
                found = table[r] + k
    return found


@njit(cache=True, error_model="numpy", forceinline=True)
def _sum_along(x, at, table, rows, K):
    """The sum of K taps side by side in each row."""
    found = zeros(x)
    for r in range(rows):
        for k in range(0, K, lanes(x)):
            found = found + load_first(x, at + table[r] + k, K - k)
    return total(found)


@njit(cache=True, error_model="numpy")
def _max_floats(y, index, to, x, base, d0, d1, h0, h1, w, run, step, H, W, table, rows):
    first, count, K = run[FIRST], run[BEHIND] - run[FIRST], run[TAPS]
    start = (d0 * H + h0) * W + w[first, 0]
    if not _along(x, run, rows, step[2]):
        if index is None:
            max_windows(y, to, x, base + start, table, rows, K, step[2], run[STRIDE], count)
        else:
            max_windows_at(
                y, index, to, x, base + start, start, table, rows, K, step[2], run[STRIDE], count
            )
        return
    for j in range(count):
        at = base + start + j * run[STRIDE]
        value = _greatest_along(x, at, table, rows, K)
        if index is not None:
            where = _where(x, at, table, rows, K, value)
            index[np.uint64(to + j)] = at - base + where
            value = x[np.uint64(at + where)]
        elif value == 0 or value != value:  # which zero, which NaN is a matter of order
            value = x[np.uint64(at + _where(x, at, table, rows, K, value))]
        y[np.uint64(to + j)] = value


@njit(cache=True, error_model="numpy")
def _max_others(y, index, to, x, base, d0, d1, h0, h1, w, run, step, H, W, table, rows):
    for j in range(run[BEHIND] - run[FIRST]):
        w0, w1 = w[run[FIRST] + j, 0], w[run[FIRST] + j, 1]
        v, at = scan(x, base, d0, d1, h0, h1, w0, w1, step, H, W)
        y[np.uint64(to + j)] = v
        if index is not None:
            index[np.uint64(to + j)] = at


def max_run(y, index, to, x, base, d0, d1, h0, h1, w, run, step, H, W, table, rows):
    """The windows of one run and row: y[to:] and index[to:], which may be None, from the plane of x
    that begins at ``base``; ``table`` says where a window's ``rows`` rows lie. There are taps.
    """
    raise NotImplementedError("compiled code only: numba picks one of the two above by type")


@overload(max_run, jit_options={"forceinline": True})
def _max_by_type(y, index, to, x, base, d0, d1, h0, h1, w, run, step, H, W, table, rows):
    return _max_floats.py_func if isinstance(x.dtype, types.Float) else _max_others.py_func


@njit(cache=True, error_model="numpy")
def _avg_floats(y, to, x, base, d0, d1, h0, h1, w, run, H, W, table, rows, extent):
    first, count, K = run[FIRST], run[BEHIND] - run[FIRST], run[TAPS]
    at, divisor = base + (d0 * H + h0) * W + w[first, 0], x.dtype.type(extent * w[first, 2])
    if not _along(x, run, rows, 1):
        avg_windows(y, to, divisor, x, at, table, rows, K, 1, run[STRIDE], count)
        return
    for j in range(count):
        y[np.uint64(to + j)] = _sum_along(x, at + j * run[STRIDE], table, rows, K) / divisor


@njit(cache=True, error_model="numpy")
def _avg_others(y, to, x, base, d0, d1, h0, h1, w, run, H, W, table, rows, extent):
    w0, w1, divisor = w[run[FIRST], 0], w[run[FIRST], 1], extent * w[run[FIRST], 2]
    for j in range(run[BEHIND] - run[FIRST]):
        v = add_up(x, base + j * run[STRIDE], d0, d1, h0, h1, w0, w1, H, W)
        y[np.uint64(to + j)] = divide(v, divisor)


def avg_run(y, to, x, base, d0, d1, h0, h1, w, run, H, W, table, rows, extent):
    """As ``max_run``: sums over ``extent``, that of D and H, times that of W."""
    raise NotImplementedError("compiled code only: numba picks one of the two above by type")


@overload(avg_run, jit_options={"forceinline": True})
def _avg_by_type(y, to, x, base, d0, d1, h0, h1, w, run, H, W, table, rows, extent):
    return _avg_floats.py_func if isinstance(x.dtype, types.Float) else _avg_others.py_func
