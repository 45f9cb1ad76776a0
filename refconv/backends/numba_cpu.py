"""numba: loops compiled for the CPU, parallel, cached between processes, compiled when called."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from . import Backend, Kernel, every_slot


def probe() -> str | None:
    """Numba is all it needs."""
    return None if find_spec("numba") else "Numba is not installed (pip install numba)"


def launch(kernel: Kernel, args: tuple[Any, ...]) -> None:
    """Run ``kernel`` on as many threads as torch uses, where torch is loaded.

    Starting Numba's OpenMP layer sets the number of threads of the whole process, torch's too:
    without this, the first call could undo the user's ``torch.set_num_threads``.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        kernel(*args)
        return
    import numba

    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    kernel(*args)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


BACKEND = Backend(
    name="numba",
    about="loops compiled for the CPU",
    kernels="refconv.kernels.numba_cpu",
    device="cpu",
    slots=every_slot("direct"),
    probe=probe,
    launch=launch,
)
