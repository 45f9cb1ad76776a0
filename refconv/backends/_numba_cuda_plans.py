"""The plan functions of the CUDA kernels in Python: how each step is launched."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

from ..problem import triple
from ._cuda_conv import CHANNELS, shared_bytes, shared_tile
from ._cuda_launch import Given, Triple, blocks, whole_warps
from ._cuda_pool import channels_last

WGRAD_THREADS, BGRAD_THREADS = 128, 256
POOL_THREADS = 256


@dataclass(frozen=True)
class View:
    """One of the call's arrays as a kernel sees it; ``strides`` in elements."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel, which ``source`` makes.

    Args:
        source: ``module:function`` in kernels/numba_cuda.
        macros: the function's arguments: element type, threads, tile sizes.
        shared: bytes of dynamic shared memory.
        arguments: in the kernel's order: arrays, triples, numbers.
    """

    source: str
    macros: tuple[str | int, ...]
    grid: Triple
    block: Triple
    arguments: tuple[View | tuple[int, ...] | int, ...]
    shared: int = 0


def fprop_direct(given: Given) -> list[Launch]:
    """One thread an output; a plane (n, oc) has whole blocks."""
    source = "conv_1_direct:conv_fprop_direct"
    return [_conv(given, source, "yxwb", *_planes(given.shapes["y"]))]


def fprop_shared(given: Given) -> list[Launch]:
    """A block for every tile of positions and ``CHANNELS`` output channels of a group."""
    n, k, _, oh, ow = given.shapes["y"]
    groups = given.problem.groups
    height, width = shared_tile(given.problem)
    tiles = blocks(oh, height) * blocks(ow, width)
    grid = (tiles * blocks(k // groups, CHANNELS) * groups * n, 1, 1)
    return [
        _conv(
            given, "conv_2_shared:conv_fprop_shared", "yxwb", grid, (width, height, 1),
            (height, width, CHANNELS), shared_bytes(given.problem),
        )
    ]  # fmt: skip


def dgrad_direct(given: Given) -> list[Launch]:
    """One thread an element of dx; a plane (n, c) has whole blocks."""
    stride, dilation = triple(given.problem.stride), triple(given.problem.dilation)
    common = [gcd(s, d) for s, d in zip(stride, dilation, strict=True)]
    step = tuple(s // c for s, c in zip(stride, common, strict=True))
    back = tuple(d // c for d, c in zip(dilation, common, strict=True))
    source = "dgrad_1_direct:conv_dgrad_direct"
    return [_conv(given, source, "xywb", *_planes(given.shapes["x"]), phases=(step, back))]


def wgrad_direct(given: Given) -> list[Launch]:
    """One block a weight."""
    grid, threads = (prod(given.shapes["w"]), 1, 1), (WGRAD_THREADS, 1, 1)
    source = "wgrad_1_direct:conv_wgrad_direct"
    return [_conv(given, source, "wyx", grid, threads, (WGRAD_THREADS,))]


def bgrad_direct(given: Given) -> list[Launch]:
    """One block a channel."""
    (k,) = given.shapes["b"]
    return [
        Launch(
            "bgrad_1_direct:conv_bgrad_direct",
            (given.problem.dtype, BGRAD_THREADS),
            (k, 1, 1),
            (BGRAD_THREADS, 1, 1),
            (view(given, "b"), view(given, "y")),
        )
    ]


def max_pool_windows(given: Given) -> list[Launch]:
    """One thread an output."""
    return [_pool(given, "max_pool_windows", ("y", "index", "x"))]


def max_pool_values_windows(given: Given) -> list[Launch]:
    """One thread an output."""
    return [_pool(given, "max_pool_values_windows", ("y", "x"))]


def avg_pool_windows(given: Given) -> list[Launch]:
    """One thread an output."""
    return [_pool(given, "avg_pool_windows", ("y", "x"))]


def avg_pool_backward_windows(given: Given) -> list[Launch]:
    """One thread an element of dx."""
    return [_pool(given, "avg_pool_backward_windows", ("x", "y"))]


def view(given: Given, name: str) -> View:
    """The array, or one of size 0 where the call does not have it."""
    kind = "int64" if name == "index" else given.problem.dtype
    return View(name, given.shapes.get(name, (0,)), given.strides.get(name, (1,)), kind)


def _conv(
    given: Given,
    source: str,
    names: str,
    grid: Triple,
    block: Triple,
    macros: tuple[int, ...] = (),
    shared: int = 0,
    phases: tuple[tuple[int, ...], ...] = (),
) -> Launch:
    """A launch of a convolution's kernel: arrays first, then the contract's numbers."""
    numbers = given.problem.call(given.slot)[3]
    arguments = (*(view(given, name) for name in names), *phases, *numbers)
    return Launch(source, (given.problem.dtype, *macros), grid, block, arguments, shared)


def _pool(given: Given, kernel: str, names: tuple[str, ...]) -> Launch:
    """A launch of a pool's kernel, one thread an element of its first array, in the order in which
    that lies in memory: arrays, axes, and what averages divide by.
    """
    problem = given.problem
    one = (1,) * problem.rank  # of an adaptive pool, whose windows come from the sizes
    axes = zip(
        triple(problem.in_size), triple(problem.out_size), triple(problem.kernel or one),
        triple(problem.stride or one), triple(problem.padding or (0,) * problem.rank, 0),
        triple(problem.dilation or one), strict=True,
    )  # fmt: skip
    average = (int(problem.count_include_pad), problem.divisor or 0)
    numbers = (*axes, int(problem.adaptive), *(average if "avg" in kernel else ()))
    grid = (blocks(prod(given.shapes[names[0]]), POOL_THREADS), 1, 1)
    return Launch(
        f"pool_1_windows:{kernel}",
        (problem.dtype, int(channels_last(given, names[0]))),
        grid,
        (POOL_THREADS, 1, 1),
        (*(view(given, name) for name in names), *numbers),
    )


def _planes(shape: tuple[int, ...]) -> tuple[Triple, Triple]:
    """Grid and block for one thread an element, where no block holds two planes (n, c)."""
    positions = prod(shape[2:])
    threads = whole_warps(positions)
    return (prod(shape[:2]) * blocks(positions, threads), 1, 1), (threads, 1, 1)
