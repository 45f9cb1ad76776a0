"""Plans: a call like an earlier one is quick, and one that differs in anything is not mistaken."""

import threading

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import refconv as rc
import refconv.functional as F
from refconv import autograd, dispatch, guard, plans

T = torch.nn.functional
X, W, B = torch.randn(2, 3, 7, 8), torch.randn(4, 3, 3, 3), torch.randn(4)


@pytest.fixture(autouse=True)
def planned(monkeypatch):
    """Which calls ran by a plan: a list that grows by what each plan was made for."""
    plans.forget()
    used = []
    make = plans.runner

    def watched(prepared, given, channels_last):
        run = make(prepared, given, channels_last)
        return lambda *arrays: (used.append(prepared), run(*arrays))[1]

    monkeypatch.setattr(plans, "runner", watched)
    yield used
    plans.forget()


@pytest.fixture(params=["torch's guards", "plain checks"])
def signature(request, monkeypatch):
    """Both ways to know tensors again."""
    if request.param == "plain checks":
        monkeypatch.setattr(autograd, "signature", autograd.slow_signature)


def same(got, want):
    """Equal in shape, dtype, strides, and values up to rounding."""
    assert got.stride() == want.stride()
    torch.testing.assert_close(got, want)


def test_the_second_call_runs_by_a_plan(planned, signature):
    for _ in range(3):
        same(F.conv2d(X, W, B, 2, 1), T.conv2d(X, W, B, 2, 1))
        same(F.max_pool2d(X, 2), T.max_pool2d(X, 2))
        same(F.conv_transpose2d(X, W.transpose(0, 1).contiguous(), B, 2),
             T.conv_transpose2d(X, W.transpose(0, 1).contiguous(), B, 2))  # fmt: skip
    assert len(planned) == 6


