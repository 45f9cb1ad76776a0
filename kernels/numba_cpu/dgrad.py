"""The gradient of the input, and transposed convolution, by the register tiles: pixels where
vectors can hold input channels, rows where a group has few of them.
"""

from numba import get_num_threads

from . import conv, dgrad_pixels, dgrad_rows
from .finite import finite
from .vector import BYTES


def dgrad(dx, dy, w, b, stride, padding, dilation, groups):
    """dx[n, ic, i] = b[ic] + sum of dy[n, oc, o] * w[oc, ic, k] where
    i = o*stride - padding + k*dilation.

    float32 and float64. Where zeros of the padding met an infinite or NaN weight, ``conv.dgrad``
    does it again: the contract skips those terms.
    """
    if dx.size == 0:
        return
    numbers = (tuple(stride), tuple(padding), tuple(dilation), groups)
    way = dgrad_rows if use_rows(dx.shape[1] // groups, dx.itemsize) else dgrad_pixels
    way.run(get_num_threads(), dx, dy, w, b, *numbers)
    if not finite(w if w.size < dx.size else dx):
        conv.dgrad(dx, dy, w, b, *numbers)


def use_rows(CG, itemsize):
    """Whether CG input channels a group would leave many lanes of a vector empty."""
    return 3 * CG * itemsize <= 2 * BYTES
