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
from . import _cuda_reasons as reasons
from ._cuda_launch import Launch, packed
from ._cuda_source import Macros
from ._cuda_stream import where
from ._cuda_tensor_map import encoded

#: Distributions that own the package ``cupy``.
CUPYS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-rocm-7-0", "cupy-rocm-7-1")
INSUFFICIENT_DRIVER, NO_DEVICE = 35, 100
#: Dynamic shared memory beyond this must be asked for.
SHARED = 48 << 10
#: Function → what was asked for.
_limits: dict[int, int] = {}


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
    if shared > _limits.get(found, SHARED):  # never less than before: other launches need it
        limit = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver.funcSetAttribute(found, limit, shared)
        _limits[found] = shared
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
    found = installed()
    if len(found) > 1:
        return (
            f"{' and '.join(found)} are installed, and overwrite each other "
            f"(pip uninstall {' '.join(found)}; then {reasons.extra(_wanted())})"
        )
    if find_spec("cupy") is None:
        return reasons.not_installed("CuPy")
    missing = reasons.no_driver()
    if missing is not None:
        return missing
    again = f"pip install --force-reinstall {found[0]}" if found else "install it anew"
    try:
        import cupy
    except Exception as error:  # whatever breaks its import is the reason
        return f"CuPy cannot be imported: {reasons.short(error)} ({again})"
    if not hasattr(cupy, "ndarray"):
        return f"what is called cupy is not CuPy, but what was left of one ({again})"
    try:
        return _reason(cupy)
    except Exception as error:
        return f"CuPy fails: {reasons.short(error)} ({again})"


def installed() -> list[str]:
    """Distributions of CuPy: more than one overwrite each other."""
    found = []
    for name in CUPYS:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def _wanted() -> int:
    """The CUDA that the driver knows; the newest without a driver."""
    return reasons.driver_version() // 1000 or 13


def _reason(cupy: Any) -> str | None:
    """What is missing beneath CuPy: driver, device, compiler."""
    runtime = cupy.cuda.runtime
    driver = runtime.driverGetVersion()
    if driver == 0:
        return reasons.NO_GPU
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == INSUFFICIENT_DRIVER:
            known, needed = driver, runtime.runtimeGetVersion()
            other = f"pip uninstall the CuPy there is; then {reasons.extra(driver // 1000)}"
            return reasons.old_driver(
                reasons.version(known), "CuPy", reasons.version(needed), other
            )
        if error.status != NO_DEVICE:
            return f"CUDA does not start: {error} ({reasons.STARTS})"
        count = 0
    if count == 0:
        return reasons.no_device()
    properties = runtime.getDeviceProperties(runtime.getDevice())
    capability = properties["major"], properties["minor"]
    reason = reasons.old_card(capability)
    if reason is not None:
        return reason
    try:
        version, known = cupy.cuda.nvrtc.getVersion(), cupy.cuda.nvrtc.getSupportedArchs()
    except Exception as error:  # its library is loaded now: whatever keeps it from it
        package = reasons.extra(runtime.runtimeGetVersion() // 1000)
        return f"NVRTC, CUDA's compiler, cannot be loaded: {error} ({package}; no nvcc is needed)"
    number = capability[0] * 10 + capability[1]
    if number not in known:
        newer = number > max(known)
        other = "install a newer nvidia-cuda-nvrtc" if newer else reasons.extra(12)
        return f"NVRTC {version[0]}.{version[1]} does not compile for sm_{number} ({other})"
    return None
