"""The plan functions of depthwise convolution: how its steps are launched."""

from __future__ import annotations

from math import prod
from typing import Any

from ..problem import triple
from ._cuda_launch import Given, Launch, blocks, conv_launch, size_of_sums
from ._cuda_supports import direct
from ._cuda_tiles import COLUMNS, MOST, Parts, Planes, cut_channels, cut_planes, window_parts

#: Taps that are written out, at most.
TAPS = 49
#: Elements that a thread's part spans, at most: what registers hold.
SPAN = 24


def fprop(problem: Any) -> str | None:
    """One input channel a group; the window is small, and written out."""
    return _reason(problem, "conv_fprop")


def dgrad(problem: Any) -> str | None:
    """As ``fprop``, with strides whose phase is the same for all threads."""
    reason = _reason(problem, "conv_dgrad")
    if reason is None and not {*_pairs(problem)[1]} <= {1, 2, 4}:
        reason = f"its strides are 1, 2 or 4, and here {_pairs(problem)[1]}"
    return reason


def wgrad(problem: Any) -> str | None:
    """As ``fprop``."""
    return _reason(problem, "conv_wgrad")


def _reason(problem: Any, slot: str) -> str | None:
    if (reason := direct(problem)) is not None:
        return reason
    x, w, _ = problem.call("conv_fprop")[0]
    if w[1] != 1:
        return f"it has one input channel a group, and this has {w[1]}"
    if problem.rank == 3:
        return "it is 1-D and 2-D, and this is 3-D"
    kernel, stride, _ = _pairs(problem)
    if prod(kernel) > TAPS:
        return f"it writes out at most {TAPS} taps, and this has {prod(kernel)}"
    parts = _parts(problem, slot)
    rows = stride[0] if slot == "conv_dgrad" else 1
    if parts is not None and max(parts(max(4, rows))[1::2]) > SPAN:
        spans = parts(max(4, rows))[1::2]
        return f"a thread's part spans at most {SPAN} elements, and here {max(spans)}"
    if parts is not None and 0 not in (*x, *problem.y_shape):
        needed = _cut(problem, slot).bytes
        if needed > MOST:
            return f"its tile fits {MOST >> 10} KiB of shared memory, and this takes {needed} bytes"
    return None


def _pairs(problem: Any) -> list[tuple[int, int]]:
    """Kernel, stride and dilation as (H, W)."""
    numbers = problem.kernel, problem.stride, problem.dilation
    return [(n[1], n[2]) for n in map(triple, numbers)]


def _phase(problem: Any) -> tuple[int, int]:
    """Where a thread's elements of dx lie between two multiples of the stride."""
    padding, stride = problem.call("conv_fprop")[3][1], _pairs(problem)[1]
    return padding[1] % stride[0], padding[2] % stride[1]


def _parts(problem: Any, slot: str) -> Parts | None:
    """The parts of slide.cuh, or for dgrad of unslide.cuh; None for strides that this has not."""
    kernel, stride, dilation = _pairs(problem)
    if slot != "conv_dgrad":
        return window_parts(kernel, stride, dilation)
    if not {*stride} <= {1, 2, 4}:
        return None
    phase = _phase(problem)

    def part(outputs: int, axis: int) -> tuple[int, int]:
        reach = (kernel[axis] - 1) * dilation[axis] - phase[axis]
        before = blocks(max(0, reach), stride[axis])
        return outputs // stride[axis], (outputs - 1 + phase[axis]) // stride[axis] + before + 1

    return lambda rows: (*part(rows, 0), *part(COLUMNS, 1))


def _cut(problem: Any, slot: str, multiprocessors: int = 132) -> Planes:
    """Blocks for the side that is computed; of wgrad, for images of one channel."""
    (x, *_), (y,), _, _ = problem.call("conv_fprop")
    out = x if slot == "conv_dgrad" else y
    planes, height, width = out[0] * out[1], out[3], out[4]
    least = _pairs(problem)[1][0] if slot == "conv_dgrad" else 1
    parts = _parts(problem, slot)
    assert parts is not None  # as supports has seen
    images = out[0] if slot == "conv_wgrad" else planes
    sums = size_of_sums(problem)
    return cut_planes(planes, height, width, parts, sums, multiprocessors, least, images)


