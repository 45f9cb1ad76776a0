"""Convolution as a matrix product: adds columns and one matmul to the loops of ``naive``.

The terms of one output element are a dot product: its window of x, written out as a column, with
one row of w. All windows side by side make a matrix, and the whole convolution of a group is one
product:

    fprop   Y = W @ col             W    (K/groups, CG*KD*KH*KW)  is w as it lies in memory
    dgrad   col = W.T @ dY          col  (CG*KD*KH*KW, M)         one column for each of M windows
    wgrad   dW += dY @ col.T        Y    (K/groups, M)            one column for each of M outputs

``unfold`` fills col from x and ``fold`` adds it back. The price is memory: x is held KD*KH*KW times
over. So the windows are cut into tiles, and one buffer, never larger than ``workspace``, serves
every tile. Groups are a batch axis of the product, so depthwise convolution is one call as well.

A column holds a 0 where its tap lies outside the input, and that is a term too many when it meets
inf or NaN: 0 * inf is NaN. Then, and only then, each tap is a problem of its own,
over the windows for which it lies inside.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .columns import fold_add, taps, tiles, unfold

WORKSPACE = 256 * 2**20  # bytes


def fprop(
    y: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
    *,
    workspace: int = WORKSPACE,
) -> None:
    """Forward pass: unfold x, then Y = W @ col.

    Shapes:
        y (N, K, OD, OH, OW)   x (N, C, ID, IH, IW)   w (K, CG, KD, KH, KW)   b (K,) or (0,)
    Source: torch.nn.functional.conv3d; Chellapilla, Puri and Simard 2006 (unrolled convolution).
    Cost: a copy of each window, then the multiply-adds at the speed of BLAS.
    """
    xg, wg, yg = by_group(x, w, y, groups)
    if is_product(x, w, y, stride, padding):
        np.matmul(weights(wg), planes(xg), out=planes(yg))
    else:
        y[...] = 0
        for wp, yp, pad in parts(xg, wg, yg, stride, padding, dilation, split=not finite(w)):
            for tile in column_tiles(xg, wp, yp, stride, pad, workspace):
                unfold(tile.windows, xg[tile.x], stride, tile.padding, dilation)
                np.matmul(weights(wp[tile.w]), tile.col, out=tile.rows)
                yp[tile.y] += tile.outputs
    if b.size > 0:
        y += b[:, None, None, None]


def dgrad(
    dx: np.ndarray,
    dy: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
    *,
    workspace: int = WORKSPACE,
) -> None:
    """Gradient of the input, or transposed convolution: col = W.T @ dY, then fold.

    What col holds for taps outside the input is never folded, so inf and NaN need no special care.

    Shapes:
        dx (N, C, ID, IH, IW)   dy (N, K, OD, OH, OW)   w (K, CG, KD, KH, KW)   b (C,) or (0,)
    Source: torch.nn.functional.conv_transpose3d; col2im of Caffe (Jia et al., arXiv:1408.5093).
    Cost: the multiply-adds of fprop, then one addition for each element of col.
    """
    dxg, wg, dyg = by_group(dx, w, dy, groups)
    if is_product(dx, w, dy, stride, padding):
        np.matmul(weights(wg).swapaxes(-1, -2), planes(dyg), out=planes(dxg))
    else:
        dx[...] = 0
        for tile in column_tiles(dxg, wg, dyg, stride, padding, workspace):
            tile.outputs[...] = dyg[tile.y]
            np.matmul(weights(wg[tile.w]).swapaxes(-1, -2), tile.rows, out=tile.col)
            fold_add(dxg[tile.x], tile.windows, stride, tile.padding, dilation)
    if b.size > 0:
        dx += b[:, None, None, None]


def wgrad(
    dw: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
    *,
    workspace: int = WORKSPACE,
) -> None:
    """Gradient of the kernel: unfold x, then dW += dY @ col.T, tile after tile.

    Shapes:
        dw (K, CG, KD, KH, KW)   dy (N, K, OD, OH, OW)   x (N, C, ID, IH, IW)
    Source: torch.nn.grad.conv3d_weight.
    Cost: the copies and multiply-adds of fprop; dw is read and written once a tile.
    """
    xg, dwg, dyg = by_group(x, dw, dy, groups)
    half = workspace // 2  # the other half is for the product, which is as large as dw
    dw[...] = 0
    if is_product(x, dw, dy, stride, padding):
        for dyn, xn in zip(planes(dyg), planes(xg), strict=True):
            add_product(dwg, dyn, xn.swapaxes(-1, -2), half)
        return
    for dwp, dyp, pad in parts(xg, dwg, dyg, stride, padding, dilation, split=not finite(dy)):
        for tile in column_tiles(xg, dwp, dyp, stride, pad, half):
            tile.outputs[...] = dyp[tile.y]
            unfold(tile.windows, xg[tile.x], stride, tile.padding, dilation)
            add_product(dwp[tile.w], tile.rows, tile.col.swapaxes(-1, -2), half)


def bgrad(db: np.ndarray, dy: np.ndarray) -> None:
    """Gradient of the bias: the sum of each channel of dy.

    Shapes:
        db (K,)   dy (N, K, OD, OH, OW)
    Cost: one addition for each element of dy.
    """
    np.sum(dy, axis=(0, 2, 3, 4), dtype=db.dtype, out=db)


class Tile(NamedTuple):
    """One tile: where it lies in x, w and y, and the two buffers, each in two views.

    Shapes:
        col (G, R, M)     windows (N, G, CG, KD, KH, KW, OD, OH, OW)   the same memory
        rows (G, KG, M)   outputs (N, G, KG, OD, OH, OW)               the same memory
    with the sizes of the tile, R = CG*KD*KH*KW and M = N*OD*OH*OW.
    """

    x: tuple[slice, ...]
    w: tuple[slice, ...]
    y: tuple[slice, ...]
    padding: tuple[int, int, int]
    col: np.ndarray
    windows: np.ndarray
    rows: np.ndarray
    outputs: np.ndarray


def column_tiles(
    x: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    workspace: int,
) -> Iterator[Tile]:
    """Cut the columns of one problem into tiles that fit, all in the same buffer.

    Batch first, then output rows, then, if one column is too large, groups and input channels.

    Shapes:
        x (N, G, CG, ID, IH, IW)   w (G, KG, CG, KD, KH, KW)   y (N, G, KG, OD, OH, OW)
    """
    N, G, KG, *out = y.shape
    CG, *kernel = w.shape[2:]
    # A column has a row for each tap of each channel, and its share of the KG outputs.
    height = math.prod(kernel) + -(-KG // max(1, CG))
    everything = slice(None)
    buffers = None
    for n, od, oh, ow, g, ic in tiles((N, *out, G, CG), height * x.itemsize, workspace):
        n_size, d_size, h_size, w_size, g_size, c_size = (
            part.stop - part.start for part in (n, od, oh, ow, g, ic)
        )
        windows = (g_size, c_size, *kernel, n_size, d_size, h_size, w_size)
        outputs = (g_size, KG, n_size, d_size, h_size, w_size)
        if buffers is None:  # the first tile is the largest
            buffers = np.empty(math.prod(windows), x.dtype), np.empty(math.prod(outputs), x.dtype)
        col = buffers[0][: math.prod(windows)].reshape(windows)
        rows = buffers[1][: math.prod(outputs)].reshape(outputs)
        M = n_size * d_size * h_size * w_size
        yield Tile(
            x=(n, g, ic),
            w=(g, everything, ic),
            y=(n, g, everything, od, oh, ow),
            # Window 0 of the tile is window ``start`` of y: it begins start*stride further on.
            padding=(
                padding[0] - od.start * stride[0],
                padding[1] - oh.start * stride[1],
                padding[2] - ow.start * stride[2],
            ),
            col=col.reshape(g_size, c_size * math.prod(kernel), M),
            windows=np.moveaxis(col, 5, 0),
            rows=rows.reshape(g_size, KG, M),
            outputs=np.moveaxis(rows, 2, 0),
        )


def parts(
    x: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    split: bool,
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, int, int]]]:
    """The problem (w, y, padding) whole, or split by tap into problems with no tap outside x.

    Each part has a 1x1x1 kernel and those outputs for which this one tap lands inside; their sum is
    the whole. All are views, so what is added to a part is added to w or y.
    """
    if not split:
        yield w, y, padding
        return
    shape = (*w.shape[3:], *y.shape[3:])
    for k, inside, source in taps(shape, x.shape, stride, padding, dilation):
        kd, kh, kw = (slice(at, at + 1) for at in k)
        id, ih, iw = (at.start for at in source)
        yield w[..., kd, kh, kw], y[(..., *inside)], (-id, -ih, -iw)


def by_group(
    x: np.ndarray, w: np.ndarray, y: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views with a group axis: x (N, G, CG, ...), w (G, KG, CG, ...), y (N, G, KG, ...)."""
    (N, C, *inputs), (K, CG, *kernel), outputs = x.shape, w.shape, y.shape[2:]
    return (
        x.reshape(N, groups, C // groups, *inputs),
        w.reshape(groups, K // groups, CG, *kernel),
        y.reshape(N, groups, K // groups, *outputs),
    )


def weights(w: np.ndarray) -> np.ndarray:
    """Weights as the matrices W: (G, KG, CG, KD, KH, KW) -> (G, KG, R), a view if w is whole."""
    return w.reshape(*w.shape[:2], math.prod(w.shape[2:]))


def planes(a: np.ndarray) -> np.ndarray:
    """Positions as one axis, in x or y: (N, G, CG, ID, IH, IW) -> (N, G, CG, M), a view."""
    return a.reshape(*a.shape[:3], math.prod(a.shape[3:]))


def is_product(
    x: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> bool:
    """Whether x is its own column matrix: 1x1x1 kernel, stride 1, no padding, nothing cut off."""
    return (
        w.shape[2:] == (1, 1, 1)
        and tuple(stride) == (1, 1, 1)
        and tuple(padding) == (0, 0, 0)
        and x.shape[2:] == y.shape[2:]
    )


def add_product(total: np.ndarray, a: np.ndarray, b: np.ndarray, workspace: int) -> None:
    """Add a @ b to total, a few rows at a time, so that the product held is within workspace.

    Shapes:
        total (G, KG, CG, KD, KH, KW)   a (G, KG, M)   b (G, M, CG*KD*KH*KW)
    """
    row = a.shape[0] * b.shape[2] * b.itemsize
    for (oc,) in tiles((a.shape[1],), row, workspace):
        total[:, oc] += np.matmul(a[:, oc], b).reshape(total[:, oc].shape)


def finite(a: np.ndarray) -> bool:
    """Whether no element is inf or NaN; "no" also if the sum overflows, which only costs time."""
    return a.dtype.kind in "iu" or bool(np.isfinite(a.sum()))
