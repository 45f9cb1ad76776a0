"""The operators: what functional calls and autograd registers, one record each, for every library alike.

An operator has a schema, a problem (built from its arguments by ``normalize``) and a slot. Called on NumPy arrays it
runs at once (``Operator.run``); for torch the same function is the body of a custom op, and the same problem gives its
fake kernel's shapes. The first operators are what users call; the rest exist because a derivative needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import arrays, checks, dispatch, normalize, normalize_pool
from .errors import IndexRangeError
from .moves import ColumnProblem, IndexProblem, PadProblem
from .ops import OPS
from .problem import ConvProblem, PoolProblem


@dataclass(frozen=True)
class Operator:
    """One operator.

    Args:
        schema: torch's schema without the name; arrays first, ``str backend`` last.
        arrays: how many of the arguments are arrays.
        problem: the arguments → the problem; every refusal is raised in it.
        slot: problem → the slot that fills it.
        layout: problem and arrays → whether the result is channels_last (torch only).
        check: a look at the arrays' values before they are used (indices).
    """

    schema: str
    arrays: int
    problem: Callable[..., Any]
    slot: Callable[[Any], str]
    layout: Callable[..., bool]
    check: Callable[..., None] = lambda *args: None

    def run(self, *args: Any) -> Any:
        """The operator on real arrays."""
        problem = self.problem(*args)
        given = args[: self.arrays]
        self.check(problem, *given)
        return dispatch.run(
            problem,
            self.slot(problem),
            *given,
            backend=args[-1],
            channels_last=self._layout(problem, given),
        )

    def fake(self, *args: Any) -> Any:
        """Uninitialised tensors of the shapes, dtypes and strides that ``run`` would return; torch only."""
        problem = self.problem(*args)
        given = args[: self.arrays]
        shapes = problem.call(self.slot(problem))[2]
        layout = self._layout(problem, given)
        made = [
            arrays.empty(s, d, given[0], layout)
            for s, d in zip(shapes, [problem.dtype, "int64"], strict=False)
        ]
        return made[0] if len(made) == 1 else tuple(made)

    def _layout(self, problem: Any, given: tuple[Any, ...]) -> bool:
        return arrays.is_torch(given[0]) and self.layout(problem, *given)


def _names(**named: Any) -> dict[str, str | None]:
    return {k: None if v is None else arrays.dtype_name(v) for k, v in named.items()}


def _pairs(flat: Any) -> tuple[tuple[int, int], ...]:
    return tuple((flat[i], flat[i + 1]) for i in range(0, len(flat), 2))


# --- convolution ------------------------------------------------------------------------------------------------------


def _conv(
    x, w, b, op, stride, padding, mode, dilation, output_padding, groups, backend
) -> ConvProblem:
    dtype = checks.dtypes(op, **_names(input=x, weight=w, bias=b))
    shapes = x.shape, w.shape, None if b is None else b.shape
    if OPS[op].kind == "conv_transpose":
        return normalize.conv_transpose(
            op, *shapes, dtype, stride, padding, output_padding, groups, dilation
        )
    return normalize.conv(op, *shapes, dtype, stride, mode or padding, dilation, groups)


def _fprop(x, w, y_size, stride, padding, dilation, groups, backend) -> ConvProblem:
    y = (*x.shape[: x.ndim - len(stride) - 1], w.shape[0], *y_size)
    return _geometry(x.shape, w.shape, y, w, stride, padding, dilation, groups)


def _dgrad(y, w, x_size, stride, padding, dilation, groups, backend) -> ConvProblem:
    x = (*y.shape[: y.ndim - len(stride) - 1], w.shape[1] * groups, *x_size)
    return _geometry(x, w.shape, y.shape, w, stride, padding, dilation, groups)


def _wgrad(y, x, kernel, stride, padding, dilation, groups, backend) -> ConvProblem:
    channel = x.ndim - len(stride) - 1
    w = (y.shape[channel], x.shape[channel] // groups, *kernel)
    return _geometry(x.shape, w, y.shape, x, stride, padding, dilation, groups)


def _bgrad(y, rank, backend) -> ConvProblem:
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


def _conv_layout(problem: ConvProblem, *tensors: Any) -> bool:
    """torch's rule: channels_last if any operand is; in 3-D only for the dtypes that oneDNN computes."""
    rank = problem.rank
    if rank == 3 and problem.dtype not in (
        "float32",
        "bfloat16",
        "float16",
        "complex64",
        "complex32",
    ):
        return False
    return any(_is_channels_last(t, rank) for t in tensors if t is not None)


