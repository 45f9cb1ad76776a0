"""Operator arguments → problem: the arrays' shapes and dtypes go to ``normalize``.

One builder an operator, with its arguments. They read shapes and dtypes only, so that real, meta
and fake tensors and NumPy arrays all pass; ``check_indices`` alone looks at values.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from . import arrays, checks, normalize, normalize_pool
from .errors import IndexRangeError, UnsupportedError
from .moves import ColumnProblem, IndexProblem, PadProblem
from .ops import OPS
from .problem import ConvProblem, PoolProblem


def _names(**named: Any) -> dict[str, str | None]:
    return {k: None if v is None else arrays.dtype_name(v) for k, v in named.items()}


def _pairs(flat: Any) -> tuple[tuple[int, int], ...]:
    return tuple((flat[i], flat[i + 1]) for i in range(0, len(flat), 2))


def conv(
    x, w, b, op, stride, padding, mode, dilation, output_padding, groups, backend
) -> ConvProblem:
    """``conv`` and ``conv_transpose`` as users call them."""
    dtype = checks.dtypes(op, **_names(input=x, weight=w, bias=b))
    shapes = x.shape, w.shape, None if b is None else b.shape
    if OPS[op].kind == "conv_transpose":
        return normalize.conv_transpose(
            op, *shapes, dtype, stride, padding, output_padding, groups, dilation
        )
    return normalize.conv(op, *shapes, dtype, stride, mode or padding, dilation, groups)


def conv_fprop(x, w, y_size, stride, padding, dilation, groups, backend) -> ConvProblem:
    """y from x, whose size is given: a derivative may ask for more or fewer positions."""
    y = (*x.shape[: x.ndim - len(stride) - 1], w.shape[0], *y_size)
    return _geometry(x.shape, w.shape, y, w, stride, padding, dilation, groups)


def conv_dgrad(y, w, x_size, stride, padding, dilation, groups, backend) -> ConvProblem:
    """x of the given size from y."""
    x = (*y.shape[: y.ndim - len(stride) - 1], w.shape[1] * groups, *x_size)
    return _geometry(x, w.shape, y.shape, w, stride, padding, dilation, groups)


def conv_wgrad(y, x, kernel, stride, padding, dilation, groups, backend) -> ConvProblem:
    """The weight's gradient, of the given kernel."""
    channel = x.ndim - len(stride) - 1
    w = (y.shape[channel], x.shape[channel] // groups, *kernel)
    return _geometry(x.shape, w, y.shape, x, stride, padding, dilation, groups)


def conv_bgrad(y, rank, backend) -> ConvProblem:
    """The bias's gradient: a geometry of which only y matters."""
    one = (1,) * rank
    x = (*y.shape[: y.ndim - rank - 1], 1, *one)
    return _geometry(
        x, (y.shape[y.ndim - rank - 1], 1, *one), y.shape, y, one, (0, 0) * rank, one, 1
    )


def _geometry(x, w, y, like, stride, padding, dilation, groups) -> ConvProblem:
    dtype = arrays.dtype_name(like)
    return normalize.geometry(
        len(stride), x, w, y, dtype, stride, _pairs(padding), dilation, groups
    )


def pool(
    x,
    op,
    kernel,
    stride,
    padding,
    dilation,
    ceil_mode,
    count_include_pad,
    divisor,
    output_size,
    backend,
) -> PoolProblem:
    """Regular pooling or, where the kernel is empty, adaptive pooling."""
    dtype = checks.dtypes(op, input=arrays.dtype_name(x))
    if not kernel:
        return normalize_pool.adaptive(op, tuple(x.shape), dtype, tuple(output_size))
    return normalize_pool.pool(
        op, tuple(x.shape), dtype, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation),
        ceil_mode, count_include_pad, divisor,
    )  # fmt: skip


