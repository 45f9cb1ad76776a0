"""Where each cell of a result reads, as tables written from the definitions of the operations.

``table[k, o]`` is the flat input position that tap k of window o reads, or -1 if it reads none. No
code is shared with ``window``, which everything else uses: the two are checked against each other.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..moves import ColumnProblem, PadProblem
from ..problem import ConvProblem, PoolProblem


def taps(
    size: int, out: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> np.ndarray:
    """One axis: ``o * stride - padding + k * dilation``."""
    i = np.arange(out) * stride - padding + np.arange(kernel)[:, None] * dilation
    return np.where((i >= 0) & (i < size), i, -1)


def joined(tables: list[np.ndarray], sizes: tuple[int, ...]) -> np.ndarray:
    """The axes' tables as one, of flat taps, windows and positions."""
    flat = np.zeros((1, 1), np.int64)
    for table, size in zip(tables, sizes, strict=True):
        a, b = flat[:, None, :, None], table[None, :, None, :]
        both = np.where((a < 0) | (b < 0), -1, a * size + b)
        flat = both.reshape(len(flat) * len(table), -1)
    return flat


def turned(table: np.ndarray, size: int) -> np.ndarray:
    """``[k, i]``: the window whose tap k is position i (there is at most one), -1 if none."""
    found = np.full((len(table), size), -1)
    k, o = np.nonzero(table >= 0)
    found[k, table[k, o]] = o
    return found


def visitors(target: np.ndarray, size: int) -> np.ndarray:
    """``[t, i]``: the t-th place in ``target``, read as flat, that holds i; -1 if there are
    fewer.
    """
    target = target.ravel()
    order = np.argsort(target, kind="stable")
    order = order[target[order] >= 0]
    cell = target[order]
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)
    found = np.full((rank.max(initial=0) + 1, size), -1)
    found[rank, cell] = order
    return found


def of_conv(problem: ConvProblem) -> np.ndarray:
    """Taps and windows of a convolution (a transposed one's are those of the other direction)."""
    x, y = problem.in_size, problem.out_size
    if problem.transposed:
        x, y = y, x
    axes = zip(x, y, problem.kernel, problem.stride, problem.padding, problem.dilation, strict=True)
    return joined([taps(i, o, k, s, low, d) for i, o, k, s, (low, _), d in axes], x)


def pool_axes(problem: PoolProblem) -> list[np.ndarray]:
    """One table an axis."""
    if not problem.adaptive:
        dilation = problem.dilation or (1,) * problem.rank
        axes = (problem.in_size, problem.out_size, problem.kernel, problem.stride, problem.padding)
        return [taps(*axis) for axis in zip(*axes, dilation, strict=True)]
    tables = []
    for size, out in zip(problem.in_size, problem.out_size, strict=True):
        # Window o reaches from o * size / out to (o + 1) * size / out; cells that it touches count.
        i, o = np.arange(size)[:, None], np.arange(out)
        holds = ((i + 1) * out > o * size) & (i * out < (o + 1) * size)
        k = np.arange(holds.sum(axis=0).max(initial=1))[:, None]
        tables.append(np.where(k < holds.sum(axis=0), holds.argmax(axis=0) + k, -1))
    return tables


def of_pool(problem: PoolProblem) -> np.ndarray:
    """Taps, in scan order, and windows of a pooling."""
    return joined(pool_axes(problem), problem.in_size)


def divisors(problem: PoolProblem) -> np.ndarray:
    """The divisor of each window's sum; 1 where no tap is inside, for the average is 0 there."""
    if problem.divisor is not None:
        count = np.full(prod(problem.out_size), problem.divisor)
    else:
        count = np.ones(1, np.int64)
        for axis, table in enumerate(pool_axes(problem)):
            inside = table >= 0
            if not problem.adaptive and problem.count_include_pad:
                size, padding = problem.in_size[axis], problem.padding[axis]
                first = np.arange(problem.out_size[axis]) * problem.stride[axis]
                inside = first + np.arange(problem.kernel[axis])[:, None] < size + 2 * padding
            count = np.multiply.outer(count, inside.sum(axis=0)).ravel()
    return np.where((of_pool(problem) >= 0).any(axis=0), count, 1)


def of_columns(problem: ColumnProblem) -> np.ndarray:
    """Taps and windows of unfold and fold."""
    axes = (problem.size, problem.blocks, problem.kernel, problem.stride, problem.padding)
    each = zip(*axes, problem.dilation, strict=True)
    return joined([taps(*axis) for axis in each], problem.size)


def of_pad(problem: PadProblem) -> tuple[int, np.ndarray]:
    """How many leading axes are not padded, and where each cell of the others comes from."""
    lead = next((a for a, pad in enumerate(problem.pads) if pad != (0, 0)), len(problem.pads))
    modes: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    tables = []
    for size, (low, high) in zip(problem.shape[lead:], problem.pads[lead:], strict=True):
        cells = np.arange(size)
        if problem.mode == "circular":  # of what is left after cropping
            cells = cells[max(-low, 0) : size - max(-high, 0)]
        around = (max(low, 0), max(high, 0))
        if problem.mode == "constant":
            cells = np.pad(cells, around, constant_values=-1)
        elif around != (0, 0):
            cells = np.pad(cells, around, mode=modes[problem.mode])
        if problem.mode != "circular":
            cells = cells[max(-low, 0) : len(cells) - max(-high, 0)]
        tables.append(cells[None])
    return lead, joined(tables, problem.shape[lead:])
