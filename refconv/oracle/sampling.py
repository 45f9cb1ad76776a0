"""Some of a result's cells instead of all: what they must be, at a cost that grows with their
number.

Of a convolution single cells are taken, and their terms written out; of all else whole planes,
since these ops never mix planes. The choice is seeded. It always has the corners and cells at both
ends of every axis (last channel, last row, last column), and spreads the others over each axis
evenly, so that no channel is left out before all have been seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch

from ..moves import ColumnProblem, IndexProblem, PadProblem
from ..notation import Problem, input_shape
from ..problem import ConvProblem, PoolProblem
from . import reference
from .aten import Seen
from .bound import Law, Sum, Whole
from .reference import Expected, exact, integral
from .terms import Terms, terms

#: Terms that are written out at once.
TERMS_AT_ONCE = 2**21
#: Cells that are chosen at least (of very long sums ``FEWER``), and at most.
FEWER, FEWEST, MOST = 8, 96, 4096


@dataclass(frozen=True)
class Sample:
    """What part of a result has to be.

    Args:
        expected: of that part.
        shape: of the whole result.
        view: a shape of the result of which ``chosen`` picks along the first axis; None: all.
    """

    expected: Expected
    shape: tuple[int, ...]
    view: tuple[int, ...] = ()
    chosen: np.ndarray | None = None

    def take(self, got: torch.Tensor) -> torch.Tensor:
        """The part of a result, which must have the shape."""
        if self.chosen is None:
            return got
        return got.reshape(self.view)[torch.from_numpy(self.chosen).to(got.device)]

    def at(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """A cell of the part as a cell of the result."""
        if self.chosen is None:
            return index
        flat = np.ravel_multi_index((self.chosen[index[0]], *index[1:]), self.view)
        return tuple(int(i) for i in np.unravel_index(flat, self.shape))


def whole(seen: Seen) -> list[Sample]:
    """Every cell of the results that the call has."""
    if seen.grad is None:
        found = reference.forward(seen.problem, seen.arrays)
    else:
        found = reference.backward(seen.problem, seen.arrays, seen.grad)
    return [Sample(e, e.want.shape) for e in found if e.name in seen.results]


def some(seen: Seen, work: float, seed: int = 0) -> list[Sample]:
    """A sample of each result.

    Args:
        work: terms, or steps of the innermost loop, that each result may take, as far as
            ``FEWEST`` and ``MOST`` cells allow.
    """
    if isinstance(seen.problem, ConvProblem):
        return [cells(seen, name, work, seed) for name in seen.results]
    return _planes(seen, work, seed)


def pick(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Flat indices of about ``count`` cells, sorted: corners, ends of each axis, spread cells."""
    total = prod(shape)
    if total <= count:
        return np.arange(total)
    rng = np.random.default_rng([seed, total])
    ends = np.array(list(product(*(sorted({0, size - 1}) for size in shape))))[: count // 2]
    sides = [(a, end) for a, size in enumerate(shape) if size > 1 for end in (0, size - 1)]
    edges = _spread(shape, (count - len(ends)) // 2, rng)
    for i, (axis, end) in enumerate(sides):
        edges[i :: len(sides), axis] = end
    inner = _spread(shape, count - len(ends) - len(edges), rng)
    chosen = np.concatenate([ends, edges, inner])
    return np.unique(np.ravel_multi_index(tuple(chosen.T), shape))


def _spread(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random cells that visit the positions of every axis equally often.

    Shapes: (count, axes)
    """
    axes = [rng.permutation(np.resize(rng.permutation(size), count)) for size in shape]
    return np.stack(axes, axis=1)


def _shape(problem: Any, name: str) -> tuple[int, ...]:
    """Of a result, by the problem."""
    if name in ("output", "indices"):
        return problem.output_shape
    if name == "grad_input":
        return input_shape(problem)
    return problem.weight_shape if name == "grad_weight" else (problem.out_channels,)


def _slot(seen: Seen, name: str) -> tuple[str, list[torch.Tensor]]:
    """The slot that computes a result of a convolution, and its arrays."""
    problem, dy = seen.problem, seen.grad
    assert isinstance(problem, ConvProblem)
    x, w = seen.arrays["input"], seen.arrays["weight"]
    if dy is None:
        bias = [seen.arrays["bias"]] if "bias" in seen.arrays else []
        return problem.forward_slot, [x, w, *bias]
    if name == "grad_bias":
        return "conv_bgrad", [dy]
    if name == "grad_input":
        return ("conv_fprop" if problem.transposed else "conv_dgrad"), [dy, w.conj()]
    return "conv_wgrad", [x.conj(), dy] if problem.transposed else [dy, x.conj()]


def cells(seen: Seen, name: str, work: float, seed: int = 0) -> Sample:
    """A sample of one result of a convolution; ``work`` as for ``some``."""
    slot, given = _slot(seen, name)
    problem = replace(seen.problem, dtype=reference.wide(seen.problem.dtype))
    inputs, shape = tuple(exact(a) for a in given), _shape(problem, name)
    counts = terms(problem, slot)
    most = max(1, int(np.max(counts, initial=1)))
    fewest = np.clip(TERMS_AT_ONCE / most, FEWER, FEWEST)
    chosen = pick(shape, int(np.clip(work / most, fewest, MOST)), seed)
    n = np.broadcast_to(counts, shape)[np.unravel_index(chosen, shape)]
    part = _Part(problem, "part", inputs, _never, n, whole=slot, chosen=chosen, shape=shape)
    want, scale = part.sums(inputs), part.sums(inputs, np.abs)
    made: Terms | None = part if want.dtype.kind == "f" else None
    if want.dtype.kind in "iu":
        law: Law = Whole()
        want = want.astype(seen.problem.dtype).astype(np.int64)
    else:
        law = Sum(
            n,
            scale,
            product=slot != "conv_bgrad",
            extra=int(len(inputs) == 3),
            integral=all(integral(a) for a in inputs),
            parts=2 if want.dtype.kind == "c" else 1,
        )
    return Sample(
        Expected(name, want, law, seen.problem.dtype, made), shape, (prod(shape),), chosen
    )


@dataclass(frozen=True, eq=False)
class _Part(Terms):
    """The terms of the cells ``chosen`` of a result of ``shape`` of the slot ``whole``; a bias is
    the first of them.

    Its own slot is none, so that nothing is tried on it that needs all cells of a result.
    """

    whole: str = ""
    chosen: np.ndarray = field(default_factory=lambda: np.arange(0))
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", lambda *inputs: self.sums(inputs))

    def sums(
        self, inputs: tuple[np.ndarray, ...], of: Callable[..., np.ndarray] | None = None
    ) -> np.ndarray:
        """The sums of the terms that ``inputs`` make, or of a function of these terms."""
        every = np.arange(len(self.chosen))
        parts = -(-len(every) * max(1, int(np.max(self.n, initial=1))) // TERMS_AT_ONCE)
        found = []
        for some in np.array_split(every, max(1, parts)):
            matrix = self._matrix(inputs, some)
            found.append((matrix if of is None else of(matrix)).sum(axis=(0, 1)))
        return np.concatenate(found)

    @cached_property
    def squares(self) -> np.ndarray:
        without_bias = self.inputs[:2]
        return self.sums(without_bias, np.square)

    def matrix(self, cells: np.ndarray) -> np.ndarray:
        return self._matrix(self.inputs, cells)

    def _matrix(self, inputs: tuple[np.ndarray, ...], cells: np.ndarray) -> np.ndarray:
        every = Terms(self.problem, self.whole, inputs, self.run, self.n)
        made = every.matrix(self.chosen[cells])
        assert made is not None
        if every.bias is None:
            return made
        channel = np.unravel_index(self.chosen[cells], self.shape)[-1 - self.problem.rank]
        first = np.zeros((1, *made.shape[1:]), made.dtype)
        first[0, 0] = every.bias[channel]
        return np.concatenate([first, made])


def _never(*args: Any) -> np.ndarray:
    raise AssertionError("replaced when it is made")


def _planes(seen: Seen, work: float, seed: int) -> list[Sample]:
    """Whole planes of the call; all of them where they cannot be told apart."""
    planes = _plane_count(seen.problem)
    flat = _flat(seen.problem, planes)
    a_plane = max(1, prod(input_shape(flat)[1:]), prod(flat.output_shape[1:]))
    count = min(planes, max(2, int(work / a_plane)))
    if count == planes:
        return whole(seen)
    chosen = pick((planes,), count, seed)
    index = torch.from_numpy(chosen)
    shapes = {"input": input_shape(flat), "indices": flat.output_shape}
    if isinstance(flat, IndexProblem):
        shapes["indices"] = input_shape(flat)
    part = Seen(
        _flat(seen.problem, len(chosen)),
        {n: a.reshape(shapes[n])[index.to(a.device)] for n, a in seen.arrays.items()},
        None
        if seen.grad is None
        else seen.grad.reshape(flat.output_shape)[index.to(seen.grad.device)],
        seen.results,
    )
    made = []
    for sample in whole(part):
        view = (planes, *sample.shape[1:])
        shape = _shape(seen.problem, sample.expected.name)
        made.append(Sample(sample.expected, shape, view, chosen))
    return made


def _plane_count(problem: Problem) -> int:
    match problem:
        case PoolProblem() | IndexProblem():
            return prod(problem.lead)
        case ColumnProblem():
            return (1 if problem.batch is None else problem.batch) * problem.channels
        case PadProblem():
            return prod(problem.shape[: _unpadded(problem)])
    return 1


def _unpadded(problem: PadProblem) -> int:
    """How many leading axes are not padded."""
    padded = [axis for axis, pad in enumerate(problem.pads) if pad != (0, 0)]
    return min(padded, default=0)


def _flat(problem: Any, planes: int) -> Any:
    """The same problem for ``planes`` planes, which are its first axis."""
    if isinstance(problem, PoolProblem | IndexProblem):
        return replace(problem, lead=(planes,))
    if isinstance(problem, ColumnProblem):
        return replace(problem, batch=planes, channels=1)
    axes = _unpadded(problem)
    shape, pads = (planes, *problem.shape[axes:]), ((0, 0), *problem.pads[axes:])
    return replace(problem, shape=shape, pads=pads)
