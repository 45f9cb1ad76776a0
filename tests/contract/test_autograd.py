"""Derivatives and torch's machinery: gradcheck, opcheck, torch.compile, fake tensors."""

from __future__ import annotations

import re
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as T
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

import refconv.functional as F
from refconv import autograd, plans
from refconv.operators import OPERATORS

from . import bounds

BACKENDS = ("im2col", "numba")


def real(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, dtype=dtype, generator=generator)


def distinct(*shape: int) -> torch.Tensor:
    """Values far apart, so that a maximum does not change hands in a numerical derivative."""
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    return (order.double() - count / 3).view(shape)


def places(*shape: int, at: tuple[int, ...]) -> torch.Tensor:
    """Indices for unpooling, the same in every plane."""
    return torch.tensor(at).repeat(torch.Size(shape).numel() // len(at)).view(shape)


#: name: op, arrays, other arguments. Unequal numbers on every axis, remainders of the stride.
CASES = {
    "conv1d": ("conv1d", (real(2, 4, 8), real(6, 2, 3), real(6)), (3, 1, 2, 2)),
    "conv2d": (
        "conv2d", (real(2, 4, 6, 7), real(4, 2, 2, 3), real(4)), ((2, 3), (1, 2), (2, 1), 2),
    ),
    "conv2d same": ("conv2d", (real(1, 2, 4, 3), real(3, 2, 2, 3)), (1, "same", (1, 2))),
    "conv2d unbatched": ("conv2d", (real(2, 5, 4), real(3, 2, 3, 2)), ((3, 2),)),
    "conv2d 1x1": ("conv2d", (real(2, 3, 4, 5), real(2, 3, 1, 1)), ((2, 3), (0, 1))),
    "conv2d stride beyond kernel": ("conv2d", (real(1, 2, 9, 8), real(2, 2, 2, 1)), ((4, 3),)),
    "conv3d": ("conv3d", (real(1, 2, 4, 3, 5), real(2, 1, 2, 1, 3), real(2)), ((2, 1, 3), 1, 1, 2)),
    "conv_transpose1d": ("conv_transpose1d", (real(2, 4, 3), real(4, 3, 3), real(6)), (3, 1, 2, 2)),
    "conv_transpose2d": (
        "conv_transpose2d", (real(1, 4, 3, 2), real(4, 1, 2, 3), real(2)),
        ((2, 3), (0, 1), (1, 2), 2, (2, 1)),
    ),
    "conv_transpose3d": (
        "conv_transpose3d", (real(1, 2, 2, 1, 2), real(2, 2, 1, 2, 3)), ((2, 1, 2), 0, (1, 0, 1)),
    ),
    "max_pool1d": ("max_pool1d", (distinct(2, 2, 9),), (3, 2, 1, 2)),
    "max_pool2d": ("max_pool2d", (distinct(2, 2, 6, 7),), ((3, 2), (2, 3), 1, (1, 2), True)),
    "max_pool3d": ("max_pool3d", (distinct(1, 1, 4, 5, 3),), ((2, 3, 1), (1, 2, 2))),
    "avg_pool1d": ("avg_pool1d", (real(2, 2, 8),), (3, 2, 1, True, False)),
    "avg_pool2d": ("avg_pool2d", (real(2, 2, 6, 7),), ((3, 2), (2, 3), 1, True, False)),
    "avg_pool2d divisor": ("avg_pool2d", (real(1, 2, 6, 7),), ((3, 2), (2, 3), 1, True, True, 5)),
    "avg_pool3d": ("avg_pool3d", (real(1, 1, 4, 5, 3),), ((2, 3, 1), (1, 2, 2), 0, True)),
    "lp_pool1d": ("lp_pool1d", (real(1, 2, 7).abs() + 0.5,), (3, 2)),
    "lp_pool2d": ("lp_pool2d", (real(1, 2, 5, 6).abs() + 0.5,), (2, (2, 3))),
    "lp_pool3d": ("lp_pool3d", (real(1, 1, 3, 4, 2).abs() + 0.5,), (1.5, (1, 2, 2), None, True)),
    "adaptive_avg_pool1d": ("adaptive_avg_pool1d", (real(2, 2, 7),), (3,)),
    "adaptive_avg_pool2d": ("adaptive_avg_pool2d", (real(2, 2, 5, 3),), ((3, 4),)),
    "adaptive_avg_pool3d": ("adaptive_avg_pool3d", (real(1, 1, 3, 5, 4),), ((2, 3, None),)),
    "adaptive_max_pool1d": ("adaptive_max_pool1d", (distinct(2, 2, 7),), (3,)),
    "adaptive_max_pool2d": ("adaptive_max_pool2d", (distinct(2, 2, 5, 3),), ((3, 4),)),
    "adaptive_max_pool3d": ("adaptive_max_pool3d", (distinct(1, 1, 3, 5, 4),), ((2, 3, 4),)),
    "max_unpool1d": ("max_unpool1d", (real(2, 2, 3), places(2, 2, 3, at=(1, 2, 5))), (2,)),
    "max_unpool2d": (
        "max_unpool2d", (real(1, 2, 2, 3), places(1, 2, 2, 3, at=(0, 3, 4, 9, 14, 23))), (2,),
    ),
    "max_unpool3d": ("max_unpool3d", (real(1, 1, 1, 1, 2), places(1, 1, 1, 1, 2, at=(3, 9))), (2,)),
    "unfold": ("unfold", (real(2, 2, 5, 6),), ((2, 3), (2, 1), (1, 0), (1, 2))),
    "fold": ("fold", (real(2, 12, 6),), ((5, 6), (2, 3), (1, 1), (0, 1), (2, 2))),
    "pad constant": ("pad", (real(1, 2, 4, 3),), ((1, -1, 0, 2), "constant", 1.5)),
    "pad reflect": ("pad", (real(1, 2, 4, 3),), ((1, 2, 3, -1), "reflect")),
    "pad replicate": ("pad", (real(1, 2, 2, 4, 3),), ((1, 2, 3, 0, -1, 2), "replicate")),
    "pad circular": ("pad", (real(1, 2, 4, 3),), ((3, 2, 0, 1), "circular")),
}  # fmt: skip
LINEAR = ("conv", "unfold", "fold", "pad", "adaptive_avg_pool1d")
COMPLEX = [name for name in CASES if name.startswith(LINEAR)]


def function(name: str, backend: str):
    """The case as a function of its arrays."""
    op, _, rest = CASES[name]
    f, named = getattr(F, op), _named(op, rest)
    return lambda *arrays: f(*arrays, **named, backend=backend)


def _named(op: str, rest: tuple) -> dict:
    """The other arguments by name: a bias may be left out before them."""
    import inspect

    names = list(inspect.signature(getattr(F, op)).parameters)
    first = {"conv": 3, "max_u": 2}.get(op[:4] if op.startswith("conv") else op[:5], 1)
    return dict(zip(names[first:], rest, strict=False))


def leaves(name: str, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
    """Fresh leaves of the case's arrays."""
    made = []
    for t in CASES[name][1]:
        t = t.clone() if dtype is None or not t.is_floating_point() else _complex(t).to(dtype)
        made.append(t.requires_grad_(bounds.is_real(t)))
    return made


def _complex(t: torch.Tensor) -> torch.Tensor:
    return torch.complex(t, t.flip(0) * 0.5 + 0.25)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_first_and_second_derivatives(name: str, backend: str) -> None:
    f = function(name, backend)
    assert gradcheck(f, leaves(name), fast_mode=True)
    assert gradgradcheck(f, leaves(name), fast_mode=True)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "fold"])
