"""The plan functions of convolution: how each step of the ladder is launched."""

from __future__ import annotations

import struct
from math import gcd, prod

from ..problem import triple
from ._cuda_launch import Given, Launch, Triple, blocks, conv_launch, size_of_sums, whole_warps

#: conv_2_shared.cu: output channels of a block.
CHANNELS = 8


def fprop_direct(given: Given) -> list[Launch]:
    """One thread an output; a plane (n, oc) has whole blocks."""
    grid, block = _planes(given.shapes["y"])
    return [conv_launch(given, "conv_1_direct.cu", "conv_fprop_direct", "yxwb", grid, block)]


def fprop_shared(given: Given) -> list[Launch]:
    """A block for every tile of positions and ``CHANNELS`` output channels of a group."""
    n, k, _, oh, ow = given.shapes["y"]
    groups = given.problem.groups
    height, width = shared_tile(given.problem)
    tiles = blocks(oh, height) * blocks(ow, width)
    grid = (tiles * blocks(k // groups, CHANNELS) * groups * n, 1, 1)
    macros = {"TILE_H": height, "TILE_W": width, "CHANNELS": CHANNELS}
    return [
        conv_launch(
            given, "conv_2_shared.cu", "conv_fprop_shared", "yxwb", grid, (width, height, 1),
            shared_bytes(given.problem), **macros,
        )
    ]  # fmt: skip


def shared_tile(problem) -> tuple[int, int]:
    """Rows and columns of conv_2_shared.cu's outputs; one row where there is no other."""
    (y,) = problem.call("conv_fprop")[1]
    return (1, 128) if y[3] == 1 else (8, 32)


def shared_bytes(problem) -> int:
    """Dynamic shared memory of conv_2_shared.cu: the tile of x, and the weights of its taps."""
    _, kh, kw = triple(problem.kernel)
    _, sh, sw = triple(problem.stride)
    _, dh, dw = triple(problem.dilation)
    height, width = shared_tile(problem)
    rows, columns = (height - 1) * sh + (kh - 1) * dh + 1, (width - 1) * sw + (kw - 1) * dw + 1
    return (rows * columns + kh * kw * CHANNELS) * size_of_sums(problem)


def dgrad_direct(given: Given) -> list[Launch]:
    """One thread an element of dx; a plane (n, c) has whole blocks."""
    grid, block = _planes(given.shapes["x"])
    stride, dilation = triple(given.problem.stride), triple(given.problem.dilation)
    common = [gcd(s, d) for s, d in zip(stride, dilation, strict=True)]
    step = (s // c for s, c in zip(stride, common, strict=True))
    back = (d // c for d, c in zip(dilation, common, strict=True))
    arguments = (*"xywb", struct.pack("<6i", *step, *back))
    return [conv_launch(given, "dgrad_1_direct.cu", "conv_dgrad_direct", arguments, grid, block)]


def wgrad_direct(given: Given) -> list[Launch]:
    """One block a weight."""
    grid = (prod(given.shapes["w"]), 1, 1)
    return [
        conv_launch(given, "wgrad_1_direct.cu", "conv_wgrad_direct", "wyx", grid, (128, 1, 1))
    ]  # fmt: skip


def bgrad_direct(given: Given) -> list[Launch]:
    """One block a channel."""
    (k,) = given.shapes["b"]
    return [
        conv_launch(given, "bgrad_1_direct.cu", "conv_bgrad_direct", "by", (k, 1, 1), (256, 1, 1))
    ]  # fmt: skip


def _planes(shape: tuple[int, ...]) -> tuple[Triple, Triple]:
    """Grid and block for one thread an element, where no block holds two planes (n, c)."""
    positions = prod(shape[2:])
    threads = whole_warps(positions)
    return (prod(shape[:2]) * blocks(positions, threads), 1, 1), (threads, 1, 1)
