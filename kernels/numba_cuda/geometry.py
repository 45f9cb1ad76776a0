"""The taps of a window that lie inside the input (geometry.cuh)."""

from numba import cuda


@cuda.jit(device=True)
def first_inside(start, dilation):
    """The first tap k of an axis for which position ``start + k * dilation`` is not before the
    input.
    """
    return 0 if start >= 0 else (-start + dilation - 1) // dilation


@cuda.jit(device=True)
def last_inside(start, dilation, size, K):
    """One behind the last tap, of at most K, that is not behind an input of this size."""
    if start >= size:
        return 0
    return min((size - 1 - start) // dilation + 1, K)
