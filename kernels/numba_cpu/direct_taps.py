"""Direct convolution by rows: a vector holds neighbouring outputs of one row of y.

For a block of output channels and a stretch of a row, one ``taps`` tile walks over all taps: each
is a shifted row of the padded copy, and a scalar of the weights as they are. Nothing is packed and
sums go from registers straight into y, so this is the variant for few input or output channels,
where there is little arithmetic to hide other work behind. Its waste is the last vector of a row:
28 outputs fill 28 of 32 lanes.

Item: a stretch of a row, some rows of one image and group, some blocks of channels. Rows of an item
overlap in the input, so that most taps are read from the first cache. Where there are many images
or groups, a task is one of them: its padded copy lives in the thread's scratch and is still in
cache when its items read it. Otherwise a task is an item, and the copy is made before.
"""

from collections import namedtuple
from functools import lru_cache
from math import prod

import numpy as np
from numba import get_num_threads, njit

from .compiled import ROWS_OF, VECTORS, address, taps
from .padded import fill, filled, geometry, joins, room
from .tile import ROWS, ZERO
from .vector import BYTES
from .worker import launch, share

#: Multiply-adds below which one thread does everything: starting others costs more.
SERIAL = 1 << 17
#: Items that a thread should find, so that none waits long for the last one.
SHARE = 4

#: Rows of an item at most, and bytes of the padded copy that they should read: what all blocks of
#: channels read again should stay in the first cache.
HEIGHT, NEAR = 8, 14_000

#: The numbers of one call: groups, channels a group, terms of a sum, output sizes; the copy's
#: strides; how rows, the height and the channels are cut; items, and how many a whole image and
#: group has where that is a task, else 0.
Plan = namedtuple(
    "Plan",
    "G OCG CG K OD OH OW image group depth row lanes "
    "vectors stretches heights blocks parts items each",
)


@njit(cache=True, error_model="numpy")
def _item(tile, y, x, source, at, w, b, plan, item):
    """``source``: where the group's first channel lies."""
    p = plan
    part, item = item % p.parts, item // p.parts
    stretch, item = item % p.stretches, item // p.stretches
    height, item = item % p.heights, item // p.heights
    od, item = item % p.OD, item // p.OD
    g, n = item % p.G, item // p.G
    first = stretch * p.vectors // p.stretches
    columns = (stretch + 1) * p.vectors // p.stretches - first
    ow = first * p.lanes
    last = min(p.lanes, p.OW - ow - (columns - 1) * p.lanes)
    plane = p.OD * p.OH * p.OW
    source += od * p.depth + ow
    start = ROWS if b.size else ZERO
    for block in range(part * p.blocks // p.parts, (part + 1) * p.blocks // p.parts):
        oc = g * p.OCG + block * p.OCG // p.blocks
        rows = g * p.OCG + (block + 1) * p.OCG // p.blocks - oc
        to = (n * p.G * p.OCG + oc) * plane + od * p.OH * p.OW + ow
        for oh in range(height * p.OH // p.heights, (height + 1) * p.OH // p.heights):
            taps(tile, rows, columns, y, to + oh * p.OW, plane, w, oc * p.K, p.K,
                  x, source + oh * p.row, at, p.K, start, b, oc, last)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _task(tile, y, copy, x, layout, at, w, b, plan, thread, task):
    p = plan
    if p.each == 0:
        ng = task // (p.items // (x.shape[0] * p.G))
        _item(tile, y, copy, ng // p.G * p.image + ng % p.G * p.group, at, w, b, p, task)
        return
    source = thread * p.group
    for ic in range(p.CG):
        fill(copy, source + ic * layout.channel, x, task * p.CG + ic, layout)
    for item in range(task * p.each, (task + 1) * p.each):
        _item(tile, y, copy, source, at, w, b, p, item)


def _tasks(t, threads, tile, y, copy, x, layout, at, w, b, plan, tasks):
    first, last = share(t, threads, tasks)
    for task in range(first, last):
        _task(tile, y, copy, x, layout, at, w, b, plan, t, task)


@lru_cache(maxsize=512)
def _plan(x_shape, w_shape, y_shape, stride, padding, dilation, lanes, threads):
    """How the work is cut, the offset of each term, the copy's layout, and room for it."""
    CG, OCG, K = w_shape[1], w_shape[0] * w_shape[1] // x_shape[1], prod(w_shape[1:])
    G = x_shape[1] // CG
    copy, layout, same = geometry(x_shape, w_shape[2:], y_shape[2:], stride, padding, dilation)
    at = (np.arange(CG)[:, None] * copy.channel + copy.taps).reshape(-1)
    space = room(x_shape, copy, same, G, threads)
    N, (OD, OH, OW) = x_shape[0], y_shape[2:]
    if joins(copy, y_shape):
        OD, OH, OW = 1, 1, OD * OH * OW
    vectors = -(-OW // lanes)
    stretches = -(-vectors // VECTORS)
    blocks = -(-OCG // ROWS_OF[-(-vectors // stretches)])
    lines, wanted = N * G * OD * stretches, 1 if space else SHARE * threads
    # What one row of outputs reads of the copy, and by how many rows all taps of it reach further.
    more = [(w_shape[2 + a] - 1) * dilation[a] // stride[a] for a in range(3)]
    length = BYTES * -(-vectors // stretches) + BYTES // lanes * more[2] + 64
    near = NEAR // (CG * len(layout.phases) * (1 + more[0]) * length) - more[1]
    heights = max(-(-OH // max(2, min(near, HEIGHT))), min(OH, -(-wanted // lines)))
    parts = min(blocks, -(-wanted // (lines * heights)))
    items = lines * heights * parts
    plan = Plan(G, OCG, CG, K, OD, OH, OW, copy.image, CG * copy.channel, copy.depth, copy.row,
                lanes, vectors, stretches, heights, blocks, parts, items,
                items // (N * G) if space else 0)  # fmt: skip
    return plan, at, layout, same, space


def conv_taps(y, x, w, b, stride, padding, dilation):
    """y, with zeros around x where the contract skips: cuts the work into tasks and runs them."""
    threads = get_num_threads()
    plan, at, layout, same, space = _plan(
        x.shape, w.shape, y.shape, stride, padding, dilation, BYTES // y.itemsize, threads
    )
    copy = x.reshape(-1) if same else np.empty(space, x.dtype) if space else filled(x, layout)
    tasks = plan.items // (plan.each or 1)
    tile = address("taps", y.dtype)
    launch(_tasks, 1 if y.size * plan.K < SERIAL else threads, y.dtype, tile, y.reshape(-1), copy,
           x, layout, at, w.reshape(-1), b, plan, tasks)  # fmt: skip
