"""Why another number came out: single mistakes that give exactly that number at this output.

Each is tried by computing the output again with the mistake in it: another problem, other arrays,
another place. The words are those of ``refconv check``, which finds mistakes in whole results; one
number tells less, so every mistake that fits is named, the plainest first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .. import window
from ..checks import axis_name
from ..problem import ConvProblem, PoolProblem
from .trace_cells import trace_at
from .trace_data import Cell, Trace, plain
from .trace_grid import shown

Attempt = tuple[str, Any]  # words, and what they would give
DROPPED = "one tap dropped"


@dataclass(frozen=True)
class Explanation:
    """A mistake that gives the number; ``taps`` where it may be in any of several."""

    text: str
    value: Any
    taps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mismatch:
    """A number that came out, and the mistakes that account for it.

    Args:
        tried: how many mistakes were tried that give another number than the right one.
    """

    trace: Trace
    got: float
    fits: tuple[Explanation, ...]
    tried: int

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return _close(self.got, self.trace.value, _room(self.trace, 0.0))

    def lines(self) -> list[str]:
        """The verdict, then one line an explanation."""
        due = self.trace.value
        if self.right:
            return [f"got {shown(self.got, 10)}: right"]
        off = shown(self.got - due, 6) if math.isfinite(self.got) else self.got
        head = f"got {shown(self.got, 10)}, due {shown(due, 10)}: off by {off}"
        if not self.fits:
            return [f"{head}; none of {self.tried} explanations fits"]
        count = len(self.fits)
        head += f"; {count} of {self.tried} explanations fit{'s' * (count == 1)}"
        made = [head, *(f"  {_with_taps(fit)}" for fit in self.fits)]
        if count > 3:
            made.append("  one number fits several mistakes: another output's (--at) tells more")
        return made

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        fits = [{"text": f.text, "value": plain(f.value), "taps": list(f.taps)} for f in self.fits]
        return {
            "got": plain(self.got), "due": plain(self.trace.value), "right": self.right,
            "tried": self.tried, "fits": fits,
        }  # fmt: skip


def explain(trace: Trace, got: float, digits: float = 0.0) -> Mismatch:
    """The mistakes that give ``got`` instead of ``trace.value``.

    Args:
        digits: by how much ``got`` may be rounded, as it was written.
    """
    room = _room(trace, digits)
    fits: dict[str, Explanation] = {}
    tried = 0
    for text, value in _whole(trace):
        if value is None or _close(value, trace.value, 0.0):
            continue  # it would not show here
        tried += 1
        if _close(value, got, room):
            fits.setdefault(text, Explanation(text, value))
    taps: dict[str, list[tuple[str, Any]]] = {}
    for text, cell, value in _single(trace):
        if _close(value, trace.value, 0.0):
            continue
        tried += 1
        if _close(value, got, room):
            taps.setdefault(text, []).append((cell, value))
    for text, found in taps.items():
        found.sort(key=lambda pair: abs(pair[1] - got))
        fits[text] = Explanation(text, found[0][1], tuple(cell for cell, _ in found))
    nearest = sorted(fits.values(), key=lambda f: abs(f.value - got) if f.value == f.value else 0)
    return Mismatch(trace, got, tuple(nearest), tried)


def _close(a: Any, b: Any, room: float) -> bool:
    if a == b or (a != a and b != b):
        return True
    return bool(abs(a - b) <= room)


def _room(trace: Trace, digits: float) -> float:
    """How far rounding in single precision, as it usually adds up, or in writing may have moved
    the number; nothing where all numbers are whole.
    """
    terms = [abs(c.product) for c in trace.cells if c.state == "inside"]
    numbers = [c.product for c in trace.cells if c.state == "inside"] + [trace.bias or 0]
    if all(float(n).is_integer() for n in numbers) and trace.kind != "avg_pool":
        return digits
    scale = (sum(terms) + abs(trace.bias or 0)) / (trace.divisor or 1)
    return digits + (math.sqrt(len(terms)) + 2) * 2.0**-24 * scale


def _with_taps(fit: Explanation) -> str:
    if not fit.taps:
        return fit.text
    some = "; ".join(fit.taps[:2])
    more = f"; … {len(fit.taps) - 2} more" if len(fit.taps) > 2 else ""
    return f"{fit.text}: {some}{more}"


def _single(trace: Trace) -> Iterator[tuple[str, str, Any]]:
    """One tap that is wrong: what, where, and the sum that it gives."""
    if trace.kind == "max_pool":
        return
    share = trace.divisor or 1
    for channel in trace.channels:
        by_tap = {c.tap: c for c in channel.cells}
        for cell in channel.cells:
            if cell.state != "inside":
                continue
            where = f"channel {channel.channel} tap {','.join(map(str, cell.tap))}"
            p, v = cell.product, trace.value
            yield DROPPED, f"{where} ({shown(p)})", v - p / share
            yield "one tap added twice", f"{where} ({shown(p)})", v + p / share
            yield "one tap with the wrong sign", f"{where} ({shown(p)})", v - 2 * p / share
            for other in _neighbours(cell, by_tap):
                if other.state == "inside":
                    made = other.value * (1 if cell.weight is None else cell.weight)
                    to = ",".join(map(str, other.at))
                    yield (
                        "one tap reads its neighbour's x",
                        f"{where} reads {to}",
                        (v + (made - p) / share),
                    )
                if cell.weight is not None:
                    to = ",".join(map(str, other.tap))
                    made = cell.value * other.weight
                    yield (
                        "one tap takes its neighbour's weight",
                        f"{where} takes {to}",
                        v + made - p,
                    )


def _neighbours(cell: Cell, by_tap: Mapping[Any, Cell]) -> Iterator[Cell]:
    for axis in range(len(cell.tap)):
        for step in (-1, 1):
            tap = (*cell.tap[:axis], cell.tap[axis] + step, *cell.tap[axis + 1 :])
            if tap in by_tap:
                yield by_tap[tap]


def _whole(trace: Trace) -> Iterator[Attempt]:
    """Mistakes that are made everywhere."""
    p, at = trace.problem, trace.at
    yield "the sign is wrong", -trace.value
    yield "negative results are clamped (a ReLU)", max(trace.value, 0)
    yield from _places(trace)
    if isinstance(p, ConvProblem):
        yield from _bias(trace)
        yield from _kernel(trace)
        yield from _channels(trace)
        yield from _geometry(trace)
        if not p.transposed:
            yield from _padding(trace)
    else:
        yield from _pooling(p, trace, at)


def _again(
    trace: Trace, problem: Any = None, at: Sequence[int] | None = None, **arrays: Any
) -> Any:
    """The value with another problem, place or array; None where there is none."""
    made = {**trace.arrays, **arrays}
    try:
        return trace_at(problem or trace.problem, made, at or trace.at).value
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError):
        return None


def _places(trace: Trace) -> Iterator[Attempt]:
    """The right number of another output."""
    p, at = trace.problem, trace.at
    first = len(at) - p.rank
    for axis in range(p.rank):
        name = axis_name(axis, p.rank).lower()
        for step, word in ((1, "next"), (-1, "previous")):
            other = list(at)
            other[first + axis] += step
            yield f"the output of the {word} window along {name}", _again(trace, at=other)
    if p.rank > 1:
        turned = (*at[:-2], at[-1], at[-2])
        yield "height and width of the output exchanged", _again(trace, at=turned)
    if first:
        for step, word in ((1, "next"), (-1, "previous")):
            other = [*at]
            other[first - 1] += step
            yield f"the output of the {word} channel", _again(trace, at=other)


def _bias(trace: Trace) -> Iterator[Attempt]:
    if trace.bias is None:
        return
    bias, b = trace.arrays["bias"], trace.bias
    oc = trace.at[-1 - trace.problem.rank]
    yield "without its bias", trace.value - b
    yield "with its bias added twice", trace.value + b
    yield "with its bias subtracted", trace.value - 2 * b
    for other, words in ((oc + 1, "the next channel"), (oc - 1, "the channel before")):
        if 0 <= other < len(bias):
            yield f"with the bias of {words}", trace.value - b + bias[other].item()
    yield "the bias alone", b
    count = len(trace.channels)
    if count > 1:
        yield "with its bias added once an input channel", trace.value + (count - 1) * b


def _kernel(trace: Trace) -> Iterator[Attempt]:
    w, rank = trace.arrays["weight"], trace.problem.rank
    every = tuple(range(2, 2 + rank))
    yield "with the kernel flipped (turned round)", _again(trace, weight=np.flip(w, every))
    for axis in range(rank) if rank > 1 else ():
        name = axis_name(axis, rank).lower()
        yield f"with the kernel flipped along {name}", _again(trace, weight=np.flip(w, 2 + axis))
    if rank > 1 and w.shape[-1] == w.shape[-2]:
        text = "with the kernel's height and width exchanged (the kernel transposed)"
        yield text, _again(trace, weight=np.swapaxes(w, -1, -2))
    if w.shape[0] == w.shape[1]:
        text = "with the weight's input and output channels exchanged"
        yield text, _again(trace, weight=np.swapaxes(w, 0, 1))


def _channels(trace: Trace) -> Iterator[Attempt]:
    p, x = trace.problem, trace.arrays["input"]
    axis = x.ndim - 1 - p.rank
    if len(trace.channels) > 1:
        reverse = np.flip(x, axis)
        yield (
            "with the input's channels in reverse order (RGB and BGR)",
            _again(trace, input=reverse),
        )
        for by in (1, -1):
            text = f"with the input's channels shifted by one ({by:+d})"
            yield text, _again(trace, input=np.roll(x, by, axis))
        for channel in trace.channels:
            yield f"without input channel {channel.channel}", trace.value - channel.total
        first, last = trace.channels[0], trace.channels[-1]
        for channel, word in ((first, "first"), (last, "last")):
            yield f"with the {word} input channel only", channel.total + (trace.bias or 0)
        at = [c.channel for c in trace.channels]
        for i, j in pairwise(at):
            order = list(range(x.shape[axis]))
            order[i], order[j] = j, i
            swapped = np.take(x, order, axis)
            yield f"with input channels {i} and {j} swapped", _again(trace, input=swapped)
    if p.groups > 1 and trace.channels and trace.channels[0].channel:
        moved = np.roll(x, trace.channels[0].channel, axis)
        yield "with the first group's channels in every group", _again(trace, input=moved)


def _geometry(trace: Trace) -> Iterator[Attempt]:
    """Numbers that are forgotten or off by one."""
    p = trace.problem
    one, none = (1,) * p.rank, ((0, 0),) * p.rank
    if set(p.stride) != {1}:
        yield "with stride 1 (the stride ignored)", _again(trace, replace(p, stride=one))
    if set(p.dilation) != {1}:
        yield "with dilation 1 (the dilation ignored)", _again(trace, replace(p, dilation=one))
    if any(map(any, p.padding)):
        yield "with padding 0 (the padding ignored)", _again(trace, replace(p, padding=none))
    for axis in range(p.rank):
        name = axis_name(axis, p.rank).lower()
        for step in (-1, 1):
            low = tuple((lo + step * (a == axis), hi) for a, (lo, hi) in enumerate(p.padding))
            text = f"with the window one cell {'early' if step > 0 else 'late'} along {name}"
            yield f"{text} (off by one)", _again(trace, replace(p, padding=low))


def _padding(trace: Trace) -> Iterator[Attempt]:
    """Cells of the padding that are not 0."""
    p = trace.problem
    outside = [c for c in trace.cells if c.state == "padding"]
    if not outside:
        return
    for fill in (1, -1):
        total = trace.value + fill * sum(c.weight for c in outside)
        yield f"with {fill} in its padding", total
    yield "with NaN in its padding", math.nan
    x, first = trace.arrays["input"], trace.at[: len(trace.at) - 1 - p.rank]
    for mode, words in (
        ("replicate", "the border's cells in its padding (clamped, replicate)"),
        ("reflect", "reflected cells in its padding"),
        ("circular", "the other side's cells in its padding (circular, wrapped)"),
    ):
        total = trace.value
        for channel in trace.channels:
            for cell in channel.cells:
                if cell.state != "padding":
                    continue
                at = [
                    window.pad_source(i + lo, n, lo, hi, mode)
                    for i, n, (lo, hi) in zip(cell.at, p.in_size, p.padding, strict=True)
                ]
                if not all(0 <= i < n for i, n in zip(at, p.in_size, strict=True)):
                    total = None
                    break
                total += x[(*first, channel.channel, *at)].item() * cell.weight
            if total is None:
                break
        yield f"with {words}", total


def _pooling(p: PoolProblem, trace: Trace, at: Sequence[int]) -> Iterator[Attempt]:
    values = [c.value for c in trace.cells if c.state == "inside"]
    if not values:
        return
    total = trace.channels[0].total
    if trace.kind == "max_pool":
        yield "with 0 in its padding", max(trace.value, 0)
        yield "the minimum", min(values)
        yield "the first cell of the window", values[0]
        yield "the last cell of the window", values[-1]
        yield "the largest magnitude", max(values, key=abs)
        yield "the mean", total / len(values)
        if len(values) > 1:
            yield "without the last cell of the window", max(values[:-1])
            yield "without the first cell of the window", max(values[1:])
        return
    yield "the sum, not divided", total
    yield "the maximum", max(values)
    yield "divided by the cells inside (count_include_pad=False)", total / len(values)
    yield "divided by the whole window (padding counted)", total / len(trace.cells)
