"""What a function gives, and what is due, for every way of calling it: both as results by name.

Plain calls give outputs and gradients; ``vmap:NAME`` a stack of outputs; ``double:NAME`` the second
derivatives that flow through the gradient of NAME. These need no new mathematics: convolution is
linear in each argument, so a second derivative is one of the three passes with another array in
the place of NAME.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .. import reference
from ..bound import Sum
from ..reference import Expected
from .case import Case

Named = dict[str, torch.Tensor]
#: Copies of the mapped array in a stack.
STACK = 3


class NoGradientError(Exception):
    """The function's result does not depend on its inputs, as far as autograd can see."""


def stacked(case: Case, name: str) -> list[torch.Tensor]:
    """The arrays that ``vmap`` maps over: the case's own, then others of other seeds."""
    at = case.names.index(name)
    return [replace(case, seed=case.seed + i).arrays()[at] for i in range(STACK)]


def tangent(case: Case, name: str) -> torch.Tensor:
    """What is sent through the gradient of ``name``: other numbers of its shape."""
    return replace(case, seed=case.seed + 17).arrays()[case.names.index(name)].contiguous()


def got(
    function: Callable[..., Any], case: Case, arrays: Named, dy: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Everything that ``function`` gives for ``case``, by name.

    Raises:
        Exception: whatever the function raises.
    """
    way, _, name = case.way.partition(":")
    numbers = dict(case.kwargs)
    if way == "vmap":
        many = {**arrays, name: torch.stack(stacked(case, name)).to(arrays[name].device)}
        dims = tuple(0 if n == name else None for n in many)
        mapped = torch.vmap(lambda *a: function(*a, **numbers), in_dims=dims)
        return _named(mapped(*many.values()))
    if dy is None:
        with torch.no_grad():
            return _named(function(*arrays.values(), **numbers))
    wanted = differentiated(case)
    leaves = {n: a.detach().requires_grad_(n in wanted) for n, a in arrays.items()}
    found = _named(function(*leaves.values(), **numbers))
    y = found["output"]
    if y.shape != dy.shape:
        return found  # there is no gradient of a result of the wrong shape
    if not y.requires_grad:
        raise NoGradientError("its result has no gradient")
    given = [leaves[n] for n in wanted]
    if way == "double":
        dy = dy.clone().requires_grad_()
        [first] = torch.autograd.grad(y, [leaves[name]], dy, create_graph=True)
        others = [n for n in wanted if n != name]
        v = tangent(case, name).to(first.device)
        second = torch.autograd.grad(
            first, [dy, *(leaves[n] for n in others)], v, allow_unused=True
        )
        named = zip(["output", *others], second, strict=True)
        return {f"grad_grad_{n}": g for n, g in named if g is not None}
    grads = torch.autograd.grad(y, given, dy, allow_unused=True)
    found |= {f"grad_{n}": g for n, g in zip(wanted, grads, strict=True) if g is not None}
    return {n: t.detach() for n, t in found.items()}


def differentiated(case: Case) -> list[str]:
    """The arrays of ``case`` that require a gradient."""
    names = [n for n in case.names if n != "indices"]
    if case.way.startswith("double"):
        return names
    return [n for n in names if not case.wrt or n in case.wrt]


def _named(result: Any) -> dict[str, torch.Tensor]:
    """A function's result by name.

    Raises:
        TypeError: it is neither a tensor nor a pair of tensors.
    """
    parts = tuple(result) if isinstance(result, tuple | list) else (result,)
    if len(parts) not in (1, 2) or not all(isinstance(p, torch.Tensor) for p in parts):
        shown = ", ".join(type(p).__name__ for p in parts)
        raise TypeError(f"returned {shown}; a tensor, or a pair of tensors, is due")
    return dict(zip(("output", "indices"), parts, strict=False))


def due(case: Case, problem: Any, arrays: Named, dy: torch.Tensor | None) -> list[Expected]:
    """What is right, with the law of its errors."""
    way, _, name = case.way.partition(":")
    if way == "vmap":
        return [_stack(case, problem, arrays, name)]
    found = reference.forward(problem, arrays)
    if not dict(case.kwargs).get("return_indices"):
        found = [e for e in found if e.name != "indices"]
    if dy is None:
        return found
    if way == "double":
        return _second(case, problem, arrays, dy, name)
    wanted = {f"grad_{n}" for n in differentiated(case)}
    return found + [e for e in reference.backward(problem, arrays, dy) if e.name in wanted]


def _stack(case: Case, problem: Any, arrays: Named, name: str) -> Expected:
    parts = [reference.forward(problem, {**arrays, name: a})[0] for a in stacked(case, name)]
    want = np.stack([p.want for p in parts])
    laws = [p.law for p in parts]
    if not all(isinstance(law, Sum) for law in laws):
        return replace(parts[0], want=want, terms=None)
    scale = np.stack([np.broadcast_to(law.scale, want.shape[1:]) for law in laws])  # type: ignore[attr-defined]
    return replace(parts[0], want=want, law=replace(laws[0], scale=scale), terms=None)  # type: ignore[type-var]


def _second(case: Case, problem: Any, arrays: Named, dy: torch.Tensor, name: str) -> list[Expected]:
    """Second derivatives through the gradient of ``name``, with ``v`` in its place."""
    v = tangent(case, name)
    if name == "bias":  # its gradient is a sum of dy: v is spread over the output again
        axis = dy.dim() - problem.rank - 1
        spread = v.view(-1, *(1,) * problem.rank).expand(dy.shape[axis:]).expand(dy.shape)
        want = reference.exact(spread)
        law = Sum(np.ones((), np.int64), np.abs(want), product=False)
        return [Expected("grad_grad_output", want, law, problem.dtype)]
    linear = replace(problem, bias=False) if hasattr(problem, "bias") else problem
    given = {n: a for n, a in {**arrays, name: v}.items() if n != "bias"}
    [first] = reference.forward(linear, given)[:1]
    found = [replace(first, name="grad_grad_output")]
    others = {f"grad_{n}" for n in given if n not in (name, "indices")}
    more = [e for e in reference.backward(linear, given, dy) if e.name in others]
    return found + [replace(e, name=f"grad_{e.name}") for e in more]


def earlier(case: Case) -> Case:
    """The call made before an ``again`` case: other numbers, one argument changed."""
    changed = dict(case.kwargs) | dict(case.earlier)
    return replace(case, kwargs=tuple(changed.items()), seed=case.seed + 1, way="plain")
