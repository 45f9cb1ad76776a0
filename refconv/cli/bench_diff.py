"""``refconv bench diff``: two recorded benchmarks, row by row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from ..harness.benchdiff import Change, Difference

EPILOG = "Example: refconv bench diff old.jsonl new.jsonl --fail-over 10%"


def command(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="Records of the earlier run; FILE@N: its N-th.")
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Records of the later run.")],
    fail_over: Annotated[
        str | None,
        typer.Option(metavar="N%", help="Exit 1 if anything is significantly slower by more."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Rows without a change, too.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare although the environments differ.")
    ] = False,
) -> int:
    """What changed between the last runs of two files; ~ where chance could have done it."""
    limit = _share(fail_over)
    from ..harness import benchdiff

    (before, olds), (after, news) = benchdiff.load(old), benchdiff.load(new)
    gate = 0.1 if limit is None else limit
    made = benchdiff.difference([before, *olds], [after, *news], gate)
    if made.environment and not force:
        raise UsageError(
            f"the environments differ, so that their times say nothing of each other: "
            f"{'; '.join(made.environment)} (--force compares all the same)"
        )
    return _show(made, limit, every)


def _share(text: str | None) -> float | None:
    """``10%`` or ``0.1`` as a number."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    if not found:
        raise UsageError(f"--fail-over: must be a share such as 10% or 0.1, got {text!r}")
    return float(found[1]) / (100 if found[2] else 1)


def _show(made: Difference, limit: float | None, every: bool) -> int:
    """Print the table, worst first, and say what it comes to; returns the exit code."""
    from . import terminal

    gate = limit is not None
    bad = [c for c in made.changes if gate and c.beyond(limit or 0.0)]
    hidden = [c for c in made.changes if c.verdict == "noise"]
    count = {v: sum(c.verdict == v for c in made.changes) for v in ("slower", "faster", "~")}
    lost = [row for row in made.lost if gate]
    code = 1 if bad or lost else 4 if gate and hidden else 0 if made.changes else 3
    rows = f"{len(made.changes)} row{'s' * (len(made.changes) != 1)}"
    text = (
        f"{rows} in both: {count['slower']} slower, {count['faster']} faster, "
        f"{count['~']} ~, {len(hidden)} noise"
    )
    if gate:
        text += f"; {len(bad)} beyond {100 * (limit or 0.0):g} %"
    out = terminal.console()
    style = {0: "bold green", 1: "bold red"}.get(code, "bold yellow")
    terminal.line(out, f"{'✘' if code else '✔'} {text}", style)
    shown = [c for c in made.changes if every or c.verdict in ("slower", "faster")]
    if shown:
        terminal.table(out, _table(sorted(shown, key=lambda c: -c.by), bad))
    for key, reason in made.lost:
        terminal.line(out, f"  no time any more: {_name(key)}: {reason}", "bold yellow")
    if made.added:
        terminal.line(out, f"  new: {', '.join(_name(key) for key in made.added)}")
    if hidden and gate:
        worst = max(hidden, key=lambda c: c.spread)
        terminal.line(
            out,
            f"  inconclusive: noise in {len(hidden)} rows, {100 * worst.spread:.0f} % in "
            f"{_name(worst.key)}; time again on a quiet machine",
            "yellow",
        )
    for text in made.environment:
        terminal.line(out, f"  differs: {text}", "bold yellow")
    terminal.line(
        out, "  change: of the ratio to torch, median of rounds (t: of the time); p: U test"
    )
    terminal.line(out, "  all recorded runs, layer by layer: refconv report --trend")
    terminal.flush()
    return code


def _table(changes: list[Change], bad: list[Change]) -> Table:
    from rich.text import Text

    from ..harness.report.words import duration
    from .tables import grid

    made = grid("layer", "pass", "algorithm", "old", "new", "change", "p", right=(3, 4, 5, 6))
    for c in changes:
        case, _, way, backend, accuracy, algorithm = c.key
        colour = {"slower": "red", "faster": "green"}.get(c.verdict, "dim")
        change = f"{100 * (c.by - 1):+.1f} %{' t' * c.plain}"
        plain = c.verdict in ("slower", "faster")
        text = Text(change if plain else f"{change} {c.verdict}", colour)
        text.stylize("bold" if c in bad else "")
        who = " ".join(filter(None, (accuracy, algorithm or backend)))
        made.add_row(case, way, who, duration(c.old), duration(c.new), text, f"{c.p:.3f}")
    return made


def _name(key: tuple[str, ...]) -> str:
    case, _, way, backend, accuracy, algorithm = key
    return " ".join(filter(None, (case, way, backend, accuracy, algorithm)))
