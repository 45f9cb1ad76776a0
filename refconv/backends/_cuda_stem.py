"""The plan function of conv_4_stem.cu, for few input channels."""

from __future__ import annotations

from math import prod
from typing import Any

from ..problem import triple
from . import _cuda_supports as able
from ._cuda_igemm import last
from ._cuda_launch import Given, Launch, blocks, conv_launch, size_of_sums

#: conv_4_stem.cu: a lane's rows and output channels, and the lanes of a row.
SUMS_H, SUMS_K, TILE_W = 4, 16, 32
#: WARPS_H and WARPS_K, best first: how warps share the rows and the channels.
WARPS = ((4, 2), (2, 2), (1, 2), (1, 1))
#: Bytes of shared memory of a block: what it has if it can, and what it has at most.
USUAL, MOST = 64 << 10, 99 << 10
#: Input channels of a group.
CHANNELS = 4


def fprop_stem(given: Given) -> list[Launch]:
    """A block for every tile of outputs; more of them, where those are few, by output channels."""
    n, k, _, oh, ow = given.shapes["y"]
    problem = given.problem
    h, wide = warps(problem)
    groups, at_once = problem.groups, wide * SUMS_K
    tiles = blocks(oh, h * SUMS_H) * blocks(ow, TILE_W) * groups * n
    chunks = blocks(k // groups, at_once)
    parts = max(1, min(chunks, blocks(2 * given.multiprocessors, max(1, tiles))))
    chunks = blocks(chunks, parts)
    y_last, vector = last(given, "y"), 4 if problem.dtype == "float32" else 8
    others = [s for i, s in enumerate(given.strides["y"]) if i != 1 and given.shapes["y"][i] > 1]
    vectors = y_last and k // groups % vector == 0 and all(s % vector == 0 for s in others)
    vectors = vectors and "y" not in given.unaligned
    return [
        conv_launch(
            given, "conv_4_stem.cu", "conv_fprop_stem", (*"yxwb", chunks, int(vectors)),
            (tiles * blocks(k // groups, chunks * at_once), 1, 1), (32 * h * wide, 1, 1),
            stem_bytes(problem, h, wide), WARPS_H=h, WARPS_K=wide, Y_LAST=int(y_last),
        )
    ]  # fmt: skip


def warps(problem: Any) -> tuple[int, int]:
    """WARPS_H and WARPS_K: the first with no more than usual, or the smallest."""
    return next((w for w in WARPS if stem_bytes(problem, *w) <= USUAL), WARPS[-1])


def stem_bytes(problem: Any, h: int, wide: int) -> int:
    """Dynamic shared memory: a tile of x, by phases of the stride, and the weights of its taps."""
    c = problem.call("conv_fprop")[0][1][1]
    _, kh, kw = triple(problem.kernel)
    _, sh, sw = triple(problem.stride)
    _, dh, dw = triple(problem.dilation)
    rows = (h * SUMS_H - 1) * sh + (kh - 1) * dh + 1
    columns = blocks((TILE_W - 1) * sw + (kw - 1) * dw + 1, sw) * sw
    weights = prod((c, kh, kw, wide * SUMS_K + 4))
    return (c * rows * columns + weights) * size_of_sums(problem)


def stem(problem: Any) -> str | None:
    """Few input channels, enough output channels, and a tile that fits."""
    reason = able.direct(problem)
    if reason is not None:
        return reason
    k, c = problem.call("conv_fprop")[0][1][:2]
    if problem.dtype == "float64":
        return "its 64 sums of float64 do not fit a thread's registers"
    if problem.rank == 3:
        return "it is 1-D and 2-D, and this is 3-D"
    if c > CHANNELS:
        return f"it has at most {CHANNELS} input channels a group, and this has {c}"
    if k // problem.groups < SUMS_K // 2:
        return (
            f"a thread has {SUMS_K} output channels of a group, so fewer than {SUMS_K // 2} would "
            f"waste most of it, and this has {k // problem.groups}"
        )
    if (needed := stem_bytes(problem, *warps(problem))) > MOST:
        return f"its tile fits {MOST >> 10} KiB of shared memory, and this takes {needed} bytes"
    return None
