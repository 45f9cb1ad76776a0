"""Step 2: a block loads a tile of x into shared memory once, and uses it for every tap and for
several output channels; 1-D and 2-D (conv_2_shared.cu).

A block owns TILE_H x TILE_W outputs of one image and CHANNELS output channels of one group; a
thread owns one of these positions, in all the channels. For each input channel the block loads the
part of x under its windows (row by row: neighbouring threads, neighbouring columns) and the weights
of its channels, waits, and lets each thread walk over its taps: a value of the tile is read once
for CHANNELS multiply-adds, and a weight is the same address for a whole warp. Outside x the tile is
left as it was: no thread's taps reach there.

``sum`` is a local array: Numba's compiler unrolls the loops over CHANNELS, so it is in registers.
"""

from functools import cache

from numba import cuda

from .elements import elements
from .geometry import first_inside, last_inside


@cache
def conv_fprop_shared(ELEMENT, TILE_H, TILE_W, CHANNELS):
    """The kernel for one dtype and tile. Dynamic shared memory: the weights, then the tile.

    Shapes: y (N, K, 1, OH, OW)   x (N, C, 1, IH, IW)   w (K, CG, 1, KH, KW)   b (K,) or (0,)
    """
    accumulator, load, store = elements(ELEMENT)

    @cuda.jit
    def conv_fprop_shared(y, x, w, b, stride, padding, dilation, groups):
        _, K, _, OH, OW = y.shape
        _, _, _, IH, IW = x.shape
        _, CG, _, KH, KW = w.shape
        KG = K // groups
        rows = (TILE_H - 1) * stride[1] + (KH - 1) * dilation[1] + 1
        columns = (TILE_W - 1) * stride[2] + (KW - 1) * dilation[2] + 1
        shared = cuda.shared.array(0, accumulator)
        weights = shared[: KH * KW * CHANNELS]  # [KH * KW][CHANNELS]
        tile = shared[KH * KW * CHANNELS :]  # [rows][columns]

        parts = (KG - 1) // CHANNELS + 1  # of a group's output channels
        tiles_w, tiles_h = (OW - 1) // TILE_W + 1, (OH - 1) // TILE_H + 1
        at = cuda.blockIdx.x
        ow0, at = at % tiles_w * TILE_W, at // tiles_w
        oh0, at = at % tiles_h * TILE_H, at // tiles_h
        part, at = at % parts, at // parts
        group, n = at % groups, at // groups
        oc0, count = group * KG + part * CHANNELS, min(CHANNELS, KG - part * CHANNELS)

        ty, tx = cuda.threadIdx.y, cuda.threadIdx.x
        oh, ow = oh0 + ty, ow0 + tx
        top, left = oh0 * stride[1] - padding[1], ow0 * stride[2] - padding[2]
        ih, iw = oh * stride[1] - padding[1], ow * stride[2] - padding[2]
        kh0, kh1 = first_inside(ih, dilation[1]), last_inside(ih, dilation[1], IH, KH)
        kw0, kw1 = first_inside(iw, dilation[2]), last_inside(iw, dilation[2], IW, KW)

        sum = cuda.local.array(CHANNELS, accumulator)
        for j in range(CHANNELS):
            sum[j] = load(b[oc0 + j]) if b.size > 0 and j < count else accumulator(0)

        for ic in range(CG):
            for r in range(ty, rows, TILE_H):
                for c in range(tx, columns, TILE_W):
                    if 0 <= top + r < IH and 0 <= left + c < IW:
                        tile[r * columns + c] = load(x[n, group * CG + ic, 0, top + r, left + c])
            for i in range(ty * TILE_W + tx, KH * KW * CHANNELS, TILE_H * TILE_W):
                j, kw, kh = i % CHANNELS, i // CHANNELS % KW, i // CHANNELS // KW
                weights[i] = load(w[oc0 + j, ic, 0, kh, kw]) if j < count else accumulator(0)
            cuda.syncthreads()  # the tile is whole
            for kh in range(kh0, kh1):
                for kw in range(kw0, kw1):
                    row = ty * stride[1] + kh * dilation[1]
                    value = tile[row * columns + tx * stride[2] + kw * dilation[2]]
                    for j in range(CHANNELS):
                        sum[j] += value * weights[(kh * KW + kw) * CHANNELS + j]
            cuda.syncthreads()  # and used up

        if oh >= OH or ow >= OW:
            return
        for j in range(CHANNELS):
            if j < count:
                y[n, oc0 + j, 0, oh, ow] = store(sum[j])

    return conv_fprop_shared
