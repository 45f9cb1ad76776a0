"""Winograd convolution: 2-D, square kernel; fewer multiplications, and a proven bound of its own.

    F(4, 3): 36 products for the 144 of a 4 x 4 tile of 3 x 3 outputs     (``fast``)
    F(2, 3): 16 for 36, with the accuracy of a direct sum in practice     (``strict``)

What is not 3 x 3 with stride 1 is cut into phases that are r x r with stride 1:

    stride s, kernel s*r      s*s phases of the input, taken as s*s times the channels
    dilation d, kernel r      d*d phases of input and output, each an image of its own
    transposed, stride s,     s*s phases of the output ("jobs"), each with its own weights;
      kernel s*r              stride 1 is dgrad: weights turned round

Two ways to share the work. Many tiles: the weights are transformed once, then threads take blocks
of tiles. Few tiles (small images, large weights): the tiles are transformed once, then threads take
blocks of output channels and transform the weights as they go, so that transformed weights, four
times as large, never leave the second cache.

Infinite or NaN operands, and overflow on the way, make a whole tile NaN: then, and only then, the
output is not finite and is computed again by ``rows``.
"""

from math import ceil

import numba
import numpy as np

from . import conv
from .finite import finite
from .vector import BYTES
from .winograd_drivers import Weights, few_tiles, many_tiles
from .winograd_stages import NARROW, ROWS, WIDE, Geometry

#: Floats that a block's transformed tiles should fill: half of the second cache.
BLOCK = 120_000
#: Tiles (of one job) up to which the weights are transformed on the fly.
FEW = 64


def _phases(kernel, stride, dilation):
    """r of the phases, or None where the kernel cannot be cut into such."""
    if dilation != 1:
        return kernel if stride == 1 else None
    return kernel // stride if kernel % stride == 0 else None


def _run(m, result, source, w, b, pads, offsets, split, step, phases, channel_phases, weights):
    """Plan the blocks and run them; ``weights`` says where each set's taps lie in w."""
    r, a2 = weights.r, (m + weights.r - 1) ** 2
    N, C, _, H, W = source.shape
    _, K, _, OH, OW = result.shape
    L = BYTES // result.itemsize
    TY, TX = ceil(ceil(OH / step) / m), ceil(ceil(OW / step) / m)
    CT = channel_phases * ceil(C / L) * L
    aim = max(4 * ROWS, min(16 * ROWS, BLOCK // (a2 * CT)))
    segments = ceil(phases * TX / (2 * aim)) if phases == 1 else 1
    segment = ceil(TX / segments)
    block = _strips(phases * segment, aim)
    sizes = (N, C, H, W, K, OH, OW, len(pads), split, phases, channel_phases, step)
    geometry = Geometry(*sizes, TY, TX, ceil(TX / segment), segment, block)
    width = (WIDE if K > NARROW * L else NARROW) * L
    bias = np.zeros(ceil(K / width) * width, result.dtype)
    bias[:K] = b if b.size else 0
    run = few_tiles if N * phases * phases * TY * TX <= FEW else many_tiles
    flat = result.reshape(-1), source.reshape(-1)
    taps = (np.array(pads), np.array(offsets))
    run(numba.get_num_threads(), (0,) * m, (0,) * r, *flat, geometry, *taps, w.reshape(-1),
        weights.table(), width, bias, CT)  # fmt: skip


def _strips(tiles, aim):
    """Strips of ``tiles`` tiles a block: near ``aim`` tiles, and a multiple of ROWS if possible."""
    most = max(1, round(1.5 * aim / tiles))
    counts = range(max(1, most // 2), most + 1)
    return max(counts, key=lambda n: (n * tiles / (ceil(n * tiles / ROWS) * ROWS), -n))


def _fprop(m, y, x, w, b, stride, padding, dilation, groups):
    K, C, _, kernel, _ = w.shape
    s, d = stride[2], dilation[2]
    r, split = _phases(kernel, s, d), max(s, d)
    starts = [h * kernel + v for h in range(s) for v in range(s)]
    taps = Weights(r, K, C, kernel * kernel, C * kernel * kernel, kernel * kernel, starts,
                   s * kernel, s)  # fmt: skip
    pads = [(padding[1], padding[2])]
    _run(m, y, x, w, b, pads, [(0, 0)], split, d, d, s * s, taps)
    if not finite(y):
        conv.fprop(y, x, w, b, stride, padding, dilation, groups)


def _dgrad(m, dx, dy, w, b, stride, padding, dilation, groups):
    K, C, _, kernel, _ = w.shape
    s, d = stride[2], dilation[2]
    r, last = _phases(kernel, s, d), kernel * kernel
    pads, starts, offsets = [], [], []
    for oh in range(s):
        for ow in range(s):
            at = [(o + p) % s for o, p in ((oh, padding[1]), (ow, padding[2]))]
            base = [(o + p) // s for o, p in ((oh, padding[1]), (ow, padding[2]))]
            pads.append(tuple(d * (r - 1) - q for q in base))
            starts.append((at[0] + s * (r - 1)) * kernel + at[1] + s * (r - 1))
            offsets.append((oh, ow))
    taps = Weights(r, C, K, last, last, C * last, starts, -s * kernel, -s)
    _run(m, dx, dy, w, b, pads, offsets, d, max(s, d), d, 1, taps)
    if not finite(dx):
        conv.dgrad(dx, dy, w, b, stride, padding, dilation, groups)


def fprop_f2(y, x, w, b, stride, padding, dilation, groups):
    """fprop by F(2 x 2, r x r): 4/9 of the products of a 3 x 3, 9/16 of a phase's 2 x 2."""
    _fprop(2, y, x, w, b, stride, padding, dilation, groups)


def fprop_f4(y, x, w, b, stride, padding, dilation, groups):
    """fprop by F(4 x 4, r x r): 1/4 of the products of a 3 x 3, 25/64 of a phase's 2 x 2."""
    _fprop(4, y, x, w, b, stride, padding, dilation, groups)


def dgrad_f2(dx, dy, w, b, stride, padding, dilation, groups):
    """dgrad, and transposed convolution, by F(2 x 2, r x r)."""
    _dgrad(2, dx, dy, w, b, stride, padding, dilation, groups)


def dgrad_f4(dx, dy, w, b, stride, padding, dilation, groups):
    """dgrad, and transposed convolution, by F(4 x 4, r x r)."""
    _dgrad(4, dx, dy, w, b, stride, padding, dilation, groups)
