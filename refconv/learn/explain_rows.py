"""A captured forward pass as rows, one an op: arithmetic, parameters, receptive field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..notation import Problem
from ..problem import Size
from . import receptive
from .captured import Array, Capture, Op
from .explain_ops import Said, factors, say, shape_text


@dataclass
class Row:
    """One op of a model.

    Args:
        number: of the row, from 1; a quiet op has that of the row before.
        op: its name and numbers, ``conv2d 3->6 k5``.
        input, output: shapes, batch axis included.
        left_over: cells an axis that no window reads; None where nothing slides.
        macs: multiply-accumulates, zeros of the padding included; None where they are not counted.
        inside: those without the zeros of the padding.
        field: what one cell of its output sees of the model's first input.
        reads: the rows it reads; 0 is the input.
        quiet: an activation, dropout or the like: it leaves the shape as it is.
        problem: of a convolution or pooling; else None.
    """

    number: int
    name: str
    op: str
    input: Size
    output: Size
    arithmetic: str
    left_over: tuple[int, ...] | None
    params: int
    macs: int | None
    inside: int | None
    field: receptive.ReceptiveField
    where: str
    reads: tuple[int, ...]
    quiet: bool
    notes: tuple[str, ...] = ()
    problem: Problem | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return {
            "number": self.number,
            "name": self.name,
            "op": self.op,
            "input": list(self.input),
            "output": list(self.output),
            "arithmetic": self.arithmetic,
            "left_over": None if self.left_over is None else list(self.left_over),
            "params": self.params,
            "macs": self.macs,
            "macs_inside": self.inside,
            "receptive_field": self.field.size,
            "receptive_stride": str(self.field.stride) if self.field.axes else None,
            "where": self.where,
            "reads": list(self.reads),
            "quiet": self.quiet,
            "notes": list(self.notes),
        }


@dataclass
class Rows:
    """All rows of a model, and what they come to.

    Args:
        inside: multiply-accumulates without the zeros of the padding.
        norms: parameters of normalisation layers, which are among ``params``.
        uncounted: op → how often it is called, of those whose multiplies are not counted.
        unused: parameters that forward never touched: layer → how many.
    """

    all: list[Row]
    params: int
    macs: int
    inside: int
    norms: int
    uncounted: Counter[str] = field(default_factory=Counter)
    unused: dict[str, int] = field(default_factory=dict)

    @property
    def shown(self) -> list[Row]:
        """Those with a row of their own."""
        return [row for row in self.all if not row.quiet]

    @property
    def quiet(self) -> Counter[str]:
        """The ops without a row, and how often they are called."""
        return Counter(row.name for row in self.all if row.quiet)


def rows(found: Capture, batched: bool) -> Rows:
    """The rows of a capture.

    Args:
        batched: whether its batch axis of 1 was added, and should not be seen.
    """
    said = [_said(found, op) for op in found.ops]
    nodes = [
        receptive.Node(s.reads, _sources(op), s.text) for s, op in zip(said, found.ops, strict=True)
    ]
    fields = receptive.fields(nodes)
    used: set[str] = set()
    made: list[Row] = []
    number = 0
    for op, s, seen in zip(found.ops, said, fields, strict=True):
        number += not s.quiet
        names = dict.fromkeys(n for array in op.arrays for n in array.names)
        params = sum(found.parameters.get(n, 0) for n in names if n not in used)
        shared = [n for n in names if n in used]
        used.update(names)
        reads = tuple(made[i].number if i >= 0 else 0 for i in _sources(op))
        notes = [*s.notes, *(["parameters shared with an earlier row"] * bool(shared))]
        if batched and op.name in ("view", "reshape") and _rows_grew(op):
            notes.append(
                f"one sample becomes {op.outputs[0].shape[0]} rows: no batch axis any more"
            )
        made.append(
            Row(
                number=number,
                name=op.name.removesuffix("_"),
                op=f"{s.text} (lazy)" if op.lazy else s.text,
                input=op.inputs[0].shape if op.inputs else (),
                output=op.outputs[0].shape,
                arithmetic=_filled(s.arithmetic, op, reads, batched),
                left_over=s.left_over,
                params=params,
                macs=s.macs,
                inside=s.macs if s.inside is None else s.inside,
                field=seen,
                where=op.where,
                reads=reads,
                quiet=s.quiet and not params,
                notes=tuple(notes),
                problem=s.problem,
            )
        )
        if s.quiet and params:  # PReLU and the like: a row after all
            number += 1
            made[-1].number = number
    unused: dict[str, int] = {}
    for name, count in found.parameters.items():
        if name not in used and count:
            layer = name.rpartition(".")[0] or name
            unused[layer] = unused.get(layer, 0) + count
    uncounted = Counter(row.name for row in made if row.macs is None)
    macs, inside = (sum(getattr(row, name) or 0 for row in made) for name in ("macs", "inside"))
    norms = sum(row.params for row in made if row.name.endswith("_norm"))
    total = sum(found.parameters.values())
    return Rows(made, total, macs, inside, norms, uncounted, unused)


def shown_shape(shape: Size, batched: bool) -> str:
    """A shape without the batch axis that was added; ``N`` if there was nothing else."""
    if not batched:
        return shape_text(shape)
    if not shape:
        return shape_text(shape)
    if shape[0] != 1:
        return f"[{','.join(map(str, shape))}]"  # the first axis is no longer the batch
    return shape_text(shape[1:]) if len(shape) > 1 else "N"


def _said(found: Capture, op: Op) -> Said:
    if op.name != "linear" or not op.inputs:
        return say(op)
    return say(op, factors(flattening(found, op.inputs[0])))


def flattening(found: Capture, array: Array) -> Op | None:
    """The op that made an array, seen through what is pointwise."""
    source = array.source
    while source is not None and source >= 0:
        op = found.ops[source]
        if not say(op).quiet:
            return op
        source = op.inputs[0].source
    return None


def _rows_grew(op: Op) -> bool:
    return op.inputs[0].shape[:1] == (1,) and op.outputs[0].shape[:1] not in ((), (1,))


def _sources(op: Op) -> tuple[int, ...]:
    return tuple(dict.fromkeys(a.source for a in op.inputs if a.source is not None))


def _filled(text: str, op: Op, reads: Iterable[int], batched: bool) -> str:
    """The arithmetic with the rows put in, and, where it says nothing, both shapes."""
    if "{}" in text:
        by_source = dict(zip(_sources(op), reads, strict=True))
        rows = [by_source[a.source] for a in op.inputs if a.source is not None]
        return text.format(*(f"row {row}" if row else "input" for row in rows))
    name = op.name.removesuffix("_")
    small = batched and op.outputs[0].shape in ((1,), (1, 1))
    if small and name in ("view", "reshape", "squeeze", "flatten") and op.inputs:
        before, after = (
            f"[{','.join(['N', *map(str, shape[1:])])}]"
            for shape in (op.inputs[0].shape, op.outputs[0].shape)
        )
        return f"{before} -> {after}"
    return text
