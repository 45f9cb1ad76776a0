"""The terms of a sum: how many each element has, and what they are, so that another arithmetic,
order or scale can be tried on them.

``terms`` counts in integers from the geometry. ``Terms`` keeps a slot with its inputs: ``run`` sums
other numbers the same way, ``matrix`` gives the terms themselves of a few elements, in the order in
which a naive loop meets them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from .. import window
from ..moves import ColumnProblem, PadProblem
from ..problem import ConvProblem, PoolProblem

CONV_SUMS = ("conv_fprop", "conv_dgrad", "conv_wgrad")


def terms(problem: Any, slot: str) -> np.ndarray:
    """How many terms each element of a slot's result sums: integer products of one count per axis.

    Shapes: broadcasts to the slot's result, as the user has it.
    """
    if isinstance(problem, ConvProblem):
        return _conv_terms(problem, slot)
    if isinstance(problem, PoolProblem):
        counts = [_pool_counts(problem, slot, axis) for axis in range(problem.rank)]
        return outer(counts)
    if isinstance(problem, PadProblem):
        inner, outer_shape, _ = problem.five()
        per_axis = []
        for axis in range(5):
            source = problem.source(axis, np.arange(outer_shape[axis]))
            per_axis.append(np.bincount(source[source >= 0], minlength=inner[axis]))
        return outer(per_axis).reshape(problem.shape)
    if isinstance(problem, ColumnProblem) and slot == "fold":
        return outer(
            [
                window.taps_per_input(
                    np.arange(problem.size[a]),
                    problem.blocks[a],
                    problem.kernel[a],
                    problem.stride[a],
                    problem.padding[a],
                    problem.dilation[a],
                )
                for a in range(problem.rank)
            ]
        )
    raise KeyError(slot)


def outer(counts: list[np.ndarray]) -> np.ndarray:
    """The product of one vector per axis, as an array with those axes."""
    product = np.ones((), dtype=np.int64)
    for count in counts:
        product = product[..., None] * np.asarray(count, dtype=np.int64)
    return product


def _conv_terms(problem: ConvProblem, slot: str) -> np.ndarray:
    x, y = problem.in_size, problem.out_size
    c, k = problem.in_channels, problem.out_channels
    if problem.transposed:
        x, y, c, k = y, x, k, c
    n = 1 if problem.batch is None else problem.batch
    if slot == "conv_bgrad":
        return np.array(n * int(np.prod(problem.out_size)))
    counts, taps = [], problem.kernel
    for a in range(problem.rank):
        step = (problem.stride[a], problem.padding[a][0], problem.dilation[a])
        if slot == "conv_fprop":
            count = window.taps_per_output(np.arange(y[a]), x[a], taps[a], *step)
        elif slot == "conv_dgrad":
            count = window.taps_per_input(np.arange(x[a]), y[a], taps[a], *step)
        else:
            count = np.array([window.outputs_per_tap(t, x[a], y[a], *step) for t in range(taps[a])])
        counts.append(count)
    channels = {"conv_fprop": c // problem.groups, "conv_dgrad": k // problem.groups}
    return channels.get(slot, n) * outer(counts)


def _pool_counts(problem: PoolProblem, slot: str, axis: int) -> np.ndarray:
    start, stop = problem.window(axis, np.arange(problem.out_size[axis]))[:2]
    if slot == "avg_pool":
        return np.maximum(stop - start, 0)
    edges = np.zeros(problem.in_size[axis] + 1, dtype=np.int64)  # a window begins: +1; it ends: -1
    keep = stop > start
    np.add.at(edges, start[keep], 1)
    np.add.at(edges, stop[keep], -1)
    return np.cumsum(edges)[:-1]


@dataclass(frozen=True, eq=False)
class Terms:
    """A result's sum, ready to be done again.

    Args:
        problem: of the slot, in the reference's dtype.
        inputs: the slot's arrays, as the reference was given them; real.
        run: the slot as a function of such arrays, in float64.
        n: terms of each element; broadcasts to the result.
        forward: average pooling's forward slot, where the slot is its derivative.
        memo: what was found out about the partial sums, for the next precision that asks.
    """

    problem: Any
    slot: str
    inputs: tuple[np.ndarray, ...]
    run: Callable[..., np.ndarray]
    n: np.ndarray
    forward: Callable[..., np.ndarray] | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def squares(self) -> np.ndarray:
        """Q: the sum of the terms' squares."""
        if self.slot == "avg_pool":
            return self.run(self.inputs[0] ** 2) / self.divisor
        if self.forward is not None:
            windows = self.forward(np.ones(self.problem.input_shape))
            divisor = terms(self.problem, "avg_pool") / np.where(windows > 0, windows, 1.0)
            return self.run(self.inputs[0] ** 2 / np.maximum(divisor, 1e-300))
        return np.abs(self.run(*(a if a.dtype.kind == "i" else a * a for a in self.inputs)))

    @cached_property
    def divisor(self) -> np.ndarray:
        """What average pooling divides each sum by."""
        mean = self.run(np.ones_like(self.inputs[0]))
        return np.where(mean > 0, self.n / np.where(mean > 0, mean, 1.0), 1.0)

    def sides(self, power: int) -> np.ndarray:
        """The sum of one factor's absolute values to the ``power``, plus that of the other's; of a
        sum without products, the number of its terms.
        """
        if len(self.inputs) == 1 or self.inputs[1].dtype.kind == "i":
            return np.abs(self.run(np.ones_like(self.inputs[0]), *self.inputs[1:]))
        first, second = (np.abs(x) ** power for x in self.inputs[:2])
        return self.run(first, np.ones_like(second)) + self.run(np.ones_like(first), second)

    @property
    def bias(self) -> np.ndarray | None:
        """The bias, where the slot adds one."""
        return self.inputs[2] if self.slot in CONV_SUMS and len(self.inputs) == 3 else None

    def matrix(self, cells: np.ndarray) -> np.ndarray | None:
        """The terms of the elements at the flat indices ``cells``, 0 where a tap is outside; None
        for slots of few terms, of which it is not known here.

        Shapes: (channels or batch, taps or positions, cells), in the order of a naive loop.
        """
        if self.slot == "avg_pool":
            return _pool_matrix(self, cells)
        if not self.slot.startswith("conv"):
            return None
        if self.slot == "conv_bgrad":  # of a transposed op as well, whose dy is no y
            flat = self.inputs[0].reshape(self.problem.batch or 1, self.problem.out_channels, -1)
            return flat[:, cells].swapaxes(1, 2)
        made = _conv_matrix(self, cells)
        return made.reshape(len(made), prod(made.shape[1:-1]), len(cells))


