"""The types of a kernel: elements in memory, and the sums that they are added up in (types.cuh)."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

#: How elements lie in memory. NumPy has no bfloat16: its bits are handled here.
STORAGE = {
    "float64": types.float64,
    "float32": types.float32,
    "float16": types.float16,
    "bfloat16": types.uint16,
}


class Elements(NamedTuple):
    """What kernels use: the type of sums, ``load`` an element into it, ``store`` it as an element.

    float16 is rounded where it is assigned to an array's element, once.
    """

    accumulator: Any
    load: Any
    store: Any


@cache
def elements(ELEMENT):
    """The functions for one of ``STORAGE``."""
    if ELEMENT == "float64":
        return Elements(types.float64, types.float64, types.float64)
    if ELEMENT == "bfloat16":
        return Elements(types.float32, float_of_bfloat, bfloat_of_float)
    return Elements(types.float32, types.float32, types.float32)


@cuda.jit(device=True)
def float_of_bfloat(bits):
    """bfloat16 is the upper half of a float."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@cuda.jit(device=True)
def bfloat_of_float(value):
    """To nearest, ties to even; every NaN becomes 0x7fff."""
    u = np.float32(value).view(np.uint32)
    if (u & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):
        return np.uint16(0x7FFF)
    odd = (u >> np.uint32(16)) & np.uint32(1)
    return np.uint16((u + np.uint32(0x7FFF) + odd) >> np.uint32(16))
