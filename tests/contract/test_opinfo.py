"""torch's own samples and error inputs (OpInfo) for the whole family: every sample and dtype that
an OpInfo lists for the CPU, values and gradients, on im2col and numba. No sample is left out; of an
op with hundreds of them (pooling) each sample takes turns: a dtype on one backend, the next dtype
on the other. ``REFCONV_TESTS=thorough`` takes every sample in every dtype on both.

fold and lp_pool have no OpInfo; test_against_torch draws their problems. ``unfold`` without
nn.functional is Tensor.unfold, a view, and fractional_max_pool is not in the family.
"""

from __future__ import annotations

import math
from functools import partial
from unittest import mock

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import refconv.functional as F
from refconv import guard
from refconv.errors import RefconvError

from ..conftest import PROFILE
from . import bounds

BACKENDS = ("im2col", "numba")
#: More samples than this take turns.
MANY = 100
FAMILY = (
    "conv", "conv_transpose", "max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool",
    "max_unpool", "lp_pool",
)  # fmt: skip
NAMES = {f"nn.functional.{kind}{r}d" for kind in FAMILY for r in (1, 2, 3)} | {
    f"nn.functional.{name}" for name in ("unfold", "fold", "pad")
}
OPS = {f"{op.name[14:]} {op.variant_test_name}".strip(): op for op in op_db if op.name in NAMES}
ROWS = [
    (name, dtype)
    for name, op in OPS.items()
    for dtype in sorted(op.supported_dtypes("cpu"), key=str)
]


def ours(name: str):
    """refconv's function for an OpInfo (a variant differs only in its samples)."""
    function, _, _ = name.partition(" ")
    return getattr(F, function)


def samples(name: str, dtype: torch.dtype) -> list:
    """The OpInfo's samples for this dtype.

    OpInfo seeds torch anew for each, and without a GPU torch notes each seed with the whole stack
    for later; on the CPU's generator alone, samples are the same and come ten times as fast.
    """
    op = OPS[name]
    seed = mock.patch.object(torch, "manual_seed", torch.default_generator.manual_seed)
    # The name of the calling test, for a message of torch's own: a walk through the whole stack.
    caller = mock.patch("torch.testing._internal.common_utils.extract_test_fn", return_value=None)
    with seed, caller:
        return list(op.sample_inputs("cpu", dtype, requires_grad=False))


def cells(name: str, x: torch.Tensor, args: tuple, kwargs: dict) -> int:
    """An upper limit of the divisor of an average pool."""
    if "avg_pool" not in name:
        return 1
    if name.startswith("adaptive"):
        return math.prod(x.shape[x.dim() - int(name[-2]) :])
    kernel = kwargs.get("kernel_size", args[0] if args else 1)
    rank = int(name[-2])
    return int(torch.tensor(kernel).prod()) ** (rank if isinstance(kernel, int) else 1)


@pytest.mark.parametrize(("name", "dtype"), ROWS, ids=lambda v: str(v).removeprefix("torch."))
def test_samples(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    every = samples(name, dtype)
    assert every
    differentiable = dtype in OPS[name].supported_backward_dtypes("cpu")
    for number, sample in enumerate(every):
        what = f"{name} {dtype} sample {number} {sample.summary()}"
        turns = PROFILE != "thorough" and len(every) > MANY
        turn = (number + ROWS.index((name, dtype))) % len(BACKENDS)
        compare(what, name, sample, differentiable, BACKENDS[turn:][:1] if turns else BACKENDS)


def compare(what, name, sample, differentiable, backends):
    """One sample: values and gradients of torch, and of refconv on these backends."""
    given = [sample.input, *sample.args]
    slots = [i for i, v in enumerate(given) if isinstance(v, torch.Tensor)]
    arrays = [given[i] for i in slots]
    named = {k: v for k, v in sample.kwargs.items() if not isinstance(v, torch.Tensor)}
    keys = [k for k, v in sample.kwargs.items() if isinstance(v, torch.Tensor)]
    arrays += [sample.kwargs[k] for k in keys]

    def call(function, *values, **more):
        args, rest = list(given), dict(named)
        for i, v in zip(slots, values, strict=False):
            args[i] = v
        rest.update(zip(keys, values[len(slots) :], strict=True))
        return function(*args, **rest, **more)

    theirs = partial(call, OPS[name].op)
    want = theirs(*arrays)
    index = None
    if isinstance(want, tuple):
        want, index = want
    moves = "max" in name
    gy = answer = None
    if differentiable:
        gy = torch.randn(want.shape, dtype=bounds.wide(want).dtype).to(want.dtype)

    def first(*values):
        y = theirs(*values)
        return y[0] if isinstance(y, tuple) else y

    if differentiable or not moves:
        most = cells(name, sample.input, sample.args, sample.kwargs)
        answer, gradients = bounds.answers(first, arrays, gy, most, 2 if most > 1 else 0, moves)

    for backend in backends:
        where = f"{what} on {backend}"
        leaves = [t.detach().requires_grad_(differentiable and bounds.is_real(t)) for t in arrays]
        with guard.checked():
            got = call(ours(name), *leaves, backend=backend)
        if index is not None:
            got, places = got
            bounds.same(f"{where} indices", places, index)
        bounds.same_layout(where, got, want)
        if moves:
            bounds.same(where, got.detach(), want)
        else:
            bounds.check(where, got.detach(), answer, want.dtype)
        if gy is None:
            continue
        kept = [t for t in leaves if t.requires_grad]
        with guard.checked():
            found = torch.autograd.grad(got, kept, gy)
        wanted = [g for g in gradients if g is not None]
        for i, (g, a, t) in enumerate(zip(found, wanted, kept, strict=True)):
            bounds.check(f"{where} gradient {i}", g, a, t.dtype)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.error_inputs_func])
def test_error_inputs(name: str) -> None:
    found = list(OPS[name].error_inputs("cpu"))
    assert found
    for error in found:
        sample = error.sample_input
        with pytest.raises(RefconvError) as raised:
            ours(name)(sample.input, *sample.args, **sample.kwargs)
        assert str(raised.value).startswith(name.partition(" ")[0]), raised.value
