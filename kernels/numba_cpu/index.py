"""Indexed moves on the CPU: beside ``im2col/index``, plain loops, the planes shared out to threads.

An item is one plane, so a thread owns every element it writes and each plane is filled in the order
of s: ``scatter_add`` repeats bitwise. Still slow: a single plane runs on one thread, and a random
index misses the cache at every step.
"""

import numpy as np
from numba import njit, prange


@njit(cache=True, error_model="numpy")
def _gather_plane(y, x, index):
    for s in range(y.size):
        y[s] = x[index[s]] if index[s] >= 0 else y.dtype.type(0)


@njit(cache=True, error_model="numpy")
def _scatter_add_plane(y, x, index):
    y[:] = 0
    for s in range(x.size):
        if index[s] >= 0:
            y[index[s]] += x[s]


@njit(cache=True, error_model="numpy")
def _scatter_plane(y, x, index):
    y[:] = 0
    for s in range(x.size):
        y[index[s]] = x[s]


@njit(parallel=True, cache=True, error_model="numpy")
def gather(y, x, index):
    """y[p, s] = x[p, index[p, s]], 0 where index is -1. Item: one plane."""
    for item in prange(y.shape[0]):
        p = np.int64(item)
        _gather_plane(y[p], x[p], index[p])


@njit(parallel=True, cache=True, error_model="numpy")
def scatter_add(y, x, index):
    """``y`` = 0, then y[p, index[p, s]] += x[p, s] in the order of s; -1 is nowhere."""
    for item in prange(y.shape[0]):
        p = np.int64(item)
        _scatter_add_plane(y[p], x[p], index[p])


@njit(parallel=True, cache=True, error_model="numpy")
def scatter(y, x, index):
    """``y`` = 0, then y[p, index[p, s]] = x[p, s] in the order of s: the last one wins."""
    for item in prange(y.shape[0]):
        p = np.int64(item)
        _scatter_plane(y[p], x[p], index[p])