def _is_channels_last(t: Any, rank: int) -> bool:
    if rank == 1:
        return False
    return arrays.suggests_channels_last(t if t.dim() == rank + 2 else t.unsqueeze(0))


# --- pooling ----------------------------------------------------------------------------------------------------------


def _pool(
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
    dtype = checks.dtypes(op, input=arrays.dtype_name(x))
    if not kernel:
        return normalize_pool.adaptive(op, tuple(x.shape), dtype, tuple(output_size))
    return normalize_pool.pool(
        op, tuple(x.shape), dtype, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation),
        ceil_mode, count_include_pad, divisor,
    )  # fmt: skip


def _avg_backward(y, x_shape, *rest) -> PoolProblem:
    shaped = _Shape(tuple(x_shape), y.dtype)
    problem = _pool(shaped, *rest)
    checks.same_shape(problem.op, "the output's gradient", tuple(y.shape), problem.output_shape)
    return problem


@dataclass(frozen=True)
class _Shape:
    """Stands for an array of which only shape and dtype matter."""

    shape: tuple[int, ...]
    dtype: Any


def _op_layout(problem: Any, x: Any, *others: Any) -> bool:
    """torch's rule for ops of one input: its memory format is kept in the ranks that the op's row names."""
    rank = OPS[problem.op].rank or x.dim() - 2
    return rank in OPS[problem.op].channels_last and x.dim() > rank and _is_channels_last(x, rank)


# --- indexed moves, columns, padding ----------------------------------------------------------------------------------


def _unpool(x, index, op, kernel, stride, padding, output_size, backend) -> IndexProblem:
    dtype = checks.dtypes(op, input=arrays.dtype_name(x))
    shapes = tuple(x.shape), tuple(index.shape)
    return normalize_pool.unpool(
        op, *shapes, dtype, arrays.dtype_name(index), kernel, stride, padding, output_size
    )


def _check_indices(problem: IndexProblem, x: Any, index: Any) -> None:
    limit = 1
    for size in problem.large:
        limit *= size
    if index.shape.numel() if arrays.is_torch(index) else index.size:
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= limit:
            bad = low if low < 0 else high
            raise IndexRangeError(
                f"{problem.op}: index {bad} is outside the output {checks.show(problem.large)}, which has {limit} "
                f"cells a channel (indices {checks.show(index.shape)})"
            )


def _gather(x, index, rank, backend) -> IndexProblem:
    lead = tuple(x.shape[: x.ndim - rank])
    small, large = tuple(index.shape[x.ndim - rank :]), tuple(x.shape[x.ndim - rank :])
    return IndexProblem(f"max_unpool{rank}d", lead, small, large, arrays.dtype_name(x))


def _scatter_add(y, index, large, backend) -> IndexProblem:
    rank = len(large)
    checks.same_shape(
        "max_pool backward", "the output's gradient", tuple(y.shape), tuple(index.shape)
    )
    lead, small = tuple(y.shape[: y.ndim - rank]), tuple(y.shape[y.ndim - rank :])
    return IndexProblem(f"max_unpool{rank}d", lead, small, tuple(large), arrays.dtype_name(y))


def _unfold(x, kernel, dilation, padding, stride, backend) -> ColumnProblem:
    dtype = checks.dtypes("unfold", input=arrays.dtype_name(x))
    return normalize_pool.columns(
        "unfold", tuple(x.shape), dtype, kernel, dilation, padding, stride
    )


def _fold(x, output_size, kernel, dilation, padding, stride, backend) -> ColumnProblem:
    dtype = checks.dtypes("fold", input=arrays.dtype_name(x))
    return normalize_pool.columns(
        "fold", tuple(x.shape), dtype, kernel, dilation, padding, stride, output_size
    )


def _pad(x, pad, mode, value, backend) -> PadProblem:
    dtype = checks.dtypes("pad", input=arrays.dtype_name(x))
    return normalize_pool.pad(tuple(x.shape), dtype, pad, mode, value)


