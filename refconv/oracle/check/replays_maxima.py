"""Mistakes of max pooling: which element wins, where it is said to be, where its gradient goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from .. import reference, tables
from ..bound import LARGEST
from ..reference import exact
from .replays import Found, Replay
from .scene import Scene

Array = np.ndarray
#: Values and indices of all windows, of what their taps hold (-inf outside) and where they are.
Scan = Callable[[Scene, Array, Array], tuple[Array, Array]]
Count = Callable[[Scene, Array], Array | None]


def replays() -> Iterator[Replay]:
    """The plainest first."""
    yield from _maxima()
    yield from _indices()
    yield from _sent()


def taken(scene: Scene, outside: Any) -> tuple[Array, Array]:
    """What the taps of every window hold, and where they are.

    Shapes: (planes, taps, windows), (taps, windows)
    """
    p = scene.problem
    table = tables.of_pool(p)
    x = exact(scene.arrays["input"]).reshape(prod(p.lead), prod(p.in_size))
    return np.where(table >= 0, x[:, np.maximum(table, 0)], outside), table


def right(scene: Scene) -> tuple[Array, Array]:
    """Values and indices as they should be, whether or not the call asks for them.

    Shapes: (planes, windows), twice
    """
    best, at = (e.want for e in reference.forward(scene.problem, scene.arrays))
    shape = (prod(scene.problem.lead), prod(scene.problem.out_size))
    return best.reshape(shape), at.reshape(shape)


def scattered(scene: Scene, at: Array, across: bool = False) -> Array:
    """The gradient added to the places ``at``.

    Args:
        across: places outside of a plane are in those beside it; else they get none.
    """
    p = scene.problem
    planes, size = prod(p.lead), prod(p.in_size)
    assert scene.dy is not None
    g, at = exact(scene.dy).reshape(planes, -1), at.reshape(planes, -1)
    flat = at + np.arange(planes)[:, None] * size
    ok = (flat >= 0) & (flat < planes * size) if across else (at >= 0) & (at < size)
    made = np.zeros(planes * size, g.dtype)
    np.add.at(made, flat[ok], g[ok])
    return made.reshape(p.input_shape)


def _scanned(text: str, rule: Scan) -> Replay:
    def run(scene: Scene) -> Iterator[Found]:
        p = scene.problem
        if not scene.simple or 0 in p.output_shape:
            return
        best, at = rule(scene, *taken(scene, lowest(p.dtype)))
        yield {"output": best.reshape(p.output_shape), "indices": at.reshape(p.output_shape)}
        if "grad_input" in scene.wrong:
            yield {"grad_input": scattered(scene, at)}
            yield {"grad_input": scattered(scene, at, across=True)}

    return Replay(text, run)


def lowest(dtype: str) -> Any:
    """What every number beats."""
    return -np.inf if "float" in dtype else int(np.iinfo(dtype).min)


def _at(table: Array, tap: Array) -> Array:
    """Positions of one tap a window."""
    wide = np.broadcast_to(table, (len(tap), *table.shape))
    return np.take_along_axis(wide, tap[:, None], 1)[:, 0]


def _no_nan(scene: Scene, held: Array, table: Array) -> tuple[Array, Array]:
    clear = np.where(np.isnan(held), -np.inf, held)
    best = clear.max(axis=1)
    tap = np.where(best == -np.inf, (table >= 0).argmax(axis=0), clear.argmax(axis=1))
    return best, _at(table, tap)


def _first_nan(scene: Scene, held: Array, table: Array) -> tuple[Array, Array]:
    best, at = _no_nan(scene, held, table)
    begin = np.broadcast_to((table >= 0).argmax(axis=0), best.shape)
    first = np.take_along_axis(held, begin[:, None], 1)[:, 0]
    nan = np.isnan(first)
    return np.where(nan, first, best), np.where(nan, _at(table, begin), at)


def _last_of_equals(scene: Scene, held: Array, table: Array) -> tuple[Array, Array]:
    best, _ = right(scene)
    hit = (held == best[:, None]) & (table >= 0)
    return best, _at(table, held.shape[1] - 1 - hit[:, ::-1].argmax(axis=1))


def _padded_with_zero(scene: Scene, held: Array, table: Array) -> tuple[Array, Array]:
    best, at = right(scene)
    outside = (table < 0).any(axis=0)
    return np.where(outside & (best < 0), best.dtype.type(0), best), at


def _lost(scene: Scene, held: Array, table: Array) -> tuple[Array, Array]:
    best, at = right(scene)
    return best, np.where(best == -np.inf, -1, at)


def _started(value: float) -> Scan:
    def rule(scene: Scene, held: Array, table: Array) -> tuple[Array, Array]:
        best, at = right(scene)
        return np.where(best < value, value, best), np.where(best < value, -1, at)

    return rule


def _maxima() -> Iterator[Replay]:
    """Values that a comparison passes over, or that are compared in vain."""
    zero = "with 0 in its padding instead of -inf (padded with the wrong minimum)"
    floor = "that starts at the lowest finite number instead of -inf (special values)"
    yield _scanned("with NaN ignored (passed over by v > m)", _no_nan)
    yield _scanned("with NaN ignored unless it is first in its window", _first_nan)
    yield _scanned(zero, _padded_with_zero)
    yield _scanned("that starts each maximum at 0 instead of -inf", _started(0))
    yield _scanned("that takes the last of equal maxima, not the first (ties)", _last_of_equals)
    yield _scanned("whose index stays -1 in a window that is all -inf (special values)", _lost)
    yield _scanned(floor, _started(-LARGEST["float32"]))


def _counted(text: str, rule: Count) -> Replay:
    """Indices of another meaning; the gradient may follow them."""

    def run(scene: Scene) -> Iterator[Found]:
        if not scene.simple:
            return
        shape = scene.problem.output_shape
        made = rule(scene, right(scene)[1].reshape(shape))
        if made is not None:
            yield {"indices": made}
            if "grad_input" in scene.wrong:
                yield {"grad_input": scattered(scene, made)}

    return Replay(f"whose index {text}", run)


def _place(scene: Scene, at: Array) -> list[Array]:
    return list(np.unravel_index(np.maximum(at, 0), scene.problem.in_size))


def _in_window(clipped: bool) -> Count:
    def rule(scene: Scene, at: Array) -> Array | None:
        p, flat = scene.problem, np.zeros_like(at)
        if p.adaptive:
            return None
        for a, i in enumerate(_place(scene, at)):
            first = np.arange(p.out_size[a]) * p.stride[a] - p.padding[a]
            first = (np.maximum(first, 0) if clipped else first).reshape(
                -1, *(1,) * (p.rank - a - 1)
            )
            flat = flat * p.kernel[a] + (i - first) // p.dilation[a]
        return flat

    return rule


def _in_rows(sizes: Callable[[Any], list[int]], padded: bool = False) -> Count:
    """Flat indices of a plane of other sizes."""

    def rule(scene: Scene, at: Array) -> Array | None:
        p, flat = scene.problem, np.zeros_like(at)
        if p.adaptive and sizes is _padded_sizes:
            return None
        for a, (i, size) in enumerate(zip(_place(scene, at), sizes(p), strict=True)):
            flat = flat * size + i + (p.padding[a] if padded else 0)
        return flat

    return rule


def _padded_sizes(p: Any) -> list[int]:
    return [n + 2 * pad for n, pad in zip(p.in_size, p.padding, strict=True)]


def _with_planes(which: str) -> Count:
    def rule(scene: Scene, at: Array) -> Array:
        lead, size = scene.problem.lead, prod(scene.problem.in_size)
        count = np.arange(prod(lead)).reshape(*lead, *(1,) * scene.problem.rank)
        parts = {"channel": count % lead[-1], "batch": count // lead[-1]}
        return at + parts.get(which, count) * size

    return rule


def _turned(scene: Scene, at: Array) -> Array:
    return np.ravel_multi_index(tuple(_place(scene, at)[::-1]), scene.problem.in_size[::-1])


def _channels_last(scene: Scene, at: Array) -> Array:
    lead = scene.problem.lead
    channel = (np.arange(prod(lead)) % lead[-1]).reshape(*lead, *(1,) * scene.problem.rank)
    return at * lead[-1] + channel


def _through(dtype: str) -> Count:
    """Indices that went through a narrower type."""
    return lambda scene, at: at.astype(dtype).astype(np.int64)


def _indices() -> Iterator[Replay]:
    """Indices counted in another way."""
    yield _counted("is counted in the window", _in_window(False))
    yield _counted("is counted in the window's part inside the input", _in_window(True))
    yield _counted("is counted in the padded plane", _in_rows(_padded_sizes, True))
    yield _counted("is counted in rows of the padded input", _in_rows(_padded_sizes))
    yield _counted("is counted in rows of the output's width", _in_rows(lambda p: p.out_size))
    yield _counted("counts planes too (no index per plane)", _with_planes("all"))
    yield _counted("has the channel's offset in it", _with_planes("channel"))
    yield _counted("has the image's offset in it", _with_planes("batch"))
    yield _counted("is counted with its axes in reverse order (columns first)", _turned)
    yield _counted("is counted in channels_last memory", _channels_last)
    yield _counted("is counted in the last axis alone", lambda s, at: _place(s, at)[-1])
    yield _counted("is one too large", lambda s, at: at + 1)
    yield _counted("is one too small", lambda s, at: at - 1)
    for dtype in ("uint8", "int16", "uint16", "float16", "float32"):
        yield _counted(f"went through {dtype} (overflow, or rounded)", _through(dtype))


def _sent() -> Iterator[Replay]:
    """Gradients sent to other places than the maxima."""

    def sent(text: str, rule: Callable[[Scene], Array]) -> Replay:
        def run(scene: Scene) -> Iterator[Found]:
            if "grad_input" in scene.wrong and scene.simple:
                yield {"grad_input": rule(scene)}

        return Replay(f"whose gradient {text}", run)

    text = "takes the memory of channels_last indices as contiguous (layout)"
    yield sent("goes to all of equal maxima (ties)", lambda s: _everywhere(s, False))
    yield sent("is shared by all of equal maxima (ties)", lambda s: _everywhere(s, True))
    yield sent(text, lambda s: scattered(s, np.moveaxis(_shaped(s), 1, -1)))
    yield sent("takes contiguous indices as channels_last (layout)", _from_last)


def _shaped(scene: Scene) -> Array:
    return right(scene)[1].reshape(scene.problem.output_shape)


def _from_last(scene: Scene) -> Array:
    at = _shaped(scene)
    return scattered(scene, np.moveaxis(at.reshape(len(at), *at.shape[2:], at.shape[1]), -1, 1))


def _everywhere(scene: Scene, share: bool) -> Array:
    """The gradient of each window, to every element that is as large as its maximum."""
    held, table = taken(scene, -np.inf)
    hit = ((held == right(scene)[0][:, None]) & (table >= 0)).astype(float)
    if share:
        hit /= np.maximum(hit.sum(axis=1, keepdims=True), 1)
    assert scene.dy is not None
    g = exact(scene.dy).reshape(len(held), 1, -1) * hit
    made = np.zeros((prod(scene.problem.in_size), len(held)))
    for t, row in enumerate(table):
        np.add.at(made, row[row >= 0], g[:, t, row >= 0].T)
    return made.T.reshape(scene.problem.input_shape)
