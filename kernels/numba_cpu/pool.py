"""Pooling on the CPU: beside ``im2col/pool`` no columns are stored, and vectors do the windows.

An item is a row of the output (a row of dx in the backward); each thread has a stretch of them, so
that one plane is work for all. A row's regular windows go through ``pool_lanes``, those at its ends
and irregular ones through ``pool_windows``; ``pool_backward`` is the way back. Small calls run on
one thread: starting others takes longer.
"""

import numpy as np
from numba import get_num_threads, njit, prange

from .pool_backward import avg_backward_rows
from .pool_lanes import avg_run, max_run, place_rows
from .pool_taps import STRIDES
from .pool_windows import BEHIND, FIRST, STRIDE, TAPS, flat, following, longest, lowest_of, runs, taps

#: Taps of all windows below which a call runs on one thread.
SERIAL = 1 << 16

#: The windows of an axis of size 1, by the columns of a table.
_ONE = {columns: np.array([[0, 1, 1][:columns]]) for columns in (2, 3)}


@njit(cache=True, error_model="numpy")
def _max_rows(y, index, x, d, h, w, step, first, last):
    """Rows ``first`` to ``last`` of y and, where it is not None, of index."""
    _, _, D, H, W = x.shape
    _, _, OD, OH, OW = y.shape
    x, y, where = x.reshape(-1), y.reshape(-1), flat(index)
    alike = runs(w, step[2], STRIDES)
    table = np.empty(longest(d, step[0]) * longest(h, step[1]), np.int64)
    rows, depth, height = 0, -1, -1
    oh, od, base = first % OH, first // OH % OD, first // (OH * OD) * D * H * W
    for row in range(first, last):
        d0, d1, h0, h1 = d[od, 0], d[od, 1], h[oh, 0], h[oh, 1]
        if depth != d1 - d0 or height != h1 - h0:
            depth, height = d1 - d0, h1 - h0
            rows = place_rows(table, depth, height, step, H, W)
        for i in range(alike.shape[0]):
            run = alike[i, 0], alike[i, 1], alike[i, 2], alike[i, 3]
            to = row * OW + run[FIRST]
            if rows > 0 and run[TAPS] > 0:
                max_run(y, where, to, x, base, d0, d1, h0, h1, w, run, step, H, W, table, rows)
                continue
            for o in range(to, row * OW + run[BEHIND]):  # no tap: dilated past the input
                y[np.uint64(o)] = lowest_of(x)
                if index is not None:
                    where[np.uint64(o)] = -1
        oh, od, base = following(oh, od, base, OH, OD, D * H * W)


@njit(cache=True, error_model="numpy")
def _avg_rows(y, x, d, h, w, first, last):
    """Rows ``first`` to ``last`` of y."""
    _, _, D, H, W = x.shape
    _, _, OD, OH, OW = y.shape
    x, y = x.reshape(-1), y.reshape(-1)
    alike = runs(w, 1, STRIDES)
    # Where a plane gives one number, planes are a run of windows, as far apart as they are large.
    several = max(1, last - first) if OD * OH * OW == 1 else 1
    alike[:, BEHIND] += several - 1
    if several > 1:
        alike[0, STRIDE] = D * H * W
    table = np.empty(longest(d, 1) * longest(h, 1), np.int64)
    rows, depth, height = 0, -1, -1
    oh, od, base = first % OH, first // OH % OD, first // (OH * OD) * D * H * W
    for row in range(first, last, several):
        d0, d1, h0, h1 = d[od, 0], d[od, 1], h[oh, 0], h[oh, 1]
        if depth != d1 - d0 or height != h1 - h0:
            depth, height = d1 - d0, h1 - h0
            rows = place_rows(table, depth, height, (1, 1, 1), H, W)
        extent = d[od, 2] * h[oh, 2]
        for i in range(alike.shape[0]):
            run = alike[i, 0], alike[i, 1], alike[i, 2], alike[i, 3]
            to = row * OW + run[FIRST]
            if rows > 0 and run[TAPS] > 0:
                avg_run(y, to, x, base, d0, d1, h0, h1, w, run, H, W, table, rows, extent)
                continue
            for o in range(to, row * OW + run[BEHIND]):
                y[np.uint64(o)] = 0
        oh, od, base = following(oh, od, base, OH, OD, D * H * W)


@njit(cache=True, error_model="numpy")
def _is_small(planes, d, h, w, step, threads):
    """Whether one thread is enough."""
    work = planes * taps(d, step[0]) * taps(h, step[1]) * taps(w, step[2])
    return threads == 1 or work < SERIAL


@njit(cache=True, error_model="numpy")
def _max_small(y, index, x, d, h, w, step, threads):
    """The whole call on one thread, if it is small; whether it was."""
    N, C, OD, OH, _ = y.shape
    if not _is_small(N * C, d, h, w, step, threads):
        return False
    _max_rows(y, index, x, d, h, w, step, 0, N * C * OD * OH)
    return True


