"""Pooling by columns: adds one gather a tile, and one reduction over the axis of taps.

Each window is written out as a row of its taps, as convolution does, but the taps are looked up in
a table of positions, since windows may differ in length. A window shorter than the longest repeats
its last tap: a maximum does not notice, and a sum skips the repeats.
"""

import math
from collections.abc import Iterator

import numpy as np

from .columns import tiles

WORKSPACE = 256 * 2**20  # bytes


def max_pool(
    y: np.ndarray,
    index: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
    step: tuple[int, int, int],
    *,
    workspace: int = WORKSPACE,
) -> None:
    """The largest element of each window, and where: the first among equals, the last among NaNs.

    Shapes:
        y, index (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d (OD, 2)   h (OH, 2)   w (OW, 2)
    Source: torch.nn.functional.max_pool3d with return_indices.
    Cost: one gather for each tap of each window, then argmax.
    """
    for planes, outputs, at, _, taken in gathered(y, x, (d, h, w), step, workspace):
        best = taken.argmax(axis=-1)  # the first of the greatest, or the first NaN
        top = np.take_along_axis(taken, best[..., None], axis=-1)[..., 0]
        if top.dtype.kind == "f" and np.isnan(top).any():
            nan = np.isnan(top)
            backwards = np.isnan(taken[nan])[:, ::-1]
            best[nan] = taken.shape[-1] - 1 - backwards.argmax(axis=-1)
            top[nan] = np.take_along_axis(taken[nan], best[nan][:, None], axis=-1)[:, 0]
        y[(*planes, *outputs)] = top
        index[(*planes, *outputs)] = np.take_along_axis(
            np.broadcast_to(at, taken.shape), best[..., None], axis=-1
        )[..., 0]
    empty = divisors(d, h, w)[1]
    y[:, :, empty] = -np.inf if y.dtype.kind == "f" else np.iinfo(y.dtype).min
    index[:, :, empty] = -1


def max_pool_values(
    y: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
    step: tuple[int, int, int],
    *,
    workspace: int = WORKSPACE,
) -> None:
    """The largest element of each window: as ``max_pool``, whose positions are dropped.

    Shapes: y (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d (OD, 2)   h (OH, 2)   w (OW, 2)
    """
    max_pool(y, np.empty(y.shape, np.int64), x, d, h, w, step, workspace=workspace)


def avg_pool(
    y: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
    *,
    workspace: int = WORKSPACE,
) -> None:
    """The sum of each window over its divisor, the product of the three extents.

    Shapes:
        y (N, C, OD, OH, OW)   x (N, C, ID, IH, IW)   d (OD, 3)   h (OH, 3)   w (OW, 3)
    Source: torch.nn.functional.avg_pool3d.
    Cost: one gather for each tap of each window, then a sum and a division.
    """
    divisor, empty = divisors(d, h, w)
    y[...] = 0
    for planes, outputs, _, inside, taken in gathered(y, x, (d, h, w), (1, 1, 1), workspace):
        # Not ``taken * inside``: a repeated tap may be inf or NaN, and must not count at all.
        total = np.sum(taken, axis=-1, dtype=taken.dtype, where=inside)
        y[(*planes, *outputs)] = divide(total, divisor[outputs])
    y[:, :, empty] = 0


def avg_pool_backward(
    dx: np.ndarray,
    dy: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
    *,
    workspace: int = WORKSPACE,
) -> None:
    """Each element of dy, over its divisor, is added to every element of its window.

    A window is a box, so it is spread one axis at a time: along W, then H, then D. That takes as
    many steps as there are output positions on an axis, each a slice addition.

    Shapes:
        dx (N, C, ID, IH, IW)   dy (N, C, OD, OH, OW)   d (OD, 3)   h (OH, 3)   w (OW, 3)
    Source: torch.ops.aten.avg_pool3d_backward.
    Cost: OW + OH + OD slice additions a tile, over arrays that grow from dy's size to dx's.
    """
    divisor, _ = divisors(d, h, w)
    N, C, ID, IH, IW = dx.shape
    OD, OH, _ = dy.shape[2:]
    plane = dy.itemsize * (divisor.size + OD * OH * IW + OD * IH * IW + ID * IH * IW)
    for planes in tiles((N, C), plane, workspace):
        share = divide(dy[planes], divisor)
        for axis, windows in ((4, w), (3, h), (2, d)):
            share = spread(share, windows, axis, dx.shape[axis])
        dx[planes] = share


