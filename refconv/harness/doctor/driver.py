"""The GPUs as NVIDIA's driver sees them, asked through its own libraries, without a CUDA package.

The driver API names the devices and what CUDA it knows; NVML adds the driver's own version and the
memory that is free, which the driver API tells only to those who take some of it.
"""

from __future__ import annotations

import ctypes
import uuid
from dataclasses import dataclass
from typing import Any

from ...backends import _cuda_reasons as reasons

#: cuInit's answers that have a reason of their own, and what helps.
STUB, NO_DEVICE, NOT_READY, MISMATCH = 34, 100, 802, 803
STARTS = {
    STUB: "libcuda.so.1 is the toolkit's stub, not the driver (take the stubs folder out of "
    "LD_LIBRARY_PATH)",
    NOT_READY: "the driver is not ready yet (is nvidia-fabricmanager running?)",
    MISMATCH: "the driver's library and its kernel module are of different versions (reboot)",
}
#: CUdevice_attribute.
MULTIPROCESSORS, MAJOR, MINOR = 16, 75, 76


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Args:
        memory: bytes in all; free: bytes, None where NVML does not say.
    """

    index: int
    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int
    free: int | None = None

    @property
    def sm(self) -> str:
        """``sm_90`` or the like."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


@dataclass(frozen=True)
class Driver:
    """The driver and its GPUs.

    Args:
        reason: why there is no GPU to use; empty if there is one.
        cuda: the newest CUDA it knows, as CUDA writes versions (13000); 0 without a driver.
        version: the driver's own; empty where NVML does not say.
    """

    reason: str = ""
    cuda: int = 0
    version: str = ""
    gpus: tuple[Gpu, ...] = ()


def look(cuda: Any = None, nvml: Any = None) -> Driver:
    """Ask the driver.

    Args:
        cuda, nvml: its libraries; None: those of this machine.
    """
    if cuda is None:
        reason = reasons.no_driver()
        if reason is not None:
            return Driver(reason)
        cuda = reasons.driver()
    nvml = _nvml() if nvml is None else nvml
    knows, version = _int(cuda.cuDriverGetVersion), _driver_version(nvml)
    status = cuda.cuInit(0)
    count = 0 if status else _int(cuda.cuDeviceGetCount)
    if status in (0, NO_DEVICE) and not count:
        return Driver(reasons.no_device(), knows, version)
    if status:
        said = (
            STARTS.get(status) or f"CUDA does not start: {_said(cuda, status)} ({reasons.STARTS})"
        )
        return Driver(said, knows, version)
    return Driver("", knows, version, tuple(_gpu(cuda, nvml, i) for i in range(count)))


def _gpu(cuda: Any, nvml: Any, index: int) -> Gpu:
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    device, number = _int(cuda.cuDeviceGet, index), ctypes.create_string_buffer(16)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    ask = cuda.cuDeviceGetAttribute
    identify = getattr(cuda, "cuDeviceGetUuid_v2", None)
    known = identify is not None and not identify(number, device)
    return Gpu(
        index,
        name.value.decode(errors="replace"),
        (_int(ask, MAJOR, device), _int(ask, MINOR, device)),
        _int(ask, MULTIPROCESSORS, device),
        memory.value,
        _free(nvml, number.raw) if known else None,
    )


class _Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def _nvml() -> Any:
    """NVML, begun; or None."""
    try:
        found = ctypes.CDLL("libnvidia-ml.so.1")
        return None if found.nvmlInit_v2() else found
    except (OSError, AttributeError):
        return None


def _driver_version(nvml: Any) -> str:
    text = ctypes.create_string_buffer(96)
    if nvml is None or nvml.nvmlSystemGetDriverVersion(text, len(text)):
        return ""
    return text.value.decode(errors="replace")


def _free(nvml: Any, number: bytes) -> int | None:
    """Bytes that are free on the GPU of this UUID: NVML counts GPUs otherwise than CUDA."""
    if nvml is None:
        return None
    handle, memory = ctypes.c_void_p(), _Memory()
    name = f"GPU-{uuid.UUID(bytes=number)}".encode()
    if nvml.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)):
        return None
    return None if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) else memory.free


def _int(function: Any, *arguments: int) -> int:
    """A number that a function of the driver stores; 0 if it fails."""
    found = ctypes.c_int(0)
    return 0 if function(ctypes.byref(found), *arguments) else found.value


def _said(cuda: Any, status: int) -> str:
    text = ctypes.c_char_p()
    known = not cuda.cuGetErrorString(status, ctypes.byref(text)) and text.value
    return f"{text.value.decode()} ({status})" if known and text.value else f"error {status}"
