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
    phases,
    shapes_of_phases,
    supports_small,
    supports_small_dgrad,
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
    x = activations(given, "x", c)
    w = weights(given, x.channels, dense=True)
    stride, low, dilation = numbers(problem)
    shape = Shape(
        n, k // problem.groups, tuple(inputs), given.shapes["y"][2:], tuple(kernel), stride,
        tuple(-p for p in low), dilation, given.strides["y"], 0, w.strides[2:], 0,
    )  # fmt: skip
    return [*x.before, *w.before, _product(given, "y", x, w, shape)]


def dgrad(given: Given) -> list[Launch]:
    """dy and w, packed, and a product for every phase of the stride that has positions."""
    y = activations(given, "y", given.shapes["y"][1])
    w = weights(given, y.channels, turned=True)
    products = [_product(given, "x", y, w, shape) for shape in shapes_of_phases(given, w)]
    return [*y.before, *w.before, *products]


def _product(given: Given, result: str, x: Rows, w: Rows, shape: Shape) -> Launch:
    groups, columns = given.problem.groups, shape.columns
    rows = shape.n * prod(shape.positions)
    width = choose(rows, columns, groups, given.multiprocessors)
    last = lies_in_chunks(given, result, 1) and columns % vector(given.problem) == 0
    macros = {"BLOCK_M": HEIGHT, "BLOCK_N": width, "STAGES": STAGES, "Y_LAST": int(last)}
    numbers_of = ((m, str(v)) for m, v in macros.items())
    defined = (*offsets_of(given, x.reach, w.reach), *numbers_of, *relu(given))
    grid = (blocks(rows, HEIGHT) * blocks(columns, width) * groups, 1, 1)
    return Launch(
        "conv_8_wgmma.cu", "conv_wgmma", defined, grid, (288, 1, 1),
        (result, x.argument, w.argument, "b", windows(given, x, shape),
         taps(given, w, shape, width), gemm(given, x, w, shape)),
        wgmma_bytes(width, last),
    )  # fmt: skip


def windows(given: Given, x: Rows, shape: Shape) -> TensorMap:
    """What is summed over as the product reads it: 64 channels of one tap of 128 windows."""
    _, height, width = shape.inputs
    sizes = (x.channels * given.problem.groups, width, height, shape.n)
    s_n, _, _, s_h, s_w = x.strides
    low, high = (0, 0), (0, 0)
    if 0 not in shape.taps:  # else nothing is read
        numbers_of = (shape.start, shape.taps, shape.hop, shape.positions, shape.step, shape.inputs)
        each = list(zip(*numbers_of, strict=True))
        low, high = zip(corners(*each[2]), corners(*each[1]), strict=True)
    return TensorMap(
        x.argument, given.problem.dtype, sizes, _of_axes(sizes, (s_w, s_h, s_n)), (DEPTH, HEIGHT),
        Windows(low, high, (shape.step[2], shape.step[1])),
    )  # fmt: skip


def corners(start: int, taps: int, hop: int, count: int, step: int, size: int) -> tuple[int, int]:
    """Along an axis: where the first window begins, and, counted from the last element, the last
    one. Where taps go back, a window begins at its last.

    Example:
        >>> corners(-1, 3, 1, 5, 1, 5), corners(1, 3, -1, 5, 1, 5)
        ((-1, -1), (-1, -1))
    """
    first = start + min(0, (taps - 1) * hop)
    return first, first + (count - 1) * step - (size - 1)


def taps(given: Given, w: Rows, shape: Shape, width: int) -> TensorMap:
    """w as the product reads it: 64 channels of one tap of ``width`` columns of the result."""
    sizes = (w.channels, prod(given.shapes["w"][3:]), shape.columns * given.problem.groups)
    strides = _of_axes(sizes, (w.channels, w.strides[0]))
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
    if reason := supports_small(problem) or _plane(problem):
        return reason
    (x, w, _), (y,), _, (stride, low, dilation, _) = problem.call("conv_fprop")
    for size, out, kernel, s, p, d in zip(
        x[3:], y[3:], w[3:], stride[1:], low[1:], dilation[1:], strict=True
    ):
        if s > STEP:
            return f"the accelerator takes strides of up to {STEP}, and this has {s}"
        if reason := _limits(-p, kernel, d, out, s, size):
            return reason
    return None


def supports_dgrad(problem: Any) -> str | None:
    """As ``supports``, for every phase of the stride."""
    if reason := supports_small_dgrad(problem) or _plane(problem):
        return reason
    (x, w, _), (y,), _, (stride, low, dilation, _) = problem.call("conv_fprop")
    for size, out, *numbers_of in zip(
        x[3:], y[3:], w[3:], stride[1:], low[1:], dilation[1:], strict=True
    ):
        for p in phases(size, *numbers_of):
            if p.taps and (reason := _limits(p.start, p.taps, -p.back, p.count, 1, out)):
                return reason
    return None


def _plane(problem: Any) -> str | None:
    return "it is 1-D and 2-D, and this is 3-D" if problem.rank == 3 else None


def _limits(start: int, taps: int, hop: int, count: int, step: int, size: int) -> str | None:
    """What of an axis the accelerator cannot say: corners, and the last tap's offset."""
    if not all(-CORNER <= c < CORNER for c in corners(start, taps, hop, count, step, size)):
        return f"the accelerator's windows begin at most {CORNER} outside, or end so far inside"
    if (taps - 1) * abs(hop) > OFFSET:
        return f"a kernel reaches over {OFFSET + 1} elements at most, and this over more"
    return None
