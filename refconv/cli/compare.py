"""``refconv compare``: the main job. Loads cases, runs them, writes records, prints the verdict."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Backward, From, InShape, Json, Markdown, NoRecords, Records, Seed, Tf32

if TYPE_CHECKING:
    from ..harness.cases import Case
    from ..harness.compare import Options
    from ..harness.importing import Imported
    from ..harness.records import Result, Writer

EPILOG = "Example: refconv compare 'nn.Conv2d(6,16,5)' --in 1x6x14x14 --backward"
DEFAULT_SET = "classics"
#: Seconds one call of the naive loops may take: by default, and where naive was asked for by name.
PATIENCE = (0.6, 60.0)


def command(
    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CASE",
            help="A set (resnet50), a case of it (resnet50:conv1), a torch call, our label, a "
            "benchdnn or MIOpenDriver line, or a model (model.py:Net). Default: classics.",
            show_default=False,
        ),
    ] = None,
    in_shape: InShape = None,
    from_file: From = None,
    backends: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="E.g. naive,numba,torch; else all."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="E.g. float64, int32; else float32.")
    ] = None,
    backward: Backward = False,
    seed: Seed = 0,
    device: Annotated[
        str,
        typer.Option(metavar="NAME", help="cpu, cuda or all that are here.", show_default=False),
    ] = "auto",
    time: Annotated[bool, typer.Option("--time/--no-time", help="Time what passed.")] = True,
    json: Json = None,
    md: Markdown = None,
    records: Records = None,
    no_records: NoRecords = False,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A picture as the input."),
    ] = None,
    allow: Tf32 = None,
    patience: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="For a naive call: 0.6; 60 if named.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run cases on every backend, against torch on the same device and a float64 reference."""
    named = _words(backends)
    allowed = frozenset(_words(allow))
    if allowed - {"tf32"}:
        raise UsageError(f"--allow: only tf32 can be allowed, got {allow!r}")
    if json == "-" and md == "-":
        raise UsageError("--json and --md cannot both go to stdout; give one of them a file")
    specs = cases or ([] if from_file else [DEFAULT_SET])

    # OpenBLAS's workers spin for 2**this cycles after a product; by default 30 ms, which every
    # timing behind it would have to wait for. Read once, when NumPy is imported.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "24")
    from ..harness import candidates, compare, environment
    from ..harness import records as kept

    by_name = any(word.partition(":")[0] == "naive" for word in named)
    options = compare.Options(
        backends=named,
        devices=candidates.devices(device),
        backward=backward,
        seed=seed,
        time=time,
        image=image,
        allow=allowed,
        patience=PATIENCE[by_name] if patience is None else patience,
    )
    candidates.candidates(named, options.devices)  # refuse unknown names before any work
    files = imported(from_file or [], in_shape, dtype)
    work = _work(specs, [c for file in files for c in file.cases], in_shape, dtype, options)
    run = environment.describe(shlex.join(["refconv", *sys.argv[1:]]))
    writer = None if no_records else kept.Writer(records or kept.default_path())
    if writer:
        writer.write(run)

    from . import render, terminal

    rows: list[Result] = []
    try:
        with terminal.progress(len(work)) as step:
            for name, results in work:
                step(name)
                for row in results:
                    rows.append(row)
                    if writer:
                        writer.write(row)
    except KeyboardInterrupt:
        print(f"\nrefconv: interrupted; {_kept(writer, rows)}", file=sys.stderr)
        return 130
    finally:
        if writer:
            writer.close()
    report = render.Report(
        run, rows, _again(options, device, patience), named, [f.summary for f in files]
    )
    _print(report, json, md)
    if writer:
        print(f"records: {writer.count} appended to {writer.path}", file=sys.stderr)
    return report.exit_code


def _again(options: Options, device: str, patience: float | None) -> str:
    """Options that the repro line repeats: the seed, and what is not the default."""
    words = ["--seed", str(options.seed)]
    words += ["--backward"] if options.backward else []
    words += ["--image", str(options.image)] if options.image else []
    words += ["--allow", ",".join(sorted(options.allow))] if options.allow else []
    words += ["--device", device] if device not in ("auto", "all") else []
    words += ["--patience", f"{patience:g}"] if patience is not None else []
    return shlex.join(words)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _kept(writer: Writer | None, rows: list[Result]) -> str:
    if writer is None:
        return f"{len(rows)} results are lost (--no-records)"
    return f"{writer.count} records are kept in {writer.path}"


def imported(paths: list[Path], in_shape: str | None, dtype: str | None) -> list[Imported]:
    """The problems of others' files; what cannot be expressed is listed on stderr.

    Raises:
        UsageError: a file cannot be read, or has nothing that can be used.
    """
    if not paths:
        return []
    from ..harness import importing

    files = [importing.load(path, in_shape=in_shape, dtype=dtype) for path in paths]
    for file in files:
        print(file.summary, *file.refused, sep="\n  ", file=sys.stderr)
        file.usable()
    return files


def _work(
    specs: list[str],
    given: list[Case],
    in_shape: str | None,
    dtype: str | None,
    options: Options,
) -> list[tuple[str, Iterator[Result]]]:
    """What to run, by name; every case is read before the first one runs."""
    from ..harness import cases as case_sets
    from ..harness import compare, modelfile
    from ..harness.candidates import candidates
    from ..notation import input_shape
    from ..oracle import inputs

    who = candidates(options.backends, options.devices)
    made: list[tuple[str, Iterator[Result]]] = []
    pictures = False
    for spec in specs:
        if modelfile.is_model(spec, case_sets.sets()):
            made.append((spec, _model(spec, in_shape, dtype, options)))
            pictures = True
            continue
        given = [*given, *case_sets.load(spec, in_shape=in_shape, dtype=dtype)]
    for case in given:
        made.append((case.name, compare.compare(case, who, options)))
        if options.image is not None and inputs.takes_image(case.problem):
            shape = input_shape(case.problem)  # refuse a bad picture before any work
            inputs.picture(options.image, shape, case.problem.dtype)
            pictures = True
    if options.image is not None and not pictures:
        raise UsageError("--image: no case has a picture as its input (2-D, 1, 3 or 4 channels)")
    return made


def _model(
    spec: str, in_shape: str | None, dtype: str | None, options: Options
) -> Iterator[Result]:
    """The layers of a whole model, from ``harness.models``; it is loaded and run with torch now, so
    that mistakes show before any work.
    """
    from dataclasses import fields

    from ..harness.models import compare_model

    given = {field.name: getattr(options, field.name) for field in fields(options)}
    return compare_model(spec, in_shape, dtype=dtype or "float32", **given)


def _print(report: Any, json: str | None, md: str | None) -> None:
    """To stdout: JSON or Markdown if one of them was asked for without a file, else the terminal's
    text.
    """
    shown = False
    for where, text in ((json, report.json), (md, report.markdown)):
        if where is None:
            continue
        if where == "-":
            print(text())
            shown = True
            continue
        try:
            Path(where).write_text(text() + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{where} cannot be written: {error.strerror}") from None
    if not shown:
        report.show()