@njit(parallel=True, cache=True, error_model="numpy")
def _max_large(y, index, x, d, h, w, step, threads):
    N, C, OD, OH, _ = y.shape
    rows = N * C * OD * OH
    for worker in prange(threads):
        i = np.int64(worker)
        _max_rows(y, index, x, d, h, w, step, rows * i // threads, rows * (i + 1) // threads)


@njit(parallel=True, cache=True, error_model="numpy")
def _values_large(y, x, d, h, w, step, threads):
    N, C, OD, OH, _ = y.shape
    rows = N * C * OD * OH
    for worker in prange(threads):
        i = np.int64(worker)
        _max_rows(y, None, x, d, h, w, step, rows * i // threads, rows * (i + 1) // threads)


@njit(cache=True, error_model="numpy")
def _avg_small(y, x, d, h, w, threads):
    """The whole call on one thread, if it is small; whether it was."""
    N, C, OD, OH, _ = y.shape
    if not _is_small(N * C, d, h, w, (1, 1, 1), threads):
        return False
    _avg_rows(y, x, d, h, w, 0, N * C * OD * OH)
    return True


@njit(parallel=True, cache=True, error_model="numpy")
def _avg_large(y, x, d, h, w, threads):
    N, C, OD, OH, _ = y.shape
    rows = N * C * OD * OH
    for worker in prange(threads):
        i = np.int64(worker)
        _avg_rows(y, x, d, h, w, rows * i // threads, rows * (i + 1) // threads)


@njit(cache=True, error_model="numpy")
def _avg_backward_small(dx, dy, d, h, w, threads):
    """The whole call on one thread, if it is small; whether it was."""
    N, C, D, H, _ = dx.shape
    if not _is_small(N * C, d, h, w, (1, 1, 1), threads):
        return False
    avg_backward_rows(dx, dy, d, h, w, 0, N * C * D * H)
    return True


@njit(parallel=True, cache=True, error_model="numpy")
def _avg_backward_large(dx, dy, d, h, w, threads):
    N, C, D, H, _ = dx.shape
    rows = N * C * D * H
    for worker in prange(threads):
        i = np.int64(worker)
        avg_backward_rows(dx, dy, d, h, w, rows * i // threads, rows * (i + 1) // threads)


def _whole_rows(arrays, d, h, w, step):
    """Where windows are whole rows one below the other, they are runs of one longer row: the arrays
    and tables of that problem, as long as there are such rows.
    """
    for _ in range(2):
        W = max(a.shape[4] for a in arrays)
        if len(w) != 1 or w[0, 0] != 0 or w[0, 1] != W or step[1] != 1 or step[2] != 1:
            break
        if all(a.shape[2] == a.shape[3] == 1 for a in arrays):
            break
        joined = h * W if h.shape[1] == 2 else h * (W, W, w[0, 2])
        d, h, w, step = _ONE[h.shape[1]], d, joined, (1, step[0], 1)
        arrays = [a.reshape(*a.shape[:2], 1, a.shape[2], -1) for a in arrays]
    return arrays, d, h, w, step


def max_pool(y, index, x, d, h, w, step):
    """``y`` = the largest tap of each window, index = its flat position in the plane of x.

    Item: one row of y and index; the rows of x it reads are re-read by overlapping windows.
    """
    (y, index, x), *numbers = _whole_rows((y, index, x), d, h, w, step)
    threads = get_num_threads()
    if not _max_small(y, index, x, *numbers, threads):
        _max_large(y, index, x, *numbers, threads)


def max_pool_values(y, x, d, h, w, step):
    """``y`` = the largest tap of each window. Item: one row of y."""
    (y, x), *numbers = _whole_rows((y, x), d, h, w, step)
    threads = get_num_threads()
    if not _max_small(y, None, x, *numbers, threads):
        _values_large(y, x, *numbers, threads)


def avg_pool(y, x, d, h, w):
    """``y`` = the sum of each window / the product of its extents. Item: one row of y."""
    (y, x), *windows, _ = _whole_rows((y, x), d, h, w, (1, 1, 1))
    threads = get_num_threads()
    if not _avg_small(y, x, *windows, threads):
        _avg_large(y, x, *windows, threads)


def avg_pool_backward(dx, dy, d, h, w):
    """dx[i] = the sum of dy[o] / divisor(o) over the windows that hold i. Item: one row of dx."""
    (dx, dy), *windows, _ = _whole_rows((dx, dy), d, h, w, (1, 1, 1))
    threads = get_num_threads()
    if not _avg_backward_small(dx, dy, *windows, threads):
        _avg_backward_large(dx, dy, *windows, threads)
