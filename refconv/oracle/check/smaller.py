"""Smaller calls: the few numbers that the shapes of a case follow from, and the case that smaller
numbers make.

The shapes of a convolution are no free numbers: weight and bias go with the channels, columns with
the image. So a case is read as numbers with names (``n``, ``c``, ``in 0``, ``kernel 0``, ``stride
1``), some of them are lowered, and it is written again. Where shapes do not fit together, as in
calls that must be refused, each size is a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

from ... import window
from ...errors import RefconvError
from .case import Case

Numbers = dict[str, int]
Shapes = tuple[tuple[int, ...], ...]

#: The least that a number is lowered to, where that is not 1.
_LEAST = {"padding": 0, "output_padding": 0, "more": 0, "pad": 0}
#: Arguments that count nothing.
_NO_COUNTS = ("norm_type", "value")
#: Distances up to this are tried in full.
_NEAR = 8


def read(case: Case) -> Numbers:
    """The numbers that ``case`` follows from."""
    found = _arguments(case)
    linked = found | _sizes(case)
    if _fits(case) and rebuilt(case, linked) == case:
        return linked
    free = {f"shape {i} {a}": s for i, shape in enumerate(case.shapes) for a, s in enumerate(shape)}
    return found | free


def rebuilt(case: Case, numbers: Numbers) -> Case:
    """``case`` with other numbers: what ``read`` gave, or smaller ones."""
    more = [v for name, v in numbers.items() if name.startswith("more ")]
    kwargs = tuple((name, _argument(name, value, numbers)) for name, value in case.kwargs)
    made = replace(case, kwargs=kwargs)
    if "shape 0 0" in numbers:
        at = [range(len(shape)) for shape in case.shapes]
        shapes = [tuple(numbers[f"shape {i} {a}"] for a in axes) for i, axes in enumerate(at)]
        return replace(made, shapes=tuple(shapes))
    made = replace(made, shapes=_shapes(made, numbers))
    if case.kind != "max_unpool":
        return made
    given = dict(kwargs)
    plain = tuple((n, v) for n, v in kwargs if n != "output_size")
    size = _unpooled(replace(made, kwargs=plain))
    if more and size:
        given["output_size"] = tuple(s + m for s, m in zip(size, more, strict=True))
        size = given["output_size"]
    outside = case.values == "outside" or not size
    limit = case.limit if outside else prod(size)
    return replace(made, kwargs=tuple(given.items()), limit=limit)


def steps(case: Case) -> list[str]:
    """What can be lowered: all, single numbers, the largest first, and two by the same amount
    (``a+b``).
    """
    numbers = read(case)
    single = sorted(numbers, key=lambda name: -abs(numbers[name]))
    pairs = []
    for name in numbers:
        kind, _, axis = name.partition(" ")
        if kind in ("kernel", "kernel_size", "output_size", "stride"):
            pairs += [f"{name}+{size}" for size in numbers if size == f"in {axis or 0}"]
        if kind == "kernel_size" and name.replace(kind, "padding") in numbers:
            pairs.append(f"{name}+{name.replace(kind, 'padding')}")
    return ["all", *single, *pairs]


def variants(case: Case, step: str) -> Iterator[Case]:
    """``case`` with the numbers of a step lowered, the boldest first."""
    numbers = read(case)
    first, _, second = step.partition("+")
    if step == "all":
        lowest = {name: min(v, _least(name)) for name, v in numbers.items()}
        yield rebuilt(case, lowest)
        yield from (rebuilt(case, lowest | {name: v}) for name, v in numbers.items())
    if first not in numbers or (second and second not in numbers):
        return
    for value in _lower(numbers[first], _least(first)):
        changed = {first: value}
        if second:
            changed[second] = numbers[second] - (numbers[first] - value)
            if changed[second] < _least(second):
                continue
        yield rebuilt(case, numbers | changed)


def _lower(value: int, least: int) -> Iterator[int]:
    """Values on the way from ``value`` to ``least``, the nearest to ``least`` first."""
    if value < 0 == least:  # a crop
        yield from (-v for v in _lower(-value, least))
        return
    gap = value - least
    if gap <= _NEAR:
        yield from range(least, value)
        return
    yield from range(least, least + 3)
    yield from sorted({value // 2} | {value - (gap >> i) for i in range(1, gap.bit_length())})


def _least(name: str) -> int:
    return _LEAST.get(name.partition(" ")[0], 1)


def _arguments(case: Case) -> Numbers:
    """Every whole number among the arguments, by name and, in a tuple, place."""
    found: Numbers = {}
    for name, value in case.kwargs:
        if name in _NO_COUNTS or (case.kind == "max_unpool" and name == "output_size"):
            continue
        if _counts(value):
            found[name] = value
        elif isinstance(value, tuple | list):
            found |= {f"{name} {a}": v for a, v in enumerate(value) if _counts(v)}
    return found


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _argument(name: str, value: Any, numbers: Numbers) -> Any:
    """An argument's value, written as it was."""
    if isinstance(value, tuple | list):
        return type(value)(numbers.get(f"{name} {a}", v) for a, v in enumerate(value))
    return numbers.get(name, value)


