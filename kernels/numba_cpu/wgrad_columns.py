"""wgrad as a product of matrices: vectors hold output channels, the sum runs over pixels.

    dw[oc, j] = sum over p of x[row[j] + at[p]] * dy[oc, p]     j: (ic, tap),  p: (n, od, oh, ow)

dy is transposed, a block of pixels at a time, into a panel [p][oc] that fits the cache; x stays as
it is (padded), since any stride, dilation or tap is only another offset. Neither narrow rows nor
strides leave lanes empty; few output channels do (``wgrad_dots`` is for those).
"""

from collections import namedtuple
from functools import lru_cache
from math import gcd

import numpy as np
from numba import njit

from .compiled import ROWS_OF, VECTORS
from .dot import address, gathered
from .padded import filled, geometry
from .tile import SUMS, ZERO
from .vector import BYTES, lanes, transpose, transpose_part
from .worker import launch

#: Pixels of a panel, and rows of sums an item keeps: 112 and 192 KiB of float32 in the second
#: cache. With fewer than LEAST rows an item, packing the panel would cost too much.
PIXELS, CHUNK, LEAST = 448, 768, 96

Plan = namedtuple(
    "Plan", "parts groups blocks chunks chunk rows width images pixels block image J N K"
)


def width(channels, itemsize):
    """Vectors of channels an item holds, as even as blocks of at most 4 can be; lanes of each."""
    lane = BYTES // itemsize
    vectors = -(-channels // lane)
    return -(-vectors // -(-vectors // VECTORS)), lane


@lru_cache(maxsize=256)
def plan(x_shape, dy_shape, w_shape, itemsize, stride, padding, dilation, groups, threads):
    """Layout of x's copy, the tables of rows and of pixels, and the numbers of ``_item``."""
    N, (K, CG), out = x_shape[0], w_shape[:2], dy_shape[2:]
    span = tuple((out[a] - 1) * stride[a] + 1 for a in range(3))
    copy, layout, same = geometry(x_shape, w_shape[2:], span, (1, 1, 1), padding, dilation)
    vectors, lane = width(K // groups, itemsize)
    blocks = -(-K // groups // (vectors * lane))
    rows, J, pixels = ROWS_OF[vectors], CG * len(copy.taps), out[0] * out[1] * out[2]
    images = max(1, min(-(-N // threads), PIXELS // pixels))
    chunks, parts = shares(groups * blocks, -(-J // CHUNK), J // LEAST, -(-N // images), threads)
    chunk = -(-J // chunks)
    row = (np.arange(CG)[:, None] * copy.channel + copy.taps).reshape(-1)
    d, h, w = (np.arange(out[a]) * stride[a] for a in range(3))
    at = (d[:, None, None] * copy.depth + h[:, None] * copy.row + w).reshape(-1)
    at = (np.arange(images)[:, None] * copy.image + at).reshape(-1)
    numbers = Plan(parts, groups, blocks, -(-J // chunk), chunk, rows, vectors * lane, images,
                   pixels, min(PIXELS, pixels) if images == 1 else pixels, copy.image, J, N,
                   K)  # fmt: skip
    return layout, same, row, at, numbers


def uneven(tasks, threads):
    """Whether threads would wait long for the one with the most of so many equal tasks."""
    return tasks % threads != 0 and tasks < 4 * threads


def shares(tasks, chunks, most, parts, threads):
    """Chunks of the rows, and parts of the images, that give every thread as much as the others:
    more chunks than asked for where that is enough (at most ``most``), else at most ``parts``.
    """
    for count in range(chunks, max(chunks, most) + 1):
        if not uneven(count * tasks, threads):
            return count, 1
    return chunks, min(parts, threads // gcd(chunks * tasks, threads))


def run(threads, dw, dy, x, layout, same, row, at, numbers):
    """The gradients of all parts, to the flat ``dw``."""
    data = x.reshape(-1) if same else filled(x, layout)
    panels = np.zeros((threads, numbers.images * numbers.block * numbers.width), dw.dtype)
    sums = np.empty((threads, numbers.chunk * numbers.width), dw.dtype)
    launch(_work, threads, dw.dtype, address("gathered", dw.dtype), dw, dy.reshape(-1), data, row,
           at, numbers, panels, sums)  # fmt: skip


@njit(cache=True, error_model="numpy")
def even(left, most):
    """How many of ``left`` to take next, at most ``most``, so that none takes few."""
    tiles = (left + most - 1) // most
    return (left + tiles - 1) // tiles


@njit(cache=True, error_model="numpy")
def _panel(panel, to, width, dy, at, plane, channels, pixels):
    """panel[to + p*width + oc] = dy[at + oc*plane + p] for ``channels`` x ``pixels``."""
    step = lanes(dy)
    for c in range(0, channels, step):
        for p in range(0, pixels, step):
            start, end = at + c * plane + p, to + p * width + c
            if channels - c >= step and pixels - p >= step:
                transpose(dy, start, plane, panel, end, width)
            else:
                some = min(step, pixels - p)
                transpose_part(dy, start, plane, channels - c, some, panel, end, width, some, step)


@njit(cache=True, error_model="numpy")
def _result(dw, to, J, sums, width, channels, rows):
    """dw[to + oc*J + j] = sums[j*width + oc] for ``channels`` x ``rows``."""
    step = lanes(dw)
    for c in range(0, channels, step):
        for j in range(0, rows, step):
            start, end = j * width + c, to + c * J + j
            if channels - c >= step and rows - j >= step:
                transpose(sums, start, width, dw, end, J)
            else:
                some = min(step, channels - c)
                transpose_part(sums, start, width, rows - j, some, dw, end, J, some,
                               min(step, rows - j))  # fmt: skip


def _work(t, threads, tile, dw, dy, x, row, at, plan, panels, all_sums):
    """Items t, t + threads, …: up to 64 output channels and CHUNK rows (ic, tap), summed over one
    part of the images.

    Work: rows * pixels * channels multiply-adds. Memory: dy once a chunk, x once a block; the panel
    costs about 1/rows of the work.
    """
    N, K, J, width = plan.N, plan.K, plan.J, plan.width
    panel, sums = panels[t], all_sums[t]
    for item in range(t, plan.parts * plan.groups * plan.blocks * plan.chunks, threads):
        chunk, rest = item % plan.chunks, item // plan.chunks
        block, rest = rest % plan.blocks, rest // plan.blocks
        g, part = rest % plan.groups, rest // plan.groups
        KG, oc, j0 = K // plan.groups, block * plan.width, chunk * plan.chunk
        channels, rows = min(plan.width, KG - oc), min(plan.chunk, J - j0)
        first, last = part * N // plan.parts, (part + 1) * N // plan.parts
        start = ZERO
        x_group = g * (plan.image // plan.groups)
        for n in range(first, last, plan.images):
            images = min(plan.images, last - n)
            for p in range(0, plan.pixels, plan.block):
                count = min(plan.block, plan.pixels - p)
                for i in range(images):
                    from_ = ((n + i) * K + g * KG + oc) * plan.pixels + p
                    _panel(panel, i * count * width, width, dy, from_, plan.pixels, channels, count)
                r = 0
                while r < rows:
                    some = even(rows - r, plan.rows)
                    gathered(tile, some, -(-channels // lanes(dw)), sums, r * width, width, x,
                             n * plan.image + x_group, row, j0 + r, at, p, panel, 0, width,
                             images * count, start, sums, 0, lanes(dw))  # fmt: skip
                    r += some
                start = SUMS
        _result(dw, (part * K + g * KG + oc) * J + j0, J, sums, width, channels, rows)
