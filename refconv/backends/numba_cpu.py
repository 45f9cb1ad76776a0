"""numba: loops compiled for the CPU, parallel, cached between processes, compiled when first
called.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from . import Backend, Kernel, every_slot


def probe() -> str | None:
    """Numba is all it needs."""
    return None if find_spec("numba") else "Numba is not installed (pip install numba)"


def launch(kernel: Kernel, args: tuple[Any, ...]) -> None:
    """Run ``kernel``."""
    kernel(*args)


BACKEND = Backend(
    name="numba",
    about="loops compiled for the CPU",
    kernels="refconv.kernels.numba_cpu",
    device="cpu",
    slots=every_slot("direct"),
    probe=probe,
    launch=launch,
)
