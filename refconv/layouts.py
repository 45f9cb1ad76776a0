"""torch's memory-format rules: when is a result channels_last? Each ``Operator.layout`` is one."""

from __future__ import annotations

from typing import Any

from . import arrays
from .moves import PadProblem
from .ops import OPS
from .problem import ConvProblem

ONEDNN = ("float32", "bfloat16", "float16", "complex64", "complex32")


def of_conv(problem: ConvProblem, *tensors: Any) -> bool:
    """Convolution: if any operand is; in 3-D only for the dtypes that oneDNN computes."""
    rank = problem.rank
    if rank == 3 and problem.dtype not in ONEDNN:
        return False
    return any(_is_channels_last(t, rank) for t in tensors if t is not None)


def _is_channels_last(t: Any, rank: int) -> bool:
    """In 1-D there is no such format, and in 3-D torch gives it to batches only."""
    batched = t.dim() == rank + 2
    if rank == 1 or (rank == 3 and not batched):
        return False
    return arrays.suggests_channels_last(t if batched else t.unsqueeze(0))


def of_input(problem: Any, x: Any, *others: Any) -> bool:
    """Ops of one input: if it is, in the ranks that the op's row names."""
    rank = OPS[problem.op].rank or x.dim() - 2
    return rank in OPS[problem.op].channels_last and x.dim() > rank and _is_channels_last(x, rank)


def of_pad(problem: PadProblem, x: Any) -> bool:
    """Padding: if the input is; but a circular pad is built contiguous."""
    return problem.mode != "circular" and x.dim() in (4, 5) and arrays.suggests_channels_last(x)


def never(*args: Any) -> bool:
    """The result is contiguous whatever the input was."""
    return False
