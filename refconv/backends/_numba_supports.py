"""What the Numba algorithms of convolution cannot run: None, or the reason in a sentence."""

from __future__ import annotations

from typing import Any

#: What vectors hold; the halves arrive as float32.
REAL = ("float64", "float32", "bfloat16", "float16")


def real(problem: Any) -> str | None:
    """Vectors of real numbers are all that the register tiles know."""
    return None if problem.dtype in REAL else f"it sums real numbers, not {problem.dtype}"


def winograd(problem: Any) -> str | None:
    """Phases that are 2 x 2 or 3 x 3 with stride 1."""
    reason = real(problem)
    if reason is not None:
        return reason
    if problem.rank != 2:
        return f"it is 2-D, and this is {problem.rank}-D"
    if problem.groups != 1:
        return f"it has no groups, and this has {problem.groups}"
    kernel, stride, dilation = set(problem.kernel), set(problem.stride), set(problem.dilation)
    if len(kernel) + len(stride) + len(dilation) != 3:
        return "its kernel, stride and dilation are the same along both axes"
    (k,), (s,), (d,) = kernel, stride, dilation
    if s > 1 and d > 1:
        return f"it has stride or dilation, not both (here {s} and {d})"
    if k not in (2 * s, 3 * s):
        return f"its kernel is 2 or 3 times the stride, and {k} is not that of {s}"
    return None


def depthwise(problem: Any) -> str | None:
    """One input channel a group."""
    reason = real(problem)
    if reason is None and problem.call("conv_fprop")[0][1][1] != 1:
        reason = f"it has one input channel a group, not {problem.call('conv_fprop')[0][1][1]}"
    return reason
