"""The plan functions of pooling: how each step of the ladder is launched."""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from ..problem import triple
from ._cuda_launch import Argument, Given, Launch, Triple, blocks, types
from ._cuda_supports import real

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
