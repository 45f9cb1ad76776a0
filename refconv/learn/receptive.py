"""Receptive fields: which cells of the input one output cell can see.

Per axis a field is periodic: output ``o + period`` sees what ``o`` sees, ``shift`` cells further.
A convolution's period is 1; a transposed one's is its stride, since neighbouring outputs may read
different cells. Composing two layers composes periods, so the result is exact for dilation,
transposed convolution (a fractional stride) and branches alike: the first and the last cell, as if
the image had no borders. Holes between them (dilation) count as seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from math import gcd, lcm
from typing import Any

from .. import window
from ..errors import UnsupportedError, UsageError
from ..notation import Problem
from ..problem import PoolProblem
from .arithmetic import Axis, axes
from .layers import ANY, Layer, layers, model
from .shown import Shown

Hull = tuple[int, int] | None


@dataclass(frozen=True)
class Node:
    """One op of a network's graph, in order of computation.

    Args:
        op: a problem; or its axes; or ``pointwise`` (each cell of the output sees that cell of
            every input: activations, normalisation, addition, concatenation), ``global`` (it sees
            all of its inputs: linear, flatten, softmax over positions), or ``unknown``.
        inputs: indices of the nodes it reads; ``-1 - i`` is the network's input ``i``.
        name: for people.
    """

    op: Problem | tuple[Axis, ...] | str
    inputs: tuple[int, ...]
    name: str = ""


@dataclass(frozen=True)
class Field:
    """What the outputs see, on one axis.

    Args:
        hulls: first and last cell that output ``0 … period-1`` sees; None if it sees none.
        single: whether there is only one output, so that it may be broadcast.
    """

    period: int = 1
    shift: int = 1
    hulls: tuple[Hull, ...] = ((0, 0),)
    single: bool = False

    def window(self, o: int) -> Hull:
        """First and last input cell that output ``o`` sees, beyond the borders too."""
        turns, phase = divmod(o, self.period)
        hull = self.hulls[phase]
        return (
            None if hull is None else (hull[0] + turns * self.shift, hull[1] + turns * self.shift)
        )

    @property
    def size(self) -> int:
        """Cells from the first to the last, both included; the largest of any output."""
        return max((last - first + 1 for first, last in filter(None, self.hulls)), default=0)

    @property
    def stride(self) -> int | Fraction:
        """Input cells from one output's field to the next: a fraction where the net enlarges."""
        step = Fraction(self.shift, self.period)
        return step.numerator if step.denominator == 1 else step

    @property
    def start(self) -> int | None:
        """The first cell that output 0 sees; negative: so many cells of padding."""
        return None if self.hulls[0] is None else self.hulls[0][0]

    @property
    def centre(self) -> float | None:
        """The middle of output 0's field."""
        return None if self.hulls[0] is None else sum(self.hulls[0]) / 2

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, for JSON; a fractional stride as text, ``1/2``."""
        stride = self.stride if isinstance(self.stride, int) else str(self.stride)
        sizes = {"size": self.size, "stride": stride, "start": self.start, "centre": self.centre}
        return {**sizes, "period": self.period, "shift": self.shift, "hulls": list(self.hulls)}


@dataclass(frozen=True, repr=False)
class ReceptiveField(Shown):
    """What one cell of a layer's output sees of the network's input.

    ``size``, ``stride``, ``start`` and ``centre`` are one number if the axes agree, else one an
    axis; None where the field is the whole input, or is not known.

    Args:
        axes: one ``Field`` a spatial axis; empty while only single cells were read, whatever their
            rank; None if the field is ``whole``, not known, or nothing of the input is seen.
        whole: every output sees all of the input.
        reason: why the field is not known, else empty.
        name: of the layer.
        layers: the field behind each layer, the last one this.
    """

    axes: tuple[Field, ...] | None = None
    whole: bool = False
    reason: str = ""
    name: str = ""
    layers: tuple[ReceptiveField, ...] = ()

    @property
    def size(self) -> Any:
        """Cells from the first to the last."""
        return self._each("size")

    @property
    def stride(self) -> Any:
        """The effective stride, or jump."""
        return self._each("stride")

    @property
    def start(self) -> Any:
        """The first cell that output 0 sees."""
        return self._each("start")

    @property
    def centre(self) -> Any:
        """The middle of output 0's field."""
        return self._each("centre")

    def _each(self, name: str) -> Any:
        if self.axes is None:
            return None
        values = tuple(getattr(axis, name) for axis in self.axes or (Field(),))
        return values[0] if len(set(values)) == 1 else values

    @property
    def nothing(self) -> bool:
        """Whether nothing of the input is seen: a constant, or another input's branch."""
        return self.axes is None and not self.whole and not self.reason

    @property
    def line(self) -> str:
        """The field in a few words."""
        if self.reason:
            return f"not known: {self.reason}"
        if self.axes is None:
            return "the whole input" if self.whole else "nothing of the input"
        return f"{_many(self.size)}, stride {_many(self.stride)}"

    @property
    def text(self) -> str:
        """The field, and each layer behind which it is another."""
        first = f"receptive field {self.line}"
        if self.layers and self.name != self.layers[-1].name:
            first += f", behind {self.name}"
        if self.axes is not None:
            first += f"; output 0 starts at {_many(self.start)}, centre {_many(self.centre)}"
        grown = [next(same) for _, same in groupby(self.layers, key=lambda layer: layer.line)]
        width = max((len(layer.name) for layer in grown), default=0)
        return "\n".join([first, *(f"  {layer.name:{width}}  {layer.line}" for layer in grown)])

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, for JSON."""
        found = {
            "name": self.name,
            "line": self.line,
            "whole": self.whole,
            "reason": self.reason,
            "axes": None if self.axes is None else [axis.as_dict() for axis in self.axes],
        }
        return found | {"layers": [layer.as_dict() for layer in self.layers]}


def receptive_field(what: Any, in_shape: Any = None) -> ReceptiveField:
    """What one cell sees of the input, behind the last layer that has positions.

    Behind a flattening, a linear layer or a pooling to one cell all of the input is seen; the field
    is that of the layer before.

    Args:
        what: a chain of layers, as ``layers.layers`` takes it; a model, as ``explain`` takes it; or
            the nodes of a graph, in order.
        in_shape: the input's shape; of a chain it is needed only where windows depend on it
            (adaptive pooling).

    Raises:
        UsageError: no chain of layers and no model, or the shape is needed.
        ShapeError: a layer does not take what it gets.

    Example:
        >>> lenet = ["nn.Conv2d(3,6,5)", "nn.MaxPool2d(2)", "nn.Conv2d(6,16,5)", "nn.MaxPool2d(2)"]
        >>> receptive_field(lenet)
        receptive field 16, stride 4; output 0 starts at 0, centre 7.5
          nn.Conv2d(3,6,5)   5, stride 1
          nn.MaxPool2d(2)    6, stride 2
          nn.Conv2d(6,16,5)  14, stride 2
          nn.MaxPool2d(2)    16, stride 4
    """
    if (rows := model(what, in_shape)) is not None:
        shown = [replace(row.field, name=row.op) for row in rows.shown]
    else:
        if isinstance(what, Sequence) and what and all(isinstance(each, Node) for each in what):
            nodes = list(what)
        else:
            chain = enumerate(layers(what, in_shape))
            nodes = [Node(_step(layer), (index - 1,), layer.text) for index, layer in chain]
        found = fields(nodes)
        shown = [
            field for node, field in zip(nodes, found, strict=True) if node.op != "pointwise"
        ] or found
    if not shown:
        raise UsageError("a receptive field needs a layer at least")
    local = [field for field in shown if not field.whole]
    return replace((local or shown)[-1], layers=tuple(shown))


def _step(layer: Layer) -> Problem | str:
    """What a layer of a chain is to ``fields``."""
    op = layer.op
    if (
        isinstance(op, PoolProblem)
        and op.adaptive
        and ANY in op.in_size
        and set(op.out_size) != {1}
    ):
        raise UsageError(f"{layer.text}: its windows depend on the input's size: give in_shape")
    return op


def fields(nodes: Sequence[Node], source: int = 0) -> list[ReceptiveField]:
    """The receptive field behind every node of a graph, on the network's input ``source``.

    What cannot be followed is a field with a ``reason``, never an error.
    """
    found: list[ReceptiveField] = []
    for node in nodes:
        reads = [found[i] if i >= 0 else _input(-1 - i == source) for i in node.inputs]
        made = _behind(node, _joined([field for field in reads if not field.nothing]))
        found.append(
            ReceptiveField(made.axes, made.whole, made.reason, node.name or _named(node.op))
        )
    return found


NOTHING = ReceptiveField()
WHOLE = ReceptiveField(whole=True)
#: The network's input itself, of whatever rank.
INPUT = ReceptiveField(axes=())


def _input(wanted: bool) -> ReceptiveField:
    return INPUT if wanted else NOTHING


def _named(op: Any) -> str:
    return op if isinstance(op, str) else getattr(op, "op", "layer")


def _unknown(reason: str) -> ReceptiveField:
    return ReceptiveField(reason=reason)


def _behind(node: Node, read: ReceptiveField) -> ReceptiveField:
    """The field behind a node that reads ``read``."""
    if read.axes is None or node.op == "pointwise":
        return read
    if node.op == "unknown":
        return _unknown(f"what {node.name or 'this op'} reads is not known")
    if node.op == "global":
        return WHOLE
    steps = node.op if isinstance(node.op, tuple) else axes(node.op)  # type: ignore[arg-type]
    if steps and all(axis.adaptive and axis.out == 1 for axis in steps):
        return WHOLE
    before = read.axes or (Field(),) * len(steps)
    if len(steps) != len(before):
        return _unknown(f"an op over {len(steps)} axes behind one over {len(before)}")
    try:
        return ReceptiveField(
            tuple(through(field, axis) for field, axis in zip(before, steps, strict=True))
        )
    except UnsupportedError as error:
        return _unknown(str(error))


def through(before: Field, axis: Axis) -> Field:
    """The field behind one more op, on one axis.

    Raises:
        UnsupportedError: the axis' numbers do not say what is read.
    """
    period, shift = _period(axis)
    turns = before.period // gcd(shift, before.period)
    moved = turns * shift // before.period * before.shift
    hulls = [_hull(before.window(i) for i in _reads(axis, o)) for o in range(period * turns)]
    return Field(period * turns, moved, tuple(hulls), axis.out == 1)


def _period(axis: Axis) -> tuple[int, int]:
    """``(period, shift)``: output ``o + period`` reads ``shift`` cells further on than ``o``."""
    if axis.slides:
        return 1, axis.stride
    if axis.rule in ("transposed", "fold"):
        return axis.stride, 1
    if axis.rule == "pad":
        return 1, 1
    if axis.adaptive and axis.out:
        common = gcd(axis.size, axis.out)
        return axis.out // common, axis.size // common
    if axis.rule == "given" and axis.size and axis.out % axis.size == 0:
        return axis.out // axis.size, 1
    raise UnsupportedError(f"{axis.size} cells become {axis.out} in no regular steps")


def _reads(axis: Axis, o: int) -> Iterable[int]:
    """The cells of the op's input that output ``o`` reads, as if it had no borders."""
    low, _ = axis.padding
    if axis.slides:
        first = o * axis.stride - low
        return range(first, first + axis.extent, axis.dilation)
    if axis.rule in ("transposed", "fold"):
        taps = (o + low - k * axis.dilation for k in range(axis.kernel))
        return [tap // axis.stride for tap in taps if tap % axis.stride == 0]
    if axis.adaptive:
        return range(*window.adaptive_window(o, axis.size, axis.out))
    return [o - low] if axis.rule == "pad" else [o // (axis.out // axis.size)]


def _hull(hulls: Iterable[Hull]) -> Hull:
    seen = [hull for hull in hulls if hull is not None]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None


def _joined(reads: Sequence[ReceptiveField]) -> ReceptiveField:
    """The union of the fields that an op's inputs have."""
    if not reads:
        return NOTHING
    for field in reads:
        if field.reason:
            return field
    if any(field.whole for field in reads):
        return WHOLE
    rank = max(len(field.axes or ()) for field in reads)
    all_axes = [field.axes or (Field(),) * rank for field in reads]
    if any(len(each) != rank for each in all_axes):
        return _unknown("branches over different numbers of axes meet")
    joined = []
    for each in zip(*all_axes, strict=True):
        if len({field.stride for field in each}) > 1:
            if any(field.single for field in each):  # broadcast: seen from everywhere
                return WHOLE
            strides = " and ".join(str(field.stride) for field in each)
            return _unknown(f"branches of strides {strides} meet")
        period = lcm(*(field.period for field in each))
        hulls = [_hull(field.window(o) for field in each) for o in range(period)]
        shift = each[0].shift * period // each[0].period
        joined.append(Field(period, shift, tuple(hulls), all(field.single for field in each)))
    return ReceptiveField(tuple(joined))


def _many(value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return "x".join(
        "none" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in values
    )
