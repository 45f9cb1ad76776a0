"""The gradient of a depthwise convolution's weights, with vectors across channels.

Up to 28 taps are kept in registers while a kernel walks over all positions of a band: a vector of
dy is loaded once for 28 multiply-adds, and no sum is ever taken across lanes. How the sums are cut
into parts does not depend on the threads, so neither does a bit of the result.

    band   (rows, RW, lanes)      of x, as in ``depthwise_lanes``; one more row is all zeros
    values (rows, OW, lanes)      of dy
    sums   (blocks of channels x parts, K/C, taps, lanes)

Still slow: each tap is a load of x, though neighbouring taps share them; 3x3 on 7x7 planes.
"""

from functools import lru_cache

import numpy as np
from numba import get_num_threads, njit

from . import conv
from .depthwise_lanes import BAND, MOST, Plan, aligned, bring, ceil, places
from .finite import finite
from .several import fma_window, key, load_window, store_window, tuples
from .vector import BYTES, REGISTERS, lanes, load, transpose_part
from .worker import launch, share

#: Items there should be, where channels alone do not give as many: blocks of channels times parts
#: of the bands of all images. The sums of each part are kept apart and added up in order.
PARTS = 32


@njit(cache=True, error_model="numpy", forceinline=True)
def _taps(sums, k, band, column, values, p, ih, rows, top, count, tall, wide):
    """The sums of ``tall`` rows of ``wide`` taps gain all products of a band of dy, ``values``, of
    ``rows`` rows; the first row and tap meet row ``ih`` and column ``column`` of x.
    """
    L = lanes(band)
    found = load_window(sums, k, p.KW * L, tall, wide)
    for row in range(rows):
        line = ih + row * p.sh - top
        for ow in range(p.OW):
            factor = load(values, (row * p.OW + ow) * L)
            found = fma_window(found, band, (column + ow * p.sw) * L, line, p.dh, count, p.RW * L,
                               p.rows * p.RW * L, wide, factor)  # fmt: skip
    store_window(sums, k, p.KW * L, wide, found)


@njit(cache=True, error_model="numpy", forceinline=True)
def _row_of_taps(sums, k, band, values, p, ih, rows, top, count, tall, wide, narrow):
    """``_taps`` for the taps of ``tall`` rows of the window."""
    L, kw = lanes(band), p.KW - len(narrow)
    if wide is not None:
        for kw in range(0, p.KW - len(narrow), len(wide)):
            _taps(sums, k + kw * L, band, kw * p.dw, values, p, ih, rows, top, count, tall, wide)
    kw = p.KW - len(narrow)
    _taps(sums, k + kw * L, band, kw * p.dw, values, p, ih, rows, top, count, tall, narrow)


@njit(cache=True, error_model="numpy")
def _band(sums, dy, x, where, in_order, band, values, block, unit, p, tall, low, wide, narrow):
    """The sums of a block of channels gain what one band of rows of dy gives."""
    L, each, bands = lanes(x), p.K // p.C, ceil(p.OH, p.high)
    oh, od, n = unit % bands * p.high, unit // bands % p.OD, unit // (bands * p.OD)
    rows, planes = min(p.high, p.OH - oh), min(L, p.C - block * L)
    ih = oh * p.sh - p.ph
    top = min(p.H, max(0, ih))
    bottom = max(top, min(p.H, ih + (rows - 1) * p.sh + (p.KH - 1) * p.dh + 1))
    for j in range(each):
        at = (((n * p.K + block * L * each + j) * p.OD + od) * p.OH + oh) * p.OW
        plane = each * p.OD * p.OH * p.OW
        bring(dy, at, plane, planes, rows * p.OW, values, in_order)
        for kd in range(p.KD):
            id = od * p.sd - p.pd + kd * p.dd
            if not 0 <= id < p.D:
                continue
            if j == 0 or p.KD > 1:
                at = (((n * p.C + block * L) * p.D + id) * p.H + top) * p.W
                bring(x, at, p.D * p.H * p.W, planes, (bottom - top) * p.W, band, where)
            k, height = (j * p.KD + kd) * p.KH * p.KW * L, bottom - top
            if tall is not None:
                for kh in range(0, p.KH - len(low), len(tall)):
                    _row_of_taps(sums, k + kh * p.KW * L, band, values, p, ih + kh * p.dh, rows,
                                 top, height, tall, wide, narrow)  # fmt: skip
            kh = p.KH - len(low)
            _row_of_taps(sums, k + kh * p.KW * L, band, values, p, ih + kh * p.dh, rows, top,
                         height, low, wide, narrow)  # fmt: skip


