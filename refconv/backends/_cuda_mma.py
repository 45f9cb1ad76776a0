"""The plan functions of implicit GEMM on tensor cores (step 7), and what these cannot run.

A product's rows are positions, its columns channels of one group. Both operands are read with
channels as neighbours, 16 bytes at once; an array that lies otherwise is packed first, by a launch
of pack_channels.cu into a workspace.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import gcd, prod
from typing import Any

from ._cuda_launch import Given, Launch, Triple, blocks, relu, types

#: Bytes of a row of a tile in shared memory, and stages of the pipeline.
ROW, STAGES = 64, 4
#: Rows, columns, warps along both, of a block; from large to small.
TILES = ((128, 128, 2, 4), (128, 64, 2, 2), (64, 64, 2, 2))
#: Blocks that share a multiprocessor, by tile; with three terms its registers are for fewer.
BLOCKS = {128 * 128: 2, 128 * 64: 3, 64 * 64: 4}
BLOCKS_OF_THREE = {128 * 128: 1, 128 * 64: 2, 64 * 64: 3}
SMALL = ("float16", "bfloat16")


@dataclass(frozen=True)
class Rows:
    """An operand as the kernels read it.

    Args:
        argument: the array, or its workspace; ``before``: what makes that.
        channels: of a group, in whole chunks of 16 bytes.
        strides: of the outer axis, of groups, of d, h, w.
        reach: elements it spans.
    """

    argument: str
    before: tuple[Launch, ...]
    channels: int
    strides: tuple[int, ...]
    reach: int


def vector(problem: Any) -> int:
    """Elements in 16 bytes."""
    return 8 if problem.dtype in SMALL else 4


def fprop(given: Given, terms: int = 1) -> list[Launch]:
    """x and w, packed where they must be, and the product."""
    problem = given.problem
    n, c, *_ = given.shapes["x"]
    groups, k = problem.groups, given.shapes["w"][0]
    x = activations(given, "x", c)
    w = weights(given, x.channels)
    stride, low, dilation = numbers(problem)
    shape = Shape(
        n, k // groups, given.shapes["x"][2:], given.shapes["y"][2:], given.shapes["w"][2:],
        stride, tuple(-p for p in low), dilation, given.strides["y"], 0, w.strides[2:], 0,
    )  # fmt: skip
    launch = _product(given, ("conv_7_mma.cu", "conv_fprop_mma"), "y", x, w, shape, terms)
    return [*x.before, *w.before, launch]


def dgrad(given: Given, terms: int = 1) -> list[Launch]:
    """dy and w, packed, and a product for every phase of the stride that has positions."""
    y = activations(given, "y", given.shapes["y"][1])
    w = weights(given, y.channels, turned=True)
    made = [*y.before, *w.before]
    for shape in shapes_of_phases(given, w):
        made.append(_product(given, ("dgrad_7_mma.cu", "conv_dgrad_mma"), "x", y, w, shape, terms))
    return made


def shapes_of_phases(given: Given, w: Rows) -> Iterator[Shape]:
    """The products of dgrad over turned weights: one for every phase of the stride."""
    n, c, *sizes = given.shapes["x"]
    stride, low, dilation = numbers(given.problem)
    x_strides, taps = given.strides["x"], w.strides[2:]
    kernel = given.shapes["w"][2:]
    for axes in product(*(phases(*a) for a in zip(sizes, kernel, stride, low, dilation))):  # noqa: B905
        yield Shape(
            n, c // given.problem.groups, given.shapes["y"][2:],
            tuple(a.count for a in axes), tuple(a.taps for a in axes),
            (1, 1, 1), tuple(a.start for a in axes), tuple(-a.back for a in axes),
            (*x_strides[:2], *(s * m for s, m in zip(x_strides[2:], stride, strict=True))),
            sum(a.first * s for a, s in zip(axes, x_strides[2:], strict=True)),
            tuple(a.step * s for a, s in zip(axes, taps, strict=True)),
            sum(a.first_tap * s for a, s in zip(axes, taps, strict=True)),
        )  # fmt: skip


def fprop_three(given: Given) -> list[Launch]:
    """Floats as two TF32 numbers each, three products."""
    return fprop(given, 3)


def dgrad_three(given: Given) -> list[Launch]:
    """Floats as two TF32 numbers each, three products."""
    return dgrad(given, 3)


def numbers(problem: Any) -> tuple[Any, Any, Any]:
    """Stride, low padding, dilation, of three axes."""
    return problem.call("conv_fprop")[3][:3]


@dataclass(frozen=True)
class Phase:
    """One phase of dgrad along an axis: its positions ``first``, ``first + stride``, …, its taps
    ``first_tap``, ``first_tap + step``, …, and the position of dy where both begin.
    """

    first: int
    count: int
    first_tap: int
    taps: int
    start: int
    step: int
    back: int


def phases(size: int, kernel: int, stride: int, low: int, dilation: int) -> Iterator[Phase]:
    """The phases of an axis of dx that have positions.

    Example:
        >>> [(p.first, p.count, p.first_tap, p.taps, p.start) for p in phases(5, 3, 2, 1, 1)]
        [(1, 2, 0, 2, 1), (0, 3, 1, 1, 0)]
    """
    common = gcd(stride, dilation)
    step, back = stride // common, dilation // common
    for r in range(stride):
        first = (r - low) % stride
        count = blocks(max(size - first, 0), stride)
        fitting = [k for k in range(min(step, kernel)) if (k * dilation - r) % stride == 0]
        if not count:
            continue
        if fitting:
            start = (first + low - fitting[0] * dilation) // stride
            yield Phase(
                first, count, fitting[0], blocks(kernel - fitting[0], step), start, step, back
            )
        else:
            yield Phase(first, count, 0, 0, 0, step, back)


def activations(given: Given, name: str, channels: int) -> Rows:
    """x or dy with neighbouring channels: itself if it lies so, in whole chunks; else packed."""
    groups, each = given.problem.groups, vector(given.problem)
    shape, strides = given.shapes[name], given.strides[name]
    own = channels // groups
    if lies_in_chunks(given, name, 1) and own % each == 0:
        return Rows(name, (), own, (strides[0], own, *strides[2:]), given.reach(name) + 1)
    padded = blocks(own, each) * each
    sizes = (shape[0], 1, *shape[2:], groups, own, padded)
    source = (strides[0], 0, *strides[2:], own * strides[1], strides[1])
    return _packed(given, name, sizes, source)


def weights(given: Given, channels: int, turned: bool = False, dense: bool = False) -> Rows:
    """w in rows of one output channel, or, ``turned``, of one input channel.

    ``strides`` are of rows, (unused), and of taps; with ``dense`` taps lie behind one another in h
    and w.
    """
    k, c, *kernel = given.shapes["w"]
    w_k, w_c, *taps = given.strides["w"]
    groups = given.problem.groups
    if turned:
        own = k // groups
        sizes = (groups, c, *kernel, 1, own, channels)
        return _packed(given, "w", sizes, (own * w_k, w_c, *taps, 0, w_k))
    lie = zip(kernel[1:], taps[1:], (kernel[2] * c, c), strict=True)
    behind = all(n == 1 or stride == due for n, stride, due in lie)
    if c == channels and lies_in_chunks(given, "w", 1) and (behind or not dense):
        return Rows("w", (), c, (w_k, 0, *taps), given.reach("w") + 1)
    return _packed(given, "w", (k, 1, *kernel, 1, c, channels), (w_k, 0, *taps, 0, w_c))


def lies_in_chunks(given: Given, name: str, axis: int) -> bool:
    """Whether neighbours along ``axis`` are neighbours in memory, and rows of them aligned to 16
    bytes.
    """
    pairs = list(zip(given.shapes[name], given.strides[name], strict=True))
    others = [s for i, (n, s) in enumerate(pairs) if i != axis and n > 1]
    each = vector(given.problem)
    aligned = name not in given.unaligned and all(s > 0 and s % each == 0 for s in others)
    return aligned and pairs[axis][1] == 1


def _packed(given: Given, name: str, sizes: tuple[int, ...], source: tuple[int, ...]) -> Rows:
    """``sizes`` and ``source`` are those of pack_channels.cu's struct."""
    outer, p0, d, h, w, groups, _, padded = sizes
    width, positions = groups * padded, p0 * d * h * w
    row = d * h * w * width
    bytes_of = 4 if given.problem.dtype == "float32" else 2
    total = outer * positions * width
    workspace = f"{name}_rows:{total * bytes_of}"
    tiles = blocks(width, 32) * blocks(positions, 32)
    form = "<8i7q" if wide(given, total) else "<8i7i"
    launch = Launch(
        "pack_channels.cu", "pack_channels", offsets_of(given, total), (tiles * outer, 1, 1),
        (32, 8, 1), (workspace, name, struct.pack(form, *sizes, *source)),
    )  # fmt: skip
    return Rows(workspace, (launch,), padded, (row, padded, h * w * width, w * width, width), total)


