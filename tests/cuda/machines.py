"""Machines that are not here: what stands for the driver, CuPy and numba.cuda on each."""

from __future__ import annotations

from types import SimpleNamespace


class CUDARuntimeError(RuntimeError):
    status = 0


def cupy(driver=13000, status=0, count=1, capability=(9, 0), nvrtc=None, archs=(90,)):
    """What stands for CuPy on a machine like this."""

    def devices():
        if status:
            error = CUDARuntimeError(f"cudaError {status}")
            error.status = status
            raise error
        return count

    def version():
        if nvrtc:
            raise RuntimeError(nvrtc)
        return 13, 0

    major, minor = capability
    runtime = SimpleNamespace(
        driverGetVersion=lambda: driver, runtimeGetVersion=lambda: 13020, getDeviceCount=devices,
        CUDARuntimeError=CUDARuntimeError, getDevice=lambda: 0,
        getDeviceProperties=lambda i: {"major": major, "minor": minor},
    )  # fmt: skip
    compiler = SimpleNamespace(getVersion=version, getSupportedArchs=lambda: archs)
    everything = SimpleNamespace(runtime=runtime, nvrtc=compiler)
    return SimpleNamespace(cuda=everything, ndarray=type("ndarray", (), {}))


def cuda(error=None, count=1, capability=(9, 0), nvvm=None, driver=(13, 0)):
    """What stands for numba.cuda on a machine like this."""

    def compiler():
        if nvvm:
            raise ImportError(nvvm)

    return SimpleNamespace(
        cuda_error=lambda: error,
        gpus=[0] * count,
        get_current_device=lambda: SimpleNamespace(compute_capability=capability),
        cudadrv=SimpleNamespace(
            nvvm=SimpleNamespace(NVVM=compiler),
            runtime=SimpleNamespace(get_version=lambda: (13, 0)),
            driver=SimpleNamespace(get_version=lambda: driver),
        ),
    )


class Driver:
    """NVIDIA's driver library, and NVML, as ctypes would have them.

    Args:
        cuda: the newest version that it knows. status: of cuInit.
        gpus: (name, capability, bytes, bytes that are free) of each.
    """

    def __init__(self, cuda=13000, status=0, gpus=(("NVIDIA H200", (9, 0), 141 << 30, 140 << 30),)):
        self.cuda, self.status, self.gpus = cuda, status, gpus

    def cuDriverGetVersion(self, found):
        found._obj.value = self.cuda
        return 0

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, found):
        found._obj.value = len(self.gpus)
        return 0

    def cuDeviceGet(self, found, index):
        found._obj.value = index
        return 0

    def cuDeviceGetName(self, text, size, device):
        text.value = self.gpus[device][0].encode()
        return 0

    def cuDeviceTotalMem_v2(self, found, device):
        found._obj.value = self.gpus[device][2]
        return 0

    def cuDeviceGetAttribute(self, found, attribute, device):
        major, minor = self.gpus[device][1]
        found._obj.value = {75: major, 76: minor, 16: 132}[attribute]
        return 0

    def cuDeviceGetUuid_v2(self, raw, device):
        raw.raw = bytes([device]) * 16
        return 0

    def cuGetErrorString(self, status, found):
        found._obj.value = f"error of number {status}".encode()
        return 0

    def nvmlSystemGetDriverVersion(self, text, size):
        text.value = b"580.65.06"
        return 0

    def nvmlDeviceGetHandleByUUID(self, name, found):
        assert name.startswith(b"GPU-")
        found._obj.value = int(name[4:6], 16) + 1
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, found):
        found._obj.free = self.gpus[handle.value - 1][3]
        return 0