def test_every_number_of_the_jacobian(name: str) -> None:
    assert gradcheck(function(name, "numba"), leaves(name))
    assert gradgradcheck(function(name, "im2col"), leaves(name))


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_derivatives(name: str) -> None:
    if name.startswith("adaptive"):
        f = partial(F.adaptive_avg_pool1d, output_size=1, backend="im2col")
    else:
        f = function(name, "im2col")
    given = leaves(name, torch.complex128)
    assert gradcheck(f, given, fast_mode=True)
    assert gradgradcheck(f, given, fast_mode=True)


@pytest.mark.parametrize("stride", [2, 3])
def test_double_backward_of_a_strided_convolution_with_a_remainder(stride: int) -> None:
    """The double backward needs an output_padding that no argument names (pytorch's fault B04)."""
    for size in (7, 8, 9):
        x, w = real(1, 2, size, size + 1).requires_grad_(), real(3, 2, 3, 2).requires_grad_()
        f = partial(F.conv2d, stride=stride, padding=1, backend="im2col")
        assert gradgradcheck(f, (x, w), fast_mode=True)
        y = real(1, 3, 3, 4).requires_grad_()
        for extra in range(stride):
            back = partial(F.conv_transpose2d, stride=stride, output_padding=extra)
            assert gradgradcheck(partial(back, backend="im2col"), (y, w), fast_mode=True)


