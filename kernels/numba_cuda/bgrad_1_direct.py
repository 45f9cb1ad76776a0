"""The bias's gradient: one block sums one channel of dy (bgrad_1_direct.cu).

As wgrad_1_direct.py, with nothing to multiply: threads take positions in turn, then add up their
sums in a tree. The same bits every time.
"""

from functools import cache

from numba import cuda

from .elements import elements
from .reduce import block_sum


@cache
def conv_bgrad_direct(ELEMENT, THREADS):
    """The kernel for one dtype and number of threads, a power of two.

    Shapes: b (K,)   y (N, K, OD, OH, OW)
    """
    accumulator, load, store = elements(ELEMENT)
    tree = block_sum(THREADS)

    @cuda.jit
    def conv_bgrad_direct(b, y):
        partial = cuda.shared.array(THREADS, accumulator)
        N, _, OD, OH, OW = y.shape
        oc = cuda.blockIdx.x
        sum = accumulator(0)
        for n in range(N):
            for o in range(cuda.threadIdx.x, OD * OH * OW, THREADS):
                sum += load(y[n, oc, o // OW // OH, o // OW % OH, o % OW])
        sum = tree(sum, partial)
        if cuda.threadIdx.x == 0:
            b[oc] = store(sum)

    return conv_bgrad_direct
