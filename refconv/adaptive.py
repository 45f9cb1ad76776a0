"""The adaptive pools of torch.nn.functional: the output size is given, the windows follow.

Window ``o`` of an axis runs from ``floor(o * in / out)`` to ``ceil((o + 1) * in / out)``. Shapes as
in ``pooling``.
"""

from __future__ import annotations

from typing import Any

from . import arrays, checks
from .ops import OPS
from .plans import call

Sizes = int | None | tuple[int | None, ...] | list[int | None]


def adaptive_avg_pool1d(input: Any, output_size: Sizes, *, backend: str = "auto") -> Any:
    """Mean of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_avg_pool1d.
    """
    return _adaptive("avg_pool", input, "adaptive_avg_pool1d", output_size, False, backend)


def adaptive_max_pool1d(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """Largest element of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_max_pool1d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    op = "adaptive_max_pool1d"
    return _adaptive(operator, input, op, output_size, return_indices, backend)


def adaptive_max_pool1d_with_indices(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """``adaptive_max_pool1d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    return _adaptive("max_pool", input, "adaptive_max_pool1d", output_size, True, backend)


def adaptive_avg_pool2d(input: Any, output_size: Sizes, *, backend: str = "auto") -> Any:
    """Mean of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_avg_pool2d.
    """
    return _adaptive("avg_pool", input, "adaptive_avg_pool2d", output_size, False, backend)


def adaptive_max_pool2d(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """Largest element of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_max_pool2d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    op = "adaptive_max_pool2d"
    return _adaptive(operator, input, op, output_size, return_indices, backend)


def adaptive_max_pool2d_with_indices(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """``adaptive_max_pool2d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    return _adaptive("max_pool", input, "adaptive_max_pool2d", output_size, True, backend)


def adaptive_avg_pool3d(input: Any, output_size: Sizes, *, backend: str = "auto") -> Any:
    """Mean of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_avg_pool3d.
    """
    return _adaptive("avg_pool", input, "adaptive_avg_pool3d", output_size, False, backend)


def adaptive_max_pool3d(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """Largest element of windows that divide the input into ``output_size`` (None keeps an axis).

    Source: torch adaptive_max_pool3d.
    """
    operator = "max_pool" if return_indices else "max_pool_values"
    op = "adaptive_max_pool3d"
    return _adaptive(operator, input, op, output_size, return_indices, backend)


def adaptive_max_pool3d_with_indices(
    input: Any, output_size: Sizes, return_indices: bool = False, *, backend: str = "auto"
) -> Any:
    """``adaptive_max_pool3d`` with its indices, whatever ``return_indices`` says (as in torch)."""
    return _adaptive("max_pool", input, "adaptive_max_pool3d", output_size, True, backend)


def _adaptive(operator, x, op, output_size, indices, backend):
    if isinstance(output_size, checks.SEQUENCE) and None in output_size:
        output_size = _with_kept_axes(op, x, output_size)
    return call(operator, _arguments, ("input",), (x,), (op, output_size, indices, backend))


def _with_kept_axes(op, x, sizes):
    """The input's own size where none is given; as it was where that is refused later."""
    arrays.library(op, input=x)
    rank = OPS[op].rank
    if rank == 1 or len(sizes) != rank or x.ndim < rank:
        return sizes
    whole = x.shape[x.ndim - rank :]
    return tuple(w if s is None else s for s, w in zip(sizes, whole, strict=True))


def _arguments(op, output_size, indices, backend):
    given = isinstance(output_size, checks.SEQUENCE)
    sizes = output_size if given else (output_size,) * OPS[op].rank
    sizes = tuple(checks.flat(op, "output_size", sizes))
    none: tuple[int, ...] = ()
    return op, none, none, none, none, False, True, None, sizes, backend
