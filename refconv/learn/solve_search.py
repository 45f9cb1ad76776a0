"""The search: every value of the unknowns that gives the output, by trying, plainest first.

With one unknown the range holds every value that can matter. With two it is the usual one, and the
result says which.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .. import window
from .arithmetic import Axis
from .solve_read import Question

#: Answers that a text shows; a result has all.
SHOWN = 8
#: Longer ranges are searched by halving.
MANY = 64
#: Ranges of numbers where two are asked for.
USUAL = {"kernel": 11, "stride": 8, "dilation": 4}
#: The usual kernels, plainest first.
KERNELS = (3, 5, 7, 4, 2, 1)
#: The order of the answers, in a line; ``_plainness`` has it in full.
PLAIN = "dilation 1, nothing left over or skipped, kernels 3 5 7 4 2 1, then small numbers"


@dataclass(frozen=True)
class Answer:
    """Values of the unknowns that fit.

    Args:
        values: by name; one number, or one an axis where they differ.
        axes: with all numbers, and so their arithmetic.
    """

    values: dict[str, Any]
    axes: tuple[Axis, ...]
    code: str = ""
    notes: tuple[str, ...] = ()

    @property
    def arithmetic(self) -> str:
        """The numbers put in, for each axis."""
        return ", ".join(f"{axis.name} {axis.text}".lstrip() for axis in self.axes)

    @property
    def left_over(self) -> int:
        """Cells behind the last window, on the axis with most."""
        return max(axis.left_over for axis in self.axes)

    def as_dict(self) -> dict[str, Any]:
        """The answer for JSON."""
        axes = [axis.as_dict() for axis in self.axes]
        return {**self.values, "code": self.code, "notes": list(self.notes), "axes": axes}


def answers(question: Question) -> list[Answer]:
    """All that fit, within the ranges, plainest first.

    Where no one value of the unknown fits all axes, but every axis has its own, the values are one
    an axis.
    """
    found = [
        answer
        for values in _tried(question)
        if (answer := _answer(question, [values] * len(question.axes))) is not None
    ]
    if not found and len(question.axes) > 1 and len(question.unknown) == 1:
        each = [
            [a.values for a in answers(replace(question, axes=(row,)))] for row in question.axes
        ]
        many = [_answer(question, list(values)) for values in product(*(e[:SHOWN] for e in each))]
        found = [answer for answer in many if answer is not None]
    return sorted(found, key=_plainness)


def _answer(question: Question, values: list[dict[str, int]]) -> Answer | None:
    """The answer with these values on each axis, if they fit."""
    axes = []
    for index, row in enumerate(question.axes):
        axis = question.axis(index, values[index])
        if axis is None or row["out"] not in (None, axis.out):
            return None
        axes.append(axis)
    told: dict[str, Any] = {}
    for name in question.unknown:
        each = tuple(
            axis.out if name == "out" else given[name]
            for axis, given in zip(axes, values, strict=True)
        )
        told[name] = each[0] if len(set(each)) == 1 else each
    notes = tuple(dict.fromkeys(note for axis in axes for note in _notes(axis)))
    return Answer(told, tuple(axes), question.answered(told), notes)


def closest(question: Question) -> str:
    """What the next smaller and the next larger output would take, of one unknown number."""
    (name,) = question.unknown
    below: tuple[int, int] | None = None
    above: tuple[int, int] | None = None
    wanted = question.axes[0]["out"]
    for values in _tried(question):
        axis = question.axis(0, values)
        if axis is None:
            continue
        got = axis.out
        if got < wanted and (below is None or got > below[1]):
            below = (values[name], got)
        if got > wanted and (above is None or got < above[1]):
            above = (values[name], got)
    told = [f"{name} {value} gives {got}" for value, got in filter(None, (below, above))]
    if not told:
        return f"no {name} makes the window fit"
    if len(told) == 2:
        return ", ".join(told)
    way = "largest" if above is None else "smallest"
    return f"{told[0]}, the {way} output that any {name} gives"


def asymmetric(question: Question) -> tuple[tuple[int, int], ...] | None:
    """The fewest zeros ``(low, high)`` an axis that fit, if the padding of a convolution is asked
    for, which no equal padding gives (so the stride is 1); None where fewer than none are needed.
    """
    if question.rule != "conv" or question.unknown != ("padding",):
        return None
    found = []
    for row in question.axes:
        size, k, s, d, out = (row[n] for n in ("size", "kernel", "stride", "dilation", "out"))
        total = (out - 1) * s + window.effective_kernel(k, d) - size
        if total < 0:
            return None
        found.append((total // 2, total - total // 2))
    return tuple(found)


def ranges(question: Question) -> str:
    """What was tried, in words."""
    words = []
    for name in question.unknown:
        if name == "out":
            continue
        if len(question.unknown) == 1 or name == "size":
            words.append(f"every {'input' if name == 'size' else name}")
        elif name == "padding":
            words.append("padding below the window's extent")
        elif name == "output_padding":
            words.append("every output_padding")
        else:
            words.append(f"{name} 1 to {USUAL[name]}")
    return ", ".join(words)


def _tried(question: Question) -> Iterator[dict[str, int]]:
    """Every combination of values to try (an output's size is computed, not tried). A range may
    depend on the numbers before it in this order.
    """
    order = ("kernel", "stride", "dilation", "padding", "output_padding", "size")
    names = [name for name in order if name in question.unknown]
    alone = len(question.unknown) == 1

    def deeper(values: dict[str, int], rest: list[str]) -> Iterator[dict[str, int]]:
        if not rest:
            yield values
            return
        low, high = _range(question, rest[0], values, alone)
        if high - low > MANY and len(rest) == 1 and not question.ceil_mode:
            low, high = _near(question, rest[0], values, low, high)
        for value in range(low, high + 1):
            yield from deeper({**values, rest[0]: value}, rest[1:])

    return deeper({}, names)


def _range(question: Question, name: str, values: dict[str, int], alone: bool) -> tuple[int, int]:
    """First and last value of a number to try, given those before it."""
    if not alone and name in USUAL:
        return 1, USUAL[name]
    tops = []
    for row in question.axes:
        numbers = {**row, **values}
        k, d, s = (numbers[n] or 1 for n in ("kernel", "dilation", "stride"))
        s = k if s == "kernel" else s
        pads = sum(window.both_sides(numbers["padding"] or 0))
        size, out = numbers["size"] or 1, numbers["out"] or 1
        extent = window.effective_kernel(k, d)
        if name == "output_padding":
            tops.append(max(s, d) - 1)
        elif (name, k) == ("dilation", 1):
            tops.append(1)  # it does not matter
        elif name == "padding" and (question.rule == "pool" or not alone):
            tops.append(k // 2 if question.rule == "pool" else extent - 1)
        elif question.rule == "transposed":
            # The output's size grows with every one of these; a padding takes from it.
            takes = (size - 1) * s + extent + (numbers["output_padding"] or 0)
            free = name == "stride" and size == 1
            tops.append(takes // 2 if name == "padding" else 1 if free else out + pads + 1)
        else:
            largest: dict[str, int] = {
                "padding": (out * s + extent) // 2,
                "size": out * s + extent,
                "kernel": (size + pads - 1) // d + 1,
                "stride": max(size + pads - extent + 1, 1),
                "dilation": (size + pads - 1) // (k - 1) if k > 1 else 1,
            }
            tops.append(largest[name])
    return 0 if "padding" in name else 1, max(tops)


def _near(
    question: Question, name: str, values: dict[str, int], low: int, high: int
) -> tuple[int, int]:
    """The part of a long range that gives the wanted size, and one value more on each side: the
    size grows, or shrinks, with every one of the numbers.
    """
    grows = (name in ("padding", "size")) != (question.rule == "transposed" and name != "size")
    lows, highs = [], []
    for index, row in enumerate(question.axes):

        def signed(value: int, index: int = index) -> int:
            axis = question.numbers(index, {**values, name: value})
            return axis.computed if grows else -axis.computed

        wanted = row["out"] if grows else -row["out"]
        lows.append(low + bisect_left(range(low, high + 1), wanted, key=signed) - 1)
        highs.append(low + bisect_right(range(low, high + 1), wanted, key=signed))
    return max(low, min(lows)), min(high, max(highs))


def _plainness(answer: Answer) -> tuple[Any, ...]:
    """Smaller is plainer: what a reader would not expect comes late, and large numbers too."""
    axes = answer.axes
    kernels = [axis.kernel for axis in axes]
    return (
        max(axis.dilation for axis in axes),
        max(axis.slides and axis.padding[0] >= axis.extent for axis in axes),
        max(axis.left_over_inside > 0 or axis.bias_only > 0 for axis in axes),
        max(axis.slides and axis.stride > axis.extent and axis.out > 1 for axis in axes),
        [axis.output_padding for axis in axes],
        answer.left_over > 0,
        [KERNELS.index(k) if k in KERNELS else len(KERNELS) + k for k in kernels],
        [axis.padding for axis in axes],
        [axis.stride for axis in axes],
        [axis.size for axis in axes],
    )


def _notes(axis: Axis) -> Iterator[str]:
    yield from axis.notes
    if axis.slides and axis.padding[0] >= axis.extent:
        yield "the first window lies in the padding alone"
