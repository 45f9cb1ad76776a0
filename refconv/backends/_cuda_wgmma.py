"""The plan function of implicit GEMM by warpgroups (step 8, Hopper), and what it cannot run."""

from __future__ import annotations

from math import prod
from typing import Any

from ._cuda_launch import Given, Launch, blocks, relu
from ._cuda_mma import (
    Rows,
    Shape,
    activations,
    gemm,
    lies_in_chunks,
    numbers,
    offsets_of,
    supports_small,
    vector,
    weights,
)
from ._cuda_tensor_map import TensorMap, Windows

#: Rows of a block's tile, elements of depth, and bytes of shared memory that stages may take.
HEIGHT, DEPTH, STAGES = 128, 64, 4
#: Columns of a block's tile, from large to small.
WIDTHS = (256, 128, 64)
#: Limits of the accelerator in four axes: where windows begin, their step, a tap's offset.
CORNER, STEP, OFFSET = 128, 8, 255


def fprop(given: Given) -> list[Launch]:
    """x and w, packed where they must be, and the product, with maps of both."""
    problem = given.problem
    n, c, *inputs = given.shapes["x"]
    k, _, *kernel = given.shapes["w"]
    outputs = given.shapes["y"][2:]
    groups, columns = problem.groups, k // problem.groups
    x = activations(given, "x", c)
    w = weights(given, x.channels, dense=True)
    stride, low, dilation = numbers(problem)
    shape = Shape(
        n, columns, tuple(inputs), outputs, tuple(kernel), stride, tuple(-p for p in low),
        dilation, given.strides["y"], 0, w.strides[2:], 0,
    )  # fmt: skip
    rows = n * prod(outputs)
    width = choose(rows, columns, groups, given.multiprocessors)
    last = lies_in_chunks(given, "y", 1) and columns % vector(problem) == 0
    macros = {"BLOCK_M": HEIGHT, "BLOCK_N": width, "STAGES": STAGES, "Y_LAST": int(last)}
    reaches = (x.reach, w.reach)
    numbers_of = ((m, str(v)) for m, v in macros.items())
    defined = (*offsets_of(given, *reaches), *numbers_of, *relu(given))
    grid = (blocks(rows, HEIGHT) * blocks(columns, width) * groups, 1, 1)
    launch = Launch(
        "conv_8_wgmma.cu", "conv_fprop_wgmma", defined, grid, (288, 1, 1),
        ("y", x.argument, w.argument, "b", windows(given, x), taps(given, w, width),
         gemm(given, x, w, shape)),
        wgmma_bytes(width, last),
    )  # fmt: skip
    return [*x.before, *w.before, launch]


def windows(given: Given, x: Rows) -> TensorMap:
    """x as the product reads it: 64 channels of one tap of 128 windows."""
    problem = given.problem
    n, _, _, height, width = given.shapes["x"]
    *_, out_h, out_w = given.shapes["y"]
    stride, low, _ = numbers(problem)
    sizes = (x.channels * problem.groups, width, height, n)
    s_n, _, _, s_h, s_w = x.strides
    strides = _of_axes(sizes, (s_w, s_h, s_n))
    first = (-low[2], -low[1])
    ends = zip(first, (out_w, out_h), (stride[2], stride[1]), (width, height), strict=True)
    end_w, end_h = (start + (out - 1) * step - (size - 1) for start, out, step, size in ends)
    return TensorMap(
        x.argument, problem.dtype, sizes, strides, (DEPTH, HEIGHT),
        Windows(first, (end_w, end_h), (stride[2], stride[1])),
    )  # fmt: skip


def taps(given: Given, w: Rows, width: int) -> TensorMap:
    """w as the product reads it: 64 input channels of one tap of ``width`` output channels."""
    k, _, _, kh, kw = given.shapes["w"]
    row, _, _, s_h, s_w = w.strides
    sizes = (w.channels, kh * kw, k)
    strides = _of_axes(sizes, (s_w if kw > 1 else s_h, row))
    return TensorMap(w.argument, given.problem.dtype, sizes, strides, (DEPTH, 1, width))


def _of_axes(sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of all axes but the first; any multiple of 16 bytes for those of one element."""
    return tuple(8 if n == 1 else s for n, s in zip(sizes[1:], strides, strict=True))


def choose(rows: int, columns: int, groups: int, multiprocessors: int) -> int:
    """Columns of a tile: the most that are not mostly empty and still give every multiprocessor a
    block.

    Example:
        >>> choose(50176, 256, 1, 132), choose(802816, 64, 1, 132), choose(12544, 512, 1, 132)
        (256, 64, 256)
    """
    for width in WIDTHS:
        made = blocks(rows, HEIGHT) * blocks(columns, width) * groups
        if made >= multiprocessors and columns > width // 2:
            return width
    return WIDTHS[-1]


def wgmma_bytes(width: int, last: bool) -> int:
    """Dynamic shared memory of a block: its stages or, later, the tile of y."""
    rows, columns = (HEIGHT, width) if last else (width, HEIGHT)
    return max(STAGES * (HEIGHT + width) * DEPTH * 2, rows * (columns + 8) * 2)


def supports(problem: Any) -> str | None:
    """16 bits, two axes, inside the accelerator's limits."""
    if reason := supports_small(problem):
        return reason
    if problem.rank == 3:
        return "it is 1-D and 2-D, and this is 3-D"
    (x, w, _), (y,), _, (stride, low, dilation, _) = problem.call("conv_fprop")
    for size, out, kernel, s, p, d in zip(
        x[3:], y[3:], w[3:], stride[1:], low[1:], dilation[1:], strict=True
    ):
        if s > STEP:
            return f"the accelerator takes strides of up to {STEP}, and this has {s}"
        end = (out - 1) * s - p - (size - 1)
        if not (p <= CORNER and -p < CORNER and -CORNER <= end < CORNER):
            return f"the accelerator's windows begin at most {CORNER} outside, or end so far inside"
        if (kernel - 1) * d > OFFSET:
            return f"a kernel reaches over {OFFSET + 1} elements at most, and this over more"
    return None
