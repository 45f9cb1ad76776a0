"""numba-cuda as users meet it: reasons of its probe, and what it gives Numba to run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import refconv.functional as F
from refconv import label
from refconv.backends import get, numba_cuda
from refconv.backends._numba_cuda_plans import View

from .machines import cuda


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (cuda(), None),
        (cuda("\nCUDA driver library cannot be found.\nEnsure that"), "has no NVIDIA driver"),
        (cuda("Call to cuInit results in CUDA_ERROR_NO_DEVICE (100)"), "sees no CUDA device"),
        (cuda(count=0), "sees no CUDA device"),
        (cuda("cuInit: CUDA_ERROR_\n UNKNOWN"), "does not start: cuInit: CUDA_ERROR_ UNKNOWN"),
        (cuda(capability=(6, 1)), "compute capability 6.1, and 7.0 is needed"),
        (cuda(nvvm="libnvvm.so: cannot open"), "libNVVM or .* cannot be loaded: libnvvm.so"),
        (cuda(driver=(12, 4)), r"it knows CUDA 12\.4, and numba-cuda needs 13\.0 .*cuda12"),
    ],
)
def test_each_reason(machine, reason: str | None) -> None:
    found = numba_cuda._reason(machine)
    if reason is None:
        assert found is None
    else:
        with pytest.raises(ValueError, match=reason):
            raise ValueError(found)


def test_a_missing_package_is_a_reason(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        numba_cuda, "find_spec", lambda name: None if name == "numba_cuda" else real(name)
    )
    assert numba_cuda.probe() == (
        'numba-cuda is not installed (pip install "refconv[cuda13]", or "refconv[cuda12]", where '
        "a GPU is)"
    )


def test_the_simulator_is_a_reason(monkeypatch) -> None:
    from numba import config

    monkeypatch.setattr(numba_cuda, "find_spec", lambda name: name)
    monkeypatch.setattr(config, "ENABLE_CUDASIM", True)
    assert "simulator is on" in str(numba_cuda.probe())


def test_numba_is_imported_only_by_a_call() -> None:
    """Not by the backend's module, nor its slots, nor what they support."""
    code = (
        "import sys; from refconv import backends, label\n"
        "p = label.parse('conv2d x[1,2,5,5] w[3,2,3,3]')\n"
        "for a in backends.get('numba-cuda').slots['conv_fprop']: assert a.supports(p) is None\n"
        "assert 'numba' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fake_cuda_tensors_dispatch_without_a_gpu() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 3, 8, 9, device="cuda", dtype=torch.float16)
        w = torch.empty(4, 3, 3, 3, device="cuda", dtype=torch.float16)
        y = F.conv2d(x, w, stride=2, padding=1, backend="numba-cuda:shared")
        assert (y.shape, y.device.type, y.dtype) == ((2, 4, 4, 5), "cuda", torch.float16)


def test_memory_is_described_as_it_lies() -> None:
    """Strides in bytes; bfloat16 as its bits."""
    view = View("x", (2, 1, 1, 3, 4), (24, 24, 24, 1, 3), "bfloat16")
    told = numba_cuda.Memory(view, 4096).__cuda_array_interface__
    assert told["strides"] == (48, 48, 48, 2, 6)
    assert (told["typestr"], told["data"], told["shape"]) == ("<u2", (4096, False), view.shape)


def test_what_it_cannot_run_has_a_reason() -> None:
    whole = label.parse("conv3d x[1,2,5,5,5] w[3,2,3,3,3]")
    shared, direct = get("numba-cuda").slots["conv_fprop"]
    assert "1-D and 2-D" in str(shared.supports(whole))
    assert direct.supports(whole) is None
    assert "not int32" in str(direct.supports(label.parse("conv2d x[1,1,5,5] w[1,1,3,3] int32")))
