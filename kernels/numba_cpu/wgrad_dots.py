"""wgrad as dot products of rows, for groups of few output channels (depthwise above all).

    dw[oc, j] = sum over p of dy[oc, p] * x[j, p]     j: (ic, tap),  p: positions of a padded plane

A group's channels are copied to a thread's scratch: x padded and split by stride phases, dy with
the same pitch and zeros between its rows. A plane, and several small planes after each other, is
then one long row, and a tap is an offset into it; vectors run along it. Lanes that fall between the
rows (a kernel's width less one, a row) are wasted.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import njit

from .dot import COLUMNS, address, dots
from .padded import LINE, geometry
from .vector import BYTES, lanes, load, load_first, store, store_first, total, zeros
from .wgrad_columns import shares
from .worker import launch

#: Bytes of x an item copies at a time, and the length that small planes are joined to.
SCRATCH, LENGTH = 1 << 18, 1024

Plan = namedtuple(
    "Plan",
    "parts groups chunks channels images plane pitch dy_pitch steps count"
    " depth row step N C K x_plane OD OH OW",
)


@lru_cache(maxsize=256)
def plan(x_shape, dy_shape, w_shape, itemsize, stride, padding, dilation, groups, threads):
    """What of x each phase copies, the offsets of the rows j of a chunk, and the numbers."""
    (N, C), K, CG, out = x_shape[:2], w_shape[0], w_shape[1], dy_shape[2:]
    copy, layout, _ = geometry(x_shape, w_shape[2:], out, stride, padding, dilation)
    plane = int(layout.size.prod())
    images = max(1, min(-(-N // threads), LENGTH // plane))
    pitch = (len(layout.phases) * images * plane + 2 * LINE) // LINE * LINE + LINE
    most = max(1, min(CG, SCRATCH // itemsize // pitch))
    chunks, parts = shares(groups, -(-CG // most), CG, -(-N // images), threads)
    channels = -(-CG // chunks)
    taps = copy.taps // plane * images * plane + copy.taps % plane
    at = (np.arange(channels)[:, None] * pitch + taps).reshape(-1)
    at = np.concatenate([at, np.repeat(at[-1:], max(COLUMNS))])
    regions = [_region(x_shape[2:], layout, p, images * plane * i)
               for i, p in enumerate(layout.phases.tolist())]  # fmt: skip
    steps = (out[0] - 1) * copy.depth + (out[1] - 1) * copy.row + out[2]
    dy_pitch = (images * plane + LINE) // LINE * LINE + LINE
    numbers = Plan(parts, groups, -(-CG // channels), channels, images, plane, pitch, dy_pitch,
                   steps, len(taps), copy.depth, copy.row, stride[2], N, C, K,
                   x_shape[2] * x_shape[3] * x_shape[4], *out)  # fmt: skip
    return np.array(regions), at, numbers


def _region(size, layout, phase, to):
    """What of a phase comes from x: where it starts there and in x, and its three extents."""
    stride, padding = layout.stride.tolist(), layout.padding.tolist()
    lo, count, source = [], [], []
    for a in range(3):
        first = padding[a] - phase[a]
        lo.append(max(0, -(-first // stride[a])))
        hi = min(int(layout.size[a]), (size[a] - 1 + first) // stride[a] + 1)
        count.append(max(0, hi - lo[a]))
        source.append(lo[a] * stride[a] - first)
    _, H, W = layout.size.tolist()
    return [to + (lo[0] * H + lo[1]) * W + lo[2],
            (source[0] * size[1] + source[1]) * size[2] + source[2], *count,
            stride[0] * size[1] * size[2], stride[1] * size[2]]  # fmt: skip


def run(threads, dw, dy, x, regions, at, numbers):
    """The gradients of all parts, to the flat ``dw``."""
    KG, lane = numbers.K // numbers.groups, BYTES // dw.itemsize
    xs = np.zeros((threads, (numbers.channels + 1) * numbers.pitch), dw.dtype)
    ys = np.zeros((threads, KG * numbers.dy_pitch), dw.dtype)
    sums = np.empty((threads, KG * at.size * lane), dw.dtype)
    launch(_work, threads, dw.dtype, address("dots", dw.dtype), dw, dy.reshape(-1), x.reshape(-1),
           regions, at, numbers, xs, ys, sums)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _copy(y, to, y_depth, y_row, x, at, x_depth, x_row, step, depth, height, width):
    """A box of x to y: ``width`` elements ``step`` apart of each of depth x height rows."""
    lane = lanes(x)
    for d in range(depth):
        for h in range(height):
            end, start = to + d * y_depth + h * y_row, at + d * x_depth + h * x_row
            if step == 1:
                i = 0
                while i + lane < width:
                    store(y, end + i, load(x, start + i))
                    i += lane
                store_first(y, end + i, load_first(x, start + i, width - i), width - i)
            else:
                a, b = np.uint64(end), np.uint64(start)
                for j in range(np.uint64(width)):
                    y[a + j] = x[b + j * np.uint64(step)]


def _work(t, threads, tile, dw, dy, x, regions, at, plan, all_xs, all_ys, all_sums):
    """Items t, t + threads, …: the weights of one group and a chunk of its input channels, summed
    over one part of the images.

    Work: KG * channels * taps multiply-adds an element of dy's padded plane. Memory: x once, dy
    once a chunk; each is copied once more within the cache.
    """
    N, C, K, OD, OH, OW = plan.N, plan.C, plan.K, plan.OD, plan.OH, plan.OW
    xs, ys, sums = all_xs[t], all_ys[t], all_sums[t]
    CG, KG, step, wide = C // plan.groups, K // plan.groups, lanes(dw), at.size
    for item in range(t, plan.parts * plan.groups * plan.chunks, threads):
        chunk, rest = item % plan.chunks, item // plan.chunks
        g, part = rest % plan.groups, rest // plan.groups
        c0 = chunk * plan.channels
        channels = min(plan.channels, CG - c0)
        J = channels * plan.count
        first, last = part * N // plan.parts, (part + 1) * N // plan.parts
        for i in range(0, sums.size, step):
            store(sums, i, zeros(sums))
        for n in range(first, last, plan.images):
            images = min(plan.images, last - n)
            for i in range(images):
                for c in range(channels):
                    to = c * plan.pitch + i * plan.plane
                    source = ((n + i) * C + g * CG + c0 + c) * plan.x_plane
                    for p in range(regions.shape[0]):
                        start, begin, nd, nh, nw, x_depth, x_row = regions[p]
                        _copy(xs, to + start, plan.depth, plan.row, x, source + begin, x_depth,
                              x_row, plan.step, nd, nh, nw)  # fmt: skip
                for k in range(KG):
                    to = k * plan.dy_pitch + i * plan.plane
                    source = ((n + i) * K + g * KG + k) * (OD * OH * OW)
                    _copy(ys, to, plan.depth, plan.row, dy, source, OH * OW, OW, 1, OD, OH, OW)
            for k in range(KG):
                end = k * plan.dy_pitch + images * plan.plane
                store(ys, end, zeros(ys))
            steps = ((images - 1) * plan.plane + plan.steps + step - 1) // step
            for k in range(0, KG, 4):
                rows = min(4, KG - k)
                columns = COLUMNS[rows - 1]
                for j in range(0, J, columns):
                    dots(tile, rows, columns, sums, (k * wide + j) * step, wide, ys,
                         k * plan.dy_pitch, plan.dy_pitch, xs, 0, at, j, steps)  # fmt: skip
        for k in range(KG):
            to = ((part * K + g * KG + k) * CG + c0) * plan.count
            for j in range(J):
                dw[to + j] = total(load(sums, (k * wide + j) * step))
