"""``refconv pack make``: cases, written down for the verification of any implementation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import RefconvError, UsageError
from .options import Dtype, InShape

EPILOG = "Example: refconv pack make resnet50 -o resnet50.jsonl"


def command(
    cases: Annotated[
        list[str],
        typer.Argument(metavar="CASE…", help="Sets (resnet50), cases of them, or problems."),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="The pack; a folder: a pack each."),
    ],
    in_shape: InShape = None,
    dtype: Dtype = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all numbers.", min=0)] = 0,
) -> int:
    """Write oracle packs: exact hashes and proven bounds in a few KB a case."""
    from ..harness import cases as sets
    from ..oracle.pack import make
    from . import terminal

    work = [(spec, sets.load(spec, in_shape=in_shape, dtype=dtype)) for spec in cases]
    folder = out.is_dir() or str(out).endswith("/")
    if not folder:
        work = [(out.stem, [case for _, found in work for case in found])]
    refused: list[str] = []
    with terminal.progress(sum(len(found) for _, found in work)) as step:
        for name, found in work:
            made: list[dict[str, Any]] = []
            for case in found:
                step(case.name)
                try:
                    made.append(make.case(case.name, case.problem, seed))
                except RefconvError as error:
                    refused.append(f"{case.name}: {error}")
            path = out / f"{name.replace(':', '_').replace('/', '_')}.jsonl" if folder else out
            if made:
                print(_write(path, make.text(name, made), len(made)))
    for line in refused:
        print(line, file=sys.stderr)
    if len(refused) == sum(len(found) for _, found in work):
        raise UsageError(f"none of the {len(refused)} cases can be packed")
    return 0


def _write(path: Path, text: str, cases: int) -> str:
    """Write a pack; returns the line that says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    size = len(text.encode()) / 1024
    count = f"{cases} case{'s' * (cases > 1)}"
    return f"{path}: {count}, {size:,.0f} KB ({size / cases:.1f} a case)"
