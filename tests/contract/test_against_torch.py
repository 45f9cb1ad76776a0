"""Every op on drawn problems against torch: values, indices, gradients, shapes, dtypes, strides."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as T
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

import refconv.functional as F
from refconv import guard
from refconv.errors import RefconvError
from refconv.oracle.check import drawn
from refconv.oracle.check.case import Case, numbers, plain
from refconv.oracle.check.drawn import cases

from . import bounds

FLOAT = torch.float64
INEXACT = ("lp_pool",)  # a root is not an integer: no exact data


def examples(backend: str):
    """Fewer examples for the backend that loops in Python."""
    return (
        settings(max_examples=max(settings.default.max_examples // 2, 1))
        if backend == "naive"
        else settings()
    )


def run_hypothesis(backend: str, op: str, check) -> None:
    """``check(case)`` on drawn problems of ``op``."""
    examples(backend)(given(cases(op, small=backend == "naive"))(check))()


@pytest.mark.parametrize("op", drawn.OP_NAMES)
@pytest.mark.parametrize("backend", ["naive", "im2col", "numba"])
def test_values_and_gradients(op: str, backend: str) -> None:
    def check(case: Case) -> None:
        compare(case, FLOAT, "real", backend, fake=True)
        if case.kind not in INEXACT:
            compare(case, FLOAT, "exact", backend)

    run_hypothesis(backend, op, check)


def compare(
    case: Case,
    dtype: torch.dtype,
    values: str,
    backend: str,
    gradients: bool = True,
    fake: bool = False,
) -> None:
    """One case: refconv inside torch's bound, or equal to torch on exact values.

    Args:
        fake: foretold by fake tensors too, which take as long as all the rest.
    """
    arrays = case.arrays(dtype, values)
    what = f"{case} {dtype} {values} on {backend}"
    ours = partial(case.call, F, backend=backend)
    got, index = _split(_guarded(ours, arrays))
    theirs, theirs_index = _split(torch_call(case, arrays))
    bounds.same_layout(what, got, theirs, case.layout)
    if index is not None:
        bounds.same(f"{what}: indices", index, theirs_index)
        bounds.same_layout(f"{what}: indices", index, theirs_index, case.layout)
        bounds.same(what, got, theirs)
    predicted(what, ours, arrays, got, fake)
    gy = _incoming(case, theirs, dtype, values) if gradients else None
    judge_one(what, case, arrays, gy, got, values, ours, dtype)


def torch_call(case: Case, arrays):
    """torch's answer; its max_pool3d refuses (C, D, H, W) whose strides look like channels_last."""
    try:
        return case.call(T, *arrays)
    except RuntimeError as error:
        if case.op != "max_pool3d" or "memory format" not in str(error):
            raise
        return case.call(T, *(t.contiguous() for t in arrays))


def _guarded(f, arrays):
    with guard.checked():
        return f(*arrays)


