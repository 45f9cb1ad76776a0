"""Pooling as loops: adds windows that are given, not computed, and a rule for which element wins.

A window is one row of numbers per axis, made by the caller: ``start, stop`` already clipped to the
input. Strided, padded, dilated, ceil_mode and adaptive pooling differ only in those rows, so one
nest serves all.
"""

import numpy as np


def max_pool(
    y: np.ndarray,
    index: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
    step: tuple[int, int, int],
) -> None:
    """The largest element of each window, and where it was.

    Ties go to the first element met, in the order D, H, W. NaN beats every number, and the last NaN
    wins.

    Shapes:
        y, index (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d (OD, 2)   h (OH, 2)   w (OW, 2)
    Source: torch.nn.functional.max_pool3d with return_indices: index is ``id*IH*IW + ih*IW + iw``.
    Cost: one comparison for each tap of each window.
    """
    N, C, OD, OH, OW = y.shape
    _, _, _, IH, IW = x.shape
    for n in range(N):
        for c in range(C):
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        # A window without a tap (dilated past the input) keeps these two.
                        best = lowest(x.dtype)
                        best_at = -1
                        for id in range(d[od, 0], d[od, 1], step[0]):
                            for ih in range(h[oh, 0], h[oh, 1], step[1]):
                                for iw in range(w[ow, 0], w[ow, 1], step[2]):
                                    value = x[n, c, id, ih, iw]
                                    # The first tap always leads, so that a window of -inf has a
                                    # winner too. No number is greater than NaN: once one leads,
                                    # only a later NaN replaces it.
                                    if best_at < 0 or value > best or np.isnan(value):
                                        best = value
                                        best_at = id * IH * IW + ih * IW + iw
                        y[n, c, od, oh, ow] = best
                        index[n, c, od, oh, ow] = best_at


def max_pool_values(
    y: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
    step: tuple[int, int, int],
) -> None:
    """The largest element of each window: as ``max_pool``, whose positions are dropped.

    Shapes: y (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d (OD, 2)   h (OH, 2)   w (OW, 2)
    """
    max_pool(y, np.empty(y.shape, np.int64), x, d, h, w, step)


def lowest(dtype: np.dtype) -> float | int:
    """What no element is less than: -inf or, for integers, their minimum."""
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def avg_pool(y: np.ndarray, x: np.ndarray, d: np.ndarray, h: np.ndarray, w: np.ndarray) -> None:
    """The sum of each window over its divisor, the product of the three extents.

    The extents are the caller's: they count padding or not, or carry divisor_override.

    Shapes:
        y (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d (OD, 3)   h (OH, 3)   w (OW, 3)
    Source: torch.nn.functional.avg_pool3d.
    Cost: one addition for each tap of each window, one division for each window.
    """
    N, C, OD, OH, OW = y.shape
    for n in range(N):
        for c in range(C):
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        divisor = int(d[od, 2]) * int(h[oh, 2]) * int(w[ow, 2])
                        total = y.dtype.type(0)
                        count = 0
                        for id in range(d[od, 0], d[od, 1]):
                            for ih in range(h[oh, 0], h[oh, 1]):
                                for iw in range(w[ow, 0], w[ow, 1]):
                                    total += x[n, c, id, ih, iw]
                                    count += 1
                        # An empty window is 0: its divisor may be 0 too, so it is not used.
                        y[n, c, od, oh, ow] = divide(total, divisor) if count > 0 else 0


def avg_pool_backward(
    dx: np.ndarray, dy: np.ndarray, d: np.ndarray, h: np.ndarray, w: np.ndarray
) -> None:
    """Each element of dy, over its divisor, is added to every element of its window.

    Shapes:
        dx (N, C, ID, IH, IW)   dy (N, C, OD, OH, OW)   d (OD, 3)   h (OH, 3)   w (OW, 3)
    Source: torch.ops.aten.avg_pool3d_backward.
    Cost: one division and one addition for each tap of each window.
    """
    N, C, OD, OH, OW = dy.shape
    dx[:] = 0
    for n in range(N):
        for c in range(C):
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        divisor = int(d[od, 2]) * int(h[oh, 2]) * int(w[ow, 2])
                        for id in range(d[od, 0], d[od, 1]):
                            for ih in range(h[oh, 0], h[oh, 1]):
                                for iw in range(w[ow, 0], w[ow, 1]):
                                    dx[n, c, id, ih, iw] += divide(dy[n, c, od, oh, ow], divisor)


def divide(total: np.number, divisor: int) -> np.number:
    """Divide total by divisor in the dtype of total; integers round towards zero, as in C."""
    if np.issubdtype(total.dtype, np.inexact):
        return total / total.dtype.type(divisor)
    # Python's // rounds down, so the magnitudes are divided and the sign is put back.
    quotient = abs(int(total)) // abs(divisor)
    return total.dtype.type(quotient if (total < 0) == (divisor < 0) else -quotient)
