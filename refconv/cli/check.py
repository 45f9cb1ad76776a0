"""``refconv check``: is this function right? Or torch's own family, on this machine?"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Json

if TYPE_CHECKING:
    from ..oracle.check.engine import Engine
    from ..oracle.check.report import Report

EPILOG = "Example: refconv check torch.nn.functional:conv2d, or refconv check mykernels:conv2d"


def command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FUNCTION",
            help="module:function or file.py:function with torch's signature; a backend of ours "
            "(numba, naive:direct); or torch: its whole family.",
        ),
    ],
    op: Annotated[
        str | None,
        typer.Option("--op", metavar="OP", help="E.g. conv2d; else the function's own name."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or all.")] = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="E.g. float32,float16; else all that torch takes."),
    ] = None,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Of cases, for each op: 30s, 2m.")
    ] = "30s",
    cases: Annotated[
        str, typer.Option(metavar="edge+fuzz:N", help="Directed cases, and N that are drawn.")
    ] = "edge+fuzz:300",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="What it declares: ieee, tf32, narrow, …")
    ] = "ieee",
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="direct, winograd_f2, winograd_f4, fft.")
    ] = "direct",
    seed: Annotated[int, typer.Option(metavar="N", help="Of all cases.", min=0)] = 0,
    engine: Annotated[str, typer.Option(metavar="NAME", help="pool, ray or here.")] = "pool",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Workers; else one a core.", min=1)
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="HOST", help="Of a Ray cluster; else a local one is started.")
    ] = "",
    records: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append every outcome to this JSONL file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take over what --records has already.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the repro script of a fault.")
    ] = None,
    json: Json = None,
) -> int:
    """Judge a function by the oracle: every dtype, layout, gradient and refusal that matters."""
    from ..oracle import target as targets
    from ..oracle.check import checking

    edge, drawn = _cases(cases)
    seconds, dtypes = _seconds(budget), _words(dtype)
    if resume and records is None:
        raise UsageError("--resume: goes on with the file that --records names")
    sys.path.insert(0, os.getcwd())
    jobs_made = [
        checking.job_of(target, name, seed, where, precision, algorithm, dtypes, drawn, edge)
        for where in _devices(device)
        for name in _ops(target, op)
    ]
    functions = [targets.load(target, job.op) for job in jobs_made]  # refused before any work
    workers = _engine(engine, jobs, address)
    reports: list[Report] = []
    try:
        _run(jobs_made, functions, workers, records, resume, seconds, target, reports)
    except KeyboardInterrupt:
        kept = f"outcomes are in {records}" if records else "nothing is kept (--records FILE)"
        print(f"\nrefconv: interrupted; {kept}", file=sys.stderr)
        if reports:
            _show(reports, json)
        return 130
    finally:
        workers.close()
    _show(reports, json)
    broken = next((r for r in reports if r.repro), None)
    if save and broken:
        _write(save, broken.repro)
        print(f"repro: {save}", file=sys.stderr)
    return int(any(report.flagged for report in reports))


def _run(
    jobs: list[Any],
    functions: list[Any],
    workers: Engine,
    records: Path | None,
    resume: bool,
    seconds: float,
    name: str,
    reports: list[Report],
) -> None:
    """Every job, one after the other; each report is known as soon as its job is."""
    from ..oracle.check import checking
    from ..oracle.check.journal import Journal
    from . import terminal

    journal = Journal(records, resume)
    try:
        with terminal.progress(sum(len(job.cases) for job in jobs)) as step:
            for job, loaded in zip(jobs, functions, strict=True):
                shown = name if len(jobs) == 1 else f"{name}:{job.op}"

                def seen(count: int, op: str = job.op) -> None:
                    for _ in range(count):
                        step(op)

                report = checking.examine(
                    job, loaded.function, workers, journal, seconds, shown, seen
                )
                reports.append(report)
    finally:
        journal.close()


def _ops(target: str, op: str | None) -> list[str]:
    """The ops that are checked: the one named, or all of torch's or of a backend of ours.

    Raises:
        UsageError: the op cannot be told from the function's name.
    """
    from ..backends import registry
    from ..notation import near
    from ..ops import OPS

    if op:
        if op not in OPS:
            raise UsageError(f"--op: there is no {op!r}{near(op, OPS)}; ops: {', '.join(OPS)}")
        return [op]
    if target == "torch" or target.partition(":")[0] in registry():
        return list(OPS)
    own = target.rpartition(":")[2].rpartition(".")[2]
    if own in OPS:
        return [own]
    raise UsageError(f"--op: {target} is not named after an op; say which, e.g. --op conv2d")


def _devices(device: str) -> tuple[str, ...]:
    from ..harness.candidates import devices

    return devices(device)


def _cases(text: str) -> tuple[bool, int]:
    found = re.fullmatch(r"(?:(edge)\+?)?(?:fuzz:(\d+))?", text)
    if not text or not found:
        raise UsageError(f"--cases: write edge, fuzz:N or edge+fuzz:N, got {text!r}")
    return bool(found[1]), int(found[2] or 0)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)?", text.strip())
    if not found:
        raise UsageError(f"--budget: write seconds or minutes, e.g. 30s or 2m, got {text!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]


def _words(text: str | None) -> tuple[str, ...] | None:
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text else None


def _engine(name: str, jobs: int | None, address: str) -> Engine:
    from ..oracle.check import engine, ray_engine

    workers = jobs or os.cpu_count() or 1
    if name not in ("pool", "ray", "here"):
        raise UsageError(f"--engine: must be pool, ray or here, got {name!r}")
    if address and name != "ray":
        raise UsageError("--address: only --engine ray has an address")
    if name == "ray":
        return ray_engine.Ray(address, workers)
    return engine.Here() if name == "here" or workers == 1 else engine.Pool(workers)


def _show(reports: list[Report], json: str | None) -> None:
    """To stdout: JSON if it was asked for without a file, else the terminal's text."""
    import msgspec

    from ..oracle.check import render as page
    from .terminal import console

    document = msgspec.json.format(msgspec.json.encode(reports), indent=2).decode()
    if len(reports) == 1:
        document = reports[0].to_json()
    if json == "-":
        print(document)
        return
    if json:
        _write(Path(json), document + "\n")
    out = console()
    if len(reports) == 1:
        out.print(reports[0])
        return
    flagged = [r for r in reports if r.flagged]
    for report in flagged:
        out.print(report)
        out.print()
    out.print(page.overview(reports))
    ran, seconds = sum(r.ran for r in reports), sum(r.seconds for r in reports)
    names = ", ".join(r.op for r in flagged)
    verdict = f"flagged: {names}" if flagged else "all consistent"
    out.print(
        page.closing(f"{len(reports)} ops, {ran:,} calls, {seconds:.0f} s: {verdict}", flagged)
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
