"""What an explanation looks like: lines and tables, on a terminal, as plain text, Markdown or HTML.

An explanation is a list of parts, a part a line or a ``Grid``.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .shown import Shown

#: Beginning of a line → its style on a terminal.
STYLES = {"✔": "bold green", "✘": "bold red"}


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        right: columns that hold numbers.
        wrap: columns that may be broken where there is little room.
    """

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: tuple[int, ...] = ()
    wrap: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        """The table as plain text, every column as wide as its widest cell."""
        table = [self.heads, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.heads))]
        return [
            "  ".join(
                cell.rjust(width) if i in self.right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]


Part = str | Grid


class Explanation(Shown):
    """Something explained: ``parts`` for people, ``as_dict()`` for programs."""

    def parts(self, width: int = 1000) -> list[Part]:
        """The lines and tables, for so many columns; the verdict is the first line."""
        raise NotImplementedError

    @property
    def ok(self) -> bool:
        """Whether nothing stood in the way of the explanation."""
        return True

    @property
    def text(self) -> str:
        """All parts as plain text."""
        made: list[str] = []
        for part in self.parts():
            made += [part] if isinstance(part, str) else [f"  {line}" for line in part.lines()]
        return "\n".join(made)

    def markdown(self) -> str:
        """The same as Markdown."""
        made = []
        for i, part in enumerate(self.parts()):
            if isinstance(part, Grid):
                made.append(_markdown(part))
            elif part.strip():
                made.append(f"**{part}**" if i == 0 else f"{part.strip()}")
        return "\n\n".join(made)

    def __rich__(self) -> Any:
        from rich.console import Group

        return Group(*(rich_part(part) for part in self.parts()))

    def _repr_html_(self) -> str:
        made = [_html(part) for part in self.parts()]
        return f'<div style="overflow-x:auto">{"".join(made)}</div>'


def rich_part(part: Part) -> Any:
    """A part as rich shows it."""
    from rich.text import Text

    if isinstance(part, str):
        return Text(part, STYLES.get(part.lstrip()[:1], ""))
    return rich_table(part)


def rich_table(grid: Grid, width: int = 1000) -> Any:
    """A table as rich shows it: numbers to the right, nothing cut off; closer together where there
    is little room.
    """
    from rich.table import Table
    from rich.text import Text

    needed = max(map(len, grid.lines()))
    gap = 2 if needed <= width else 1
    made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for i, head in enumerate(grid.heads):
        justify: Any = "right" if i in grid.right else "left"
        made.add_column(head, justify=justify, no_wrap=i not in grid.wrap, overflow="fold")
    for row in grid.rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def _markdown(grid: Grid) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    marks = ["--:" if i in grid.right else ":--" for i in range(len(grid.heads))]
    return "\n".join([line(grid.heads), line(marks), *(line(row) for row in grid.rows)])


def _html(part: Part) -> str:
    if isinstance(part, str):
        weight = "bold" if part[:1] in STYLES else "normal"
        return f'<div style="font-weight:{weight}">{html.escape(part)}</div>' if part else "<br>"

    def row(cells: Iterable[str], tag: str) -> str:
        return "".join(
            f'<{tag} style="text-align:{"right" if i in part.right else "left"}">'
            f"{html.escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in part.rows)
    return f"<table><thead><tr>{row(part.heads, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def amount(count: float) -> str:
    """A large number in three digits: ``1.30 M``.

    Example:
        >>> amount(1303440), amount(8178368512), amount(900)
        ('1.30 M', '8.18 G', '900 ')
    """
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            value = count / limit
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {letter}"
    return f"{count:.0f} "
