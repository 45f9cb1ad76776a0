"""``refconv invariance``: what changes a function's bits, and is it rounding or a fault?"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Backward, Json, Seed

if TYPE_CHECKING:
    from rich.text import Text

    from ..oracle.invariance import Difference, Finding, Report

EPILOG = "Example: refconv invariance torch 'conv2d x[8,8,12,12] w[16,8,3,3]' --backward"
SCHEMA = "refconv.invariance/1"


def command(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[FUNCTION] CASE",
            help="torch (the default), a backend (naive, numba:direct), module:function or "
            "file.py:function; then cases as compare takes them: convolutions and poolings.",
            show_default=False,
        ),
    ],
    in_shape: Annotated[
        str | None, typer.Option("--in", metavar="SHAPE", help="Input shape, e.g. 8x64x32x32.")
    ] = None,
    backward: Backward = False,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="E.g. float64, bfloat16; else float32.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="cpu or cuda; else the function's."),
    ] = None,
    seed: Seed = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 even if all that changes is rounding.")
    ] = False,
    json: Json = None,
) -> int:
    """Same bits from run to run, in any batch, layout, number of threads? Says what breaks them,
    and whether that is rounding (exit 0; --strict: 1) or a wrong result (exit 1).
    """
    from ..harness import candidates
    from ..harness import cases as case_sets
    from ..oracle import invariance, target
    from . import terminal
    from .emit import emit

    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"--device: must be cpu or cuda, got {device!r}")
    candidates.devices(device or "cpu")  # refuse one that is not here before any work
    spec, specs = _split(words)
    loaded = [c for text in specs for c in case_sets.load(text, in_shape=in_shape, dtype=dtype)]
    problems = list(dict.fromkeys(c.problem for c in loaded if not c.refused))
    work = []
    for problem in problems:
        invariance.check(problem)
        work.append((problem, target.load(spec, problem.op)))
    reports: list[Report] = []
    with terminal.progress(len(work)) as step:
        for problem, function in work:
            step(str(problem.op))
            reports.append(
                invariance.invariance(
                    function, problem, seed=seed, backward=backward, device=device
                )
            )
    again = [spec, *specs] + (["--in", in_shape] if in_shape else [])
    again += ["--backward"] if backward else []
    again += ["--dtype", dtype] if dtype else []
    again += ["--device", device] if device else []
    repro = shlex.join(["refconv", "invariance", *again, "--seed", str(seed)])
    code = exit_code(reports, strict)
    if json is not None:
        emit(json, document(reports, code, repro))
    if json != "-":
        show(reports, code, repro)
    return code


def _split(words: list[str]) -> tuple[str, list[str]]:
    """The function, torch if none is named, and the cases."""
    from ..harness.cases import sets
    from ..notation import near
    from ..oracle import target

    first, known = words[0], sets()
    set_name, colon, _ = first.partition(":")
    if set_name in known:
        return "torch", words
    if not target.is_target(first):
        if colon and re.fullmatch(r"[\w.]+:\w+", first):
            raise UsageError(
                f"{first}: there is no module {set_name} here or on Python's path, and no set of "
                f"cases of that name{near(set_name, known)}"
            )
        return "torch", words
    if len(words) < 2:
        raise UsageError(f"{first}: on which case? E.g. {EPILOG.partition(': ')[2]}")
    return first, words[1:]


def exit_code(reports: Sequence[Report], strict: bool) -> int:
    """1 if a result is wrong or a call failed, or under ``--strict`` if any bit changed; 3 if
    nothing ran.
    """
    found = {r.status for r in reports}
    if found & {"WRONG", "ERROR"} or (strict and "rounding" in found):
        return 1
    return 0 if found - {"skipped"} else 3


def document(reports: Sequence[Report], code: int, repro: str) -> dict[str, Any]:
    """The JSON document; a number that is not finite is null."""
    from .. import label

    def difference(d: Difference) -> dict[str, Any]:
        return {
            k: v if not isinstance(v, float) or isfinite(v) else None for k, v in asdict(d).items()
        }

    return {
        "schema": SCHEMA,
        "verdict": headline(reports),
        "exit_code": code,
        "repro": repro,
        "reports": [
            {
                "function": r.target,
                "case": label.format(r.problem),
                "status": r.status,
                "results": r.results,
                "rule": r.rule,
                "reason": r.error or r.skipped or r.wrong,
                "note": r.note,
                "properties": [
                    {
                        "name": f.name,
                        "status": f.status,
                        "tried": f.tried,
                        "compared": f.compared,
                        "differences": [difference(d) for d in f.differences],
                    }
                    for f in r.findings
                ],
            }
            for r in reports
        ],
    }


def headline(reports: Sequence[Report]) -> str:
    """The verdict in one line, with a word as well as a symbol."""
    name = reports[0].target
    if len(reports) > 1:
        count = Counter(r.status for r in reports)
        bad = count["WRONG"] + count["ERROR"]
        ran = len(reports) - count["skipped"]
        skips = f"; {count['skipped']} skipped" if count["skipped"] else ""
        if not ran:
            return f"✘ {name}: nothing was run{skips}"
        parts = [f"{count['holds']} of {ran} cases keep their bits"]
        parts += [f"{count['rounding']} change by rounding"] if count["rounding"] else []
        parts += [f"{bad} WRONG or failed"] if bad else []
        return f"{'✘' if bad else '✔'} {name}: {'; '.join(parts)}{skips}"
    [r] = reports
    if r.status in ("ERROR", "skipped"):
        return f"✘ {name}: {'nothing was run: ' + r.skipped if r.skipped else r.error}"
    tried = [f for f in r.findings if f.status in ("holds", "rounding", "WRONG")]
    held = f"{len(r.named('holds'))} of {len(tried)} hold bit for bit"
    broken = {s: ", ".join(f.name for f in r.named(s)) for s in ("WRONG", "rounding")}
    parts = ["the result itself is WRONG"] if r.wrong else []
    parts += [held]
    parts += [f"WRONG, beyond any rounding, with {broken['WRONG']}"] if broken["WRONG"] else []
    parts += [f"rounding differs with {broken['rounding']}"] if broken["rounding"] else []
    parts += [f"{len(r.named('refused'))} refused"] if r.named("refused") else []
    return f"{'✘' if r.status == 'WRONG' else '✔'} {name}: {'; '.join(parts)}"


def show(reports: Sequence[Report], code: int, repro: str) -> None:
    """Print the page: the verdict, the table, what its words mean, how to run it again."""
    from .. import label
    from .cells import STYLE
    from .terminal import console, flush, line, table

    out = console()
    line(
        out, headline(reports), "bold red" if code == 1 else "bold yellow" if code else "bold green"
    )
    if len(reports) == 1:
        [r] = reports
        results = f": {', '.join(r.results)}" if r.results else ""
        line(out, f"  {label.format(r.problem)}{results}")
        if r.findings:
            table(out, case_table(r))
    else:
        table(out, set_table(reports))
        if any(r.named("not tried") for r in reports):
            line(out, "  –: cannot be tried there, e.g. without a batch axis")
    for r in reports:
        for text in _faults(r, named=len(reports) > 1):
            line(out, f"  {text}", STYLE["wrong"])
        for f in r.named("refused"):
            line(out, f"  refused: {f.name}: {f.tried}", STYLE["skipped"])
    for note in dict.fromkeys(r.note for r in reports if r.note):
        line(out, f"  {note}")
    rules = " / ".join(dict.fromkeys(r.rule for r in reports if r.rule))
    if any(r.status in ("rounding", "WRONG") for r in reports):
        line(out, f"  rounding: other bits, both results within their bounds ({rules}); else WRONG")
        if len(reports) == 1:
            line(out, "  of bound: their distance, as a share of what two legal results may differ")
    line(out, f"  repro: {repro}")
    flush()


def case_table(report: Report) -> Any:
    """A row a property; one more for every result and change that gives other bits."""
    from .tables import grid

    heads = ["property", "verdict", "cells differ", "max ulp", "of bound", "tried"]
    made = grid(*heads, right=(2, 3, 4))
    for f in report.findings:
        if not f.differences:
            text = "see below" if f.status == "refused" else f.tried + _limits(f, report)
            made.add_row(f.name, mark(f.status), "", "", "", text)
        for i, d in enumerate(f.differences):
            first = [f.name, mark(f.status)] if i == 0 else ["", ""]
            share = (
                "inf"
                if not isfinite(d.share)
                else f"{d.share:.3f}"
                if d.share < 10
                else f"{d.share:.1e}"
            )
            ulps = f"{d.ulps:,.0f}" if d.ulps < 1e6 else f"{d.ulps:.1e}"
            made.add_row(
                *first, f"{d.differ:,} of {d.cells:,}", ulps, share, f"{d.result}, {d.changed}"
            )
    return made


def _limits(found: Finding, report: Report) -> str:
    """Which results were compared, if not all; or which were not, if that is shorter."""
    missing = [name for name in report.results if name not in found.compared]
    if not missing or not found.compared:
        return ""
    listed = [f": {', '.join(found.compared)}", f", not {', '.join(missing)}"]
    return min(listed, key=len)


def set_table(reports: Sequence[Report]) -> Any:
    """A row a case, a column a property."""
    from .. import label
    from .tables import grid

    names = list(dict.fromkeys(f.name for r in reports for f in r.findings))
    made = grid("case", *names)
    for r in reports:
        by = {f.name: f.status for f in r.findings}
        cells = [mark(by.get(name, r.status)) for name in names]
        made.add_row(label.format(r.problem), *cells)
    return made


def mark(status: str) -> Text:
    """A property's verdict in its colour."""
    from rich.text import Text

    from .cells import STYLE

    style = {"holds": "ok", "WRONG": "wrong", "ERROR": "wrong", "rounding": "doubt"}.get(
        status, "skipped"
    )
    return Text("–" if status == "not tried" else status, STYLE[style])


def _faults(report: Report, named: bool) -> list[str]:
    """One line for everything that is wrong."""
    from .. import label

    where = f"{label.format(report.problem)}: " if named else ""
    lines = [f"✘ {where}{report.error}"] if report.error and named else []
    lines += [f"✘ {where}the result itself: {report.wrong}"] if report.wrong else []
    for f in report.findings:
        wrong = [d for d in f.differences if d.wrong]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        lines += [f"✘ {where}{f.name}: {d.result}, {d.changed}: {d.wrong}{more}" for d in wrong[:1]]
    return lines
