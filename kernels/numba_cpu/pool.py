"""Pooling on the CPU: beside ``im2col/pool`` no columns are stored, and vectors do the windows.

An item is a row of the output (a row of dx in the backward); each thread has a stretch of them, so
that one plane is work for all. ``pool_rows`` and ``pool_backward`` say how rows are made. They are
machine code of C's calling convention, compiled once a dtype and called by address: Numba compiles
what a function calls again with it, and for a ``prange`` twice. Small calls run on one thread:
starting others takes longer.
"""

from functools import lru_cache

import numpy as np
from numba import cfunc, from_dtype, get_num_threads, njit, prange, types

from .pool_backward import avg_backward_rows
from .pool_rows import avg_rows, max_rows
from .pool_vector import call
from .pool_windows import taps

#: Taps of all windows below which a call runs on one thread, and what is more than any has.
SERIAL, ENDLESS = 1 << 16, 1 << 62

#: The windows of an axis of size 1, by the columns of a table.
_ONE = {columns: np.array([[0, 1, 1][:columns]]) for columns in (2, 3)}

_ROWS = {"max": max_rows, "values": max_rows, "avg": avg_rows, "avg_backward": avg_backward_rows}


@lru_cache(maxsize=64)
def _address(kind, dtype):
    """Where the machine code that makes rows of a kind and dtype begins."""
    number, numbers = types.int64, types.CPointer(types.int64)
    data = types.CPointer(from_dtype(dtype))
    index = numbers if kind == "max" else types.voidptr  # by its type: whether there is one
    signature = types.void(data, index, data, numbers, numbers, numbers, numbers, number, number)
    return cfunc(signature, cache=True, error_model="numpy")(_ROWS[kind]).address


@njit(cache=True, error_model="numpy")
def _small(code, y, index, x, d, h, w, sizes, planes, rows, most):
    """The whole call on one thread, if it has no more than ``most`` taps; whether it has."""
    if planes * taps(d, sizes[6]) * taps(h, sizes[7]) * taps(w, sizes[8]) > most:
        return False
    tables = d.ctypes.data, h.ctypes.data, w.ctypes.data
    call(code, y, index, x, tables[0], tables[1], tables[2], sizes.ctypes.data, 0, rows)
    return True


@njit(parallel=True, cache=True, error_model="numpy")
def _large(code, y, index, x, d, h, w, sizes, rows, threads):
    d, h, w, sizes = d.ctypes.data, h.ctypes.data, w.ctypes.data, sizes.ctypes.data
    for worker in prange(threads):
        i = np.int64(worker)
        call(code, y, index, x, d, h, w, sizes, rows * i // threads, rows * (i + 1) // threads)


def _run(kind, y, index, x, d, h, w, step):
    """Make the rows of y, of which x is the larger or (backward) the smaller side."""
    large, small = (y, x) if kind == "avg_backward" else (x, y)
    sides = large.shape[2:], small.shape[2:]
    tables = d.tobytes(), h.tobytes(), w.tobytes()
    d, h, w, sizes, rows = _geometry(*sides, step, w.shape[1], *tables)
    threads, planes = get_num_threads(), y.shape[0] * y.shape[1]
    rows = planes * rows[large is y]
    data = y.ctypes.data, 0 if index is None else index.ctypes.data, x.ctypes.data
    code = _address(kind, x.dtype)
    most = SERIAL if threads > 1 else ENDLESS
    if not _small(code, *data, d, h, w, sizes, planes, rows, most):
        _large(code, *data, d, h, w, sizes, rows, threads)


@lru_cache(maxsize=512)
def _geometry(large, small, step, columns, *tables):
    """Tables, sizes and the rows of a plane (of the smaller side, of the larger one), as
    ``pool_rows`` wants them; ``tables`` are the contract's, in bytes.
    """
    windows = [np.frombuffer(table, np.int64).reshape(-1, columns).copy() for table in tables]
    large, small, windows, step = _whole_rows(large, small, windows, step)
    sizes = np.array([*large, *small, *step])
    return *windows, sizes, (small[0] * small[1], large[0] * large[1])


def _whole_rows(large, small, windows, step):
    """Where windows are whole rows one below the other, they are runs of one longer row: sizes and
    tables of that problem, as long as there are such rows.
    """
    for _ in range(2):
        (d, h, w), W = windows, large[2]
        whole = len(w) == 1 and w[0, 0] == 0 and w[0, 1] == W and step[1] == step[2] == 1
        if not whole or large[0] * large[1] * small[0] * small[1] == 1:
            break
        joined = h * W if h.shape[1] == 2 else h * (W, W, w[0, 2])
        windows, step = (_ONE[h.shape[1]], d, joined), (1, step[0], 1)
        large, small = (1, large[0], large[1] * W), (1, small[0], small[1])
    return large, small, windows, step


def max_pool(y, index, x, d, h, w, step):
    """``y`` = the largest tap of each window, index = its flat position in the plane of x.

    Item: one row of y and index; the rows of x it reads are re-read by overlapping windows.
    """
    _run("max", y, index, x, d, h, w, step)


def max_pool_values(y, x, d, h, w, step):
    """``y`` = the largest tap of each window. Item: one row of y."""
    _run("values", y, None, x, d, h, w, step)


def avg_pool(y, x, d, h, w):
    """``y`` = the sum of each window / the product of its extents. Item: one row of y."""
    _run("avg", y, None, x, d, h, w, (1, 1, 1))


def avg_pool_backward(dx, dy, d, h, w):
    """dx[i] = the sum of dy[o] / divisor(o) over the windows that hold i. Item: one row of dx."""
    _run("avg_backward", dx, None, dy, d, h, w, (1, 1, 1))
