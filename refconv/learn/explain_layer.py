"""One layer explained, from a label or from torch code; torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from .. import label
from ..errors import RefconvError, UsageError
from ..notation import Problem, input_shape
from ..notation import shape as read_shape
from ..notation_torch import MODULES, arguments
from ..ops import OPS
from ..problem import ConvProblem, PoolProblem, Size
from . import arithmetic, receptive
from .captured import Array, Op
from .count import macs_line, params_line, problem_macs
from .explain_arguments import Argument, arguments_of
from .explain_fix_layer import layer_fix
from .explain_ops import numbers, shape_text
from .explain_show import Explanation, Grid, Part, amount
from .layers import ANY, layers

#: The same layer's shape without a size.
_LETTERS = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


@dataclass(frozen=True, repr=False)
class Layer(Explanation):
    """One layer: its arguments, and what follows from them.

    Args:
        spec: as it was written.
        sized: whether the input's size is known.
        hint: what was assumed of the input's shape.
    """

    spec: str
    problem: Problem
    sized: bool
    hint: str = ""

    @property
    def title(self) -> str:
        """The verdict: what goes in, what comes out, how many parameters."""
        p = self.problem
        count = f" · {p.params:,} parameters" if isinstance(p, ConvProblem) else " · no parameters"
        if not self.sized:
            return f"✔ {p.op} {numbers(p)}{count}; its output's size follows from --in SHAPE"
        return f"✔ {p.op} {shape_text(input_shape(p))} -> {shape_text(p.output_shape)}{count}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and figure, in reading order."""
        p = self.problem
        made = _filters(p) if isinstance(p, ConvProblem) else []
        if self.sized:
            made.append(("output", arithmetic.line(p)))
            made += [("", note) for note in _notes(p)]
        else:
            made += _general(p)
        if isinstance(p, ConvProblem) and self.sized:
            made.append(("MAC", _macs(p)))
        seen = receptive.fields([receptive.Node(p, (-1,))])[-1]
        if isinstance(p, ConvProblem | PoolProblem) and (self.sized or not _adaptive(p)):
            made.append(("sees", f"{seen.line} (receptive field)"))
        return made

    @property
    def arguments(self) -> list[Argument]:
        """Each argument with its value and what it means."""
        return arguments_of(self.problem, _given(self.spec))

    def parts(self, width: int = 1000) -> list[Part]:
        """The verdict, the arguments, and what follows."""
        rows = [(a.name, a.value, a.meaning) for a in self.arguments]
        facts = [(name, text) for name, text in self.facts]
        made: list[Part] = [self.title]
        if rows:
            made.append(Grid(("argument", "value", "meaning"), rows, wrap=(2,)))
            made.append("")
        made.append(Grid(("result", "with the numbers put in"), facts, wrap=(1,)))
        return [*made, *([f"  {self.hint}"] if self.hint else [])]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        p = self.problem
        conv = isinstance(p, ConvProblem)
        made: dict[str, Any] = {
            "kind": "layer",
            "spec": self.spec,
            "label": label.format(p) if self.sized else None,
            "op": p.op,
            "input": list(input_shape(p)) if self.sized else None,
            "output": list(p.output_shape) if self.sized else None,
            "arguments": {a.name: a.value for a in self.arguments},
            "params": p.params if isinstance(p, ConvProblem) else 0,
            "weight": list(p.weight_shape) if isinstance(p, ConvProblem) else None,
            "macs": problem_macs(p) if conv and self.sized else None,
            "macs_inside": problem_macs(p, padding=False) if conv and self.sized else None,
            "axes": [a.as_dict() for a in arithmetic.axes(p)] if self.sized else None,
        }
        return made | {"facts": [list(fact) for fact in self.facts], "error": None}


@dataclass(frozen=True, repr=False)
class Refused(Explanation):
    """A layer that cannot be: the rule that it breaks, and what to write instead."""

    spec: str
    reason: str
    fix: str

    @property
    def ok(self) -> bool:
        """No: there is no such layer."""
        return False

    def parts(self, width: int = 1000) -> list[Part]:
        """The rule with its numbers, the shapes that were given, the fix."""
        rule, bracket, given = self.reason.partition(" (input ")
        end = given.find("))")
        shapes = f"input {given[: given.rfind(')') if end < 0 else end + 1]}" if bracket else ""
        made: list[Part] = [f"✘ {rule}"]
        made += [f"  given: {shapes}"] if shapes else []
        return [*made, *([f"  fix: {self.fix}"] if self.fix else [])]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        error = {"reason": self.reason, "fix": self.fix}
        return {"kind": "layer", "spec": self.spec, "error": error}


def explain_layer(spec: str, in_shape: Any = None) -> Layer | Refused:
    """One layer, from a label, torch code, benchdnn's or MIOpen's line.

    Args:
        in_shape: the input's shape, where the text does not say it; may be left out.

    Raises:
        UsageError: this cannot be read.
    """
    given = None if in_shape is None else read_shape(in_shape)
    try:
        if given is None:
            problem = layers(spec)[0].op
            if isinstance(problem, str):
                raise UsageError(f"{spec!r} has no window")
        else:
            problem = label.read(spec, in_shape=given)
    except UsageError:
        raise
    except RefconvError as error:
        reason = str(error).replace(str(ANY), "any")
        return Refused(spec, reason, _fix(spec, given))
    return Layer(spec, problem, ANY not in input_shape(problem))


