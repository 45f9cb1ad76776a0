"""Mistakes in the numbers that every sliding window has: stride, padding, dilation, kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

from .replays import Replay, numbers

AXES = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}
#: One place of an axis.
ONE = {"depth": "slice", "height": "row", "width": "column"}
FIELDS = ("dilation", "stride", "padding", "kernel")
USUAL = {"dilation": 1, "stride": 1, "padding": 0}

Size = tuple[int, ...]


def get(problem: Any, field: str) -> Size:
    """One number an axis; of padding, that in front. Empty where the problem has none."""
    values = getattr(problem, field, ())
    return tuple(v[0] if isinstance(v, tuple) else v for v in values)


def put(problem: Any, field: str, values: Size) -> Any:
    """The problem with other numbers; its sizes stay."""
    if field == "kernel" and hasattr(problem, "in_channels"):
        return None  # a weight has the kernel's shape
    if field == "dilation" and getattr(problem, "forward_slot", "") == "avg_pool":
        return None  # it has none
    old = getattr(problem, field)
    if field == "padding" and isinstance(old[0], tuple):
        return replace(problem, padding=tuple((v, o[1]) for v, o in zip(values, old, strict=True)))
    return replace(problem, **{field: tuple(values)})


def changed(field: str, rule: Callable[[Any, Size], Size]) -> Callable[[Any], Any]:
    """A change of one field by a rule that is given the problem and the field's values."""

    def change(problem: Any) -> Any:
        values = get(problem, field)
        if len(values) != problem.rank:
            return None
        other = tuple(rule(problem, values))
        return None if other == values else put(problem, field, other)

    return change


def replays(rank: int) -> Iterator[Replay]:
    """The plainest first."""
    names = AXES[rank]
    for field, usual in USUAL.items():
        yield numbers(f"with {field}={usual} ({field} ignored)", _at(field, range(rank), usual))
    yield from _permuted(rank)
    for a in range(rank if rank > 1 else 0):
        for field, usual in USUAL.items():
            text = f"with {field}={usual} on {names[a]} ({field} ignored there)"
            yield numbers(text, _at(field, [a], usual))
        rest = [b for b in range(rank) if b != a]
        for field, usual in USUAL.items() if rank > 2 else ():
            text = f"with {field}={usual} on every axis but {names[a]} ({field} ignored there)"
            yield numbers(text, _at(field, rest, usual))
    yield from _copied(rank)
    yield from _same()
    yield from _shifted(rank)
    yield from _mixed()


def _at(field: str, axes: Any, value: int) -> Callable[[Any], Any]:
    at = set(axes)
    return changed(field, lambda p, v: tuple(value if a in at else n for a, n in enumerate(v)))


def _picked(field: str, order: Size) -> Callable[[Any], Any]:
    """Each axis has the number of another, ``order[axis]``."""
    return changed(field, lambda p, v: tuple(v[o] for o in order))


def _permuted(rank: int) -> Iterator[Replay]:
    """The axes of one number exchanged, or of all numbers."""
    names = AXES[rank]
    for order in permutations(range(rank)):
        moved = [a for a in range(rank) if order[a] != a]
        if not moved:
            continue
        how = " and ".join(names[a] for a in moved) + " exchanged"
        if len(moved) == 3:
            pairs = zip(names, order, strict=True)
            how = "axes rotated: " + ", ".join(f"{names[o]} for {n}" for n, o in pairs)
        for field in FIELDS:
            yield numbers(f"with its {field}'s {how}", _picked(field, order))
        yield numbers(f"with the {how} of all its numbers", _all_picked(order))


def _all_picked(order: Size) -> Callable[[Any], Any]:
    def change(problem: Any) -> Any:
        for field in FIELDS:
            problem = _picked(field, order)(problem) or problem
        return problem

    return change


