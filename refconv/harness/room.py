"""Whether this machine's memory has room for a case's check in float64."""

from __future__ import annotations

from math import prod
from typing import Any

from .. import memory
from ..notation import input_shape
from ..problem import ConvProblem

#: Arrays of the output's and of the input's size that are held at once: values, bounds, candidates.
ARRAYS = 8
#: torch's columns may lie twice in memory: what is freed is kept for the timing.
TWICE = 2


def needed(problem: Any) -> int:
    """About how many bytes the check takes at its height.

    torch's CPU has no direct convolution in float64: it unfolds the whole batch of a group into
    columns, which is by far the most.

    Example:
        >>> from refconv import label
        >>> needed(label.read("conv3d x[1,32,114,130,130] w[64,32,3,3,3]")) >> 30
        34
    """
    elements = prod(input_shape(problem)) + prod(problem.output_shape)
    columns = 0
    if isinstance(problem, ConvProblem):
        filters, *window = problem.weight_shape
        columns = prod(window) * prod(problem.y_shape) // max(filters, 1)
    return 8 * (ARRAYS * elements + TWICE * columns)


def lacking(problem: Any) -> str:
    """Why the check of this problem is not tried here; empty if there is room."""
    free, need = memory.available(), needed(problem)
    if free is None or need <= free:
        return ""
    return f"its check in float64 takes about {memory.gib(need)}, and {memory.gib(free)} are free"
