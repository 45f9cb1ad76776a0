"""Indexed moves on the CPU: beside ``im2col/index``, plain loops, shared out to threads.

An item is a plane of y or, where planes are fewer than threads, a part of one: each thread owns the
positions it writes and fills them in the order of s, so that ``scatter_add`` repeats bitwise. Who
scatters into a part of a plane reads all of the plane's index. Small calls run on one thread. Still
slow: a random index misses the cache at every step.
"""

import numpy as np
from numba import get_num_threads, njit

from .worker import launch, share

#: Elements read and written below which a call runs on one thread.
SERIAL = 1 << 15


@njit(cache=True, error_model="numpy", forceinline=True)
def _part(item, parts, size):
    """(plane, lo, hi): the part of a plane of ``size`` that an item is."""
    part = item % parts
    return item // parts, size * part // parts, size * (part + 1) // parts


def _gather(t, threads, y, x, index, parts):
    first, last = share(t, threads, y.shape[0] * parts)
    for item in range(first, last):
        p, lo, hi = _part(item, parts, y.shape[1])
        for s in range(np.uint64(lo), np.uint64(hi)):
            y[p, s] = x[p, np.uint64(index[p, s])] if index[p, s] >= 0 else y.dtype.type(0)


def _scatter_add(t, threads, y, x, index, parts):
    first, last = share(t, threads, y.shape[0] * parts)
    for item in range(first, last):
        p, lo, hi = _part(item, parts, y.shape[1])
        y[p, lo:hi] = 0
        for s in range(np.uint64(x.shape[1])):
            if lo <= index[p, s] < hi:  # and so not -1
                y[p, np.uint64(index[p, s])] += x[p, s]


def _scatter(t, threads, y, x, index, parts):
    first, last = share(t, threads, y.shape[0] * parts)
    for item in range(first, last):
        p, lo, hi = _part(item, parts, y.shape[1])
        y[p, lo:hi] = 0
        for s in range(np.uint64(x.shape[1])):
            if lo <= index[p, s] < hi:
                y[p, np.uint64(index[p, s])] = x[p, s]


def _run(move, y, x, index):
    """``move`` by one thread or, where there is work for more, by all."""
    threads, planes = get_num_threads(), y.shape[0]
    if y.size + x.size < SERIAL:
        threads = 1
    launch(move, threads, y.dtype, y, x, index, 1 if planes >= threads else threads)


def gather(y, x, index):
    """y[p, s] = x[p, index[p, s]], 0 where index is -1. Item: a plane of y, or a part of one."""
    _run(_gather, y, x, index)


def scatter_add(y, x, index):
    """``y`` = 0, then y[p, index[p, s]] += x[p, s] in the order of s; -1 is nowhere."""
    _run(_scatter_add, y, x, index)


def scatter(y, x, index):
    """``y`` = 0, then y[p, index[p, s]] = x[p, s] in the order of s: the last one wins."""
    _run(_scatter, y, x, index)
