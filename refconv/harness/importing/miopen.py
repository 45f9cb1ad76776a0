"""Files of MIOpenDriver commands, one a line, as in MIOpen's ``test/perf_models`` and in shell
scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ... import notation_miopen
from ...errors import RefconvError
from .reading import Entry


def entries(path: Path, text: str, dtype: str) -> Iterator[Entry]:
    """The problems of a file's commands, in its order; a backslash at a line's end joins lines."""
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = re.split(r"\s#|^\s*#", line)[0].strip()
        first = first if begun else number
        begun += line.removesuffix("\\")
        if not line.endswith("\\") and begun.strip():
            yield _entry(f"line {first}", begun.strip(), dtype)
            begun = ""


def _entry(where: str, line: str, dtype: str) -> Entry:
    if not notation_miopen.looks_like(line):
        return Entry(where, line, "no MIOpenDriver command")
    found = re.search(r"\$\{?\w+\}?(?!\S*MIOpenDriver)", line)
    if found:
        return Entry(where, line, f"only a shell knows what {found[0]} stands for")
    try:
        return Entry(where, line, notation_miopen.parse(line, dtype=dtype))
    except RefconvError as error:
        reason = str(error).replace(f" in {line!r}", "")
        return Entry(where, line, reason)
