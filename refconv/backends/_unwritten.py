"""A backend whose place is kept but whose kernels are not written yet: its probe gives every reason
there is.
"""

from __future__ import annotations

from ctypes.util import find_library
from importlib.util import find_spec
from typing import Any

from . import Backend, Kernel


def unwritten(name: str, about: str, kernels: str, needs: str) -> Backend:
    """A backend without kernels for the CUDA device; ``needs`` is the library that they will be
    written with.
    """

    def probe() -> str:
        reasons = ["its kernels are not written yet"]
        if find_spec(needs.partition(".")[0]) is None:
            reasons.append(f"{needs} is not installed")
        if find_library("cuda") is None:
            reasons.append("this machine has no CUDA driver")
        return "; ".join(reasons)

    def launch(kernel: Kernel, args: tuple[Any, ...]) -> None:
        raise NotImplementedError(probe())

    return Backend(name, about, kernels, "cuda", {}, probe, launch)
