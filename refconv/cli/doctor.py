"""``refconv doctor``: why is it slow, different, or missing? Findings, fixes, and a self-test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UnavailableError, UsageError
from .options import Json

if TYPE_CHECKING:
    from rich.console import Console

    from ..harness.doctor import Report

EPILOG = "Example: refconv doctor. For a bug report: refconv doctor --issue"
MARKS = {"ok": "✔", "note": "–", "warning": "⚠", "failed": "✘"}
STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "failed": "bold red"}
#: The heading of what only its reader can tell.
ASKED = "### What did you run, what did you expect, what happened?"


def command(
    backends: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="That must run here, e.g. cupy; else exit 3."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Self-test of cuda-on-cpu too, which compiles first.")
    ] = False,
    json: Json = None,
    issue: Annotated[
        bool, typer.Option("--issue", help="As Markdown for a bug report; nothing private.")
    ] = False,
) -> int:
    """Say what works here and what does not, with the fix, and test every backend on cs231n.

    Exit code 0: all that is installed works; 3: something does not; 1: a result is wrong.
    """
    if json == "-" and issue:
        raise UsageError("--json and --issue cannot both go to stdout; give --json a file")
    named = tuple(word.strip() for word in (backends or "").split(",") if word.strip())
    try:
        from ..harness import doctor
    except ImportError as error:  # NumPy: all else may be missing
        raise UnavailableError(f"doctor: {error} (pip install numpy)") from None
    report = doctor.examine(named, everything, _say)
    if json is not None:
        from .emit import emit

        emit(json, report.document())
    if issue:
        print("\n".join(markdown(report)))
    elif json != "-":
        show(report)
    return report.exit_code


def _say(text: str) -> None:
    print(f"refconv: {text}", file=sys.stderr)


def show(report: Report) -> None:
    """The page: the verdict, a line for each finding and its fix, the self-test."""
    from .terminal import console, flush, line

    out = console()
    verdict = "failed" if report.exit_code else "warning" if report.of("warning") else "ok"
    line(out, report.headline, f"bold {STYLES[verdict]}")
    for state, text, fix in rows(report):
        line(out, f"  {mark(state, out)} {text}", STYLES[state] if state != "ok" else "")
        if fix:
            line(out, f"      fix: {fix}")
    line(
        out,
        "  refconv doctor --json  ·  refconv doctor --issue  (Markdown for a bug report)",
        "dim",
    )
    flush()


def mark(state: str, out: Console) -> str:
    """A sign, a word, or both: words where there is no colour; not every encoding has signs."""
    if not (out.encoding or "").lower().startswith("utf"):
        return f"{state:<7}"
    return MARKS[state] if out.is_terminal and not out.no_color else f"{MARKS[state]} {state:<7}"


def rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """State, text and fix of every line: the findings, then the self-test."""
    for found in report.findings:
        yield found.state, f"{found.topic}: {found.text}", found.fix
    equal = report.tested("equal")
    if equal:
        passes = " and ".join(next(t.passes for t in report.tests if t.state == "equal"))
        yield "ok", f"self-test: the cs231n example is exact, {passes}, on {', '.join(equal)}", ""
    told = " ".join(found.text for found in report.findings)
    above = [t.backend for t in report.tests if t.state == "skipped" and _first(t.text) in told]
    if above:
        yield "note", f"self-test: not run: {', '.join(above)} (see above)", ""
    for test in report.tests:
        if test.state == "wrong":
            text = f"self-test: {test.backend} on {test.device} is WRONG: {test.text}"
            yield "failed", text, _fix(test.backend)
        elif test.state == "failed":
            text = f"self-test: {test.backend} on {test.device} does not run: {test.text}"
            yield "failed", text, _fix(test.backend)
        elif test.state == "skipped" and test.backend not in above:
            yield "note", f"self-test: {test.backend} is not run: {test.text}", ""


def _first(reason: str) -> str:
    """A reason without what helps."""
    return reason.rpartition(" (")[0] or reason


def _fix(backend: str) -> str:
    return "reinstall torch" if backend == "torch" else "refconv doctor --issue makes a bug report"


def markdown(report: Report) -> Iterator[str]:
    """A bug report: what its reader must add, then environment, findings and self-test."""
    yield f"{ASKED}\n\n(the command or a few lines of code, and the whole output)\n"
    yield f"### refconv doctor: {report.headline}\n"
    yield "| | |\n|---|---|"
    for name, value in report.facts.items():
        if name == "gpus":
            value = ", ".join(f"{g['name']} {g['sm']}" for g in value)
        elif name == "backends":
            value = ", ".join(f"{n}: {reason or 'ok'}" for n, reason in value.items())
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        yield f"| {name} | {_cell(value)} |"
    yield "\n### Findings\n"
    for found in report.findings:
        if found.state != "ok":
            yield f"- {found.state}: {found.topic}: {found.text}"
    yield "\n### Self-test: cs231n\n\n| backend | device | result | |\n|---|---|---|---|"
    for test in report.tests:
        yield f"| {test.backend} | {test.device} | {test.state} | {_cell(test.text)} |"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|") or "–"
