"""Drawings under docs/images/learn stand in the page itself, so that they are light or dark as it
is, and their text can be searched. On GitHub the same Markdown shows the same file as an image.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes


def inlined(svg: str, alt: str) -> str:
    """An SVG file as part of a page: without what only a file has, with the text it stands for.

    Example:
        >>> inlined('<?xml version="1.0"?><svg width="9"><style>a{}</style><g/></svg>', "a < b")
        '<svg class="refconv-drawing" role="img" aria-label="a &lt; b" width="9"><g/></svg>'
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style>.*?</style>", "", svg, count=1, flags=re.DOTALL)
    label = html.escape(alt, quote=True)
    return svg.replace("<svg", f'<svg class="refconv-drawing" role="img" aria-label="{label}"', 1)


def inline(app: Any, doctree: Any) -> None:
    """Replace images of our own drawings by the drawings."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        if path.parent == Path(app.srcdir) / "images" / "learn":
            made = inlined(path.read_text(), image.get("alt", ""))
            image.replace_self(nodes.raw("", made, format="html"))
            app.env.note_dependency(str(path))


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("doctree-read", inline)
    return {"parallel_read_safe": True}