def _fits(case: Case) -> bool:
    """Whether the shapes have as many axes as the op takes."""
    lead = [len(case.shapes[0]) - (1 if case.kind == "fold" else case.rank)]
    if case.kind == "pad":
        return True
    if case.kind in ("conv", "conv_transpose"):
        lead += [len(case.shapes[1]) - case.rank]
    return all(n in (1, 2) for n in lead) and min(map(min, case.shapes)) >= 0


def _sizes(case: Case) -> Numbers:
    """Batch, channels and sizes."""
    if not _fits(case):
        return {}
    x, rank, given = case.shapes[0], case.rank, dict(case.kwargs)
    if case.kind == "pad":
        return {f"in {a}": s for a, s in enumerate(x)}
    spatial = 1 if case.kind == "fold" else rank
    lead, size = x[:-spatial], x[-spatial:]
    found = {"n": lead[0]} if len(lead) == 2 else {}
    if case.kind == "fold":
        return found | {"c": lead[-1] // max(1, _taps(given))}
    found |= {"c": lead[-1]} | {f"in {a}": s for a, s in enumerate(size)}
    if case.kind in ("conv", "conv_transpose"):
        groups, w = max(1, given.get("groups", 1)), case.shapes[1]
        found["c"] //= groups
        found["k"] = w[1] if case.kind == "conv_transpose" else w[0] // groups
        found |= {f"kernel {a}": k for a, k in enumerate(w[2:])}
    if case.kind == "max_unpool" and "output_size" in given:
        plain = replace(case, kwargs=tuple((n, v) for n, v in case.kwargs if n != "output_size"))
        sizes = zip(given["output_size"], _unpooled(plain), strict=False)
        found |= {f"more {a}": out - usual for a, (out, usual) in enumerate(sizes)}
    return found


def _shapes(case: Case, n: Numbers) -> Shapes:
    """The shapes that sizes make."""
    batch = (n["n"],) if "n" in n else ()
    given = dict(case.kwargs)
    if case.kind == "fold":
        return ((*batch, n["c"] * _taps(given), _blocks(given)),)
    size = tuple(v for name, v in n.items() if name.startswith("in "))
    if case.kind == "pad":
        return (size,)
    if case.kind not in ("conv", "conv_transpose"):
        return ((*batch, n["c"], *size),) * len(case.shapes)
    groups, c, k = given.get("groups", 1), n["c"], n["k"]
    kernel = tuple(v for name, v in n.items() if name.startswith("kernel "))
    ends = (groups * c, k) if case.kind == "conv_transpose" else (groups * k, c)
    bias = ((groups * k,),) * (len(case.shapes) - 2)
    return ((*batch, groups * c, *size), (*ends, *kernel), *bias)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _taps(given: dict[str, Any]) -> int:
    return prod(_pair(given["kernel_size"]))


def _blocks(given: dict[str, Any]) -> int:
    """Window positions of a fold; 0 where there are none."""
    names = (("output_size", 1), ("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
    axes = zip(*(_pair(given.get(name, usual)) for name, usual in names), strict=True)
    return prod(max(0, window.out_size(*axis)) if axis[2] > 0 else 0 for axis in axes)


def _unpooled(case: Case) -> tuple[int, ...]:
    """The output's size of an unpooling; nothing where it is refused."""
    try:
        return tuple(case.problem().large)
    except RefconvError:
        return ()
