"""A function that takes torch tensors, as one that a pack's verifier can call with NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import target as targets


def function(spec: str, op: str, dtype: str) -> Callable[..., np.ndarray]:
    """The function that ``spec`` names (``oracle.target``), on NumPy arrays.

    Args:
        dtype: of the case; bfloat16 comes as float32, and goes back so.

    Raises:
        UsageError, UnavailableError: as ``target.load``.
    """
    loaded = targets.load(spec, op)
    wanted = getattr(torch, dtype)

    def call(*arrays: np.ndarray, **arguments: Any) -> np.ndarray:
        given = [torch.from_numpy(a) for a in arrays]
        given = [t.to(wanted) if t.is_floating_point() else t for t in given]
        with torch.no_grad():
            y = loaded.function(*(t.to(loaded.device or "cpu") for t in given), **arguments)
        if not isinstance(y, torch.Tensor):
            raise TypeError(f"it returned a {type(y).__name__}, not a tensor")
        if y.dtype is not wanted:
            raise TypeError(f"it returned {y.dtype}, not {wanted}")
        y = y.detach().cpu()
        return (y.float() if wanted is torch.bfloat16 else y).numpy()

    return call
