"""Mistakes of unfold and fold, padding and unpooling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch

from ...moves import PadProblem
from .. import tables
from ..reference import exact
from .replays import Change, Found, Replay, either, numbers, reading, with_values, writing
from .scene import GRADIENT, Scene

Array = np.ndarray
Tensor = torch.Tensor


def columns(op: str) -> Iterator[Replay]:
    """unfold and fold."""
    for text, rule in (
        ("with channels behind the kernel's cells, (kernel, channel)", _swapped),
        ("with the kernel's height and width exchanged", _kernel_turned),
        ("with its blocks counted column by column (height and width exchanged)", _blocks_turned),
        ("with the kernel flipped (each block turned round)", _flipped),
        ("with columns and blocks exchanged in memory", lambda p, t, back: t.mT.reshape(t.shape)),
    ):
        there, back = _column(partial(rule, back=False)), _column(partial(rule, back=True))
        if op == "unfold":
            made = writing(text, there, "output"), writing(text, back, "output")
            sent = reading(text, there, GRADIENT), reading(text, back, GRADIENT)
        else:
            made = reading(text, there, "input"), reading(text, back, "input")
            sent = writing(text, there, "grad_input"), writing(text, back, "grad_input")
        yield either(*made, *sent)
    for word, last in (("last", True), ("first", False)):
        yield Replay(
            f"whose blocks overwrite each other where they overlap (only the {word} one counts)",
            partial(_overwritten, last=last),
        )
    yield Replay("divided by the number of blocks that overlap", _averaged)


def _swapped(p: Any, t: Tensor, back: bool) -> Tensor:
    c, k = p.channels, prod(p.kernel)
    parts = t.unflatten(-2, (k, c) if back else (c, k))
    return parts.transpose(-3, -2).flatten(-3, -2)


def _kernel_turned(p: Any, t: Tensor, back: bool) -> Tensor:
    h, w = p.kernel[::-1] if back else p.kernel
    return t.unflatten(-2, (p.channels, h, w)).transpose(-3, -2).flatten(-4, -2)


def _blocks_turned(p: Any, t: Tensor, back: bool) -> Tensor:
    return t.unflatten(-1, p.blocks[::-1] if back else p.blocks).mT.flatten(-2)


def _flipped(p: Any, t: Tensor, back: bool) -> Tensor:
    return t.unflatten(-2, (p.channels, -1)).flip(-2).flatten(-3, -2)


def _column(rule: Callable[[Any, Tensor], Tensor]) -> Change:
    """A change of the array that holds columns."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        shape = scene.problem.column_shape
        return rule(scene.problem, t) if tuple(t.shape) == tuple(shape) else None

    return change


def _overwritten(scene: Scene, last: bool) -> Iterator[Found]:
    p = scene.problem
    name = "output" if p.op == "fold" else "grad_input"
    given = scene.arrays["input"] if p.op == "fold" else scene.dy
    if given is None or name not in scene.wrong or not scene.simple:
        return
    table = tables.of_columns(p)
    values = exact(given).reshape(-1, *table.shape)
    made = np.zeros((len(values), prod(p.size)), values.dtype)
    for windows_first in (True, False):
        cells = [(t, o) for o in range(table.shape[1]) for t in range(table.shape[0])]
        if not windows_first:
            cells.sort()
        made[:] = 0
        for t, o in cells if last else reversed(cells):
            if table[t, o] >= 0:
                made[:, table[t, o]] = values[:, t, o]
        yield {name: with_values(scene.right[name], made.reshape(p.image_shape).copy())}


def _averaged(scene: Scene) -> Iterator[Found]:
    p = scene.problem
    name = "output" if p.op == "fold" else "grad_input"
    if name not in scene.wrong or not scene.simple:
        return
    table = tables.of_columns(p)
    count = np.bincount(table[table >= 0], minlength=prod(p.size)).reshape(p.size)
    right = scene.right[name]
    yield {name: with_values(right, right.want / np.maximum(count, 1))}


