"""The plan functions of pooling: how each step of the ladder is launched."""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from ..problem import triple
from ._cuda_launch import Argument, Given, Launch, Triple, blocks, size_of_sums, types
from ._cuda_supports import real
from ._cuda_tiles import MOST, Planes, cut_channels, cut_planes, window_parts

#: Threads of a block where one thread computes one element.
THREADS = 256
#: Of the other side, in averaging's gradient: x is there, y is given.
NONE = (0,) * 5


def windows(problem: Any) -> str | None:
    """Real numbers, as torch has it on a GPU; positions of a plane are counted in 31 bits."""
    reason = real(problem)
    for size in (problem.in_size, problem.out_size):
        if reason is None and prod(size) >= 2**31:
            reason = f"a plane has less than 2^31 positions, and this has {prod(size)}"
    return reason


def pool_geometry(given: Given) -> bytes:
    """The struct PoolGeometry of pool.cuh."""
    problem = given.problem
    lead = (1,) * (2 - len(problem.lead)) + problem.lead
    one = (1,) * problem.rank  # of an adaptive pool, whose windows come from the sizes
    axes = zip(
        triple(problem.in_size), triple(problem.out_size), triple(problem.kernel or one),
        triple(problem.stride or one), triple(problem.padding or (0,) * problem.rank, 0),
        triple(problem.dilation or one), strict=True,
    )  # fmt: skip
    strides = [s for name in "xy" for s in given.strides.get(name, NONE)]
    form = "<22iq10q" if given.wide else "<22iq10i"
    flags = problem.adaptive, problem.count_include_pad
    numbers = (n for axis in axes for n in axis)
    return struct.pack(form, *lead, *flags, *numbers, problem.divisor or 0, *strides)


def channels_last(given: Given, name: str) -> bool:
    """Whether the channel is the fastest axis of an array."""
    return given.shapes[name][1] > 1 and given.strides[name][1] == 1


def each(given: Given, name: str) -> tuple[Triple, Triple, tuple[tuple[str, str], ...]]:
    """Grid, block and macros of one thread for each element of the array ``name``, in the order in
    which it lies in memory.
    """
    grid = (blocks(prod(given.shapes[name]), THREADS), 1, 1)
    last = str(int(channels_last(given, name)))
    return grid, (THREADS, 1, 1), (*types(given), ("CHANNELS_LAST", last))


def _windows(given: Given, kernel: str, names: tuple[str, ...]) -> list[Launch]:
    grid, block, macros = each(given, names[0])
    arguments: tuple[Argument, ...] = (*names, pool_geometry(given))
    return [Launch("pool_1_windows.cu", kernel, macros, grid, block, arguments)]


def max_pool_windows(given: Given) -> list[Launch]:
    """One thread an output."""
    return _windows(given, "max_pool_windows", ("y", "index", "x"))


def max_pool_values_windows(given: Given) -> list[Launch]:
    """One thread an output."""
    return _windows(given, "max_pool_values_windows", ("y", "x"))


def avg_pool_windows(given: Given) -> list[Launch]:
    """One thread an output."""
    return _windows(given, "avg_pool_windows", ("y", "x"))


def avg_pool_backward_windows(given: Given) -> list[Launch]:
    """One thread an element of dx."""
    return _windows(given, "avg_pool_backward_windows", ("x", "y"))


def vector(problem: Any) -> str | None:
    """Windows in 1-D and 2-D whose numbers are known to the compiler, and small."""
    reason = windows(problem)
    if reason is None and (problem.rank == 3 or problem.adaptive):
        reason = "it is for windows of a given size in 1-D and 2-D"
    if reason is None and (reason := too_large(problem)) is None and prod(problem.output_shape):
        needed = _cut(problem).bytes
        if needed > MOST:
            reason = (
                f"its tile fits {MOST >> 10} KiB of shared memory, and this takes {needed} bytes"
            )
    return reason


def too_large(problem: Any) -> str | None:
    """Whether the window is one that a thread holds: its taps are all written out."""
    (kh, kw), _, _ = slides(problem)
    if kh * kw > 64:
        return f"it writes out at most 64 taps, and a window here has {kh * kw}"
    _, high, _, wide = window_parts(*slides(problem))(4)
    if max(high, wide) > 32:
        return f"a thread's rows span at most 32 elements, and here {max(high, wide)}"
    return None


def slides(problem: Any) -> list[tuple[int, int]]:
    """Kernel, stride and dilation as (H, W)."""
    numbers = problem.kernel, problem.stride, problem.dilation
    return [(n[-2] if problem.rank == 2 else 1, n[-1]) for n in numbers]


def slide_macros(problem: Any) -> dict[str, int]:
    """The macros of slide.cuh."""
    names = ("TAPS_H", "TAPS_W", "STRIDE_H", "STRIDE_W", "DILATION_H", "DILATION_W")
    return dict(zip(names, (n for pair in slides(problem) for n in pair), strict=True))


def _cut(problem: Any, multiprocessors: int = 132) -> Planes:
    (n, c, _, oh, ow) = problem.call(problem.forward_slot)[1][0]
    parts = window_parts(*slides(problem))
    return cut_planes(n * c, oh, ow, parts, size_of_sums(problem), multiprocessors)


def _vector(given: Given, kernel: str, names: tuple[str, ...], rows: int) -> list[Launch]:
    problem = given.problem
    n, c, _, oh, ow = given.shapes["y"]
    arguments: tuple[Argument, ...] = (*names, pool_geometry(given))
    if channels_last(given, "y"):
        size = size_of_sums(problem)
        last = cut_channels(c, rows, size)
        macros = _macros(given, last.macros | slide_macros(problem))
        grid, block = (last.grid(n, c, oh, ow), 1, 1), (last.threads_c * last.parts, 1, 1)
        file = "pool_2_vector_last.cu"
        return [Launch(file, f"{kernel}_last", macros, grid, block, arguments)]
    cut = _cut(problem, given.multiprocessors)
    macros = _macros(given, cut.macros | slide_macros(problem))
    grid, block = (cut.grid(n * c, oh, ow), 1, 1), (cut.threads, 1, 1)
    return [Launch("pool_2_vector.cu", kernel, macros, grid, block, arguments, cut.bytes)]


def _macros(given: Given, numbers: dict[str, int]) -> tuple[tuple[str, str], ...]:
    return (*types(given), *((name, str(value)) for name, value in numbers.items()))


def max_pool_vector(given: Given) -> list[Launch]:
    """A block for every tile of a few planes; in channels_last, a thread for every vector."""
    return _vector(given, "max_pool_vector", ("y", "index", "x"), rows=1)


def max_pool_values_vector(given: Given) -> list[Launch]:
    """As ``max_pool_vector``."""
    return _vector(given, "max_pool_values_vector", ("y", "x"), rows=1)


def avg_pool_vector(given: Given) -> list[Launch]:
    """As ``max_pool_vector``."""
    return _vector(given, "avg_pool_vector", ("y", "x"), rows=1)