def seconds(name: str, module):
    """Value, gradients and the gradients' gradients of a case on whole positive numbers."""
    op, _, rest = CASES[name]
    given = [whole(t) for t in CASES[name][1]]
    wanted = [t.requires_grad_() for t in given if bounds.is_real(t)]
    more = {"backend": "numba"} if module is F else {}
    y = getattr(module, op)(*given, **_named(op, rest), **more)
    gy = whole(real(*y.shape)).requires_grad_()
    first = torch.autograd.grad(y, wanted, gy, create_graph=True)
    total = sum((g * whole(real(*g.shape, seed=3))).sum() for g in first)
    second = torch.autograd.grad(total, [*wanted, gy], allow_unused=True)
    return [y, *first, *(t for t in second if t is not None and bool((t != 0).any()))]


def whole(t: torch.Tensor) -> torch.Tensor:
    """The same order, in whole numbers from 1 on: sums of products of them are exact."""
    if not bounds.is_real(t):
        return t.clone()
    return (t.flatten().argsort().argsort().double() % 11 + 1).view(t.shape)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_torchs(name: str) -> None:
    """gradcheck is blind where forward and backward share a wrong index; torch is not.

    Equal; where there is a division (averages) or a power (lp_pool), F1 for 200 roundings: all
    terms are positive, but for lp_pool's second derivatives, whose largest is the scale.
    """
    got, want = seconds(name, F), seconds(name, T)
    assert len(got) == len(want)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        scale = torch.zeros_like(w)
        if "avg" in name:
            scale = w.abs()
        elif name.startswith("lp"):
            scale = w.abs().max().expand(w.shape)
        answer = bounds.Answer(w.detach(), scale.detach(), torch.full_like(w, 200.0))
        bounds.check(f"{name} {i}", g.detach(), answer, w.dtype)


@cache
def recorded() -> dict[str, list[tuple]]:
    """What the operators are called with in forward, backward and double backward."""
    names = [n for n in CASES if not n.startswith("lp_")]
    calls: dict[str, list[tuple]] = {}
    original = autograd.call

    def spy(name: str, *args):
        calls.setdefault(name, []).append(args)
        return original(name, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autograd, "call", spy)
        for name in names:
            op, _, rest = CASES[name]
            given = leaves(name)
            plans.forget()  # a call by a plan does not come this way
            y = getattr(F, op)(*given, **_named(op, rest), backend="im2col")
            gy = real(*y.shape).requires_grad_()
            wanted = [t for t in given if t.requires_grad]
            first = torch.autograd.grad(y, wanted, gy, create_graph=True)
            sum((g * g).sum() for g in first).backward()
    return calls


@pytest.mark.parametrize("operator", OPERATORS)
def test_opcheck(operator: str) -> None:
    found = recorded().get(operator, [])
    assert found, f"no case calls {operator}"
    checks = (
        "test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic",
    )  # fmt: skip
    seen = set()
    for args in found:
        key = next((a for a in args if isinstance(a, str) and re.search(r"\dd$", a)), "")
        if key in seen or len(seen) >= 4:
            continue
        seen.add(key)
        args = [
            a.detach().requires_grad_(bounds.is_real(a)) if isinstance(a, torch.Tensor) else a
            for a in args
        ]
        overload = getattr(torch.ops.refconv, operator).default
        torch.library.opcheck(overload, tuple(args), test_utils=checks)