def _pad_backward(y, x_shape, pad, mode, backend) -> PadProblem:
    problem = normalize_pool.pad(tuple(x_shape), arrays.dtype_name(y), pad, mode)
    checks.same_shape("pad backward", "the output's gradient", tuple(y.shape), problem.output_shape)
    return problem


def _pad_layout(problem: PadProblem, x: Any) -> bool:
    if (
        problem.mode == "circular"
        or x.dim() not in (4, 5)
        or problem.rank == 0
        and problem.mode != "constant"
    ):
        return False
    return arrays.suggests_channels_last(x)


# --- the table --------------------------------------------------------------------------------------------------------


def _fixed(slot: str) -> Callable[[Any], str]:
    return lambda problem: slot


def _never(*args: Any) -> bool:
    return False


_GEOMETRY = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups, str backend"
_POOL = (
    "str op, SymInt[] kernel, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool ceil_mode, "
    "bool count_include_pad, SymInt? divisor, SymInt[] output_size, str backend"
)
_COLUMNS = "SymInt[] kernel, SymInt[] dilation, SymInt[] padding, SymInt[] stride, str backend"

OPERATORS: dict[str, Operator] = {
    "conv": Operator(
        "(Tensor x, Tensor w, Tensor? b, str op, SymInt[] stride, SymInt[] padding, str mode, SymInt[] dilation, "
        "SymInt[] output_padding, SymInt groups, str backend) -> Tensor",
        3, _conv, lambda p: p.forward_slot, _conv_layout,
    ),
    "conv_fprop": Operator(
        f"(Tensor x, Tensor w, SymInt[] y_size, {_GEOMETRY}) -> Tensor",
        2, _fprop, _fixed("conv_fprop"), _conv_layout,
    ),
    "conv_dgrad": Operator(
        f"(Tensor y, Tensor w, SymInt[] x_size, {_GEOMETRY}) -> Tensor",
        2, _dgrad, _fixed("conv_dgrad"), _conv_layout,
    ),
    "conv_wgrad": Operator(
        f"(Tensor y, Tensor x, SymInt[] kernel, {_GEOMETRY}) -> Tensor",
        2, _wgrad, _fixed("conv_wgrad"), _conv_layout,
    ),
    "conv_bgrad": Operator(
        "(Tensor y, int rank, str backend) -> Tensor", 1, _bgrad, _fixed("conv_bgrad"), _never
    ),
    "max_pool": Operator(f"(Tensor x, {_POOL}) -> (Tensor, Tensor)", 1, _pool, _fixed("max_pool"), _op_layout),
    "avg_pool": Operator(f"(Tensor x, {_POOL}) -> Tensor", 1, _pool, _fixed("avg_pool"), _op_layout),
    "avg_pool_backward": Operator(
        f"(Tensor y, SymInt[] x_shape, {_POOL}) -> Tensor",
        1, _avg_backward, _fixed("avg_pool_backward"), _op_layout,
    ),
    "max_unpool": Operator(
        "(Tensor x, Tensor index, str op, SymInt[] kernel, SymInt[] stride, SymInt[] padding, SymInt[]? output_size, "
        "str backend) -> Tensor",
        2, _unpool, _fixed("scatter"), _op_layout, _check_indices,
    ),
    "gather": Operator("(Tensor x, Tensor index, int rank, str backend) -> Tensor", 2, _gather, _fixed("gather"), _op_layout),
    "scatter_add": Operator(
        "(Tensor y, Tensor index, SymInt[] large, str backend) -> Tensor",
        2, _scatter_add, _fixed("scatter_add"), _op_layout,
    ),
    "unfold": Operator(f"(Tensor x, {_COLUMNS}) -> Tensor", 1, _unfold, _fixed("unfold"), _never),
    "fold": Operator(f"(Tensor x, SymInt[] output_size, {_COLUMNS}) -> Tensor", 1, _fold, _fixed("fold"), _never),
    "pad": Operator("(Tensor x, SymInt[] pad, str mode, float? value, str backend) -> Tensor", 1, _pad, _fixed("pad"), _pad_layout),
    "pad_backward": Operator(
        "(Tensor y, SymInt[] x_shape, SymInt[] pad, str mode, str backend) -> Tensor",
        1, _pad_backward, _fixed("pad_backward"), _pad_layout,
    ),
}  # fmt: skip
