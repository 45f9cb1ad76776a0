"""naive: explicit loops in plain Python, the kernels that are read first and believed first."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Backend, Kernel, every_slot


def launch(kernel: Kernel, args: tuple[Any, ...]) -> None:
    """Run ``kernel``; integer sums wrap as in C, and NaN and Inf flow through, without NumPy's
    warnings.
    """
    with np.errstate(all="ignore"):
        kernel(*args)


BACKEND = Backend(
    name="naive",
    about="explicit loops in plain Python",
    kernels="refconv.kernels.naive",
    device="cpu",
    slots=every_slot("loops"),
    probe=lambda: None,
    launch=launch,
)