@dataclass(frozen=True)
class Sources(PadProblem):
    """Padding that takes its cells by another rule."""

    rule: str = ""

    def source(self, axis: int, o: Any) -> Any:
        """As in ``PadProblem``."""
        shape, outer, pads = self.five()
        size, (low, high) = shape[axis], pads[axis]
        right = PadProblem.source(self, axis, o)
        if (low, high) == (0, 0):
            return right
        i = o - low
        if self.rule == "symmetric":
            i = np.where(i < 0, -1 - i, i)
            return np.where(i >= size, 2 * size - 1 - i, i)
        if self.rule == "inner":
            i = np.where(i < 0, -i, i)
            return np.where(i >= size, 2 * size - 2 - i, i)
        if self.rule == "no front":
            return np.where(i < 0, -1, right)
        if self.rule == "no back":
            return np.where(i >= size, -1, right)
        if self.rule == "no front alone":
            return np.where((i < 0) & (high == 0), -1, right)
        if self.rule == "no back alone":
            return np.where((i >= size) & (low == 0), -1, right)
        if self.rule == "off":
            return np.where((i < 0) | (i >= size), np.clip(right + np.sign(i), 0, size - 1), right)
        if self.rule == "turned":
            front = (low - 1 - o) % max(low, 1)
            back = outer[axis] - 1 - (o - low - size)
            moved = np.where(i < 0, front, np.where(i >= size, back, o))
            return PadProblem.source(self, axis, moved)
        return right


def _ruled(problem: Any, rule: str) -> Any:
    held = {f.name: getattr(problem, f.name) for f in fields(PadProblem)}
    return Sources(**held, rule=rule)


