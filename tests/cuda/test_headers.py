"""Every step's file says what is predicted of it, and whether a GPU has measured it."""

from __future__ import annotations

import re

import pytest

from refconv.backends import _cuda_source as source

FILES = sorted(path.name for path in source.folder().glob("*.cu"))
#: What is said → how it is known.
SAID = {
    "what moves": r"\b(reads?|written|loads?|traffic|moves|comes|DRAM)\b",
    "arithmetic": r"GFLOP|multiply-adds?|additions?|instructions|divisions|taps|compare",
    "occupancy": r"[Oo]ccupancy|(blocks?|warps?|\d) of \d+|threads a multiprocessor",
    "a unit": r"\d (MB|GB|us|ms|KiB)|\bonce\b|times",
}


def head(text: str) -> str:
    """The comment that a file begins with, as one line."""
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    return " ".join(line.removeprefix("//").strip() for line in lines[:end])


def missing(text: str) -> list[str]:
    """What a file's head does not say."""
    _, found, after = head(text).partition("Predicted")
    predicted, measured, rest = after.partition("Measured:")
    lacks = [] if found else ["a prediction"]
    lacks += [what for what, how in SAID.items() if not re.search(how, predicted)]
    if not measured or not re.match(r" (not yet on a GPU|.*\d)", rest):
        lacks.append("what was measured, or that nothing was")
    if "Still slow" not in rest:
        lacks.append("what is still slow")
    return lacks


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_what_is_predicted_and_measured(file: str) -> None:
    assert missing(source.text(file)) == []


def test_silence_is_noticed() -> None:
    text = source.text("conv_1_direct.cu")
    assert missing(text.replace("Occupancy is full", "It is full")) == ["occupancy"]
    assert missing(text.replace("Measured:", "Guessed:"))[-2:] == [
        "what was measured, or that nothing was", "what is still slow"
    ]  # fmt: skip
    assert "a prediction" in missing("// a kernel\n\nvoid f() {}")
