"""A torch model explained: one row an op, functional calls included, from shapes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..errors import UsageError
from ..notation import shape as read_shape
from ..problem import Size
from .capture import capture, torch_says
from .captured import Array, Capture
from .explain_built import built_stop
from .explain_fix import Stop, stop
from .explain_rows import Row, Rows, rows, shown_shape
from .explain_show import Explanation, Grid, Part, amount
from .explain_source import Source, source


@dataclass(frozen=True, repr=False)
class Model(Explanation):
    """A model, op by op, as far as it goes.

    Args:
        title: its class.
        inputs: as the model got them, batch axis included.
        batched: whether that axis was added, and is not shown.
        rows: what forward calls; None where the model could not be built.
        stop: why it goes no further, else None.
        values: why it was run on real numbers; else empty.
        every: whether ops that leave the shape as it is are shown.
        with_macs: whether the table has a column of multiply-accumulates.
    """

    title: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    batched: bool
    rows: Rows
    stop: Stop | None = None
    values: str = ""
    every: bool = False
    with_macs: bool = False

    @property
    def ok(self) -> bool:
        """Whether forward runs to its end."""
        return self.stop is None

    @property
    def headline(self) -> str:
        """The verdict."""
        given = " and ".join(self._shape(x.shape) for x in self.inputs)
        if self.stop is not None:
            count = len(self.rows.shown)
            after = f"after row {count}" if count else "before its first row"
            return f"✘ {self.title} on {given} stops {after}, in {self.stop.where}"
        results = " and ".join(self._shape(y.shape) for y in self.outputs[:4]) or "nothing"
        more = f" and {len(self.outputs) - 4} more" if len(self.outputs) > 4 else ""
        return f"✔ {self.title}: {given} -> {results}{more}, {_rows(len(self.rows.shown))}"

    @property
    def total(self) -> str:
        """Parameters, MACs and FLOPs of the whole model."""
        r = self.rows
        batch = self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else 1
        for_batch = "" if self.batched or batch == 1 else f" for a batch of {batch}"
        so_far = " so far" if self.stop else ""
        return (
            f"total {r.params:,} params · {r.macs:,} MAC{so_far}{for_batch} · "
            f"{amount(2 * r.macs)}FLOP (2 per MAC)"
        )

    @property
    def notes(self) -> list[str]:
        """What the table does not say."""
        r = self.rows
        made = []
        if r.inside != r.macs:
            made.append(f"MAC without products with zeros of the padding: {r.inside:,}")
        if r.norms:
            made.append(f"parameters without those of normalisation: {r.params - r.norms:,}")
        if r.uncounted:
            named = ", ".join(f"{name} ×{n}" for name, n in r.uncounted.items())
            made.append(f"MAC not counted: {named}")
        if r.unused and not self.stop:
            named = ", ".join(f"{name} ({n:,})" for name, n in list(r.unused.items())[:4])
            more = f" and {len(r.unused) - 4} more" if len(r.unused) > 4 else ""
            made.append(f"parameters that forward never uses: {named}{more}")
        if r.quiet and not self.every:
            named = ", ".join(f"{name} ×{n}" for name, n in r.quiet.items())
            made.append(f"not shown, as they leave the shape as it is: {named} (--all shows them)")
        if self.batched:
            made.append("the input has no batch axis: taken as a batch of one, which is not shown")
        if self.values and not self.stop:
            made.append(
                f"run on drawn numbers, as {self.values} looks at them: sizes behind it may "
                "depend on them"
            )
        if not self.stop and any(y.source is None for y in self.outputs):
            made.append("a result was not followed back to the input: rows may be missing")
        seen: dict[str, list[str]] = {}
        for row in r.shown:
            for note in row.notes:
                seen.setdefault(note, []).append(str(row.number))
        made += [
            f"row{'s' * (len(where) > 1)} {', '.join(where[:6])}{'…' * (len(where) > 6)}: {note}"
            for note, where in seen.items()
        ]
        return made

    def grid(self, width: int = 1000) -> Grid:
        """The table; where there is little room a row's input, the output before, is left out."""
        full = self._grid(narrow=False)
        wide = max(map(len, full.lines())) + 2 <= width
        return full if wide else self._grid(narrow=True)

    def _grid(self, narrow: bool) -> Grid:
        shown = self.rows.all if self.every else self.rows.shown
        heads = ["#", "op", "in", "out", "arithmetic", "left over", "params", "MAC", "RF", "where"]
        drop = {"in"} if narrow else set()
        drop |= set() if self.with_macs else {"MAC"}
        keep = [i for i, head in enumerate(heads) if head not in drop]
        if narrow:
            heads[5] = "left"
        cells = [self._cells(row) for row in shown]
        right = [i for i, k in enumerate(keep) if k in (0, 5, 6, 7, 8)]
        wrap = [i for i, k in enumerate(keep) if k in (1, 4, 9)]
        return Grid(
            tuple(heads[k] for k in keep),
            [tuple(row[k] for k in keep) for row in cells],
            tuple(right),
            tuple(wrap),
        )

    def _cells(self, row: Row) -> list[str]:
        return [
            "" if row.quiet else str(row.number),
            row.op,
            self._shape(row.input),
            self._shape(row.output),
            row.arithmetic,
            _left_over(row.left_over),
            f"{row.params:,}" if row.params or row.macs != 0 or row.left_over is not None else "0",
            "?" if row.macs is None else f"{row.macs:,}",
            _field(row),
            row.where,
        ]

    def _shape(self, shape: Size) -> str:
        return shown_shape(shape, self.batched)

    def parts(self, width: int = 1000) -> list[Part]:
        """The verdict, the rows, the total, the notes; where it stops, why and what to change."""
        made: list[Part] = [self.headline]
        if self.rows.all:
            made.append(self.grid(width))
        if self.stop is not None:
            made.append(f"✘ {self.stop.line}")
            made += [f"  torch says: {self.stop.torch}"] if self.stop.torch else []
        if self.rows.all:
            made.append(f"  {self.total}")
        return [*made, *(f"  {note}" for note in self.notes)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        r = self.rows
        return {
            "kind": "model",
            "title": self.title,
            "inputs": [list(x.shape) for x in self.inputs],
            "outputs": [list(y.shape) for y in self.outputs],
            "batch_axis_added": self.batched,
            "rows": [row.as_dict() for row in r.all],
            "params": r.params,
            "params_without_norms": r.params - r.norms,
            "macs": r.macs,
            "macs_inside": r.inside,
            "flops": 2 * r.macs,
            "uncounted": dict(r.uncounted),
            "unused_params": r.unused,
            "notes": self.notes,
            "needed_values": self.values,
            "error": None if self.stop is None else self.stop.as_dict(),
        }


def explain_model(
    what: Any, shapes: Sequence[Any] = (), *, every: bool = False, macs: bool = False
) -> Model:
    """A model's rows.

    Args:
        what: a module, ``file.py:Class``, ``package.module:Class``, ``nn.Sequential(…)`` as text, a
            net that refconv ships, or one of torchvision's or timm's.
        shapes: of the inputs, ``3x32x32`` or ``16:int64``; a batch axis is added where it is
            missing. May be left out for a net that refconv ships.

    Raises:
        UsageError: there is no such model, it cannot be built, or no shape is given.
    """
    found = source(what)
    try:
        model = found.make("meta")
    except UsageError as error:
        stopped = built_stop(error)
        if stopped is None:
            raise
        inputs = tuple(_array(text) for text in shapes)
        return Model(found.title, inputs, (), False, rows(Capture(()), False), stopped)
    inputs, batched = _inputs(found, model, shapes)
    ran = capture(_first(model, found), inputs)
    if batched and ran.error is not None and not _rank(model):  # three axes were no picture
        other = capture(found.make, tuple(_array(each) for each in shapes or [found.usual]))
        batched = other.error is not None
        ran = ran if batched else other
    stopped = None if ran.error is None else stop(ran, torch_says)
    if stopped is not None and "larger than the padded input" in stopped.reason:
        stopped = replace(stopped, fix=stopped.fix + _least(found, ran))
    return Model(
        found.title, ran.inputs, ran.outputs, batched, rows(ran, batched), stopped, ran.values,
        every, macs,
    )  # fmt: skip


def _least(found: Source, ran: Capture) -> str:
    """The smallest input, every axis longer by as much, that the failing window fits in."""

    def passes(more: int) -> bool:
        shapes = [
            replace(x, shape=(*x.shape[:2], *(size + more for size in x.shape[2:])))
            for x in ran.inputs
        ]
        return len(capture(found.make, shapes).ops) > len(ran.ops)

    high = 1
    while high < 1024 and not passes(high):
        high *= 2
    if high >= 1024:
        return ""
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    sizes = "x".join(str(size + high) for size in ran.inputs[0].shape[2:])
    return f": at least {sizes}"


def _first(model: torch.nn.Module, found: Source) -> Any:
    """The source, of which the first model on ``meta`` is made already."""
    made = [model]
    return lambda device: made.pop() if made and device == "meta" else found.make(device)


def _inputs(
    found: Source, model: torch.nn.Module, shapes: Sequence[Any]
) -> tuple[tuple[Array, ...], bool]:
    """The inputs with a batch axis, and whether it was added."""
    given = list(shapes) or ([found.usual] if found.usual else [])
    if not given:
        raise UsageError(
            f"{found.title} does not say how large its input is: add {_example(model)}"
        )
    arrays = tuple(_array(each) for each in given)
    rank = _rank(model)
    axes = len(arrays[0].shape)
    missing = axes == rank + 1 if rank else axes in (1, 3)
    if not missing:
        return arrays, False
    return tuple(replace(x, shape=(1, *x.shape)) for x in arrays), True


def _array(given: Any) -> Array:
    """``3x32x32``, or ``16:int64`` for indices."""
    text, _, dtype = given.partition(":") if isinstance(given, str) else (given, "", "")
    dtype = dtype or "float32"
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError(f"{given}: {dtype} is no dtype of torch's, e.g. int64")
    return Array(read_shape(text), dtype)


def _layers(model: torch.nn.Module) -> list[tuple[torch.nn.Module, int]]:
    """The model's layers that say over how many axes they work, and over how many."""
    made = []
    for module in model.modules():
        for base in type(module).__mro__:
            found = re.fullmatch(r"[A-Za-z]+(\d)d", base.__name__)
            if found and base.__module__.startswith("torch.nn"):
                made.append((module, int(found[1])))
                break
    return made


def _rank(model: torch.nn.Module) -> int:
    """Over how many spatial axes its first layer works; 0 if there is none."""
    found = [(m, rank) for m, rank in _layers(model) if not type(m).__name__.startswith("_")]
    return found[0][1] if found else 0


def _example(model: torch.nn.Module) -> str:
    """An input's shape as the user may give it."""
    for module, rank in _layers(model):
        channels = getattr(module, "in_channels", None)
        if channels:
            return f"its shape, e.g. --in {channels}{'x32' * rank}"
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            return f"its shape, e.g. --in {module.in_features}"
    return "its shape, e.g. --in 3x32x32"


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _left_over(cells: Size | None) -> str:
    if cells is None:
        return "-"
    return str(cells[0]) if len(set(cells)) == 1 else "x".join(map(str, cells))


def _field(row: Row) -> str:
    size = row.field.size
    if row.field.reason:
        return "?"
    if size is None:
        return ""
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)
