"""Step 1 of pooling: one thread walks over one window; max, with positions or without, average,
adaptive or not, and the average's gradient (pool_1_windows.cu).

A thread computes where its window starts and stops, one axis at a time, and reads its taps in the
order D, H, W: a later tap wins only if it is greater, or NaN, so the first of equals and the last
NaN win. Threads are dealt out in the order of the output in memory, so a warp writes neighbours
and, with small strides, reads neighbours.
The average's gradient gathers: a thread owns one element of dx, and adds up dy / divisor over the
windows that hold it, in their order. No atomics, so the same bits every time.
"""

import math
from functools import cache

from numba import cuda

from .elements import elements
from .places import place_of
from .pool import divisor_of, holders_of, window_of


@cache
def largest(ELEMENT):
    """The largest element of a window, and its position in the plane; -inf and -1 if empty."""
    accumulator, load, _ = elements(ELEMENT)

    @cuda.jit(device=True)
    def largest(x, n, c, d, h, w, od, oh, ow, adaptive):
        start_d, stop_d = window_of(d, od, adaptive)
        start_h, stop_h = window_of(h, oh, adaptive)
        start_w, stop_w = window_of(w, ow, adaptive)
        best, best_at = accumulator(-math.inf), -1
        for id in range(start_d, stop_d, d[5]):
            for ih in range(start_h, stop_h, h[5]):
                for iw in range(start_w, stop_w, w[5]):
                    value = load(x[n, c, id, ih, iw])
                    # The first tap always leads, so that a window of -inf has a winner too.
                    if best_at < 0 or value > best or math.isnan(value):
                        best, best_at = value, (id * h[0] + ih) * w[0] + iw
        return best, best_at

    return largest


@cache
def max_pool_windows(ELEMENT, CHANNELS_LAST):
    """The kernel for one dtype and order of memory.

    Shapes: y, index (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d, h, w: axes (pool.py)
    """
    _, _, store = elements(ELEMENT)
    window, place = largest(ELEMENT), place_of(CHANNELS_LAST)

    @cuda.jit
    def max_pool_windows(y, index, x, d, h, w, adaptive):
        N, C, OD, OH, OW = y.shape
        n, c, od, oh, ow = place(C, OD, OH, OW)
        if n >= N:
            return
        best, best_at = window(x, n, c, d, h, w, od, oh, ow, adaptive)
        y[n, c, od, oh, ow] = store(best)
        index[n, c, od, oh, ow] = best_at

    return max_pool_windows


@cache
def max_pool_values_windows(ELEMENT, CHANNELS_LAST):
    """As ``max_pool_windows``, without positions."""
    _, _, store = elements(ELEMENT)
    window, place = largest(ELEMENT), place_of(CHANNELS_LAST)

    @cuda.jit
    def max_pool_values_windows(y, x, d, h, w, adaptive):
        N, C, OD, OH, OW = y.shape
        n, c, od, oh, ow = place(C, OD, OH, OW)
        if n < N:
            best, _ = window(x, n, c, d, h, w, od, oh, ow, adaptive)
            y[n, c, od, oh, ow] = store(best)

    return max_pool_values_windows


@cache
def avg_pool_windows(ELEMENT, CHANNELS_LAST):
    """The kernel for one dtype and order of memory.

    Shapes: y (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d, h, w: axes (pool.py)
    """
    accumulator, load, store = elements(ELEMENT)
    place = place_of(CHANNELS_LAST)

    @cuda.jit
    def avg_pool_windows(y, x, d, h, w, adaptive, count_padding, divisor):
        N, C, OD, OH, OW = y.shape
        n, c, od, oh, ow = place(C, OD, OH, OW)
        if n >= N:
            return
        start_d, stop_d = window_of(d, od, adaptive)
        start_h, stop_h = window_of(h, oh, adaptive)
        start_w, stop_w = window_of(w, ow, adaptive)
        sum = accumulator(0)
        for id in range(start_d, stop_d):
            for ih in range(start_h, stop_h):
                for iw in range(start_w, stop_w):
                    sum += load(x[n, c, id, ih, iw])
        if start_d < stop_d and start_h < stop_h and start_w < stop_w:  # else there is no divisor
            sum /= accumulator(divisor_of(d, h, w, od, oh, ow, adaptive, count_padding, divisor))
        y[n, c, od, oh, ow] = store(sum)

    return avg_pool_windows


@cache
def avg_pool_backward_windows(ELEMENT, CHANNELS_LAST):
    """The kernel for one dtype and order of memory.

    Shapes: x (N, C, ID, IH, IW)   y (N, C, OD, OH, OW)   d, h, w: axes (pool.py)
    """
    accumulator, load, store = elements(ELEMENT)
    place = place_of(CHANNELS_LAST)

    @cuda.jit
    def avg_pool_backward_windows(x, y, d, h, w, adaptive, count_padding, divisor):
        N, C, ID, IH, IW = x.shape
        n, c, id, ih, iw = place(C, ID, IH, IW)
        if n >= N:
            return
        start_d, stop_d = holders_of(d, id, adaptive)
        start_h, stop_h = holders_of(h, ih, adaptive)
        start_w, stop_w = holders_of(w, iw, adaptive)
        sum = accumulator(0)
        for od in range(start_d, stop_d):
            for oh in range(start_h, stop_h):
                for ow in range(start_w, stop_w):
                    cells = divisor_of(d, h, w, od, oh, ow, adaptive, count_padding, divisor)
                    sum += load(y[n, c, od, oh, ow]) / accumulator(cells)
        x[n, c, id, ih, iw] = store(sum)

    return avg_pool_backward_windows
