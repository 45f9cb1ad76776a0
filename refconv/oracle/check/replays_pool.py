"""Mistakes of pooling: maxima and their indices, divisors, adaptive windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ...problem import PoolProblem
from .. import tables
from ..reference import exact
from . import replays_maxima
from .replays import Found, Replay, numbers, with_values
from .replays_maxima import right, taken
from .scene import Scene

Array = np.ndarray


def replays(kind: str) -> Iterator[Replay]:
    """The plainest first.

    Args:
        kind: of the op, without its rank.
    """
    if kind.startswith("adaptive"):
        yield from _adaptive()
    if kind == "lp_pool":
        yield from _norms()
    elif "max" in kind:
        yield from replays_maxima.replays()
    else:
        yield from _divisors()
    yield from _overlaps("max" in kind)


@dataclass(frozen=True)
class Windows(PoolProblem):
    """Adaptive pooling with windows of another rule."""

    rule: str = ""

    def window(self, axis: int, o: Any) -> tuple[Any, ...]:
        """``(start, stop)``, and for averages the divisor."""
        size, out = self.in_size[axis], self.out_size[axis]
        start, stop = o * size // out, -(-(o + 1) * size // out)
        step = size // out
        if self.rule == "stride":
            start = o * step
            stop = start + size - (out - 1) * step
        elif self.rule == "kernel":
            start, stop = o * step, (o + 1) * step
        elif self.rule == "floored":
            stop = np.maximum((o + 1) * size // out, start + 1)
        elif self.rule == "rounded up":
            start = -(-o * size // out)
        elif self.rule == "ceil":
            start = np.minimum(o * -(-size // out), size - 1)
            stop = np.minimum(start + -(-size // out), size)
        elif self.rule == "one size":
            stop = np.minimum(start + -(-size // out), size)
        start, stop = np.minimum(start, size), np.minimum(stop, size)
        extent = np.maximum(stop - start, 1)
        if self.rule.startswith("divided"):
            extent = extent * 0 + max(step if self.rule == "divided" else -(-size // out), 1)
        return (start, stop) if "max" in self.op else (start, stop, extent)


def _ruled(problem: Any, rule: str) -> Windows:
    held = {f.name: getattr(problem, f.name) for f in fields(PoolProblem)}
    return Windows(**held, rule=rule)


def _adaptive() -> Iterator[Replay]:
    for rule, text in (
        ("stride", "with one stride, floor(in / out), and one kernel for all adaptive windows"),
        ("kernel", "with adaptive windows of floor(in / out) cells, side by side"),
        ("floored", "whose adaptive windows end at floor((o + 1) * in / out) instead of ceil"),
        ("rounded up", "whose adaptive windows start at ceil(o * in / out) instead of floor"),
        ("ceil", "with adaptive windows of ceil(in / out) cells, side by side"),
        ("divided", "whose adaptive windows are all divided by floor(in / out) cells"),
        ("divided by ceil", "whose adaptive windows are all divided by ceil(in / out) cells"),
        ("one size", "with adaptive windows that are all ceil(in / out) cells long"),
    ):
        yield numbers(text, partial(_ruled, rule=rule))


def _divisors() -> Iterator[Replay]:
    def regular(change: Callable[[Any], dict[str, Any]]) -> Any:
        return lambda p: None if p.adaptive else replace(p, **change(p))

    yield numbers(
        "with count_include_pad the other way round",
        regular(lambda p: {"count_include_pad": not p.count_include_pad}),
    )
    yield numbers("with divisor_override ignored", regular(lambda p: {"divisor": None}))
    yield numbers(
        "with divisor_override ignored and count_include_pad the other way round",
        regular(lambda p: {"divisor": None, "count_include_pad": not p.count_include_pad}),
    )
    yield numbers(
        "with the whole kernel as divisor, also of windows that ceil_mode clips",
        regular(lambda p: {"divisor": p.divisor or prod(p.kernel)}),
    )
    yield numbers(
        "with the whole kernel as divisor (divisor_override ignored)",
        regular(lambda p: {"divisor": prod(p.kernel)}),
    )
    yield numbers("with a divisor of 1 (not divided at all)", lambda p: replace(p, divisor=1))
    yield Replay("whose integers are divided before they are summed", _divided_first)
    for name, rule in (("down", np.floor), ("to nearest", np.rint), ("up", np.ceil)):
        text = f"whose integers are divided and rounded {name} instead of towards zero"
        yield Replay(text, partial(_rounded, rule=rule))


def _back(scene: Scene, name: str, values: Array) -> Found:
    """Values of all windows as a result."""
    return {name: values.reshape(scene.problem.output_shape)}


def _divided_first(scene: Scene) -> Iterator[Found]:
    if not _whole(scene):
        return
    held, _ = taken(scene, 0)
    divisor = np.broadcast_to(tables.divisors(scene.problem), held.shape[1:])
    for rule in (np.trunc, np.floor, np.rint):
        yield _back(scene, "output", rule(held / divisor).sum(axis=1).astype(np.int64))


def _rounded(scene: Scene, rule: Callable[[Array], Array]) -> Iterator[Found]:
    if _whole(scene):
        held, _ = taken(scene, 0)
        mean = held.sum(axis=1) / tables.divisors(scene.problem)
        yield _back(scene, "output", rule(mean).astype(np.int64))


def _whole(scene: Scene) -> bool:
    return scene.simple and "float" not in scene.problem.dtype and "comp" not in scene.problem.dtype


def _norms() -> Iterator[Replay]:
    for norm in (1.0, 2.0, 3.0, float("inf")):
        yield numbers(f"with norm_type={norm:g}", partial(replace, norm=norm))

    def total(scene: Scene) -> Iterator[Found]:
        held, _ = taken(scene, 0.0)
        if held.dtype.kind == "f":
            with np.errstate(all="ignore"):
                yield _back(scene, "output", (held**scene.problem.norm).sum(axis=1))

    def unscaled(scene: Scene) -> Iterator[Found]:
        held, table = taken(scene, 0.0)
        if held.dtype.kind == "f":
            norm = scene.problem.norm
            with np.errstate(all="ignore"):
                sums = (held**norm).sum(axis=1)
                yield _back(scene, "output", sums ** (1 / norm))
                count = (table >= 0).sum(axis=0)
                yield _back(scene, "output", (sums / count) ** (1 / norm))
                yield _back(scene, "output", (sums / prod(scene.problem.kernel)) ** (1 / norm))

    yield Replay("without the root (norm)", total)
    yield Replay("with another divisor under the root (clipped windows, or the mean)", unscaled)


def _overlaps(largest: bool) -> Iterator[Replay]:
    """Gradients that are overwritten where windows overlap."""

    def run(scene: Scene, last: bool) -> Iterator[Found]:
        p = scene.problem
        if "grad_input" not in scene.wrong or not scene.simple or p.norm is not None:
            return
        assert scene.dy is not None
        dy = exact(scene.dy).reshape(prod(p.lead), -1)
        made = np.zeros((len(dy), prod(p.in_size)), dy.dtype)
        order = range(dy.shape[1]) if last else reversed(range(dy.shape[1]))
        if largest:
            at = right(scene)[1]
            for o in order:
                made[np.arange(len(dy)), at[:, o]] = dy[:, o]
        else:
            table, share = tables.of_pool(p), dy / tables.divisors(p)
            for o in order:
                made[:, table[:, o][table[:, o] >= 0]] = share[:, o : o + 1]
        values = made.reshape(p.input_shape)
        yield {"grad_input": with_values(scene.right["grad_input"], values)}

    which = (("last", True), ("first", False))
    for word, last in which:
        yield Replay(
            "whose gradient is overwritten, not added, where windows overlap (only the "
            f"{word} window counts)",
            partial(run, last=last),
        )
