"""Mistakes of max pooling: which element wins, where it is said to be, where its gradient goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from .. import reference, tables
from ..bound import LARGEST
from ..reference import exact
from .replays import Found, Replay, Scene

Array = np.ndarray


def _taken(scene: Scene, outside: Any) -> tuple[Array, Array]:
    """What the taps of every window hold, and where they are.

    Shapes: (planes, taps, windows), (taps, windows)
    """
    p = scene.problem
    table = tables.of_pool(p)
    x = exact(scene.arrays["input"]).reshape(prod(p.lead), prod(p.in_size))
    return np.where(table >= 0, x[:, np.maximum(table, 0)], outside), table


def _back(scene: Scene, name: str, values: Array) -> Found:
    """Values of all windows as a result; None of a result is asked for in vain."""
    return {name: values.reshape(scene.problem.output_shape)}


def _maxima() -> Iterator[Replay]:
    """Values that a comparison passes over, or that are compared in vain."""

    def scanned(text: str, rule: Callable[[Scene, Array, Array], tuple[Array, Array]]) -> Replay:
        """``rule``: values and indices from what the taps hold (-inf outside) and the table."""

        def run(scene: Scene) -> Iterator[Found]:
            if not scene.simple or 0 in scene.problem.output_shape:
                return
            lowest = -np.inf if "float" in scene.problem.dtype else _least(scene)
            taken, table = _taken(scene, lowest)
            best, at = rule(scene, taken, table)
            found = {**_back(scene, "output", best), **_back(scene, "indices", at)}
            yield found
            if "grad_input" in scene.wrong:
                yield {"grad_input": scattered(scene, found["indices"])}

        return Replay(text, run)

    def ignored(scene: Scene, taken: Array, table: Array) -> tuple[Array, Array]:
        clear = np.where(np.isnan(taken), -np.inf, taken)
        found = clear.argmax(axis=1)
        none = clear.max(axis=1) == -np.inf
        found = np.where(none, (table >= 0).argmax(axis=0), found)
        return clear.max(axis=1), _at(table, found)

    def first_only(scene: Scene, taken: Array, table: Array) -> tuple[Array, Array]:
        best, at = ignored(scene, taken, table)
        begin = (table >= 0).argmax(axis=0)
        first = np.take_along_axis(taken, begin[None, None].repeat(len(taken), 0), 1)[:, 0]
        return np.where(np.isnan(first), first, best), np.where(
            np.isnan(first), _at(table, np.broadcast_to(begin, first.shape)), at
        )

    def last(scene: Scene, taken: Array, table: Array) -> tuple[Array, Array]:
        best = scene.right["output"].want.reshape(taken.shape[0], -1)
        hit = (taken == best[:, None]) & (table >= 0)
        found = taken.shape[1] - 1 - hit[:, ::-1].argmax(axis=1)
        return best, _at(table, found)

    def padded(scene: Scene, taken: Array, table: Array) -> tuple[Array, Array]:
        best, at = _right(scene, taken)
        outside = (table < 0).any(axis=0)
        return np.where(outside & ~(best >= 0) & (best == best), best * 0, best), at

    def started(value: Any) -> Any:
        def rule(scene: Scene, taken: Array, table: Array) -> tuple[Array, Array]:
            best, at = _right(scene, taken)
            low = best < value
            return np.where(low, value, best), np.where(low, -1, at)

        return rule

    yield scanned("with NaN ignored (passed over by v > m)", ignored)
    yield scanned("with NaN ignored unless it is first in its window", first_only)
    yield scanned("with 0 in its padding instead of -inf (padded with the wrong minimum)", padded)
    yield scanned("that starts each maximum at 0 instead of -inf", started(0))
    yield scanned(
        "that starts each maximum at the lowest finite number instead of -inf (index -1 where all "
        "is -inf)",
        started(-LARGEST["float32"]),
    )
    yield scanned("that takes the last of equal maxima, not the first (ties)", last)
    yield scanned(
        "whose index stays -1 in a window that is all -inf (special values)",
        lambda s, t, table: _lost(*_right(s, t)),
    )


def _lost(best: Array, at: Array) -> tuple[Array, Array]:
    return best, np.where(best == -np.inf, -1, at)


def _least(scene: Scene) -> int:
    return int(np.iinfo(scene.problem.dtype).min)


def _at(table: Array, tap: Array) -> Array:
    """Positions of one tap a window."""
    return np.take_along_axis(np.broadcast_to(table, (len(tap), *table.shape)), tap[:, None], 1)[
        :, 0
    ]


def _right(scene: Scene, taken: Array) -> tuple[Array, Array]:
    """Values and indices as they should be."""
    shape = (taken.shape[0], taken.shape[2])
    found = scene.due()
    best = found["output"].want.reshape(shape)
    return best, right_indices(scene).reshape(shape)


def right_indices(scene: Scene) -> Array:
    """Where the maxima are, whether or not the call asks for it."""
    from .. import reference

    return reference.forward(scene.problem, scene.arrays)[1].want


def scattered(scene: Scene, at: Array, dy: Array | None = None) -> Array:
    """The gradient added to the places ``at``; places outside get none."""
    p = scene.problem
    planes, size = prod(p.lead), prod(p.in_size)
    assert scene.dy is not None
    g = (exact(scene.dy) if dy is None else dy).reshape(planes, -1)
    at = at.reshape(planes, -1)
    made = np.zeros((planes, size), g.dtype)
    row = np.arange(planes)[:, None]
    ok = (at >= 0) & (at < size)
    np.add.at(made, (np.broadcast_to(row, at.shape)[ok], at[ok]), g[ok])
    return made.reshape(p.input_shape)


def _indices(rank: int) -> Iterator[Replay]:
    """Indices counted in another way; the gradient may follow them."""

    def counted(text: str, rule: Callable[[Scene, Array], Array | None]) -> Replay:
        def run(scene: Scene) -> Iterator[Found]:
            if not scene.simple:
                return
            made = rule(scene, right_indices(scene))
            if made is None:
                return
            yield {"indices": made}
            if "grad_input" in scene.wrong:
                yield {"grad_input": scattered(scene, made)}

        return Replay(f"whose index {text}", run)

    def place(scene: Scene, at: Array) -> list[Array]:
        return list(np.unravel_index(np.maximum(at, 0), scene.problem.in_size))

    def in_window(scene: Scene, at: Array, absolute: bool) -> Array | None:
        p = scene.problem
        if p.adaptive:
            return None
        flat = np.zeros_like(at)
        for a, i in enumerate(place(scene, at)):
            o = np.arange(p.out_size[a]).reshape(-1, *(1,) * (p.rank - a - 1))
            first = o * p.stride[a] - p.padding[a]
            first = first if absolute else np.maximum(first, 0)
            flat = flat * p.kernel[a] + (i - first) // p.dilation[a]
        return flat

    def padded(scene: Scene, at: Array) -> Array | None:
        p = scene.problem
        if p.adaptive:
            return None
        flat = np.zeros_like(at)
        for a, i in enumerate(place(scene, at)):
            flat = flat * (p.in_size[a] + 2 * p.padding[a]) + i + p.padding[a]
        return flat

    def planes(scene: Scene, at: Array, which: str) -> Array | None:
        lead, size = scene.problem.lead, prod(scene.problem.in_size)
        count = np.arange(prod(lead)).reshape(*lead, *(1,) * rank)
        if which == "channel":
            count = count % lead[-1]
        if which == "batch":
            count = count // lead[-1]
        return at + count * size

    def turned(scene: Scene, at: Array) -> Array:
        places = place(scene, at)[::-1]
        return np.ravel_multi_index(tuple(places), scene.problem.in_size[::-1])

    def last(scene: Scene, at: Array) -> Array:
        lead = scene.problem.lead
        channel = (np.arange(prod(lead)) % lead[-1]).reshape(*lead, *(1,) * rank)
        return at * lead[-1] + channel

    def along(scene: Scene, at: Array) -> Array:
        return place(scene, at)[-1]

    def smaller(scene: Scene, at: Array) -> Array:
        return np.ravel_multi_index(tuple(place(scene, at)), scene.problem.out_size, mode="clip")

    yield counted("is counted in the window", lambda s, at: in_window(s, at, True))
    yield counted(
        "is counted in the window's part inside the input", lambda s, at: in_window(s, at, False)
    )
    yield counted("is counted in the padded plane", padded)
    yield counted("counts planes too (no index per plane)", lambda s, at: planes(s, at, ""))
    yield counted("has the channel's offset in it", lambda s, at: planes(s, at, "channel"))
    yield counted("has the image's offset in it", lambda s, at: planes(s, at, "batch"))
    yield counted("is counted with its axes in reverse order (columns first)", turned)
    yield counted("is counted in channels_last memory", last)
    yield counted("is counted in the last axis alone", along)
    yield counted("is counted with the output's width", smaller)
    yield counted("is one too large", lambda s, at: at + 1)
    yield counted("is one too small", lambda s, at: at - 1)
    for bits in (8, 15, 16):
        yield counted(f"wraps at 2**{bits} (overflow)", lambda s, at, b=bits: at % 2**b)
    yield counted(
        "is signed in 16 bits (overflow)", lambda s, at: at.astype(np.int16).astype(np.int64)
    )
    for name in ("float16", "float32"):
        yield counted(
            f"went through {name} (rounded)",
            lambda s, at, name=name: at.astype(name).astype(np.int64),
        )


def _sent(rank: int) -> Iterator[Replay]:
    """Gradients sent to other places than the maxima."""

    def sent(text: str, rule: Callable[[Scene], Array]) -> Replay:
        def run(scene: Scene) -> Iterator[Found]:
            if "grad_input" in scene.wrong and scene.simple:
                yield {"grad_input": rule(scene)}

        return Replay(f"whose gradient {text}", run)

    def everywhere(scene: Scene, share: bool) -> Array:
        taken, table = _taken(scene, -np.inf)
        best, _ = _right(scene, taken)
        hit = ((taken == best[:, None]) & (table >= 0)).astype(float)
        if share:
            hit /= np.maximum(hit.sum(axis=1, keepdims=True), 1)
        assert scene.dy is not None
        g = exact(scene.dy).reshape(len(taken), 1, -1) * hit
        made = np.zeros((len(taken), prod(scene.problem.in_size)))
        for t, row in enumerate(table):
            ok = row >= 0
            np.add.at(made.T, row[ok], g[:, t, ok].T)
        return made.reshape(scene.problem.input_shape)

    def memory(scene: Scene, back: bool) -> Array:
        at = right_indices(scene)
        if back:
            turned = at.reshape(at.shape[0], *at.shape[2:], at.shape[1])
            return scattered(scene, np.moveaxis(turned, -1, 1))
        return scattered(scene, np.moveaxis(at, 1, -1).reshape(at.shape))

    yield sent("goes to all of equal maxima (ties)", lambda s: everywhere(s, False))
    yield sent("is shared by all of equal maxima (ties)", lambda s: everywhere(s, True))
    yield sent(
        "takes the memory of channels_last indices as contiguous (layout)",
        lambda s: memory(s, False),
    )
    yield sent("takes contiguous indices as channels_last (layout)", lambda s: memory(s, True))
