"""Step 1: one thread computes one output, from global memory alone (conv_1_direct.cu).

A thread walks over the input channels of its group and the taps of its window, and keeps one sum.
Taps outside the input are skipped: the range of those inside is computed before the loops.
Neighbouring threads are neighbouring ow: in NCHW a warp reads neighbouring x (every stride-th) and
writes neighbouring y; all lanes read the same w.
"""

from functools import cache

from numba import cuda

from .elements import elements
from .geometry import first_inside, last_inside


@cache
def conv_fprop_direct(ELEMENT):
    """The kernel for one dtype; a plane (n, oc) has whole blocks.

    Shapes: y (N, K, OD, OH, OW)   x (N, C, ID, IH, IW)   w (K, CG, KD, KH, KW)   b (K,) or (0,)
    """
    accumulator, load, store = elements(ELEMENT)

    @cuda.jit
    def conv_fprop_direct(y, x, w, b, stride, padding, dilation, groups):
        _, K, OD, OH, OW = y.shape
        _, _, ID, IH, IW = x.shape
        _, CG, KD, KH, KW = w.shape
        positions = OD * OH * OW
        blocks = (positions - 1) // cuda.blockDim.x + 1
        plane = cuda.blockIdx.x // blocks
        at = cuda.blockIdx.x % blocks * cuda.blockDim.x + cuda.threadIdx.x
        if at >= positions:
            return
        oc, n = plane % K, plane // K
        ow, oh, od = at % OW, at // OW % OH, at // OW // OH

        first = oc // (K // groups) * CG  # input channel of the group
        id = od * stride[0] - padding[0]
        ih = oh * stride[1] - padding[1]
        iw = ow * stride[2] - padding[2]
        kd0, kd1 = first_inside(id, dilation[0]), last_inside(id, dilation[0], ID, KD)
        kh0, kh1 = first_inside(ih, dilation[1]), last_inside(ih, dilation[1], IH, KH)
        kw0, kw1 = first_inside(iw, dilation[2]), last_inside(iw, dilation[2], IW, KW)

        sum = load(b[oc]) if b.size > 0 else accumulator(0)
        for ic in range(CG):
            for kd in range(kd0, kd1):
                for kh in range(kh0, kh1):
                    for kw in range(kw0, kw1):
                        i = (id + kd * dilation[0], ih + kh * dilation[1], iw + kw * dilation[2])
                        tap = load(w[oc, ic, kd, kh, kw])
                        sum += load(x[n, first + ic, i[0], i[1], i[2]]) * tap
        y[n, oc, od, oh, ow] = store(sum)

    return conv_fprop_direct
