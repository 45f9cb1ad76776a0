"""Sums over a block, always in the same order: the same bits every time (reduce.cuh)."""

from functools import cache

from numba import cuda


@cache
def block_sum(THREADS):
    """The sum of every thread's value, for thread 0 alone. Every thread of a one-dimensional block
    comes here; ``partial`` is shared memory for THREADS values, a power of two.
    """

    @cuda.jit(device=True)
    def block_sum(value, partial):
        partial[cuda.threadIdx.x] = value
        half = THREADS // 2
        while half > 0:
            cuda.syncthreads()
            if cuda.threadIdx.x < half:
                partial[cuda.threadIdx.x] += partial[cuda.threadIdx.x + half]
            half //= 2
        return partial[cuda.threadIdx.x]  # its own: another's may still be written

    return block_sum
