"""Pooling one window at a time, and what windows of an axis have in common.

A window is read where it lies, tap by tap in the order D, H, W, which settles ties and NaN. That is
the path of integers and complex numbers. For floats ``runs`` finds neighbouring windows that are
alike, and ``pool_lanes`` takes each run at once.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

#: Columns of a table of runs: its first window, the one behind its last, how far apart they are,
#: and the taps of each.
FIRST, BEHIND, STRIDE, TAPS = range(4)


@njit(cache=True, error_model="numpy")
def taps(windows, step):
    """Taps of all windows of an axis together."""
    found = 0
    for o in range(windows.shape[0]):
        found += max(0, windows[o, 1] - windows[o, 0] + step - 1) // step
    return found


@njit(cache=True, error_model="numpy")
def longest(windows, step):
    """Taps of the longest window of an axis."""
    found = 0
    for o in range(windows.shape[0]):
        found = max(found, windows[o, 1] - windows[o, 0])
    return (found + step - 1) // step


@njit(cache=True, error_model="numpy")
def runs(windows, step, strides):
    """Neighbouring windows that have the same length (and extent, of an average) and that are the
    same distance apart, 1 to ``strides``: a table of runs, one row each.
    """
    count = windows.shape[0]
    found, number, o = np.empty((count, 4), np.int64), 0, 0
    while o < count:
        length, s, behind = windows[o, 1] - windows[o, 0], 1, o + 1
        while behind < count:
            apart = windows[behind, 0] - windows[behind - 1, 0]
            alike = windows[behind, 1] - windows[behind, 0] == length and (
                windows.shape[1] < 3 or windows[behind, 2] == windows[o, 2]
            )
            if not alike or apart < 1 or apart > strides or (behind > o + 1 and apart != s):
                break
            s, behind = apart, behind + 1
        found[number, FIRST], found[number, BEHIND] = o, behind
        found[number, STRIDE], found[number, TAPS] = s, max(0, length + step - 1) // step
        number, o = number + 1, behind
    return found[:number]


@njit(cache=True, error_model="numpy", forceinline=True)
def following(oh, od, base, OH, OD, size):
    """The next row's position, and where its plane begins: counted, not divided."""
    if oh + 1 < OH:
        return oh + 1, od, base
    if od + 1 < OD:
        return 0, od + 1, base
    return 0, 0, base + size


def lowest_of(x):
    """-inf or, for integers, their minimum: what no element of ``x`` is less than."""
    raise NotImplementedError("compiled code only: numba picks one of the two below by type")


@overload(lowest_of)
def _lowest_by_type(x):
    if isinstance(x.dtype, types.Float):
        return lambda x: -np.inf
    least = x.dtype.minval
    return lambda x: least


@njit(cache=True, error_model="numpy")
def scan(x, base, d0, d1, h0, h1, w0, w1, step, H, W):
    """The largest tap of a window, and its flat position behind ``base``."""
    at = (d0 * H + h0) * W + w0
    best = x[np.uint64(base + at)]
    id = d0
    while id < d1:  # while, because range() with a step divides to find its length
        ih = h0
        while ih < h1:
            iw = w0
            while iw < w1:
                here = (id * H + ih) * W + iw
                v = x[np.uint64(base + here)]
                if v > best or v != v:  # v != v: a NaN, and the last NaN wins
                    best, at = v, here
                iw += step[2]
            ih += step[1]
        id += step[0]
    return best, at


def divide(total, divisor):
    """``total / divisor``, divisor an int64; an integer total is divided towards zero, as in C."""
    raise NotImplementedError("compiled code only: numba picks one of the four below by type")


@overload(divide)
def _divide_by_type(total, divisor):
    if isinstance(total, types.Float):
        typed = total  # in its own dtype: a float32 over an int64 would be a float64
        return lambda total, divisor: total / typed(divisor)
    if isinstance(total, types.Complex):
        part = total.underlying_float
        return lambda total, divisor: complex(
            total.real / part(divisor), total.imag / part(divisor)
        )
    if total == types.uint64:
        return lambda total, divisor: total // np.uint64(divisor)

    def towards_zero(total, divisor):
        if divisor == -1:  # the one quotient that can overflow: it wraps
            return -np.int64(total)
        quotient = np.int64(total) // divisor  # floors
        return quotient + (quotient < 0 and quotient * divisor != total)

    return towards_zero


@njit(cache=True, error_model="numpy")
def add_up(x, base, d0, d1, h0, h1, w0, w1, H, W):
    """The sum of a window's taps, in the dtype of x."""
    typed = x.dtype.type
    total = typed(0)
    for id in range(d0, d1):
        for ih in range(h0, h1):
            row = base + (id * H + ih) * W
            for iw in range(w0, w1):
                total = typed(total + x[np.uint64(row + iw)])
    return total
