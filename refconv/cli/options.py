"""The options that several commands have: one name, one help, one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InShape = Annotated[
    str | None, typer.Option("--in", metavar="SHAPE", help="Input shape, e.g. 1x6x14x14.")
]
From = Annotated[
    list[Path] | None, typer.Option("--from", metavar="FILE", help="Another tool's problem file.")
]
Dtype = Annotated[str | None, typer.Option(metavar="DTYPE", help="Else float32.")]
Backward = Annotated[bool, typer.Option("--backward", help="Gradients as well.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of inputs and weights.", min=0)]
Tf32 = Annotated[str | None, typer.Option(metavar="tf32", help="Accept TF32 in place of float32.")]

# The value may be left out, and is then "-": stdout.
Json = Annotated[
    str | None, typer.Option(metavar="[FILE]", help="As JSON, to stdout or FILE.json.")
]
Markdown = Annotated[
    str | None, typer.Option(metavar="[FILE]", help="As Markdown, to stdout or FILE.md.")
]

Records = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Instead of refconv-records.jsonl.", show_default=False),
]
NoRecords = Annotated[bool, typer.Option("--no-records", help="Keep no records.")]
