"""The page: verdict, problem, table, what failed, what was skipped, how to run it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from .cells import STYLE
from .tables import brackets, case_table, set_table, totals, where
from .terminal import console, flush, line, table

if TYPE_CHECKING:
    from ..harness.records import Result
    from .render import Report

#: Columns that a table with shapes needs.
WIDE = 100


def show(report: Report) -> None:
    """Print the whole page to stdout."""
    out = console()
    style = (
        "bold red" if report.exit_code == 1 else "bold yellow" if report.exit_code else "bold green"
    )
    line(out, report.headline, style)
    for text in report.imported:
        line(out, f"  {text}")
    one = len(report.cases) == 1
    if one:
        _case(out, report)
    else:
        table(out, set_table(report))
        line(out, "")
        table(out, totals(report))
    for text in report.failures[:12]:
        line(out, f"  ✘ {text}", STYLE["wrong"])
    if len(report.failures) > 12:
        line(out, f"  … and {len(report.failures) - 12} more, all in the records")
    for text in hints(report):
        line(out, f"  {text}")
    for text in skipped(report):
        line(out, f"  {text}", STYLE["skipped"])
    if not one:
        line(out, f"  {report.oracle}")
    line(out, f"  {report.machine}")
    if report.idle and report.exit_code == 3:
        line(out, f"  {', '.join(report.idle)}: nothing was run", "bold yellow")
    if report.single or report.failed:
        line(out, f"  repro: {report.repro}")
    flush()


def _case(out: Console, report: Report) -> None:
    rows = list(report.rows)
    first = rows[0]
    unit = "MAC" if first.op.startswith("conv") else "steps"
    what = f"  {first.label} -> y{brackets(first.output_shape)}"
    line(out, f"{what}   {first.work:,} {unit}")
    wide = not out.is_terminal or out.width >= WIDE
    line(out, f"  {report.oracle}{'' if wide else f' · {where(rows)}'}")
    table(out, case_table(rows, wide))
    told = arithmetic(rows)
    if told:
        line(out, f"  {told}")


def arithmetic(rows: Iterable[Result]) -> str:
    """What the errors say of how each backend sums, and how large they are beside the noise."""
    by: dict[str, list[str]] = {}
    noise = [c.noise for row in rows for c in row.checks if c.noise is not None]
    for row in rows:
        if row.arithmetic:
            by.setdefault(row.arithmetic, []).append(row.backend)
    if not by or not noise:
        return ""
    named = "; ".join(f"{name}: {', '.join(who)}" for name, who in by.items())
    return f"arithmetic by its errors: {named} · err/noise {min(noise):.2f} to {max(noise):.2f}"


def hints(report: Report) -> Iterable[str]:
    """What a reader should know or do next."""
    yield from dict.fromkeys(f"hint: {row.hint}" for row in report.rows if row.hint)
    timings = [row.timing for row in report.rows if row.timing]
    if any(t.busy for t in timings):
        busy = sum(t.busy for t in timings)
        yield f"* threads waited for a processor, do not trust: {busy} of {len(timings)} timings"
    if len(report.cases) > 1 and timings:
        yield "backends' columns: their time / torch's, same rounds; below 1 is faster than torch"
    if any(row.timing and row.backend == "naive" for row in report.rows):
        yield "naive is timed once; the others take turns, median of the undisturbed rounds"


def skipped(report: Report) -> list[str]:
    """Skipped rows, one line for each backend and reason; one for all cases of a wrong dtype."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in report.rows:
        if row.status == "skipped" and (row.case, row.label) not in report.undefined:
            short = "too slow" if row.reason.startswith("too slow") else row.reason
            found.setdefault((row.backend, short), Counter())[row.reason] += 1
    lines = []
    ops = Counter(report.cases[key][0].op for key in report.undefined)
    for dtype in sorted(set(report.undefined.values())):
        named = ", ".join(f"{op}{f' ({n} cases)' if n > 1 else ''}" for op, n in ops.items())
        lines.append(f"skipped: not defined for {dtype}: {named}")
    for (backend, short), reasons in found.items():
        count = sum(reasons.values())
        reason = (
            next(iter(reasons)) if len(reasons) == 1 else f"{short} (--patience SECONDS runs it)"
        )
        lines.append(f"skipped: {backend}{f' in {count} cases' if count > 1 else ''}: {reason}")
    return lines