def pad() -> Iterator[Replay]:
    """Padding of the last axes."""
    for mode in ("constant", "reflect", "replicate", "circular"):
        yield numbers(
            f"with mode={mode!r}",
            partial(_in_mode, mode=mode),
        )
    yield numbers("with value=0 (the value ignored)", lambda p: replace(p, value=0))
    yield numbers("with value=1", lambda p: replace(p, value=1))

    def sides(rule: Callable[[int, int], tuple[int, int]]) -> Callable[[Any], Any]:
        return lambda p: replace(p, pads=tuple(rule(lo, hi) for lo, hi in p.pads))

    yield numbers("with its sides exchanged (left for right)", sides(lambda lo, hi: (hi, lo)))
    yield numbers(
        "with half of the padding on each side",
        sides(lambda lo, hi: ((lo + hi) // 2, lo + hi - (lo + hi) // 2)),
    )
    yield numbers(
        "with half of the padding on each side, the odd cell in front",
        sides(lambda lo, hi: (lo + hi - (lo + hi) // 2, (lo + hi) // 2)),
    )
    yield numbers("with the pads of its axes in reverse order (axes exchanged)", _turned_pads)
    yield numbers("with all padding in front (side)", sides(lambda lo, hi: (lo + hi, 0)))
    yield numbers("with all padding behind (side)", sides(lambda lo, hi: (0, lo + hi)))
    yield numbers(
        "shifted one place (padding off by one)",
        sides(lambda lo, hi: (lo + 1, hi - 1) if lo or hi else (lo, hi)),
    )
    yield numbers(
        "shifted one place back (padding off by one)",
        sides(lambda lo, hi: (lo - 1, hi + 1) if lo or hi else (lo, hi)),
    )
    for rule, text in (
        ("symmetric", "that repeats the edge (symmetric, off by one)"),
        ("inner", "that does not repeat the edge (reflect, off by one)"),
        ("no front alone", "whose front stays zero where the other side has no padding"),
        ("no back alone", "whose back stays zero where the other side has no padding"),
        ("no front", "whose padding in front (low side) stays zero"),
        ("no back", "whose padding behind (high side) stays zero"),
        ("off", "whose padding is taken one cell further (off by one)"),
        ("turned", "with the order of its padding's cells reversed"),
    ):
        yield numbers(text, partial(_filled, rule=rule))
    yield Replay("whose gradient is overwritten, not added, where cells are shown twice", _shown)


def _turned_pads(problem: Any) -> Any:
    """The pads that are named, in the order of the array's axes."""
    named = next((a for a, pad in enumerate(problem.pads) if pad != (0, 0)), len(problem.pads))
    return replace(problem, pads=(*problem.pads[:named], *reversed(problem.pads[named:])))


def _in_mode(problem: Any, mode: str) -> Any:
    return None if problem.mode == mode else replace(problem, mode=mode, value=0)


def _filled(problem: Any, rule: str) -> Any:
    """Cells that stay empty are 0."""
    made = _ruled(problem, rule)
    return replace(made, value=0) if rule.startswith("no ") and problem.mode != "constant" else made


def _shown(scene: Scene) -> Iterator[Found]:
    p = scene.problem
    if "grad_input" not in scene.wrong or scene.dy is None:
        return
    lead, source = tables.of_pad(p)
    planes = exact(scene.dy).reshape(prod(p.shape[:lead]), -1)
    source = source.ravel()
    for order in (range(source.size), reversed(range(source.size))):
        made = np.zeros((len(planes), prod(p.shape[lead:])), planes.dtype)
        for o in order:
            if source[o] >= 0:
                made[:, source[o]] = planes[:, o]
        yield {"grad_input": with_values(scene.right["grad_input"], made.reshape(p.shape))}


def unpool() -> Iterator[Replay]:
    """Unpooling: which of several values stays, and where."""

    def placed(text: str, rule: Callable[[Scene, Array], Array]) -> Replay:
        def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
            made = rule(scene, t.numpy())
            return torch.from_numpy(np.ascontiguousarray(np.clip(made, 0, _room(scene) - 1)))

        return reading(f"whose index {text}", change, "indices")

    def kept(text: str, rule: Callable[[Array, Array, Array], None]) -> Replay:
        def run(scene: Scene) -> Iterator[Found]:
            if not scene.simple or "output" not in scene.wrong:
                return
            p = scene.problem
            planes, size = prod(p.lead), prod(p.large)
            at = exact(scene.arrays["indices"]).reshape(planes, -1)
            x = exact(scene.arrays["input"]).reshape(planes, -1)
            made = np.zeros((planes, size), x.dtype)
            for row, places, values in zip(made, at, x, strict=True):
                rule(row, places, values)
            yield {"output": made.reshape(p.output_shape)}

        return Replay(text, run)

    def first(row: Array, places: Array, values: Array) -> None:
        row[places[::-1]] = values[::-1]

    def largest(row: Array, places: Array, values: Array) -> None:
        lowest = np.full_like(row, -np.inf if row.dtype.kind == "f" else np.iinfo(row.dtype).min)
        np.maximum.at(lowest, places, values)
        row[places] = lowest[places]

    yield kept("in which the first of duplicate (equal) indices stays, not the last writer", first)
    yield kept("in which duplicate (equal) indices are added", lambda r, p, v: np.add.at(r, p, v))
    yield kept("in which the largest of duplicate (equal) indices stays", largest)
    yield Replay("without the plane's offset (all planes write into the first)", _one_plane)
    yield placed("is one too large", lambda s, at: at + 1)
    yield placed("is one too small", lambda s, at: at - 1)
    yield placed("is counted with its axes exchanged", _turned)
    yield placed("is counted with the input's width instead of the output's", _narrow)
    yield placed("is counted in rows of the size without output_size (output_size ignored)", _usual)


def _room(scene: Scene) -> int:
    return prod(scene.problem.large)


def _turned(scene: Scene, at: Array) -> Array:
    large = scene.problem.large
    places = np.unravel_index(at, large[::-1])
    return np.ravel_multi_index(places[::-1], large)


def _narrow(scene: Scene, at: Array) -> Array:
    small, large = scene.problem.small, scene.problem.large
    rest = at
    made = np.zeros_like(at)
    step = 1
    for s, n in zip(small[::-1], large[::-1], strict=True):
        made = made + rest % s * step
        rest, step = rest // s, step * n
    return made + rest * step // max(large[0], 1)


def _usual(scene: Scene, at: Array) -> Array:
    """Rows as long as kernel, stride and padding alone would make them."""
    rank, large = scene.problem.rank, scene.problem.large
    given = dict(scene.case.kwargs)
    kernel = given["kernel_size"]
    given = {"stride": kernel, "padding": 0} | {n: v for n, v in given.items() if v is not None}
    k, s, p = (
        (v,) * rank if isinstance(v, int) else v
        for v in (kernel, given["stride"], given["padding"])
    )
    sizes = zip(scene.problem.small, s, p, k, strict=True)
    usual = [(n - 1) * step - 2 * pad + cells for n, step, pad, cells in sizes]
    flat, rest, step = np.zeros_like(at), at, 1
    for size, n in list(zip(usual, large, strict=True))[:0:-1]:
        flat, rest, step = flat + rest % size * step, rest // size, step * n
    return (flat + rest * step) % prod(large)


def _one_plane(scene: Scene) -> Iterator[Found]:
    p = scene.problem
    if not scene.simple or "output" not in scene.wrong:
        return
    planes = prod(p.lead)
    at = exact(scene.arrays["indices"]).reshape(planes, -1)
    x = exact(scene.arrays["input"]).reshape(planes, -1)
    for per in {planes, p.lead[-1]}:
        made = np.zeros((planes, prod(p.large)), x.dtype)
        for i in range(planes):
            made[i // per * per, at[i]] = x[i]
        yield {"output": made.reshape(p.output_shape)}
