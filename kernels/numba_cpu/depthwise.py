"""Depthwise convolution on the CPU: which of its two ways is faster for a problem.

Depthwise means one input channel a group: K/C filters a channel, no sum over channels, so little
arithmetic that memory and the loads of shifted rows count. ``depthwise_rows`` puts vectors along W
and copies nothing; ``depthwise_lanes`` puts them across channels, for strides, narrow planes and
large windows. The gradient of the input with stride 1 is a convolution with the window turned
round; ``depthwise_dgrad`` and ``depthwise_wgrad`` do the rest.
"""

from functools import lru_cache

import numpy as np

from . import depthwise_dgrad, depthwise_lanes, depthwise_rows, depthwise_wgrad
from .dgrad import turned
from .several import units
from .vector import BYTES


def cycles(x, y, kernel, stride, padding, dilation, itemsize):
    """Cycles that ``rows`` and ``lanes`` take of one thread, about; infinite for a way that cannot.

    A vector of sums costs its taps and what surrounds them. Measured on a Zen 4 with AVX-512, from
    7x7 to 112x112 and from 3x3 to 31x31, good to 20 %. Without AVX-512 (measured on a Zen 3) a tile
    of ``rows`` leaves no registers for the weights of wide windows, and planes that come from
    memory as nine rows at once come slowly.
    """
    (N, C, _, H, W), (_, K, OD, OH, OW), lanes = x, y, BYTES // itemsize
    KD, KH, KW = kernel
    size, _ = units(-(-OH // dilation[1]), depthwise_rows.MOST)
    tiles = dilation[1] * -(-OH // dilation[1] // size)
    passes = -(-KH // depthwise_rows.MOST)
    tile = size * -(-OW // lanes) * (5 * passes + 1.17 * KH * KW) + 65 * passes
    by_rows = N * K * OD * (30 + KD * tiles * tile) if max(stride) == 1 else np.inf
    if BYTES < 64:
        by_rows *= min(3.5, 0.45 * KW)
        plane = 2 * itemsize * H * W
        if plane > 32_768 and plane * N * C > 16e6:
            by_rows *= 1.8
    size, _ = units(OW, depthwise_lanes.MOST)
    met = sum(0 <= o * stride[1] - padding[1] + k * dilation[1] < H
              for o in range(OH) for k in range(KH))  # fmt: skip
    sums = K // C * -(-OW // size) * size * (10.5 * OH + 1.1 * met * KW)
    by_lanes = N * -(-C // lanes) * OD * KD * (600 + 10.5 * H * W + sums)
    return by_rows, by_lanes


@lru_cache(maxsize=256)
def _way(*problem):
    by_rows, by_lanes = cycles(*problem)
    return depthwise_rows.fprop if by_rows <= by_lanes else depthwise_lanes.fprop


def fprop(y, x, w, b, stride, padding, dilation, groups):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o*stride - padding + k*dilation] * w[oc, 0, k], where
    each group has one input channel, ic = oc // (K // C).
    """
    way = _way(x.shape, y.shape, w.shape[2:], stride, padding, dilation, x.itemsize)
    way(y, x, w, b, stride, padding, dilation, groups)


def dgrad(dx, dy, w, b, stride, padding, dilation, groups):
    """dx[n, ic, i] = b[ic] + sum of dy[n, oc, o] * w[oc, 0, k] where i = o*stride - padding +
    k*dilation; one input channel a group.
    """
    if max(stride) > 1 or dy.shape[1] != dx.shape[1]:
        depthwise_dgrad.dgrad(dx, dy, w, b, stride, padding, dilation, groups)
        return
    weights, inner = turned(w, padding, dilation, groups)
    fprop(dx, dy, weights, b, stride, inner, dilation, groups)


def wgrad(dw, dy, x, stride, padding, dilation, groups):
    """dw[oc, 0, k] = sum over n, o of dy[n, oc, o] * x[n, ic, o*stride - padding + k*dilation],
    ic = oc // (K // C).
    """
    depthwise_wgrad.wgrad(dw, dy, x, stride, padding, dilation, groups)
