"""The way back of average pooling, one row of dx after the other, so that each is written once.

A row of dx gets the sum of the rows of dy whose windows hold it, over their divisors: one row of
shares. (Where the next row gets the same, it is copied.) Then each share goes to the positions of
its window along W. A long run of like windows s apart does that by shifted rows: positions s*j + p
for one p are a row of their own, to which all shares are added at once, and s such rows are
interleaved. LLVM makes vectors of these loops, for every dtype. Still slow: a row of dy is divided
again for each row of dx that needs other rows of dy as well.
"""

import numpy as np
from numba import carray, njit

from .pool_windows import BEHIND, FIRST, divide, runs

#: The longest stride done by shifted rows.
STRIDES = 4


@njit(cache=True, error_model="numpy")
def _holders(windows, size):
    """(size, 2): of the windows that hold a position, the first and the one behind the last."""
    found = np.zeros((size, 2), np.int64)
    for o in range(windows.shape[0]):
        for i in range(windows[o, 0], windows[o, 1]):
            if found[i, 1] == 0:
                found[i, 0] = o
            found[i, 1] = o + 1
    return found


@njit(cache=True, error_model="numpy", forceinline=True)
def _same(windows, holders, a, b):
    """Whether positions a and b are in the same windows."""
    if holders[a, 0] != holders[b, 0] or holders[a, 1] != holders[b, 1]:
        return False
    for o in range(holders[a, 0], holders[a, 1]):
        if (windows[o, 0] <= a < windows[o, 1]) != (windows[o, 0] <= b < windows[o, 1]):
            return False
    return True


@njit(cache=True, error_model="numpy", forceinline=True)
def _clear(x, at, behind):
    """x[at:behind] = 0, by a loop: a slice makes an array first."""
    for i in range(np.uint64(at), np.uint64(max(at, behind))):
        x[i] = 0


@njit(cache=True, error_model="numpy", forceinline=True)
def _add_shares(share, dy, at, extent, w, alike):
    """share[ow] += dy[at + ow] / divisor."""
    typed = share.dtype.type
    for i in range(alike.shape[0]):
        first = alike[i, FIRST]
        if w[first, 0] >= w[first, 1]:
            continue
        divisor = extent * w[first, 2]
        for ow in range(np.uint64(first), np.uint64(alike[i, BEHIND])):
            share[ow] = typed(share[ow] + divide(dy[np.uint64(at) + ow], divisor))


@njit(cache=True, error_model="numpy", forceinline=True)
def _add_shifted(dx, at, share, first, n, length, s, shifted):
    """dx[at + s*j + k] = the sum of share[first + j] with k < length, for all there are."""
    size = s * (n - 1) + length
    pitch = n + length // s  # one row of ``shifted``
    if s == 1:
        _clear(dx, at, at + size)
        for k in range(length):
            for j in range(np.uint64(n)):
                dx[np.uint64(at + k) + j] += share[np.uint64(first) + j]
        return
    _clear(shifted, 0, s * pitch)
    for k in range(length):
        to = np.uint64(k % s * pitch + k // s)
        for j in range(np.uint64(n)):
            shifted[to + j] += share[np.uint64(first) + j]
    whole = size // s
    if s == 2:  # as a constant LLVM knows how to interleave
        odd, two, one, start = np.uint64(pitch), np.uint64(2), np.uint64(1), np.uint64(at)
        for j in range(np.uint64(whole)):
            dx[start + two * j] = shifted[j]
            dx[start + two * j + one] = shifted[odd + j]
    else:
        for j in range(whole):
            for p in range(s):
                dx[np.uint64(at + s * j + p)] = shifted[np.uint64(p * pitch + j)]
    for p in range(size - whole * s):
        dx[at + whole * s + p] = shifted[p * pitch + whole]


@njit(cache=True, error_model="numpy")
def _shifted_run(w, alike):
    """(first, behind, s, length) of the longest run, if its stride is short; else of none."""
    found = (0, 0, 1, 0)
    for i in range(alike.shape[0]):
        first, behind = alike[i, FIRST], alike[i, BEHIND]
        length = w[first, 1] - w[first, 0]
        if length > 0 and behind - first > max(1, found[1] - found[0]):
            found = (first, behind, w[first + 1, 0] - w[first, 0], length)
    return found


def avg_backward_rows(dx, _, dy, d, h, w, sizes, first, last):
    """Rows ``first`` to ``last`` of dx; arguments as in ``pool_rows``."""
    D, H, W, OD, OH, OW = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    dx, dy = carray(dx, last * W), carray(dy, -(-last // max(1, D * H)) * OD * OH * OW)
    d, h, w = carray(d, (OD, 3)), carray(h, (OH, 3)), carray(w, (OW, 3))
    of_d, of_h = _holders(d, D), _holders(h, H)
    alike = runs(w, 1, STRIDES)
    a, b, s, length = _shifted_run(w, alike)
    share = np.empty(OW, dx.dtype)
    shifted = np.empty(s * (b - a + length // s), dx.dtype)
    plane, id, ih = first // (H * D), first // H % D, first % H
    before = -1
    for item in range(first, last):
        row = item * W
        if before >= 0 and _same(h, of_h, ih, before):
            for iw in range(np.uint64(row), np.uint64(row + W)):
                dx[iw] = dx[iw - np.uint64(W)]
        else:
            _clear(share, 0, OW)
            for od in range(of_d[id, 0], of_d[id, 1]):
                for oh in range(of_h[ih, 0], of_h[ih, 1]):
                    if d[od, 0] <= id < d[od, 1] and h[oh, 0] <= ih < h[oh, 1]:
                        at = ((plane * OD + od) * OH + oh) * OW
                        _add_shares(share, dy, at, d[od, 2] * h[oh, 2], w, alike)
            behind = w[a, 0] + s * (b - a - 1) + length if a < b else 0
            _clear(dx, row, row + (w[a, 0] if a < b else 0))
            _clear(dx, row + behind, row + W)
            if a < b:
                _add_shifted(dx, row + w[a, 0], share, a, b - a, length, s, shifted)
            for i in range(OW - (b - a)):
                ow = i if i < a else i + b - a
                for iw in range(np.uint64(w[ow, 0]), np.uint64(max(w[ow, 0], w[ow, 1]))):
                    dx[np.uint64(row) + iw] += share[ow]
        before, ih = ih, ih + 1
        if ih == H:
            before, ih, id = -1, 0, id + 1
            if id == D:
                id, plane = 0, plane + 1
