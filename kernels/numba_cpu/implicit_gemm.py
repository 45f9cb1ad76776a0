"""Convolution as a matrix product whose second matrix is never whole: implicit GEMM.

    y (OC, pixels) = w (OC, K) times columns (K, pixels),     K = C/groups * taps

The columns are what ``im2col`` writes out. Here an item packs only a panel of them, up to four
vectors of pixels that may span rows, and multiplies all weights, which are used as they lie, with
it: the ``panel`` tile. Lanes are idle only at the end of an image, whatever the width of its rows
and the number of channels; nothing is transposed. A panel is packed ``TERMS`` terms at a time, to
stay in cache, and sums continue in y. A few pixels behind the last whole vector are not
worth a vector: they are taken as ``dots`` of two rows of memory, lanes along K.

Item: a panel of one image and group, some blocks of channels. Packing costs a load and a store for
each vector that a tile then reads OC/6 times: dear below some 32 channels.
"""

from collections import namedtuple
from functools import lru_cache
from math import prod

import numpy as np
from numba import get_num_threads, njit

from .compiled import ROWS_OF, VECTORS, address, panel
from .direct import run
from .direct_taps import SERIAL, SHARE
from .padded import filled, geometry, joins
from .tile import ROWS, SUMS, ZERO
from .vector import BYTES, fma, lanes, load, load_first, store, total, zeros
from .worker import launch, share

#: Terms of a panel packed at once, so that it stays in the first cache (the second with AVX-512);
#: channels that are worth packing a panel for.
TERMS, WORTH = 8 * BYTES, 48

#: The numbers of one call: groups, channels a group, terms, sizes of y, columns of an image; the
#: copy's strides; how columns and channels are cut; columns taken as dots; items.
Plan = namedtuple(
    "Plan",
    "G OCG K OD OH OW columns image group depth row vectors panels blocks parts dots items",
)


@njit(cache=True, error_model="numpy")
def _pieces(pieces, plan, source, column, end):
    """Cuts columns into runs along rows of the copy: pieces[:, i] = (where, its columns)."""
    p, count = plan, 0
    ow, row = column % p.OW, column // p.OW
    oh, od = row % p.OH, row // p.OH
    while column < end:
        run = min(p.OW - ow, end - column)
        pieces[0, count] = source + od * p.depth + oh * p.row + ow
        pieces[1, count] = run
        count, column, ow, oh = count + 1, column + run, 0, oh + 1
        if oh == p.OH:
            od, oh = od + 1, 0
    return count


@njit(cache=True, error_model="numpy")
def _pack(packed, to, width, x, pieces, count, at, lo, hi):
    """Rows lo to hi of a panel: what is written too far the next piece or row overwrites."""
    wide = lanes(x)
    for k in range(lo, hi):
        start = to + (k - lo) * width
        for c in range(count):
            source, run = pieces[0, c] + at[np.uint64(k)], pieces[1, c]
            for j in range(0, run, wide):
                store(packed, start + j, load_first(x, source + j, min(wide, run - j)))
            start += run


@njit(cache=True, error_model="numpy")
def _dots(y, to, y_row, w, a, K, channels, column, at, b, bias_at):
    """One pixel of some channels: rows of weights times a packed column, lanes along K."""
    wide = lanes(w)
    whole = K - K % (2 * wide)
    for r in range(channels):
        s0 = s1 = zeros(w)
        row = a + r * K
        for k in range(0, whole, 2 * wide):
            s0 = fma(load(w, row + k), load(column, at + k), s0)
            s1 = fma(load(w, row + k + wide), load(column, at + k + wide), s1)
        for k in range(whole, K, wide):
            some = min(wide, K - k)
            s0 = fma(load_first(w, row + k, some), load_first(column, at + k, some), s0)
        y[to + r * y_row] = total(s0 + s1) + (b[bias_at + r] if b.size else 0)


