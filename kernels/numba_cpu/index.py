"""Indexed moves on the CPU: beside ``im2col/index``, plain loops, shared out to threads.

An item is a plane of y or, where planes are fewer than threads, a part of one: each thread owns the
positions it writes and fills them in the order of s, so that ``scatter_add`` repeats bitwise. Who
scatters into a part of a plane reads all of the plane's index. Small calls run on one thread. Still
slow: a random index misses the cache at every step.
"""

import numpy as np
from numba import get_num_threads, njit, prange

from .worker import call, code

#: Elements read and written below which a call runs on one thread.
SERIAL = 1 << 15


@njit(cache=True, error_model="numpy", forceinline=True)
def _part(item, parts, size):
    """(plane, lo, hi): the part of a plane of ``size`` that an item is."""
    part = item % parts
    return item // parts, size * part // parts, size * (part + 1) // parts


@njit(cache=True, error_model="numpy")
def _gather(y, x, index, parts, first, last):
    """Items ``first`` to ``last``: a part of y each."""
    for item in range(first, last):
        p, lo, hi = _part(item, parts, y.shape[1])
        for s in range(np.uint64(lo), np.uint64(hi)):
            y[p, s] = x[p, np.uint64(index[p, s])] if index[p, s] >= 0 else y.dtype.type(0)


@njit(cache=True, error_model="numpy")
def _scatter_add(y, x, index, parts, first, last):
    """Items ``first`` to ``last``: a part of y each."""
    for item in range(first, last):
        p, lo, hi = _part(item, parts, y.shape[1])
        y[p, lo:hi] = 0
        for s in range(np.uint64(x.shape[1])):
            if lo <= index[p, s] < hi:  # and so not -1
                y[p, np.uint64(index[p, s])] += x[p, s]


@njit(cache=True, error_model="numpy")
def _scatter(y, x, index, parts, first, last):
    """Items ``first`` to ``last``: a part of y each."""
    for item in range(first, last):
        p, lo, hi = _part(item, parts, y.shape[1])
        y[p, lo:hi] = 0
        for s in range(np.uint64(x.shape[1])):
            if lo <= index[p, s] < hi:
                y[p, np.uint64(index[p, s])] = x[p, s]


@njit(parallel=True, cache=True, error_model="numpy")
def _large(share, y, x, index, parts, threads):
    items = y.shape[0] * parts
    for worker in prange(threads):
        i = np.int64(worker)
        call(share, y, x, index, parts, items * i // threads, items * (i + 1) // threads)


def _run(move, y, x, index):
    """``move`` by one thread or, where there is work for more, its share by each."""
    threads, planes = get_num_threads(), y.shape[0]
    if threads == 1 or y.size + x.size < SERIAL:
        move(y, x, index, 1, 0, planes)
    else:
        parts = 1 if planes >= threads else threads
        share = code(move.py_func, y.dtype, y, x, index, parts, 0, planes)
        _large(share, y, x, index, parts, threads)


def gather(y, x, index):
    """y[p, s] = x[p, index[p, s]], 0 where index is -1. Item: a plane of y, or a part of one."""
    _run(_gather, y, x, index)


def scatter_add(y, x, index):
    """``y`` = 0, then y[p, index[p, s]] += x[p, s] in the order of s; -1 is nowhere."""
    _run(_scatter_add, y, x, index)


def scatter(y, x, index):
    """``y`` = 0, then y[p, index[p, s]] = x[p, s] in the order of s: the last one wins."""
    _run(_scatter, y, x, index)
