"""``refconv gpu``: what a machine with a GPU says of the kernels, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Example: refconv gpu --resume. Without a GPU: refconv gpu --device cpu --only direct"


def command(
    device: Annotated[
        str, typer.Option(metavar="NAME", help="cuda; cpu: a rehearsal on the emulator.")
    ] = "cuda",
    budget: Annotated[
        float, typer.Option(metavar="SECONDS", help="The whole run takes no more.", min=1)
    ] = 420.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what is recorded of these kernels.")
    ] = False,
    records: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Else in $OUT, or bench/history.", show_default=False),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="TEXTS", help="Items whose key holds one of these, e.g. wgrad,bf16."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Of compile,verify,sanitize,ceilings,time; else all."),
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", help="Most rows that are timed.")] = 10_000,
) -> int:
    """Verify every kernel on the GPU, then time what is right beside torch; exit 1 if any is
    wrong.
    """
    from ..errors import UsageError
    from ..harness.gpu import run

    if device not in ("cuda", "cpu"):
        raise UsageError(f"--device: must be cuda or cpu, got {device!r}")
    words = lambda text: tuple(w for w in (text or "").split(",") if w)  # noqa: E731
    options = run.Options(
        device, budget, resume, records, words(only), words(steps) or run.STEPS, rows
    )
    return run.run(options)
