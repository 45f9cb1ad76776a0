"""cupy: the place of the CUDA C++ kernels, compiled and launched through CuPy."""

from ._unwritten import unwritten

BACKEND = unwritten("cupy", "CUDA C++ kernels", "refconv.kernels.cuda", needs="cupy")
