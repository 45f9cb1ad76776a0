"""Pooling on the CPU: beside ``im2col/pool`` no columns are stored; a window is read where it lies.

An item is one row of the output (one plane in the backward), so no two threads write the same
element. Taps are visited in the order D, H, W, which settles ties and NaN. Still slow: windows are
scanned one after the other, so neighbouring outputs do not share a vector; the backward of a single
plane runs on one thread.
"""

import numpy as np
from numba import njit, prange, types
from numba.extending import overload


def _lowest(x):
    """-inf or, for integers, their minimum: what no element of ``x`` is less than."""
    raise NotImplementedError("compiled code only: numba picks one of the two below by type")


@overload(_lowest)
def _lowest_by_type(x):
    if isinstance(x.dtype, types.Float):
        return lambda x: -np.inf
    least = x.dtype.minval
    return lambda x: least


@njit(cache=True, error_model="numpy")
def _max_row(y, index, x, d, h, w, step, item):
    """One row of y and index: scan each window, keep the largest value and where it lies."""
    _, _, D, H, W = x.shape
    _, _, OD, OH, OW = y.shape
    xf, yf, at_f = x.reshape(-1), y.reshape(-1), index.reshape(-1)
    oh, od, plane = item % OH, item // OH % OD, item // (OH * OD)
    for ow in range(OW):
        if d[od, 0] >= d[od, 1] or h[oh, 0] >= h[oh, 1] or w[ow, 0] >= w[ow, 1]:
            yf[np.uint64(item * OW + ow)] = _lowest(x)  # no tap: dilated past the input
            at_f[np.uint64(item * OW + ow)] = -1
            continue
        at = (d[od, 0] * H + h[oh, 0]) * W + w[ow, 0]
        best = xf[np.uint64(plane * D * H * W + at)]
        id = d[od, 0]
        while id < d[od, 1]:  # while, because range() with a step divides to find its length
            ih = h[oh, 0]
            while ih < h[oh, 1]:
                iw = w[ow, 0]
                while iw < w[ow, 1]:
                    here = (id * H + ih) * W + iw
                    v = xf[np.uint64(plane * D * H * W + here)]
                    if v > best or v != v:  # v != v: a NaN, and the last NaN wins
                        best, at = v, here
                    iw += step[2]
                ih += step[1]
            id += step[0]
        yf[np.uint64(item * OW + ow)] = best
        at_f[np.uint64(item * OW + ow)] = at


@njit(parallel=True, cache=True, error_model="numpy")
def max_pool(y, index, x, d, h, w, step):
    """``y`` = the largest tap of each window, index = its flat position in the plane of x.

    Item: one row of y and index; the rows of x it reads are re-read by overlapping windows.
    """
    N, C, OD, OH, _ = y.shape
    for item in prange(N * C * OD * OH):
        _max_row(y, index, x, d, h, w, step, np.int64(item))


def _divide(total, divisor):
    """``total / divisor``, divisor an int64; an integer total is divided towards zero, as in C."""
    raise NotImplementedError("compiled code only: numba picks one of the four below by type")


@overload(_divide)
def _divide_by_type(total, divisor):
    if isinstance(total, types.Float):
        return lambda total, divisor: total / divisor
    if isinstance(total, types.Complex):
        return lambda total, divisor: complex(total.real / divisor, total.imag / divisor)
    if total == types.uint64:
        return lambda total, divisor: total // np.uint64(divisor)

    def towards_zero(total, divisor):
        if divisor == -1:  # the one quotient that can overflow: it wraps
            return -np.int64(total)
        quotient = np.int64(total) // divisor  # floors
        return quotient + (quotient < 0 and quotient * divisor != total)

    return towards_zero


@njit(cache=True, error_model="numpy")
def _avg_row(y, x, d, h, w, item):
    """One row of y: add each window up in the dtype of x, then divide once."""
    _, _, D, H, W = x.shape
    _, _, OD, OH, OW = y.shape
    xf, yf = x.reshape(-1), y.reshape(-1)
    oh, od, plane = item % OH, item // OH % OD, item // (OH * OD)
    typed = x.dtype.type
    for ow in range(OW):
        total = typed(0)
        for id in range(d[od, 0], d[od, 1]):
            for ih in range(h[oh, 0], h[oh, 1]):
                row = ((plane * D + id) * H + ih) * W
                for iw in range(w[ow, 0], w[ow, 1]):
                    total = typed(total + xf[np.uint64(row + iw)])
        empty = d[od, 0] >= d[od, 1] or h[oh, 0] >= h[oh, 1] or w[ow, 0] >= w[ow, 1]
        divisor = 1 if empty else d[od, 2] * h[oh, 2] * w[ow, 2]
        yf[np.uint64(item * OW + ow)] = _divide(total, divisor)


@njit(parallel=True, cache=True, error_model="numpy")
def avg_pool(y, x, d, h, w):
    """``y`` = the sum of each window / the product of its extents. Item: one row of y."""
    N, C, OD, OH, _ = y.shape
    for item in prange(N * C * OD * OH):
        _avg_row(y, x, d, h, w, np.int64(item))


@njit(cache=True, error_model="numpy")
def _avg_backward_plane(dx, dy, d, h, w, plane):
    """One plane of dx: start at 0, then spread every dy over its window, in the order of dy."""
    _, _, D, H, W = dx.shape
    _, _, OD, OH, OW = dy.shape
    xf, yf = dx.reshape(-1), dy.reshape(-1)
    xf[plane * D * H * W : (plane + 1) * D * H * W] = 0
    for od in range(OD):
        for oh in range(OH):
            for ow in range(OW):
                if d[od, 0] >= d[od, 1] or h[oh, 0] >= h[oh, 1] or w[ow, 0] >= w[ow, 1]:
                    continue
                v = yf[np.uint64(((plane * OD + od) * OH + oh) * OW + ow)]
                share = _divide(v, d[od, 2] * h[oh, 2] * w[ow, 2])
                for id in range(d[od, 0], d[od, 1]):
                    for ih in range(h[oh, 0], h[oh, 1]):
                        row = ((plane * D + id) * H + ih) * W
                        for iw in range(w[ow, 0], w[ow, 1]):
                            xf[np.uint64(row + iw)] += share


@njit(parallel=True, cache=True, error_model="numpy")
def avg_pool_backward(dx, dy, d, h, w):
    """dx[i] = the sum of dy[o] / divisor(o) over the windows that hold i. Item: one plane."""
    N, C, _, _, _ = dx.shape
    for plane in prange(N * C):
        _avg_backward_plane(dx, dy, d, h, w, np.int64(plane))
