"""The plan functions of implicit GEMM: conv_3_igemm.cu and what shares gemm_tile.cuh with it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ._cuda_launch import Given, Launch, blocks, conv_launch

#: gemm_tile.cuh: steps of a turn, and sums of a thread along m.
DEPTH, SUMS_M = 8, 8


def fprop_igemm(given: Given) -> list[Launch]:
    """A block for every tile of pixels and output channels of a group."""
    n, k, *out = given.shapes["y"]
    groups = given.problem.groups
    c, kernel = given.shapes["w"][1], given.shapes["w"][2:]
    m, tile_n = tile(given, n * prod(out), k // groups, groups)
    x_last = last(given, "x")
    order = (*kernel, c) if x_last else (c, *kernel)  # of the depth
    strides = given.strides["w"]
    strides_in_order = (*strides[2:], strides[1]) if x_last else strides[1:]
    quads_x = x_last and c % 4 == 0 and in_quads(given, "x", 1)
    w_dense = prod(order) % 4 == 0 and dense(order, strides_in_order)
    quads_w = w_dense and in_quads(given, "w", 1, 2, 3, 4)
    grid = (blocks(n * prod(out), m) * groups * blocks(k // groups, tile_n), 1, 1)
    return [
        conv_launch(
            given, "conv_3_igemm.cu", "conv_fprop_igemm", (*"yxwb", int(quads_x), int(quads_w)),
            grid, (threads(m, tile_n), 1, 1), TILE_M=m, TILE_N=tile_n, X_LAST=int(x_last),
            Y_LAST=int(last(given, "y")), RELU=int(given.relu),
        )
    ]  # fmt: skip


def tile(given: Given, rows: int, columns: int, groups: int) -> tuple[int, int]:
    """TILE_M and TILE_N for a product of so many rows and columns, once a group: the largest tile
    of which there are two for every multiprocessor. Sums of float64 and offsets of 64 bits leave
    the largest ones too few registers.
    """
    if columns <= 32:
        return 128, 32
    for m, n in ((128, 128), (128, 64)):
        there = blocks(rows, m) * blocks(columns, n) * groups
        fits = given.problem.dtype != "float64" and not (given.wide and n == 128)
        if fits and columns > n // 2 and there >= 2 * given.multiprocessors:
            return m, n
    return 64, 64


def threads(m: int, n: int) -> int:
    """Threads of a block: each has 8 x 8 sums, in small tiles 8 x 4."""
    return m // SUMS_M * (n // (8 if m == 128 and n >= 64 else 4))


def last(given: Given, name: str) -> bool:
    """Whether the array's channel is its dense axis, as in channels_last."""
    return given.shapes[name][1] > 1 and given.strides[name][1] == 1


def dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether an array's elements are neighbours in the order of their indices.

    Example:
        >>> dense((2, 1, 3), (3, 7, 1)), dense((2, 3), (1, 2))
        (True, False)
    """
    pairs = [(n, s) for n, s in zip(shape, strides, strict=True) if n > 1]
    return all(s == prod(n for n, _ in pairs[i + 1 :]) for i, (_, s) in enumerate(pairs))


def in_quads(given: Given, name: str, *but: int) -> bool:
    """Whether quads of the array are aligned: where it begins, and along axes except ``but``."""
    axes = [i for i, n in enumerate(given.shapes[name]) if n > 1 and i not in but]
    return name not in given.unaligned and all(given.strides[name][i] % 4 == 0 for i in axes)
