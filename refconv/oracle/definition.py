"""What each cell of a result is, written from the definitions of the operations: elements that are
moved, or ``Sums``.

Where cells are read is said by ``tables``; a derivative reads its operation's table from the other
end. Nothing is computed here but selections (and an integer average's divisions).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, prod
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..moves import ColumnProblem, IndexProblem, PadProblem
from ..problem import ConvProblem, PoolProblem
from . import tables

#: Arrays by name, as float64, complex128 or int64.
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sums:
    """``result[b, r, p] = (start[g, r] + sum over c, t of left[g, r, c, t] * right[b, c, table[t,
    p]]) / divisor[p]`` with g = b % G; there is no term where the table is -1.

    Args:
        shape: of the result as the user has it: (B, R, P) in the same order.

    Shapes:
        left (G, R, C, T)   right (B, C, I)   table (T, P)   start (G, R)   divisor (P,)
    """

    left: np.ndarray
    right: np.ndarray
    table: np.ndarray
    start: np.ndarray
    divisor: np.ndarray
    shape: tuple[int, ...]


Results = dict[str, Sums | np.ndarray]


def forward(problem: Any, x: Values) -> Results:
    """The results of the op itself.

    Raises:
        UnsupportedError: a result is no sum (lp_pool).
    """
    if isinstance(problem, ConvProblem):
        run = _transposed_conv if problem.transposed else _conv
        return {"output": run(problem, x["input"], x["weight"], x.get("bias"))}
    if isinstance(problem, PoolProblem):
        if problem.norm is not None:
            raise UnsupportedError(
                f"{problem.op}: the root of a sum of powers (norm {problem.norm}) has no exact "
                "result here; judge it with oracle.reference and its bound"
            )
        if problem.forward_slot == "max_pool":
            best, at = _largest(problem, x["input"])
            return {"output": best, "indices": at}
        return {"output": _averages(problem, x["input"])}
    if isinstance(problem, IndexProblem):
        return {"output": _unpool(problem, x["input"], x["indices"])}
    if isinstance(problem, PadProblem):
        return {"output": _pad(problem, x["input"])}
    return {"output": (_unfold if problem.op == "unfold" else _fold)(problem, x["input"])}


def backward(problem: Any, x: Values, dy: np.ndarray) -> Results:
    """The gradients for the gradient ``dy`` of the output (torch's convention if complex)."""
    if isinstance(problem, ConvProblem):
        run = _conv if problem.transposed else _transposed_conv
        pair = (np.conj(x["input"]), dy) if problem.transposed else (dy, np.conj(x["input"]))
        found: Results = {
            "grad_input": run(problem, dy, np.conj(x["weight"]), None),
            "grad_weight": _weight_gradient(problem, *pair),
        }
        if "bias" in x:
            found["grad_bias"] = _bias_gradient(problem, dy)
        return found
    if isinstance(problem, PoolProblem):
        if problem.forward_slot == "max_pool":
            return {"grad_input": _largest_back(problem, _largest(problem, x["input"])[1], dy)}
        return {"grad_input": _averages_back(problem, dy)}
    if isinstance(problem, IndexProblem):
        return {"grad_input": _unpool_back(problem, dy, x["indices"])}
    if isinstance(problem, PadProblem):
        return {"grad_input": _pad_back(problem, dy)}
    return {"grad_input": (_fold if problem.op == "unfold" else _unfold)(problem, dy)}


def _plain(right: np.ndarray, table: np.ndarray, shape: tuple[int, ...], **more: Any) -> Sums:
    """Sums without factors and divisors, except for those given."""
    dtype = np.dtype(np.int64 if right.dtype.kind == "i" else np.float64)
    own = {
        "left": np.ones((1, 1, right.shape[1], len(table)), dtype),
        "start": np.zeros((1, 1), dtype),
        "divisor": np.ones(table.shape[1], np.int64),
    }
    return Sums(right=right, table=table, shape=shape, **(own | more))


# Convolution. ``x`` is the large side and ``y`` the small one, also for a transposed op.


def _sizes(problem: ConvProblem) -> tuple[int, int, int, int, int, int]:
    """N, G, channels of x and of y in a group, cells of x and of y."""
    n, g = 1 if problem.batch is None else problem.batch, problem.groups
    c, k = problem.in_channels // g, problem.out_channels // g
    x, y = prod(problem.in_size), prod(problem.out_size)
    return (n, g, k, c, y, x) if problem.transposed else (n, g, c, k, x, y)


def _conv(problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Sums:
    """A row is an output channel; the channels of x are summed."""
    n, g, c, k, x_size, _ = _sizes(problem)
    table = tables.of_conv(problem)
    return _plain(
        x.reshape(n * g, c, x_size),
        table,
        problem.y_shape,
        left=w.reshape(g, k, c, len(table)),
        start=np.zeros((g, k), w.dtype) if b is None else b.reshape(g, k),
    )


def _transposed_conv(
    problem: ConvProblem, y: np.ndarray, w: np.ndarray, b: np.ndarray | None
) -> Sums:
    """A row is a channel of x; the channels of y are summed."""
    n, g, c, k, x_size, y_size = _sizes(problem)
    table = tables.turned(tables.of_conv(problem), x_size)
    return _plain(
        y.reshape(n * g, k, y_size),
        table,
        problem.x_shape,
        left=w.reshape(g, k, c, len(table)).swapaxes(1, 2),
        start=np.zeros((g, c), w.dtype) if b is None else b.reshape(g, c),
    )


def _weight_gradient(problem: ConvProblem, y: np.ndarray, x: np.ndarray) -> Sums:
    """A row is a channel of y, a position a channel of x and a tap; images and windows are
    summed.
    """
    n, g, c, k, x_size, y_size = _sizes(problem)
    table = tables.of_conv(problem).T[:, None, :]
    table = np.where(table < 0, -1, table + x_size * np.arange(c)[:, None])
    return _plain(
        x.reshape(n, g, c * x_size).swapaxes(0, 1),
        table.reshape(y_size, -1),
        problem.weight_shape,
        left=y.reshape(n, g, k, y_size).transpose(1, 2, 0, 3),
        start=np.zeros((g, k), y.dtype),
    )


def _bias_gradient(problem: ConvProblem, dy: np.ndarray) -> Sums:
    """Everything but the channel is summed."""
    n, channels = 1 if problem.batch is None else problem.batch, problem.out_channels
    size = prod(problem.out_size)
    table = np.arange(channels) * size + np.arange(size)[:, None]
    return _plain(dy.reshape(1, n, channels * size), table, (channels,))


# Pooling


def _largest(problem: PoolProblem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first of the largest in scan order, or the last NaN, and its place; -1 without a tap."""
    planes = x.reshape(prod(problem.lead), prod(problem.in_size))
    lowest = -np.inf if x.dtype.kind == "f" else int(np.iinfo(problem.dtype).min)
    best = np.full((len(planes), prod(problem.out_size)), lowest, x.dtype)
    at = np.full(best.shape, -1)
    for places in tables.of_pool(problem):
        value = planes[:, places]
        wins = (places >= 0) & ((at < 0) | (value > best) | np.isnan(value))
        best, at = np.where(wins, value, best), np.where(wins, places, at)
    return best.reshape(problem.output_shape), at.reshape(problem.output_shape)


def _largest_back(problem: PoolProblem, at: np.ndarray, dy: np.ndarray) -> Sums:
    """Each gradient is added where its window's largest was."""
    planes, size = prod(problem.lead), prod(problem.in_size)
    at = at.reshape(planes, prod(problem.out_size))
    target = np.where(at < 0, -1, at + size * np.arange(planes)[:, None])
    table = tables.visitors(target, planes * size)
    return _plain(dy.reshape(1, 1, dy.size), table, problem.input_shape)


def _averages(problem: PoolProblem, x: np.ndarray) -> Sums:
    planes = x.reshape(prod(problem.lead), 1, prod(problem.in_size))
    divisor = tables.divisors(problem)
    return _plain(planes, tables.of_pool(problem), problem.output_shape, divisor=divisor)


def _averages_back(problem: PoolProblem, dy: np.ndarray) -> Sums:
    """Windows with the same divisor are a channel; factors bring the divisors to a common one."""
    windows, size = prod(problem.out_size), prod(problem.in_size)
    planes, divisor = dy.reshape(prod(problem.lead), 1, windows), tables.divisors(problem)
    found = tables.visitors(tables.of_pool(problem), size)
    table = np.where(found < 0, -1, found % max(windows, 1))
    if dy.dtype.kind == "i":  # whole numbers are divided before they are added
        return _plain(towards_zero(planes, divisor), table, problem.input_shape)
    kinds = np.unique(divisor)
    common = lcm(*kinds.tolist())
    if common.bit_length() > 53:
        raise UnsupportedError(
            f"{problem.op}: the common multiple {common} of the {len(kinds)} divisors of its "
            "windows needs more than 53 bits; judge its gradient with oracle.reference and its "
            "bound"
        )
    factors = (common // kinds).astype(np.float64)[:, None]
    return _plain(
        np.where(divisor == kinds[:, None], planes, 0),
        table,
        problem.input_shape,
        left=np.broadcast_to(factors, (1, 1, len(kinds), len(table))),
        divisor=np.full(size, common),
    )


def towards_zero(total: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """Integer division as in C."""
    quotient = np.abs(total) // np.abs(divisor)
    return np.where((total < 0) == (divisor < 0), quotient, -quotient)


# Moves, and the sums that are their derivatives


def _unfold(problem: ColumnProblem, image: np.ndarray) -> np.ndarray:
    table = tables.of_columns(problem)
    planes = image.reshape(-1 if image.size else 0, prod(problem.size))
    return np.where(table >= 0, planes[:, table], 0).reshape(problem.column_shape)


def _fold(problem: ColumnProblem, columns: np.ndarray) -> Sums:
    table = tables.of_columns(problem)
    windows = table.shape[1]
    back = tables.turned(table, prod(problem.size))
    back = np.where(back < 0, -1, back + windows * np.arange(len(back))[:, None])
    planes = columns.reshape(-1 if columns.size else 0, 1, len(table) * windows)
    return _plain(planes, back, problem.image_shape)


def _pad(problem: PadProblem, x: np.ndarray) -> np.ndarray:
    lead, source = tables.of_pad(problem)
    planes = x.reshape(prod(problem.shape[:lead]), prod(problem.shape[lead:]))
    value = np.asarray(problem.value).astype(x.dtype)
    return np.where(source >= 0, planes[:, source], value).reshape(problem.output_shape)


def _pad_back(problem: PadProblem, dy: np.ndarray) -> Sums:
    lead, source = tables.of_pad(problem)
    planes = dy.reshape(prod(problem.shape[:lead]), 1, source.size)
    table = tables.visitors(source, prod(problem.shape[lead:]))
    return _plain(planes, table, problem.shape)


def _unpool(problem: IndexProblem, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Of equal indices the last one stays."""
    planes, small = prod(problem.lead), prod(problem.small)
    y = np.zeros((planes, prod(problem.large)), x.dtype)
    for row, places, values in zip(
        y, at.reshape(planes, small), x.reshape(planes, small), strict=True
    ):
        row[places] = values
    return y.reshape(problem.output_shape)


def _unpool_back(problem: IndexProblem, dy: np.ndarray, at: np.ndarray) -> np.ndarray:
    planes, small = prod(problem.lead), prod(problem.small)
    rows = dy.reshape(planes, prod(problem.large))
    found = np.take_along_axis(rows, at.reshape(planes, small), axis=1)
    return found.reshape((*problem.lead, *problem.small))
