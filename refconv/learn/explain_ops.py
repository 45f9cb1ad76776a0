"""What is said of one captured call: its name with its numbers, the arithmetic, what it costs, and
what it reads.

One function a kind of op, found by torch's name in ``SAYS``; what has none is a row with shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from .. import label
from ..errors import RefconvError
from ..notation import Problem
from ..problem import ConvProblem, PoolProblem, Size
from . import arithmetic
from .arithmetic import Axis
from .captured import POINTWISE, Array, Op
from .count import problem_macs

Reads = Problem | tuple[Axis, ...] | str


@dataclass
class Said:
    """What a row says.

    Args:
        text: ``conv2d 3->6 k5``.
        arithmetic: with the numbers put in; ``{}`` stands for the rows that it reads.
        left_over: cells an axis behind the last window; None where nothing slides.
        macs: multiply-accumulates, zeros of the padding included; None where they are not counted.
        inside: those without the zeros of the padding.
        reads: for the receptive field, as ``receptive.Node.op`` has it.
        quiet: it leaves the shape as it is, and has no parameters: no row of its own.
    """

    text: str
    arithmetic: str = ""
    left_over: tuple[int, ...] | None = None
    macs: int | None = 0
    inside: int | None = None
    reads: Reads = "unknown"
    quiet: bool = False
    notes: list[str] = field(default_factory=list)
    problem: Problem | None = None


def say(op: Op, factors: str = "") -> Said:
    """What is said of a call.

    Args:
        factors: of a linear layer's features where they were flattened, ``16*5*5``.
    """
    if op.opaque:
        return Said(f"{op.name} (opaque)", macs=None, notes=["no function of torch is seen in it"])
    try:
        problem = op.problem()
    except (RefconvError, KeyError):
        problem = None
    if problem is not None:
        return _family(op, problem)
    name = op.name.removesuffix("_")
    if name in POINTWISE:
        return Said(name, reads="pointwise", quiet=True)
    if name == "linear":
        return _linear(op, factors)
    made = SAYS.get(name)
    try:
        said = made(op) if made else None
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        said = None  # called in a way that the words do not fit
    if said is None:
        learnt = any(array.names for array in op.arrays)
        said = Said(op.name, macs=None if learnt or name in MULTIPLY else 0)
    return said


def shape_text(shape: Size) -> str:
    """``16x5x5``.

    Example:
        >>> shape_text((16, 5, 5)), shape_text(())
        ('16x5x5', 'number')
    """
    return "x".join(map(str, shape)) or "number"


def _same(op: Op) -> bool:
    return bool(op.inputs and op.outputs) and op.inputs[0].shape == op.outputs[0].shape


def _family(op: Op, problem: Problem) -> Said:
    axes = arithmetic.axes(problem)
    left = tuple(axis.left_over for axis in axes) if any(a.slides for a in axes) else None
    said = Said(
        f"{problem.op} {numbers(problem)}".rstrip(),
        arithmetic.line(problem),
        left,
        reads=problem,
        problem=problem,
    )
    said.macs, said.inside = (problem_macs(problem, padding=p) for p in (True, False))
    for axis in axes:
        if not axis.adaptive or axis.size % max(axis.out, 1):
            said.notes += [n for n in axis.notes if "left over" not in n and n not in said.notes]
    return said


def numbers(problem: Problem) -> str:
    """A problem's numbers in a few words: ``3->6 k5 s2 p1``; a pool's kernel alone is ``2``."""
    words = label.format(problem).split()[2:]
    usual = {"b", problem.dtype}
    words = [w for w in words if w not in usual and not w.startswith(("w[", "y["))]
    if isinstance(problem, ConvProblem):
        kernel = "x".join(map(str, dict.fromkeys(problem.kernel))) if _square(problem) else ""
        kernel = kernel or "x".join(map(str, problem.kernel))
        words = [f"{problem.in_channels}->{problem.out_channels}", f"k{kernel}", *words]
    elif isinstance(problem, PoolProblem):
        words = [w[1:] if w[0] in "ko" and w[1:2].isdigit() else w for w in words]
    return " ".join(words)


def _square(problem: ConvProblem) -> bool:
    return len(set(problem.kernel)) == 1


def _linear(op: Op, factors: str) -> Said:
    x, w = op.args[0], op.args[1]
    out, features = w.shape
    return Said(
        f"linear {features}->{out}",
        f"in_features = {factors or features} ✔",
        macs=prod(x.shape[:-1]) * features * out,
        reads="global" if len(x.shape) <= 2 else "pointwise",
    )


def _flatten(op: Op) -> Said:
    before, after = op.inputs[0].shape, op.outputs[0].shape
    lead = min(_shared(before, after), len(after) - 1)
    rest, text = before[lead:], ""
    if len(after) == lead + 1 and len(rest) > 1:
        text = f"{'*'.join(map(str, rest))} = {after[-1]}"
    elif len(rest) == 1 and len(after) > lead + 1:
        text = f"{rest[0]} = {'*'.join(map(str, after[lead:]))}"
    kept = len(before) > 2 and len(after) > 2 and before[-2:] == after[-2:]
    others: Reads = "global" if len(after) <= 2 else "unknown"
    return Said(op.name, text, reads="pointwise" if kept or before == after else others)


def _shared(before: Size, after: Size) -> int:
    """How many leading axes two shapes have in common."""
    count = 0
    for a, b in zip(before, after, strict=False):
        if a != b:
            break
        count += 1
    return count


def _add(op: Op) -> Said:
    shapes = [array.shape for array in op.inputs]
    sign = {"add": "+", "sub": "-", "mul": "*", "div": "/"}[op.name.removesuffix("_")]
    if len(shapes) < 2:
        learnt = any(array.names for array in op.arrays)
        text = f"{{}} {sign} parameters" if learnt else ""
        return Said(op.name, text, reads="pointwise", quiet=_same(op) and not learnt)
    kind = "same shape" if len(set(shapes)) == 1 else "broadcast"
    joined = f" {sign} ".join("{}" for _ in shapes)
    return Said(op.name, f"{joined}, {kind}", reads="pointwise")


def _elementwise(op: Op) -> Said:
    alone = len(op.inputs) == 1 and _same(op) and not any(array.names for array in op.arrays)
    rows = "" if len(op.inputs) < 2 else " and ".join("{}" for _ in op.inputs)
    return Said(op.name, rows, reads="pointwise", quiet=alone)


def _cat(op: Op) -> Said:
    arrays = [array for array in op.args[0] if isinstance(array, Array)]
    axis = op.kwargs.get("dim", op.kwargs.get("axis", op.args[1] if len(op.args) > 1 else 0))
    axis %= len(arrays[0].shape)
    sizes = " + ".join(str(array.shape[axis]) for array in arrays)
    image = len(arrays[0].shape) > 3
    of = " channels" if axis == 1 and image else f" on axis {axis}"
    rows = ", ".join("{}" for array in arrays if array.source is not None)
    text = f"{sizes} = {op.outputs[0].shape[axis]}{of} ({rows})"
    return Said(f"cat dim={axis}", text, reads="pointwise" if axis == 1 else "unknown")


def _norm(op: Op) -> Said:
    shape = op.inputs[0].shape
    count = shape[1] if op.name != "layer_norm" and len(shape) > 1 else shape[-1]
    learnt = [name for array in op.arrays for name in array.names]
    text = f"{count} scales + {count} shifts" if len(learnt) == 2 else ""
    return Said(f"{op.name} {count}", text, reads="pointwise")


def _interpolate(op: Op) -> Said:
    given = dict(zip(("input", "size", "scale_factor", "mode"), op.args, strict=False)) | op.kwargs
    mode = given.get("mode", "nearest")
    before, after = op.inputs[0].shape[2:], op.outputs[0].shape[2:]
    lines = []
    for i, o in zip(before, after, strict=True):
        lines.append(f"{i}*{o // i} = {o}" if o % i == 0 else f"{i} -> {o}")
    axes = tuple(
        _enlarged(i, o, mode, bool(given.get("align_corners")))
        for i, o in zip(before, after, strict=True)
    )
    known = all(axis is not None for axis in axes)
    text = ", ".join(dict.fromkeys(lines))
    return Said(f"interpolate {mode}", text, reads=axes if known else "unknown")  # type: ignore[arg-type]


def _enlarged(size: int, out: int, mode: str, corners: bool) -> Axis | None:
    """What an enlargement by a whole number reads: bilinear is a transposed convolution."""
    if out % size or corners:
        return None
    s = out // size
    if mode == "nearest":
        return Axis("given", size, out)
    if mode in ("linear", "bilinear", "trilinear"):
        p = (s - s % 2) // 2
        return Axis("transposed", size, out, kernel=2 * s - s % 2, stride=s, padding=(p, p))
    return None


def _pixel_shuffle(op: Op) -> Said:
    factor = int(op.kwargs.get("upscale_factor") or op.args[1])
    (c, *size), (oc, *out) = op.inputs[0].shape[-3:], op.outputs[0].shape[-3:]
    each = ", ".join(dict.fromkeys(f"{i}*{factor} = {o}" for i, o in zip(size, out, strict=True)))
    axes = tuple(Axis("given", i, o) for i, o in zip(size, out, strict=True))
    return Said(f"pixel_shuffle {factor}", f"{c}/{factor}^2 = {oc} channels, {each}", reads=axes)


def _pixel_unshuffle(op: Op) -> Said:
    factor = int(op.kwargs.get("downscale_factor") or op.args[1])
    (c, *size), (oc, *out) = op.inputs[0].shape[-3:], op.outputs[0].shape[-3:]
    each = ", ".join(dict.fromkeys(f"{i}/{factor} = {o}" for i, o in zip(size, out, strict=True)))
    axes = tuple(
        Axis("conv", i, o, kernel=factor, stride=factor) for i, o in zip(size, out, strict=True)
    )
    return Said(f"pixel_unshuffle {factor}", f"{c}*{factor}^2 = {oc} channels, {each}", reads=axes)


def _reduce(op: Op) -> Said:
    before = op.inputs[0].shape
    axes = op.kwargs.get("dim", op.args[1] if len(op.args) > 1 else range(len(before)))
    over = tuple(before[a] for a in ([axes] if isinstance(axes, int) else axes))
    return Said(op.name, f"{op.name} over {shape_text(over)}", reads="global")


def _axes_moved(op: Op) -> Said:
    rest = ",".join(str(arg) for arg in op.args[1:]).strip("()[]")
    before, after = op.inputs[0].shape, op.outputs[0].shape
    kept = len(before) > 3 and before[-2:] == after[-2:] and "-" not in rest
    text = f"axes {rest.replace(' ', '')}" if rest else ""
    return Said(op.name, text, reads="pointwise" if kept else "unknown")


def _squeeze(op: Op) -> Said:
    axis = op.args[1] if len(op.args) > 1 else op.kwargs.get("dim")
    what = "axes of size 1" if axis is None else f"axis {axis}, of size 1,"
    verb = "added" if op.name.startswith("un") else "dropped"
    return Said(op.name, f"{what} {verb}", reads="pointwise")


def _part(op: Op) -> Said:
    before, after = op.inputs[0].shape, op.outputs[0].shape
    changed = [a for a, b in enumerate(before) if len(before) == len(after) and b != after[a]]
    text = ", ".join(f"{after[a]} of {before[a]} on axis {a}" for a in changed)
    count = len(op.outputs)
    name = f"{op.name} in {count}" if op.name in ("chunk", "split") else op.name
    if op.name == "getitem":
        name = "x[…]"
    inside = len(before) > 2 and before[2:] == after[2:]
    return Said(name, text, reads="pointwise" if inside else "unknown")


def _assign(op: Op) -> Said:
    """Numbers or constants put into what was there change no shape; another array is one more."""
    given = any(isinstance(arg, Array) and arg.source is not None for arg in op.args[2:])
    moved = given or op.args[0].source is None
    return Said("x[…] = …", reads="unknown" if moved else "pointwise", quiet=not moved)


def _matmul(op: Op) -> Said:
    arrays = op.arrays[-2:]
    a, b = (array.shape for array in arrays)
    text = f"({shape_text(a[-2:])}) @ ({shape_text(b[-2:])})"
    return Said(op.name, text, macs=prod(op.outputs[0].shape) * a[-1], reads="global")


def _embedding(op: Op) -> Said:
    rows, width = next(a.shape for a in op.arrays if a.names)
    return Said(f"embedding {rows}x{width}", f"a row of {width} for each index", reads="pointwise")


_ELEMENTWISE = """
abs ceil clamp clip cos eq erf exp expm1 floor floor_divide ge gt le log log1p lt masked_fill
maximum minimum ne neg pow prelu reciprocal remainder round rsqrt sign sin sqrt square where
"""

_MULTIPLY = """
addbmm addmm baddbmm bilinear cdist einsum multi_head_attention_forward scaled_dot_product_attention
tensordot
"""
#: What multiplies in ways that are not counted here.
MULTIPLY = frozenset(_MULTIPLY.split())

SAYS: dict[str, Callable[[Op], Said]] = {
    **dict.fromkeys(("flatten", "view", "reshape", "unflatten"), _flatten),
    **dict.fromkeys(("add", "sub", "mul", "div"), _add),
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm"), _norm),
    **dict.fromkeys(("interpolate", "upsample"), _interpolate),
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduce),
    **dict.fromkeys(("permute", "transpose", "swapaxes", "movedim"), _axes_moved),
    **dict.fromkeys(("squeeze", "unsqueeze"), _squeeze),
    **dict.fromkeys(("getitem", "chunk", "split", "narrow", "select"), _part),
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "embedding": _embedding,
    "setitem": _assign,
}


def factors(op: Any) -> str:
    """``16*5*5`` of a flattening call's input, else empty."""
    if op is None or op.name not in ("flatten", "view", "reshape"):
        return ""
    text = _flatten(op).arithmetic
    left, sign, _ = text.partition(" = ")
    return left if sign and "*" in left else ""
