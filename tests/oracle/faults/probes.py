"""Looks at a function: what the rows' self test compares with torch, and nothing an oracle uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]
Probe = Callable[[Function], Any]
Arrays = dict[str, Tensor]
Look = Callable[[Function, Arrays], Any]


def _output(answer: Any) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


def _leaves(arrays: Arrays) -> Arrays:
    """Arrays of their own, in the same layout, that ask for a gradient."""
    wanted = {n: a.is_floating_point() or a.is_complex() for n, a in arrays.items()}
    return {n: a.detach().requires_grad_() if wanted[n] else a for n, a in arrays.items()}


def _noise(like: Tensor, seed: int) -> Tensor:
    return draw(tuple(like.shape), like.dtype, seed)


def draw(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Normal numbers; integers from -9 to 9."""
    rng = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point or dtype.is_complex:
        wide = torch.complex128 if dtype.is_complex else torch.float64
        return torch.randn(shape, dtype=wide, generator=rng).to(dtype)
    return torch.randint(-9, 10, shape, generator=rng).to(dtype)


def values(call: Function, arrays: Arrays) -> Any:
    """The answer and the output's strides."""
    answer = call(**arrays)
    return answer, _output(answer).stride()


def gradients(call: Function, arrays: Arrays, expand: bool = False) -> Any:
    """The answer and the gradients of a random cotangent."""
    leaves = _leaves(arrays)
    answer = call(**leaves)
    y = _output(answer)
    g = y.new_ones(()).expand_as(y) if expand else _noise(y, 7)
    wanted = [a for a in leaves.values() if a.requires_grad]
    if not wanted:
        return answer, y.stride()
    return answer, y.stride(), torch.autograd.grad(y, wanted, g, allow_unused=True)


def summed(call: Function, arrays: Arrays) -> Any:
    """The gradients of the sum: an expanded cotangent."""
    return gradients(call, arrays, expand=True)


def second(call: Function, arrays: Arrays) -> Any:
    """The gradients, and the gradients of these."""
    leaves = list((named := _leaves(arrays)).values())
    y = _output(call(**named))
    g = _noise(y, 7).requires_grad_()
    first = torch.autograd.grad(y, leaves, g, create_graph=True)
    again = [_noise(d, 11 + i) for i, d in enumerate(first)]
    return first, torch.autograd.grad(first, [*leaves, g], again, allow_unused=True)


def per_sample(name: str) -> Look:
    """torch.func.vmap over one argument, for which three are given in a stack."""

    def look(call: Function, arrays: Arrays) -> Any:
        names = [n for n in arrays if n != name]
        stack = torch.stack([arrays[name] * (i + 1) for i in range(3)])

        def one(array: Tensor, *others: Tensor) -> Any:
            return call(**{name: array, **dict(zip(names, others, strict=True))})

        axes = (0, *(None for _ in names))
        return torch.func.vmap(one, in_dims=axes)(stack, *(arrays[n] for n in names))

    return look


def repeated(look: Look, times: int = 20) -> Look:
    """Whether many runs of another look agree in every bit."""

    def again(call: Function, arrays: Arrays) -> Any:
        seen = [_bits(look(call, arrays)) for _ in range(times)]
        return all(bits == seen[0] for bits in seen)

    return again


def _bits(seen: Any) -> Any:
    if isinstance(seen, Tensor):
        return seen.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return [_bits(s) for s in seen] if isinstance(seen, tuple) else seen


def fenced(call: Function, arrays: Arrays) -> Any:
    """The fences before and behind every array, and the arrays, after the call."""
    fences = {n: torch.full((a.numel() + 128,), 77).to(a.dtype) for n, a in arrays.items()}
    for n, a in arrays.items():
        fences[n][64:-64] = a.flatten()
    call(**{n: fences[n][64:-64].view(a.shape) for n, a in arrays.items()})
    return tuple(fences.values())


def kept(call: Function, arrays: Arrays) -> Any:
    """The first answer after a second call on other data."""
    first = call(**arrays)
    call(**{n: a + 1 for n, a in arrays.items()})
    return first


def second_call(**changes: Any) -> Look:
    """The answer of a second call, with some numbers changed."""

    def look(call: Function, arrays: Arrays) -> Any:
        call(**arrays)
        return call(**{**arrays, **changes})

    return look


def no_weight_gradient(call: Function, arrays: Arrays) -> Any:
    """The gradient of the input where the weight asks for none."""
    x = arrays["input"].detach().requires_grad_()
    y = call(**{**arrays, "input": x})
    return torch.autograd.grad(y, x, _noise(y, 7))


@dataclass(frozen=True)
class Case:
    """A call for any rank: shapes and tuples of numbers keep their last axes.

    Args:
        x: the input's shape: batch, channels, and up to three axes.
        w: the weight's shape, if any.
        b: whether there is a bias.
        change: changes the arrays before the call, memory layout included.
        numbers: the other arguments.
    """

    look: Look
    x: tuple[int, ...]
    w: tuple[int, ...] | None = None
    b: int = 0
    dtype: torch.dtype = torch.float64
    change: Callable[[Arrays], Arrays] | None = None
    numbers: dict[str, Any] = field(default_factory=dict)

    def at(self, rank: int) -> Probe:
        """The probe for one rank."""

        def cut(shape: tuple[int, ...]) -> tuple[int, ...]:
            return (*shape[:2], *shape[2:][-rank:]) if rank else shape

        numbers = {
            n: v[-rank:] if rank and isinstance(v, tuple) else v for n, v in self.numbers.items()
        }
        shapes = {"input": cut(self.x)}
        if self.w:
            shapes["weight"] = cut(self.w)
        if self.b:
            shapes["bias"] = (self.b,)

        def probe(function: Function) -> Any:
            arrays = {n: draw(s, self.dtype, i) for i, (n, s) in enumerate(shapes.items())}
            arrays = self.change(arrays) if self.change else arrays
            return self.look(lambda **given: function(**{**numbers, **given}), arrays)

        return probe


def case(look: Look, *, x: Any, w: Any = None, b: int = 0, **rest: Any) -> Case:
    """A :class:`Case`; what is neither an array, ``dtype`` nor ``change`` is one of its numbers."""
    own = {n: rest.pop(n) for n in ("dtype", "change") if n in rest}
    return Case(look, x, w, b, **own, numbers=rest)


def relayout(**layouts: Callable[[Tensor], Tensor]) -> Callable[[Arrays], Arrays]:
    """A change of some arrays, by name."""

    def change(arrays: Arrays) -> Arrays:
        return {n: layouts[n](a) if n in layouts else a for n, a in arrays.items()}

    return change


def channels_last(t: Tensor) -> Tensor:
    """``t`` with its channels last in memory, in two or three dimensions."""
    last = torch.channels_last if t.dim() == 4 else torch.channels_last_3d
    return t.contiguous(memory_format=last)
