"""``refconv learn``: write the page in which every number can be looked into, and open it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..notation import near

EPILOG = "Example: refconv learn, or refconv learn -o lenet.html --no-open --preset lenet --lang zh"


def command(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where the page is written.")
    ] = Path("refconv-learn.html"),
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Only write it; do not open a browser.")
    ] = False,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="cs231n, lenet, mnist, netd or discriminator.")
    ] = "cs231n",
    lang: Annotated[
        str | None, typer.Option(metavar="LANG", help="en or zh; else the browser's.")
    ] = None,
) -> int:
    """Write one HTML file, which needs no network, and open it: step through a convolution."""
    from ..learn.page import build

    if preset not in build.presets():
        raise UsageError(f"learn: {preset!r} is not a preset{near(preset, build.presets())}")
    if lang not in (None, *build.LANGUAGES):
        raise UsageError(f"learn: --lang must be en or zh, got {lang!r}")
    start = f"preset={preset}" + (f"&lang={lang}" if lang else "")
    html = build.page(start)
    try:
        output.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"learn: {output} cannot be written: {error.strerror}") from None
    print(output)
    if not no_open:
        import webbrowser

        opened = webbrowser.open(output.resolve().as_uri())
        if not opened:
            print("refconv: no browser found here; open the file by hand", file=sys.stderr)
    return 0
