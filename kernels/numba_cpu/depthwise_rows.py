"""Depthwise convolution of stride 1 with vectors along W: a row of x, loaded once, serves several
rows of y.

A tile is up to 7 rows of y, one vector wide. For each column of the window every row of x that the
tile touches is loaded, shifted, and goes into all the sums that want it: 27 loads for the 63
multiply-adds of a 3x3 window. The loads come from x itself; lanes and rows that lie in the padding
are masked off, so that nothing is copied. Windows of more than 7 rows are taken in several passes
over a band of y, which stays in L1.

Fast where rows fill vectors: 14 or more wide. Of 7 elements a vector of 16 lanes is half empty;
such planes go to ``depthwise_lanes``, and so do strides.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import get_num_threads, njit

from . import conv
from .finite import finite
from .several import fma_rows, key, load_rows, spread, store_rows, tuples, units
from .vector import lanes, splat, zeros
from .worker import launch, share

#: Rows of y in a tile, rows and columns of the window that are unrolled, at most: 7 sums, 7 weights
#: and a row are 15 registers; the planes of the well-known networks are multiples of 7 high.
MOST = 7
#: Multiply-adds below which one thread does everything: starting others costs more.
SERIAL = 1 << 17

#: The numbers of one call: ``tiles`` tiles in a phase of a plane of y, ``total`` in all.
Plan = namedtuple("Plan", "C D H W K OD OH OW KD KH KW pd ph pw dd dh dw tiles total serial")


@njit(cache=True, error_model="numpy", forceinline=True)
def _pass(y, o, o_row, tall, begun, start, x, nowhere, i, i_row, ih, H, w, k, p, tile, down,
          across):  # fmt: skip
    """A tile of rows of y, all vectors of it, gains the taps of ``down`` rows of the window.

    The tile's row r, of ``tall``, is y[o + r*o_row]; row j of x, of H, is x[i + j*i_row].
    """
    for ow in range(0, p.OW, lanes(y)):
        first = min(lanes(y), p.OW - ow)
        sums = load_rows(y, o + ow, o_row, tall, first, tile) if begun else spread(start, tile)
        if len(across) > 1:
            sums = fma_rows(sums, down, across, x, nowhere, i, i_row, ih, H, ow - p.pw, p.W, w, k,
                            p.KW)  # fmt: skip
        else:
            for kw in range(p.KW):
                sums = fma_rows(sums, down, across, x, nowhere, i, i_row, ih, H,
                                ow - p.pw + kw * p.dw, p.W, w, k + kw, p.KW)  # fmt: skip
        store_rows(y, o + ow, o_row, tall, first, sums)


def _tiles(t, threads, y, x, w, b, nowhere, p, tile, chunk, last, across):
    """Tiles counted over planes of y, phases of dilation, and rows.

    Rows that are ``dilation`` apart share rows of x: y and x are that many planes, interleaved.
    """
    at, end = share(t, threads, p.total)
    while at < end:
        first, q, plane = at % p.tiles, at // p.tiles % p.dh, at // (p.tiles * p.dh)
        od, oc = plane % p.OD, plane // p.OD % p.K
        c = plane // (p.OD * p.K) * p.C + oc // (p.K // p.C)
        rows = (p.OH - q + p.dh - 1) // p.dh
        phase, above = (q - p.ph) % p.dh, (q - p.ph) // p.dh
        high = (p.H - phase + p.dh - 1) // p.dh
        lo = max(0, -((od - p.pd) // p.dd))
        hi = min(p.KD, (p.D - 1 - od + p.pd) // p.dd + 1)
        if lo >= hi:  # no plane of x: one pass in which every row is outside
            lo, hi, high = 0, 1, 0
        start = splat(b, oc) if b.size else zeros(y)
        y_row, x_row = p.dh * p.OW, p.dh * p.W
        behind = min(rows, (first + end - at) * len(tile))
        for row in range(first * len(tile), behind, len(tile)):
            o, begun = (plane * p.OH + q + row * p.dh) * p.OW, False
            tall = min(len(tile), rows - row)
            for kd in range(lo, hi):
                i = ((c * p.D + od - p.pd + kd * p.dd) * p.H + phase) * p.W
                k, ih = (oc * p.KD + kd) * p.KH * p.KW, above + row
                if chunk is not None:
                    for _ in range((p.KH - len(last)) // len(chunk)):
                        if ih + len(tile) + len(chunk) > 1 and ih < high:
                            _pass(y, o, y_row, tall, begun, start, x, nowhere, i, x_row, ih, high,
                                  w, k, p, tile, chunk, across)  # fmt: skip
                            begun = True
                        k, ih = k + len(chunk) * p.KW, ih + len(chunk)
                _pass(y, o, y_row, tall, begun, start, x, nowhere, i, x_row, ih, high,
                      w, k, p, tile, last, across)  # fmt: skip
                begun = True
        at += p.tiles - first


@lru_cache(maxsize=256)
def _plan(x, y, kernel, padding, dilation):
    """The plan, and the tuples whose lengths count."""
    (N, K, OD, OH, OW), (KD, KH, KW) = y, kernel
    tall = -(-OH // dilation[1])
    tile, _ = units(tall, MOST)
    tiles = -(-tall // tile)
    total = N * K * OD * dilation[1] * tiles
    serial = N * K * OD * OH * OW * KD * KH * KW < SERIAL
    plan = Plan(*x[1:], *y[1:], *kernel, *padding, *dilation, tiles, total, serial)
    across = (0,) * (KW if KW <= MOST and dilation[2] == 1 else 1)
    return plan, (0,) * tile, *tuples(KH, MOST), across


def fprop(y, x, w, b, stride, padding, dilation, groups):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o - padding + k*dilation] * w[oc, 0, k], where stride
    is 1 and each group has one input channel: ic = oc // (K // C).

    Item: a tile. Memory: reads x once, K/C times more from cache, and writes y once.
    """
    if not y.size:
        return
    if not finite(w):  # zeros are multiplied: see finite
        conv.fprop(y, x, w, b, stride, padding, dilation, groups)
        return
    plan = _plan(x.shape, y.shape, w.shape[2:], padding, dilation)
    y, x, w, nowhere = y.reshape(-1), x.reshape(-1), w.reshape(-1), np.zeros(x.shape[4], x.dtype)
    threads = 1 if plan[0].serial else get_num_threads()
    launch(_tiles, threads, key(x, plan), y, x, w, b, nowhere, *plan)
