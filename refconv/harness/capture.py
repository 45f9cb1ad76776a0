"""One forward pass with every call of the family seen: those of layers and those of functions.

A TorchFunctionMode sees torch's functions however they are called; forward hooks say in which
module. The same pass can compute the functions with ours, and then measures what a converted model
does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from .. import functional, nn
from ..notation import Problem, build
from ..ops import OPS
from ..oracle import calls


@dataclass(frozen=True)
class Call:
    """One call of the family.

    Args:
        where: the layer's qualified name, or ``block.forward()`` for a call in a forward.
        op: its name in ``refconv.functional``.
        given: its arguments by name, defaults included; arrays as they were when it was called.
        step: the entry of ``Trace.steps`` that it belongs to.
    """

    where: str
    op: str
    given: dict[str, Any]
    step: int

    def problem(self) -> Problem:
        """The problem that this call is.

        Raises:
            RefconvError: ours refuses what torch took.
        """
        shapes = {name: tuple(a.shape) for name, a in self.arrays().items()}
        dtype = str(self.given["input"].dtype).removeprefix("torch.")
        drop = ("input", "weight", "bias", "indices", "return_indices", "backend")
        numbers = {name: value for name, value in self.given.items() if name not in drop}
        return build(self.op.removesuffix("_with_indices"), shapes, numbers, dtype)

    def arrays(self) -> calls.Arrays:
        """The arrays, in torch's order."""
        names = ("input", "weight", "bias", "indices")
        return {n: self.given[n] for n in names if self.given.get(n) is not None}


@dataclass
class Trace:
    """What a forward pass did.

    Args:
        calls: of the family, in order; only torch's own pass has them.
        steps: name and result of every layer of the family and every function outside of one.
        output: the model's.
    """

    calls: list[Call] = field(default_factory=list)
    steps: list[tuple[str, tuple[torch.Tensor, ...]]] = field(default_factory=list)
    output: tuple[torch.Tensor, ...] = ()


class ForwardError(Exception):
    """The model's forward raised: ``where`` it was, the shapes it had ``seen``, and the cause."""

    def __init__(self, where: str, seen: str) -> None:
        super().__init__(where)
        self.where, self.seen = where, seen


def layers(model: torch.nn.Module) -> set[str]:
    """The qualified names of the layers that ``nn.convert`` replaces."""
    return {name for name, module in model.named_modules() if nn.counterpart(module) is not None}


def run(
    model: torch.nn.Module, x: torch.Tensor, family: Collection[str], backend: str = ""
) -> Trace:
    """Run ``model`` on ``x`` and record it.

    Args:
        family: ``layers`` of the model as torch has it.
        backend: compute functions of the family with ours; empty: leave them to torch, and record
            their arguments.

    Raises:
        ForwardError: forward raised; the cause is chained.
    """
    recorder = _Recorder(family, backend)
    handles = recorder.attach(model)
    try:
        with torch.no_grad(), recorder:
            y = model(x)
    except Exception as error:
        raise ForwardError(recorder.stack[-1] or "forward()", recorder.last()) from error
    finally:
        for handle in handles:
            handle.remove()
    recorder.trace.output = tensors(y)
    return recorder.trace


class Redirect(TorchFunctionMode):
    """Inside this block torch's functions of the family are computed by ours."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        self.backend = backend

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        op = _family().get(func)
        if op is None:
            return func(*args, **(kwargs or {}))
        return getattr(functional, op)(*args, backend=self.backend, **(kwargs or {}))


class _Recorder(TorchFunctionMode):
    """The mode and the hooks of ``run``: a stack of the modules that are being called."""

    def __init__(self, family: Collection[str], backend: str) -> None:
        super().__init__()
        self.family, self.backend = family, backend
        self.stack: list[str] = []
        self.trace = Trace()

    def attach(self, model: torch.nn.Module) -> list[Any]:
        handles: list[Any] = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(name)))
            handles.append(module.register_forward_hook(self._leave))
        return handles

    def _enter(self, name: str) -> Callable[..., None]:
        return lambda module, args: self.stack.append(name)

    def _leave(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        name = self.stack.pop()
        if name in self.family:
            self._step(name, output)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not self.stack:  # before the model is entered, or after it
            return func(*args, **kwargs)
        inside = self.stack[-1] in self.family
        op = _family().get(func)
        if op is None or (self.backend and inside):
            return func(*args, **kwargs)
        if self.backend:
            y = getattr(functional, op)(*args, backend=self.backend, **kwargs)
        else:
            given = _given(op, args, kwargs)
            y = func(*args, **kwargs)
            self.trace.calls.append(Call(self.place(), op, given, len(self.trace.steps)))
        if not inside:
            self._step(f"{self.place()} {op}", y)
        return y

    def _step(self, where: str, output: Any) -> None:
        kept = tuple(t.detach().clone() for t in tensors(output))
        self.trace.steps.append((where, kept))

    def place(self) -> str:
        """The innermost module: a layer of the family by its name, another by its forward."""
        name = self.stack[-1]
        if name in self.family:
            return name
        return f"{name}.forward()" if name else "forward()"

    def last(self) -> str:
        """The last result before an error, for its message."""
        if not self.trace.steps:
            return ""
        where, output = self.trace.steps[-1]
        return f"{where} gave {tuple(output[0].shape)}" if output else ""


def _given(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name; activations are copied, since a later layer may work in place."""
    bound = _signature(op).bind(*args, **kwargs)
    bound.apply_defaults()
    return {name: _kept(value) for name, value in bound.arguments.items()}


def _kept(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach() if isinstance(value, torch.nn.Parameter) else value.detach().clone()


@cache
def _signature(op: str) -> inspect.Signature:
    return inspect.signature(getattr(functional, op))


@cache
def _family() -> dict[Any, str]:
    """torch's functions → ours."""
    names = [f"{op}{variant}" for op in OPS for variant in ("", "_with_indices")]
    found: dict[Any, str] = {}
    for space in (torch, torch.nn.functional):
        found |= {getattr(space, n): n for n in names if hasattr(space, n) and n != "unfold"}
    found[torch.nn.functional.unfold] = "unfold"
    found[torch.adaptive_max_pool1d] = "adaptive_max_pool1d_with_indices"  # it always gives both
    return {function: n for function, n in found.items() if hasattr(functional, n)}


def tensors(value: Any) -> tuple[torch.Tensor, ...]:
    """The tensors in whatever a forward returned."""
    return tuple(t for t in _pytree.tree_leaves(value) if isinstance(t, torch.Tensor))
