"""Direct convolution: multiply and add, every sum in registers from its first term to its last.

Two variants, by what fills a vector: ``direct_taps`` takes neighbouring outputs of a row and
``direct_pixels`` neighbouring output channels. Which one wastes less is worked out beforehand.
"""

from functools import lru_cache
from math import prod

from . import conv
from .direct_pixels import conv_pixels
from .direct_taps import conv_taps
from .emit import BYTES, MASKS
from .finite import finite
from .padded import geometry, inside, joins

#: Steps of a tile (one k, one vector of sums) that other work costs, as measured: to store a vector
#: from registers into y, or by way of memory and a transpose; to pack a weight.
STORED, TRANSPOSED, PACKED = 3, 10, 0.4
#: How many times longer a step takes: for pixels, where a tile is one vector wide and 16 registers
#: hold its sums, by its loads; along rows, where what a tile reads does not fit the first cache.
NARROW, FAR = 1.0 if MASKS else 1.6, 1.0 if MASKS else 1.25
#: Bytes of the first cache, and of a cache line.
CACHE, LINE = 32_768, 64


@lru_cache(maxsize=512)
def by_pixels(x_shape, w_shape, y_shape, stride, padding, dilation, wide):
    """Whether vectors of channels cost less than vectors along a row, in steps of a tile."""
    N, OC = y_shape[:2]
    K, OCG = prod(w_shape[1:]), OC * w_shape[1] // x_shape[1]
    OW, copy = y_shape[4], geometry(x_shape, w_shape[2:], y_shape[2:], stride, padding, dilation)[0]
    pixels = N * prod(y_shape[2:])
    if joins(copy, y_shape):
        OW = prod(y_shape[2:])
    row = -(-OW // wide) * wide / OW
    channels = -(-OCG // wide) * wide / OCG
    read = K // w_shape[4] * min(stride[2], w_shape[4]) * (4 * BYTES + LINE)
    narrow, far = NARROW if wide >= OCG else 1, FAR if read > CACHE else 1
    by_rows = far * pixels * row * (K + STORED)
    return narrow * pixels * channels * (K + TRANSPOSED) + PACKED * wide * K < by_rows


def fprop(y, x, w, b, stride, padding, dilation, groups):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o*stride - padding + k*dilation] * w[oc, ic, k].

    A padding zero times an infinite or NaN weight would be NaN; such weights go through ``conv``,
    which skips what lies outside. float32 and float64.
    """
    run(_variant, y, x, w, b, stride, padding, dilation, groups)


def _variant(y, x, w, b, *numbers):
    pixels = by_pixels(x.shape, w.shape, y.shape, *numbers, BYTES // y.itemsize)
    (conv_pixels if pixels else conv_taps)(y, x, w, b, *numbers)


def run(variant, y, x, w, b, stride, padding, dilation, groups):
    """Run a variant that multiplies padding zeros, and ``conv`` where that could be seen."""
    stride, padding, dilation = tuple(stride), tuple(padding), tuple(dilation)
    exact = inside(x.shape, w.shape, y.shape, stride, padding, dilation)
    small = w if w.size <= y.size else y
    fine = w.size > 0 and (exact or small is y or finite(w))
    if y.size and fine:
        variant(y, x, w, b, stride, padding, dilation)
        fine = exact or small is w or finite(y)
    if not fine:
        conv.fprop(y, x, w, b, stride, padding, dilation, groups)
