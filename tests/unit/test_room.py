"""A case that this machine's memory has no room for is skipped, and says why."""

from __future__ import annotations

from math import prod

import pytest

from refconv import label, memory
from refconv.cli import main
from refconv.harness import room
from refconv.notation import input_shape

LARGE = "conv3d x[1,32,114,130,130] w[64,32,3,3,3]"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("conv2d x[2,4,6,6] w[8,4,3,3]", 2 * 4 * 9 * 16),
        ("conv2d x[2,4,6,6] w[8,2,3,3] g2", 2 * 2 * 9 * 16),
        ("conv_transpose2d x[2,4,4,4] w[4,8,3,3]", 2 * 8 * 9 * 16),
        ("max_pool2d x[2,4,6,6] k2", 0),
    ],
)
def test_what_it_takes_is_columns_and_arrays(text, columns):
    """Of a group of the whole batch, as torch unfolds it."""
    problem = label.read(text)
    sizes = (prod(input_shape(problem)), prod(problem.output_shape))
    assert room.needed(problem) == 8 * (room.ARRAYS * sum(sizes) + room.TWICE * columns)


@pytest.mark.parametrize("command", ["compare", "bench"])
def test_a_case_without_room_is_skipped_with_the_figures(command, capsys, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 20 << 30)
    assert main([command, LARGE, "--no-records"]) == 3
    assert "takes about 34.30 GiB, and 20.00 GiB are free" in capsys.readouterr().out
    monkeypatch.setattr(memory, "available", lambda: None)
    assert room.lacking(label.read(LARGE)) == ""
