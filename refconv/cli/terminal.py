"""Printing: whole and without colour where no terminal is, in ASCII where a stream has no more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

PLAIN = str.maketrans(
    {
        "✔": "OK",
        "✘": "FAILED:",
        "⚠": "WARNING:",
        "×": "x",
        "·": "|",
        "→": "->",
        "µ": "u",
        "…": "...",
        "–": "-",
        "≤": "<=",
        "—": "-",
    }
)


def console(stderr: bool = False) -> Console:
    """A console that neither wraps nor colours where no terminal is (NO_COLOR and FORCE_COLOR are
    rich's).
    """
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=400)
    return made


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, if that is a terminal; it redraws only between cases, never while
    one is timed.
    """
    err = console(stderr=True)
    if not err.is_terminal or total < 2:
        yield lambda name: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=total)
        started = -1

        def step(name: str) -> None:
            nonlocal started
            started += 1
            bar.update(task, completed=started, description=name)
            bar.refresh()

        yield step


def line(out: Console, text: str, style: str = "") -> None:
    """One paragraph: whole if piped, else wrapped with a hanging indent."""
    text = plain_if_needed(text, out)
    indent = len(text) - len(text.lstrip())
    if not out.is_terminal or len(text) <= out.width:
        out.print(Text(text, style), soft_wrap=not out.is_terminal)
        return
    out.print(Padding(Text(text.lstrip(), style), (0, 0, 0, indent)))


def table(out: Console, made: Table) -> None:
    """A table, indented; as wide as it needs to be if piped."""
    if not (out.encoding or "").lower().startswith("utf"):
        for column in made.columns:
            column.header = plain_if_needed(column.header, out)
            column._cells = [plain_if_needed(cell, out) for cell in column._cells]
    for column in made.columns[1:]:  # a narrow terminal wraps the first column, never a number
        cells = [column.header, *column.cells]
        column.min_width = max(len(getattr(cell, "plain", cell)) for cell in cells)  # type: ignore[arg-type]
    made.columns[0].no_wrap = False
    made.columns[0].overflow = "fold"
    if out.is_terminal and out.measure(made).maximum + 2 > out.width:
        made.padding = (0, 1, 0, 0)
    out.print(Padding(made, (0, 0, 0, 2), expand=False))


def plain_if_needed(text: Any, out: Console) -> Any:
    """ASCII where the output cannot encode more."""
    if (out.encoding or "").lower().startswith("utf") or not isinstance(text, str):
        return text
    return text.translate(PLAIN)


def flush() -> None:
    """Write out what was printed, so that a closed pipe shows now."""
    sys.stdout.flush()
