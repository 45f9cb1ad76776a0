"""Columns on the CPU: ``im2col/columns`` a row at a time, the rows shared out among the threads.

Along W one tap of one row is one copy (``unfold``) or one addition (``fold``) over a range of ow
worked out once, so the innermost loops hold no bounds check. ``fold`` gathers: a thread owns
a row of x and looks for the columns that meet it. Still slow: memory-bound, and a stride along W
turns vector loads into gathers.
"""

import numpy as np
from numba import get_num_threads, njit

from .worker import launch, share


@njit(cache=True, error_model="numpy", inline="always")
def _span(offset, stride, size, count):
    """The range [lo, hi) of o in range(count) for which 0 <= o * stride + offset < size."""
    return max(0, -(offset // stride)), min(count, (size - 1 - offset) // stride + 1)


@njit(cache=True, error_model="numpy")
def _unfold_item(col, x, item, stride, padding, dilation):
    """The columns of one plane and one tap: OD * OH rows, each zeros, a copy, zeros."""
    _, _, D, H, W = x.shape
    _, _, KD, KH, KW, OD, OH, OW = col.shape
    cf, xf = col.reshape(-1), x.reshape(-1)
    kw, kh, kd = item % KW, item // KW % KH, item // (KW * KH) % KD
    plane = item // (KW * KH * KD)
    offset = kw * dilation[2] - padding[2]
    lo, hi = _span(offset, stride[2], W, OW)
    for od in range(OD):
        id = od * stride[0] - padding[0] + kd * dilation[0]
        for oh in range(OH):
            ih = oh * stride[1] - padding[1] + kh * dilation[1]
            o = ((item * OD + od) * OH + oh) * OW
            if lo >= hi or id < 0 or id >= D or ih < 0 or ih >= H:
                cf[o : o + OW] = 0
                continue
            cf[o : o + lo] = 0
            cf[o + hi : o + OW] = 0
            to, at = (
                np.uint64(o + lo),
                np.uint64(((plane * D + id) * H + ih) * W + lo * stride[2] + offset),
            )
            for j in range(np.uint64(hi - lo)):
                cf[to + j] = xf[at + j * np.uint64(stride[2])]


def _unfold(t, threads, col, x, stride, padding, dilation):
    N, C, KD, KH, KW, _, _, _ = col.shape
    first, last = share(t, threads, N * C * KD * KH * KW)
    for item in range(first, last):
        _unfold_item(col, x, item, stride, padding, dilation)


def unfold(col, x, *numbers):
    """col[n, c, k, o] = x[n, c, o*stride - padding + k*dilation], or 0 outside the input.

    Item: one plane and one tap, a contiguous piece of col.
    """
    launch(_unfold, get_num_threads(), x.dtype, col, x, *numbers)


@njit(cache=True, error_model="numpy")
def _fold_row(x, col, item, stride, padding, dilation):
    """One row of x: start at 0, then add every tap of every column that lies on it."""
    _, _, D, H, W = x.shape
    _, _, KD, KH, KW, OD, OH, OW = col.shape
    cf, xf = col.reshape(-1), x.reshape(-1)
    ih, id, plane = item % H, item // H % D, item // (H * D)
    xf[item * W : (item + 1) * W] = 0
    for kd in range(KD):
        at_d = id + padding[0] - kd * dilation[0]
        od = at_d // stride[0]
        if at_d < 0 or od >= OD or od * stride[0] != at_d:
            continue
        for kh in range(KH):
            at_h = ih + padding[1] - kh * dilation[1]
            oh = at_h // stride[1]
            if at_h < 0 or oh >= OH or oh * stride[1] != at_h:
                continue
            for kw in range(KW):
                offset = kw * dilation[2] - padding[2]
                lo, hi = _span(offset, stride[2], W, OW)
                tap = ((plane * KD + kd) * KH + kh) * KW + kw
                at = np.uint64(((tap * OD + od) * OH + oh) * OW + lo)
                to = np.uint64(item * W + lo * stride[2] + offset)
                for j in range(np.uint64(max(0, hi - lo))):
                    xf[to + j * np.uint64(stride[2])] += cf[at + j]


def _fold(t, threads, x, col, stride, padding, dilation):
    N, C, D, H, _ = x.shape
    first, last = share(t, threads, N * C * D * H)
    for item in range(first, last):
        _fold_row(x, col, item, stride, padding, dilation)


def fold(x, col, *numbers):
    """x[n, c, i] = the sum of every col[n, c, k, o] that unfold would copy from i.

    Item: one row of x, so no two items add to the same element.
    """
    launch(_fold, get_num_threads(), x.dtype, x, col, *numbers)
