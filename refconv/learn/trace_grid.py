"""The window of a ``Trace`` as grids of numbers: one block a channel (and plane of depth), side by
side, folded to what a screen holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from .trace_data import Cell, Trace, exact_sum

#: What stands for a cell without a number.
SIGNS = {"padding": "·", "beyond": "×", "gap": "_"}
STYLES = {"padding": "dim", "beyond": "dim", "gap": "dim", "inside": "cyan"}
#: Lines that all grids together may take, and spaces between two of them.
HEIGHT, GAP = 18, 4


def shown(number: Any, digits: int = 6) -> str:
    """A number as short as it can be told from its neighbours: whole ones without a point."""
    if isinstance(number, complex):
        return f"{shown(number.real, digits)}{'+' if number.imag >= 0 else ''}" + (
            f"{shown(number.imag, digits)}j"
        )
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        number = int(number)
    return str(number) if isinstance(number, int) else f"{number:.{digits}g}"


@dataclass(frozen=True)
class Block:
    """A rectangle of cells: rows along the last axis but one."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    first: int  # of its cells, among all of the trace

    @property
    def cells(self) -> int:
        """How many there are."""
        return sum(map(len, self.rows))

    @property
    def total(self) -> Any:
        """What it adds up to."""
        return exact_sum(c.product for r in self.rows for c in r if c.state == "inside")


def blocks(trace: Trace) -> list[Block]:
    """All of them, in the order of the sum."""
    found, first = [], 0
    rank = trace.problem.rank
    for channel in trace.channels:
        planes: dict[Any, dict[Any, list[Cell]]] = {}
        for cell in channel.cells:
            depth = cell.tap[0] if rank == 3 else None
            row = cell.tap[-2] if rank > 1 else 0
            planes.setdefault(depth, {}).setdefault(row, []).append(cell)
        for depth, rows in planes.items():
            title = f"channel {channel.channel}" + ("" if depth is None else f", kd {depth}")
            block = Block(title, tuple(map(tuple, rows.values())), first)
            found.append(block)
            first += block.cells
    return found


def grids(trace: Trace, width: int, cursor: int | None = None, height: int = HEIGHT) -> list[Text]:
    """The blocks as lines of at most ``width`` columns; those in the middle folded if there are too
    many, but never the one with the cell ``cursor``.
    """
    every = blocks(trace)
    if not every or not every[0].rows:
        return []
    sizes = _widths(trace)
    drawn = max(max(line.cell_len for line in _draw(b, sizes, None, None)) for b in every)
    if drawn > width:
        high, wide = len(every[0].rows), len(every[0].rows[0])
        return [Text(f"(a window of {high}x{wide} is wider than {width} columns: --json)")]
    tall = max(len(b.rows) for b in every) + 2
    across = max(1, (width + GAP) // (drawn + GAP))
    room = max(1, height // tall) * across
    kept, folded = _folded(every, room, cursor)
    made: list[Text] = []
    for start in range(0, len(kept), across):
        columns = [
            _draw(b, sizes, cursor, trace.winner) if isinstance(b, Block) else _note(b, folded)
            for b in kept[start : start + across]
        ]
        for i in range(max(map(len, columns))):
            line = Text()
            for column in columns:
                part = column[i] if i < len(column) else Text()
                line.append_text(part).append(" " * (drawn + GAP - part.cell_len))
            line.rstrip()
            made.append(line)
        made.append(Text())
    return made[:-1]


def _folded(
    every: list[Block], room: int, cursor: int | None
) -> tuple[list[Block | None], list[Block]]:
    """The blocks that are drawn, None for those that are not; and these."""
    if len(every) <= room:
        return list(every), []
    kept = {*range(max(1, room - 2)), *([len(every) - 1] if room > 2 else [])}
    if cursor is not None:
        at = next((i for i, b in enumerate(every) if b.first <= cursor < b.first + b.cells), 0)
        if at not in kept:
            kept -= {max(1, room - 2) - 1}
            kept.add(at)
    found: list[Block | None] = []
    for i, block in enumerate(every):
        if i in kept:
            found.append(block)
        elif not found or found[-1] is not None:
            found.append(None)
    return found[: max(room, 2)], [b for i, b in enumerate(every) if i not in kept]


def _note(_: None, folded: list[Block]) -> list[Text]:
    total = exact_sum(b.total for b in folded)
    return [Text(f"… {len(folded)} more", "dim"), Text(f"  = {shown(total)} together", "dim")]


def _widths(trace: Trace) -> tuple[int, int]:
    """Of a value, of a weight."""
    values = [shown(c.value) for c in trace.cells if c.state == "inside"]
    weights = [shown(c.weight) for c in trace.cells if c.weight is not None]
    return max(map(len, values), default=1), max(map(len, weights), default=0)


def _draw(
    block: Block, sizes: Sequence[int], cursor: int | None, winner: Cell | None
) -> list[Text]:
    lines = [Text(block.title, "dim")]
    middle, number = (len(block.rows) - 1) // 2, block.first
    for i, row in enumerate(block.rows):
        line = Text()
        right = Text()
        for j, cell in enumerate(row):
            here = " reverse" if number == cursor else ""
            text = shown(cell.value) if cell.state == "inside" else SIGNS[cell.state]
            line.append(" " * (j > 0))
            style = "bold green" if cell is winner else STYLES[cell.state]
            line.append(text.rjust(sizes[0]), style + here)
            if cell.weight is not None:
                right.append(" " * (j > 0))
                right.append(shown(cell.weight).rjust(sizes[1]), "magenta" + here)
            number += 1
        if sizes[1]:
            line.append(" × " if i == middle else "   ").append_text(right)
            line.append(f"  = {shown(block.total)}" if i == middle else "")
        lines.append(line)
    return lines
