"""cupy: the CUDA C++ kernels, compiled by NVRTC and launched through CuPy."""

from __future__ import annotations

from . import Backend
from . import _cuda_cupy as gpu
from ._cuda_slots import slots

BACKEND = Backend(
    name="cupy",
    about="CUDA C++ kernels",
    kernels="refconv.backends",  # a step's "kernel" is its plan function
    device="cuda",
    slots=slots(gpu.gpu),
    probe=gpu.probe,
    execute=gpu.execute,
    fuses=True,
)
