"""Numba on the CPU: what it adds to ``im2col`` is threads and vectors, and no column matrix.

``naive`` says what is computed, ``im2col`` hands it to a matrix product, ``numba_cpu`` compiles
the loops themselves: at the first call for a dtype, some seconds each; later processes read the
machine code from Numba's cache.

How the files are built
    A kernel cuts the output into items that no two threads share. ``launch`` (``worker``) gives
    each thread its items, and the code behind it is serial. So nothing is raced for, and an
    element's sum is taken in one order, whatever the number of threads: results repeat bitwise.
    ``fastmath`` stays off: NaN, Inf and -0 mean what IEEE says they mean.
    Numba's cache watches the file of the function called from Python only. After an edit anywhere
    here its folder must go (``pytest`` sees to that), or the old machine code would still run.
"""
