"""The nets that refconv ships, by name: its examples, each with the input it is usually given."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

#: What a file of a net says of itself: ``refconv explain lenet.py:LeNet --in 3x32x32``.
_USAGE = re.compile(r"refconv \w+ \w+\.py:(?P<name>\w+) --in (?P<shape>\w+)")


@cache
def nets() -> dict[str, tuple[Path, str, str]]:
    """Name → file, class and usual input.

    Example:
        >>> nets()["lenet"][1:]
        ('LeNet', '3x32x32')
    """
    made = {}
    for file in sorted(_folder().glob("*.py")):
        found = _USAGE.search(file.read_text("utf-8"))
        if found:
            made[file.stem] = (file, found["name"], found["shape"])
    return made


def _folder() -> Path:
    """The examples: those installed with refconv, else those of the checkout around it."""
    found = find_spec("refconv.examples")
    if found is not None and found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(__file__).resolve().parents[1] / "docs" / "examples"
