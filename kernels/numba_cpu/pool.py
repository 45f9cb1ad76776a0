"""Pooling on the CPU: beside ``im2col/pool`` no columns are stored, and vectors do the windows.

An item is a row of the output (a row of dx in the backward); each thread has a stretch of them, so
that one plane is work for all. ``pool_rows`` and ``pool_backward`` say how rows are made. They are
machine code of C's calling convention, compiled once a dtype and called by address: Numba compiles
what a function calls again with it, and for a ``prange`` twice. Small calls run on one thread:
starting others takes longer.
"""

from functools import lru_cache
from math import prod

import numpy as np
from numba import cfunc, from_dtype, get_num_threads, njit, prange, types
from numba.extending import overload

from .pool_backward import avg_backward_rows
from .pool_rows import avg_rows, max_rows
from .pool_vector import call
from .pool_windows import taps

#: Taps of all windows below which a call runs on one thread, and what is more than any has.
SERIAL, ENDLESS = 1 << 16, 1 << 62
#: A recipe: the code's address, rows, taps, where its tables h and w begin; sizes; the tables.
CODE, ROWS, WORK, H_AT, W_AT, SIZES = range(6)
TABLES = SIZES + 9

#: The windows of an axis of size 1, by the columns of a table.
_ONE = {columns: np.array([[0, 1, 1][:columns]]) for columns in (2, 3)}

_KINDS = {"max": max_rows, "values": max_rows, "avg": avg_rows, "avg_backward": avg_backward_rows}


@lru_cache(maxsize=64)
def _address(kind, dtype):
    """Where the machine code that makes rows of a kind and dtype begins."""
    number, numbers = types.int64, types.CPointer(types.int64)
    data = types.CPointer(from_dtype(dtype))
    index = numbers if kind == "max" else types.voidptr  # by its type: whether there is one
    signature = types.void(data, index, data, numbers, numbers, numbers, numbers, number, number)
    return cfunc(signature, cache=True, error_model="numpy")(_KINDS[kind]).address


def _at(operand):
    """Where a contiguous array begins, which may have come as its address."""
    raise NotImplementedError("compiled code only: numba picks one of the two below by type")


@overload(_at, inline="always")
def _at_by_type(operand):
    if isinstance(operand, types.Integer):
        return lambda operand: operand
    return lambda operand: operand.ctypes.data


@njit(cache=True, error_model="numpy")
def _some(y, index, x, recipe, first, last):
    """Rows ``first`` to ``last`` of a call."""
    start = recipe.ctypes.data
    d, h, w = start + 8 * TABLES, start + 8 * recipe[H_AT], start + 8 * recipe[W_AT]
    call(recipe[CODE], y, index, x, d, h, w, start + 8 * SIZES, first, last)


@njit(cache=True, error_model="numpy")
def one(y, x, recipe):
    """The whole call on one thread. Arrays are flat, or addresses."""
    _some(_at(y), 0, _at(x), recipe, 0, recipe[ROWS])


@njit(cache=True, error_model="numpy")
def two(y, index, x, recipe):
    """The same with an index."""
    _some(_at(y), _at(index), _at(x), recipe, 0, recipe[ROWS])


@njit(parallel=True, cache=True, error_model="numpy")
def _on_all(y, index, x, recipe, threads):
    rows = recipe[ROWS]
    for worker in prange(threads):
        i = np.int64(worker)
        _some(y, index, x, recipe, rows * i // threads, rows * (i + 1) // threads)


def _run(kind, y, index, x, *numbers):
    """Make the rows of y, of which x is the larger or (backward) the smaller side."""
    recipe, threads = _recipe(kind, x.dtype, y.shape, x.shape, *numbers), get_num_threads()
    y, index, x = y.ctypes.data, 0 if index is None else index.ctypes.data, x.ctypes.data
    if recipe[WORK] <= (SERIAL if threads > 1 else ENDLESS):
        two(y, index, x, recipe)
    else:
        _on_all(y, index, x, recipe, threads)


def _shortcut(kind, dtype, y, x, *numbers):
    """What makes a small call and, in a tuple, its recipe; None where threads would help."""
    recipe = _recipe(kind, dtype, y, x, *numbers)
    return (two if kind == "max" else one, (recipe,)) if recipe[WORK] <= SERIAL else None


def _recipe(kind, dtype, y, x, d, h, w, step=(1, 1, 1)):
    """All that a call needs to know besides where its arrays are, from their shapes."""
    return _made(kind, dtype, y, x, step, w.shape[1], d.tobytes(), h.tobytes(), w.tobytes())


@lru_cache(maxsize=512)
def _made(kind, dtype, y, x, step, columns, *tables):
    windows = [np.frombuffer(table, np.int64).reshape(-1, columns) for table in tables]
    large, small = (y, x) if kind == "avg_backward" else (x, y)
    large, small, windows, step = _whole_rows(large[2:], small[2:], windows, step)
    made = large if kind == "avg_backward" else small
    work = prod(y[:2]) * prod(int(taps(*axis)) for axis in zip(windows, step, strict=True))
    h_at = TABLES + windows[0].size
    numbers = _address(kind, dtype), prod((*y[:2], *made[:2])), work, h_at, h_at + windows[1].size
    parts = numbers, large, small, step, *(table.ravel() for table in windows)
    return np.concatenate(parts, dtype=np.int64)


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


def max_pool(y, index, x, *numbers):
    """``y`` = the largest tap of each window, index = its flat position in the plane of x.

    Item: one row of y and index; the rows of x it reads are re-read by overlapping windows.
    """
    _run("max", y, index, x, *numbers)


def max_pool_values(y, x, *numbers):
    """``y`` = the largest tap of each window. Item: one row of y."""
    _run("values", y, None, x, *numbers)


def avg_pool(y, x, *numbers):
    """``y`` = the sum of each window / the product of its extents. Item: one row of y."""
    _run("avg", y, None, x, *numbers)


def avg_pool_backward(dx, dy, *numbers):
    """dx[i] = the sum of dy[o] / divisor(o) over the windows that hold i. Item: one row of dx."""
    _run("avg_backward", dx, None, dy, *numbers)


def max_shortcut(dtype, y, index, x, *numbers):
    """``max_pool`` without arrays of five axes, from the arrays' shapes."""
    return _shortcut("max", dtype, y, x, *numbers)


def values_shortcut(dtype, y, x, *numbers):
    """The same of ``max_pool_values``."""
    return _shortcut("values", dtype, y, x, *numbers)


def avg_shortcut(dtype, y, x, *numbers):
    """The same of ``avg_pool``."""
    return _shortcut("avg", dtype, y, x, *numbers)


def avg_backward_shortcut(dtype, dx, dy, *numbers):
    """The same of ``avg_pool_backward``."""
    return _shortcut("avg_backward", dtype, dx, dy, *numbers)
