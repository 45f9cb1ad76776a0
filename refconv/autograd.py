"""torch's side of the operators: custom ops with fake kernels, and the derivative of each in terms
of the others.

Three passes make the family: the derivatives of fprop are dgrad and wgrad, those of dgrad are fprop
and wgrad, those of wgrad fprop and dgrad, so double backward needs nothing new; average pooling,
fold/unfold and padding are pairs in the same way, and max pooling's derivative is an indexed move.
Complex factors are conjugated, as torch defines gradients. A derivative runs on the same backend,
which chooses its algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from . import plans
from .operators import OPERATORS

_ops: dict[str, Any] = {
    name: torch.library.custom_op(
        f"refconv::{name}", partial(plans.run, name), mutates_args=(), schema=operator.schema
    )
    for name, operator in OPERATORS.items()
}
_nodes: dict[str, Any] = {}
_derivatives: dict[str, tuple[Any, Any, Any]] = {}  # backward, setup, facts
for _name, _operator in OPERATORS.items():
    _ops[_name].register_fake(_operator.fake)


def call(name: str, *args: Any) -> Any:
    """Operator ``name`` on torch tensors, differentiable.

    Only who looks on needs the custom op, which costs more than a small convolution: else autograd
    gets a plain node, and a call that is not differentiated runs the operator itself.
    """
    tensors = args[: OPERATORS[name].arrays]
    if torch.compiler.is_compiling() or observed(tensors):
        return _ops[name](*args)
    if differentiated(tensors):
        return _nodes[name].apply(*args)
    return plans.run(name, *args)


def watched(tensors: tuple[Any, ...]) -> bool:
    """Whether anyone must see a call: autograd, or who observes."""
    return differentiated(tensors) or observed(tensors)


def differentiated(tensors: tuple[Any, ...]) -> bool:
    """Whether autograd must see a call."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def observed(tensors: tuple[Any, ...]) -> bool:
    """Whether a fake or meta device, a mode, a transform or a tracer must see a call."""
    for t in tensors:
        if t is not None and (type(t) not in (torch.Tensor, torch.nn.Parameter) or t.is_meta):
            return True
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
    )


def _differentiate(
    name: str, backward: Callable[..., Any], setup: Callable[..., Any], facts: Any = None
) -> None:
    """Give operator ``name`` its derivative, as a custom op and as a plain node of autograd.

    Args:
        facts: what ``setup`` needs besides, where working it out takes time: inputs, of which
            shapes and dtypes matter only → its last argument.
    """

    def complete(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        setup(ctx, inputs, output, *((facts(*inputs),) if facts else ()))

    def forward(ctx: Any, *args: Any) -> Any:
        result = plans.run(name, *args)
        complete(ctx, args, result)
        return result

    _ops[name].register_autograd(backward, setup_context=complete)
    _nodes[name] = _node(name, forward, backward)
    _derivatives[name] = backward, setup, facts


def _node(name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(f"refconv::{name}", (torch.autograd.Function,), methods)


def node(
    name: str, run: Callable[..., Any], given: tuple[Any, ...], rest: tuple[Any, ...]
) -> Callable[..., Any]:
    """``run``, which is operator ``name`` for tensors like ``given``, as a node of autograd of its
    own: what its derivative needs of their shapes is worked out now.

    Args:
        rest: the operator's arguments behind ``given``: None for tensors that are left out, first.
    """
    backward, setup, facts = _derivatives[name]
    known = (facts(*given, *rest),) if facts else ()
    count = len(given)

    def forward(ctx: Any, *tensors: Any) -> Any:
        result = run(*tensors)
        setup(ctx, (*tensors, *rest), result, *known)
        return result

    def back(ctx: Any, *grads: Any) -> Any:
        return backward(ctx, *grads)[:count]

    return _node(name, forward, back).apply


def signature(*tensors: torch.Tensor) -> Callable[..., bool]:
    """A quick test: are these tensors like those, and no more ``observed`` than they were?

    Alike are type, dtype, device, shape, strides, requires_grad, conjugate and negative bits.
    Dynamo's guard looks at all of it in one call, and at what transforms, tracers, autocast and
    modes leave in the dispatcher. Torch's own modes (fake tensors) and ``no_grad`` leave nothing
    there: who uses this must ask ``_len_torch_dispatch_stack`` and ``is_grad_enabled`` besides.
    """
    sizes: list[Any] = [list(t.shape) for t in tensors]
    strides: list[Any] = [list(t.stride()) for t in tensors]
    try:
        guards = torch._C._dynamo.guards.TensorGuards
        return guards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
    except (AttributeError, TypeError):  # a torch whose guards are others
        return slow_signature(*tensors)


def empty_maker(shape: tuple[int, ...], dtype: str) -> Callable[[], torch.Tensor]:
    """A function that makes contiguous, uninitialised tensors on the CPU: Inductor's own where
    torch has it, which takes half the time.
    """
    of, strides = getattr(torch, dtype), torch.empty(shape, device="meta").stride()
    make = getattr(torch._C._dynamo.guards, "_empty_strided_cpu", None)
    if make is None:
        return partial(torch.empty, shape, dtype=of, device="cpu")
    return partial(make, shape, strides, of)


def slow_signature(*tensors: torch.Tensor) -> Callable[..., bool]:
    """``signature`` by what torch has in every version."""
    wanted = [_look(t) for t in tensors]
    return lambda *given: not observed(given) and [_look(t) for t in given] == wanted


def _look(t: torch.Tensor) -> tuple[Any, ...]:
    kind = type(t), t.dtype, t.device, t.requires_grad, t.is_conj(), t.is_neg()
    return *kind, t.shape, t.stride()


def _backend(ctx: Any) -> str:
    """The backend of a derivative: the same one, without the algorithm that was asked for the
    forward pass.
    """
    return ctx.args[-1].partition(":")[0]


def _save(arrays: int) -> Any:
    """A setup_context that keeps the first ``arrays`` inputs as tensors and the other arguments as
    they are.
    """

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:arrays])
        ctx.args = inputs[arrays:]

    return setup


