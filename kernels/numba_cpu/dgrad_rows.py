"""dgrad with vectors of pixels, for groups of few input channels: images of 3 channels, depthwise.

An item is a box of positions q of one image and group. What the box meets of dy is copied, padded,
to a thread's scratch; there the box is one long row, and a tap is an offset. Sums of a few channels
go to a second scratch and from there, phase by phase, to where they belong in dx. Lanes between the
rows of a box (the kernel's reach less one, a row) are wasted.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import njit

from .compiled import ROWS_OF, VECTORS, address, taps
from .dgrad_phases import phases, put
from .tile import ROWS, ZERO
from .vector import BYTES, lanes, load_range, store, zeros
from .wgrad_columns import even, uneven
from .worker import launch, share

#: Elements of dy an item copies, and of positions it works on: 256 and 8 KiB a channel in float32.
COPY, BOX, WIDE = 1 << 16, 1 << 11, 1 << 10

#: Channels of a tile.
MOST = ROWS_OF[VECTORS]

Plan = namedtuple("Plan", "groups boxes_d boxes_h boxes_w box_h box_w low_d low_h low_w span_d "
                  "span_h span_w N C K OD OH OW taps used")  # fmt: skip


@lru_cache(maxsize=256)
def plan(dx_shape, dy_shape, w_shape, stride, padding, dilation, groups, threads):
    """The phases, the offsets of every k in a box's copy, and the numbers of ``_item``."""
    found = phases(dx_shape, dy_shape, w_shape, stride, padding, dilation)
    K, (QD, QH, QW), low, span = w_shape[0], found.q, found.low, found.span
    KG, tasks = K // groups, dx_shape[0] * groups * found.q[0]
    wide = -(-QW // WIDE)
    box_w = -(-QW // wide)
    pitch = box_w + span[2] - 1
    high = min(QH, max(1, BOX // pitch), max(1, COPY // (KG * span[0] * pitch) - span[1] + 1))
    parts = -(-QH // high)
    while uneven(parts * wide * tasks, threads) and parts < QH:
        parts += 1
    box_h = -(-QH // parts)
    rows = box_h + span[1] - 1
    d, h, w = found.offset.T
    offset = (d * rows + h) * pitch + w
    at = [
        (np.arange(KG)[:, None] * (span[0] * rows * pitch) + offset[lo:hi]).reshape(-1)
        for lo, hi in zip(found.first[:-1], found.first[1:], strict=True)
    ]
    numbers = Plan(groups, QD, -(-QH // box_h), wide, box_h, box_w, *low, *span, *dx_shape[:2], K,
                   *dy_shape[2:], w_shape[2] * w_shape[3] * w_shape[4], len(found.tap))  # fmt: skip
    return found, np.concatenate(at), numbers


def run(threads, dx, dy, w, b, stride, padding, dilation, groups):
    """dgrad of arrays as in the contract."""
    found, at, numbers = plan(dx.shape, dy.shape, w.shape, stride, padding, dilation, groups,
                              threads)  # fmt: skip
    KG, CG, spare = w.shape[0] // groups, w.shape[1], VECTORS * BYTES // dx.itemsize
    pitch, high = numbers.box_w + numbers.span_w - 1, numbers.box_h + numbers.span_h - 1
    scratch = [np.zeros((threads, size), dx.dtype)
               for size in (KG * CG * numbers.used, KG * numbers.span_d * high * pitch + spare,
                            CG * (numbers.box_h * pitch + spare))]  # fmt: skip
    launch(_work, threads, dx.dtype, address("taps", dx.dtype), dx.reshape(-1), dy.reshape(-1),
           w.reshape(-1), b, at, found.r, found.first, found.tap, found.shape, numbers,
           *scratch)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _copy(copy, dy, plane, d0, h0, w0, rows, pitch, plan):
    """What a box meets of one plane of dy: rows of ``pitch`` from (d0, h0, w0) on, 0 outside.

    Whole vectors: what is written past a row's end is its successor's, or spare.
    """
    step, at = lanes(dy), 0
    for od in range(d0, d0 + plan.span_d):
        for oh in range(h0, h0 + rows):
            if 0 <= od < plan.OD and 0 <= oh < plan.OH:
                from_ = plane + (od * plan.OH + oh) * plan.OW + w0
                for j in range(0, pitch, step):
                    some = load_range(dy, from_ + j, -w0 - j, plan.OW - w0 - j)
                    store(copy, at + j, some)
            else:
                for j in range(0, pitch, step):
                    store(copy, at + j, zeros(dy))
            at += pitch


@njit(cache=True, error_model="numpy")
def _weights(A, w, at, CG, KG, taps, tap):
    """A[ic*K + oc*tap.size + i] = w[at + (oc*CG + ic)*taps + tap[i]]: one phase, k along rows."""
    n = tap.size
    for oc in range(KG):
        for ic in range(CG):
            to, from_ = np.uint64((ic * KG + oc) * n), np.uint64(at + (oc * CG + ic) * taps)
            for i in range(np.uint64(n)):
                A[to + i] = w[from_ + np.uint64(tap[i])]


def _work(t, threads, tile, dx, dy, w, b, at, r, first, tap, shape, plan, As, copies, all_rows):
    """The t-th share of the items: one box of one image and group, all its phases.

    Work: K/groups * taps multiply-adds an element. Memory: dy once, its edges twice; dx once.
    """
    A, copy, rows = As[t], copies[t], all_rows[t]
    KG, CG, step = plan.K // plan.groups, plan.C // plan.groups, lanes(dx)
    pitch, high = plan.box_w + plan.span_w - 1, plan.box_h + plan.span_h - 1
    channel, plane = plan.span_d * high * pitch, plan.OD * plan.OH * plan.OW
    count = (plan.box_h - 1) * pitch + plan.box_w
    spread, group, start = rows.size // CG, -1, ROWS if b.size > 0 else ZERO
    items = plan.groups * plan.N * plan.boxes_d * plan.boxes_h * plan.boxes_w
    begin, end = share(t, threads, items)
    for item in range(begin, end):
        box_w, rest = item % plan.boxes_w, item // plan.boxes_w
        box_h, rest = rest % plan.boxes_h, rest // plan.boxes_h
        qd, rest = rest % plan.boxes_d, rest // plan.boxes_d
        n, g = rest % plan.N, rest // plan.N
        if g != group:  # items of a group follow one another: its weights are packed once a thread
            for f in range(r.shape[0]):
                _weights(A[first[f] * KG * CG :], w, g * KG * CG * plan.taps, CG, KG, plan.taps,
                         tap[first[f] : first[f + 1]])  # fmt: skip
            group = g
        q_h, q_w = box_h * plan.box_h, box_w * plan.box_w
        base = (n * plan.C + g * CG) * shape[0] * shape[1] * shape[2]
        for oc in range(KG):
            _copy(copy[oc * channel :], dy, (n * plan.K + g * KG + oc) * plane, qd + plan.low_d,
                  q_h + plan.low_h, q_w + plan.low_w, high, pitch, plan)  # fmt: skip
        for f in range(r.shape[0]):
            k0, K = first[f] * KG, (first[f + 1] - first[f]) * KG
            if K == 0:
                for c in range(CG):
                    rows[c * spread : c * spread + count] = b[g * CG + c] if b.size > 0 else 0
            ic = 0
            while K > 0 and ic < CG:
                some = even(CG - ic, MOST)
                for p in range(0, count, VECTORS * step):
                    wide = min(VECTORS, (count - p + step - 1) // step)
                    taps(tile, some, wide, rows, ic * spread + p, spread, A, k0 * CG + ic * K, K,
                         copy, p, at[k0:], K, start, b, g * CG + ic, step)  # fmt: skip
                ic += some
            for h in range(plan.box_h):
                some = min(plan.box_w, (shape[2] - 1) // shape[5] + 1 - q_w)
                put(dx, base, CG, rows, spread, h * pitch, some, (qd, q_h + h, q_w), shape, r[f])
