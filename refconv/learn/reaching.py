"""Backwards through a chain of layers: which input sizes reach a size?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ..errors import UsageError
from ..notation import Problem, shape
from .arithmetic import Axis, axes
from .layers import layers, model
from .shown import Shown


@dataclass(frozen=True, repr=False)
class Sizes(Shown):
    """The input sizes that reach a size, an axis each.

    Args:
        out: the size that is reached.
        names: of the layers.
        axes: for each axis (one, if all are alike) the sizes that reach it.
        paths: for each axis and each of its sizes the sizes from the input to the last layer.
        exact: of each axis' sizes those that leave nothing over on the way.
    """

    out: tuple[int, ...]
    names: tuple[str, ...]
    axes: tuple[tuple[int, ...], ...]
    paths: tuple[tuple[tuple[int, ...], ...], ...]
    exact: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> Any:
        """The sizes of an axis; if the axes differ, of each axis."""
        return self.axes[0] if len(self.axes) == 1 else self.axes

    @property
    def text(self) -> str:
        """The sizes, and the way from them to the last layer."""
        goal = "x".join(map(str, self.out))
        spans = " by ".join(_spans(sizes) or "no size" for sizes in self.axes)
        lines = [f"{spans} reach{'es' * spans.isdigit()} {goal}"]
        width = max(map(len, (*self.names, "input")))
        for paths, exact in zip(self.paths, self.exact, strict=True):
            for name, sizes in zip(("input", *self.names), zip(*paths, strict=True), strict=False):
                lines.append(f"  {name:{width}}  {_spans(sorted(set(sizes)))}")
            if paths:
                lines.append(f"  nothing is left over on the way from {_spans(exact) or 'none'}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The sizes for JSON."""
        return {
            "out": list(self.out),
            "axes": [list(sizes) for sizes in self.axes],
            "exact": [list(sizes) for sizes in self.exact],
            "layers": list(self.names),
            "paths": [[list(path) for path in paths] for paths in self.paths],
        }


def sizes_reaching(chain: Any, out: Any) -> Sizes:
    """The input sizes from which a chain of layers reaches the size ``out``.

    Args:
        chain: as ``layers.layers`` takes it, or a model whose layers stand one behind the other
            (``lenet``, ``file.py:Class``); layers without windows are passed over, and what comes
            behind a flattening is left out.
        out: one size, or one an axis.

    Raises:
        UsageError: no chain, or one in which the size does not follow from the input's.

    Example:
        >>> sizes_reaching("nn.Sequential(nn.Conv2d(3,6,5), nn.MaxPool2d(2), nn.Conv2d(6,16,5), "
        ...                "nn.MaxPool2d(2))", 5).sizes
        (32, 33, 34, 35)
    """
    names, steps = [], []
    for name, problem in _windows(chain):
        names.append(name)
        steps.append(axes(problem))
        if any(axis.rule in ("adaptive", "given", "fold") for axis in steps[-1]):
            raise UsageError(
                f"{name} gives its size whatever the input's is: leave it, and what comes behind "
                "it, out"
            )
    if not steps:
        raise UsageError("the chain has no layer that changes sizes")
    rank = len(steps[0])
    wanted = shape((out,) if isinstance(out, int) else out, "out")
    if len(wanted) not in (1, rank) or any(len(step) != rank for step in steps):
        raise UsageError(f"the chain has {rank} axes: out must be one size or {rank}, got {out!r}")
    wanted = wanted * rank if len(wanted) == 1 else wanted
    columns = [
        (goal, [replace(axis, name="") for axis in column])
        for goal, column in zip(wanted, zip(*steps, strict=True), strict=True)
    ]
    if all(column == columns[0] for column in columns):
        columns = columns[:1]
    found = [list(_reaching(column, goal)) for goal, column in columns]
    return Sizes(
        wanted,
        tuple(names),
        tuple(tuple(path[0].size for path in paths) for paths in found),
        tuple(
            tuple((path[0].size, *(axis.out for axis in path)) for path in paths) for paths in found
        ),
        tuple(
            tuple(path[0].size for path in paths if not any(axis.left_over for axis in path))
            for paths in found
        ),
    )


def _windows(chain: Any) -> Iterator[tuple[str, Problem]]:
    """The layers with windows, up to where no positions are left, and their names."""
    found = model(chain)
    if found is None:
        for layer in layers(chain):
            if layer.op == "global":
                return
            if not isinstance(layer.op, str):
                yield layer.text, layer.op
        return
    before = 0
    for row in found.shown:
        if row.reads != (before,):
            raise UsageError(
                f"row {row.number}, {row.op}, does not follow the one before: no chain"
            )
        before = row.number
        if row.problem is not None:
            yield row.op, row.problem
        elif row.input != row.output:
            return


def _reaching(column: Sequence[Axis], goal: int) -> Iterator[list[Axis]]:
    """The ways to ``goal``: every size up to the largest that can reach it is tried."""
    top = goal
    for axis in reversed(column):
        pads = sum(axis.padding)
        if axis.slides:
            top = top * axis.stride + axis.extent - pads
        elif axis.transposed:
            top = (top + pads - axis.extent - axis.output_padding) // axis.stride + 1
        else:
            top -= pads
    for size in range(1, top + 1):
        path = _path(column, size)
        if path and path[-1].out == goal:
            yield path


def _path(column: Sequence[Axis], size: int) -> list[Axis]:
    """The axes of a chain on an input of this size; empty if a window does not fit."""
    made: list[Axis] = []
    for axis in column:
        axis = replace(axis, size=made[-1].out if made else size)
        axis = replace(axis, out=axis.computed)
        if axis.out < 1:
            return []
        made.append(axis)
    return made


def _spans(sizes: Sequence[int]) -> str:
    """``32 to 35, 40`` of ascending numbers."""
    groups = groupby(enumerate(sizes), key=lambda pair: pair[1] - pair[0])
    runs = [[size for _, size in group] for _, group in groups]
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs)
