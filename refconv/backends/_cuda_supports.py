"""What the steps of the CUDA ladder cannot run: None, or the reason in a sentence."""

from __future__ import annotations

from math import prod
from typing import Any

from ._cuda_conv import shared_bytes

#: Bytes of dynamic shared memory that a launch has without asking for more.
SHARED = 48 << 10
REAL = ("float64", "float32", "bfloat16", "float16")


def real(problem: Any) -> str | None:
    """Elements are those of types.cuh."""
    return None if problem.dtype in REAL else f"it sums real numbers, not {problem.dtype}"


def direct(problem: Any) -> str | None:
    """Positions of a plane are counted in 31 bits, blocks in 31."""
    reason = real(problem)
    if reason is not None:
        return reason
    for shape in (problem.x_shape, problem.y_shape):
        plane = prod(shape[len(shape) - problem.rank :])
        if plane >= 2**31:
            return f"a plane has less than 2^31 positions, and this has {plane}"
    return None


def shared(problem: Any) -> str | None:
    """A plane at a time, of which a tile fits what every GPU has without asking."""
    reason = direct(problem)
    if reason is None and problem.rank == 3:
        reason = "it is 1-D and 2-D, and this is 3-D"
    if reason is None and (needed := shared_bytes(problem)) > SHARED:
        reason = f"its tile fits {SHARED >> 10} KiB of shared memory, and this takes {needed} bytes"
    return reason


def arch(gpu: str, wanted: str) -> str | None:
    """Whether a GPU of kind ``gpu`` runs what is written for ``wanted``.

    Example:
        >>> arch("sm_75", "sm_80")
        'it needs sm_80 or newer, and this GPU is sm_75'
        >>> arch("sm_100", "sm_90a")
        'it needs sm_90, and this GPU is sm_100'
    """
    number = int(gpu.removeprefix("sm_"))
    needed = int(wanted.removeprefix("sm_").removesuffix("a"))
    if wanted.endswith("a"):
        return None if number == needed else f"it needs sm_{needed}, and this GPU is {gpu}"
    return None if number >= needed else f"it needs {wanted} or newer, and this GPU is {gpu}"
