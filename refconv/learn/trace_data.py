"""One output number as data: the window it sees, the weights it meets, the products, the sums.

``trace`` makes it, ``trace_cells`` computes it, ``trace_show`` shows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .. import label
from ..problem import ConvProblem, Size

SCHEMA = "refconv.trace/1"
Number = Any  # int, float or complex
#: What is in a cell of a window: a number; a zero (or, for a maximum, nothing) of the padding; what
#: ceil_mode adds behind the padding; or, in a transposed convolution, a tap that meets no input.
STATES = ("inside", "padding", "beyond", "gap")


@dataclass(frozen=True)
class Cell:
    """One tap of a window.

    Args:
        tap: its place in the kernel.
        at: the place in the input that it meets, outside the input where ``state`` says so; empty
            in a gap.
        value: of the input; None unless inside. ``weight``: None of a pool.
        product: what is added up (of a pool the value itself); None unless inside.
    """

    tap: Size
    at: Size
    state: str
    value: Number = None
    weight: Number = None
    product: Number = None


@dataclass(frozen=True)
class Channel:
    """The part of a window that lies in one input channel.

    Args:
        channel: of the input.
        plane: the first two indices of its weights; empty of a pool.
        cells: in the order of taps, the last axis fastest.
    """

    channel: int
    plane: Size
    cells: tuple[Cell, ...]

    @cached_property
    def total(self) -> Number:
        """The sum of its products."""
        return exact_sum(c.product for c in self.cells if c.state == "inside")


@dataclass(frozen=True)
class Trace:
    """One output number, accounted for.

    Args:
        at: index of the output, as the user has it.
        divisor: of averaging. ``winner``: the cell of the maximum; None of an empty window.
        flipped: what the kernel turned round (a true convolution) would give.
        origin: where the numbers come from.
        torch: what torch gives, if it was asked.
        arrays: ``input``, ``weight``, ``bias``.
    """

    problem: Any
    at: Size
    channels: tuple[Channel, ...]
    value: Number
    bias: Number = None
    divisor: int | None = None
    winner: Cell | None = None
    flipped: Number = None
    origin: str = ""
    torch: Number = None
    arrays: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def kind(self) -> str:
        """``conv``, ``conv_transpose``, ``max_pool`` or ``avg_pool``."""
        if isinstance(self.problem, ConvProblem):
            return "conv_transpose" if self.problem.transposed else "conv"
        return self.problem.forward_slot

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All taps, channel by channel: the order in which the naive loops meet them."""
        return tuple(c for channel in self.channels for c in channel.cells)

    @property
    def inside(self) -> int:
        """How many of them meet the input."""
        return sum(c.state == "inside" for c in self.cells)

    @property
    def index(self) -> int | None:
        """Where the maximum is in its plane, flat, as torch's ``return_indices`` counts; -1 if
        nowhere. None of other ops.
        """
        if self.kind != "max_pool":
            return None
        return -1 if self.winner is None else flat(self.winner.at, self.problem.in_size)

    @property
    def row(self) -> tuple[int, int]:
        """Which row of im2col's matrix the window is, and of how many an image has."""
        size = self.problem.out_size
        return flat(self.at[-len(size) :], size), math.prod(size)

    @property
    def agrees(self) -> bool | None:
        """Whether torch gives the same: exactly of whole numbers, else to within the rounding of
        its own sum. None if it was not asked.
        """
        if self.torch is None:
            return None
        if self.torch == self.value or (self.torch != self.torch and self.value != self.value):
            return True
        terms = [abs(c.product) for c in self.cells if c.state == "inside"]
        if isinstance(self.value, int) or not terms or not math.isfinite(abs(self.value)):
            return False
        room = (len(terms) + 2) * 2.0**-52 * (sum(terms) + abs(self.bias or 0))
        return bool(abs(self.torch - self.value) <= room / (self.divisor or 1))

    def to_json(self) -> dict[str, Any]:
        """As plain data, schema ``refconv.trace/1``; cells outside the input have no value."""
        row, rows = self.row
        return {
            "schema": SCHEMA,
            "problem": label.format(self.problem),
            "op": self.problem.op,
            "at": list(self.at),
            "output_shape": list(self.problem.output_shape),
            "origin": self.origin,
            "value": plain(self.value),
            "torch": plain(self.torch),
            "bias": plain(self.bias),
            "divisor": self.divisor,
            "index": self.index,
            "flipped": plain(self.flipped),
            "taps": len(self.cells),
            "inside": self.inside,
            "im2col_row": [row, rows] if self.kind == "conv" else None,
            "channels": [
                {
                    "channel": c.channel,
                    "plane": list(c.plane),
                    "sum": plain(c.total),
                    "cells": [_cell_json(cell) for cell in c.cells],
                }
                for c in self.channels
            ],
        }

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from .trace_show import WIDTH, lines

        yield from lines(self, min(WIDTH, options.max_width))

    def __str__(self) -> str:
        from .trace_show import text

        return text(self)

    def _repr_html_(self) -> str:
        from .trace_show import html

        return html(self)


def exact_sum(terms: Iterable[Number]) -> Number:
    """The sum: exact of integers, of floats rounded once."""
    listed = list(terms)
    if all(isinstance(t, int) for t in listed):
        return sum(listed)
    if any(isinstance(t, complex) for t in listed):
        parts = [complex(t) for t in listed]
        return complex(_rounded(t.real for t in parts), _rounded(t.imag for t in parts))
    return _rounded(listed)


def _rounded(terms: Iterable[float]) -> float:
    listed = list(terms)
    try:
        return math.fsum(listed)
    except (OverflowError, ValueError):  # infinities, or a sum as large as one
        return sum(listed, 0.0)


def flat(at: Sequence[int], size: Sequence[int]) -> int:
    """The position ``at`` of an array of this size, counted in C's order."""
    found = 0
    for i, n in zip(at, size, strict=True):
        found = found * n + i
    return found


def plain(number: Number) -> Any:
    """A number as JSON has it; what JSON has not, as text."""
    if isinstance(number, complex) or (isinstance(number, float) and not math.isfinite(number)):
        return str(number)
    return number


def _cell_json(cell: Cell) -> dict[str, Any]:
    found = {"tap": list(cell.tap), "at": list(cell.at), "state": cell.state}
    if cell.weight is not None:
        found["weight"] = plain(cell.weight)
    if cell.state == "inside":
        found |= {"value": plain(cell.value), "product": plain(cell.product)}
    return found
