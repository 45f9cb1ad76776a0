"""numba: loops compiled for the CPU, parallel, cached between processes, compiled when called."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

from . import Algorithm, Backend, Kernel, every_slot
from . import _numba_cost as cost
from . import _numba_supports as able


def probe() -> str | None:
    """Numba is all it needs, and that it compiles."""
    if find_spec("numba") is None:
        return "Numba is not installed (pip install numba)"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set, and its kernels do not run as Python (unset it)"
    return None


def launch(kernel: Kernel, args: tuple[Any, ...]) -> None:
    """Run ``kernel`` on as many threads as torch uses, where torch is loaded.

    Starting Numba's OpenMP layer sets the number of threads of the whole process, torch's too:
    without this, the first call could undo the user's ``torch.set_num_threads``.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        kernel(*args)
        return
    numba = sys.modules["numba"]  # the kernel's module imported it
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    kernel(*args)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _tiny(slot: str) -> Algorithm:
    name = slot.removeprefix("conv_")
    return Algorithm(
        "tiny",
        f"tiny:{name}",
        partial(cost.is_tiny, slot=slot),
        cost=cost.tiny,
        shortcut=f"tiny:{name}_shortcut",
    )


def _rows(slot: str, kernel: str, shortcut: str) -> dict[str, tuple[Algorithm, ...]]:
    """``rows``, which has a shortcut for small calls."""
    return {slot: (Algorithm("rows", kernel, shortcut=shortcut),)}


#: One line an algorithm and slot. ``rows`` runs everything.
SLOTS = {
    **every_slot("rows"),
    **_rows("max_pool", "pool:max_pool", "pool:max_shortcut"),
    **_rows("max_pool_values", "pool:max_pool_values", "pool:values_shortcut"),
    **_rows("avg_pool", "pool:avg_pool", "pool:avg_shortcut"),
    **_rows("avg_pool_backward", "pool:avg_pool_backward", "pool:avg_backward_shortcut"),
    "conv_fprop": (
        _tiny("conv_fprop"),
        Algorithm("direct", "direct:fprop", able.real, cost=cost.direct),
        Algorithm("implicit_gemm", "implicit_gemm:fprop", able.real, cost=cost.implicit_gemm),
        Algorithm("winograd_f2", "winograd:fprop_f2", able.winograd, cost=cost.winograd_f2),
        Algorithm("winograd_f4", "winograd:fprop_f4", able.winograd, "fast", cost.winograd_f4),
        Algorithm("depthwise", "depthwise:fprop", able.depthwise, cost=cost.depthwise),
        Algorithm("rows", "conv:fprop", cost=cost.rows),
    ),
    "conv_dgrad": (
        _tiny("conv_dgrad"),
        Algorithm("direct", "dgrad:dgrad", able.real, cost=cost.direct),
        Algorithm("winograd_f2", "winograd:dgrad_f2", able.winograd, cost=cost.winograd_f2),
        Algorithm("winograd_f4", "winograd:dgrad_f4", able.winograd, "fast", cost.winograd_f4),
        Algorithm("depthwise", "depthwise:dgrad", able.depthwise, cost=cost.depthwise),
        Algorithm("rows", "conv:dgrad", cost=cost.rows),
    ),
    "conv_wgrad": (
        Algorithm("direct", "wgrad:wgrad", able.real, cost=cost.direct),
        Algorithm("depthwise", "depthwise:wgrad", able.depthwise, cost=cost.depthwise),
        Algorithm("rows", "conv:wgrad", cost=cost.rows),
    ),
}

BACKEND = Backend(
    name="numba",
    about="loops compiled for the CPU",
    kernels="refconv.kernels.numba_cpu",
    device="cpu",
    slots=SLOTS,
    probe=probe,
    launch=launch,
)
