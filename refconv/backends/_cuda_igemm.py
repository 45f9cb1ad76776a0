"""The plan functions of implicit GEMM: conv_3_igemm.cu and what shares gemm_tile.cuh with it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from math import gcd, prod
from typing import Any

from ..problem import triple
from . import _cuda_supports as able
from ._cuda_launch import Argument, Given, Launch, blocks, conv_launch, size_of_sums

#: gemm_tile.cuh: steps of a turn, and sums of a thread along m.
DEPTH, SUMS_M = 8, 8
#: Fewer positions than this are not worth a part of the split of wgrad's depth.
LEAST = 256
#: The argument of a kernel that is a null pointer.
NULL = bytes(8)


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
            Y_LAST=int(last(given, "y")),
        )
    ]  # fmt: skip


def dgrad_igemm(given: Given) -> list[Launch]:
    """A block for every phase of the stride, and tile of its elements and input channels."""
    n, c, *size = given.shapes["x"]
    k, groups = given.shapes["w"][0], given.problem.groups
    stride, dilation = triple(given.problem.stride), triple(given.problem.dilation)
    common = [gcd(s, d) for s, d in zip(stride, dilation, strict=True)]
    step = (s // c for s, c in zip(stride, common, strict=True))
    back = (d // c for d, c in zip(dilation, common, strict=True))
    rows = n * prod(blocks(i, s) for i, s in zip(size, stride, strict=True))  # of no phase more
    m, tile_n = tile(given, rows, c // groups, groups * prod(stride))
    y_last = last(given, "y")
    quads_y = y_last and k // groups % 4 == 0 and in_quads(given, "y", 1)
    tiles = blocks(rows, m) * groups * blocks(c // groups, tile_n)
    arguments = (*"xywb", int(quads_y), struct.pack("<6i", *step, *back))
    return [
        conv_launch(
            given, "dgrad_3_igemm.cu", "conv_dgrad_igemm", arguments,
            (tiles * prod(stride), 1, 1), (threads(m, tile_n), 1, 1), TILE_M=m, TILE_N=tile_n,
            X_LAST=int(last(given, "x")), Y_LAST=int(y_last), W_LAST=int(last(given, "w")),
        )
    ]  # fmt: skip


def wgrad_igemm(given: Given) -> list[Launch]:
    """A block for every tile of weights and part of the positions; then the sum of the parts."""
    n, k, *out = given.shapes["y"]
    groups, rows = given.problem.groups, prod(given.shapes["w"][1:])
    m, tile_n = tile(replace(given, multiprocessors=0), rows, k // groups, groups)
    tiles = blocks(rows, m) * blocks(k // groups, tile_n) * groups
    parts, steps = split(n * prod(out), tiles, resident(given, m, tile_n) * given.multiprocessors)
    y_last = last(given, "y")
    in_order = not y_last and dense(out, given.strides["y"][2:]) and prod(out) % 4 == 0
    quads_y = in_order and in_quads(given, "y", 2, 3, 4)
    sums = parts * k * rows * size_of_sums(given.problem)
    partial: Argument = f"partial:{sums}" if parts > 1 else NULL
    macros = {
        "TILE_M": m, "TILE_N": tile_n, "X_LAST": int(last(given, "x")), "Y_LAST": int(y_last),
    }  # fmt: skip
    product = conv_launch(
        given, "wgrad_3_igemm.cu", "conv_wgrad_igemm", ("w", partial, *"yx", steps, int(quads_y)),
        (tiles * parts, 1, 1), (threads(m, tile_n), 1, 1), **macros,
    )  # fmt: skip
    added = conv_launch(
        given, "wgrad_3_igemm.cu", "conv_wgrad_igemm_sum", ("w", partial, parts),
        (blocks(k * rows, 256), 1, 1), (256, 1, 1), **macros,
    )  # fmt: skip
    return [product, added] if parts > 1 else [product]


def resident(given: Given, m: int, n: int) -> int:
    """BLOCKS of gemm_tile.cuh: how many a multiprocessor has at once."""
    if threads(m, n) == 256 or given.problem.dtype == "float64":
        return 2
    return 3 if given.wide else 4


def split(positions: int, tiles: int, places: int) -> tuple[int, int]:
    """Into how many parts the positions are cut, and how many a part has: a block for each of the
    GPU's places, where that leaves it ``LEAST`` positions.

    Example:
        >>> split(802816, 5, 528), split(49, 5, 528), split(0, 1, 528)
        ((105, 7648), (1, 56), (1, 8))
    """
    parts = max(1, min(places // tiles, positions // LEAST))
    steps = max(1, blocks(blocks(positions, parts), DEPTH)) * DEPTH
    return max(1, blocks(positions, steps)), steps


def wgrad(problem: Any) -> str | None:
    """What ``wgrad_igemm`` cannot run: positions of all images are counted in 31 bits."""
    reason = able.direct(problem)
    (n, _, *out), _ = problem.call("conv_wgrad")[0]
    if reason is None and n * prod(out) >= 2**31 - 64:
        reason = f"it counts less than 2^31 positions of a batch, and this has {n * prod(out)}"
    return reason


def tile(given: Given, rows: int, columns: int, groups: int) -> tuple[int, int]:
    """TILE_M and TILE_N for a product of so many rows and columns, once a group: the largest tile
    of which there are two for every multiprocessor. Sums of float64 and offsets of 64 bits leave
    the largest ones too few registers; in dgrad so do a dy in NCHW and, for all but the smallest,
    16 bits.
    """
    if columns <= 32:
        return 128, 32
    back, dtype = given.slot == "conv_dgrad", given.problem.dtype
    small = dtype == "float64" or (back and dtype != "float32")
    narrow = given.wide or (back and not last(given, "y"))
    for m, n in ((128, 128), (128, 64)):
        there = blocks(rows, m) * blocks(columns, n) * groups
        fits = not small and not (narrow and n == 128)
        if fits and rows > m // 2 and columns > n // 2 and there >= 2 * given.multiprocessors:
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
