"""Whether every element is finite: what a kernel that multiplies zeros, or adds and takes away
again, asks before its result is believed.

A kernel over a padded copy multiplies zeros that the contract skips: wrong only if a weight is
infinite or NaN. Winograd spreads an infinite or NaN element of either operand over a tile, and
large ones may overflow in it: then its output is not finite. So both are safe where one array, the
weights or the output, is finite; where it is not, the caller computes the result by ``rows``.
"""

import numpy as np
from numba import get_num_threads, njit

from .vector import fma, lanes, load, load_first, store, zeros
from .worker import launch, share

#: Elements below which one thread looks at all.
SERIAL = 1 << 17


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


def _look(t, threads, a, bad):
    first, last = share(t, threads, a.size)
    bad[t] = _any_bad(a, first, last)


def finite(array):
    """Whether every element of a contiguous array is finite; reads it once."""
    flat = array.reshape(-1)
    if flat.size <= SERIAL:
        return not _any_bad(flat, 0, flat.size)
    threads = get_num_threads()
    bad = np.empty(threads, np.int64)
    launch(_look, threads, flat.dtype, flat, bad)
    return not bad.any()
