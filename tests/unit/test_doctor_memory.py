"""Too little memory: the error says how much a launch needs, how much is free, and what needs less.

On the emulator, whose libraries are told to have no more.
"""

import dataclasses

import numpy as np
import pytest
import torch

import refconv
import refconv.functional as F
from refconv import device_call, dispatch, label, memory
from refconv.backends import get

X, W = np.ones((1, 8, 8, 8), np.float32), np.ones((8, 8, 3, 3), np.float32)
STEP = "cuda-on-cpu:winograd_f2"


def launches(name: str, text: str = "conv2d x[1,8,8,8] w[8,8,3,3]", slot: str = "conv_fprop"):
    """What algorithm ``name`` launches for a problem."""
    call = dispatch.prepare(label.parse(text), slot, name, "cpu")
    shapes = zip((*call.inputs, *call.outputs), (*call.in_shapes, *call.out_shapes), strict=True)
    return call.launches({name: memory.contiguous(shape) for name, shape in shapes})


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError("Unable to allocate 1.00 TiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_workspace_that_does_not_fit(monkeypatch, error) -> None:
    def full(size, dtype, like):
        if dtype == "uint8":
            raise error
        return np.empty(size, dtype)

    monkeypatch.setattr(memory, "new", full)
    monkeypatch.setattr(memory, "available", lambda: 3 << 20)
    size = sum(device_call.workspaces(launches(STEP)).values())
    assert size > 0
    with pytest.raises(refconv.OutOfMemoryError) as found:
        F.conv2d(X, W, padding=1, backend=STEP)
    said = str(found.value)
    assert f"conv2d: {STEP} conv_fprop needs a workspace of {size / 2**20:.1f} MiB" in said
    assert "free are 3.0 MiB" in said
    assert 'backend="cuda-on-cpu:direct" needs no workspace' in said
    assert found.value.__cause__ is error
    assert isinstance(found.value, MemoryError)


def test_a_launch_that_does_not_fit() -> None:
    """The driver says so when it launches; nothing is promised of other algorithms."""

    def full(*_):
        raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory")

    problem = label.parse("conv2d x[1,8,8,8] w[8,8,3,3]")
    choice = dispatch.choose(problem, "conv_fprop", "cuda-on-cpu:direct")
    backend = dataclasses.replace(choice.backend, execute=full)
    call = device_call.DeviceCall(problem, "conv_fprop", dispatch.Choice(backend, choice.algorithm))
    with pytest.raises(refconv.OutOfMemoryError) as found:
        call.run((X, W), False)
    assert "direct conv_fprop needs more memory for its launch" in str(found.value)
    assert "needs no workspace" not in str(found.value)


def test_other_errors_stay_what_they_are(monkeypatch) -> None:
    def broken(size, dtype, like):
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(memory, "new", broken)
    with pytest.raises(RuntimeError, match="illegal memory access") as found:
        F.conv2d(X, W, padding=1, backend=STEP)
    assert not isinstance(found.value, refconv.OutOfMemoryError)


@pytest.mark.parametrize("slot", ["conv_fprop", "conv_dgrad", "conv_wgrad", "conv_bgrad"])
def test_direct_needs_no_workspace(slot) -> None:
    """As the error promises."""
    text = "conv2d x[2,8,8,8] w[8,8,3,3] b p1"
    assert any(a.name == "direct" for a in get("cuda-on-cpu").slots[slot])
    assert not device_call.workspaces(launches("cuda-on-cpu:direct", text, slot))
