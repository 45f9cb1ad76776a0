"""``refconv.fused``: every step of conv_fprop clamps what it stores, and says what it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from refconv import UnsupportedError, fused, guard, label
from refconv.backends import get, unavailable
from refconv.backends._cuda_slots import TABLE

from . import running
from .test_planted_bugs import Bug, plant

CPU = "cuda-on-cpu"
here = pytest.mark.skipif(unavailable(CPU) is not None, reason=str(unavailable(CPU)))
DTYPES = ("float32", "bfloat16")
NAMES = [step.name for step in TABLE["conv_fprop"]]


def both(problem, name: str, layout: str = "contiguous") -> tuple[torch.Tensor, torch.Tensor]:
    """Fused, and the same step followed by torch's relu; two channels begin as NaN and -inf."""
    arrays, _ = running.answers(problem, "real")
    given, _ = running.inputs_of(problem, "conv_fprop", arrays)
    bias = arrays["input"].new_zeros(problem.out_channels)
    bias[0], bias[1] = torch.nan, -torch.inf
    given = [running.as_laid_out(x, layout) for x in (*given[:2], bias)]
    plain = running.run(problem, "conv_fprop", name, given)
    call = fused.prepared(problem, f"{CPU}:{name}", "cpu")
    with guard.checked():
        return call.run(tuple(given), layout == "channels_last"), torch.relu(plain)


@here
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", NAMES)
def test_every_step_clamps(name: str, layout: str) -> None:
    """To the bits of two calls: NaN stays, and -inf becomes 0."""
    listed = [p for d in DTYPES for p in running.problems("conv_fprop", name, d)]
    fitting = [replace(p, bias=True) for p in listed if p.batch and p.out_channels > 4]
    for problem in {p.dtype: p for p in fitting[::-1]}.values():
        got, want = both(problem, name, layout)
        assert want[:, 0].isnan().all()
        assert (want[:, 1] == 0).all()
        assert ((want[:, 2:] > 0).any(), (want[:, 2:] == 0).any()) == (True, True)
        assert torch.equal(got.isnan(), want.isnan()), label.format(problem)
        assert torch.equal(got.nan_to_num(7), want.nan_to_num(7)), label.format(problem)


@here
def test_as_users_call_it() -> None:
    """NumPy and torch, again and again, with the arguments of the convolution."""
    x, w = torch.randn(2, 3, 9, 8), torch.randn(4, 3, 3, 3)
    want = torch.relu(torch.nn.functional.conv2d(x, w, None, 2, "valid"))
    for _ in range(2):
        got = fused.conv2d_relu(x, w, None, 2, "valid", backend=CPU)
        torch.testing.assert_close(got, want)
    got = fused.conv2d_relu(x.numpy(), w.numpy(), stride=2, backend=f"{CPU}:direct")
    assert type(got) is np.ndarray
    torch.testing.assert_close(torch.from_numpy(got), want)
    x, w = torch.randn(3, 9), torch.randn(4, 3, 3)
    want = torch.relu(torch.nn.functional.conv1d(x, w, padding=1))
    torch.testing.assert_close(fused.conv1d_relu(x, w, padding=1, backend=f"{CPU}:direct"), want)
    x, w = torch.randn(1, 2, 3, 4, 5), torch.randn(4, 2, 2, 2, 2)
    want = torch.relu(torch.nn.functional.conv3d(x, w))
    torch.testing.assert_close(fused.conv3d_relu(x, w, backend=f"{CPU}:direct"), want)


def test_who_has_no_such_kernel_says_so() -> None:
    x, w = np.ones((1, 3, 5, 5), np.float32), np.ones((2, 3, 3, 3), np.float32)
    with pytest.raises(UnsupportedError, match="conv2d_relu: naive has no kernel that clamps"):
        fused.conv2d_relu(x, w, backend="naive")
    with pytest.raises(UnsupportedError, match=r"conv2d_relu: it has no gradient .*no_grad"):
        fused.conv2d_relu(torch.ones(1, 1, 3, 3, requires_grad=True), torch.ones(1, 1, 3, 3))
    assert [n for n in ("cupy", CPU, "numba", "numba-cuda") if get(n).fuses] == ["cupy", CPU]


@here
def test_a_step_that_forgets_is_found(tmp_path, monkeypatch) -> None:
    bug = Bug("", "conv_fprop direct conv_1_direct.cu", "finished(sum)", "sum", "", "")
    plant(bug, tmp_path, monkeypatch)
    with pytest.raises(AssertionError):
        test_every_step_clamps("direct", "contiguous")
