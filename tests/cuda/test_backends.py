"""Both backends as users meet them: layouts and libraries, autograd, fake CUDA tensors, reasons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import refconv.functional as F
from refconv import UnsupportedError, autograd, dispatch, label, memory
from refconv.backends import _cuda_cupy as gpu
from refconv.backends import cuda_on_cpu, get, unavailable
from refconv.backends._cuda_launch import Given
from refconv.backends._cuda_slots import TABLE, slots

from .machines import cupy

CPU = "cuda-on-cpu"
T = torch.nn.functional
here = pytest.mark.skipif(unavailable(CPU) is not None, reason=str(unavailable(CPU)))
RANDOM = torch.Generator().manual_seed(0)


def randn(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=RANDOM, dtype=torch.float64).to(dtype)


@here
@pytest.mark.parametrize("op", ["conv1d", "conv2d", "conv3d", "conv_transpose2d"])
@pytest.mark.parametrize("batched", [True, False])
def test_results_and_gradients_are_torchs(op: str, batched: bool) -> None:
    """On the first call, and on the next, which has a plan."""
    rank = int(op[-2])
    for _ in range(3):
        x, w = randn(*(2,) * batched, 4, *(7, 6, 5)[:rank]), randn(4, 4, *(3,) * rank)
        b = randn(4)
        own = [t.clone().requires_grad_() for t in (x, w, b)]
        want = [t.clone().requires_grad_() for t in (x, w, b)]
        y = getattr(F, op)(*own, stride=2, padding=1, backend=CPU)
        z = getattr(T, op)(*want, stride=2, padding=1)
        torch.testing.assert_close(y, z)
        y.square().sum().backward()
        z.square().sum().backward()
        for one, other in zip(own, want, strict=True):
            torch.testing.assert_close(one.grad, other.grad)


@here
def test_layouts_follow_torchs_rule() -> None:
    x, w = randn(2, 3, 6, 5, dtype=torch.float32), randn(4, 3, 3, 3, dtype=torch.float32)
    assert F.conv2d(x, w, backend=CPU).is_contiguous()
    last = x.to(memory_format=torch.channels_last)
    for _ in range(2):
        y = F.conv2d(last, w, backend=CPU)
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert y.stride() == T.conv2d(last, w).stride()
        torch.testing.assert_close(y, T.conv2d(x, w))


@here
def test_numpy_in_numpy_out() -> None:
    """With any strides, backwards too."""
    x, w = np.arange(72.0).reshape(1, 2, 6, 6), np.arange(36.0).reshape(2, 2, 3, 3)
    want = T.conv2d(torch.from_numpy(x), torch.from_numpy(w)).numpy()
    for given in (x, np.asfortranarray(x), x[..., ::-1].copy()[..., ::-1]):
        y = F.conv2d(given, w, backend=CPU)
        assert type(y) is np.ndarray
        assert np.array_equal(y, want)


@here
def test_opcheck_and_gradcheck() -> None:
    """The custom ops are the same for every backend; the derivatives run on this one."""
    args = (randn(1, 2, 5, 5), randn(3, 2, 3, 3), randn(3), "conv2d", [1, 1], [1, 1], "", [1, 1],
            [0, 0], 1, CPU)  # fmt: skip
    torch.library.opcheck(autograd._ops["conv"], args)
    x, w = randn(1, 2, 4, 4).requires_grad_(), randn(2, 2, 3, 3).requires_grad_()
    f = lambda x, w: F.conv2d(x, w, stride=2, padding=1, backend=CPU)  # noqa: E731
    assert torch.autograd.gradcheck(f, (x, w))
    assert torch.autograd.gradgradcheck(f, (x, w))


def test_fake_cuda_tensors_dispatch_without_a_gpu() -> None:
    """Shape, device, dtype and layout, as a tracer asks for them."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 3, 8, 9, device="cuda", dtype=torch.bfloat16)
        w = torch.empty(4, 3, 3, 3, device="cuda", dtype=torch.bfloat16)
        w = w.to(memory_format=torch.channels_last)
        for backend in ("auto", "cupy", "cupy:shared"):
            y = F.conv2d(x, w, stride=2, padding=1, backend=backend)
            assert (y.shape, y.device.type, y.dtype) == ((2, 4, 4, 5), "cuda", torch.bfloat16)
            assert y.is_contiguous(memory_format=torch.channels_last)
            numbers = [2, 2], [1, 1, 1, 1], [1, 1], 1, backend
            gx = autograd._ops["conv_dgrad"](y, w, [8, 9], *numbers)
            assert (gx.shape, gx.device.type) == (x.shape, "cuda")


