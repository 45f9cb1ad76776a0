"""Step 1 of the weight's gradient: one block computes one weight (wgrad_1_direct.cu).

dw[oc, ic, k] sums dy * x over the whole batch, so one thread each would be too few threads, all
with long loops. Here a block's threads take the positions of every image in turn, neighbouring
threads neighbouring ow, and add up their sums in a tree in shared memory: no atomics, always the
same order, the same bits. Positions whose tap lies outside x are skipped.
"""

from functools import cache

from numba import cuda

from .elements import elements
from .reduce import block_sum


@cache
def conv_wgrad_direct(ELEMENT, THREADS):
    """The kernel for one dtype and number of threads, a power of two.

    Shapes: w (K, CG, KD, KH, KW)   y (N, K, OD, OH, OW)   x (N, C, ID, IH, IW)
    """
    accumulator, load, store = elements(ELEMENT)
    tree = block_sum(THREADS)

    @cuda.jit
    def conv_wgrad_direct(w, y, x, stride, padding, dilation, groups):
        partial = cuda.shared.array(THREADS, accumulator)
        K, CG, KD, KH, KW = w.shape
        N, _, OD, OH, OW = y.shape
        _, _, ID, IH, IW = x.shape
        at = cuda.blockIdx.x
        kw, at = at % KW, at // KW
        kh, at = at % KH, at // KH
        kd, at = at % KD, at // KD
        ic, oc = at % CG, at // CG
        c = oc // (K // groups) * CG + ic
        id0 = kd * dilation[0] - padding[0]
        ih0 = kh * dilation[1] - padding[1]
        iw0 = kw * dilation[2] - padding[2]

        sum = accumulator(0)
        for n in range(N):
            for o in range(cuda.threadIdx.x, OD * OH * OW, THREADS):
                ow, oh, od = o % OW, o // OW % OH, o // OW // OH
                id = id0 + od * stride[0]
                ih = ih0 + oh * stride[1]
                iw = iw0 + ow * stride[2]
                if 0 <= id < ID and 0 <= ih < IH and 0 <= iw < IW:
                    sum += load(y[n, oc, od, oh, ow]) * load(x[n, c, id, ih, iw])
        sum = tree(sum, partial)
        if cuda.threadIdx.x == 0:
            w[oc, ic, kd, kh, kw] = store(sum)

    return conv_wgrad_direct
