"""Columns as loops: adds the copy of every window, which turns a convolution into a matrix product.

``unfold`` writes each window of x out as one column; ``fold`` is its transpose and sums the copies
back. The relation is that of ``conv``: tap k of window o is input position ``o*stride - padding +
k*dilation``.
"""

import numpy as np


def unfold(
    col: np.ndarray,
    x: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
) -> None:
    """Copy every tap of every window of x into col; a tap outside the input copies a 0.

    Shapes:
        col (N, C, KD, KH, KW, OD, OH, OW)   x (N, C, ID, IH, IW)
    Source: torch.nn.functional.unfold.
    Cost: one copy for each element of col.
    """
    N, C, KD, KH, KW, OD, OH, OW = col.shape
    _, _, ID, IH, IW = x.shape
    for n in range(N):
        for c in range(C):
            for kd in range(KD):
                for kh in range(KH):
                    for kw in range(KW):
                        for od in range(OD):
                            id = od * stride[0] - padding[0] + kd * dilation[0]
                            for oh in range(OH):
                                ih = oh * stride[1] - padding[1] + kh * dilation[1]
                                for ow in range(OW):
                                    iw = ow * stride[2] - padding[2] + kw * dilation[2]
                                    inside = 0 <= id < ID and 0 <= ih < IH and 0 <= iw < IW
                                    value = x[n, c, id, ih, iw] if inside else 0
                                    col[n, c, kd, kh, kw, od, oh, ow] = value


def fold(
    x: np.ndarray,
    col: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
) -> None:
    """Add every element of col back to the place in x that unfold would have copied it from.

    Shapes:
        x (N, C, ID, IH, IW)   col (N, C, KD, KH, KW, OD, OH, OW)
    Source: torch.nn.functional.fold.
    Cost: one addition for each element of col.
    """
    N, C, KD, KH, KW, OD, OH, OW = col.shape
    _, _, ID, IH, IW = x.shape
    x[:] = 0
    for n in range(N):
        for c in range(C):
            for kd in range(KD):
                for kh in range(KH):
                    for kw in range(KW):
                        for od in range(OD):
                            id = od * stride[0] - padding[0] + kd * dilation[0]
                            for oh in range(OH):
                                ih = oh * stride[1] - padding[1] + kh * dilation[1]
                                for ow in range(OW):
                                    iw = ow * stride[2] - padding[2] + kw * dilation[2]
                                    if 0 <= id < ID and 0 <= ih < IH and 0 <= iw < IW:
                                        x[n, c, id, ih, iw] += col[n, c, kd, kh, kw, od, oh, ow]