def _incoming(case: Case, y: torch.Tensor, dtype: torch.dtype, values: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(case.seed + 1)
    return numbers(tuple(y.shape), dtype, values, generator)


def judge_one(what, case, arrays, gy, got, values, ours, dtype):
    """Values and gradients: all at once with a random gradient, each alone with an expanded one."""

    def value(*given):
        return _split(case.call(T, *given))[0]

    most = case.cells
    rounds = (2 if most > 1 else 0) + (40 if case.kind == "lp_pool" else 0)  # pow, its slope
    ask = partial(
        bounds.answers, value, arrays, cells=most, extra=rounds,
        selects="max_pool" in case.op, composed=case.kind == "lp_pool",
    )  # fmt: skip
    answer, wanted = ask(gy)
    judge = _equal if values == "exact" and case.cells == 1 else bounds.check
    if "max_pool" not in case.op:
        judge(what, got, answer, dtype)
    if gy is None:
        return
    leaves = [t.detach().requires_grad_(bounds.is_real(t)) for t in arrays]
    kept = [t for t in leaves if t.requires_grad]
    with guard.checked():
        found = torch.autograd.grad(_split(ours(*leaves))[0], kept, gy)
    for i, (g, a) in enumerate(zip(found, [a for a in wanted if a is not None], strict=True)):
        judge(f"{what}: gradient {i}", g, a, dtype)
    ones = torch.ones((), dtype=dtype).expand(gy.shape)
    _, wanted = ask(ones)
    for i, a in enumerate(wanted):
        if a is None:
            continue
        alone = [t.detach().requires_grad_(j == i) for j, t in enumerate(arrays)]
        with guard.checked():
            (g,) = torch.autograd.grad(_split(ours(*alone))[0], [alone[i]], ones)
        judge(f"{what}: gradient {i} alone, of the sum", g, a, dtype)


def _equal(what: str, got: torch.Tensor, answer: bounds.Answer, dtype: torch.dtype) -> None:
    bounds.same(what, got, answer.value.to(dtype))


def _split(result):
    return result if isinstance(result, tuple) else (result, None)


def predicted(what: str, ours, arrays, got: torch.Tensor, fake: bool) -> None:
    """Meta (and fake) tensors of the same strides give the result's shape, dtype and strides."""
    meta = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta") for t in arrays]
    bounds.same_layout(f"{what}: meta", _split(ours(*meta))[0], got)
    if not fake:
        return
    with FakeTensorMode() as mode:
        told = _split(ours(*(mode.from_tensor(t) for t in arrays)))[0]
    assert str(told.device) == "cpu"
    bounds.same_layout(f"{what}: fake", told, got)


@pytest.mark.parametrize("op", [op for op in drawn.OP_NAMES if "max_pool" in op])
@pytest.mark.parametrize("backend", ["naive", "im2col", "numba"])
def test_maximum_of_special_values(op: str, backend: str) -> None:
    """NaN, infinities and ties: values and indices bit by bit, -0 too."""

    def check(case: Case) -> None:
        (x,) = case.arrays(FLOAT, "special")
        # torch's channels_last max_pool3d loses the depth in the index of an all -inf window.
        got, want = (
            _guarded(partial(case.call, F, backend=backend), [x]),
            case.call(T, x.contiguous()),
        )
        bounds.same(f"{case}: indices", got[1], want[1])
        bounds.same(str(case), got[0], want[0])
        assert torch.equal(got[0].signbit() & (got[0] == 0), want[0].signbit() & (want[0] == 0))

    run_hypothesis(backend, op, check)


@pytest.mark.parametrize("backend", ["naive", "im2col", "numba"])
def test_a_maximum_over_nothing(backend: str) -> None:
    """A window between two dilated taps: -inf from nowhere (torch's index is out of the input)."""
    x = torch.tensor([[[5.0]]], dtype=FLOAT, requires_grad=True)
    steps = {"kernel_size": 2, "padding": 1, "dilation": 2}
    y, index = F.max_pool1d(x, **steps, return_indices=True, backend=backend)
    assert y.tolist() == T.max_pool1d(x, **steps).tolist() == [[[-torch.inf]]]
    assert index.tolist() == [[[-1]]]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [[[0.0]]]


@pytest.mark.parametrize("norm", [1, 2, 3, 1.5])
def test_a_power_mean_of_nothing_but_zeros(norm: float) -> None:
    """Its gradient is what torch's is, zero or NaN."""
    x = torch.zeros(1, 1, 4, 5, dtype=FLOAT, requires_grad=True)
    got, want = (module.lp_pool2d(x, norm, (2, 3)) for module in (F, T))
    bounds.same("value", got.detach(), want.detach())
    bounds.same("gradient", *(torch.autograd.grad(y.sum(), x)[0] for y in (got, want)))


@pytest.mark.parametrize("value", [0.5, -1.0, 0.0, float("nan")])
def test_padding_bool_with_a_number(value: float) -> None:
    x = torch.tensor([[[True, False]]])
    bounds.same("pad", F.pad(x, (1, 2), value=value), T.pad(x, (1, 2), value=value))


DTYPES = (
    torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32,
    torch.uint64, torch.complex32, torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip


@pytest.mark.parametrize("op", drawn.OP_NAMES)
@pytest.mark.parametrize("backend", ["im2col", "numba"])
def test_dtypes(op: str, backend: str) -> None:
    """Each dtype that torch's CPU takes is taken and right, and each that it refuses is refused."""

    @settings(max_examples=max(settings.default.max_examples // 3, 1))
    @given(cases(op, small=True).map(plain), st.randoms(use_true_random=False))
    def check(case: Case, random) -> None:
        for dtype in DTYPES:
            values = "real" if case.kind in INEXACT else random.choice(["real", "exact"])
            taken = torch_takes(case, dtype)
            if not taken and (case.op, dtype) in BEYOND:
                got = _split(case.call(F, *case.arrays(dtype, values), backend=backend))[0]
                arrays = case.arrays(dtype, values)
                judge_one(str(case), case, arrays, None, got, values, None, dtype)
            elif not taken:
                with pytest.raises(RefconvError, match=r"not defined|defined only|does not fit"):
                    case.call(F, *case.arrays(dtype, values), backend=backend)
            elif dtype in bounds.U:
                smooth = case.kind != "lp_pool" and dtype is not torch.complex32
                compare(
                    case,
                    dtype,
                    values,
                    backend,
                    gradients=smooth,
                )
            else:
                arrays = case.arrays(dtype, values)
                got, want = (
                    _guarded(partial(case.call, F, backend=backend), arrays),
                    case.call(T, *arrays),
                )
                got, want = _split(got)[0], _split(want)[0]
                bounds.same_layout(f"{case} {dtype}", got, want, case.layout)
                if bounds.is_real(want) and case.kind == "lp_pool":  # an integer's root
                    true, terms = want.double(), torch.tensor(2.0 * (case.cells + 20))
                    bounds.check(str(case), got, bounds.Answer(true, true, terms, True), want.dtype)
                    continue
                bounds.same(f"{case} {dtype}", comparable(got), comparable(want))

    check()


#: Taken although torch's CPU refuses: the halves are promised for the whole family.
BEYOND = {
    (f"{kind}3d", half)
    for kind in ("avg_pool", "lp_pool")
    for half in (torch.float16, torch.bfloat16)
}


def torch_takes(case: Case, dtype: torch.dtype) -> bool:
    """Whether torch's CPU computes this case in this dtype."""
    try:
        case.call(T, *case.arrays(dtype))
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return False
    return True


def comparable(t: torch.Tensor) -> torch.Tensor:
    """Bits, for dtypes that torch cannot compare."""
    if t.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        return t.float()
    if t.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return t.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[t.element_size()])
    return t.to(torch.complex64) if t.dtype is torch.complex32 else t


@pytest.mark.parametrize("op", drawn.OP_NAMES)
def test_numpy_gives_what_torch_tensors_give(op: str) -> None:
    def check(case: Case) -> None:
        arrays = case.arrays(FLOAT)
        got = _split(case.call(F, *(t.numpy() for t in arrays), backend="im2col"))[0]
        want = _split(case.call(F, *arrays, backend="im2col"))[0]
        assert isinstance(got, np.ndarray)
        assert got.dtype == np.float64
        if case.kind == "lp_pool":  # the two libraries' powers are not the same function
            off = bounds.Answer(want, want, torch.tensor(2.0 * (case.cells + 20)), True)
            bounds.check(str(case), torch.from_numpy(got.copy()), off, FLOAT)
            return
        bounds.same(str(case), torch.from_numpy(got.copy()), want)

    run_hypothesis("im2col", op, check)
