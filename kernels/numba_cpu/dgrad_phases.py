"""The phases of dgrad: dx split by stride, each part an ordinary convolution of dy.

Element i = q*stride + r of dx gets dy[o] * w[k] wherever o*stride - padding + k*dilation is i: for
phase r only the taps k with r + padding - k*dilation divisible by the stride, and those meet dy at
q + (r + padding - k*dilation)/stride. So each phase is a convolution of stride 1 over the same
padded copy of dy, with some of the taps; a phase without taps is the bias. Stride 1: one phase.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import njit

from .padded import geometry
from .vector import lanes, load, load_first, store, store_first

#: One problem: the copy of dy and its layout, whether dy is its own copy, positions q along each
#: axis, where along dy the first tap of q = 0 lies and how many positions the taps span, and per
#: phase its r (phases, 3), its first tap (phases + 1,), every tap's place in w and (taps, 3) where
#: it lies from the first. ``shape`` is what ``put`` needs: sizes of dx, stride.
Phases = namedtuple("Phases", "copy layout same q low span r first tap offset shape")


@lru_cache(maxsize=256)
def phases(dx_shape, dy_shape, w_shape, stride, padding, dilation):
    """The phases of a problem, all of whose arguments are tuples."""
    size, kernel, axes = dx_shape[2:], w_shape[2:], range(3)
    found = []  # along each axis, by phase: (tap, offset along dy) of each of its taps
    for a in axes:
        reach = [
            [(k, r + padding[a] - k * dilation[a]) for k in range(kernel[a])]
            for r in range(min(stride[a], size[a]))
        ]
        found.append([[(k, i // stride[a]) for k, i in row if i % stride[a] == 0] for row in reach])
    offsets = [[e for row in found[a] for _, e in row] or [0] for a in axes]
    low, span = [min(e) for e in offsets], [max(e) - min(e) + 1 for e in offsets]
    q = tuple(-(-size[a] // stride[a]) for a in axes)
    copy, layout, same = geometry(
        dy_shape, tuple(span), q, (1, 1, 1), tuple(-e for e in low), (1, 1, 1)
    )
    r, first, tap, offset = [], [0], [], []
    for rd, along_d in enumerate(found[0]):
        for rh, along_h in enumerate(found[1]):
            for rw, along_w in enumerate(found[2]):
                for kd, ed in along_d:
                    for kh, eh in along_h:
                        for kw, ew in along_w:
                            tap.append((kd * kernel[1] + kh) * kernel[2] + kw)
                            offset.append((ed - low[0], eh - low[1], ew - low[2]))
                r.append((rd, rh, rw))
                first.append(len(tap))
    arrays = [np.array(numbers, np.int64) for numbers in (r, first, tap)]
    arrays.append(np.array(offset, np.int64).reshape(-1, 3))
    numbers = copy, layout, same, q, tuple(low), tuple(span)
    return Phases(*numbers, *arrays, np.array((*size, *stride), np.int64))


@njit(cache=True, error_model="numpy")
def put(dx, base, channels, rows, row, at, count, q, shape, r):
    """``count`` neighbours along W of a phase, from rows[c*row + at], to where they belong in dx.

    The first is position ``q`` of phase ``r``; what is not in dx is dropped. ``base`` is dx's first
    channel.
    """
    D, H, W, stride_d, stride_h, stride_w = shape
    id, ih, iw = q[0] * stride_d + r[0], q[1] * stride_h + r[1], q[2] * stride_w + r[2]
    if id >= D or ih >= H or iw >= W:
        return
    some = min(count, (W - 1 - iw) // stride_w + 1)
    for c in range(channels):
        to, source = base + ((c * D + id) * H + ih) * W + iw, c * row + at
        if stride_w == 1:
            copy_row(dx, to, rows, source, some)
        else:
            a, b, step = np.uint64(to), np.uint64(source), np.uint64(stride_w)
            for j in range(np.uint64(some)):
                dx[a + j * step] = rows[b + j]


@njit(cache=True, error_model="numpy")
def copy_row(y, to, x, at, count):
    """y[to : to + count] = x[at : at + count], a vector at a time."""
    step, i = lanes(x), 0
    while i + step <= count:
        store(y, to + i, load(x, at + i))
        i += step
    if i < count:
        store_first(y, to + i, load_first(x, at + i, count - i), count - i)