def _items(t, threads, sums, dy, x, where, in_order, band, values, parts, p, tall, low, wide,
           narrow):  # fmt: skip
    """Item: a part of the bands of dy, for a block of channels."""
    first, end = share(t, threads, sums.shape[0])
    for item in range(first, end):
        block, part = item // parts, item % parts
        begin, behind = share(part, parts, p.items)
        for unit in range(begin, behind):
            _band(sums[item], dy, x, where, in_order, band[t], values[t], block, unit, p, tall, low,
                  wide, narrow)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _prepare(x, threads, items, p):
    """The sums of each item, the places of a band, and scratch, a row a thread."""
    L, taps = lanes(x), p.K // p.C * p.KD * p.KH * p.KW
    where = places(p.rows, p.W, p.RW, p.left, p.rows * p.RW + p.RW)
    band = aligned(threads, ((p.rows + 1) * p.RW + 1) * L, x)
    in_order = np.arange(p.high * p.OW + L)
    values = aligned(threads, in_order.size * L, x)
    return aligned(items, taps * L, x), where, in_order, band, values


@njit(cache=True, error_model="numpy")
def _add_up(dw, sums, parts, C):
    """dw (C, K/C, taps) from the sums (blocks, parts) x (K/C, taps, lanes), in the parts' order."""
    L, taps = lanes(dw), dw.size // C
    for block in range(ceil(C, L)):
        first = sums[block * parts]
        for part in range(1, parts):
            for i in range(taps * L):
                first[i] += sums[block * parts + part, i]
        for tap in range(0, taps, L):
            some, planes = min(L, taps - tap), min(L, C - block * L)
            to = block * L * taps + tap
            transpose_part(first, tap * L, L, some, L, dw, to, taps, planes, some)


@lru_cache(maxsize=256)
def _plan(x, y, kernel, stride, padding, dilation, itemsize):
    """Blocks of channels, parts of the bands, the plan, and the tuples whose lengths count."""
    (N, C, _, H, _), (_, _, OD, OH, OW), lane = x, y, BYTES // itemsize
    RW = (OW - 1) * stride[2] + (kernel[2] - 1) * dilation[2] + 1
    reach = (kernel[1] - 1) * dilation[1] + 1
    high = max(1, min(OH, (BAND // (RW * BYTES) - reach) // stride[1] + 1))
    rows = min(H, (high - 1) * stride[1] + reach)
    blocks, items = -(-C // lane), N * OD * -(-OH // high)
    parts = max(1, min(items, PARTS // blocks))
    plan = Plan(*x, *y[1:], *kernel, *stride, *padding, *dilation, high, rows, RW, -padding[2],
                items, False)  # fmt: skip
    wide, narrow = tuples(kernel[2], MOST if dilation[2] == 1 else 1)
    tall, low = tuples(kernel[1], max(1, (REGISTERS - 4) // len(wide or narrow)))
    return blocks, parts, plan, tall, low, wide, narrow


def wgrad(dw, dy, x, stride, padding, dilation, groups):
    """dw[oc, 0, k] = sum over n, o of dy[n, oc, o] * x[n, ic, o*stride - padding + k*dilation],
    ic = oc // (K // C).

    Item: a part of the bands of all images, for 16 (lanes) channels. x and dy are read once.
    """
    if not dw.size:
        return
    blocks, parts, *plan = _plan(
        x.shape, dy.shape, dw.shape[2:], stride, padding, dilation, x.itemsize
    )
    C, flat, dy_flat = x.shape[1], x.reshape(-1), dy.reshape(-1)
    threads = get_num_threads()
    sums, *scratch = _prepare(flat, threads, blocks * parts, plan[0])
    if dy.size:
        launch(_items, threads, key(x, plan), sums, dy_flat, flat, *scratch, parts, *plan)
    _add_up(dw.reshape(-1), sums, parts, C)
    if not finite(dw):  # zeros were multiplied: see finite
        conv.wgrad(dw, dy, x, stride, padding, dilation, groups)
