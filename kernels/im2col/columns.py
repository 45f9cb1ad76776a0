"""Columns from strided views: adds to ``naive.columns`` one slice copy a tap, and tiles.

Fix a tap. As o counts the windows, the input it meets moves by one stride: ``x[first::stride]``. So
all windows of one tap are one strided view of x, copied (or added back) at once, and only the loop
over taps is left. Windows for which the tap lands outside the input are a margin of that view,
never read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def unfold(
    col: np.ndarray,
    x: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
) -> None:
    """Copy every tap of every window of x into col; a tap outside the input copies a 0.

    Any leading axes do, as long as col and x share them: ``conv`` calls this with a tile.

    Shapes:
        col (N, C, KD, KH, KW, OD, OH, OW)   x (N, C, ID, IH, IW)
    Source: torch.nn.functional.unfold.
    Cost: each element of col is written once; KD*KH*KW slice copies.
    """
    for k, inside, source in taps(col.shape, x.shape, stride, padding, dilation):
        windows = col[(..., *k, slice(None), slice(None), slice(None))]
        for axis, within in zip((-3, -2, -1), inside, strict=True):
            margin = np.moveaxis(windows, axis, -1)
            margin[..., : within.start] = 0
            margin[..., within.stop :] = 0
        windows[(..., *inside)] = x[(..., *source)]


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
    Cost: each element of col is read once; KD*KH*KW slice additions.
    """
    x[...] = 0
    fold_add(x, col, stride, padding, dilation)


def fold_add(
    x: np.ndarray,
    col: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
) -> None:
    """Fold onto what x already holds, so that tiles can be folded one after another.

    Shapes: as in fold; any leading axes.
    """
    for k, inside, source in taps(col.shape, x.shape, stride, padding, dilation):
        # Two windows of one tap never meet at one input, so += sees each element of x once.
        x[(..., *source)] += col[(..., *k, *inside)]


def taps(
    col_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]]:
    """Each tap (kd, kh, kw), the windows for which it lands inside x, and the inputs it meets.

    The last two are three slices each, over output and over input positions.
    """
    kernel, outputs, inputs = col_shape[-6:-3], col_shape[-3:], x_shape[-3:]
    for k in np.ndindex(kernel):
        axes = [
            span(*numbers)
            for numbers in zip(k, outputs, inputs, stride, padding, dilation, strict=True)
        ]
        yield k, tuple(axis[0] for axis in axes), tuple(axis[1] for axis in axes)


def span(
    k: int, outputs: int, inputs: int, stride: int, padding: int, dilation: int
) -> tuple[slice, slice]:
    """On one axis, the windows whose tap k lands inside the input, and the inputs it lands on.

    ``0 <= o*stride + first < inputs`` with ``first = k*dilation - padding``, solved for o.
    """
    first = k * dilation - padding
    lo = min(outputs, max(0, -(first // stride)))  # -(a // b) is -a / b rounded up
    hi = max(lo, min(outputs, -((first - inputs) // stride)))
    if lo == hi:
        return slice(lo, lo), slice(0, 0)
    return slice(lo, hi), slice(lo * stride + first, (hi - 1) * stride + first + 1, stride)


def tiles(sizes: Sequence[int], unit: int, workspace: int) -> Iterator[tuple[slice, ...]]:
    """Cut a box into tiles of at most ``workspace`` bytes, ``unit`` bytes an element, one at least.

    The last axis is kept whole for as long as it fits, then the one before it, and so on: a tile is
    a run of rows, or part of one row, and in row-major order the tiles follow one another.
    """
    room = max(1, workspace // max(1, unit))
    blocks = []
    for size in reversed(sizes):
        blocks.append(max(1, min(size, room)))
        room //= blocks[-1]
    blocks.reverse()
    steps = [range(0, size, block) for size, block in zip(sizes, blocks, strict=True)]
    for corner in np.ndindex(*(len(step) for step in steps)):
        yield tuple(
            slice(step[at], min(step[at] + block, size))
            for step, at, block, size in zip(steps, corner, blocks, sizes, strict=True)
        )
