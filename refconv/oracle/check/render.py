"""Reports on a terminal and in a notebook: at most 100 columns, the verdict first."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .report import Report

STYLES = {"wrong": "bold red", "suspect": "bold yellow", "consistent": "bold green"}
MARKS = {"wrong": "✘", "suspect": "?", "consistent": "✔", "nothing ran": "✘"}


def headline(report: Report) -> Text:
    """The verdict in one line."""
    what, calls = f"{report.name} as {report.op}", f"{report.ran:,} calls"
    said = {
        "consistent": f"consistent on all {calls}",
        "suspect": f"SUSPECT in {report.faults:,} of {calls}: inside the proof, beyond its noise",
        "wrong": f"PROVEN WRONG in {report.faults:,} of {calls}",
        "nothing ran": f"NOT JUDGED: not one of {calls} went through",
    }[report.verdict]
    style = STYLES.get(report.verdict, "bold red")
    return Text.assemble((f"{MARKS[report.verdict]} ", style), what, ": ", (said, style))


def render(report: Report) -> Group:
    """The whole report."""
    parts: list[Any] = [
        headline(report),
        _settings(report),
        Padding(_table(report), (0, 0, 0, 2), expand=False),
    ]
    if report.faults:
        parts += [Text.assemble(("  smallest failing call: ", "bold"), report.smallest)]
        parts += [Text(f"    {report.reason}")] if report.reason else []
        parts += [
            Text.assemble(("  cause: ", "bold"), report.diagnosis.replace("\n", "\n         "))
        ]
    if report.fingerprint:
        parts.append(Text(f"  arithmetic: {report.fingerprint}"))
    for features, count, reason in _refused(report):
        text = f"  not supported: {features} ({count} calls raised; {reason[:100]})"
        parts.append(Text(text))
    parts += [Text(f"  note: {note}") for note in report.notes]
    if report.ran < report.planned:
        left = report.planned - report.ran
        parts.append(Text(f"  the budget ended {left:,} cases early: --budget gives more time"))
    if report.repro:
        parts.append(Text("  repro, without refconv:", "bold"))
        parts += [Text(f"    {line}") for line in report.repro.rstrip().splitlines()]
    return Group(*parts)


def _refused(report: Report) -> list[tuple[str, int, str]]:
    """What is not supported, one line for each kind of exception."""
    kinds: dict[str, tuple[list[str], int, str]] = {}
    for feature, (count, reason) in report.unsupported.items():
        kind = reason.partition(":")[0]
        names, total, first = kinds.get(kind, ([], 0, reason))
        kinds[kind] = ([*names, feature], total + count, first)
    return [(", ".join(names), total, reason) for names, total, reason in kinds.values()]


def _settings(report: Report) -> Text:
    dtypes = ", ".join(report.dtypes[:4]) + (" …" if len(report.dtypes) > 4 else "")
    return Text(
        f"  {report.device} · declared {report.precision}, {report.algorithm} · {dtypes} · "
        f"seed {report.seed} · {report.seconds:.1f} s",
        "dim",
    )


def _table(report: Report) -> Table:
    heads = ("result", "judged", "wrong", "suspect", "err/bound", "err/noise", "detects")
    table = grid(*heads)
    for row in report.rows:
        table.add_row(
            row.result,
            f"{row.calls:,}",
            Text(f"{row.wrong:,}", "bold red" if row.wrong else ""),
            Text(f"{row.suspect:,}", "bold yellow" if row.suspect else ""),
            _number(row.ratio),
            _number(row.noise),
            "–" if row.detects is None else f"{row.detects:.0e}",
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else "equal" if value == 0 else f"{value:.3f}"


def grid(*heads: str) -> Table:
    """A table without rules, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    return table


def overview(reports: Sequence[Report]) -> Table:
    """One row an op: for a check of a whole family."""
    heads = ("op", "calls", "consistent", "suspect", "wrong", "refused", "err/bound", "seconds")
    table = grid(*heads, "verdict")
    for report in reports:
        count = report.verdicts.get
        ratio = max((r.ratio for r in report.rows if r.ratio is not None), default=None)
        state = report.verdict.upper() if report.flagged else "ok"
        table.add_row(
            report.op if report.device == "cpu" else f"{report.op} {report.device}",
            f"{report.ran:,}",
            f"{count('consistent', 0):,}",
            f"{count('suspect', 0):,}",
            f"{count('wrong', 0):,}",
            f"{count('refused', 0):,}",
            _number(ratio),
            f"{report.seconds:.1f}",
            Text(state, STYLES.get(report.verdict, "")),
        )
    return table


def closing(text: str, flagged: Sequence[Report]) -> Text:
    """The last line of an overview."""
    return Text(f"{'✘' if flagged else '✔'} {text}", STYLES["wrong" if flagged else "consistent"])


def html(report: Report) -> str:
    """For a notebook: the terminal's report, in a box that scrolls."""
    console = Console(file=StringIO(), record=True, width=100, force_terminal=True)
    console.print(report)
    body = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    return f'<div style="overflow-x: auto">{body}</div>'