@pytest.mark.parametrize("name", CASES)
def test_compiled(name: str) -> None:
    """One graph, forward and backward, and bit by bit what runs without the compiler."""
    f = function(name, "im2col")
    torch._dynamo.reset()
    plain, traced = leaves(name), leaves(name)
    want, got = f(*plain), torch.compile(f, fullgraph=True, backend="aot_eager")(*traced)
    bounds.same(name, got.detach(), want.detach())
    gy = real(*want.shape)
    for p, t in zip(
        torch.autograd.grad(want, [p for p in plain if p.requires_grad], gy),
        torch.autograd.grad(got, [t for t in traced if t.requires_grad], gy),
        strict=True,
    ):
        bounds.same(name, t, p)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fake_tensors_forward_and_backward(name: str, device: str) -> None:
    op, arrays, rest = CASES[name]
    given = leaves(name)
    y = getattr(F, op)(*given, **_named(op, rest), backend="im2col")
    wanted = [t for t in given if t.requires_grad]
    gradients = torch.autograd.grad(y, wanted, torch.ones_like(y))
    with FakeTensorMode():
        fake = [torch.empty(t.shape, dtype=t.dtype, device=device) for t in arrays]
        # Without a CUDA device torch's autograd engine crashes on fake cuda tensors: forward only.
        fake = [t.requires_grad_(bounds.is_real(t) and device == "cpu") for t in fake]
        z = getattr(F, op)(*fake, **_named(op, rest))
        kept = [t for t in fake if t.requires_grad]
        found = torch.autograd.grad(z, kept, torch.ones_like(z)) if kept else ()
    for f, r in zip((z, *found), (y, *gradients)[: 1 + len(found)], strict=True):
        assert f.device.type == device
        bounds.same_layout(name, f, r)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_repeated_calls_are_equal_bit_by_bit(name: str, backend: str) -> None:
    def once() -> list[bytes]:
        given = leaves(name)
        y = function(name, backend)(*given)
        found = torch.autograd.grad(y, [t for t in given if t.requires_grad], real(*y.shape))
        return [t.detach().contiguous().numpy().tobytes() for t in (y, *found)]

    first = once()
    for _ in range(19):
        assert once() == first


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_argument_changed_between_calls(backend: str) -> None:
    """What is kept between calls (compiled kernels, tables, choices) must not outlive its key."""
    x, w = real(1, 2, 9, 8), real(2, 2, 3, 2)
    for more in ({}, {"stride": 2}, {"stride": (1, 2)}, {"padding": 1}, {"padding": (0, 1)},
                 {"dilation": 2}, {"dilation": (2, 1)}, {"stride": 2}, {}):  # fmt: skip
        answer = bounds.answers(partial(T.conv2d, **more), [x, w], None)[0]
        bounds.check(str(more), F.conv2d(x, w, **more, backend=backend), answer, x.dtype)
    modes = ((0, 0, None), (1, 0, None), (1, 1, None), (1, 1, 3), (0, 0, None))
    for ceil, include, divisor in modes:
        args = (3, 2, 1, bool(ceil), bool(include), divisor)
        mean = partial(T.avg_pool2d, kernel_size=3, stride=2, padding=1, ceil_mode=args[3],
                       count_include_pad=args[4], divisor_override=divisor)  # fmt: skip
        answer = bounds.answers(mean, [x], None, 9, 2)[0]
        bounds.check(str(args), F.avg_pool2d(x, *args, backend=backend), answer, x.dtype)
    for t in (x, x[:, :1], x.float(), x[..., 1:], x):
        bounds.same("max", F.max_pool2d(t, 2, backend=backend), T.max_pool2d(t, 2))
