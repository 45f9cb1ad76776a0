"""CuPy's executor without a GPU: what it asks of the driver, which the emulator answers."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from refconv import dispatch, label
from refconv.backends import _cuda_cupy as gpu
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_launch, get, unavailable
from refconv.backends._cuda_tensor_map import emulated
from refconv.device_call import DeviceCall

from . import running

pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)
STREAM, LIMIT = 77, 8


class Driver:
    """CUDA's driver as CuPy shows it: modules are the emulator's libraries; all calls are noted."""

    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = LIMIT

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.modules: list = []
        self.functions: list = []
        self.limits: dict[int, int] = {}

    def moduleLoadData(self, image: bytes) -> int:
        self.asked.append("moduleLoadData")
        self.modules.append(image)
        return len(self.modules) - 1

    def moduleGetFunction(self, module: int, name: str) -> int:
        self.asked.append("moduleGetFunction")
        found = (self.modules[module], name)
        if found not in self.functions:
            self.functions.append(found)
        return self.functions.index(found)

    def funcSetAttribute(self, function: int, attribute: int, value: int) -> None:
        self.asked.append("funcSetAttribute")
        assert attribute == LIMIT
        self.limits[function] = value

    def launchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, params, extra) -> None:
        self.asked.append("launchKernel")
        assert (stream, extra) == (STREAM, 0)
        assert shared <= self.limits.get(function, 48 << 10), "more than was asked for"
        image, name = self.functions[function]
        sizes = SIZES.pop(0)
        pointers = (ctypes.c_void_p * len(sizes)).from_address(params)
        request = emulator._Request(
            (gx, gy, gz), (bx, by, bz), shared, pointers,
            (ctypes.c_ulonglong * len(sizes))(*sizes), len(sizes), 0, None, 0,
        )  # fmt: skip
        assert not getattr(emulator._library(*IMAGES[image]), f"launch_{name}")(
            ctypes.byref(request)
        )


IMAGES: dict[bytes, tuple] = {}
SIZES: list[list[int]] = []


@pytest.fixture
def driver(monkeypatch):
    """A machine that has a GPU, as far as the executor sees."""
    found = Driver()

    def compiled(name, macros, arch):
        assert arch == "sm_90a"
        image = repr((name, macros)).encode()
        IMAGES[image] = (name, macros)
        return image, ""

    def packed(launch, addresses, encode):
        values, pointers, sizes = _cuda_launch.packed(launch, addresses, emulated)
        SIZES.append(list(sizes))
        return values, pointers, sizes

    class Device:
        def __init__(self, number: int) -> None:
            assert number == 0

        __enter__ = __exit__ = lambda self, *error: None

    runtime = SimpleNamespace(
        free=lambda at: found.asked.append("free"),
        getDeviceProperties=lambda i: {"major": 9, "minor": 0},
    )
    cuda = SimpleNamespace(driver=found, runtime=runtime, Device=Device)
    for name, module in (("cupy", SimpleNamespace(cuda=cuda)), ("cupy.cuda", cuda)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gpu, "where", lambda like: (0, STREAM))
    monkeypatch.setattr(gpu, "packed", packed)
    monkeypatch.setattr(gpu.nvrtc, "compiled", compiled)
    monkeypatch.setattr(gpu, "_limits", {})
    for cached in (gpu._module, gpu._function, gpu._capability):
        cached.cache_clear()
    yield found
    for cached in (gpu._module, gpu._function, gpu._capability):
        cached.cache_clear()


def call_of(text: str, name: str, dtype: str) -> tuple[DeviceCall, tuple, torch.Tensor]:
    """A call through the executor, its arrays, and what the emulator's own executor gives."""
    problem = replace(label.parse(text), dtype=dtype)
    arrays, _ = running.answers(problem, "integer")
    given, _ = running.inputs_of(problem, "conv_fprop", arrays)
    choice = dispatch.choose(problem, "conv_fprop", f"cuda-on-cpu:{name}")
    backend = replace(get("cuda-on-cpu"), execute=gpu.execute)
    call = DeviceCall(problem, "conv_fprop", replace(choice, backend=backend))
    return call, tuple(given), running.run(problem, "conv_fprop", name, given)


STEPS = (
    ("conv2d x[1,3,5,5] w[2,3,3,3] b s2 p1", "direct", "float32"),
    ("conv2d x[1,16,5,6] w[8,16,3,3] p1", "igemm_wgmma", "bfloat16"),
    ("conv2d x[1,5,9,11] w[7,5,3,3] b p1", "winograd_f2", "float32"),
)


@pytest.mark.parametrize(("text", "name", "dtype"), STEPS)
def test_launches_reach_the_driver_as_they_are(driver, text, name, dtype) -> None:
    """Grid, block, stream and arguments, tensor maps and workspaces; and a second call asks for
    launches only, as who captures it in a CUDA graph needs.
    """
    call, given, want = call_of(text, name, dtype)
    assert torch.equal(call.run(given, False), want)
    assert {"free", "moduleLoadData", "moduleGetFunction", "launchKernel"} <= {*driver.asked}
    driver.asked.clear()
    assert torch.equal(call.run(given, False), want)
    assert {*driver.asked} == {"launchKernel"}


def test_shared_memory_is_asked_for_and_never_less_than_before(driver) -> None:
    """One function with more than a launch has by itself; with more, with less, and with more."""
    calls = [
        call_of(f"conv2d x[1,4,48,{width}] w[8,4,{k},{k}] s4", "stem", "float32")
        for k, width in ((7, 33), (11, 33), (9, 33), (11, 34))
    ]
    sizes = []
    for call, given, want in calls:
        assert torch.equal(call.run(given, False), want)
        sizes += [launch.shared for made in call._launches.values() for launch in made]
    assert len(driver.functions) == 1
    assert 48 << 10 < sizes[0] < sizes[2] < sizes[1] == sizes[3] == driver.limits[0]
    assert driver.asked.count("funcSetAttribute") == 2
