"""numba-cuda: the place of the CUDA kernels in Python."""

from ._unwritten import unwritten

BACKEND = unwritten(
    "numba-cuda", "CUDA kernels in Python", "refconv.kernels.numba_cuda", needs="numba_cuda"
)
