"""The right value with a wrong gradient, and the wrong value with the right gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .call import Call

Meddle = Callable[[dict[str, Tensor], Tensor, dict[str, Tensor]], None]


class _Swap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, right: Tensor, wrong: list[Tensor]) -> Tensor:
        # Boxed: an output that is an input would be a view of it.
        return wrong[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None


def swap(right: Tensor, wrong: Tensor) -> Tensor:
    """``wrong``'s value with ``right``'s gradient."""
    return _Swap.apply(right, [wrong.detach()]) if right.requires_grad else wrong.detach()


class _Meddled(torch.autograd.Function):
    """``function``'s value; its gradients pass through ``meddle`` before they are handed on."""

    @staticmethod
    def forward(ctx: Any, function: Any, meddle: Any, *tensors: Tensor) -> Any:
        ctx.function, ctx.meddle = function, meddle
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        create = torch.is_grad_enabled()
        needed = ctx.needs_input_grad[2:]
        with torch.enable_grad():
            live = [_alias(t, n, create) for t, n in zip(ctx.saved_tensors, needed, strict=True)]
            y = ctx.function(*live)
            wanted = [t for t, n in zip(live, needed, strict=True) if n]
            found = iter(torch.autograd.grad(y, wanted, upstream, create_graph=create))
        grads = [next(found) if n else None for n in needed]
        with torch.set_grad_enabled(create):
            return None, None, *ctx.meddle(grads, upstream, live)


def _alias(t: Tensor, needed: bool, create: bool) -> Tensor:
    """A tensor of its own for each argument: the same one may be given twice."""
    if create:
        return t.view_as(t)
    return t.detach().requires_grad_() if needed else t.detach()


def wrong_gradient(call: Call, meddle: Meddle) -> Any:
    """torch's answer; its gradients are what ``meddle(grads, grad_output, arrays)`` makes of the
    right ones. ``grads`` and ``arrays`` go by torch's names; ``grads`` has only what is asked for.
    """
    names = [n for n in ("input", "weight", "bias") if isinstance(call.given.get(n), Tensor)]
    tensors = [call.given[n] for n in names]
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)):
        return call.right

    def function(*arrays: Tensor) -> Tensor:
        y = call(**dict(zip(names, arrays, strict=True)))
        return y[0] if isinstance(y, tuple) else y

    def by_place(grads: list[Any], upstream: tuple[Tensor, ...], live: list[Tensor]) -> list[Any]:
        known = {n: g for n, g in zip(names, grads, strict=True) if g is not None}
        meddle(known, upstream[0], dict(zip(names, live, strict=True)))
        return [known.get(n) for n in names]

    return call.with_output(_Meddled.apply(function, by_place, *tensors))


def gradient(call: Call, name: str, g: Tensor, **changes: Any) -> Tensor:
    """The right gradient of one argument of the call with some arguments changed."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        given = {**call.given, **changes}[name]
        leaf = _alias(given, True, create and given.requires_grad)
        y = call(**{**changes, name: leaf})
        y = y[0] if isinstance(y, tuple) else y
        return torch.autograd.grad(y, leaf, g, create_graph=create)[0]


def wrong_second_gradient(call: Call, meddle: Any) -> Any:
    """A convolution with right gradients whose own gradients pass through ``meddle``.

    Args:
        call: a convolution whose padding is given as numbers.
        meddle: ``(grads, upstream, arrays)``; names are ``input``, ``weight``, ``grad_output``;
            ``upstream`` holds what came in for the gradients of input and weight, by these names.
    """
    low = [lo for lo, _ in call.p]
    zeros = [0] * call.rank

    def derivatives(mask: list[bool]) -> Any:
        def function(x: Tensor, w: Tensor, g: Tensor) -> Any:
            all_three = torch.ops.aten.convolution_backward(
                g, x, w, None, list(call.s), low, list(call.d), False, zeros, call.g, [*mask, False]
            )
            return tuple(d for d, m in zip(all_three, mask, strict=False) if m)

        return function

    def first(grads: dict[str, Tensor], g: Tensor, arrays: dict[str, Tensor]) -> None:
        names = [n for n in ("input", "weight") if n in grads]
        if not torch.is_grad_enabled() or not names:
            return

        def second(back: list[Any], upstream: tuple[Tensor, ...], live: list[Tensor]) -> list[Any]:
            places = ("input", "weight", "grad_output")
            known = {n: b for n, b in zip(places, back, strict=True) if b is not None}
            arrived = dict(zip(names, upstream, strict=True))
            meddle(known, arrived, dict(zip(places, live, strict=True)))
            return [known.get(n) for n in places]

        function = derivatives([n in grads for n in ("input", "weight")])
        planted = _Meddled.apply(function, second, arrays["input"], arrays["weight"], g)
        grads.update(zip(names, planted, strict=True))

    return wrong_gradient(call, first)
