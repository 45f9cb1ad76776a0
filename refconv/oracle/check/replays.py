"""Replays: what a function gives if it makes one particular mistake, to be compared with what it
gave.

A mistake is a change of the problem's numbers (dilation 1 in an output sized for 2), of what is
read (memory taken as if it were contiguous), or of what is written (the last channel left out). It
is computed by the reference, in float64, so that it either has a result's very numbers or has not.
The families of mistakes are ``replays_numbers``, ``replays_conv``, ``replays_channels``,
``replays_pool``, ``replays_maxima``, ``replays_moves``, ``replays_memory``, ``replays_precision``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch

from ...problem import PoolProblem
from ..reference import Expected, exact
from .scene import GRADIENT, Scene

#: Results of one mistake by name.
Found = dict[str, Any]
#: An array as a mistake reads or writes it; None where the mistake cannot happen.
Change = Callable[[Scene, str, torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True)
class Replay:
    """One mistake.

    Args:
        text: what follows the op's name: ``with dilation=1``.
        run: the results that the mistake gives, one way of making it after the other.
        counted: whether it is about counters, which only large arrays show.
        cheap: whether no other problem has to be computed for it.
    """

    text: str
    run: Callable[[Scene], Iterator[Found]]
    counted: bool = False
    cheap: bool = False

    def fit(self, scene: Scene) -> float:
        """How well this mistake explains all that is wrong in a call: 0 … 1.

        A result that is wrong in the output and its gradients may have several causes: what
        explains the output alone counts a quarter.
        """
        left, fit = set(scene.wrong), 1.0
        try:
            for found in self.run(scene):
                for name in sorted(left & found.keys()):
                    how = scene.explained(name, found[name])
                    if how:
                        left.discard(name)
                        fit = min(fit, how)
                if not left:
                    return fit
        except Exception:  # this mistake cannot be made here: sizes or dtypes do not allow it
            return 0.0
        output = "output" in scene.wrong and "output" not in left
        return 0.25 * fit if output else 0.0


def either(*replays: Replay) -> Replay:
    """One mistake that can be made in several ways."""

    def run(scene: Scene) -> Iterator[Found]:
        for replay in replays:
            yield from replay.run(scene)

    return replace(replays[0], run=run)


def numbers(text: str, change: Callable[[Any], Any]) -> Replay:
    """A mistake in the problem's numbers; arrays keep their sizes.

    An average over windows that now leave the input may also be divided by the whole kernel.
    """

    def run(scene: Scene) -> Iterator[Found]:
        other = change(scene.problem)
        if other is None or other == scene.problem:
            return
        yield scene.due(other)
        fields = ("kernel", "stride", "padding")
        moved = any(getattr(other, f, 0) != getattr(scene.problem, f, 0) for f in fields)
        if isinstance(other, PoolProblem) and moved and other.divisor is None:
            yield scene.due(replace(other, divisor=prod(other.kernel)))

    return Replay(text, run)


def reading(text: str, change: Change, *names: str) -> Replay:
    """A mistake in what is read of some arrays, ``grad_output`` among them.

    An array's own gradient is what the mistake makes of it: its linear map, turned round.
    """

    def run(scene: Scene) -> Iterator[Found]:
        held = dict(scene.arrays)
        if scene.dy is not None:
            held[GRADIENT] = scene.dy
        made = {}
        for name in names:
            other = change(scene, name, held[name]) if name in held else None
            if other is None or same(other, held[name]):
                continue
            if name != "bias" and not other.any():
                return  # nothing is left: that says nothing of what was meant
            made[name] = other
        if not made:
            return
        found = scene.due(**made)
        yield found
        for name in made.keys() - {GRADIENT}:
            result = f"grad_{name}"
            if result in scene.wrong and result in found:
                g = pulled(scene, change, name, held[name], found[result])
                if g.any():  # a rounding has no derivative
                    yield {result: g}

    return Replay(text, run)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two arrays are equal, NaN for NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def pulled(scene: Scene, change: Change, name: str, at: torch.Tensor, e: Expected) -> np.ndarray:
    """The gradient ``e`` of a changed array as that of the array before the change."""
    due = torch.from_numpy(np.array(e.want))

    def run(t: torch.Tensor) -> torch.Tensor:
        made = change(scene, name, t)
        assert made is not None
        return made.to(due.dtype)

    _, g = torch.autograd.functional.vjp(run, at.detach(), due)
    return exact(g)


def writing(text: str, change: Change, *names: str) -> Replay:
    """A mistake in how results are written; of all results if none is named.

    Where the output is changed, gradients may be those of the changed output.
    """

    def run(scene: Scene) -> Iterator[Found]:
        if not scene.simple:
            return
        made = {}
        for name in scene.wrong:
            if not names or name in names:
                t = torch.from_numpy(np.array(scene.right[name].want))
                other = change(scene, name, t)
                if other is not None and not same(other, t):
                    made[name] = other.numpy()
        if not made:
            return
        yield made
        if "output" in made and scene.dy is not None and len(scene.wrong) > 1:
            y = torch.from_numpy(np.array(scene.right["output"].want))

            def run_output(t: torch.Tensor) -> torch.Tensor:
                other = change(scene, "output", t)
                assert other is not None
                return other

            _, dy = torch.autograd.functional.vjp(run_output, y, scene.dy.to(y.dtype))
            yield scene.due(grad_output=dy)

    return Replay(text, run, cheap=True)


def with_values(e: Expected, want: np.ndarray) -> Expected:
    """Other values under the same law of errors."""
    return replace(e, want=want)