def _macros(problem: Any, slot: str) -> dict[str, int]:
    """The macros of slide.cuh or unslide.cuh."""
    names = ["TAPS_H", "TAPS_W", "STRIDE_H", "STRIDE_W", "DILATION_H", "DILATION_W"]
    numbers = [n for pair in _pairs(problem) for n in pair]
    if slot == "conv_dgrad":
        names += ["PHASE_H", "PHASE_W"]
        numbers += _phase(problem)
    return dict(zip(names, numbers, strict=True))


def _last(given: Given, *names: str) -> bool:
    """Whether channels are fastest in these arrays, and each has one of its own on either side."""
    fast = all(given.strides[n][1] == 1 and given.shapes[n][1] > 1 for n in names)
    return fast and given.shapes[names[0]][1] == given.shapes[names[1]][1]


def _launch(given: Given, source: str, kernel: str, out: str) -> list[Launch]:
    problem, slot = given.problem, given.slot
    n, c, _, h, w = given.shapes[out]
    arguments = "yxwb" if out == "y" else "xywb"
    macros = _macros(problem, slot)
    if _last(given, "x", "y"):
        rows = _pairs(problem)[1][0] if slot == "conv_dgrad" else 1
        last = cut_channels(c, rows, size_of_sums(problem))
        grid, block = (last.grid(n, c, h, w), 1, 1), (last.threads_c * last.parts, 1, 1)
        source, kernel = f"{source}_last.cu", f"{kernel}_last"
        return [conv_launch(given, source, kernel, arguments, grid, block, **last.macros, **macros)]
    cut = _cut(problem, slot, given.multiprocessors)
    grid, block = (cut.grid(n * c, h, w), 1, 1), (cut.threads, 1, 1)
    macros = cut.macros | macros
    source += ".cu"
    return [conv_launch(given, source, kernel, arguments, grid, block, cut.bytes, **macros)]


def fprop_depthwise(given: Given) -> list[Launch]:
    """A block for every tile of a few planes; in channels_last, a thread for every vector."""
    return _launch(given, "conv_5_depthwise", "conv_fprop_depthwise", "y")


def dgrad_depthwise(given: Given) -> list[Launch]:
    """As ``fprop_depthwise``, over dx."""
    return _launch(given, "dgrad_5_depthwise", "conv_dgrad_depthwise", "x")


def wgrad_depthwise(given: Given) -> list[Launch]:
    """Blocks that each take a share of a channel's planes, then the sum of what they found."""
    n, k, _, oh, ow = given.shapes["y"]
    macros, sums = _macros(given.problem, given.slot), size_of_sums(given.problem)
    source, kernel = "wgrad_5_depthwise", "conv_wgrad_depthwise"
    wanted, shared = 8 * given.multiprocessors, 0
    if _last(given, "x", "y"):
        last = cut_channels(k, 1, sums)
        each = blocks(k, last.threads_c * last.vector) * macros["TAPS_H"]  # blocks of a share
        parts = blocks(n * oh * blocks(ow, COLUMNS), last.parts)
        source, kernel, macros = f"{source}_last", f"{kernel}_last", last.macros | macros
        threads = last.threads_c * last.parts
    else:
        cut = _cut(given.problem, given.slot, given.multiprocessors)
        each, parts, threads, shared = k, cut.grid(n, oh, ow), cut.threads, cut.bytes
        macros = cut.macros | macros
    splits = max(1, min(parts, blocks(wanted, each)))
    taps = prod(given.shapes["w"])
    partial = f"partial:{splits * taps * sums}"
    counts = (splits,) if source.endswith("last") else (splits, parts)
    return [
        conv_launch(
            given, f"{source}.cu", kernel, (partial, "y", "x", *counts), (each * splits, 1, 1),
            (threads, 1, 1), shared, **macros,
        ),
        conv_launch(
            given, f"{source}.cu", f"{kernel}_sum", ("w", partial, splits),
            (blocks(taps, 256), 1, 1), (256, 1, 1), **macros,
        ),
    ]  # fmt: skip
