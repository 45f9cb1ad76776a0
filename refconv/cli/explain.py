"""``refconv explain``: a layer, a net, or "which padding?", with every number accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Json, Markdown

if TYPE_CHECKING:
    from ..learn.explain_show import Explanation

EPILOG = (
    "Example: refconv explain lenet --in 3x32x32, or refconv explain "
    "'nn.Conv2d(64,64,4,2,padding=?)' --in 64x96x96 --out 64x48x48"
)
SCHEMA = "refconv.explain/1"


def command(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC",
            help="A layer ('nn.Conv2d(3,6,5)', 'F.conv2d(x[1,3,8,8],w[6,3,5,5])', our label, "
            "another tool's line), or a model: file.py:Class, module:Class, 'nn.Sequential(…)', "
            "lenet, mnist, netd, resnet50, unet, or one of torchvision's or timm's.",
            show_default=False,
        ),
    ] = None,
    in_shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--in", metavar="SHAPE", help="Input shape, 3x32x32; again for each input; 16:int64."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="SHAPE", help="Output shape, for a SPEC with a ?.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also rows that leave the shape as it is: ReLU, dropout.")
    ] = False,
    macs: Annotated[bool, typer.Option("--macs", help="A column of multiplies.")] = False,
    formula: Annotated[bool, typer.Option("--formula", help="The size formulas.")] = False,
    glossary: Annotated[bool, typer.Option("--glossary", help="What the words mean.")] = False,
    layout: Annotated[bool, typer.Option("--layout", help="NCHW, NHWC and memory.")] = False,
    nn_vs_f: Annotated[bool, typer.Option("--nn-vs-f", help="nn.Conv2d or F.conv2d?")] = False,
    family: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Shapes in 1-D, 2-D, 3-D: conv, transposed or pool."),
    ] = None,
    json: Json = None,
    md: Markdown = None,
) -> int:
    """Arguments, shapes with their arithmetic, parameters, multiplies and receptive fields."""
    if json == "-" and md == "-":
        raise UsageError("--json and --md cannot both go to stdout; give one of them a file")
    pages = {"formula": formula, "glossary": glossary, "layout": layout, "nn-vs-f": nn_vs_f}
    asked = [name for name, wanted in pages.items() if wanted]
    asked += [f"family {family}"] if family is not None else []
    if len(asked) + (spec is not None) != 1:
        raise UsageError(
            "explain what? One layer or model, or one of --formula, --glossary, --layout, "
            "--nn-vs-f, --family NAME; e.g. refconv explain lenet --in 3x32x32"
        )
    found = _page(asked[0]) if asked else _spec(str(spec), in_shapes or [], out, every, macs)
    code = 0 if found.ok else 1
    if json is not None:
        from .emit import emit

        emit(json, document(found, code))
    if md is not None and md != "-":
        _write(md, found.markdown())
    if md == "-":
        print(found.markdown())
    elif json != "-":
        show(found)
    return code


def _page(asked: str) -> Explanation:
    from ..learn import explain_words

    name, _, which = asked.partition(" ")
    return explain_words.family(which) if name == "family" else explain_words.TOPICS[name]()


def _spec(spec: str, shapes: list[str], out: str | None, every: bool, macs: bool) -> Explanation:
    from ..learn.explain import explain

    return explain(spec, *shapes, out=out, every=every, macs=macs)


def document(found: Explanation, code: int) -> dict[str, Any]:
    """The JSON document."""
    verdict = next(part for part in found.parts() if isinstance(part, str))
    return {"schema": SCHEMA, "verdict": verdict, "exit_code": code, **found.as_dict()}


def show(found: Explanation) -> None:
    """Print to stdout: as wide as it needs to be if piped, else as the terminal is wide."""
    from rich.padding import Padding

    from ..learn.explain_show import STYLES, Grid, rich_table
    from .terminal import console, flush, line, plain_if_needed

    out = console()
    for part in found.parts(out.width if out.is_terminal else 1000):
        if isinstance(part, Grid):
            rows = [tuple(plain_if_needed(cell, out) for cell in row) for row in part.rows]
            heads = tuple(plain_if_needed(head, out) for head in part.heads)
            grid = Grid(heads, rows, part.right, part.wrap)
            if out.is_terminal:
                out.print(Padding(rich_table(grid, out.width - 2), (0, 0, 0, 2), expand=False))
            else:
                print("\n".join(f"  {text}" for text in grid.lines()))
        else:
            line(out, part, STYLES.get(part.lstrip()[:1], ""))
    flush()


def _write(where: str, text: str) -> None:
    try:
        Path(where).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{where} cannot be written: {error.strerror}") from None
