"""``refconv audit``: every convolution and pooling of a model's run, forward and backward."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import Backward, Json, Tf32

if TYPE_CHECKING:
    from ..oracle.audit_log import Log

EPILOG = "Example: refconv audit docs/examples/lenet.py:LeNet --in 3x32x32 --backward"


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="model.py:Net or package.module:Net.")
    ],
    in_shape: Annotated[
        str | None, typer.Option("--in", metavar="SHAPE", help="Input shape, e.g. 3x224x224.")
    ] = None,
    backward: Backward = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:1.")] = "cpu",
    dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="Of weights and input, e.g. bfloat16.")
    ] = "float32",
    autocast: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help="Run under autocast: bfloat16 or float16."),
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Weights and input in that memory format.")
    ] = False,
    budget: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Of judging; large layers are then sampled.", min=0),
    ] = 60.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Of weights and input.", min=0)] = 0,
    allow: Tf32 = None,
    json: Json = None,
) -> int:
    """Recompute every convolution and pooling of a model's run from its own inputs."""
    allowed = [word.strip() for word in (allow or "").split(",") if word.strip()]
    if set(allowed) - {"tf32"}:
        raise UsageError(f"--allow: only tf32 can be allowed, got {allow!r}")

    # OpenBLAS's workers wait for more work at the cost of torch's: as for compare.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "24")
    from ..harness.audits import audit_model

    log = audit_model(
        model,
        in_shape,
        backward=backward,
        device=device,
        dtype=dtype,
        autocast=autocast,
        channels_last=channels_last,
        budget=budget,
        seed=seed,
        allow=allowed,
    )
    _print(log, json)
    judged = any(row.results for row in log.rows)
    return 1 if log.flagged else 0 if judged else 3


def _print(log: Log, json: str | None) -> None:
    """JSON to stdout if it was asked for without a file, else the table."""
    from .terminal import console, plain_if_needed

    if json not in (None, "-"):
        assert json is not None
        try:
            Path(json).write_text(log.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{json} cannot be written: {error.strerror}") from None
    if json == "-":
        print(log.to_json())
        return
    out = console()
    if out.is_terminal:
        out.print(log)
        return
    with out.capture() as text:
        out.print(log)
    for line in text.get().splitlines():
        print(plain_if_needed(line.rstrip(), out))
