"""Launches of CUDA kernels as data: which file, which kernel, how many threads, which arguments.

A plan function turns a call that is ``Given`` into launches without seeing an array or a GPU. Two
executors run the same launches: CuPy on a GPU, and the emulator on the CPU.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ._cuda_tensor_map import TensorMap

Triple = tuple[int, int, int]
Argument = str | int | bytes | TensorMap

#: Of an H200: what is planned for where there is no GPU to ask.
MULTIPROCESSORS = 132
#: The arrays of every slot in the contract's order: outputs, inputs.
ARRAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "conv_fprop": (("y",), ("x", "w", "b")),
    "conv_dgrad": (("x",), ("y", "w", "b")),
    "conv_wgrad": (("w",), ("y", "x")),
    "conv_bgrad": (("b",), ("y",)),
    "max_pool": (("y", "index"), ("x",)),
    "max_pool_values": (("y",), ("x",)),
    "avg_pool": (("y",), ("x",)),
    "avg_pool_backward": (("x",), ("y",)),
    "gather": (("y",), ("x", "index")),
    "scatter": (("y",), ("x", "index")),
    "scatter_add": (("y",), ("x", "index")),
    "unfold": (("col",), ("x",)),
    "fold": (("x",), ("col",)),
    "pad": (("y",), ("x",)),
    "pad_backward": (("x",), ("y",)),
}


@dataclass(frozen=True)
class Given:
    """What a plan function knows of a call.

    Args:
        shapes: of the arrays that there are, by name, canonical (``problem.call``); no bias: no
            entry.
        strides: of the same, in elements; of any sign and order.
        multiprocessors: of the GPU.
        relu: the result is clamped at zero before it is stored (NaN stays); all steps of
            conv_fprop have it.
        unaligned: the arrays that do not begin at a multiple of 16 bytes.
    """

    problem: Any
    slot: str
    shapes: Mapping[str, tuple[int, ...]]
    strides: Mapping[str, tuple[int, ...]]
    multiprocessors: int = MULTIPROCESSORS
    relu: bool = False
    unaligned: frozenset[str] = frozenset()

    def reach(self, name: str) -> int:
        """How far the array's furthest element lies from its first one, in elements."""
        pairs = zip(self.shapes[name], self.strides[name], strict=True)
        return sum((n - 1) * abs(s) for n, s in pairs) if prod(self.shapes[name]) else 0

    @property
    def wide(self) -> bool:
        """Whether offsets need 64 bits."""
        return any(self.reach(name) >= 2**31 for name in self.shapes)


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel.

    Args:
        source: the file in kernels/cuda (or, in tests, a path).
        macros: what it is compiled with, ``-Dname=value`` each.
        grid: blocks, and block: threads, (x, y, z); a grid without blocks is not launched.
        shared: bytes of dynamic shared memory.
        arguments: in the kernel's order. A string is an array's address by its name, null if the
            call has no such array; ``"name:bytes"`` is that of a workspace of so many bytes, not
            zeroed, one for all launches of a call that name it so. An int is a C int; bytes are
            a struct, passed by value; a map is 128 bytes, made where the launch is executed.
    """

    source: str
    kernel: str
    macros: tuple[tuple[str, str], ...]
    grid: Triple
    block: Triple
    arguments: tuple[Argument, ...]
    shared: int = 0


def packed(
    launch: Launch, addresses: Mapping[str, int], encode: Callable[[TensorMap, int], bytes]
) -> tuple[list[Any], Any, Any]:
    """The arguments as a launch takes them: the values (to be kept until it returns), a C array of
    where they lie, and one of their sizes.

    Args:
        encode: makes the bytes of a tensor map at an address.
    """
    values: list[Any] = []
    for argument in launch.arguments:
        if isinstance(argument, TensorMap):
            argument = encode(argument, addresses[argument.array])
        if isinstance(argument, str):
            values.append(ctypes.c_void_p(addresses[argument]))
        elif isinstance(argument, bytes):
            values.append(ctypes.create_string_buffer(argument, len(argument)))
        else:
            values.append(ctypes.c_int(argument))
    pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    sizes = (ctypes.c_ulonglong * len(values))(*map(ctypes.sizeof, values))
    return values, pointers, sizes


def blocks(work: int, each: int) -> int:
    """How many blocks take ``work``, so much each."""
    return -(-work // each)


def whole_warps(work: int, most: int = 256) -> int:
    """Threads of a block that has ``work`` to do, one thread each: whole warps, ``most`` at most.

    Example:
        >>> whole_warps(49), whole_warps(3136)
        (64, 256)
    """
    return min(most, max(1, blocks(work, 32)) * 32)


def size_of_sums(problem: Any) -> int:
    """Bytes of types.cuh's accumulator."""
    return 8 if problem.dtype == "float64" else 4


def types(given: Given) -> tuple[tuple[str, str], ...]:
    """The macros that every kernel takes: its element type, and the type of offsets; and what some
    results are clamped by.
    """
    offset = "int64" if given.wide else "int32"
    return ("ELEMENT", given.problem.dtype), ("OFFSET", offset), *relu(given)


def relu(given: Given) -> tuple[tuple[str, str], ...]:
    """The macro of ``Given.relu``, where it is asked for."""
    return (("RELU", "1"),) if given.relu else ()


#: Of an array that a call does not have.
NO_STRIDES: dict[str, Sequence[int]] = {"x": (0,) * 5, "y": (0,) * 5, "w": (0,) * 5, "b": (0,)}


def conv_geometry(given: Given) -> bytes:
    """The struct ConvGeometry of geometry.cuh."""
    problem = given.problem
    (x, *_), (y,), _, _ = problem.call("conv_fprop")
    w = problem.call("conv_wgrad")[1][0]
    numbers = problem.call("conv_fprop")[3]
    sizes = (x[0], x[1], y[1], numbers[3], *x[2:], *y[2:], *w[2:])
    strides = [s for name, none in NO_STRIDES.items() for s in given.strides.get(name, none)]
    form = "<22i16q" if given.wide else "<22i16i"
    return struct.pack(form, *sizes, *numbers[0], *numbers[1], *numbers[2], *strides)


def conv_launch(
    given: Given,
    source: str,
    kernel: str,
    arguments: Sequence[Argument],
    grid: Triple,
    block: Triple,
    shared: int = 0,
    **macros: int,
) -> Launch:
    """A launch of a convolution's kernel: its arguments, arrays first, and last the geometry."""
    defined = (*types(given), *((name, str(value)) for name, value in macros.items()))
    every = (*arguments, conv_geometry(given))
    return Launch(source, kernel, defined, grid, block, every, shared)