@dataclass(frozen=True)
class _Convolution:
    """What the derivative of a convolution as users call it needs to know."""

    back: str  # the operator that gives the input's gradient
    transposed: bool
    rank: int
    in_size: tuple[int, ...]
    kernel: tuple[int, ...]
    args: tuple[Any, ...]


def _convolution(*inputs: Any) -> _Convolution:
    problem = OPERATORS["conv"].problem(*inputs)
    flat = tuple(p for pair in problem.padding for p in pair)
    backend = inputs[-1].partition(":")[0]
    return _Convolution(
        "conv_fprop" if problem.transposed else "conv_dgrad",
        problem.transposed,
        problem.rank,
        problem.in_size,
        problem.kernel,
        (problem.stride, flat, problem.dilation, problem.groups, backend),
    )


def _setup_conv(ctx: Any, inputs: tuple[Any, ...], output: Any, facts: _Convolution) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.facts = facts


def _conv_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    x, w = ctx.saved_tensors
    facts, needs = ctx.facts, ctx.needs_input_grad
    gx = gw = gb = None
    if needs[0]:
        gx = call(facts.back, gy, w.conj(), facts.in_size, *facts.args)
    if needs[1]:
        pair = (x.conj(), gy) if facts.transposed else (gy, x.conj())
        gw = call("conv_wgrad", *pair, facts.kernel, *facts.args)
    if needs[2:] and needs[2]:
        gb = call("conv_bgrad", gy, facts.rank, facts.args[-1])
    return gx, gw, gb, *(None,) * 8


def _geometry(ctx: Any) -> tuple[int, tuple[Any, ...]]:
    """Rank, and the numbers that the three passes share, of a pass whose size comes first."""
    _, *numbers, _ = ctx.args
    return len(numbers[0]), (*numbers, _backend(ctx))


def _size(t: torch.Tensor, rank: int) -> tuple[int, ...]:
    return t.shape[t.dim() - rank :]


def _fprop_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    x, w = ctx.saved_tensors
    rank, numbers = _geometry(ctx)
    gx = gw = None
    if ctx.needs_input_grad[0]:
        gx = call("conv_dgrad", gy, w.conj(), _size(x, rank), *numbers)
    if ctx.needs_input_grad[1]:
        gw = call("conv_wgrad", gy, x.conj(), _size(w, rank), *numbers)
    return gx, gw, *(None,) * 6


def _dgrad_backward(ctx: Any, gx: torch.Tensor) -> tuple[Any, ...]:
    y, w = ctx.saved_tensors
    rank, numbers = _geometry(ctx)
    gy = gw = None
    if ctx.needs_input_grad[0]:
        gy = call("conv_fprop", gx, w.conj(), _size(y, rank), *numbers)
    if ctx.needs_input_grad[1]:
        gw = call("conv_wgrad", y.conj(), gx, _size(w, rank), *numbers)
    return gy, gw, *(None,) * 6