def spread(share: np.ndarray, windows: np.ndarray, axis: int, size: int) -> np.ndarray:
    """One axis of avg_pool_backward: element o of the axis is added to start[o] ... stop[o] - 1."""
    share = np.moveaxis(share, axis, 0)
    total = np.zeros((size, *share.shape[1:]), share.dtype)
    for o, (start, stop, _) in enumerate(windows):
        if start < stop:
            total[start:stop] += share[o]
    return np.moveaxis(total, 0, axis)


def gathered(
    y: np.ndarray,
    x: np.ndarray,
    windows: tuple[np.ndarray, np.ndarray, np.ndarray],
    step: tuple[int, int, int],
    workspace: int,
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], np.ndarray, np.ndarray, np.ndarray]]:
    """Tiles of y: slices (n, c), slices (od, oh, ow), and the taps of the windows there.

    Shapes:
        at (OD, OH, OW, T), flat positions in a plane of x   inside, the same: whether the tap is
        real taken (N, C, OD, OH, OW, T), what x holds there; all with the sizes of the tile
    """
    N, C, *sizes = x.shape
    if x.size == 0:
        return
    flat = x.reshape(N, C, math.prod(sizes))
    axes = [taps(*numbers) for numbers in zip(windows, sizes, step, strict=True)]
    T = math.prod(position.shape[1] for position, _ in axes)
    # A tap is held as a position (8 bytes), a flag, and once or more as a number.
    for outputs_nc in tiles((*y.shape[2:], N, C), T * (9 + 2 * x.itemsize), workspace):
        outputs, planes = outputs_nc[:3], outputs_nc[3:]
        (d, in_d), (h, in_h), (w, in_w) = (
            (position[part], real[part])
            for (position, real), part in zip(axes, outputs, strict=True)
        )
        shape = (len(d), len(h), len(w), T)
        at = box(d * (sizes[1] * sizes[2]), h * sizes[2], w, np.add).reshape(shape)
        inside = box(in_d, in_h, in_w, np.logical_and).reshape(shape)
        yield planes, outputs, at, inside, flat[planes].take(at, axis=2)


def taps(rows: np.ndarray, size: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """On one axis, the position of each tap of each window, and whether the window is that long.

    Shapes:
        rows (O, 2 or 3)   position (O, T)   real (O, T)
    """
    start, stop = rows[:, :1], rows[:, 1:2]
    length = (stop - start + step - 1) // step
    tap = np.arange(length.max(initial=1))
    last = np.maximum(length - 1, 0)
    position = start + np.minimum(tap, last) * step
    return position.clip(0, size - 1), tap < length  # an empty window may start anywhere


def box(d: np.ndarray, h: np.ndarray, w: np.ndarray, join: np.ufunc) -> np.ndarray:
    """Join (OD, TD), (OH, TH), (OW, TW) to (OD, OH, OW, TD, TH, TW): a tap of a box is three."""
    return join(
        join(d[:, None, None, :, None, None], h[None, :, None, None, :, None]),
        w[None, None, :, None, None, :],
    )


def divisors(d: np.ndarray, h: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The divisor of each window (of an average), and whether it is empty; both (OD, OH, OW)."""
    extent = d[:, -1, None, None] * h[:, -1, None] * w[:, -1]
    some_d, some_h, some_w = (rows[:, 0] < rows[:, 1] for rows in (d, h, w))
    return extent, ~(some_d[:, None, None] & some_h[:, None] & some_w)


def divide(total: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """Divide total by divisor in the dtype of total; integers round towards zero, as in C."""
    if total.dtype.kind in "iu":
        # fmod is the remainder of that division, so what is left divides evenly.
        return ((total - np.fmod(total, divisor)) // divisor).astype(total.dtype)
    return total / divisor.astype(total.dtype)
