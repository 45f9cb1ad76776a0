"""``refconv report``: records of any kind as one page, as a comment, for a CI, or over time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import Markdown

if TYPE_CHECKING:
    from ..harness.report.findings import Report

EPILOG = "Example: refconv report refconv-records.jsonl -o report.html --junit report.xml"
#: Where benchmarks are kept, and the suffixes of what is read from a folder.
HISTORY, SUFFIXES = Path("bench/history"), (".jsonl", ".json")


def command(
    records: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECORDS",
            help="Files of compare, bench, check (--records, --json) and gpu, or folders of them. "
            "Else refconv-records.jsonl; with --trend, bench/history.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="The page; else report.html, if nothing else is asked for.",
            show_default=False,
        ),
    ] = None,
    md: Markdown = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="As JUnit XML, for a CI.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option(metavar="FILE", help="As SARIF 2.1.0, for a code host.")
    ] = None,
    trend: Annotated[
        bool, typer.Option("--trend", help="Every recorded benchmark, commit by commit.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every run of a file, not the last of each kind.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the records.")
    ] = False,
) -> int:
    """Speed, accuracy, failures and skips on one page; exit 1 if anything in it is not right."""
    if schema:
        from ..harness.report import schema as kept

        print(kept.text(), end="")
        return 0
    if trend and (md or junit or sarif or every):
        raise UsageError("--trend: makes a page; --md, --junit, --sarif and --all are of a report")
    paths = _files(records, trend)
    if trend:
        return _trend(paths, out or Path("trend.html"))
    from ..harness.report import findings, summary

    made = findings.Report(summary.read(paths, every))
    for line in made.notes:
        print(f"refconv: {line}", file=sys.stderr)
    if not made.summary.total:
        raise UsageError(f"report: no record to show in {_named(paths)}")
    if out or not (md or junit or sarif):
        from ..harness.report.page import page

        _write(out or Path("report.html"), page(made))
    if junit:
        from ..harness.report.junit import junit as as_junit

        _write(junit, as_junit(made))
    if sarif:
        from ..harness.report.sarif import sarif as as_sarif

        _write(sarif, as_sarif(made))
    if md:
        from ..harness.report.markdown import markdown

        if md == "-":
            print(markdown(made), end="")
            return made.exit_code
        _write(Path(md), markdown(made))
    _show(made)
    return made.exit_code


def _trend(paths: list[Path], out: Path) -> int:
    from ..harness.report import trend
    from ..harness.report.page import trend_page
    from . import terminal

    made = trend.read(paths)
    for line in made.troubles:
        print(f"refconv: {line}", file=sys.stderr)
    if not made.devices:
        raise UsageError(f"report: --trend: no benchmark in {_named(paths)}")
    _write(out, trend_page(made))
    terminal.line(terminal.console(), made.headline, "bold")
    return 0


def _files(records: list[Path] | None, trend: bool) -> list[Path]:
    """The files, those in folders included.

    Raises:
        UsageError: there is none.
    """
    from ..harness.records import default_path

    if not records:
        usual = HISTORY if trend else default_path()
        if not usual.exists():
            make = "refconv bench --save NAME" if trend else "refconv compare or bench --records"
            raise UsageError(f"report: {usual} is not here; {make} makes records, or name files")
        records = [usual]
    found: list[Path] = []
    for path in records:
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise UsageError(f"report: {path} holds no {' or '.join(SUFFIXES)} file")
        found += inside or [path]
    return found


def _named(paths: list[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"


def _show(made: Report) -> None:
    """The verdict, and the two layers to look at."""
    from ..harness.report.words import against, digits
    from . import terminal

    out = terminal.console()
    terminal.line(out, made.headline, "bold red" if made.exit_code else "bold green")
    if slow := made.slowest:
        terminal.line(out, f"  slowest beside torch: {slow.name}, {against(slow)}: {slow.who}")
    if rough := made.roughest:
        text = f"rms error {digits(rough.noise)} × the usual rounding: {rough.who}"
        terminal.line(out, f"  least accurate: {rough.name}, {text}")
    for failure in made.failures[:12]:
        terminal.line(out, f"  ✘ {failure.title}: {failure.status}: {failure.reason}", "red")
    terminal.flush()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    print(f"{path}: {os.path.getsize(path) / 1024:,.0f} kB", file=sys.stderr)
