"""The plan functions of Winograd's algorithm: conv_6_winograd.cu."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any

from . import _cuda_supports as able
from ._cuda_launch import Argument, Given, Launch, blocks, size_of_sums, types

#: Of conv_6_winograd.cu: rows, columns and depth of a block's product; threads.
ROWS, COLUMNS, DEPTH, THREADS = 64, 128, 8, 128
#: Bytes that the transformed tiles and their products may fill, but for a single image.
WORKSPACE = 256 << 20


@dataclass(frozen=True)
class Sides:
    """Source and result of a pass, as one convolution with stride 1 has them.

    Args:
        weights: the strides w_k, w_c, w_h, w_w: result's channel, source's channel, taps; and
            before them where the first tap lies.
    """

    source: str
    result: str
    padding: tuple[int, int]
    weights: tuple[int, int, int, int, int]


def fprop_f2(given: Given) -> list[Launch]:
    """4 outputs a tile."""
    return _launches(given, _fprop(given), 2)


def fprop_f4(given: Given) -> list[Launch]:
    """16 outputs a tile."""
    return _launches(given, _fprop(given), 4)


def dgrad_f2(given: Given) -> list[Launch]:
    """4 elements a tile."""
    return _launches(given, _dgrad(given), 2)


def dgrad_f4(given: Given) -> list[Launch]:
    """16 elements a tile."""
    return _launches(given, _dgrad(given), 4)


def supports(problem: Any) -> str | None:
    """What the algorithm is made for: 2-D, 3x3, stride and dilation 1, no groups."""
    reason = able.direct(problem)
    if reason is not None:
        return reason
    if problem.rank != 2:
        return f"it is 2-D, and this is {problem.rank}-D"
    if problem.kernel != (3, 3):
        return f"its kernel is 3x3, and this is {'x'.join(map(str, problem.kernel))}"
    if problem.stride != (1, 1) or problem.dilation != (1, 1):
        return "its stride and dilation are 1"
    if problem.groups != 1:
        return f"it has no groups, and this has {problem.groups}"
    work = max(prod(s[-3:]) for s in (problem.x_shape, problem.y_shape))
    return None if work < 2**31 else f"an image has less than 2^31 elements, and this has {work}"


def _fprop(given: Given) -> Sides:
    low_h, low_w = (low for low, _ in given.problem.padding)
    k, c, _, h, w = given.strides["w"]
    return Sides("x", "y", (low_h, low_w), (0, k, c, h, w))


def _dgrad(given: Given) -> Sides:
    """A convolution of dy with the kernel turned round."""
    low_h, low_w = (low for low, _ in given.problem.padding)
    k, c, _, h, w = given.strides["w"]
    return Sides("y", "x", (2 - low_h, 2 - low_w), (2 * h + 2 * w, c, k, -h, -w))


def _launches(given: Given, sides: Sides, out: int) -> list[Launch]:
    """Filters once; then, for as many images at a time as the workspaces hold, tiles, products and
    outputs.
    """
    (n, c, _, *source), (_, k, _, *result) = given.shapes[sides.source], given.shapes[sides.result]
    if 0 in (n, *result):
        return []
    points, size = (out + 2) ** 2, size_of_sums(given.problem)
    rows, columns = (blocks(s, out) for s in result)
    c_pitch, k_pitch = blocks(c, DEPTH) * DEPTH, blocks(k, ROWS) * ROWS
    image = rows * columns * (c_pitch + k_pitch) * points * size
    images = max(1, min(n, WORKSPACE // image))
    pitch = blocks(images * rows * columns, COLUMNS) * COLUMNS
    u = f"filters:{points * c_pitch * k_pitch * size}"
    v, m = f"tiles:{points * c_pitch * pitch * size}", f"products:{points * k_pitch * pitch * size}"
    strides = [
        s for name in (sides.source, sides.result) for s in _four(given.strides[name])
    ] + [*sides.weights, *given.strides.get("b", (0,))]  # fmt: skip
    macros = (*types(given), ("OUT", str(out)), ("BLOCKS", "4" if size == 4 else "2"))

    def launch(kernel: str, threads: int, arguments: tuple[str, ...], first: int) -> Launch:
        numbers = (
            min(images, n - first), c, k, *source, *result, *sides.padding, rows, columns, first,
            c_pitch, k_pitch, pitch,
        )  # fmt: skip
        form = "<15i4x14q" if given.wide else "<15i14i"
        every: tuple[Argument, ...] = (*arguments, struct.pack(form, *numbers, *strides))
        grid, block = (blocks(threads, THREADS), 1, 1), (THREADS, 1, 1)
        return Launch("conv_6_winograd.cu", kernel, macros, grid, block, every)

    made = [launch("winograd_filters", c_pitch * k_pitch, (u, "w"), 0)]
    product = points * prod((pitch // COLUMNS, k_pitch // ROWS)) * THREADS
    for first in range(0, n, images):
        made += [
            launch("winograd_input", c_pitch * pitch, (v, sides.source), first),
            launch("winograd_product", product, (m, u, v), first),
            launch("winograd_output", k * pitch, (sides.result, m, sides.source, "w", "b"), first),
        ]
    return made


def _four(strides: Any) -> tuple[int, int, int, int]:
    """Without that of the axis D, which has one element."""
    n, c, _, h, w = strides
    return n, c, h, w
