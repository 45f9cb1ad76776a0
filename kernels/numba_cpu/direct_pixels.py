"""Direct convolution by pixels: a vector holds neighbouring output channels of one pixel.

Weights are packed once a call, 16 or 32 channels side by side for every tap; then a ``pixels`` tile
multiplies them with up to 14 scalars of a row of the padded copy. No lane is idle where channels
are a multiple of the vector, however narrow the rows: this is the variant for many channels. Sums
leave the registers pixel by pixel; squares of them are transposed on their way into y.

    packed weights [g][block of 1 or 2 vectors of oc][kd][kh][ic][kw][oc in block]

With kd and kh outermost, the taps that a row of y finds inside the input are one stretch of k (a
stretch for each kd), and those above and below it cost nothing.

Item: about a hundred pixels of one image and group, for some blocks of channels. It reads each
block's weights from the second cache, ``TERMS`` of them at a time, and the rows of its pixels.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import get_num_threads, njit

from .compiled import PIXELS_OF, address, pixels
from .direct_taps import SERIAL, SHARE
from .padded import fill, filled, geometry, inside, joins, room
from .tile import COLUMNS, SUMS
from .vector import BYTES, lanes, load, prefetch_to_write, store, transpose, transpose_part
from .worker import launch, share

#: Pixels of an item; terms of a sum that are taken before the next tile: 2048 rows of two vectors
#: are a quarter of the second cache.
ITEM, TERMS = 112, 2048

#: The numbers of one call: groups, channels a group, terms of a sum and of one (kd, kh) in it;
#: sizes; the copy's strides; vectors of channels and their blocks; pixels of a tile at most; how
#: the height, the rows and the channels are cut; items, how many of them a whole image and group
#: has where that is a task, else 0; whether a block of weights is used only once.
Plan = namedtuple(
    "Plan",
    "G OCG CG K terms KD KH D H OD OH OW SD SH PD PH DD DH image group depth row "
    "vectors blocks most heights stretches parts items each once",
)


@njit(cache=True, error_model="numpy")
def _pack_block(packed, to, w, square, order, plan, g, block):
    """One block of output channels, for every tap, by way of a ``square`` at the array's end;
    channels that are not there are 0.
    """
    p, wide = plan, lanes(w)
    first, end = block * p.vectors // p.blocks, (block + 1) * p.vectors // p.blocks
    for v in range(first, end):
        rows, source = min(wide, p.OCG - v * wide), (g * p.OCG + v * wide) * p.K
        for k in range(0, p.K, wide):
            some = min(wide, p.K - k)
            if some == wide and rows == wide:
                transpose(w, source + k, p.K, packed, square, wide)
            else:
                transpose_part(w, source + k, p.K, rows, some, packed, square, wide,
                               some, wide)  # fmt: skip
            for j in range(some):
                row = to + (order[np.uint64(k + j)] * (end - first) + v - first) * wide
                store(packed, row, load(packed, square + j * wide))


def _pack(t, threads, packed, w, order, plan):
    square = packed.size - (t + 1) * lanes(w) ** 2
    first, last = share(t, threads, plan.G * plan.blocks)
    for item in range(first, last):
        g, block = item // plan.blocks, item % plan.blocks
        to = (g * plan.vectors + block * plan.vectors // plan.blocks) * plan.K * lanes(w)
        _pack_block(packed, to, w, square, order, plan, g, block)


@njit(cache=True, error_model="numpy", inline="always")
def _inside(start, step, size, count):
    """The range of k in range(count) for which 0 <= start + k * step < size."""
    if start >= 0 and start + (count - 1) * step < size:  # most rows: no division
        return 0, count
    lo = min(count, max(0, -(start // step)))
    return lo, max(lo, min(count, (size - 1 - start) // step + 1))


@njit(cache=True, error_model="numpy")
def _row(tile, sums, to, columns, x, source, at, packed, weights, bias, channel, count, od, oh, k,
         plan):  # fmt: skip
    """``count`` pixels of row (od, oh), whose first tap is at ``source``, gain the terms from k on
    of their sums: in tiles of equal size, or nearly.
    """
    p, width = plan, columns * lanes(x)
    lo_d, hi_d = _inside(od * p.SD - p.PD, p.DD, p.D, p.KD)
    lo_h, hi_h = _inside(oh * p.SH - p.PH, p.DH, p.H, p.KH)
    if lo_h == hi_h or lo_d == hi_d:
        for j in range(count):
            for i in range(width):
                sums[to + j * width + i] = bias[channel + i]
        return
    tiles = -(-count // p.most)
    least = count // tiles
    longer = count - least * tiles
    for kd in range(lo_d, hi_d):
        lo = max(k, (kd * p.KH + lo_h) * p.terms)
        hi = min(k + TERMS, (kd * p.KH + hi_h) * p.terms)
        if lo >= hi:
            continue
        start = COLUMNS if lo == (lo_d * p.KH + lo_h) * p.terms else SUMS
        j = 0
        for i in range(tiles):
            rows = least + (i < longer)
            pixels(tile, rows, columns, sums, to + j * width, width, x, source + j, at, lo,
                   packed, weights + lo * width, width, hi - lo, start, bias, channel,
                   lanes(x))  # fmt: skip
            j += rows


@njit(cache=True, error_model="numpy")
def _item(tile, y, x, source, at, w, order, packed, bias, sums, thread, plan, item):
    p, wide = plan, lanes(y)
    base, square = thread * 2 * wide * ITEM, packed.size - (thread + 1) * wide * wide
    part, item = item % p.parts, item // p.parts
    stretch, item = item % p.stretches, item // p.stretches
    height, item = item % p.heights, item // p.heights
    od, item = item % p.OD, item // p.OD
    g, n = item % p.G, item // p.G
    oh0, oh1 = height * p.OH // p.heights, (height + 1) * p.OH // p.heights
    ow = stretch * p.OW // p.stretches
    count = (stretch + 1) * p.OW // p.stretches - ow
    found, plane = (oh1 - oh0) * count, p.OD * p.OH * p.OW
    for block in range(part * p.blocks // p.parts, (part + 1) * p.blocks // p.parts):
        first = block * p.vectors // p.blocks
        columns = (block + 1) * p.vectors // p.blocks - first
        width, channel = columns * wide, (g * p.vectors + first) * wide
        weights = channel * p.K
        if p.once:
            weights = thread * 2 * wide * p.K
            _pack_block(packed, weights, w, square, order, p, g, block)
        to = (n * p.G + g) * p.OCG * plane + first * wide * plane + (od * p.OH + oh0) * p.OW + ow
        for i in range(min(columns * wide, p.OCG - first * wide)):
            for j in range(0, found, wide):
                prefetch_to_write(y, to + i * plane + j)
        for k in range(0, p.K, TERMS):
            for oh in range(oh0, oh1):
                to, row = base + (oh - oh0) * count * width, source + od * p.depth + oh * p.row + ow
                _row(tile, sums, to, columns, x, row, at, packed, weights, bias, channel, count,
                     od, oh, k, p)  # fmt: skip
        for v in range(columns):
            oc = (first + v) * wide
            to = (n * p.G + g) * p.OCG * plane + oc * plane + (od * p.OH + oh0) * p.OW + ow
            channels = min(wide, p.OCG - oc)
            for j in range(0, found, wide):
                some, corner = min(wide, found - j), base + j * width + v * wide
                if some == wide and channels == wide:
                    transpose(sums, corner, width, y, to + j, plane)
                else:
                    transpose_part(sums, corner, width, some, wide, y, to + j, plane,
                                   channels, some)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _task(tile, y, copy, x, layout, at, w, order, packed, bias, sums, plan, thread, task):
    p = plan
    if p.each == 0:
        ng = task // (p.items // (x.shape[0] * p.G))
        source = ng // p.G * p.image + ng % p.G * p.group
        _item(tile, y, copy, source, at, w, order, packed, bias, sums, thread, p, task)
        return
    source = thread * p.group
    for ic in range(p.CG):
        fill(copy, source + ic * layout.channel, x, task * p.CG + ic, layout)
    for item in range(task * p.each, (task + 1) * p.each):
        _item(tile, y, copy, source, at, w, order, packed, bias, sums, thread, p, item)


def _tasks(t, threads, tile, y, copy, x, layout, at, w, order, packed, bias, sums, plan, tasks):
    first, last = share(t, threads, tasks)
    for task in range(first, last):
        _task(tile, y, copy, x, layout, at, w, order, packed, bias, sums, plan, t, task)


@lru_cache(maxsize=512)
def _plan(x_shape, w_shape, y_shape, stride, padding, dilation, wide, threads):
    """How the work is cut, the offset of each packed term and where each term is packed, the
    copy's layout, and room for it.
    """
    CG, KD, KH, KW = w_shape[1:]
    OCG, G, K = w_shape[0] * CG // x_shape[1], x_shape[1] // CG, CG * KD * KH * KW
    copy, layout, same = geometry(x_shape, w_shape[2:], y_shape[2:], stride, padding, dilation)
    space = room(x_shape, copy, same, G, threads)
    at = copy.taps.reshape(KD * KH, 1, KW) + np.arange(CG)[:, None] * copy.channel
    order = np.arange(K).reshape(KD * KH, CG, KW).transpose(1, 0, 2).reshape(-1)
    N, (OD, OH, OW), (D, H) = x_shape[0], y_shape[2:], x_shape[2:4]
    (SD, SH, _), (PD, PH, _), (DD, DH, _) = stride, padding, dilation
    if joins(copy, y_shape) and inside(x_shape, w_shape, y_shape, stride, padding, dilation):
        OD, OH, OW = 1, 1, OD * OH * OW
        D, H, PD, PH, DD, DH = KD, KH, 0, 0, 1, 1
    vectors = -(-OCG // wide)
    blocks = -(-vectors // 2)
    stretches = -(-OW // ITEM)
    heights = -(-OH // max(1, ITEM // OW))
    lines, wanted = N * G * OD * stretches, 1 if space else SHARE * threads
    parts = min(blocks, -(-wanted // (lines * heights)))
    if stretches == 1:
        heights = max(heights, min(OH, -(-wanted // (lines * parts))))
    items = lines * heights * parts
    plan = Plan(G, OCG, CG, K, CG * KW, KD, KH, D, H, OD, OH, OW, SD, SH, PD, PH, DD, DH,
                copy.image, CG * copy.channel, copy.depth, copy.row, vectors, blocks,
                PIXELS_OF[-(-vectors // blocks)], heights, stretches, parts, items,
                items // (N * G) if space else 0, lines * heights == G)  # fmt: skip
    return plan, at.reshape(-1), order, layout, same, space


def conv_pixels(y, x, w, b, stride, padding, dilation):
    """y, with zeros around x where the contract skips: packs the weights, cuts the work into tasks
    and runs them.
    """
    threads, wide = get_num_threads(), BYTES // y.itemsize
    plan, at, order, layout, same, space = _plan(
        x.shape, w.shape, y.shape, stride, padding, dilation, wide, threads
    )
    p, flat = plan, w.reshape(-1)
    # Where only one item uses a block's weights, it packs them for itself, from cache to cache.
    vectors = threads * 2 if p.once else p.G * p.vectors
    packed = np.empty((vectors * p.K + threads * wide) * wide, y.dtype)
    if not p.once:
        launch(_pack, threads, y.dtype, packed, flat, order, plan)
    bias = np.zeros((p.G, p.vectors * wide), y.dtype)
    if b.size:
        bias[:, : p.OCG] = b.reshape(p.G, p.OCG)
    copy = x.reshape(-1) if same else np.empty(space, x.dtype) if space else filled(x, layout)
    sums = np.empty(threads * ITEM * 2 * wide, y.dtype)
    tasks = p.items // (p.each or 1)
    tile = address("pixels", y.dtype)
    launch(_tasks, 1 if y.size * p.K < SERIAL else threads, y.dtype, tile, y.reshape(-1), copy, x,
           layout, at, flat, order, packed, bias.reshape(-1), sums, plan, tasks)  # fmt: skip