def _pool_matrix(t: Terms, cells: np.ndarray) -> np.ndarray:
    problem, rank = t.problem, t.problem.rank
    lead, shape = prod(problem.lead), problem.output_shape
    at = np.unravel_index(cells, (lead, *problem.out_size))
    index: tuple[np.ndarray, ...] = (at[0],)
    inside = np.ones((1,) * (rank + 1), dtype=bool)
    for a in range(rank):
        start, stop = (b[at[a + 1]] for b in problem.window(a, np.arange(problem.out_size[a]))[:2])
        along = start + np.arange(np.max(stop - start, initial=1))[:, None]
        view = (*(-1 if b == a else 1 for b in range(rank)), len(cells))
        inside = inside & (along < stop).reshape(view)
        index += (np.minimum(along, problem.in_size[a] - 1).reshape(view),)
    values = np.where(inside, t.inputs[0].reshape(lead, *problem.in_size)[index], 0)
    divisor = np.broadcast_to(t.divisor, shape).reshape(-1)[cells]
    return (values / divisor).reshape(1, -1, len(cells))


def _conv_matrix(t: Terms, cells: np.ndarray) -> np.ndarray:
    """Shapes: (channels or batch, D, H, W, cells)."""
    shapes, out_shapes, _, _ = t.problem.call(t.slot)
    arrays = [a.reshape(s) for a, s in zip(t.inputs, shapes, strict=False)]
    at = np.unravel_index(cells, out_shapes[0])
    stride, low, step, groups = t.problem.call("conv_fprop")[3]
    x_shape, w_shape = (t.problem.call("conv_wgrad")[i][j] for i, j in ((0, 1), (1, 0)))
    y_size, per_c, per_k = t.problem.call("conv_wgrad")[0][0][2:], w_shape[1], w_shape[0] // groups
    places, inside = [], np.ones((1, 1, 1, 1), dtype=bool)
    for a in range(3):
        view = (*(-1 if b == a else 1 for b in range(3)), len(cells))
        cell, loop = at[a + 2], np.arange((y_size if t.slot == "conv_wgrad" else w_shape[2:])[a])
        if t.slot == "conv_dgrad":
            place, rest = np.divmod(cell + low[a] - loop[:, None] * step[a], stride[a])
            ok = (rest == 0) & (place >= 0) & (place < y_size[a])
        else:
            o, k = (loop[:, None], cell) if t.slot == "conv_wgrad" else (cell, loop[:, None])
            place = o * stride[a] - low[a] + k * step[a]
            ok = (place >= 0) & (place < x_shape[a + 2])
        inside = inside & ok.reshape(view)
        places.append(np.where(ok, place, 0).reshape(view))
    taps = _grid(w_shape[2:])
    first, second = arrays[:2]
    outer = np.arange({"conv_fprop": per_c, "conv_dgrad": per_k}.get(t.slot, len(first)))
    outer = outer[:, None, None, None, None]
    if t.slot == "conv_fprop":
        made = first[at[0], at[1] // per_k * per_c + outer, *places] * second[at[1], outer, *taps]
    elif t.slot == "conv_dgrad":
        row = at[1] // per_c * per_k + outer
        made = first[at[0], row, *places] * second[row, at[1] % per_c, *taps]
    else:
        made = first[outer, at[0], *_grid(y_size)]
        made = made * second[outer, at[0] // per_k * per_c + at[1], *places]
    return np.where(inside, made, 0)


def _grid(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Every index of ``shape``, axis by axis, with one axis more for the cells."""
    return [index[..., None] for index in np.ogrid[: shape[0], : shape[1], : shape[2]]]
