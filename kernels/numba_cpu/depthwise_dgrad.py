"""The gradient of a depthwise convolution's input, with vectors across channels: what
``depthwise_lanes`` is, turned round.

It gathers. Columns of dx that are a stride apart meet the same taps, and neighbouring elements of
dy: for each phase of the stride and each tap that fits it, a multiply-add a column, with loads side
by side in the band of dy and sums a stride apart in the band of dx. Nothing is multiplied that a
stride skips.

Still slow: a tap is one load a multiply-add; ``depthwise`` sends stride 1 to ``fprop`` instead.
"""

from functools import lru_cache

from numba import get_num_threads, njit

from . import conv
from .depthwise_lanes import (
    BAND,
    MOST,
    Plan,
    bring,
    ceil,
    deliver,
    prepare,
)
from .finite import finite
from .several import fma_along, key, load_each, spread, store_each, units
from .vector import BYTES, lanes, load, store
from .worker import launch, share


@njit(cache=True, error_model="numpy")
def _first(place, K, stride, dilation):
    """The first tap k that meets ``place`` = o*stride + k*dilation, and its o, which may lie
    outside; k is K where there is none. Then follow every ``_period``-th tap.
    """
    for k in range(min(K, stride)):
        if (place - k * dilation) % stride == 0:
            return k, (place - k * dilation) // stride
    return K, 0


@njit(cache=True, error_model="numpy")
def _period(stride, dilation):
    """From one tap that meets a place to the next, and by how much o is less there."""
    k = 1
    while k * dilation % stride:
        k += 1
    return k, k * dilation // stride


@njit(cache=True, error_model="numpy", forceinline=True)
def _rows(sums, band, w, k, start, begun, p, ih, end, top, tile, one):
    """Rows ``ih`` to ``end`` of the sums gain the taps w[k:] of one plane of the window, from a
    band of dy that begins with row ``top``.
    """
    L, spare = lanes(band), p.high * p.W * lanes(band)
    (kh_step, oh_step), (kw_step, ow_step) = _period(p.sh, p.dh), _period(p.sw, p.dw)
    for row in range(ih, end):
        kh0, oh0 = _first(row + p.ph, p.KH, p.sh, p.dh)
        for q in range(min(p.sw, p.W)):
            kw0, ow0 = _first(q + p.pw, p.KW, p.sw, p.dw)
            count = (p.W - q + p.sw - 1) // p.sw
            for t in range(0, count, len(tile)):
                at = ((row - ih) * p.W + q + t * p.sw) * L
                values = load_each(sums, at, p.sw * L, tile) if begun else spread(start, tile)
                oh = oh0
                for kh in range(kh0, p.KH, kh_step):
                    if 0 <= oh < p.OH:
                        source = ((oh - top) * p.RW + ow0 - p.left + t) * L
                        for kw in range(kw0, p.KW, kw_step):
                            tap = k + (kh * p.KW + kw) * L
                            values = fma_along(values, band, source, w, tap, one, one)
                            source -= ow_step * L
                    oh -= oh_step
                store_each(sums, at, p.sw * L, count - t, spare, values)


@njit(cache=True, error_model="numpy")
def _item(dx, dy, w, b, where, band, sums, item, p, tile, one):
    """A band of rows of dx, for as many channels as a vector has lanes."""
    L, each, bands, blocks = lanes(dx), p.K // p.C, ceil(p.H, p.high), ceil(p.C, lanes(dx))
    ih, id = item % bands * p.high, item // bands % p.D
    block, n = item // (bands * p.D) % blocks, item // (bands * p.D * blocks)
    end, planes = min(p.H, ih + p.high), min(L, p.C - block * L)
    top = min(p.OH, max(0, ceil(ih + p.ph - (p.KH - 1) * p.dh, p.sh)))
    bottom = max(top, min(p.OH, (end - 1 + p.ph) // p.sh + 1))
    begun, start = False, load(b, block * L)
    for j in range(each):
        for kd in range(p.KD):
            depth = id + p.pd - kd * p.dd
            od = depth // p.sd
            if od * p.sd == depth and 0 <= od < p.OD:
                at = ((n * p.K + block * L * each + j) * p.OD + od) * p.OH + top
                plane, run = each * p.OD * p.OH * p.OW, (bottom - top) * p.OW
                bring(dy, at * p.OW, plane, planes, run, band, where)
                k = ((block * each + j) * p.KD + kd) * p.KH * p.KW * L
                _rows(sums, band, w, k, start, begun, p, ih, end, top, tile, one)
                begun = True
    if not begun:
        for at in range(0, (end - ih) * p.W * L, L):
            store(sums, at, start)
    at = (((n * p.C + block * L) * p.D + id) * p.H + ih) * p.W
    deliver(dx, at, p.D * p.H * p.W, planes, sums, (end - ih) * p.W)


def _items(t, threads, dx, dy, w, b, where, band, sums, p, tile, one):
    first, end = share(t, threads, p.items)
    for item in range(first, end):
        _item(dx, dy, w, b, where, band[t], sums[t], item, p, tile, one)


@lru_cache(maxsize=256)
def _plan(x, y, kernel, stride, padding, dilation, itemsize, threads):
    """The plan, and the tuples whose lengths count."""
    (N, C, D, H, W), (_, _, _, OH, _), lane = x, y, BYTES // itemsize
    left = -((kernel[2] - 1) * dilation[2] - padding[2]) // stride[2]
    RW = (W - 1 + padding[2]) // stride[2] - left + 1
    reach = (kernel[1] - 1) * dilation[1] // stride[1] + 1
    high = max(1, min(H, (BAND // (RW * BYTES) - reach) * stride[1]))
    blocks = N * -(-C // lane) * D
    if blocks * -(-H // high) < 2 * threads:  # lower bands, so that every thread has some
        high = max(min(high, reach * stride[1]), -(-H * blocks // (2 * threads)))
    rows = min(OH, (high - 1) // stride[1] + 1 + reach)
    plan = Plan(*x, *y[1:], *kernel, *stride, *padding, *dilation, high, rows, RW, left,
                blocks * -(-H // high), False)  # fmt: skip
    return plan, (0,) * units(-(-W // stride[2]), MOST)[0], (0,)


def dgrad(dx, dy, w, b, stride, padding, dilation, groups):
    """dx[n, ic, i] = b[ic] + sum of dy[n, oc, o] * w[oc, 0, k] where i = o*stride - padding +
    k*dilation; one input channel a group.

    Item: a band of rows of dx, of 16 (lanes) channels. dy is read and dx written once.
    """
    if not dx.size:
        return
    if not finite(w):  # zeros are multiplied: see finite
        conv.dgrad(dx, dy, w, b, stride, padding, dilation, groups)
        return
    threads = get_num_threads()
    plan = _plan(dx.shape, dy.shape, w.shape[2:], stride, padding, dilation, dx.itemsize,
                       threads)  # fmt: skip
    dx, dy = dx.reshape(-1), dy.reshape(-1)
    p = plan[0]
    *rest, band, sums = prepare(dy, w.reshape(-1), b, p.C, 1, threads, p, p.OW, MOST,
                                p.high * p.W)  # fmt: skip
    launch(_items, threads, key(dx, plan), dx, dy, *rest, band, sums, *plan)