POOLED, INDICES = T.max_pool2d(X, 2, return_indices=True)
OTHERS = {
    "list": ("conv2d", X, W, B, [2, 1]), "indices": ("max_pool2d", X, 2, None, 0, 1, False, True),
    "average": ("avg_pool2d", X, 2), "adaptive": ("adaptive_max_pool2d", X, (3, None)),
    "unpool": ("max_unpool2d", POOLED, INDICES, 2), "pad": ("pad", X, [1, 0, 2, 1], "reflect"),
    "constant": ("pad", X, (1, 1), "constant", 0.5), "unfold": ("unfold", X, 3),
    "fold": ("fold", T.unfold(X, 3), (7, 8), 3), "power mean": ("lp_pool2d", X, 2.0, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_call_has_plans(name, planned, signature):
    """The first call of three is the one without."""
    op, *args = OTHERS[name]
    arrays = [a.numpy() if isinstance(a, torch.Tensor) else a for a in args]
    want = _several(getattr(T, op)(*args))
    for _ in range(3):
        for y, expected in zip(_several(getattr(F, op)(*args)), want, strict=True):
            same(y, expected)
    for _ in range(3):
        for y, expected in zip(_several(getattr(F, op)(*arrays)), want, strict=True):
            np.testing.assert_allclose(y, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert len(planned) == 4


def _several(result):
    return result if isinstance(result, tuple) else (result,)


def test_what_may_change_is_no_part_of_a_plan():
    """A tensor of one element is taken as a number; NaN is no other NaN; 0 has two signs."""
    step = torch.tensor(1)
    for n in (1, 2, 1):
        step.fill_(n)
        assert F.conv2d(X, W, B, step).shape == T.conv2d(X, W, B, n).shape
    for value in (0.0, -0.0, 0.0, np.float32(0), np.float32(-0.0)):
        border = F.pad(X, (1, 1), "constant", value)[..., 0]
        assert bool(torch.signbit(border).all()) == bool(np.signbit(value))
    before = len(plans._plans)
    for _ in range(3):
        assert F.pad(X, (1, 1), "constant", float("nan"))[..., 0].isnan().all()
    assert len(plans._plans) == before


def test_indices_are_looked_at_every_time():
    """They are values: what a plan knows of the shapes says nothing of them."""
    for _ in range(2):
        F.max_unpool2d(POOLED, INDICES, 2)
        with pytest.raises(rc.IndexRangeError, match="index 56 is outside"):
            F.max_unpool2d(POOLED, INDICES.clone().fill_(56), 2)


@pytest.mark.parametrize("bias", [None, B])
def test_gradients_by_a_plan(bias, planned, signature):
    """Once a call is planned its node of autograd is too: first and second derivatives, some not
    wanted.
    """
    given = [t.double().requires_grad_() for t in (X, W, bias) if t is not None]
    for wanted in (given, given[1:], given[:1], given):
        pairs = []
        for M in (F, T):
            y = M.conv2d(*given, stride=2, padding=1)
            first = torch.autograd.grad(y.pow(2).sum(), wanted, create_graph=True)
            size = sum(g.pow(2).sum() for g in first)
            pairs.append((y, *first, *torch.autograd.grad(size, given, allow_unused=True)))
        for got, want in zip(*pairs, strict=True):
            torch.testing.assert_close(got, want)
    assert [p.slot for p in planned].count("conv_fprop") >= 3
    with torch.no_grad():
        assert not F.conv2d(*given, stride=2, padding=1).requires_grad


class Sub(torch.Tensor):
    """A subclass."""


LAST = X.to(memory_format=torch.channels_last)
CALLS = {
    "stride": (X, W, B, 1, 1), "tuple": (X, W, B, (2, 2), (1, 1)), "padding": (X, W, B, 2, 0),
    "same": (X, W, B, 1, "same"), "dilation": (X, W, B, 2, 1, 2), "no bias": (X, W, None, 2, 1),
    "float64": (X.double(), W.double(), B.double(), 2, 1),
    "bfloat16": (X.bfloat16(), W.bfloat16(), B.bfloat16(), 2, 1),
    "channels_last": (LAST, W, B, 2, 1), "weight channels_last": (
        X, W.to(memory_format=torch.channels_last), B, 2, 1),
    "not contiguous": (torch.randn(2, 3, 8, 7).mT, W, B, 2, 1),
    "unbatched": (X[0], W, B, 2, 1), "empty batch": (X[:0], W, B, 2, 1),
    "other shape": (X[..., :6], W, B, 2, 1), "as before": (X, W, B, 2, 1),
    "negative bit": (torch._neg_view(X), W, B, 2, 1),
    "needs grad": (X, W.clone().requires_grad_(), B, 2, 1),
    "parameter": (X, torch.nn.Parameter(W), B, 2, 1), "again": (X, W, B, 2, 1),
}  # fmt: skip


def test_nothing_is_mistaken(signature):
    """Each call after every other one, twice: values, strides, dtype, and a gradient or none."""
    for _ in range(2):
        for args in CALLS.values():
            got, want = F.conv2d(*args), T.conv2d(*args)
            assert got.requires_grad == want.requires_grad
            if got.dtype == torch.bfloat16:
                torch.testing.assert_close(got, want, rtol=0.02, atol=0.05)
            else:
                same(got.detach(), want.detach())


def test_numpy(planned):
    for _ in range(2):
        for args in CALLS.values():
            if args[0].dtype != torch.bfloat16 and not args[0].is_neg():
                arrays = [a.detach().numpy() if isinstance(a, torch.Tensor) else a for a in args]
                got = F.conv2d(*arrays)
                assert type(got) is np.ndarray
                np.testing.assert_allclose(
                    got, T.conv2d(*args).detach().numpy(), rtol=1e-4, atol=1e-5
                )
    assert planned


@pytest.mark.parametrize("wrong", [True, 1.0, np.float64(1), np.bool_(True)])
@pytest.mark.parametrize("at", ["stride", "padding", "dilation", "groups"])
def test_what_equals_an_int_is_still_refused(wrong, at):
    """1 == True == 1.0: a plan for 1 must not serve them, alone or in a tuple."""
    values = [wrong] if at == "groups" else [wrong, (wrong, wrong), (1, wrong)]
    for value in values:
        good = {at: (1, 1) if isinstance(value, tuple) else 1}
        for _ in range(2):
            F.conv2d(X, W, B, **good)
            with pytest.raises(rc.ArgumentError, match="must be an int"):
                F.conv2d(X, W, B, **{at: value})
    F.conv2d(X, W, B, **{at: np.int64(1)})


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((X, W[:, :2], B), rc.ShapeError),
        ((X, W, B[:3]), rc.ShapeError),
        ((X, W.double(), B), rc.ArgumentError),
        ((X, W.numpy(), B), rc.ArgumentError),
        ((X, W, B, 0), rc.ShapeError),
        ((X.tolist(), W, B), rc.ArgumentError),
    ],
)
def test_refusals_are_raised_every_time(args, error):
    for _ in range(2):
        F.conv2d(X, W, B)
        with pytest.raises(error):
            F.conv2d(*args)


def test_backends_and_accuracy_and_threads(monkeypatch):
    """What a choice depends on is part of what a plan is for."""
    ran = []
    real = dispatch.Call.__init__

    def spy(self, *args):
        real(self, *args)
        ran.append(str(self.choice))

    monkeypatch.setattr(dispatch.Call, "__init__", spy)
    for _ in range(2):
        for backend in ("numba", "im2col", "numba:rows"):
            same(F.conv2d(X, W, B, backend=backend), T.conv2d(X, W, B))
    assert ran == ["numba:tiny", "im2col:gemm", "numba:rows"]
    with rc.accuracy("fast"):
        F.conv2d(X, W, B, backend="numba")
        F.conv2d(X, W, B, backend="numba")
    assert len(ran) == 4
    F.conv2d(X, W, B, backend="numba")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        F.conv2d(X, W, B, backend="numba")
        F.conv2d(X, W, B, backend="numba")
    finally:
        torch.set_num_threads(threads)
    assert len(ran) == 5
    F.conv2d(X, W, B, backend="numba")
    assert len(ran) == 5


def test_who_watches_sees_every_call(planned, signature):
    """Autograd, modes, transforms, tracers, subclasses and checked runs go the long way."""
    x, w = X[:1], W
    want = T.conv2d(x, w)
    for _ in range(2):
        F.conv2d(x, w)
    before = len(planned)
    assert before == 1

    class Seen(TorchDispatchMode):
        ops: list = []  # noqa: RUF012

        def __torch_dispatch__(self, op, kinds, args=(), kwargs=None):
            self.ops.append(str(op))
            return op(*args, **(kwargs or {}))

    with Seen():
        F.conv2d(x, w)
    assert "refconv.conv.default" in Seen.ops
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert type(F.conv2d(x, w)).__name__ == "FakeTensor"
        assert type(F.conv2d(mode.from_tensor(x), w)).__name__ == "FakeTensor"
    assert F.conv2d(x.to("meta"), w.to("meta")).is_meta
    with pytest.raises(RuntimeError, match="functorch"):  # custom ops have no such transform
        torch.func.grad(lambda a: F.conv2d(a, w).sum())(x)
    traced = torch.jit.trace(lambda a: F.conv2d(a, w), x, check_trace=False)
    assert "refconv::conv" in str(traced.graph)
    grown = x.clone().requires_grad_()
    for _ in range(2):
        assert F.conv2d(grown, w).requires_grad
    traced = torch.jit.trace(lambda a: F.conv2d(a, w), grown, check_trace=False)
    assert "refconv::conv" in str(traced.graph)
    with Seen():
        Seen.ops.clear()
        F.conv2d(grown, w)
    assert "refconv.conv.default" in Seen.ops
    each = torch.func.vmap(lambda a: F.conv2d(a, w))(grown[None])
    torch.testing.assert_close(each[0], want)
    torch.testing.assert_close(F.conv2d(x.as_subclass(Sub), w).as_subclass(torch.Tensor), want)
    y = F.conv2d(x.clone().requires_grad_(), w)
    assert y.requires_grad
    with guard.checked():
        F.conv2d(x, w)
    assert sum(p is planned[0] for p in planned) == before, "the plan ran where someone watches"
    with torch.no_grad():
        assert not F.conv2d(x, torch.nn.Parameter(w)).requires_grad


@pytest.mark.parametrize("op", ["conv2d", "max_pool2d"])
def test_what_ran_without_gradients_has_them_again(op, signature):
    """A plan made under no_grad for a parameter must not serve where gradients are recorded."""
    x = X.clone().requires_grad_()
    args = (x, W) if op == "conv2d" else (x, 2)
    for _ in range(2):
        with torch.no_grad():
            assert not getattr(F, op)(*args).requires_grad
        y, want = (getattr(M, op)(*args) for M in (F, T))
        assert y.requires_grad
        torch.testing.assert_close(*(torch.autograd.grad(z.sum(), x)[0] for z in (y, want)))


def test_inference_mode_and_threads_of_python():
    """Plans are shared by threads, and a tensor of inference mode comes out as one."""
    wrong = []

    def work(seed):
        x = torch.randn(1, 3, 7 + seed, 8)
        for _ in range(30):
            if not torch.allclose(F.conv2d(x, W, B), T.conv2d(x, W, B), atol=1e-5):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(i % 3,)) for i in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong
    with torch.inference_mode():
        for _ in range(2):
            assert F.conv2d(X, W, B).is_inference()
    assert not F.conv2d(X, W, B).is_inference()


def test_the_number_of_plans_is_bounded(monkeypatch):
    monkeypatch.setattr(plans, "LIMIT", 4)
    for n in range(1, 12):
        same(F.conv2d(X[:, :, :, : 2 + n], W), T.conv2d(X[:, :, :, : 2 + n], W)) if n < 7 else None
    assert len(plans._plans) <= 4


def test_compiled_code_holds_the_operator():
    """Dynamo traces the operator, not the plan."""
    seen = []

    def backend(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    F.conv2d(X, W)
    F.conv2d(X, W)
    compiled = torch.compile(lambda x, w: F.conv2d(x, w), backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(X, W), T.conv2d(X, W))
    assert any("refconv.conv" in s for s in seen)
