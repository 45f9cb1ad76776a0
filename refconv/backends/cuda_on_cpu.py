"""cuda-on-cpu: the CUDA C++ kernels on the CPU, thread by thread. Slow: for tests, and for reading
them without a GPU.
"""

from __future__ import annotations

from . import Backend
from . import _cuda_emulator as emulator
from ._cuda_slots import slots


def probe() -> str | None:
    """A C++ compiler is all it needs."""
    return None if emulator.compiler() else "there is no C++ compiler (install g++, or set CXX)"


BACKEND = Backend(
    name="cuda-on-cpu",
    about="the CUDA C++ kernels on the CPU, thread by thread",
    kernels="refconv.backends",  # a step's "kernel" is its plan function
    device="cpu",
    slots=slots(),
    probe=probe,
    execute=emulator.execute,
    fuses=True,
)
