"""Tensor maps: what Hopper's tensor memory accelerator is told of an array, as 128 bytes that are
passed by value. On a GPU the driver makes them; for the emulator they are a plain struct
(kernels/cuda/emulator/hopper.h).
"""

from __future__ import annotations

import ctypes
import struct
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

BYTES = 128
#: CUtensorMapDataType.
TYPES = {"float16": 6, "bfloat16": 9}
#: CUtensorMapSwizzle, of 128 bytes; CUtensorMapL2promotion, of 128 bytes.
SWIZZLE, PROMOTION = 3, 2


@dataclass(frozen=True)
class Windows:
    """Boxes that follow the windows of a convolution along w and h ("im2col").

    Args:
        low: where the first window begins, along w and h.
        high: where the last one begins, counted from the last element.
        step: from window to window.
    """

    low: tuple[int, int]
    high: tuple[int, int]
    step: tuple[int, int]


@dataclass(frozen=True)
class TensorMap:
    """An array and the box of it that one copy brings, axes innermost first.

    Args:
        array: its name among a launch's arguments.
        sizes: of its axes; strides: of all but the first, in elements.
        box: elements along each axis; with ``windows``, channels and positions.
    """

    array: str
    dtype: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    windows: Windows | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """Bytes of ``strides``."""
        return tuple(s * 2 for s in self.strides)


def emulated(described: TensorMap, address: int) -> bytes:
    """The struct TensorMap of emulator/hopper.h."""
    m, w = described, described.windows or Windows((0, 0), (0, 0), (1, 1))
    sizes = (*m.sizes, *[1] * (5 - len(m.sizes)))
    box = (*m.box, *[1] * (5 - len(m.box)))
    steps = (*m.steps, *[0] * (4 - len(m.steps)))
    return struct.pack(
        "<Q7i5i4qi6h24x", address, len(m.sizes), 2, *sizes, *box, *steps, int(bool(m.windows)),
        *w.low, *w.high, *w.step,
    )  # fmt: skip


def encoded(described: TensorMap, address: int) -> bytes:
    """The driver's, for the current context.

    Raises:
        RuntimeError: the driver refuses it.
    """
    m, w = described, described.windows
    rank = len(m.sizes)
    held = ctypes.create_string_buffer(BYTES + 64)
    start = -ctypes.addressof(held) % 64  # it must be aligned so
    sizes = (ctypes.c_uint64 * rank)(*m.sizes)
    strides = (ctypes.c_uint64 * (rank - 1))(*m.steps)
    head = (
        ctypes.c_void_p(ctypes.addressof(held) + start), TYPES[m.dtype], ctypes.c_uint32(rank),
        ctypes.c_void_p(address), sizes, strides,
    )  # fmt: skip
    tail = (0, SWIZZLE, PROMOTION, 0)  # not interleaved; zeros outside
    if w is None:
        box, ones = (ctypes.c_uint32 * rank)(*m.box), (ctypes.c_uint32 * rank)(*[1] * rank)
        failed = _driver().cuTensorMapEncodeTiled(*head, box, ones, *tail)
    else:
        low, high = (ctypes.c_int * 2)(*w.low), (ctypes.c_int * 2)(*w.high)
        steps = (ctypes.c_uint32 * rank)(1, *w.step, *[1] * (rank - 3))
        channels, positions = map(ctypes.c_uint32, m.box)
        failed = _driver().cuTensorMapEncodeIm2col(
            *head, low, high, channels, positions, steps, *tail
        )
    if failed:
        raise RuntimeError(f"the driver refuses a tensor map (error {failed}): {described}")
    return held.raw[start : start + BYTES]


@cache
def _driver() -> Any:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
