"""The padded copy: an input in which every tap of every window is a row that can be loaded.

Output o and tap k meet at padded position o*stride + k*dilation. Split by stride phases, position
o*stride + q is element o + q//stride of phase q % stride, so that along W neighbouring outputs read
neighbouring elements for every tap: a strided convolution becomes a stride-1 one, with zeros where
padding was. A tap is then one offset into the copy, and a table of offsets is all a kernel needs.

    copy (N, C, phases, QD, QH, QW)     phases: those that occur, of D outermost, W innermost
    offset of (ic, kd, kh, kw) = ic*channel + phase*plane + (kd*dd//sd)*QH*QW + (kh*dh//sh)*QW + …

Where there is no padding and no stride, the input is its own copy. Zeros of the copy are multiplied
where the contract says "skipped": with an infinite or NaN *weight* that is NaN. ``finite`` tells.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import get_num_threads, njit

from .vector import evens, lanes, load_range, store
from .worker import launch, share

#: What a kernel needs of a padded copy: the flat array, elements from one image, channel, row and
#: plane to the next, and the offset of every tap, (KD*KH*KW,) int64.
Padded = namedtuple("Padded", "data image channel depth row taps")

#: Elements of a cache line of float32. Channels start on one; an odd number of lines apart, since
#: channels a power of two apart would share cache sets. Room behind the last row: a vector, less 1.
LINE = 16


#: What filling a copy needs: elements from one channel to the next, and int64 arrays: the phases
#: (count, 3), the size of a phase, the stride and the padding.
Layout = namedtuple("Layout", "channel phases size stride padding")


@njit(cache=True, error_model="numpy")
def _rows(copy, to, pitch, x, source, x_pitch, rows, step, lo, hi):
    """``rows`` rows of the copy: elements lo to hi are x's, ``step`` apart, those around them 0.

    Whole vectors are written, in rising order: what one writes too far the next one overwrites,
    and behind the last row a channel has room.
    """
    wide = lanes(x)
    for r in range(rows):
        for j in range(0, pitch, wide):
            at, first, end = source + r * x_pitch + j * step, lo - j, hi - j
            if step == 1:
                value = load_range(x, at, first, end)
            else:
                low = load_range(x, at, 2 * first, 2 * end - 1)
                value = evens(low, load_range(x, at + wide, 2 * first - wide, 2 * end - 1 - wide))
            store(copy, to + r * pitch + j, value)


@njit(cache=True, error_model="numpy")
def _far(copy, to, pitch, x, source, x_pitch, rows, step, lo, hi):
    """The same for any ``step``, element by element."""
    for r in range(rows):
        for j in range(pitch):
            inside = lo <= j < hi
            value = x[np.uint64(source + r * x_pitch + j * step)] if inside else x.dtype.type(0)
            copy[np.uint64(to + r * pitch + j)] = value


@njit(cache=True, error_model="numpy")
def _inside(start, step, size, count):
    """The range of j in range(count) for which 0 <= start + j * step < size."""
    lo = min(count, max(0, -(start // step)))
    return lo, max(lo, min(count, (size - 1 - start) // step + 1))


@njit(cache=True, error_model="numpy")
def fill(copy, to, x, i, layout):
    """copy[to : to + channel] = plane i of x (its flat index over images and channels)."""
    _, _, D, H, W = x.shape
    QD, QH, QW = layout.size[0], layout.size[1], layout.size[2]
    SD, SH, SW = layout.stride[0], layout.stride[1], layout.stride[2]
    flat, at = x.reshape(-1), to
    for p in range(layout.phases.shape[0]):
        start_d = layout.phases[p, 0] - layout.padding[0]
        start_h = layout.phases[p, 1] - layout.padding[1]
        start_w = layout.phases[p, 2] - layout.padding[2]
        lo_h, hi_h = _inside(start_h, SH, H, QH)
        lo, hi = _inside(start_w, SW, W, QW)
        for jd in range(QD):
            id = start_d + jd * SD
            above, below = (lo_h, hi_h) if 0 <= id < D else (QH, QH)
            copy[at : at + above * QW] = 0
            source = ((i * D + id) * H + start_h + above * SH) * W + start_w
            if SW <= 2:
                _rows(copy, at + above * QW, QW, flat, source, SH * W, below - above, SW, lo, hi)
            else:
                _far(copy, at + above * QW, QW, flat, source, SH * W, below - above, SW, lo, hi)
            copy[at + below * QW : at + QH * QW] = 0
            at += QH * QW
    copy[at : to + layout.channel] = 0


def _fill(t, threads, copy, x, layout):
    first, last = share(t, threads, x.shape[0] * x.shape[1])
    for i in range(first, last):
        fill(copy, i * layout.channel, x, i, layout)


#: Elements below which a copy is made by one thread: starting others costs more.
SERIAL = 1 << 14


@lru_cache(maxsize=512)
def geometry(x_shape, kernel, out, stride, padding, dilation):
    """A copy without its data, the layout to fill it by, and whether x is its own copy.

    All arguments are tuples: what is found is remembered.
    """
    axes = range(3)
    reach = [[k * dilation[a] for k in range(kernel[a])] for a in axes]
    used = [sorted({q % stride[a] for q in reach[a]}) for a in axes]
    size = [out[a] + reach[a][-1] // stride[a] for a in axes]
    phases = [(d, h, w) for d in used[0] for h in used[1] for w in used[2]]
    plane, same = size[0] * size[1] * size[2], False
    if len(phases) == 1 and stride == (1, 1, 1) and not any(padding):
        same = all(size[a] <= x_shape[2 + a] for a in axes)
    if same:  # every tap is inside x already
        size = list(x_shape[2:])
        plane = channel = size[0] * size[1] * size[2]
    else:
        channel = (-(-(len(phases) * plane + LINE - 1) // LINE) | 1) * LINE
    depth, row = size[1] * size[2], size[2]
    where = {p: i * plane for i, p in enumerate(phases)}
    taps = [
        where[qd % stride[0], qh % stride[1], qw % stride[2]]
        + qd // stride[0] * depth + qh // stride[1] * row + qw // stride[2]
        for qd in reach[0] for qh in reach[1] for qw in reach[2]
    ]  # fmt: skip
    arrays = [np.array(numbers, np.int64) for numbers in (taps, phases, size, stride, padding)]
    copy = Padded(None, x_shape[1] * channel, channel, depth, row, arrays[0])
    return copy, Layout(channel, *arrays[1:]), same


def filled(x, layout):
    """The data of the padded copy of all of x."""
    data = np.empty(x.shape[0] * x.shape[1] * layout.channel, x.dtype)
    threads = 1 if data.size < SERIAL else get_num_threads()
    launch(_fill, threads, x.dtype, data, x, layout)
    return data


def padded(x, kernel, out, stride, padding, dilation):
    """The padded copy of x (N, C, D, H, W) for windows of ``kernel`` at ``out`` positions.

    Work: x is read once and the copy written once. ``padding`` is the low side and may be negative.
    """
    numbers = (tuple(each) for each in (x.shape, kernel, out, stride, padding, dilation))
    copy, layout, same = geometry(*numbers)
    return copy._replace(data=x.reshape(-1) if same else filled(x, layout))


def room(x_shape, copy, same, groups, threads):
    """Elements of room for the copy of one image's group a thread, or 0.

    Where x needs copying and there are images and groups for all threads, a task should be one of
    them: it ``fill``s its thread's room and finds the copy in its cache.
    """
    tasks = x_shape[0] * groups
    if same or (tasks % threads and tasks < 4 * threads):
        return 0
    return threads * (x_shape[1] // groups) * copy.channel


def joins(copy, y_shape):
    """Whether y's planes may be taken for one row: its rows follow one another in the copy as they
    do in y. So they do where no tap reaches past the stride: 1x1, and patches side by side.
    """
    return copy.row == y_shape[4] and copy.depth == y_shape[3] * y_shape[4]


@lru_cache(maxsize=512)
def inside(x_shape, w_shape, y_shape, stride, padding, dilation):
    """Whether every tap of every window lies inside x: then no padding zero is multiplied."""
    return all(
        padding[a] <= 0
        and (y_shape[2 + a] - 1) * stride[a] - padding[a] + (w_shape[2 + a] - 1) * dilation[a]
        < x_shape[2 + a]
        for a in range(3)
    )
