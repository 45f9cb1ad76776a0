"""Padding on the CPU: beside ``im2col/pad``, row by row, the rows shared out among the threads.

``pad`` reads, so any row of y can be an item. ``pad_backward`` adds, and maps repeat (reflect,
replicate, circular), so there an item is a plane of dx, which finds every plane of dy that came
from it. Still slow: every element asks its map, where most of a row is one plain copy.
"""

import numpy as np
from numba import get_num_threads, njit

from .worker import launch, share


@njit(cache=True, error_model="numpy")
def _pad_row(y, x, m0, m1, m2, m3, m4, value, item):
    """One row of y: ``value`` throughout, or a row of x read through the last map."""
    _, B, D, H, W = y.shape
    e, d, b, a = item % H, item // H % D, item // (H * D) % B, item // (H * D * B)
    row = y[a, b, d, e]
    if m0[a] < 0 or m1[b] < 0 or m2[d] < 0 or m3[e] < 0:
        for f in range(W):
            row[f] = value
        return
    source = x[m0[a], m1[b], m2[d], m3[e]]
    for f in range(W):
        if m4[f] < 0:
            row[f] = value
        else:
            row[f] = source[m4[f]]


def _pad(t, threads, y, x, m0, m1, m2, m3, m4, value):
    A, B, D, H, _ = y.shape
    first, last = share(t, threads, A * B * D * H)
    for item in range(first, last):
        _pad_row(y, x, m0, m1, m2, m3, m4, value[0], item)


def pad(y, x, m0, m1, m2, m3, m4, value):
    """y[a, b, c, d, e] = x[m0[a], m1[b], m2[c], m3[d], m4[e]], or ``value`` where a map says -1.

    Item: one row of y.
    """
    value = np.array([value], y.dtype)  # C passes scalars of some dtypes in ways of its own
    launch(_pad, get_num_threads(), y.dtype, y, x, m0, m1, m2, m3, m4, value)


@njit(cache=True, error_model="numpy")
def _inverse(m, size):
    """The map backwards, as chains that end in -1.

    ``first[i]`` is the first output that reads input i, ``after[o]`` the next to read the same.
    """
    first, after = np.full(size, -1, np.int64), np.full(m.size, -1, np.int64)
    for o in range(m.size - 1, -1, -1):
        if m[o] >= 0:
            after[o] = first[m[o]]
            first[m[o]] = o
    return first, after


@njit(cache=True, error_model="numpy")
def _add_plane(plane, dy, m2, m3, m4):
    """The plane (D, H, W) of dx gains a plane of dy, through the maps of the last three axes."""
    for d in range(m2.size):
        for e in range(m3.size):
            if m2[d] < 0 or m3[e] < 0:
                continue
            row, source = plane[m2[d], m3[e]], dy[d, e]
            for f in range(m4.size):
                if m4[f] >= 0:
                    row[m4[f]] += source[f]


@njit(cache=True, error_model="numpy")
def _pad_backward_plane(dx, dy, first0, after0, first1, after1, m2, m3, m4, item):
    """One plane of dx: start at 0, then add every plane of dy it was copied to, in their order."""
    i, j = item // dx.shape[1], item % dx.shape[1]
    dx[i, j] = 0
    a = first0[i]
    while a >= 0:
        b = first1[j]
        while b >= 0:
            _add_plane(dx[i, j], dy[a, b], m2, m3, m4)
            b = after1[b]
        a = after0[a]


def _pad_backward(t, threads, dx, dy, m0, m1, m2, m3, m4):
    first0, after0 = _inverse(m0, dx.shape[0])
    first1, after1 = _inverse(m1, dx.shape[1])
    first, last = share(t, threads, dx.shape[0] * dx.shape[1])
    for item in range(first, last):
        _pad_backward_plane(dx, dy, first0, after0, first1, after1, m2, m3, m4, item)


def pad_backward(dx, dy, m0, m1, m2, m3, m4):
    """``dx`` = 0, then each dy is added where it came from. Item: one plane of dx."""
    launch(_pad_backward, get_num_threads(), dx.dtype, dx, dy, m0, m1, m2, m3, m4)