def _wgrad_backward(ctx: Any, gw: torch.Tensor) -> tuple[Any, ...]:
    y, x = ctx.saved_tensors
    rank, numbers = _geometry(ctx)
    gy = gx = None
    if ctx.needs_input_grad[0]:
        gy = call("conv_fprop", x.conj(), gw, _size(y, rank), *numbers)
    if ctx.needs_input_grad[1]:
        gx = call("conv_dgrad", y.conj(), gw, _size(x, rank), *numbers)
    return gy, gx, *(None,) * 6


def _setup_shape(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.shape, ctx.args = inputs[0].shape, inputs[1:]


def _bgrad_backward(ctx: Any, gb: torch.Tensor) -> tuple[Any, ...]:
    rank, _ = ctx.args
    return gb.reshape(-1, *(1,) * rank).expand(ctx.shape), None, None


def _setup_max(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]
) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.large = inputs[0].shape[inputs[0].dim() - _rank(inputs[1]) :]
    ctx.args = inputs[1:]


def _rank(op: str) -> int:
    return int(op[-2])


def _max_backward(ctx: Any, gy: torch.Tensor, _: Any) -> tuple[Any, ...]:
    (index,) = ctx.saved_tensors
    return call("scatter_add", gy, index, ctx.large, _backend(ctx)), *(None,) * 10


def _values_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    """Positions were not kept; finding them again costs a small part of torch's forward pass."""
    (x,) = ctx.saved_tensors
    op, *numbers, _ = ctx.args
    index = call("max_pool", x.detach(), op, *numbers, _backend(ctx))[1]
    large = x.shape[x.dim() - _rank(op) :]
    return call("scatter_add", gy, index, large, _backend(ctx)), *(None,) * 10


def _avg_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    return call("avg_pool_backward", gy, ctx.shape, *ctx.args[:-1], _backend(ctx)), *(None,) * 10


def _avg_backward_backward(ctx: Any, gx: torch.Tensor) -> tuple[Any, ...]:
    return call("avg_pool", gx, *ctx.args[1:-1], _backend(ctx)), *(None,) * 11


def _setup_index(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.shape, ctx.args = inputs[0].shape, inputs[2:]


def _unpool_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    (index,) = ctx.saved_tensors
    return call("gather", gy, index, _rank(ctx.args[0]), _backend(ctx)), *(None,) * 7


def _gather_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    (index,) = ctx.saved_tensors
    large = ctx.shape[len(ctx.shape) - ctx.args[0] :]
    return call("scatter_add", gy, index, large, _backend(ctx)), None, None, None


def _scatter_backward(ctx: Any, gx: torch.Tensor) -> tuple[Any, ...]:
    (index,) = ctx.saved_tensors
    return call("gather", gx, index, len(ctx.args[0]), _backend(ctx)), None, None, None


def _unfold_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    return call("fold", gy, ctx.shape[-2:], *ctx.args[:-1], _backend(ctx)), *(None,) * 5


def _fold_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    return call("unfold", gy, *ctx.args[1:-1], _backend(ctx)), *(None,) * 6


def _pad_backward(ctx: Any, gy: torch.Tensor) -> tuple[Any, ...]:
    pad, mode, _, _ = ctx.args
    return call("pad_backward", gy, ctx.shape, pad, mode, _backend(ctx)), *(None,) * 4


def _pad_backward_backward(ctx: Any, gx: torch.Tensor) -> tuple[Any, ...]:
    _, pad, mode, _ = ctx.args
    return call("pad", gx, pad, mode, None, _backend(ctx)), *(None,) * 4


_differentiate("conv", _conv_backward, _setup_conv, _convolution)
_differentiate("conv_fprop", _fprop_backward, _save(2))
_differentiate("conv_dgrad", _dgrad_backward, _save(2))
_differentiate("conv_wgrad", _wgrad_backward, _save(2))
_differentiate("conv_bgrad", _bgrad_backward, _setup_shape)
_differentiate("max_pool", _max_backward, _setup_max)
_differentiate("max_pool_values", _values_backward, _save(1))
_differentiate("avg_pool", _avg_backward, _setup_shape)
_differentiate("avg_pool_backward", _avg_backward_backward, _setup_shape)
_differentiate("max_unpool", _unpool_backward, _setup_index)
_differentiate("gather", _gather_backward, _setup_index)
_differentiate("scatter_add", _scatter_backward, _setup_index)
_differentiate("unfold", _unfold_backward, _setup_shape)
_differentiate("fold", _fold_backward, _setup_shape)
_differentiate("pad", _pad_backward, _setup_shape)
_differentiate("pad_backward", _pad_backward_backward, _setup_shape)
