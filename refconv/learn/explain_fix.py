"""Why a model stopped: the rule that the failing call breaks, with its numbers, and what to change.

Our own rules speak first, since they know the numbers; torch's message is quoted beside them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import RefconvError
from ..ops import OPS
from ..problem import ConvProblem, PoolProblem, Size
from .captured import Array, Capture, Op
from .explain_fix_layer import channels_reason, layer_fix
from .explain_ops import factors, shape_text
from .explain_rows import flattening


@dataclass(frozen=True)
class Stop:
    """Why a forward stopped.

    Args:
        op: torch's name of the call, or what was being built.
        where: the layer, or the forward, that called it.
        reason: the rule and the numbers; fix: what to change, or empty if nothing is known.
        torch: what torch itself says.
    """

    op: str
    where: str
    reason: str
    fix: str = ""
    torch: str = ""

    @property
    def line(self) -> str:
        """Reason and fix as one line."""
        return f"{self.reason}; {self.fix}" if self.fix else self.reason

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "op": self.op,
            "where": self.where,
            "reason": self.reason,
            "fix": self.fix,
            "torch": self.torch,
        }


def stop(found: Capture, torch_says: Callable[[Op], str]) -> Stop:
    """Why a capture ended.

    Args:
        torch_says: torch's message for a call, made again with real tensors; empty if none.
    """
    op, error = found.failed, found.error
    assert error is not None
    said = _first_line(error)
    if op is None:  # raised by the model itself
        return Stop("forward", found.where, f"{found.where} raised {type(error).__name__}: {said}")
    says = torch_says(op) or ("" if isinstance(error, RefconvError) else said)
    try:
        reason, fix = _reason(found, op)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        reason, fix = "", ""  # called in a way that the words do not fit
    return Stop(op.name, op.where, reason or f"{op.name} got {_shapes(op)}: {said}", fix, says)


def _reason(found: Capture, op: Op) -> tuple[str, str]:
    if op.name == "linear":
        return _linear(found, op)
    if op.name in ("view", "reshape"):
        return _view(op)
    if op.name in ("batch_norm", "instance_norm", "group_norm"):
        return _norm(op)
    if op.name.rstrip("_") in ("add", "sub", "mul", "div", "cat", "concat"):
        return _join(found, op)
    if op.name == "embedding" and "int" not in op.args[0].dtype:
        shape = shape_text(op.args[0].shape[1:] or op.args[0].shape)
        return f"embedding takes indices, got {op.args[0].dtype}", f"say --in {shape}:int64"
    if op.name in OPS:
        try:
            op.problem()
        except RefconvError as error:
            rule = str(error).partition(" (input ")[0]
            return channels_reason(op) or rule, layer_fix(found, op)
    return "", ""


def _linear(found: Capture, op: Op) -> tuple[str, str]:
    x, w = op.args[0], op.args[1]
    out, features = w.shape
    got = x.shape[-1]
    bias = "" if len(op.args) < 3 or op.args[2] is not None else ", bias=False"
    maker = flattening(found, x)
    written = factors(maker) or str(got)
    if len(x.shape) > 2 and math.prod(x.shape[1:]) == features:
        text = f"{'*'.join(map(str, x.shape[1:]))} = {features}"
        return (
            f"linear {features}->{out} got {got}, the last axis of {shape_text(x.shape[1:])}",
            f"flatten first: torch.flatten(x, 1) gives {text}",
        )
    if len(x.shape) > 2:
        all_of_it = math.prod(x.shape[1:])
        text = f"{'*'.join(map(str, x.shape[1:]))} = {all_of_it}"
        return (
            f"linear {features}->{out} got {got}, the last axis of {shape_text(x.shape[1:])}",
            f"flatten first, torch.flatten(x, 1), which gives {text}; then nn.Linear({all_of_it},"
            f"{out}{bias})",
        )
    product = f" = {written}" if written != str(got) else ""
    return (
        f"linear {features}->{out} got {got}{product}",
        f"change to nn.Linear({got},{out}{bias}) or nn.LazyLinear({out}{bias})",
    )


def _view(op: Op) -> tuple[str, str]:
    x = op.inputs[0].shape
    wanted = op.args[1:] if not isinstance(op.args[1], tuple | list) else op.args[1]
    each = math.prod(x[1:])
    known = math.prod(size for size in wanted if size != -1)
    text = ", ".join(map(str, wanted))
    product = "*".join(map(str, x[1:]))
    reason = f"{op.name}({text}): {math.prod(x)} numbers are no multiple of {known}"
    if -1 not in wanted:
        reason = f"{op.name}({text}) needs {known} numbers, got {math.prod(x)}"
    return (
        f"{reason}; one sample has {each} = {product}",
        f"change to {op.name}(-1, {each}) or torch.flatten(x, 1), and the layer behind it to take "
        f"{each}; or give the input size it was made for",
    )


def _norm(op: Op) -> tuple[str, str]:
    got = op.inputs[0].shape[1]
    weights = [a.shape[0] for a in op.arrays if a.source is None and len(a.shape) == 1]
    wanted = weights[0]
    rank = len(op.inputs[0].shape) - 2
    layer = {"batch_norm": f"BatchNorm{rank}d", "instance_norm": f"InstanceNorm{rank}d"}
    name = layer.get(op.name, "GroupNorm")
    return (
        f"{op.name} of {wanted} channels got {got}: {shape_text(op.inputs[0].shape[1:])}",
        f"change {op.where} to nn.{name}({got})" if name != "GroupNorm" else "",
    )


def _join(found: Capture, op: Op) -> tuple[str, str]:
    arrays = op.inputs
    axis = None
    if op.name.startswith(("cat", "concat")):
        axis = op.kwargs.get("dim", op.args[1] if len(op.args) > 1 else 0)
    a, b = _unlike(arrays, axis)
    differs = [
        i
        for i in range(-min(len(a.shape), len(b.shape)), 0)
        if i % len(a.shape) != axis and a.shape[i] != b.shape[i]
    ]
    names = " and ".join(f"{shape_text(x.shape[1:])} ({_maker(found, x)})" for x in (a, b))
    sizes = ", ".join(f"{a.shape[i]} and {b.shape[i]} on axis {i % len(a.shape)}" for i in differs)
    fix = ""
    if len(a.shape) == len(b.shape) and all(i % len(a.shape) >= 2 for i in differs):
        fix = _sizes_fix(found, [(a.shape[i], b.shape[i]) for i in differs])
    elif op.name.startswith("add") and len(a.shape) == len(b.shape) == 4:
        fix = _projection(a.shape, b.shape)
    elif differs and all(i % len(a.shape) == 1 for i in differs):
        fix = "a 1x1 convolution on one of them makes the channels agree"
    what = op.name.rstrip("_")
    return f"{what} got {names}, which differ: {sizes}", fix


def _projection(a: Size, b: Size) -> str:
    """The 1x1 convolution that makes the larger of two images like the smaller."""
    large, small = (a, b) if a[2] >= b[2] else (b, a)
    steps = {-(-m // n) for m, n in zip(large[2:], small[2:], strict=True)}
    step = steps.pop()
    if steps or any((m - 1) // step + 1 != n for m, n in zip(large[2:], small[2:], strict=True)):
        return ""
    stride = f", stride={step}" if step > 1 else ""
    return (
        f"nn.Conv2d({large[1]}, {small[1]}, 1{stride}) on {shape_text(large[1:])} makes it "
        f"{shape_text(small[1:])}"
    )


def _unlike(arrays: list[Array], axis: int | None) -> tuple[Array, Array]:
    """The first array, and the first that does not fit it."""

    def key(shape: Size) -> Size:
        return tuple(size for i, size in enumerate(shape) if i != axis)

    other = next(b for b in arrays[1:] if key(b.shape) != key(arrays[0].shape))
    return arrays[0], other


def _sizes_fix(found: Capture, pairs: list[tuple[int, int]]) -> str:
    """Spatial sizes that do not meet: what was halved with a rest and doubled again."""
    off = {abs(a - b) for a, b in pairs}
    size = found.inputs[0].shape[2:] if found.inputs else ()
    total = 1
    for op in found.ops:
        problem = op.problem() if op.name in OPS else None
        if isinstance(problem, ConvProblem | PoolProblem) and not problem.op.startswith("conv_t"):
            total *= max(problem.stride, default=1)
    if off == {1} and total > 1 and any(s % total for s in size):
        up = "x".join(str(-(-s // total) * total) for s in size)
        return (
            f"a stride of {total} in all does not divide {shape_text(size)}: an input of {up} "
            f"fits, or output_padding=1 in the layer that enlarges"
        )
    return "crop, pad or F.interpolate one of them to the other's size"


def _maker(found: Capture, array: Array) -> str:
    """Where an array comes from, for people."""
    maker = flattening(found, array)
    return "the input" if maker is None else f"{maker.name} in {maker.where}"


def _shapes(op: Op) -> str:
    return " and ".join(shape_text(array.shape) for array in op.inputs) or "no array"


def _first_line(error: BaseException) -> str:
    text = re.split(r"\n", str(error).strip())[0]
    return text or type(error).__name__
