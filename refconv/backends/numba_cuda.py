"""numba-cuda: CUDA kernels in Python, compiled by Numba for the GPU at hand when called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from . import Algorithm, Backend
from . import _cuda_reasons as reasons
from . import _cuda_supports as able
from ._cuda_pool import windows
from ._cuda_stream import where
from ._numba_cuda_plans import Launch, View

KERNELS = "refconv.kernels.numba_cuda"
#: How elements lie in memory, as the CUDA array interface names it. It knows no bfloat16: its bits.
STORAGE = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int64": "<i8"}
AGAIN = "pip install --force-reinstall numba-cuda"


class Memory:
    """Memory on the device that is somebody else's, as Numba takes it."""

    def __init__(self, view: View, address: int) -> None:
        size = int(STORAGE[view.dtype][2:])
        self.__cuda_array_interface__ = {
            "shape": view.shape,
            "strides": tuple(s * size for s in view.strides),
            "typestr": STORAGE[view.dtype],
            "data": (address, False),
            "version": 3,
        }


def execute(launches: Sequence[Any], addresses: Mapping[str, int], like: Any) -> None:
    """Queue the launches on the current stream of ``like``'s library and device."""
    from numba import cuda

    device, stream = where(like)
    with cuda.gpus[device]:
        queue = cuda.external_stream(stream)
        for launch in launches:
            run(launch, queue, lambda v: cuda.as_cuda_array(Memory(v, addresses[v.name]), False))


def run(launch: Launch, queue: Any, array: Callable[[View], Any]) -> None:
    """Launch it on the stream ``queue``, on the arrays that ``array`` gives."""
    module, _, name = launch.source.partition(":")
    kernel = getattr(import_module(f"{KERNELS}.{module}"), name)(*launch.macros)
    arguments = [array(a) if isinstance(a, View) else a for a in launch.arguments]
    kernel[launch.grid, launch.block, queue, launch.shared](*arguments)


def probe() -> str | None:
    """None, or the first reason why Numba cannot run kernels on a GPU here, and what helps."""
    if find_spec("numba_cuda") is None:
        return reasons.not_installed("numba-cuda")
    try:
        from numba import config
    except Exception as error:  # whatever breaks its import is the reason
        return f"Numba cannot be imported: {error} (pip install --force-reinstall numba)"
    if getattr(config, "ENABLE_CUDASIM", False):
        return "Numba's simulator is on, which uses no GPU (unset NUMBA_ENABLE_CUDASIM)"
    missing = reasons.no_driver()
    if missing is not None:
        return missing
    try:
        from numba import cuda
    except Exception as error:
        return f"numba-cuda cannot be imported: {reasons.short(error)} ({AGAIN})"
    try:
        return _reason(cuda)
    except Exception as error:
        return f"numba-cuda fails: {reasons.short(error)} ({AGAIN})"


def _reason(cuda: Any) -> str | None:
    """What is missing beneath Numba: driver, device, compiler."""
    error = cuda.cuda_error()
    if error is not None:
        text = " ".join(str(error).split())
        if "library cannot be found" in text:
            return reasons.NO_GPU
        if "NO_DEVICE" in text:
            return reasons.no_device()
        return f"CUDA does not start: {text} ({reasons.STARTS})"
    if len(cuda.gpus) == 0:
        return reasons.no_device()
    reason = reasons.old_card(tuple(cuda.get_current_device().compute_capability))
    if reason is not None:
        return reason
    try:
        cuda.cudadrv.nvvm.NVVM()
        compiles = cuda.cudadrv.runtime.get_version()
    except Exception as error:  # its libraries are loaded now: whatever keeps it from them
        return (
            f"libNVVM or NVRTC, which Numba compiles with, cannot be loaded: {error} "
            f"({reasons.extra(cuda.cudadrv.driver.get_version()[0])}; no nvcc is needed)"
        )
    knows = cuda.cudadrv.driver.get_version()
    if knows[0] < compiles[0]:  # within a major version, newer code runs on an older driver
        written = [".".join(map(str, v)) for v in (knows, compiles)]
        return reasons.old_driver(
            written[0], "numba-cuda", written[1], f"{reasons.extra(knows[0])} instead"
        )
    return None


def _step(name: str, plan: str, supports: Callable[[Any], str | None] = able.direct) -> Algorithm:
    return Algorithm(name, f"_numba_cuda_plans:{plan}", supports)


BACKEND = Backend(
    name="numba-cuda",
    about="CUDA kernels in Python",
    kernels="refconv.backends",  # a step's "kernel" is its plan function
    device="cuda",
    slots={
        "conv_fprop": (
            _step("shared", "fprop_shared", able.shared),
            _step("direct", "fprop_direct"),
        ),
        "conv_dgrad": (_step("direct", "dgrad_direct"),),
        "conv_wgrad": (_step("direct", "wgrad_direct"),),
        "conv_bgrad": (_step("direct", "bgrad_direct"),),
        "max_pool": (_step("windows", "max_pool_windows", windows),),
        "max_pool_values": (_step("windows", "max_pool_values_windows", windows),),
        "avg_pool": (_step("windows", "avg_pool_windows", windows),),
        "avg_pool_backward": (_step("windows", "avg_pool_backward_windows", windows),),
    },
    probe=probe,
    execute=execute,
)
