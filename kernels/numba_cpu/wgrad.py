"""The gradient of the weights by the register tiles: columns where vectors can hold output
channels, dots where a group has few of them.

Where one gradient's items are too few for the threads, the images are split into parts, each of
them summed on its own and the parts added in their order. So a result repeats bitwise for a given
number of threads, and another number may round differently; every sum stays within gamma of its
number of terms.
"""

import numpy as np
from numba import get_num_threads

from . import conv, wgrad_columns, wgrad_dots
from .finite import finite
from .worker import launch, share

#: Elements that one item of ``_add`` takes.
SPAN = 4096


def wgrad(dw, dy, x, stride, padding, dilation, groups):
    """dw[oc, ic, k] = sum over n, o of dy[n, oc, o] * x[n, ic, o*stride - padding + k*dilation].

    float32 and float64. Where zeros of the padding met an infinite or NaN dy, ``conv.wgrad`` does
    it again: the contract skips those terms.
    """
    if x.size == 0 or dy.size == 0:
        dw[...] = 0
        return
    dots, threads = use_dots(dw.shape[0] // groups, dw.itemsize), get_num_threads()
    way = wgrad_dots if dots else wgrad_columns
    made = way.plan(x.shape, dy.shape, dw.shape, dw.itemsize, tuple(stride), tuple(padding),
                    tuple(dilation), groups, threads)  # fmt: skip
    parts = made[-1].parts
    flat = dw.reshape(-1) if parts == 1 else np.empty(parts * dw.size, dw.dtype)
    way.run(threads, flat, dy, x, *made)
    if parts > 1:
        launch(_add, threads, dw.dtype, dw.reshape(-1), flat, parts)
    if not finite(dw if dots or dw.size < dy.size else dy):
        conv.wgrad(dw, dy, x, stride, padding, dilation, groups)


def use_dots(KG, itemsize):
    """Whether KG output channels a group would leave most lanes of a vector empty."""
    return 2 * KG * itemsize <= wgrad_columns.BYTES


def _add(t, threads, dw, parts, count):
    """dw = the sum of ``count`` gradients, in their order."""
    first, last = share(t, threads, (dw.size + SPAN - 1) // SPAN)
    for item in range(first, last):
        lo = item * SPAN
        hi = min(dw.size, lo + SPAN)
        dw[lo:hi] = parts[lo:hi]
        for p in range(1, count):
            dw[lo:hi] += parts[p * dw.size + lo : p * dw.size + hi]
