"""Charts that a page can wear: matplotlib's SVG with its text as text, and every colour a variable
of the page's style, so that one picture is right in the light and in the dark.

What matplotlib writes into ``style`` attributes becomes classes of one style sheet: the page's
policy allows no inline style, and the same words are not repeated a thousand times.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A role → the colour by which it is drawn, which stands for the page's variable of its name.
ROLES = ("ink", "soft", "line", "card", "torch", "ours", "strict", "fast", "other", "bad")
COLOUR = {role: f"#0102{i:02x}" for i, role in enumerate(ROLES)}
STYLE = re.compile(r' style="([^"]*)"')
FONT = re.compile(r"font: ([\d.]+)px[^;]*|font-family:[^;]*;?")
#: Digits that no screen shows.
LONG = re.compile(r"(\d\.\d{2})\d+")
#: matplotlib's own settings.
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "refconv",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.color": COLOUR["ink"],
    "axes.edgecolor": COLOUR["line"],
    "axes.labelcolor": COLOUR["soft"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOUR["soft"],
    "ytick.color": COLOUR["soft"],
    "grid.color": COLOUR["line"],
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}


class Sheet:
    """The classes of all charts of a page."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}
        self._charts = 0

    @property
    def css(self) -> str:
        """The rules."""
        return "\n".join(f".{name}{{{text}}}" for text, name in self._classes.items())

    def inline(self, figure: Figure, title: str) -> str:
        """The figure as an ``svg`` element.

        Args:
            title: for those who do not see it.
        """
        from html import escape

        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, bbox_inches="tight",
                       pad_inches=0.04, metadata={"Date": None})  # fmt: skip
        text = out.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
        text = re.sub(r'<style type="text/css">.*?</style>\s*', "", text, flags=re.DOTALL)
        text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
        text = re.sub(r'<g id="[^"]*">', "<g>", text)
        text = re.sub(r"<[^>]+>", lambda tag: LONG.sub(r"\1", tag[0]), text)
        self._charts += 1
        for attribute in ('id="', 'href="#', "url(#"):
            text = text.replace(attribute, f"{attribute}c{self._charts}-")
        text = STYLE.sub(lambda found: f' class="{self._class(found[1])}"', text)
        width, height = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text).groups()  # type: ignore[union-attr]
        text = re.sub(r' (xmlns:xlink|xmlns|version)="[^"]*"', "", text)
        text = text.replace("xlink:href", "href")
        text = text.replace(f'width="{width}pt" height="{height}pt"', "")
        label = escape(title, quote=True)
        return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()

    def _class(self, style: str) -> str:
        for role, colour in COLOUR.items():
            style = style.replace(colour, f"var(--{role})")
        style = FONT.sub(lambda f: f"font-size: {f[1]}px" if f[1] else "", style)
        style = re.sub(r"\s*([:;])\s*", r"\1", style).strip("; ")
        return self._classes.setdefault(style, f"s{len(self._classes)}")
