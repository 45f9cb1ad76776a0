"""Numba on the CPU: what it adds to ``im2col`` is threads and vectors, and no column matrix.

``naive`` says what is computed, ``im2col`` hands it to a matrix product, ``numba_cpu`` compiles
the loops themselves. Every kernel is ``@njit(parallel=True, cache=True)``: it compiles at its first
call for a dtype (one to three seconds); later processes read it from numba's cache.

How the files are built
    A kernel cuts the output into items that no two threads share, and hands each item to a small
    helper that is compiled serially. So nothing is raced for, and an element's sum is taken in one
    order, whatever the number of threads: results repeat bitwise.
    prange counts in uint64, and numba turns uint64 with int64 into float64: hence np.int64(item).
    ``fastmath`` stays off: NaN, Inf and -0 mean what IEEE says they mean.
    A file holds its own helpers. Numba's cache watches the file of the kernel only, so a helper
    imported from elsewhere could be edited and the old machine code would still run.
"""
