"""What a thread does with each array, read from the log of its block: counts, elements, what it
found in shared memory, and how its warp's loads lie in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..backends._cuda_access_log import READ, SHARED, Log
from ..problem import ConvProblem, Size
from .threads_data import SECTOR, WARP, Use

#: Numbers that can be told apart in single precision without leaving 1 … 2.
TAGS = 1 << 23


def tagged(shapes: Mapping[str, Size], dtype: str) -> dict[str, np.ndarray]:
    """Arrays of which every element is another number, so that a value found in shared memory says
    which element it is; of 16 bits, which have too few numbers, ones.
    """
    made = {}
    first = 1
    total = sum(map(prod, shapes.values()))
    for name, shape in shapes.items():
        count = prod(shape)
        numbers = np.arange(first, first + count, dtype=np.uint64)
        first += count
        if dtype == "float64":
            values = (numbers + np.uint64(0x3FF << 52)).view(np.float64)
        elif dtype == "float32" and total < TAGS:
            values = (numbers.astype(np.uint32) + np.uint32(0x7F << 23)).view(np.float32)
        else:
            one = {"bfloat16": (0x3F80, np.uint16), "float16": (1, np.float16)}
            value, kind = one.get(dtype, (1, np.dtype(dtype if dtype != "bfloat16" else "f4")))
            values = np.full(count, value, kind)
        made[name] = np.ascontiguousarray(values.reshape(shape))
    return made


def uses(
    log: Log, number: int, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Size], called: Any
) -> Iterator[Use]:
    """What the thread does with each array that it touches.

    Args:
        shapes: as the user has them, by the user's names. ``called``: kernel's name → user's.
    """
    mine = log.accesses[log.accesses["thread"] == number]
    tags = _tags(arrays, called)
    for i, kernels_name in log.names.items():
        own = mine[mine["array"] == i]
        if not len(own):
            continue
        name = called.get(kernels_name, kernels_name).partition(":")[0]
        known = arrays.get(kernels_name)
        reads = own[own["kind"] == READ]
        touched = reads if len(reads) else own
        elements = _positions(touched, 4 if known is None else known.itemsize)
        shape = shapes.get(name) if known is not None else None
        listed = tuple(_unravel(e, shape) if shape else (e,) for e in elements)
        use = Use(name, len(reads), len(own) - len(reads), listed)
        if known is None:  # shared memory, or a workspace
            use = replace(use, holds=tuple(_held(reads, tags, shapes)))
        warped = len(reads) and i not in SHARED
        yield _with_warp(use, log, i, number // WARP) if warped else use


def _positions(accesses: np.ndarray, item: int) -> list[int]:
    """Flat positions, once each, in order."""
    found: dict[int, None] = {}
    for access in accesses:
        start = int(access["offset"]) // item
        for k in range(max(1, int(access["size"]) // item)):
            found[start + k] = None
    return list(found)


def _tags(
    arrays: Mapping[str, np.ndarray], called: Mapping[str, str]
) -> dict[Any, tuple[str, int]]:
    """The bits of an element → the array, by the user's name, and its flat position."""
    found: dict[Any, tuple[str, int]] = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and array.itemsize >= 4 and not np.isnan(array).any():
            bits = array.reshape(-1).view(f"u{array.itemsize}")
            if len(bits) == 1 or bits[0] != bits[-1]:
                shown = called.get(name, name)
                found.update((((array.itemsize, int(b)), (shown, i)) for i, b in enumerate(bits)))
    return found


def _held(
    reads: np.ndarray, tags: Mapping[Any, tuple[str, int]], shapes: Mapping[str, Size]
) -> Iterator[tuple[str, Size]]:
    """The elements that the reads of shared memory found there, once each."""
    if not tags:
        return
    item = next(iter(tags))[0]
    seen = set()
    for access in reads:
        words = access["value"][: int(access["size"]) // item * item].view(f"u{item}")
        for word in words:
            found = tags.get((item, int(word)))
            if found is not None and found not in seen:
                seen.add(found)
                yield found[0], _unravel(found[1], shapes[found[0]])


def _unravel(position: int, shape: Size) -> Size:
    return tuple(int(j) for j in np.unravel_index(position, shape))


def _with_warp(use: Use, log: Log, array: int, warp: int) -> Use:
    """The same with what the warp's loads of the array are together.

    Lanes load together what they load at the same instruction for the same time.
    """
    a = log.accesses
    mine = a[(a["array"] == array) & (a["kind"] == READ) & (a["thread"] // WARP == warp)]
    turn: dict[tuple[int, int], int] = {}
    together: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for access in mine:
        key = int(access["instruction"]), int(access["thread"])
        turn[key] = turn.get(key, -1) + 1
        span = int(access["offset"]), int(access["offset"] + access["size"])
        together.setdefault((key[0], turn[key]), []).append(span)
    lanes = sectors = least = 0
    for group in together.values():
        touched = {b for start, stop in group for b in range(start, stop)}
        lanes += len(group)
        sectors += len({b // SECTOR for b in touched})
        least += -(-len(touched) // SECTOR)
    return replace(use, requests=len(together), lanes=lanes, sectors=sectors, least=least)


def user_shapes(problem: Any) -> tuple[dict[str, Size], dict[str, str]]:
    """Shapes of the arrays as the user has them, and the user's names of the kernel's arrays: of a
    transposed convolution, which is dgrad called forward, x and y change places.
    """
    shapes = {"x": problem.input_shape, "y": problem.output_shape, "index": problem.output_shape}
    if not isinstance(problem, ConvProblem):
        return shapes, {}
    shapes |= {"w": problem.weight_shape, "b": (problem.out_channels,)}
    return shapes, {"x": "y", "y": "x"} if problem.transposed else {}
