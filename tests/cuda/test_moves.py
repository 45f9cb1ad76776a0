"""Pools and moves as users meet them: gradients, layouts, and the dtypes that are only moved."""

from __future__ import annotations

import pytest
import torch

import refconv.functional as F
from refconv import UnsupportedError
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import unavailable

from .running import judge, problems
from .test_planted_bugs import Bug, plant

CPU = "cuda-on-cpu"
T = torch.nn.functional
RANDOM = torch.Generator().manual_seed(0)
pytestmark = pytest.mark.skipif(unavailable(CPU) is not None, reason=str(unavailable(CPU)))

OPS = {
    "max_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "avg_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "adaptive_max_pool2d": {"output_size": (3, 2)},
    "adaptive_avg_pool2d": {"output_size": (3, 2)},
    "unfold": {"kernel_size": 3, "padding": 1, "dilation": 2},
    "pad": {"pad": (2, 1, 3, -1), "mode": "reflect"},
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("last", [False, True])
def test_results_gradients_and_layouts_are_torchs(op: str, last: bool) -> None:
    """On the first call, and on the next, which has a plan."""
    for _ in range(2):
        x = torch.randn((2, 4, 7, 6), generator=RANDOM)
        x = x.to(memory_format=torch.channels_last) if last else x
        own, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = getattr(F, op)(own, **OPS[op], backend=CPU), getattr(T, op)(other, **OPS[op])
        torch.testing.assert_close(y, z, rtol=0, atol=1e-6)
        assert y.stride() == z.stride()
        y.square().sum().backward()
        z.square().sum().backward()
        torch.testing.assert_close(own.grad, other.grad)


def test_unpooling_and_fold() -> None:
    x = torch.randn((2, 3, 6, 8), generator=RANDOM).to(memory_format=torch.channels_last)
    y, index = F.max_pool2d(x, 2, return_indices=True, backend=CPU)
    assert torch.equal(F.max_unpool2d(y, index, 2, backend=CPU), T.max_unpool2d(y, index, 2))
    columns = torch.randn((2, 18, 12), generator=RANDOM)
    torch.testing.assert_close(F.fold(columns, (5, 7), (3, 2), stride=2, padding=1, backend=CPU),
                               T.fold(columns, (5, 7), (3, 2), stride=2, padding=1))  # fmt: skip


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int64", "bool", "bfloat16", "float16", "complex64",
              "complex128", "complex32", "float8_e5m2"]
)  # fmt: skip
def test_whatever_is_padded(dtype: str) -> None:
    of = getattr(torch, dtype)
    x = torch.randint(0, 2, (2, 3, 5), generator=RANDOM).to(of)
    y = F.pad(x, (2, 1, 1, 0), value=1, backend=CPU)
    z = F.pad(x, (2, 1, 1, 0), value=1, backend="naive")
    assert y.dtype == of
    assert torch.equal(y.view(torch.uint8), z.view(torch.uint8))


def test_what_is_summed_is_a_real_number() -> None:
    x = torch.ones((1, 2, 4, 4), dtype=torch.int64)
    with pytest.raises(UnsupportedError, match="it sums real numbers, not int64"):
        F.avg_pool2d(x, 2, backend=CPU)
    assert F.unfold(x.bool(), 2, backend=CPU).dtype == torch.bool


WINDOWS = "max_pool windows pool_1_windows.cu"
SCATTER = "scatter_add direct scatter_1_direct.cu"
BUGS = [
    Bug("the last of equals wins", WINDOWS, "value > best", "value >= best", "integer", "wrong;"),
    Bug("a NaN does not win", WINDOWS, " || value != value", "", "real", "wrong;"),
    Bug("the divisor counts no padding", "avg_pool windows pool_1_windows.cu",
        "sum / divisor_of(g, p.d, p.h, p.w)", "sum / (h.stop - h.start)", "integer", "wrong;"),
    Bug("the next position is read too early", SCATTER,
        "__syncwarp();  // whoever leads next for this position sees it", "", "integer",
        "wrong;"),
    Bug("a chunk is passed over", SCATTER, "range.most < first",
        "range.most < first + 1024", "integer", "wrong;"),
    Bug("an image of a mirror is left out", "pad_backward direct pad_backward_1_direct.cu",
        "next_shown(g.axis[j], i[j], o + 1)", "g.axis[j].out", "integer", "wrong;"),
    Bug("a tap of another phase", "fold direct fold_1_direct.cu", "h % g.stride_h != 0 || ", "",
        "integer", "wrong;"),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_planted_bugs_are_found(bug: Bug, tmp_path, monkeypatch) -> None:
    """By one of the listed problems."""
    plant(bug, tmp_path, monkeypatch)
    slot, name, _ = bug.where.split()
    with pytest.raises((AssertionError, emulator.EmulatorError), match=bug.found):
        judge_all(slot, name, bug.case)


def judge_all(slot: str, name: str, kind: str) -> None:
    for problem in problems(slot, name, "float32"):
        judge(problem, slot, name, kind, "contiguous")
