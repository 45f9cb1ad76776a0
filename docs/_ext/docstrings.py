"""refconv's docstrings as reStructuredText, for autodoc.

They are written to be read in a terminal: ``Shapes:`` holds one line an array, and a ``*`` or ``|``
is what it looks like. Here ``Shapes:`` becomes a block of its own, and what reStructuredText would
take for markup is escaped; napoleon does the other sections.
"""

from __future__ import annotations

import re
from typing import Any

#: Literal text, or ``*emphasis*`` of one word: what is left as it is.
KEPT = re.compile(r"(``.*?``|(?<![\w*])\*\w+\*(?![\w*]))")


def escaped(line: str) -> str:
    r"""A line in which no ``*``, ``|`` or trailing ``_`` is taken for markup.

    Example:
        >>> print(escaped("the sum of |x| of ``*in``, *every* one of *out"))
        the sum of \|x\| of ``*in``, *every* one of \*out
    """
    parts = KEPT.split(line)
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def indent(line: str) -> int:
    """Spaces before the first letter."""
    return len(line) - len(line.lstrip())


def converted(lines: list[str]) -> list[str]:
    r"""A docstring's lines, ``Shapes:`` as a literal block, the rest escaped.

    Example:
        >>> print("\n".join(converted(["Sum.", "", "Shapes: x (N, *in), y (N,)."])))
        Sum.
        <BLANKLINE>
        **Shapes**
        <BLANKLINE>
        .. code-block:: text
        <BLANKLINE>
           x (N, *in), y (N,)
        <BLANKLINE>
    """
    made: list[str] = []
    inside = False  # of a block that is shown as it is
    at = 0
    while at < len(lines):
        line = lines[at]
        head = re.fullmatch(r"(\s*)Shapes?:\s*(.*)", line)
        if head and "``" not in head[2]:  # which is prose, as "as in ``fold``"
            shown, margin = [head[2]] if head[2] else [], indent(line)
            at += 1
            while at < len(lines) and lines[at].strip() and indent(lines[at]) > margin:
                shown.append(lines[at].strip())
                at += 1
            pad = head[1]
            made += [f"{pad}**Shapes**", "", f"{pad}.. code-block:: text", ""]
            made += [f"{pad}   {text}" for text in (*shown[:-1], shown[-1].rstrip("."))]
            made.append("")
            continue
        if line.lstrip().startswith(">>>"):
            inside = True
        elif not line.strip():
            inside = False
        made.append(line if inside else escaped(line))
        at += 1
    return made


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """autodoc's hook, before napoleon's."""
    lines[:] = converted(lines)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True}