@here
def test_a_call_without_a_plan_of_its_own_says_why() -> None:
    x, w = np.ones((1, 2, 5, 5), np.int32), np.ones((3, 2, 3, 3), np.int32)
    with pytest.raises(UnsupportedError, match="shared: it sums real numbers, not int32"):
        F.conv2d(x, w, backend=CPU)
    with pytest.raises(UnsupportedError, match=r"it has .*shared, direct"):
        F.conv2d(x, w, backend=f"{CPU}:magic")
    x, w = randn(1, 1, 5, 5, 5), randn(1, 1, 3, 3, 3)
    with pytest.raises(UnsupportedError, match="1-D and 2-D, and this is 3-D"):
        F.conv3d(x, w, backend=f"{CPU}:shared")


def test_auto_never_takes_the_emulator() -> None:
    assert all(CPU not in names for names in dispatch.PREFERENCE.values())


def test_both_backends_have_the_same_steps() -> None:
    for slot, steps in TABLE.items():
        for backend in ("cupy", CPU):
            assert [a.name for a in get(backend).slots[slot]] == [step.name for step in steps]


def test_offsets_have_64_bits_where_they_must() -> None:
    problem = label.parse("conv2d x[1,1,2,2] w[1,1,1,1]")

    def wide(rows: int) -> bool:
        return Given(problem, "conv_fprop", {"x": (1, 1, 1, 2, 2)}, {"x": (0, 0, 0, rows, 1)}).wide

    assert not wide(2**31 - 2)
    assert wide(2**31 - 1)
    assert wide(-(2**31) + 1)


@pytest.mark.parametrize(
    ("shape", "strides", "new", "want"),
    [
        ((4, 5), (5, 1), (1, 4, 1, 1, 5), (20, 5, 5, 5, 1)),
        ((2, 3, 4), (12, 1, 3), (2, 3, 1, 2, 2), (12, 1, 3, 6, 3)),
        ((2, 3, 4), (12, 4, 1), (6, 4), (4, 1)),
        ((2, 3, 4), (0, 4, 1), (2, 12), (0, 1)),
        ((2, 3, 4), (24, 4, 1), (6, 4), None),
        ((0, 3), (3, 1), (0, 3, 1), (3, 1, 1)),
    ],
)
def test_strides_of_another_shape(shape, strides, new, want) -> None:
    found = memory.reshaped(shape, strides, new)
    if want is None:
        assert found is None
        return
    assert found is not None
    longer = [(s, f) for n, s, f in zip(new, want, found, strict=True) if n > 1]
    assert all(s == f for s, f in longer)


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ({}, None),
        ({"driver": 0}, "this machine has no NVIDIA driver"),
        ({"driver": 12020, "status": 35}, "knows CUDA 12.2, and CuPy needs 13.2"),
        ({"status": 100}, "sees no CUDA device"),
        ({"count": 0}, "sees no CUDA device"),
        ({"status": 999}, "CUDA does not start: cudaError 999"),
        ({"capability": (6, 1)}, "compute capability 6.1, and 7.0 is needed"),
        ({"nvrtc": "libnvrtc.so.13 not found"}, "cannot be loaded: libnvrtc.so.13 not found"),
        ({"capability": (7, 0)}, "NVRTC 13.0 does not compile for sm_70"),
    ],
)
def test_what_a_machine_lacks_is_said(machine, reason) -> None:
    found = gpu._reason(cupy(**machine))
    assert (found is None) if reason is None else (reason in found)


def test_cupy_itself_missing_or_twice(monkeypatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    monkeypatch.setattr(gpu, "installed", list)
    assert "CuPy is not installed" in str(gpu.probe())
    monkeypatch.setattr(gpu, "installed", lambda: ["cupy-cuda12x", "cupy-cuda13x"])
    assert "cupy-cuda12x and cupy-cuda13x are installed" in str(gpu.probe())


def test_no_compiler_is_a_reason(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert "there is no C++ compiler" in str(cuda_on_cpu.probe())


def test_an_old_gpu_is_a_reason_of_the_step() -> None:
    problem = label.parse("conv2d x[1,1,5,5] w[1,1,3,3]")
    (first, *_) = slots(lambda: "sm_61")["conv_fprop"]
    assert first.supports(problem) == "it needs sm_70 or newer, and this GPU is sm_61"


@pytest.mark.parametrize("make", [torch.zeros, np.zeros])
def test_what_is_written_to_a_copy_is_not_lost(make):
    """Axes that merge in memory are one; those that do not are copied to be read, never written."""
    x = make((4, 6))
    assert memory.ready(x, (24,), written=True)[1] == (1,)
    apart = x[:, :3]
    assert memory.ready(apart, (12,))[1] == (1,)
    with pytest.raises(UnsupportedError, match=r"cannot be written as \(12,\)"):
        memory.ready(apart, (12,), written=True)