def _copied(rank: int) -> Iterator[Replay]:
    """One axis's number used for another, or for all."""
    names, every = AXES[rank], range(rank)
    for field in FIELDS if rank > 1 else ():
        for a in every:
            yield numbers(
                f"with the {field} of {names[a]} on every axis", _picked(field, (a,) * rank)
            )
        for a, b in permutations(every, 2) if rank > 2 else ():
            order = tuple(a if c == b else c for c in every)
            yield numbers(f"with {names[a]}'s {field} on {names[b]}", _picked(field, order))


def _remainder(p: Any, a: int) -> int:
    """Cells behind the last window of a convolution, or of a pooling without ceil_mode."""
    whole, windows = _sides(p)
    low, high = _pads(p, a)
    reach = (windows[a] - 1) * p.stride[a] + p.dilation[a] * (p.kernel[a] - 1) + 1
    return int(whole[a] + low + high - reach)


def _sides(p: Any) -> tuple[Size, Size]:
    """Sizes of the side that windows slide over, and counts of windows."""
    if hasattr(p, "blocks"):
        return p.size, p.blocks
    return (p.out_size, p.in_size) if getattr(p, "transposed", False) else (p.in_size, p.out_size)


def _pads(p: Any, a: int) -> tuple[int, int]:
    pad = p.padding[a]
    return pad if isinstance(pad, tuple) else (pad, pad)


Rule = Callable[[Any, int, int], int]


def each(field: str, rule: Rule) -> Callable[[Any], Any]:
    """A change of one field by ``rule(problem, axis, number)``."""
    return changed(field, lambda p, v: tuple(rule(p, a, n) for a, n in enumerate(v)))


def _more(by: int, when: Callable[[Any, int, int], bool]) -> Callable[[Any], Any]:
    """More padding in front on some axes."""
    return each("padding", lambda p, a, n: n + by * when(p, a, n))


def _on(axis: int) -> Callable[[Any, int, int], bool]:
    return lambda p, a, n: a == axis


def _ended(axis: int) -> Callable[[Any], Any]:
    """Windows counted from the end on one axis."""
    return each("padding", lambda p, a, n: n - _remainder(p, a) * (a == axis))


def _shifted(rank: int) -> Iterator[Replay]:
    """All windows begin earlier or later."""

    def tail(p: Any, a: int) -> int:
        more = get(p, "output_padding")
        return more[a] if more else 0

    yield numbers(
        "with all of its padding in front (the padding on the wrong side)",
        each("padding", lambda p, a, n: n + _pads(p, a)[1]),
    )
    yield numbers(
        "with output_padding in front instead of behind (the output shifted)",
        each("padding", lambda p, a, n: n - tail(p, a)),
    )
    yield numbers(
        "with output_padding taken off in front (the output shifted)",
        each("padding", lambda p, a, n: n + tail(p, a)),
    )
    over = "with the cells that the stride leaves over in front instead of behind"
    yield numbers(
        f"{over} (windows counted from the end)",
        each("padding", lambda p, a, n: n - _remainder(p, a)),
    )
    for b in range(rank if rank > 1 else 0):
        yield numbers(f"{over} on {AXES[rank][b]} (windows counted from the end)", _ended(b))
    for by, word in ((1, "with one cell more of padding"), (-1, "with one cell less of padding")):
        yield numbers(f"{word} in front (shifted)", _more(by, lambda p, a, n: True))
        yield numbers(
            f"{word} in front where there is any (shifted)", _more(by, lambda p, a, n: n > 0)
        )
        yield numbers(
            f"{word} in front where the kernel is even (shifted)",
            _more(by, lambda p, a, n: p.kernel[a] % 2 == 0),
        )
        for b in range(rank if rank > 1 else 0):
            yield numbers(f"{word} in front on {AXES[rank][b]} (shifted)", _more(by, _on(b)))


