"""What may be captured in a CUDA graph, without a GPU: the second call of a kind, by every step of
CuPy's backend, launches on torch's current stream and allocates from torch, and nothing else.

Tensors are fake ones on ``cuda``, so that torch itself says what is done on which device; the
driver only notes what it is asked for.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from refconv import dispatch, memory
from refconv.backends import _cuda_cupy as gpu
from refconv.backends import _cuda_stream, get
from refconv.device_call import DeviceCall
from refconv.harness.gpu import compiling, racing

from . import running
from .planned import FLAT
from .running import DTYPES, EACH

STREAM = 77
#: What a capture allows: a device that is made current, a map that is made by the CPU, launches.
ALLOWED = {"setDevice", "encode", f"launch on {STREAM}"}
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
CACHES = (gpu._module, gpu._function, gpu._capability, _cuda_stream._of_torch)


class Watch(TorchDispatchMode):
    """Notes torch's calls that a capture does not allow: values that the CPU waits for, and tensors
    that are not on the GPU.
    """

    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        self.asked = asked

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        every = [made, *args] if not isinstance(made, tuple | list) else [*made, *args]
        away = [x for x in every if isinstance(x, torch.Tensor) and x.device.type != "cuda"]
        if away or torch.Tag.data_dependent_output in func.tags:
            self.asked.append(str(func))
        return made


@pytest.fixture
def asked(monkeypatch):
    """What the driver, the compiler and torch's own functions that wait were asked for."""
    found: list[str] = []
    FakeTensorMode()  # what torch imports for it looks at every module there is, fake ones too

    def note(what: str, result: Any = None) -> Any:
        return lambda *_, **__: (found.append(what), result)[1]

    def launch(function, gx, gy, gz, bx, by, bz, shared, stream, params, extra) -> None:
        found.append(f"launch on {stream}")

    driver = SimpleNamespace(
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8, launchKernel=launch,
        **{name: note(name, 1) for name in ("moduleLoadData", "moduleGetFunction",
                                            "funcSetAttribute")},
    )  # fmt: skip
    runtime = SimpleNamespace(
        free=note("free"), getDeviceProperties=note("properties", {"major": 9, "minor": 0})
    )
    cuda = SimpleNamespace(
        driver=driver, runtime=runtime, Device=lambda i: note("setDevice", nullcontext())(i)
    )
    for name, module in (("cupy", SimpleNamespace(cuda=cuda)), ("cupy.cuda", cuda)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gpu.nvrtc, "compiled", note("compile", (b"", "")))
    monkeypatch.setattr(gpu, "encoded", note("encode", bytes(128)))
    monkeypatch.setattr(gpu, "_limits", {})
    stream = SimpleNamespace(cuda_stream=STREAM)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "synchronize", note("synchronize"))
    properties = SimpleNamespace(multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", note("properties", properties))
    places = count(1 << 20, 1 << 20)
    monkeypatch.setattr(memory, "address", lambda x: next(places))
    for cached in CACHES:
        cached.cache_clear()
    yield found
    for cached in CACHES:
        cached.cache_clear()


def fresh(call: DeviceCall, layout: str) -> tuple[Any, ...]:
    """Arrays for a call, where no others lie."""
    shapes = compiling._users(call.problem, call.slot, call)[len(call.outputs) :]
    made = []
    for name, shape in zip(call.inputs, shapes, strict=False):
        dtype = torch.int64 if name == "index" else getattr(torch, call.problem.dtype)
        last = LAST.get(len(shape or ()), torch.contiguous_format)
        how = last if layout == "channels_last" else torch.contiguous_format
        there = shape is not None
        made.append(
            torch.empty(shape, dtype=dtype, device="cuda", memory_format=how) if there else None
        )
    return tuple(made)


def second(asked: list[str], slot: str, name: str, layout: str, execute: Any = None) -> list[str]:
    """What the second call of a step is asked for, of its first problem."""
    problem = next(p for d in DTYPES for p in running.problems(slot, name, d))
    step = next(a for a in get("cupy").slots[slot] if a.name == name)
    backend = replace(get("cupy"), execute=execute or gpu.execute)
    call = DeviceCall(problem, slot, dispatch.Choice(backend, step))
    last = layout == "channels_last" and slot not in FLAT and len(problem.output_shape) in LAST
    with FakeTensorMode():
        call.run(fresh(call, layout), last)
        assert {"compile", "moduleLoadData", "moduleGetFunction", "properties"} <= {*asked}
        asked.clear()
        with Watch(asked):
            call.run(fresh(call, layout), last)
    return asked


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("slot", "name"), EACH)
def test_a_second_call_only_launches(asked, slot: str, name: str, layout: str) -> None:
    said = second(asked, slot, name, layout)
    assert {"setDevice", f"launch on {STREAM}"} <= {*said} <= ALLOWED


def execute(fault: Any, launches: Any, addresses: Any, like: torch.Tensor) -> None:
    """The backend's, with a fault."""
    fault(like)
    gpu.execute(launches, addresses, like)


#: What a capture forbids, and how it is told.
FAULTS = {
    "aten._to_copy.default": lambda x: x.cpu(),
    "a value": lambda x: (x == 0).any().item(),
    "aten.empty.memory_format": lambda x: torch.empty(3),
    "synchronize": lambda x: torch.cuda.synchronize(),
    "compile": lambda x: gpu._module.cache_clear() or gpu._function.cache_clear(),
    "funcSetAttribute": lambda x: gpu._function("conv_1_direct.cu", (), "f", 99 << 10, 0),
    "launch on 0": lambda x: setattr(torch.cuda.current_stream(0), "cuda_stream", 0),
}


@pytest.mark.parametrize("told", FAULTS)
def test_what_a_capture_forbids_is_noticed(asked, told: str) -> None:
    faulty = iter((lambda x: None, FAULTS[told]))
    try:
        said = second(asked, "conv_fprop", "direct", "contiguous",
                      lambda *given: execute(next(faulty), *given))  # fmt: skip
    except DataDependentOutputException:  # a fake tensor has none
        said = ["a value"]
    assert told in {*said} - ALLOWED


class Graph:
    """A captured call that is done again when it is replayed."""

    def __init__(self, writes: bool) -> None:
        self.writes = writes

    def replay(self) -> None:
        if self.writes:
            self.kept.copy_(self.call())


@pytest.mark.parametrize("writes", [True, False])
def test_a_graph_has_a_time_only_if_its_replay_is_right(monkeypatch, writes: bool) -> None:
    """As ``refconv gpu`` times it; a failure is a reason in the record."""
    graph = Graph(writes)
    graph.call = partial(torch.arange, 4.0)

    def called() -> torch.Tensor:
        graph.kept = graph.call()
        return graph.kept

    entry = racing.Entry("cupy:direct", "contiguous", called, "direct", {"status": "ok"})
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext())
    monkeypatch.setattr(racing, "_judge", lambda again, *_: again.record.update(
        {"status": "wrong", "reason": "4 of 4 wrong"}))  # fmt: skip
    clock = SimpleNamespace(time=lambda call, calls: 5.0)
    device = SimpleNamespace(rehearsal=False, warm=lambda: clock, synchronize=lambda: None,
                             healthy=lambda: True)  # fmt: skip
    racing._host([entry], None, None, device, lambda where: None)
    if writes:
        assert entry.record["graph_ns"] == 5.0
    else:
        assert "graph_ns" not in entry.record
        assert entry.record["graph"] == "RuntimeError: its replay is wrong: 4 of 4 wrong"