def _fix(spec: str, given: Size | None) -> str:
    """What to change in a call that normalisation refuses."""
    try:
        name, values = arguments(spec)
    except UsageError:
        return ""
    op, rank = MODULES.get(name, (name, 0))
    rank = rank or OPS[name].rank
    shape = values.pop("input", None) or given or (1, values.get("in_channels", 1), *(ANY,) * rank)
    if len(shape) not in (rank, rank + 1, rank + 2):
        better = spec.replace(name, f"{name[:-2]}{len(shape) - 2}d")
        try:
            problem = label.read(better, in_shape=given)
        except RefconvError:
            return ""
        text = f"{shape_text(input_shape(problem))} -> {shape_text(problem.output_shape)}"
        return f"{better} takes it: {text}"
    x = Array(shape, "float32", -1)
    if "in_channels" in values:
        channels, filters, groups = (
            values.pop(key) for key in ("in_channels", "out_channels", "groups")
        )
        kernel = values.pop("kernel_size")
        kernel = tuple(kernel) if isinstance(kernel, tuple | list) else (kernel,) * rank
        first, second = (channels, filters) if "transpose" in op else (filters, channels)
        values |= {"groups": groups}
        weight = (first, second // groups, *kernel)
    else:
        weight = values.pop("weight", None)
    tensors = {"input": x} | ({"weight": Array(weight, "float32")} if weight else {})
    where = "" if name in OPS else f"nn.{name}"
    call = Op(0, op, where or "forward()", (), {**values, **tensors})
    try:
        return layer_fix(None, call)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return ""


def _given(spec: str) -> dict[str, Any] | None:
    """The arguments as they were written; None where it is no torch code."""
    if "(" not in spec:
        return None
    return arguments(spec)[1]


def _filters(p: ConvProblem) -> list[tuple[str, str]]:
    """How many filters of which shape; the weight; the parameters; the wiring."""
    each = p.in_channels // p.groups
    one = shape_text((each, *p.kernel))
    kernels = p.out_channels * each
    dims = {1: "one", 2: "two", 3: "three"}[p.rank]
    text = f"{p.out_channels} of {one}"
    if each > 1:
        text += f" = {kernels:,} {dims}-dimensional sub-kernels, {each} in each filter"
    weight = f"[{','.join(map(str, p.weight_shape))}] = {prod(p.weight_shape):,} numbers"
    made = [("filters", text), ("weight", weight)]
    if p.transposed:
        made[0] = ("filters", f"{text} (stored with the input's channels first)")
    made.append(("params", params_line(p)))
    made.append(("wiring", _wiring(p)))
    return made


def _wiring(p: ConvProblem) -> str:
    if p.groups == 1:
        seen = f"all {p.in_channels} input channels" if p.in_channels > 1 else "the input channel"
        return f"groups=1: every filter sees {seen}"
    each = p.in_channels // p.groups
    filters = p.out_channels // p.groups
    if each == 1:
        many = "filter sees" if filters == 1 else f"{filters} filters see"
        return f"groups={p.groups}: depthwise, one {many} each input channel and no other"
    return (
        f"groups={p.groups}: {p.groups} sets that do not meet; in each, {filters} filters see "
        f"{each} of the {p.in_channels} input channels"
    )


def _general(p: Problem) -> list[tuple[str, str]]:
    """The output's size where the input's is not known."""
    rows = arithmetic.FORMULAS[arithmetic.family(p)]
    made = [("output", rows.get("full", rows["simple"]))]
    if not isinstance(p, ConvProblem | PoolProblem) or _adaptive(p):
        return made
    for axis, letter in zip(arithmetic.axes(p), _LETTERS[p.rank], strict=True):
        low, high = axis.padding
        if axis.transposed:
            add = axis.extent + axis.output_padding - axis.stride - 2 * low
            body = f"{axis.stride}*{letter}{add:+d}" if axis.stride > 1 else f"{letter}{add:+d}"
            made.append(("", f"{letter} -> {body.removesuffix('+0')}"))
            continue
        inner = low + high - axis.extent
        body = f"{letter}{inner:+d}" if inner else letter
        body = f"floor(({body})/{axis.stride})+1" if axis.stride > 1 else f"{letter}{inner + 1:+d}"
        made.append(("", f"{letter} -> {body.removesuffix('+0')}"))
    return made


def _adaptive(p: Problem) -> bool:
    return isinstance(p, PoolProblem) and p.adaptive


def _notes(p: Problem) -> list[str]:
    """What a reader may stumble over, each once."""
    axes = arithmetic.axes(p)
    named = len({axis.notes for axis in axes}) > 1
    made = [f"{axis.name}: {note}" if named else note for axis in axes for note in axis.notes]
    if isinstance(p, ConvProblem) and any(low != high for low, high in p.padding):
        made.append("an even kernel: 'same' puts the extra zero behind (right, bottom)")
    if not named and not made and any(axis.slides for axis in axes):
        made.append("nothing is left over: the last window ends with the padded input")
    if isinstance(p, ConvProblem) and not p.transposed and p.in_size == p.out_size:
        made.append("the size stays as it is")
    return list(dict.fromkeys(made))


def _macs(p: ConvProblem) -> str:
    total, inside = problem_macs(p), problem_macs(p, padding=False)
    text = f"{macs_line(p)} ({amount(2 * total)}FLOP)"
    return text if inside == total else f"{text}; {inside:,} without padding's zeros"
