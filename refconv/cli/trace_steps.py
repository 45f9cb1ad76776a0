"""``refconv trace`` step by step: what each key changes, and the page that follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from ..errors import RefconvError, UsageError
from ..learn.trace_cells import trace_at
from ..learn.trace_code import excerpt, indices, line_of, loops, said
from ..learn.trace_data import Trace, flat
from ..learn.trace_grid import HEIGHT
from ..learn.trace_show import lines

KEYS = "[n]ext [p]rev [g]oto [f]ilter [i]m2col [c]ode [h]tml [q]uit   ↑↓ product by product"
#: Where [h] writes the page.
PAGE = Path("refconv-trace.html")


class Steps:
    """Where a reader is: an output, perhaps one of its products, and what is shown besides.

    Args:
        judge: what torch gives for a trace; None where it is not asked.
    """

    def __init__(
        self, trace: Trace, judge: Callable[[Trace], Any] | None = None, code: bool = False
    ) -> None:
        self.trace, self.judge = trace, judge
        self.cursor: int | None = 0 if code else None
        self.row, self.code = True, code
        self.typed: str | None = None
        self.note = ""

    def press(self, key: str) -> bool:
        """Do what ``key`` says; False: leave."""
        self.note = ""
        if self.typed is not None:
            self._type(key)
            return True
        if key in ("q", "escape"):
            return False
        if key in ("n", "right", " "):
            self.go(1)
        elif key in ("p", "left"):
            self.go(-1)
        elif key in ("down", "up"):
            self._walk(1 if key == "down" else -1)
        elif key == "f":
            self._filter()
        elif key == "i":
            self.row = not self.row
        elif key == "c":
            self.code = not self.code
            self.cursor = (self.cursor or 0) if self.code else None
        elif key == "g":
            self.typed = ""
        elif key == "h":
            self._html()
        return True

    def go(self, by: int) -> None:
        """So many outputs on, in C's order, round and round."""
        shape = self.trace.problem.output_shape
        self.move(_unflat((flat(self.trace.at, shape) + by) % prod(shape), shape))

    def move(self, at: Sequence[int]) -> None:
        """To this output."""
        made = trace_at(self.trace.problem, self.trace.arrays, at, self.trace.origin)
        self.trace = replace(made, torch=self.judge(made)) if self.judge else made
        self.cursor = None if self.cursor is None else 0

    def page(self, width: int, height: int = 40) -> list[Text]:
        """What is on a screen of this size."""
        room = height - 13 - 10 * self.code  # what stands above and below the windows
        made = lines(self.trace, width, self.cursor, row=self.row, products=not self.code,
                     height=max(5, min(HEIGHT, room)))  # fmt: skip
        if self.code:
            around = max(1, min(3, (height - len(made) - 7) // 2))
            made += [Text(), *code_lines(self.trace, self.cursor, around)]
        if self.typed is not None:
            last = Text(f"go to output: {self.typed}_", "bold")
        else:
            last = Text(self.note or KEYS, "bold red" if self.note else "bold")
        return [*made, Text(), last]

    def _walk(self, by: int) -> None:
        """Product by product; from either end of the window to the other."""
        count = len(self.trace.cells)
        if count:
            start = (-1 if by > 0 else 0) if self.cursor is None else self.cursor
            self.cursor = (start + by) % count

    def _filter(self) -> None:
        """To the same place of the next output channel."""
        p, at = self.trace.problem, list(self.trace.at)
        axis = len(at) - 1 - p.rank
        if axis < 0:
            self.note = "there is one channel only"
            return
        at[axis] = (at[axis] + 1) % p.output_shape[axis]
        self.move(at)

    def _html(self) -> None:
        try:
            self.note = f"written: {write_page(self.trace, PAGE)}; open it in a browser"
        except RefconvError as error:
            self.note = str(error)

    def _type(self, key: str) -> None:
        assert self.typed is not None
        if key == "escape":
            self.typed = None
        elif key == "back":
            self.typed = self.typed[:-1]
        elif key != "enter":
            self.typed += key if key in "0123456789, " else ""
        else:
            try:
                self.move(index(self.typed))
            except RefconvError as error:
                self.note = str(error)
            self.typed = None


def index(text: str) -> tuple[int, ...]:
    """``0,0,1`` as numbers.

    Raises:
        UsageError: it is something else.
    """
    try:
        return tuple(int(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise UsageError(f"an output is written 0,0,1, got {text!r}") from None


def write_page(trace: Trace, path: Path) -> Path:
    """The page of ``refconv learn`` with this layer, these numbers and this output in it.

    Raises:
        UnsupportedError: the page has no such layer. UsageError: the file cannot be written.
    """
    from ..learn.page import build
    from ..learn.trace_link import start

    html = build.page(start(trace))
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return path


def code_lines(trace: Trace, cursor: int | None, around: int = 3) -> list[Text]:
    """The line of kernels/naive that is executed, those around it, and its variables."""
    number = line_of(trace, cursor)
    found = loops(trace.kind)
    made = [Text(f"  {found.file}, {found.function}, line {number}", "dim")]
    for n, text, here in excerpt(number, trace.kind, around):
        made.append(Text(f"  {'>' if here else ' '} {n:4} {text}", "bold" if here else "dim"))
    if cursor is not None and cursor < len(trace.cells):
        values = " ".join(f"{k}={v}" for k, v in indices(trace, cursor).items())
        made.append(Text(f"  {values}", "cyan"))
        made.append(Text(f"  {said(trace.cells[cursor])}"))
    return made


def run(steps: Steps, out: Console) -> None:
    """Show pages and follow keys until one says to leave; the last page stays."""
    from .trace_keys import keys

    with keys() as pressed, out.screen(hide_cursor=True) as screen:
        while True:
            screen.update(Group(*steps.page(min(out.width, 100), out.height)))
            if not steps.press(next(pressed)):
                break
    for line in steps.page(min(out.width, 100))[:-2]:
        out.print(line, soft_wrap=True)


def _unflat(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    found: list[int] = []
    for size in reversed(shape):
        found.append(number % size)
        number //= size
    return tuple(reversed(found))