def wide(given: Given, *reaches: int) -> bool:
    """Whether offsets need 64 bits, in the arrays or in packed ones of this many elements."""
    return given.wide or max(reaches) >= 2**31


def offsets_of(given: Given, *reaches: int) -> tuple[tuple[str, str], ...]:
    return types(given)[0], ("OFFSET", "int64" if wide(given, *reaches) else "int32")


@dataclass(frozen=True)
class Shape:
    """What a product computes, in the words of igemm.cuh."""

    n: int
    columns: int
    inputs: tuple[int, ...]
    positions: tuple[int, ...]
    taps: tuple[int, ...]
    step: Triple
    start: tuple[int, ...]
    hop: tuple[int, ...]
    y: tuple[int, ...]
    y_first: int
    w: tuple[int, ...]
    w_first: int


def gemm(given: Given, x: Rows, w: Rows, s: Shape) -> bytes:
    """The struct Gemm of igemm_result.cuh."""
    bias = given.strides.get("b", (0,))
    return struct.pack(
        "<22i17q" if wide(given, x.reach, w.reach) else "<22i17i",
        s.n, given.problem.groups, x.channels, s.columns, *s.inputs, *s.positions, *s.taps,
        *s.step, *s.start, *s.hop, *x.strides, w.strides[0], *s.w, s.w_first, *s.y, s.y_first,
        *bias,
    )  # fmt: skip


