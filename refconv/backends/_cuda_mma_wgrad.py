"""The plan function of wgrad on tensor cores (step 7), and what it cannot run."""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from ._cuda_launch import Given, Launch, blocks
from ._cuda_mma import (
    FEWEST,
    STAGES,
    activations,
    numbers,
    offsets_of,
    supports_single,
    supports_small,
    vector,
    wide,
)  # fmt: skip

#: Blocks that share a multiprocessor, by the tile's side; a float's fragments take more registers.
BLOCKS, BLOCKS_OF_FLOATS = {128: 2, 64: 4}, {1: 4, 3: 2}
#: Most parts of a sum, and the fewest positions of one.
MOST, SHORTEST = 64, 256


def wgrad(given: Given, terms: int = 1) -> list[Launch]:
    """dy and x, packed where they must be; products of parts of the batch; and their sum."""
    problem = given.problem
    n, k, *outputs = given.shapes["y"]
    c = given.shapes["x"][1]
    groups, kernel = problem.groups, given.shapes["w"][2:]
    y, x = activations(given, "y", k), activations(given, "x", c)
    rows, columns = k // groups, prod(kernel) * x.channels
    positions = n * prod(outputs)
    floats = problem.dtype == "float32"
    side = 64 if floats else choose(rows, columns)
    tiles = blocks(rows, side) * blocks(columns, side) * groups
    span, splits = split(positions, tiles, given.multiprocessors)
    parts = f"parts:{splits * k * columns * 4}"
    reach = max(y.reach, x.reach, splits * k * columns)
    stride, low, dilation = numbers(problem)
    packed = struct.pack(
        "<25i4x15q" if wide(given, reach) else "<25i15i",
        n, groups, rows, c // groups, x.channels, splits, span,
        *given.shapes["x"][2:], *outputs, *kernel, *stride, *(-p for p in low), *dilation,
        *y.strides, *x.strides, *given.strides["w"],
    )  # fmt: skip
    limit = BLOCKS_OF_FLOATS[terms] if floats else BLOCKS[side]
    along, across = (2, 4) if side == 128 else (2, 2)
    macros = {
        "BLOCK": side, "WARPS_M": along, "WARPS_N": across, "STAGES": STAGES, "BLOCKS": limit,
        "TERMS": terms,
    }  # fmt: skip
    defined = (*offsets_of(given, reach), *((m, str(v)) for m, v in macros.items()))
    source = "wgrad_7_mma.cu"
    product = Launch(
        source, "conv_wgrad_mma", defined, (tiles * splits, 1, 1), (along * across * 32, 1, 1),
        (parts, y.argument, x.argument, packed), STAGES * 2 * 64 * side,
    )  # fmt: skip
    total = Launch(
        source, "conv_wgrad_mma_sum", defined, (blocks(k * columns, 256), 1, 1), (256, 1, 1),
        ("w", parts, y.argument, x.argument, packed),
    )  # fmt: skip
    return [*y.before, *x.before, product, total]


def wgrad_three(given: Given) -> list[Launch]:
    """Floats as two TF32 numbers each, three products."""
    return wgrad(given, 3)


def choose(rows: int, columns: int) -> int:
    """The side of a block's tile, in 16 bits: large where it is mostly full.

    Example:
        >>> choose(64, 576), choose(256, 2304)
        (64, 128)
    """
    return 128 if min(rows, columns) > 64 else 64


def split(positions: int, tiles: int, multiprocessors: int) -> tuple[int, int]:
    """Positions of a part, and parts: two blocks a multiprocessor, if none is too short.

    Example:
        >>> split(802816, 9, 132), split(49, 9, 132)
        ((26816, 30), (64, 1))
    """
    wanted = min(MOST, blocks(2 * multiprocessors, tiles), max(1, positions // SHORTEST))
    span = blocks(blocks(positions, wanted), 64) * 64
    return max(span, 64), max(1, blocks(positions, max(span, 64)))


def small(problem: Any) -> str | None:
    """16 bits."""
    return supports_small(problem) or _weights(problem)


def single(problem: Any) -> str | None:
    """TF32."""
    return supports_single(problem) or _weights(problem)


def three(problem: Any) -> str | None:
    """As TF32, and where sums are long enough, those of the outermost taps too."""
    reason = single(problem)
    if reason is None and 0 < (terms := shortest(problem)) < FEWEST:
        reason = f"its error is that of direct sums from {FEWEST} positions on, and it has {terms}"
    return reason


def shortest(problem: Any) -> int:
    """Positions that the tap with the fewest, but any, sees inside the input, in the batch."""
    (x, _, _), (y,), _, (stride, low, dilation, _) = problem.call("conv_fprop")
    kernel = problem.call("conv_wgrad")[1][0][2:]
    found = x[0]
    for size, out, k, s, p, d in zip(x[2:], y[2:], kernel, stride, low, dilation, strict=True):
        counts = [sum(0 <= o * s - p + t * d < size for o in range(out)) for t in range(k)]
        found *= min((n for n in counts if n), default=0)
    return found


def _weights(problem: Any) -> str | None:
    k, c, *kernel = problem.call("conv_wgrad")[1][0]
    count = k * prod(kernel) * blocks(c, vector(problem)) * vector(problem)
    return None if count < 2**31 else f"weights are counted in 31 bits, and this has {count}"
