"""Every refusal of an argument has a row in the table of messages (tests/contract/test_errors)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ["checks.py", "normalize.py", "normalize_pool.py", "problems.py", "arrays.py"]
TABLE = (ROOT / "tests" / "contract" / "test_errors.py").read_text().replace("\\", "")


def refusals():
    """(file:line, the literal parts of the message) of every error raised about arguments."""
    for name in FILES:
        for node in ast.walk(ast.parse((ROOT / "refconv" / name).read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                parts = [
                    c.value
                    for c in ast.walk(node.exc)
                    if isinstance(c, ast.Constant) and isinstance(c.value, str)
                ]
                yield pytest.param(parts, id=f"{name}:{node.lineno}")


def runs(parts, length=14):
    """Every run of ``length`` characters of a message's literal parts."""
    return [part[i : i + length] for part in parts for i in range(len(part) - length + 1)]


@pytest.mark.parametrize("parts", list(refusals()))
def test_every_refusal_has_a_row(parts):
    """Some words of the message stand in the table that provokes it."""
    assert runs(parts), f"the message has no words: {parts}"
    assert any(run in TABLE for run in runs(parts)), f"no row for: {' … '.join(parts)}"


def test_a_message_without_a_row_is_noticed():
    """The check can fail."""
    assert not any(run in TABLE for run in runs(["{op}: no such message was ever written"]))
