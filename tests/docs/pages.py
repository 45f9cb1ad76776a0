"""Pages under docs as the tests read them: front matter, fenced blocks, quotations of source."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LEARN, CHINESE = DOCS / "learn", DOCS / "zh" / "learn"
FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"^ *```\{literalinclude\} (\S+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def front(text: str) -> dict[str, str]:
    """What stands between the first two lines of dashes."""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return dict(line.split(": ", 1) for line in found[1].splitlines()) if found else {}


def chapters(folder: Path = LEARN) -> list[Path]:
    """The pages that open a file."""
    return sorted(p for p in folder.glob("*.md") if "opens" in front(p.read_text()))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return [dedent(m[3]) for m in FENCE.finditer(text) if m[2] == language]


@dataclass(frozen=True)
class Quotation:
    """A ``literalinclude``: the file, as seen from the page, and its options."""

    path: Path
    options: dict[str, str]

    def lines(self) -> list[str]:
        """The lines that it shows.

        Raises:
            AssertionError: what it names is not in the file.
        """
        text = self.path.read_text()
        lines = text.splitlines()
        if name := self.options.get("pyobject"):
            body: list[ast.stmt] = ast.parse(text).body
            for part in name.split("."):
                found = [n for n in body if getattr(n, "name", None) == part]
                assert found, f"{self.path.name} has no {name}"
                body = getattr(found[0], "body", [])
            lines = lines[found[0].lineno - 1 : found[0].end_lineno]
        if start := self.options.get("start-at"):
            at = next((i for i, line in enumerate(lines) if start in line), None)
            assert at is not None, f"{self.path.name}: no line has {start!r}"
            lines = lines[at:]
        for option, kept in (("end-at", 1), ("end-before", 0)):
            if end := self.options.get(option):
                at = next((i for i, line in enumerate(lines) if end in line), None)
                assert at is not None, f"{self.path.name}: no line has {end!r} behind the start"
                lines = lines[: at + kept]
        return lines


def quotations(page: Path) -> list[Quotation]:
    """What a page quotes."""
    found = []
    for path, rest in QUOTE.findall(page.read_text()):
        options = dict(re.findall(r":([\w-]+): *(.*)", rest))
        options = {name: value.strip('"') for name, value in options.items()}
        found.append(Quotation((page.parent / path).resolve(), options))
    return found