def _mixed() -> Iterator[Replay]:
    """One number in the place of another, or off by something."""
    yield numbers("with its stride as dilation", each("dilation", lambda p, a, n: p.stride[a]))
    yield numbers("with its dilation as stride", each("stride", lambda p, a, n: p.dilation[a]))
    yield numbers(
        "with a stride as large as its kernel (the stride ignored)",
        each("stride", lambda p, a, n: p.kernel[a]),
    )
    yield numbers(
        "with a stride no larger than its kernel (cells that the stride skips are counted)",
        each("stride", lambda p, a, n: min(n, p.dilation[a] * (p.kernel[a] - 1) + 1)),
    )
    yield numbers("with padding times dilation", each("padding", lambda p, a, n: n * p.dilation[a]))
    yield numbers("with padding times stride", each("padding", lambda p, a, n: n * p.stride[a]))
    yield numbers("with its stride and dilation exchanged", _exchanged)
    yield numbers(
        "with padding kernel - 1 - padding",
        each("padding", lambda p, a, n: p.dilation[a] * (p.kernel[a] - 1) - n),
    )
    yield numbers("with padding twice", each("padding", lambda p, a, n: 2 * n))
    yield numbers(
        "with its padding divided by the stride", each("padding", lambda p, a, n: n // p.stride[a])
    )
    yield numbers("with dilation times stride", each("dilation", lambda p, a, n: n * p.stride[a]))
    yield numbers("with stride times dilation", each("stride", lambda p, a, n: n * p.dilation[a]))
    yield numbers("with dilation + 1", each("dilation", lambda p, a, n: n + 1))
    yield numbers("with dilation - 1", each("dilation", lambda p, a, n: max(n - 1, 1)))
    yield numbers("with stride + 1", each("stride", lambda p, a, n: n + 1))
    yield numbers("with stride - 1", each("stride", lambda p, a, n: max(n - 1, 1)))
    yield numbers("with a kernel one cell shorter", each("kernel", lambda p, a, n: max(n - 1, 1)))
    yield numbers("with a kernel one cell longer", each("kernel", lambda p, a, n: n + 1))
    yield numbers(
        "with the padding of padding='same'",
        each("padding", lambda p, a, n: p.dilation[a] * (p.kernel[a] - 1) // 2),
    )


def _exchanged(problem: Any) -> Any:
    if len(get(problem, "dilation")) != problem.rank:
        return None
    turned = put(problem, "stride", get(problem, "dilation"))
    return turned and put(turned, "dilation", get(problem, "stride"))


def _same() -> Iterator[Replay]:
    """padding='same' from the wrong numbers. Only where the two sides differ, or may."""

    def pads(rule: Callable[[Any, int], int]) -> Callable[[Any], Any]:
        def low(p: Any, v: Size) -> Size:
            return tuple(rule(p, a) for a in range(len(v))) if is_same(p) else v

        return changed("padding", low)

    yield numbers(
        "with the odd cell of padding='same' in front instead of behind",
        pads(lambda p, a: _pads(p, a)[1]),
    )
    yield numbers(
        "with padding='same' from the kernel's axes in reverse order, dilation as it is",
        pads(lambda p, a: p.dilation[a] * (p.kernel[-1 - a] - 1) // 2),
    )
    yield numbers(
        "with padding='same' from the dilation's axes in reverse order, the kernel as it is",
        pads(lambda p, a: p.dilation[-1 - a] * (p.kernel[a] - 1) // 2),
    )
    yield numbers(
        "with padding='same' for dilation=1 (dilation left out of the padding)",
        pads(lambda p, a: (p.kernel[a] - 1) // 2),
    )
    yield numbers("with half of the kernel as padding='same'", pads(lambda p, a: p.kernel[a] // 2))


def is_same(p: Any) -> bool:
    """Whether a convolution keeps its size, as padding='same' does."""
    plain = not getattr(p, "transposed", False) and set(p.stride) == {1}
    return plain and hasattr(p, "in_size") and p.in_size == p.out_size
