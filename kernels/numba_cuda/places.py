"""One thread an element: which element of an array this thread owns (places.cuh)."""

from functools import cache

from numba import cuda


@cache
def place_of(CHANNELS_LAST):
    """This thread's element of N x C x D x H x W: (n, c, d, h, w). It has none if n is not below N.

    Threads are dealt out in the order of the array in memory, so that a warp writes neighbours.
    """

    @cuda.jit(device=True)
    def place_of(C, D, H, W):
        at, c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, 0
        if CHANNELS_LAST:
            c, at = at % C, at // C
        w, at = at % W, at // W
        h, at = at % H, at // H
        d, at = at % D, at // D
        if not CHANNELS_LAST:
            c, at = at % C, at // C
        return at, c, d, h, w

    return place_of
