"""Whether every element is finite: what a kernel that multiplies zeros, or adds and takes away
again, asks before its result is believed.

A kernel over a padded copy multiplies zeros that the contract skips: wrong only if a weight is
infinite or NaN. Winograd spreads an infinite or NaN element of either operand over a tile, and
large ones may overflow in it: then its output is not finite. So both are safe where one array, the
weights or the output, is finite; where it is not, the caller computes the result by ``rows``.
"""

import numpy as np
from numba import njit, prange

from .vector import fma, lanes, load, load_first, store, zeros

#: Elements that one item looks at.
CHUNK = 1 << 16


@njit(cache=True, error_model="numpy")
def _any_bad(a, lo, hi):
    """Whether a[lo:hi] holds an infinity or NaN: x * 0 is NaN for those, and 0 for all others."""
    step, nothing = lanes(a), zeros(a)
    s0 = s1 = s2 = s3 = nothing
    i = lo
    while i + 4 * step <= hi:
        s0 = fma(load(a, i), nothing, s0)
        s1 = fma(load(a, i + step), nothing, s1)
        s2 = fma(load(a, i + 2 * step), nothing, s2)
        s3 = fma(load(a, i + 3 * step), nothing, s3)
        i += 4 * step
    while i < hi:
        s0 = fma(load_first(a, i, min(step, hi - i)), nothing, s0)
        i += step
    sums = np.empty(step, a.dtype)
    store(sums, 0, (s0 + s1) + (s2 + s3))
    return (sums != 0).any()


@njit(cache=True, error_model="numpy", parallel=True)
def _chunks_bad(a, chunks):
    bad = 0
    for c in prange(chunks):
        lo = np.int64(c) * CHUNK
        bad += _any_bad(a, lo, min(lo + CHUNK, a.size))
    return bad


def finite(array):
    """Whether every element of a contiguous array is finite; reads it once."""
    flat = array.reshape(-1)
    if flat.size <= 2 * CHUNK:
        return not _any_bad(flat, 0, flat.size)
    return not _chunks_bad(flat, -(-flat.size // CHUNK))
