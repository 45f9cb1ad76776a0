"""The plan functions of what moves elements by position: indexed moves, columns, padding."""

from __future__ import annotations

import struct
import sys
from math import prod
from typing import Any

import numpy as np

from ..problem import triple
from ._cuda_launch import Given, Launch, Triple, blocks
from ._cuda_pool import THREADS, each
from ._cuda_supports import real

#: scatter_1_direct.cu: positions a warp owns, positions of a range, warps of a block.
SEGMENT, CHUNK, WARPS = 1024, 128, 4
#: PaddedAxis of pad.cuh.
MODES = {"constant": 0, "reflect": 1, "replicate": 2, "circular": 3}
#: Bytes of an element, of dtypes that NumPy has not.
SIZES = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "complex32": 4}


def indexed(problem: Any) -> str | None:
    """Real numbers; positions of a plane are counted in 31 bits."""
    reason = real(problem)
    for size in (problem.small, problem.large):
        if reason is None and prod(size) >= 2**31:
            reason = f"a plane has less than 2^31 positions, and this has {prod(size)}"
    return reason


def moved(problem: Any) -> str | None:
    """Elements of any dtype; an axis is counted in 31 bits."""
    longest = max((*problem.five()[0], *problem.five()[1]))
    return None if longest < 2**31 else f"an axis has less than 2^31 elements, not {longest}"


def padded(problem: Any) -> str | None:
    """Padding's gradient sums, so elements are real numbers."""
    return real(problem) or moved(problem)


def size_of(dtype: str) -> int:
    """Bytes of an element.

    Example:
        >>> size_of("complex128"), size_of("bool"), size_of("bfloat16")
        (16, 1, 2)
    """
    return SIZES[dtype] if dtype in SIZES else np.dtype(dtype).itemsize


def bits_of(value: Any, dtype: str) -> bytes:
    """A number as an array of ``dtype`` holds it.

    Example:
        >>> bits_of(1, "float32").hex(), bits_of(True, "bool").hex()
        ('0000803f', '01')
    """
    if dtype not in SIZES:
        return np.array(value).astype(dtype).tobytes()
    torch = sys.modules["torch"]  # it alone has arrays of these dtypes
    return torch.tensor([value]).to(getattr(torch, dtype)).view(torch.uint8).numpy().tobytes()


def _index_geometry(given: Given, small: str, large: str) -> bytes:
    """The struct IndexGeometry of index.cuh."""
    sizes = (*given.shapes[small], given.shapes[large][2])
    strides = [s for name in (small, large, "index") for s in given.strides[name]]
    return struct.pack("<4i9q" if given.wide else "<4i9i", *sizes, *strides)


def gather(given: Given) -> list[Launch]:
    """One thread an element of y."""
    grid, block, macros = each(given, "y")
    arguments = ("y", "x", "index", _index_geometry(given, "y", "x"))
    return [Launch("gather_1_direct.cu", "gather_direct", macros, grid, block, arguments)]


def scatter_add(given: Given) -> list[Launch]:
    """The ranges of the indices, then a warp for every segment of y."""
    return _scatter(given, "scatter_add_direct")


def scatter(given: Given) -> list[Launch]:
    """As ``scatter_add``."""
    return _scatter(given, "scatter_direct")


def _scatter(given: Given, kernel: str) -> list[Launch]:
    n, c, small = given.shapes["x"]
    large = given.shapes["y"][2]
    chunks = n * c * blocks(small, CHUNK)
    geometry, ranges = _index_geometry(given, "x", "y"), f"ranges:{8 * chunks}"
    _, _, macros = each(given, "y")
    file, block = "scatter_1_direct.cu", (32 * WARPS, 1, 1)
    first, then = ((blocks(w, WARPS), 1, 1) for w in (chunks, n * c * blocks(large, SEGMENT)))
    return [
        Launch(file, "scatter_ranges", macros, first, block, (ranges, "index", geometry)),
        Launch(file, kernel, macros, then, block, ("y", "x", "index", ranges, geometry)),
    ]


def _column_geometry(given: Given) -> bytes:
    """The struct ColumnGeometry: an image's, and its columns'; the depth is always 1."""
    problem = given.problem
    n, c, _, _, _, _, oh, ow = given.shapes["col"]
    steps = (triple(problem.stride), triple(problem.padding, 0), triple(problem.dilation))
    sizes = (n, c, *problem.size, *problem.kernel, oh, ow, *(s for t in steps for s in t[1:]))
    x, col = given.strides["x"], given.strides["col"]
    strides = (*x[:2], *x[3:], *col[:2], *col[3:5], *col[6:])
    return struct.pack("<14i10q" if given.wide else "<14i10i", *sizes, *strides)


def unfold(given: Given) -> list[Launch]:
    """One thread an element of the columns."""
    grid, block, macros = _moved(given, "col")
    arguments = ("col", "x", _column_geometry(given))
    return [Launch("columns_1_direct.cu", "unfold_direct", macros, grid, block, arguments)]


def fold(given: Given) -> list[Launch]:
    """One thread an element of the image."""
    grid, block, macros = each(given, "x")
    arguments = ("x", "col", _column_geometry(given))
    return [Launch("fold_1_direct.cu", "fold_direct", macros, grid, block, arguments)]


def _moved(given: Given, name: str) -> tuple[Triple, Triple, tuple[tuple[str, str], ...]]:
    """As ``each``, for kernels of bits.cuh."""
    offset = "int64" if given.wide else "int32"
    macros = ("BYTES", str(size_of(given.problem.dtype))), ("OFFSET", offset)
    return (blocks(prod(given.shapes[name]), THREADS), 1, 1), (THREADS, 1, 1), macros


def _pad_geometry(given: Given, unpadded: str, padded: str) -> bytes:
    """The struct PadGeometry of pad.cuh, its axes in the order of the output in memory."""
    problem, inner = given.problem, given.shapes[unpadded]
    pads = problem.five()[2]
    if len(problem.shape) <= 5:  # as device_call.canonical leaves them
        pads = ((0, 0),) * (5 - len(problem.shape)) + problem.pads
    output = padded if given.slot == "pad" else unpadded
    order = sorted(range(5), key=lambda a: -given.strides[output][a])
    numbers: list[int] = []
    for a in order:
        low, high = pads[a]
        mode = MODES[problem.mode] if (low, high) != (0, 0) else MODES["constant"]
        cropped = max(-low, 0)
        period = inner[a] - cropped - max(-high, 0)
        numbers += (inner[a], given.shapes[padded][a], low, high, mode, cropped, period)
    strides = [given.strides[name][a] for name in (unpadded, padded) for a in order]
    return struct.pack("<35i4x10q" if given.wide else "<35i10i", *numbers, *strides)


def pad(given: Given) -> list[Launch]:
    """One thread an element of the padded array."""
    grid, block, macros = _moved(given, "y")
    value = bits_of(given.problem.value, given.problem.dtype)
    arguments = ("y", "x", value, _pad_geometry(given, "x", "y"))
    return [Launch("pad_1_direct.cu", "pad_direct", macros, grid, block, arguments)]


def pad_backward(given: Given) -> list[Launch]:
    """One thread an element of the array that was padded."""
    grid, block, macros = each(given, "x")
    arguments = ("x", "y", _pad_geometry(given, "x", "y"))
    return [
        Launch("pad_backward_1_direct.cu", "pad_backward_direct", macros, grid, block, arguments)
    ]
