"""The lines of kernels/naive that compute an output, found in the source itself: what each says is
looked for, not where it stands, so that this cannot drift from the loops.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..problem import triple
from .trace_data import Cell, Trace

#: kind of trace → module and function of refconv.kernels.naive, and the array it writes.
FUNCTIONS = {
    "conv": ("conv", "fprop", "y"),
    "conv_transpose": ("conv", "dgrad", "dx"),
    "max_pool": ("pool", "max_pool", "y"),
    "avg_pool": ("pool", "avg_pool", "y"),
}


@dataclass(frozen=True)
class Loops:
    """A function of kernels/naive.

    Args:
        file: its name in the project; ``lines``: of the file, the first is number 1.
        add: number of the line that adds a product, or compares a value; ``test``: of the line
            that leaves out what is not inside; ``bias`` and ``store``: 0 where there is none.
    """

    file: str
    function: str
    lines: tuple[str, ...]
    add: int
    test: int
    bias: int
    store: int


@cache
def loops(kind: str) -> Loops:
    """The loops that compute an output of this kind of trace."""
    module, function, result = FUNCTIONS[kind]
    path = Path(str(import_module(f"refconv.kernels.naive.{module}").__file__))
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    body = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    deepest = _deepest(body)
    inner = deepest.body[-1]
    if kind.startswith("conv"):
        assert isinstance(inner, ast.If)
        test, add = inner.lineno, inner.body[0]
    else:  # what is outside is in no window, so the loop itself passes it by
        test, add = deepest.lineno, inner if kind == "max_pool" else deepest.body[0]
    statements = [n for n in ast.walk(body) if isinstance(n, ast.Assign | ast.AugAssign)]
    bias = [n for n in statements if "b[" in ast.unparse(n.value)]
    store = [
        n
        for n in statements
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]).startswith(f"{result}[")
    ]
    return Loops(
        f"kernels/naive/{module}.py",
        function,
        tuple(text.splitlines()),
        add.lineno,
        test,
        bias[0].lineno if bias else 0,
        store[-1].lineno if store and kind != "conv_transpose" else 0,
    )


def _deepest(node: ast.FunctionDef) -> ast.For:
    """The innermost of the nested loops."""

    def walk(n: ast.AST, depth: int) -> Iterator[tuple[int, ast.For]]:
        for child in ast.iter_child_nodes(n):
            if isinstance(child, ast.For):
                yield depth + 1, child
            yield from walk(child, depth + isinstance(child, ast.For))

    return max(walk(node, 0), key=lambda found: found[0])[1]


def line_of(trace: Trace, cursor: int | None) -> int:
    """The number of the line that is executed for a tap; behind the last one, of the store.

    A tap outside the input ends at the condition; pooling's loops leave it out.
    """
    found = loops(trace.kind)
    if cursor is None or cursor >= len(trace.cells):
        return found.store or found.bias
    inside = trace.cells[cursor].state == "inside"
    return found.add if inside else found.test


def indices(trace: Trace, cursor: int) -> dict[str, int]:
    """The loops' variables when they are at tap ``cursor``, by the names that the source has."""
    p, cell = trace.problem, trace.cells[cursor]
    at = trace.at
    n = at[0] if len(at) == p.rank + 2 else 0
    o, tap = triple(at[-p.rank :], 0), triple(cell.tap, 0)
    names = dict(zip(("od", "oh", "ow"), o, strict=True))
    if trace.kind.endswith("pool"):
        c = at[-1 - p.rank] if len(at) > p.rank else 0
        i = dict(zip(("id", "ih", "iw"), triple(cell.at, 0), strict=True))
        return {"n": n, "c": c, **names, **i}
    channel = _channel(trace, cursor)
    taps = dict(zip(("kd", "kh", "kw"), tap, strict=True))
    if trace.kind == "conv":
        return {"n": n, "oc": channel.plane[0], **names, "ic": channel.plane[1], **taps}
    # dgrad called forward: its dy is the input, its dx the output, its ic counts output channels.
    small = dict(zip(("od", "oh", "ow"), triple(cell.at, 0), strict=True)) if cell.at else {}
    return {"n": n, "oc": channel.plane[0], **small, "ic": channel.plane[1], **taps}


def _channel(trace: Trace, cursor: int) -> Any:
    first = 0
    for channel in trace.channels:
        first += len(channel.cells)
        if cursor < first:
            return channel
    raise IndexError(cursor)


def said(cell: Cell) -> str:
    """What happens at a tap, in numbers."""
    if cell.state == "gap":
        return "no input lands on this output with this tap"
    if cell.state != "inside":
        return f"{','.join(map(str, cell.at))} is outside: nothing is added"
    if cell.weight is None:
        return f"value {cell.value:g}"
    return f"{cell.value:g} · {cell.weight:g} = {cell.product:g}"


def excerpt(number: int, kind: str, around: int = 4) -> list[tuple[int, str, bool]]:
    """Lines around one, without their common indent: number, text, whether it is the one."""
    found = loops(kind)
    first, last = max(1, number - around), min(len(found.lines), number + around)
    some = found.lines[first - 1 : last]
    indent = min((len(s) - len(s.lstrip()) for s in some if s.strip()), default=0)
    return [(first + i, s[indent:], first + i == number) for i, s in enumerate(some)]
