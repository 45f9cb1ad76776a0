"""Runs launches on a GPU: compiled by NVRTC, launched through CuPy on the stream that is current in
the arrays' own library.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from . import _cuda_nvrtc as nvrtc
from ._cuda_launch import Launch, packed
from ._cuda_source import Macros
from ._cuda_stream import where
from ._cuda_tensor_map import encoded

#: Distributions that own the package ``cupy``.
CUPYS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-rocm-7-0", "cupy-rocm-7-1")
INSUFFICIENT_DRIVER, NO_DEVICE = 35, 100
#: Dynamic shared memory beyond this must be asked for.
SHARED = 48 << 10


def execute(launches: Sequence[Launch], addresses: Mapping[str, int], like: Any) -> None:
    """Queue the launches on the current stream of ``like``'s library and device."""
    import cupy

    device, stream = where(like)
    with cupy.cuda.Device(device):
        for launch in launches:
            function = _function(launch.source, launch.macros, launch.kernel, launch.shared, device)
            _kept, pointers, _ = packed(launch, addresses, encoded)
            cupy.cuda.driver.launchKernel(
                function, *launch.grid, *launch.block, launch.shared, stream,
                ctypes.addressof(pointers), 0,
            )  # fmt: skip


@cache
def _module(name: str, macros: Macros, device: int) -> int:
    """A file's kernels, loaded on the current device."""
    from cupy.cuda import driver, runtime

    runtime.free(0)  # the device's context is there, and current
    cubin, _ = nvrtc.compiled(name, macros, nvrtc.architecture(_capability(device)))
    return driver.moduleLoadData(cubin)


@cache
def _function(name: str, macros: Macros, kernel: str, shared: int, device: int) -> int:
    from cupy.cuda import driver

    found = driver.moduleGetFunction(_module(name, macros, device), kernel)
    if shared > SHARED:
        limit = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver.funcSetAttribute(found, limit, shared)
    return found


@cache
def _capability(device: int) -> tuple[int, int]:
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(device)
    return found["major"], found["minor"]


def gpu() -> str:
    """The kind of the current GPU, ``sm_90`` or the like."""
    import cupy

    major, minor = _capability(cupy.cuda.runtime.getDevice())
    return f"sm_{major}{minor}"


def probe() -> str | None:
    """None, or the first reason why CuPy cannot run kernels here, and what helps."""
    installed = _installed()
    if len(installed) > 1:
        both = " and ".join(installed)
        return f"{both} are installed, and overwrite each other: uninstall them, and install one"
    if find_spec("cupy") is None:
        return 'CuPy is not installed (pip install "refconv[cuda13]", or "refconv[cuda12]")'
    try:
        import cupy
    except Exception as error:  # whatever breaks its import is the reason
        return f"CuPy cannot be imported: {error}"
    return _reason(cupy)


def _installed() -> list[str]:
    found = []
    for name in CUPYS:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def _reason(cupy: Any) -> str | None:
    """What is missing beneath CuPy: driver, device, compiler."""
    runtime = cupy.cuda.runtime
    driver = runtime.driverGetVersion()
    if driver == 0:
        return "this machine has no NVIDIA driver"
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == INSUFFICIENT_DRIVER:
            needed = _version(runtime.runtimeGetVersion())
            return (
                f"the driver is too old: it knows CUDA {_version(driver)}, and CuPy needs {needed} "
                "(update the driver, or install the CuPy of an older CUDA)"
            )
        if error.status != NO_DEVICE:
            return f"CUDA does not start: {error}"
        count = 0
    if count == 0:
        return "the driver sees no CUDA device"
    properties = runtime.getDeviceProperties(runtime.getDevice())
    capability = properties["major"], properties["minor"]
    if capability < (7, 0):
        return f"the GPU has compute capability {capability[0]}.{capability[1]}, and 7.0 is needed"
    try:
        version, known = cupy.cuda.nvrtc.getVersion(), cupy.cuda.nvrtc.getSupportedArchs()
    except Exception as error:  # its library is loaded now: whatever keeps it from it
        return f"NVRTC, CUDA's compiler, cannot be loaded: {error}"
    number = capability[0] * 10 + capability[1]
    if number not in known:
        return f"NVRTC {version[0]}.{version[1]} does not compile for sm_{number}"
    return None


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
