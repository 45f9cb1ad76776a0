"""Step 1 of the input's gradient, which is also transposed convolution: one thread computes one
element of dx (dgrad_1_direct.cu). conv_1_direct.py turned round.

dx[i] gathers dy[o] * w[k] from all o and k with o * stride - padding + k * dilation == i. Nothing
is added atomically, so the result is the same bits every time. Of an axis only every step-th tap
fits, step = stride / gcd(stride, dilation); which one comes first depends on the phase of
i + padding. From tap to tap, o goes back by dilation / gcd. The bias is that of a transposed
convolution.
"""

from functools import cache

from numba import cuda

from .elements import elements


@cuda.jit(device=True)
def first_fitting(at, stride, dilation, step, K):
    """The first tap that fits position ``at`` = i + padding; K if there is none."""
    for k in range(min(step, K)):
        if (at - k * dilation) % stride == 0:
            return k
    return K


@cache
def conv_dgrad_direct(ELEMENT):
    """The kernel for one dtype; a plane (n, c) has whole blocks.

    Shapes: x (N, C, ID, IH, IW)   y (N, K, OD, OH, OW)   w (K, CG, KD, KH, KW)   b (C,) or (0,)

    Args:
        step: taps from one that fits to the next, and back: outputs that this goes back by.
    """
    accumulator, load, store = elements(ELEMENT)

    @cuda.jit
    def conv_dgrad_direct(x, y, w, b, step, back, stride, padding, dilation, groups):
        _, C, ID, IH, IW = x.shape
        _, K, OD, OH, OW = y.shape
        _, CG, KD, KH, KW = w.shape
        positions = ID * IH * IW
        blocks = (positions - 1) // cuda.blockDim.x + 1
        plane = cuda.blockIdx.x // blocks
        at = cuda.blockIdx.x % blocks * cuda.blockDim.x + cuda.threadIdx.x
        if at >= positions:
            return
        c, n = plane % C, plane // C
        iw, ih, id = at % IW, at // IW % IH, at // IW // IH

        KG = K // groups
        oc0, ic = c // CG * KG, c % CG
        d, h, v = id + padding[0], ih + padding[1], iw + padding[2]
        kd0 = first_fitting(d, stride[0], dilation[0], step[0], KD)
        kh0 = first_fitting(h, stride[1], dilation[1], step[1], KH)
        kw0 = first_fitting(v, stride[2], dilation[2], step[2], KW)
        od0 = (d - kd0 * dilation[0]) // stride[0]
        oh0 = (h - kh0 * dilation[1]) // stride[1]
        ow0 = (v - kw0 * dilation[2]) // stride[2]

        sum = load(b[c]) if b.size > 0 else accumulator(0)
        for oc in range(oc0, oc0 + KG):
            od = od0
            for kd in range(kd0, KD, step[0]):
                oh = oh0
                for kh in range(kh0, KH, step[1]):
                    ow = ow0
                    for kw in range(kw0, KW, step[2]):
                        if 0 <= od < OD and 0 <= oh < OH and 0 <= ow < OW:
                            sum += load(y[n, oc, od, oh, ow]) * load(w[oc, ic, kd, kh, kw])
                        ow -= back[2]
                    oh -= back[1]
                od -= back[0]
        x[n, c, id, ih, iw] = store(sum)

    return conv_dgrad_direct
