"""The gradient of the input, and transposed convolution, by the register tiles.

With stride 1 it is a convolution itself, by the weights turned round. Else it goes phase by phase:
pixels where vectors can hold input channels, rows where a group has few of them.
"""

from math import prod

import numpy as np
from numba import get_num_threads

from . import conv, dgrad_pixels, dgrad_rows, direct
from .finite import finite
from .vector import BYTES

#: Positions of dx from which on turning the weights round is little beside using them.
POSITIONS = 1024


def dgrad(dx, dy, w, b, stride, padding, dilation, groups):
    """dx[n, ic, i] = b[ic] + sum of dy[n, oc, o] * w[oc, ic, k] where
    i = o*stride - padding + k*dilation.

    float32 and float64. Where zeros of the padding met an infinite or NaN weight, ``conv.dgrad``
    does it again: the contract skips those terms.
    """
    if dx.size == 0:
        return
    numbers = (tuple(stride), tuple(padding), tuple(dilation), groups)
    if max(stride) == 1 and dx.shape[0] * prod(dx.shape[2:]) >= POSITIONS:
        weights, inner = turned(w, padding, dilation, groups)
        direct.fprop(dx, dy, weights, b, stride, inner, dilation, groups)
        return
    way = dgrad_rows if use_rows(dx.shape[1] // groups, dx.itemsize) else dgrad_pixels
    way.run(get_num_threads(), dx, dy, w, b, *numbers)
    if not finite(w if w.size < dx.size else dx):
        conv.dgrad(dx, dy, w, b, *numbers)


def turned(w, padding, dilation, groups):
    """The convolution that is the dgrad of stride 1: w (K, C/groups, *kernel) as (C, K/groups,
    *kernel), taps reversed along each axis, and its padding.
    """
    K, CG, *kernel = w.shape
    parts = w.reshape(groups, K // groups, CG, *kernel)[..., ::-1, ::-1, ::-1].swapaxes(1, 2)
    inner = tuple((k - 1) * d - p for k, d, p in zip(kernel, dilation, padding, strict=True))
    return np.ascontiguousarray(parts).reshape(groups * CG, K // groups, *kernel), inner


def use_rows(CG, itemsize):
    """Whether CG input channels a group would leave many lanes of a vector empty."""
    return 3 * CG * itemsize <= 2 * BYTES
