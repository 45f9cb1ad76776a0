"""The adaptive pools of torch.nn.functional: the output size is given, the windows follow.

Window ``o`` of an axis runs from ``floor(o * in / out)`` to ``ceil((o + 1) * in / out)``. Shapes as
in ``pooling``.
"""

from __future__ import annotations

from typing import Any

from . import arrays, checks
from .eager import call
from .ops import OPS

Sizes = int | None | tuple[int | None, ...] | list[int | None]


def adaptive_avg_pool1d(input: Any, output_size: Sizes, *, backend: str = "auto") -> Any:
    """Mean of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_avg_pool1d.
    """
    return _adaptive("avg_pool", "adaptive_avg_pool1d", input, output_size, backend)


def adaptive_max_pool1d(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """Largest element of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_max_pool1d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    return _adaptive(operator, "adaptive_max_pool1d", input, output_size, backend)


def adaptive_max_pool1d_with_indices(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """``adaptive_max_pool1d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    return _adaptive("max_pool", "adaptive_max_pool1d", input, output_size, backend)


def adaptive_avg_pool2d(input: Any, output_size: Sizes, *, backend: str = "auto") -> Any:
    """Mean of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_avg_pool2d.
    """
    return _adaptive("avg_pool", "adaptive_avg_pool2d", input, output_size, backend)


def adaptive_max_pool2d(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """Largest element of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_max_pool2d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    return _adaptive(operator, "adaptive_max_pool2d", input, output_size, backend)


def adaptive_max_pool2d_with_indices(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """``adaptive_max_pool2d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    return _adaptive("max_pool", "adaptive_max_pool2d", input, output_size, backend)


def adaptive_avg_pool3d(input: Any, output_size: Sizes, *, backend: str = "auto") -> Any:
    """Mean of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_avg_pool3d.
    """
    return _adaptive("avg_pool", "adaptive_avg_pool3d", input, output_size, backend)


def adaptive_max_pool3d(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """Largest element of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_max_pool3d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    return _adaptive(operator, "adaptive_max_pool3d", input, output_size, backend)


def adaptive_max_pool3d_with_indices(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """``adaptive_max_pool3d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    return _adaptive("max_pool", "adaptive_max_pool3d", input, output_size, backend)


def _adaptive(operator, op, x, output_size, backend):
    rank = OPS[op].rank
    arrays.library(op, input=x)
    sizes = output_size if isinstance(output_size, checks.SEQUENCE) else (output_size,) * rank
    if rank > 1 and sizes is output_size and len(sizes) == rank and x.ndim >= rank:
        whole = x.shape[x.ndim - rank :]
        sizes = [w if s is None else s for s, w in zip(sizes, whole, strict=True)]
    sizes = tuple(checks.flat(op, "output_size", sizes))  # a plan is found by it
    none: tuple[int, ...] = ()
    return call(
        operator, {"input": x}, op, none, none, none, none, False, True, None, sizes, backend
    )
