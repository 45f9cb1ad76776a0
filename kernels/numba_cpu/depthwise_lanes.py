"""Depthwise convolution with vectors across channels: as many planes at once as a vector has lanes.

Rows of 7 elements do not fill a vector of 16 lanes, and a stride along W wants every other element;
16 channels side by side fill it always. A band of 16 planes is transposed into scratch, a vector a
position, with zeros where columns lie in the padding. Every tap is then an aligned load, whatever
stride and dilation are, and rows in the padding are not visited at all. Sums go to a second scratch
and are transposed back. The two transposes cost about as much as 7 taps do.

    band (rows, RW, lanes)            RW columns: those that windows reach, from ``left`` on
    sums (rows of y, OW, lanes)
    w    (blocks of channels, K/C, taps, lanes), packed once a call

Still slow: fewer channels than lanes leave lanes idle; planes along D are transposed again for
each tap along D.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import get_num_threads, njit

from . import conv
from .finite import finite
from .several import fma_along, key, load_each, spread, store_each, to_lanes, tuples, units
from .vector import BYTES, lanes, load, transpose, transpose_part
from .worker import launch, share

#: Columns of y in a tile and taps of a row that are unrolled, at most. 7 sums hide the latency of
#: the multiply-adds, and the planes of the well-known networks are multiples of 7 wide.
MOST = 7
#: Bytes of a band: x is read from L2. Lower bands would share more rows with their neighbours.
BAND = 1 << 17
#: Multiply-adds below which one thread does everything: starting others costs more.
SERIAL = 1 << 17

#: The numbers of one call. ``high`` rows of output are an item; its band has ``rows`` rows of
#: ``RW`` columns, from column ``left`` of the input on.
Plan = namedtuple(
    "Plan",
    "N C D H W K OD OH OW KD KH KW sd sh sw pd ph pw dd dh dw high rows RW left items serial",
)


@njit(cache=True, error_model="numpy", inline="always")
def ceil(a, b):
    """a / b, rounded up."""
    return -(-a // b)


@njit(cache=True, error_model="numpy")
def aligned(rows, size, like):
    """Zeros (rows, size) of ``like``'s dtype; each row starts on a cache line."""
    line = 64 // like.itemsize
    pitch = ceil(size, line) * line
    flat = np.zeros(rows * pitch + line, like.dtype)
    skip = (-flat.ctypes.data) % 64 // like.itemsize
    return flat[skip : skip + rows * pitch].reshape(rows, pitch)


@njit(cache=True, error_model="numpy")
def packed(w, C, taps):
    """w (C, K/C, taps) as (blocks, K/C, taps, lanes), flat; 0 in lanes without a channel."""
    L, each = lanes(w), w.size // (C * taps)
    found = aligned(1, ceil(C, L) * each * taps * L, w)[0]
    for block in range(ceil(C, L)):
        rows = min(L, C - block * L)
        for j in range(each):
            for tap in range(0, taps, L):
                some = min(L, taps - tap)
                source = (block * L * each + j) * taps + tap
                to = ((block * each + j) * taps + tap) * L
                transpose_part(w, source, each * taps, rows, some, found, to, L, some, L)
    return found


@njit(cache=True, error_model="numpy")
def places(rows, W, RW, left, spare):
    """Where in a band the positions of ``rows`` rows of W elements go; ``spare``: those nobody
    needs. As many more entries as a vector has lanes follow, spare too.
    """
    found = np.full(rows * W + 64, spare, np.int64)
    for row in range(rows):
        for iw in range(max(0, left), min(W, left + RW)):
            found[row * W + iw] = row * RW + iw - left
    return found


@njit(cache=True, error_model="numpy", forceinline=True)
def bring(x, at, plane, planes, run, band, where):
    """``run`` positions of ``planes`` planes of x, from x[at] on, are put into the band."""
    L = lanes(x)
    for p in range(0, run, L):
        to_lanes(x, at + p, plane, planes, min(L, run - p), band, where, p)


@njit(cache=True, error_model="numpy", forceinline=True)
def deliver(y, at, plane, planes, sums, run):
    """The first ``run`` vectors of ``sums`` become positions of planes of y, from y[at] on."""
    L = lanes(y)
    for p in range(0, run, L):
        some = min(L, run - p)
        if planes == L and some == L:
            transpose(sums, p * L, L, y, at + p, plane)
        else:
            transpose_part(sums, p * L, L, some, L, y, at + p, plane, planes, some)


