"""Pooling on the CPU: beside ``im2col/pool`` no columns are stored; each window is read in place.

One item is one row of the output (one plane in the backward), so nothing is shared. A window is
read once, its taps in the order D, H, W. Still slow: windows are scanned one after the other, a tap
at a time, so neighbouring outputs do not share a vector.
"""

import numpy as np
from numba import njit, prange, types
from numba.extending import overload


def _divide(total, divisor):
    """total / divisor; integers towards zero, as in C and torch. Which one is decided by type."""
    raise NotImplementedError("compiled code only")


@overload(_divide)
def _divide_for_type(total, divisor):
    if isinstance(total, types.Complex):
        real = types.float32 if total == types.complex64 else types.float64
        return lambda total, divisor: total * 0 + complex(
            total.real / real(divisor), total.imag / real(divisor)
        )
    if isinstance(total, types.Float):
        return lambda total, divisor: total / total.__class__(divisor)
    return None