@njit(cache=True, error_model="numpy")
def _item(tile, y, x, at, w, b, packed, pieces, plan, room, item):
    """``room``: where this thread's panel begins."""
    p, wide = plan, lanes(y)
    part, item = item % p.parts, item // p.parts
    number, item = item % p.panels, item // p.panels
    g, n = item % p.G, item // p.G
    source, plane = n * p.image + g * p.group, p.columns
    first, end = number * p.vectors // p.panels, (number + 1) * p.vectors // p.panels
    width, column = (end - first) * wide, first * wide
    stop = min(end * wide, p.columns - p.dots)
    block_lo, block_hi = part * p.blocks // p.parts, (part + 1) * p.blocks // p.parts
    base = (n * p.G + g) * p.OCG
    if width:
        count = _pieces(pieces, p, source, column, stop)
        for k in range(0, p.K, TERMS):
            k_hi = min(p.K, k + TERMS)
            _pack(packed, room, width, x, pieces, count, at, k, k_hi)
            start = SUMS if k else ROWS if b.size else ZERO
            for block in range(block_lo, block_hi):
                oc = block * p.OCG // p.blocks
                rows = (block + 1) * p.OCG // p.blocks - oc
                panel(tile, rows, end - first, y, (base + oc) * plane + column, plane,
                      w, (g * p.OCG + oc) * p.K + k, p.K, packed, room, width, k_hi - k,
                      start, b, g * p.OCG + oc, stop - column - width + wide)  # fmt: skip
    if number == p.panels - 1:
        oc, last = block_lo * p.OCG // p.blocks, block_hi * p.OCG // p.blocks
        for pixel in range(p.columns - p.dots, p.columns):
            _pieces(pieces, p, source, pixel, pixel + 1)
            for k in range(p.K):
                packed[np.uint64(room + k)] = x[np.uint64(pieces[0, 0] + at[np.uint64(k)])]
            _dots(y, (base + oc) * plane + pixel, plane, w, (g * p.OCG + oc) * p.K, p.K, last - oc,
                  packed, room, b, g * p.OCG + oc)  # fmt: skip


def _items(t, threads, tile, y, x, at, w, b, packed, pieces, plan, room):
    first, last = share(t, threads, plan.items)
    for item in range(first, last):
        _item(tile, y, x, at, w, b, packed, pieces[t], plan, t * room, item)


@lru_cache(maxsize=512)
def _plan(x_shape, w_shape, y_shape, stride, padding, dilation, wide, threads):
    """How the work is cut, the offset of each term, the copy's layout."""
    OC, CG = w_shape[:2]
    N, G, K = x_shape[0], x_shape[1] // CG, prod(w_shape[1:])
    copy, layout, same = geometry(x_shape, w_shape[2:], y_shape[2:], stride, padding, dilation)
    at = (np.arange(CG)[:, None] * copy.channel + copy.taps).reshape(-1)
    OD, OH, OW = y_shape[2:]
    columns = OD * OH * OW
    if joins(copy, y_shape):
        OD, OH, OW = 1, 1, columns
    dots = columns % wide if columns % wide <= wide // 4 else 0
    vectors = -(-(columns - dots) // wide)
    panels = max(1, -(-vectors // VECTORS))
    blocks = -(-OC // G // ROWS_OF[max(1, -(-vectors // panels))])
    parts = min(-(-OC // G // WORTH), -(-SHARE * threads // (N * G * panels)))
    plan = Plan(G, OC // G, K, OD, OH, OW, columns, copy.image, CG * copy.channel, copy.depth,
                copy.row, vectors, panels, blocks, parts, dots, N * G * panels * parts)  # fmt: skip
    return plan, at, layout, same


def conv_panels(y, x, w, b, stride, padding, dilation):
    """y, with zeros around x where the contract skips: cuts the work into items and runs them."""
    threads, wide = get_num_threads(), BYTES // y.itemsize
    plan, at, layout, same = _plan(
        x.shape, w.shape, y.shape, stride, padding, dilation, wide, threads
    )
    copy = x.reshape(-1) if same else filled(x, layout)
    room = max(TERMS * VECTORS * wide, plan.K) + wide
    packed = np.empty(threads * room, y.dtype)
    pieces = np.empty((threads, 2, VECTORS * wide), np.int64)
    tile = address("panel", y.dtype)
    launch(_items, 1 if y.size * plan.K < SERIAL else threads, y.dtype, tile, y.reshape(-1), copy,
           at, w.reshape(-1), b, packed, pieces, plan, room)  # fmt: skip


def fprop(y, x, w, b, stride, padding, dilation, groups):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o*stride - padding + k*dilation] * w[oc, ic, k].

    Infinite and NaN weights as in ``direct.fprop``. float32 and float64.
    """
    run(conv_panels, y, x, w, b, stride, padding, dilation, groups)
