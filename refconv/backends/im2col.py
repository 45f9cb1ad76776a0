"""im2col: NumPy; convolution as a column matrix and one matmul, in tiles that fit a bounded
workspace.
"""

from __future__ import annotations

import inspect
import os
from functools import lru_cache
from typing import Any

import numpy as np

from . import Backend, Kernel, every_slot

#: Bytes a call may use for columns; ``REFCONV_WORKSPACE_MB`` sets it for a process, assignment for
#: a program.
workspace = int(os.environ.get("REFCONV_WORKSPACE_MB", "256")) * 2**20


@lru_cache(maxsize=64)
def takes_workspace(kernel: Kernel) -> bool:
    """Whether ``kernel`` has a workspace to be limited."""
    return "workspace" in inspect.signature(kernel).parameters


def launch(kernel: Kernel, args: tuple[Any, ...]) -> None:
    """Run ``kernel`` inside the workspace, without NumPy's warnings about NaN, Inf and wrapping
    integers.
    """
    limits = {"workspace": workspace} if takes_workspace(kernel) else {}
    with np.errstate(all="ignore"):
        kernel(*args, **limits)


BACKEND = Backend(
    name="im2col",
    about="NumPy column matrix and one matmul",
    kernels="refconv.kernels.im2col",
    device="cpu",
    slots=every_slot("gemm"),
    probe=lambda: None,
    launch=launch,
)