@njit(cache=True, error_model="numpy", forceinline=True)
def _rows(sums, band, w, k, start, begun, p, H, oh, end, top, tile, step, chunk, last):
    """Rows ``oh`` to ``end`` of the sums gain the taps of one plane of the window, w[k:]; the
    plane has H rows and the band begins with row ``top``.
    """
    L = lanes(band)
    spare = p.high * p.OW * L
    for row in range(oh, end):
        ih, to = row * p.sh - p.ph, (row - oh) * p.OW
        lo = 0 if ih >= 0 else -(ih // p.dh)
        hi = p.KH if ih + (p.KH - 1) * p.dh < H else (H - 1 - ih) // p.dh + 1
        for ow in range(0, p.OW, len(tile)):
            at = (to + ow) * L
            values = load_each(sums, at, L, tile) if begun else spread(start, tile)
            for kh in range(lo, hi):
                source = ((ih + kh * p.dh - top) * p.RW + ow * p.sw) * L
                tap = k + kh * p.KW * L
                if chunk is not None:
                    for _ in range((p.KW - len(last)) // len(chunk)):
                        values = fma_along(values, band, source, w, tap, step, chunk)
                        source += len(chunk) * p.dw * L
                        tap += len(chunk) * L
                values = fma_along(values, band, source, w, tap, step, last)
            store_each(sums, at, L, p.OW - ow, spare, values)


@njit(cache=True, error_model="numpy")
def _item(y, x, w, b, where, band, sums, item, p, tile, step, chunk, last):
    """A band of rows of y, for as many channels as a vector has lanes."""
    L, each, bands, blocks = lanes(y), p.K // p.C, ceil(p.OH, p.high), ceil(p.C, lanes(y))
    oh, od = item % bands * p.high, item // bands % p.OD
    block, n = item // (bands * p.OD) % blocks, item // (bands * p.OD * blocks)
    end, planes = min(p.OH, oh + p.high), min(L, p.C - block * L)
    top = min(p.H, max(0, oh * p.sh - p.ph))
    bottom = max(top, min(p.H, (end - 1) * p.sh - p.ph + (p.KH - 1) * p.dh + 1))
    for j in range(each):
        begun, start = False, load(b, (block * each + j) * L)
        for kd in range(p.KD):
            id = od * p.sd - p.pd + kd * p.dd
            inside = 0 <= id < p.D
            if inside and (j == 0 or p.KD > 1):
                at = (((n * p.C + block * L) * p.D + id) * p.H + top) * p.W
                bring(x, at, p.D * p.H * p.W, planes, (bottom - top) * p.W, band, where)
            if inside or (kd == p.KD - 1 and not begun):
                k = ((block * each + j) * p.KD + kd) * p.KH * p.KW * L
                _rows(sums, band, w, k, start, begun, p, p.H if inside else 0, oh, end, top,
                      tile, step, chunk, last)  # fmt: skip
                begun = True
        at = (((n * p.K + block * L * each + j) * p.OD + od) * p.OH + oh) * p.OW
        deliver(y, at, each * p.OD * p.OH * p.OW, planes, sums, (end - oh) * p.OW)


@njit(cache=True, error_model="numpy")
def prepare(x, w, b, C, filters, threads, p, W, reach, size):
    """The packed weights, and biases of ``filters`` a channel; the places of a band whose rows come
    from W elements, and which is read ``reach`` vectors beyond its end; room for ``size`` sums.
    """
    L, taps = lanes(x), p.KD * p.KH * p.KW
    biases = packed(b, C, 1) if b.size else aligned(1, (C + L) * filters, x)[0]
    where = places(p.rows, W, p.RW, p.left, p.rows * p.RW)
    band = aligned(threads, (p.rows * p.RW + 1 + reach) * L, x)
    return packed(w, C, taps), biases, where, band, aligned(threads, (size + 1) * L, x)


def _items(t, threads, y, x, w, b, where, band, sums, p, tile, step, chunk, last):
    first, end = share(t, threads, p.items)
    for item in range(first, end):
        _item(y, x, w, b, where, band[t], sums[t], item, p, tile, step, chunk, last)


@lru_cache(maxsize=256)
def _plan(x, y, kernel, stride, padding, dilation, itemsize, threads):
    """The plan, and the tuples whose lengths count."""
    (N, C, _, H, _), (_, _, OD, OH, OW), lane = x, y, BYTES // itemsize
    RW = (OW - 1) * stride[2] + (kernel[2] - 1) * dilation[2] + 1
    reach = (kernel[1] - 1) * dilation[1] + 1
    high = max(1, min(OH, (BAND // (RW * BYTES) - reach) // stride[1] + 1))
    blocks = N * -(-C // lane) * OD
    if blocks * -(-OH // high) < 2 * threads:  # lower bands, so that every thread has some
        high = max(min(high, reach), -(-OH * blocks // (2 * threads)))
    rows, items = min(H, (high - 1) * stride[1] + reach), blocks * -(-OH // high)
    work = N * y[1] * OD * OH * OW * kernel[0] * kernel[1] * kernel[2]
    plan = Plan(*x, *y[1:], *kernel, *stride, *padding, *dilation, high, rows, RW, -padding[2],
                items, work < SERIAL)  # fmt: skip
    tile = (0,) * units(OW, MOST)[0]
    return plan, tile, (0,) * stride[2], *tuples(kernel[2], MOST if dilation[2] == 1 else 1)


def fprop(y, x, w, b, stride, padding, dilation, groups):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o*stride - padding + k*dilation] * w[oc, 0, k], where
    each group has one input channel: ic = oc // (K // C).

    Item: a band of rows of 16 (lanes) channels. Memory: x is read and y written once, and the rows
    that bands share once more.
    """
    if not y.size:
        return
    if not finite(w):  # zeros are multiplied: see finite
        conv.fprop(y, x, w, b, stride, padding, dilation, groups)
        return
    threads = get_num_threads()
    plan = _plan(x.shape, y.shape, w.shape[2:], stride, padding, dilation, x.itemsize, threads)
    threads = 1 if plan[0].serial else threads
    y, x, w = y.reshape(-1), x.reshape(-1), w.reshape(-1)
    p = plan[0]
    *rest, band, sums = prepare(x, w, b, p.C, p.K // p.C, threads, p, p.W, MOST * p.sw,
                                p.high * p.OW)  # fmt: skip
    launch(_items, threads, key(x, plan), y, x, *rest, band, sums, *plan)