def _product(
    given: Given, kernel: tuple[str, str], result: str, x: Rows, w: Rows, s: Shape, terms: int
) -> Launch:
    groups = given.problem.groups
    rows = s.n * prod(s.positions)
    tile = choose(rows, s.columns, groups, given.multiprocessors)
    height, width, along, across = tile
    last = lies_in_chunks(given, result, 1) and s.columns % vector(given.problem) == 0
    limit = (BLOCKS if terms == 1 else BLOCKS_OF_THREE)[height * width]
    macros = {
        "BLOCK_M": height, "BLOCK_N": width, "WARPS_M": along, "WARPS_N": across,
        "STAGES": STAGES, "BLOCKS": limit, "Y_LAST": int(last), "TERMS": terms,
    }  # fmt: skip
    defined = (*offsets_of(given, x.reach, w.reach), *((m, str(v)) for m, v in macros.items()))
    grid = (blocks(rows, height) * blocks(s.columns, width) * groups, 1, 1)
    return Launch(
        *kernel, (*defined, *relu(given)), grid, (along * across * 32, 1, 1),
        (result, x.argument, w.argument, "b", gemm(given, x, w, s)),
        tile_bytes(tile, vector(given.problem), last),
    )  # fmt: skip


def choose(rows: int, columns: int, groups: int, multiprocessors: int) -> tuple[int, ...]:
    """The largest tile that is not mostly empty and still makes two blocks a multiprocessor.

    Example:
        >>> choose(802816, 64, 1, 132), choose(50176, 512, 1, 132), choose(49, 512, 1, 132)
        ((128, 64, 2, 2), (128, 128, 2, 4), (64, 64, 2, 2))
    """
    for tile in TILES:
        made = blocks(rows, tile[0]) * blocks(columns, tile[1]) * groups
        if made >= 2 * multiprocessors and (columns > tile[1] // 2 or tile[1] == 64):
            return tile
    return TILES[-1]


def tile_bytes(tile: tuple[int, ...], each: int, last: bool) -> int:
    """Dynamic shared memory of a block: the pipeline's stages or, later, the tile of y."""
    height, width, *_ = tile
    rows, columns = (height, width) if last else (width, height)
    return max(STAGES * (height + width) * ROW, rows * (columns + each) * 16 // each)


def supports_small(problem: Any) -> str | None:
    """In 16 bits."""
    if problem.dtype not in SMALL:
        return f"it multiplies numbers of 16 bits, not {problem.dtype}"
    return _shapes(problem)


def supports_single(problem: Any) -> str | None:
    """In TF32."""
    if problem.dtype != "float32":
        return f"it multiplies float32 as TF32, not {problem.dtype}"
    return _shapes(problem)


def supports_small_dgrad(problem: Any) -> str | None:
    """In 16 bits, and a phase of the stride a launch."""
    return supports_small(problem) or _phased(problem)


def supports_single_dgrad(problem: Any) -> str | None:
    """In TF32, and a phase of the stride a launch."""
    return supports_single(problem) or _phased(problem)


#: Terms of a sum from which three products stay inside the bound of direct sums: u for each term,
#: where they lose 12 u by splitting and about as much by the tensor core's truncated sums of 24.
FEWEST = 32


def supports_three_fprop(problem: Any) -> str | None:
    """As TF32, and where sums are long enough."""
    return supports_single(problem) or _long(_channels(problem)[0], "input channels of a group")


def supports_three_dgrad(problem: Any) -> str | None:
    """As TF32, and where sums are long enough."""
    return supports_single_dgrad(problem) or _long(
        _channels(problem)[1], "output channels of a group"
    )


def _long(terms: int, what: str) -> str | None:
    if terms >= FEWEST:
        return None
    return f"its error is that of direct sums from {FEWEST} {what} on, and this has {terms}"


def _channels(problem: Any) -> tuple[int, int]:
    """Input and output channels of a group, of the convolution that kernels see."""
    k, c, *_ = problem.call("conv_wgrad")[1][0]
    return c, k // problem.groups


def _phased(problem: Any) -> str | None:
    count = prod(problem.stride)
    return None if count <= 64 else f"it launches up to 64 phases, and this stride has {count}"


def _shapes(problem: Any) -> str | None:
    c, k = _channels(problem)
    if problem.groups > 1 and min(c, k) < 8:
        return f"a group has 8 channels or more on both sides, and this has {c} and {k}"
    for shape in (problem.x_shape, problem.y_shape):
        rows = prod(shape) // (shape[-problem.rank - 1] or 1)
        if rows >= 2**31:
            return f"rows of the product are counted in 31 bits, and this has {rows}"
    return None
