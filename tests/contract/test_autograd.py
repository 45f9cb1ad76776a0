"""Derivatives, custom ops and tracing: every operator and every op, as torch checks its own."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

import refconv.functional as F
from refconv import autograd
from refconv.operators import OPERATORS

BACKENDS = ["im2col", "numba"]


def leaf(*shape, dtype=torch.float64, seed=0):
    """A leaf with distinct values, so that no two maxima tie."""
    made = torch.Generator().manual_seed(seed + len(shape))
    return torch.randn(shape, dtype=dtype, generator=made).requires_grad_()


CONV = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
UP = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "groups": 2}

#: name → (function of a backend and its leaves, leaves)
FAMILY = {
    "conv1d": (
        lambda b, *a: F.conv1d(*a, stride=2, padding=1, backend=b),
        [leaf(1, 2, 6), leaf(3, 2, 3), leaf(3)],
    ),
    "conv2d": (
        lambda b, *a: F.conv2d(*a, **CONV, backend=b),
        [leaf(1, 4, 5, 4), leaf(2, 2, 2, 2), leaf(2)],
    ),
    "conv2d unbatched": (lambda b, *a: F.conv2d(*a, backend=b), [leaf(2, 4, 3), leaf(2, 2, 2, 2)]),
    "conv2d same": (
        lambda b, *a: F.conv2d(*a, padding="same", backend=b),
        [leaf(1, 1, 4, 3), leaf(2, 1, 2, 3)],
    ),
    "conv2d remainder": (
        lambda b, *a: F.conv2d(*a, stride=(3, 2), backend=b),
        [leaf(1, 1, 6, 5), leaf(1, 1, 2, 2)],
    ),
    "conv2d depthwise": (
        lambda b, *a: F.conv2d(*a, groups=3, backend=b),
        [leaf(2, 3, 3, 4), leaf(6, 1, 2, 3)],
    ),
    "conv3d": (
        lambda b, *a: F.conv3d(*a, padding=(0, 1, 0), backend=b),
        [leaf(1, 1, 2, 3, 3), leaf(2, 1, 2, 2, 1)],
    ),
    "conv_transpose1d": (
        lambda b, *a: F.conv_transpose1d(*a, stride=3, backend=b),
        [leaf(1, 2, 3), leaf(2, 1, 2), leaf(1)],
    ),
    "conv_transpose2d": (
        lambda b, *a: F.conv_transpose2d(*a, **UP, backend=b),
        [leaf(1, 2, 3, 2), leaf(2, 2, 3, 2), leaf(4)],
    ),
    "conv_transpose2d wide": (
        lambda b, *a: F.conv_transpose2d(*a, dilation=3, output_padding=2, backend=b),
        [leaf(1, 1, 2, 3), leaf(1, 1, 2, 2)],
    ),
    "conv_transpose3d": (
        lambda b, *a: F.conv_transpose3d(*a, stride=(1, 2, 1), backend=b),
        [leaf(1, 1, 2, 2, 2), leaf(1, 2, 1, 2, 2)],
    ),
    "max_pool1d": (lambda b, x: F.max_pool1d(x, 3, 2, 1, backend=b), [leaf(1, 2, 7)]),
    "max_pool2d": (
        lambda b, x: F.max_pool2d(x, 2, 1, 1, (1, 2), True, backend=b),
        [leaf(1, 2, 4, 5)],
    ),
    "max_pool3d": (lambda b, x: F.max_pool3d(x, (1, 2, 2), backend=b), [leaf(1, 1, 2, 3, 4)]),
    "avg_pool1d": (lambda b, x: F.avg_pool1d(x, 3, 2, 1, True, False, backend=b), [leaf(1, 2, 6)]),
    "avg_pool2d": (
        lambda b, x: F.avg_pool2d(x, (3, 2), 2, (1, 1), True, backend=b),
        [leaf(1, 1, 5, 4)],
    ),
    "avg_pool3d": (
        lambda b, x: F.avg_pool3d(x, 2, 1, divisor_override=-3, backend=b),
        [leaf(1, 1, 2, 3, 3)],
    ),
    "lp_pool2d": (lambda b, x: F.lp_pool2d(x.abs() + 1, 3, 2, backend=b), [leaf(1, 1, 4, 4)]),
    "adaptive_avg_pool2d": (
        lambda b, x: F.adaptive_avg_pool2d(x, (3, None), backend=b),
        [leaf(1, 2, 5, 4)],
    ),
    "adaptive_avg_pool3d": (
        lambda b, x: F.adaptive_avg_pool3d(x, (1, 4, 2), backend=b),
        [leaf(1, 1, 2, 3, 3)],
    ),
    "adaptive_max_pool1d": (lambda b, x: F.adaptive_max_pool1d(x, 4, backend=b), [leaf(1, 2, 6)]),
    "adaptive_max_pool2d": (
        lambda b, x: F.adaptive_max_pool2d(x, (2, 3), backend=b),
        [leaf(1, 1, 5, 4)],
    ),
    "max_unpool2d": (
        lambda b, x: F.max_unpool2d(x, torch.tensor([[[[0, 3], [9, 15]]]]), 2, backend=b),
        [leaf(1, 1, 2, 2)],
    ),
    "unfold": (lambda b, x: F.unfold(x, (2, 3), (2, 1), 1, 2, backend=b), [leaf(1, 2, 5, 4)]),
    "fold": (lambda b, x: F.fold(x, (4, 3), 2, backend=b), [leaf(1, 4, 6)]),
    "pad constant": (
        lambda b, x: F.pad(x, (1, -1, 2, 0), value=3.0, backend=b),
        [leaf(1, 2, 3, 4)],
    ),
    "pad reflect": (lambda b, x: F.pad(x, (2, 1, 1, 0), "reflect", backend=b), [leaf(1, 1, 3, 4)]),
    "pad replicate": (
        lambda b, x: F.pad(x, (2, 1, -1, 3), "replicate", backend=b),
        [leaf(1, 1, 3, 4)],
    ),
    "pad circular": (
        lambda b, x: F.pad(x, (2, 1, -1, 3), "circular", backend=b),
        [leaf(1, 1, 4, 4)],
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FAMILY)
def test_first_and_second_derivatives(name, backend):
    """Numerical differentiation agrees, once and twice."""
    function, leaves = FAMILY[name]
    assert gradcheck(lambda *a: function(backend, *a), leaves)
    assert gradgradcheck(lambda *a: function(backend, *a), leaves)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "max_pool1d", "avg_pool2d", "fold"])
def test_naive_derivatives(name):
    """The loops differentiate as well; a few of them, for they are slow."""
    function, leaves = FAMILY[name]
    assert gradcheck(lambda *a: function("naive", *a), leaves)


@pytest.mark.parametrize("name", FAMILY)
def test_compiled_is_eager(name):
    """torch.compile of the whole graph: the same values and gradients."""
    function, leaves = FAMILY[name]
    torch._dynamo.reset()
    compiled = torch.compile(lambda *a: function("im2col", *a), fullgraph=True, backend="aot_eager")
    results = []
    for run in (compiled, lambda *a: function("im2col", *a)):
        y = run(*leaves)
        results.append([y, *torch.autograd.grad(y, leaves, torch.ones_like(y) * 0.5 + y.detach())])
    for ours, eager in zip(*results, strict=True):
        assert torch.equal(ours, eager)


POOL = ("max_pool2d", (2, 2), (1, 2), (1, 0), (1, 1), False, True, None, (), "im2col")
GEOMETRY = ((2, 1), (1, 1, 0, 0), (1, 2), 2, "im2col")
INDEX = torch.tensor([[[[0, 5], [7, 2]]]])
ARGUMENTS = {
    "conv": (
        leaf(1, 4, 5, 4),
        leaf(2, 2, 2, 2),
        leaf(2),
        "conv2d",
        (2, 1),
        (1, 0),
        "",
        (1, 2),
        (0, 0),
        2,
        "im2col",
    ),
    "conv_fprop": (leaf(1, 4, 5, 4), leaf(2, 2, 2, 2), (3, 2), *GEOMETRY),
    "conv_dgrad": (leaf(1, 2, 3, 2), leaf(2, 2, 2, 2), (5, 4), *GEOMETRY),
    "conv_wgrad": (leaf(1, 2, 3, 2), leaf(1, 4, 5, 4), (2, 2), *GEOMETRY),
    "conv_bgrad": (leaf(2, 3, 2, 4), 2, "im2col"),
    "max_pool": (leaf(1, 2, 4, 5), *POOL),
    "avg_pool": (leaf(1, 2, 4, 5), "avg_pool2d", *POOL[1:]),
    "avg_pool_backward": (leaf(1, 2, 5, 2), (1, 2, 4, 5), "avg_pool2d", *POOL[1:]),
    "max_unpool": (leaf(1, 1, 2, 2), INDEX, "max_unpool2d", (2, 2), (2, 2), (0, 0), None, "im2col"),
    "gather": (leaf(1, 1, 4, 4), INDEX, 2, "im2col"),
    "scatter_add": (leaf(1, 1, 2, 2), INDEX, (4, 4), "im2col"),
    "unfold": (leaf(1, 2, 4, 3), (2, 2), (1, 1), (1, 0), (2, 1), "im2col"),
    "fold": (leaf(1, 4, 6), (4, 3), (2, 2), (1, 1), (0, 0), (1, 1), "im2col"),
    "pad": (leaf(1, 2, 3, 4), (1, -1, 2, 0), "constant", 2.0, "im2col"),
    "pad_backward": (leaf(1, 2, 5, 4), (1, 2, 3, 4), (1, -1, 2, 0), "constant", "im2col"),
}


def test_every_operator_is_checked():
    """No operator is left out below."""
    assert set(ARGUMENTS) == set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name):
    """Schema, autograd registration, fake kernel and AOT dispatch, as torch checks a custom op."""
    outcome = torch.library.opcheck(autograd._ops[name], ARGUMENTS[name])
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", FAMILY)
def test_meta_and_fake_inputs_give_shapes(name):
    """Shape, dtype and strides without data, on the meta device and for fake CUDA tensors too."""
    function, leaves = FAMILY[name]
    real = function("auto", *leaves)
    if name == "max_unpool2d":  # its indices are a constant of the test, on the CPU
        leaves, function = [*leaves, INDEX], lambda b, x, i: F.max_unpool2d(x, i, 2, backend=b)
    fake = function("auto", *(t.detach().to("meta") for t in leaves))
    assert (fake.shape, fake.dtype, fake.stride()) == (real.shape, real.dtype, real.stride())
    with FakeTensorMode():
        made = [torch.empty(t.shape, dtype=t.dtype, device="cuda") for t in leaves]
        there = function("auto", *made)
        assert (there.shape, there.device.type) == (real.shape, "cuda")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_complex_gradients(op, dtype):
    """Conjugated as torch does it."""
    x, w, b = (leaf(*s, dtype=dtype) for s in ((1, 2, 5, 4), (2, 2, 2, 3), (2,)))
    upstream = None
    grads = []
    for module in (F, torch.nn.functional):
        y = getattr(module, op)(x, w, b, stride=2, padding=1)
        upstream = torch.randn_like(y) if upstream is None else upstream
        grads.append(torch.autograd.grad(y, [x, w, b], upstream))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
    if dtype == torch.complex128:
        assert gradgradcheck(lambda *a: getattr(F, op)(*a, stride=2, padding=1), [x, w, b])


@pytest.mark.parametrize("backend", BACKENDS)
def test_repeated_calls_are_bitwise_equal(backend):
    """Twenty times the same bits, forward and backward; overlapping windows included."""
    x, w = leaf(2, 6, 17, 15, dtype=torch.float32), leaf(4, 3, 3, 3, dtype=torch.float32)
    seen = set()
    for _ in range(20):
        y = F.max_pool2d(F.conv2d(x, w, groups=2, backend=backend), 3, 1, backend=backend)
        z = F.adaptive_avg_pool2d(y, (4, 7), backend=backend)
        parts = [z, *torch.autograd.grad(z.square().sum(), [x, w])]
        seen.add(b"".join(p.detach().numpy().tobytes() for p in parts))
    assert len(seen) == 1


def test_one_changed_parameter_is_noticed():
    """No cache answers for another problem: call after call with one number changed."""
    x, w = leaf(1, 4, 9, 8).detach(), leaf(4, 2, 3, 3).detach()
    base = {"stride": 1, "padding": 1, "dilation": 1, "groups": 2}
    for change in ({}, {"stride": (1, 2)}, {"padding": (0, 1)}, {"dilation": (2, 1)}, {}):
        ours = F.conv2d(x, w, **{**base, **change})
        theirs = torch.nn.functional.conv2d(x, w, **{**base, **change})
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_expanded_gradients():
    """``y.sum().backward()`` hands a stride-0 gradient to every backward."""
    for name, (function, leaves) in FAMILY.items():
        ours = torch.autograd.grad(function("numba", *leaves).sum(), leaves)
        y = function("numba", *leaves)
        dense = torch.autograd.grad(y, leaves, torch.ones_like(y))
        for a, b in zip(ours, dense, strict=True):
            assert torch.equal(a, b), name


def test_backward_is_ours(monkeypatch):
    """No derivative calls torch's convolution: it is out of reach while ours runs."""

    def refuse(*args, **kwargs):
        raise AssertionError("torch's own convolution was called")

    for name in ("convolution", "convolution_backward", "conv2d", "conv_transpose2d"):
        if hasattr(torch, name):
            monkeypatch.setattr(torch, name, refuse)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for function, leaves in FAMILY.values():
            function("im2col", *leaves).sum().backward()
    called = {event.key for event in profile.key_averages()}
    own = ("aten::convolution", "aten::max_pool", "aten::avg_pool", "aten::im2col", "aten::col2im",
           "aten::mkldnn", "aten::reflection_pad", "aten::_adaptive", "aten::slow_conv")  # fmt: skip
    assert not [key for key in called if key.startswith(own)]
    assert any(key.startswith("refconv::") for key in called)
