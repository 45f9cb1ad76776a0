"""Rows of pooling's output, for every dtype: run after run of like windows, by ``pool_lanes``.

``sizes`` holds those of the larger side (D, H, W), of the smaller one (OD, OH, OW), and the steps.
Arrays are addresses of contiguous elements, so that this can be compiled by itself.
"""

import numpy as np
from numba import carray, types
from numba.extending import overload

from .pool_lanes import avg_run, max_run, place_rows
from .pool_taps import STRIDES
from .pool_windows import BEHIND, FIRST, STRIDE, TAPS, following, longest, lowest_of, runs


def _indices(index, size):
    """The array of indices at an address, or None where the address is of no type."""
    raise NotImplementedError("compiled code only: numba picks one of the two below by type")


@overload(_indices)
def _indices_by_type(index, size):
    if index == types.voidptr:
        return lambda index, size: None
    return lambda index, size: carray(index, size)


def _put(index, o, value):
    """index[o] = value, if there is an index."""
    raise NotImplementedError("compiled code only: numba picks one of the two below by type")


@overload(_put)
def _put_by_type(index, o, value):
    if isinstance(index, types.NoneType):
        return lambda index, o, value: None

    def put(index, o, value):
        index[np.uint64(o)] = value

    return put


def max_rows(y, index, x, d, h, w, sizes, first, last):
    """Rows ``first`` to ``last`` of y and, if there is one, of index."""
    D, H, W, OD, OH, OW = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    step, size = (sizes[6], sizes[7], sizes[8]), last * OW
    y, index = carray(y, size), _indices(index, size)
    x = carray(x, -(-last // max(1, OD * OH)) * D * H * W)
    d, h, w = carray(d, (OD, 2)), carray(h, (OH, 2)), carray(w, (OW, 2))
    alike = runs(w, step[2], STRIDES)
    table = np.empty(longest(d, step[0]) * longest(h, step[1]), np.int64)
    rows, depth, height = 0, -1, -1
    oh, od, base = first % OH, first // OH % OD, first // (OH * OD) * D * H * W
    for row in range(first, last):
        d0, d1, h0, h1 = d[od, 0], d[od, 1], h[oh, 0], h[oh, 1]
        if depth != d1 - d0 or height != h1 - h0:
            depth, height = d1 - d0, h1 - h0
            rows = place_rows(table, depth, height, step, H, W)
        for i in range(alike.shape[0]):
            run = alike[i, 0], alike[i, 1], alike[i, 2], alike[i, 3]
            to = row * OW + run[FIRST]
            if rows > 0 and run[TAPS] > 0:
                max_run(y, index, to, x, base, d0, d1, h0, h1, w, run, step, H, W, table, rows)
                continue
            for o in range(to, row * OW + run[BEHIND]):  # no tap: dilated past the input
                y[np.uint64(o)] = lowest_of(x)
                _put(index, o, -1)
        oh, od, base = following(oh, od, base, OH, OD, D * H * W)


def avg_rows(y, _, x, d, h, w, sizes, first, last):
    """Rows ``first`` to ``last`` of y."""
    D, H, W, OD, OH, OW = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    y = carray(y, last * OW)
    x = carray(x, -(-last // max(1, OD * OH)) * D * H * W)
    d, h, w = carray(d, (OD, 3)), carray(h, (OH, 3)), carray(w, (OW, 3))
    alike = runs(w, 1, STRIDES)
    # Where a plane gives one number, planes are a run of windows, as far apart as they are large.
    several = max(1, last - first) if OD * OH * OW == 1 else 1
    if several > 1:
        alike[0, BEHIND], alike[0, STRIDE] = several, D * H * W
    table = np.empty(longest(d, 1) * longest(h, 1), np.int64)
    rows, depth, height = 0, -1, -1
    oh, od, base = first % OH, first // OH % OD, first // (OH * OD) * D * H * W
    for row in range(first, last, several):
        d0, d1, h0, h1 = d[od, 0], d[od, 1], h[oh, 0], h[oh, 1]
        if depth != d1 - d0 or height != h1 - h0:
            depth, height = d1 - d0, h1 - h0
            rows = place_rows(table, depth, height, (1, 1, 1), H, W)
        extent = d[od, 2] * h[oh, 2]
        for i in range(alike.shape[0]):
            run = alike[i, 0], alike[i, 1], alike[i, 2], alike[i, 3]
            to = row * OW + run[FIRST]
            if rows > 0 and run[TAPS] > 0:
                avg_run(y, to, x, base, d0, d1, h0, h1, w, run, H, W, table, rows, extent)
                continue
            for o in range(to, row * OW + run[BEHIND]):
                y[np.uint64(o)] = 0
        oh, od, base = following(oh, od, base, OH, OD, D * H * W)
