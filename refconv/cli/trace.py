"""``refconv trace``: inside one output number. Prints it, or steps through it on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Json

if TYPE_CHECKING:
    from ..learn.trace_data import Trace
    from ..learn.trace_mismatch import Mismatch

EPILOG = "Example: refconv trace cs231n --at 0,1,2, or refconv trace 'nn.Conv2d(64,128,4,2,1)'"


def command(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="cs231n, a torch layer or call, our label, another tool's line, or a case "
            "(resnet50:conv1).",
        ),
    ] = "cs231n",
    at: Annotated[
        str | None,
        typer.Option(metavar="INDEX", help="Of the output, e.g. 0,1,2; else the first."),
    ] = None,
    in_shape: Annotated[
        str | None,
        typer.Option("--in", metavar="SHAPE", help="Input shape; else one small enough to read."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the numbers.", min=0)] = 0,
    real: Annotated[bool, typer.Option("--real", help="Two decimals, not whole numbers.")] = False,
    x: Annotated[Path | None, typer.Option(metavar="FILE.npy", help="The input.")] = None,
    w: Annotated[Path | None, typer.Option(metavar="FILE.npy", help="The weights.")] = None,
    b: Annotated[Path | None, typer.Option(metavar="FILE.npy", help="The bias.")] = None,
    got: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="What came out instead: which mistake gives that?"),
    ] = None,
    code: Annotated[
        bool, typer.Option("--code", help="The line of kernels/naive that is executed.")
    ] = False,
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="cuda[:STEP]",
            help="Which block and thread compute it, and what that thread loads.",
        ),
    ] = None,
    torch: Annotated[bool, typer.Option("--torch/--no-torch", help="Compare with torch.")] = True,
    once: Annotated[bool, typer.Option("--print", help="Print; take no keys.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page of refconv learn with these numbers."),
    ] = None,
    json: Json = None,
) -> int:
    """Window, weights, products, sums and bias of one output; on a terminal, step by step."""
    from ..learn import trace as tracing
    from . import trace_keys
    from .terminal import console, flush
    from .trace_steps import Steps, index, run, write_page

    arrays = {name: _load(p) for name, p in (("input", x), ("weight", w), ("bias", b)) if p}
    value, digits = _number(got) if got is not None else (0.0, 0.0)
    problem = _case(spec) if in_shape is None else spec
    place = index(at) if at is not None else None
    found = tracing.trace(problem, place, arrays=arrays, in_shape=in_shape, seed=seed, real=real)
    judge = _judge(torch)
    found = replace(found, torch=judge(found)) if judge else found
    mismatch = None
    if got is not None:
        from ..learn.trace_mismatch import explain

        mismatch = explain(found, value, digits)
    threads = _threads(found, kernel) if kernel else None
    if html is not None:
        print(f"page: {write_page(found, html)}", file=sys.stderr)
    if json is not None:
        from .emit import emit

        emit(json, _document(found, mismatch, threads))
    if json != "-":
        out = console()
        if trace_keys.interactive() and not (once or json or html or mismatch or threads):
            run(Steps(found, judge, code), out)
        else:
            _print(found, mismatch, threads, code, out)
        flush()
    return int(found.agrees is False or (mismatch is not None and not mismatch.right))


def _case(spec: str) -> Any:
    """The problem of a case of a set; anything else as it is."""
    if not re.fullmatch(r"\s*[\w-]+:[\w.+/-]+\s*", spec) or spec.strip() == "classics:cs231n":
        return spec
    from ..harness.cases import load

    return load(spec)[0].problem


def _judge(wanted: bool) -> Callable[[Trace], Any] | None:
    """What torch gives for a trace; it computes the whole output once. None if it is not wanted."""
    if not wanted:
        return None
    from ..learn.trace import torch_output

    whole: list[Any] = []

    def judge(found: Trace) -> Any:
        if not whole:
            whole.append(torch_output(found))
        return whole[0][found.at].item()

    return judge


def _print(found: Trace, mismatch: Mismatch | None, threads: Any, code: bool, out: Any) -> None:
    from rich.text import Text

    from ..learn.trace_show import heading, lines
    from .terminal import PLAIN
    from .trace_steps import code_lines

    ascii_only = not (out.encoding or "").lower().startswith("utf")

    width = min(out.width, 100) if out.is_terminal else 100
    made = [] if mismatch is None else [Text(t) for t in mismatch.lines()]
    cursor = next((i for i, c in enumerate(found.cells) if c.state == "inside"), None)
    made += heading(found, width) if threads else lines(found, width, cursor if code else None)
    made += code_lines(found, cursor) if code else []
    made += [] if threads is None else threads.lines(width)
    for line in made:
        line.truncate(width, overflow="ellipsis")
        if ascii_only:
            times = re.sub(r"(?<=\S)·(?=\S)| · (?=w)", "*", line.plain)
            line = Text(times.translate({**PLAIN, ord("·"): ".", ord("Σ"): "sum "}))
        out.print(line, soft_wrap=True)


def _document(found: Trace, mismatch: Mismatch | None, threads: Any) -> dict[str, Any]:
    made = found.to_json()
    if mismatch is not None:
        made["mismatch"] = mismatch.to_json()
    if threads is not None:
        made["kernel"] = threads.to_json()
    return made


def _threads(found: Trace, kernel: str) -> Any:
    from ..learn.threads import threads_of

    return threads_of(found, kernel)


def _load(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is no .npy file of numbers"
        raise UsageError(f"{path} cannot be read: {reason}") from None


def _number(text: str) -> tuple[float, float]:
    """A number, and half of the last digit that it was written with; 0 of a whole one."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"--got: must be a number, got {text!r}") from None
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return value, 0.5 * 10.0 ** (int(exponent or 0) - decimals) if decimals else 0.0