def avg_pool_backward(y, x_shape, *rest) -> PoolProblem:
    """The averaging whose output's gradient is ``y``."""
    shaped = _Shape(tuple(x_shape), y.dtype)
    problem = pool(shaped, *rest)
    checks.same_shape(problem.op, "the output's gradient", tuple(y.shape), problem.output_shape)
    return problem


@dataclass(frozen=True)
class _Shape:
    """Stands for an array of which only shape and dtype matter."""

    shape: tuple[int, ...]
    dtype: Any


def max_unpool(x, index, op, kernel, stride, padding, output_size, backend) -> IndexProblem:
    """Unpooling as users call it."""
    dtype = checks.dtypes(op, input=arrays.dtype_name(x))
    shapes = tuple(x.shape), tuple(index.shape)
    return normalize_pool.unpool(
        op, *shapes, dtype, arrays.dtype_name(index), kernel, stride, padding, output_size
    )


def check_indices(problem: IndexProblem, x: Any, index: Any) -> None:
    """Refuse indices that point outside the output; looks at their values."""
    limit = 1
    for size in problem.large:
        limit *= size
    if index.shape.numel() if arrays.is_torch(index) else index.size:
        if _is_captured(index):
            raise UnsupportedError(
                f"{problem.op}: the CPU looks at its indices, and cannot while a CUDA graph is "
                "captured (leave unpooling out of the graph)"
            )
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= limit:
            bad = low if low < 0 else high
            raise IndexRangeError(
                f"{problem.op}: index {bad} is outside the output {checks.show(problem.large)}, "
                f"which has {limit} "
                f"cells a channel (indices {checks.show(index.shape)})"
            )


def _is_captured(x: Any) -> bool:
    """Whether what is done to an array now becomes part of a CUDA graph."""
    if not (arrays.is_torch(x) and x.is_cuda):
        return False
    return bool(sys.modules["torch"].cuda.is_current_stream_capturing())


def gather(x, index, rank, backend) -> IndexProblem:
    """Elements of the large side, picked by index."""
    lead = tuple(x.shape[: x.ndim - rank])
    small, large = tuple(index.shape[x.ndim - rank :]), tuple(x.shape[x.ndim - rank :])
    return IndexProblem(f"max_unpool{rank}d", lead, small, large, arrays.dtype_name(x))


def scatter_add(y, index, large, backend) -> IndexProblem:
    """Elements of the small side, summed into a large side of the given size."""
    rank = len(large)
    checks.same_shape(
        "max_pool backward", "the output's gradient", tuple(y.shape), tuple(index.shape)
    )
    lead, small = tuple(y.shape[: y.ndim - rank]), tuple(y.shape[y.ndim - rank :])
    return IndexProblem(f"max_unpool{rank}d", lead, small, tuple(large), arrays.dtype_name(y))


def unfold(x, kernel, dilation, padding, stride, backend) -> ColumnProblem:
    """Image to columns."""
    dtype = checks.dtypes("unfold", input=arrays.dtype_name(x))
    return normalize_pool.columns(
        "unfold", tuple(x.shape), dtype, kernel, dilation, padding, stride
    )


def fold(x, output_size, kernel, dilation, padding, stride, backend) -> ColumnProblem:
    """Columns to an image of the given size."""
    dtype = checks.dtypes("fold", input=arrays.dtype_name(x))
    return normalize_pool.columns(
        "fold", tuple(x.shape), dtype, kernel, dilation, padding, stride, output_size
    )


def pad(x, pad, mode, value, backend) -> PadProblem:
    """Padding as users call it."""
    dtype = checks.dtypes("pad", input=arrays.dtype_name(x))
    return normalize_pool.pad(tuple(x.shape), dtype, pad, mode, value)


def pad_backward(y, x_shape, pad, mode, backend) -> PadProblem:
    """The padding whose output's gradient is ``y``."""
    problem = normalize_pool.pad(tuple(x_shape), arrays.dtype_name(y), pad, mode)
    checks.same_shape("pad backward", "the output's gradient", tuple(y.shape), problem.output_shape)
    return problem
