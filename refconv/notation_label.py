"""Our own notation → problem: the words of a label (``label`` describes them) and what they
mean.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import checks, window
from .errors import UsageError
from .notation import DTYPES, Problem, build, integer, near, shape
from .ops import OPS
from .problem import ConvProblem, Size

EXAMPLE = "'conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1'"
_ARGUMENTS = {
    "k": "kernel_size",
    "s": "stride",
    "p": "padding",
    "d": "dilation",
    "g": "groups",
    "o": "output_size",
    "op": "output_padding",
    "div": "divisor_override",
    "norm": "norm_type",
    "value": "value",
}
_FLAGS: dict[str, tuple[str, Any]] = {
    "ceil": ("ceil_mode", True),
    "exclude_pad": ("count_include_pad", False),
    "reflect": ("mode", "reflect"),
    "replicate": ("mode", "replicate"),
    "circular": ("mode", "circular"),
}
_TAKES = {
    "conv": "w b y s p d g",
    "conv_transpose": "w b s p op d g",
    "max_pool": "k s p d ceil",
    "avg_pool": "k s p ceil exclude_pad div",
    "lp_pool": "norm k s ceil",
    "adaptive_max_pool": "o",
    "adaptive_avg_pool": "o",
    "max_unpool": "k s p o",
    "unfold": "k s p d",
    "fold": "o k s p d",
    "pad": "p value reflect replicate circular",
}
_NEEDS = {
    "conv": "w",
    "conv_transpose": "w",
    "max_pool": "k",
    "avg_pool": "k",
    "lp_pool": "norm k",
    "adaptive_max_pool": "o",
    "adaptive_avg_pool": "o",
    "unfold": "k",
    "fold": "o k",
}
ARRAY = re.compile(r"([xwy])\[([^\]]*)\]")
_NUMBER = re.compile(r"(op|div|norm|value|[kspdgo])=?(\S+)")


def parse(text: str, *, dtype: str = "float32") -> Problem:
    """The problem that a label describes.

    Args:
        dtype: for a label that names none.

    Raises:
        UsageError: this is not a label.
        ShapeError, ArgumentError, DtypeError: it is one, of an impossible problem.

    Example:
        >>> parse("conv2d x[1,6,14,14] w[16,6,5,5] b").output_shape
        (1, 16, 10, 10)
    """
    op, *words = re.sub(r"\s*,\s*|(?<=\[)\s+|\s+(?=\])", _tight, text.strip()).split() or [""]
    if op not in OPS:
        raise UsageError(f"{op!r} is not an op{near(op, OPS) or '.'} A label is, e.g., {EXAMPLE}")
    kind = OPS[op].kind
    tokens: dict[str, Any] = {}
    for word in words:
        key, value = _token(text, op, word)
        if key in tokens:
            raise UsageError(f"label: {key} is given twice in {text!r}")
        tokens[key] = value
    for key in ("x", *_NEEDS.get(kind, "").split()):
        if key not in tokens:
            raise UsageError(f"label: {op} needs {key}, which {text!r} lacks; e.g. {EXAMPLE}")
    dtype = tokens.pop("dtype", dtype)
    tensors = {"input": tokens.pop("x"), "weight": tokens.pop("w", None)}
    y = tokens.pop("y", None)
    if tokens.pop("b", False):
        weight = tensors["weight"]
        axis = 1 if kind == "conv_transpose" else 0
        groups = tokens.get("g", 1) if kind == "conv_transpose" else 1
        many = isinstance(groups, tuple) or len(weight) <= axis
        tensors["bias"] = () if many else (weight[axis] * groups,)
    arguments: dict[str, Any] = {}
    for key, value in tokens.items():
        name, constant = _FLAGS.get(key, (_ARGUMENTS.get(key, key), value))
        if name in arguments:
            raise UsageError(
                f"label: {arguments[name]} and {constant} exclude each other in {text!r}"
            )
        arguments[name] = constant
    if kind == "pad":
        arguments["pad"] = _pad_list(text, arguments.pop("padding", ()))
    elif "padding" in arguments:
        arguments["padding"] = _padding(text, op, arguments["padding"])
    if kind == "max_unpool":
        arguments = _unpool(text, op, tensors["input"], arguments)
    if y is not None:
        return _derived(op, tensors, arguments, dtype, y)
    return build(op, tensors, arguments, dtype)


def _tight(found: re.Match[str]) -> str:
    return "," if "," in found[0] else ""


def _token(text: str, op: str, word: str) -> tuple[str, Any]:
    """One word of a label as (key, value)."""
    if word in DTYPES:
        return "dtype", word
    takes = _TAKES[OPS[op].kind].split()
    if op == "avg_pool1d":
        takes.remove("div")
    array, number = ARRAY.fullmatch(word), _NUMBER.fullmatch(word)
    if array and (array[1] == "x" or array[1] in takes):
        return array[1], shape(array[2], f"label: {array[1]}[…]") if array[2] else ()
    if word in _FLAGS and word in takes:
        return word, True
    if word == "b" and "b" in takes:
        return "b", True
    if number and number[1] in takes:
        return number[1], _value(text, number[1], number[2])
    raise UsageError(
        f"label: {op} does not take {word!r} in {text!r}; it takes x {' '.join(takes)} and a "
        f"dtype, e.g. {EXAMPLE}"
    )


def _value(text: str, key: str, given: str) -> Any:
    """The number, numbers or paddings behind a key."""
    if key in ("value", "norm"):
        try:
            return float(given) if key == "norm" else ast.literal_eval(given)
        except (ValueError, SyntaxError):
            if given in ("inf", "-inf", "nan"):
                return float(given)
        raise UsageError(f"label: {key} must be a number, got {given!r} in {text!r}")
    if key == "p" and given in ("same", "valid"):
        return given
    part = r"-?\d+(:-?\d+)?" if key == "p" else r"-?\d+"
    if not re.fullmatch(rf"{part}(,{part})*", given):
        rule = ", a low:high pair, same or valid" if key == "p" else ""
        raise UsageError(
            f"label: {key} must be an int, or one int an axis behind commas{rule}, got {given!r} "
            f"in {text!r}; "
            f"e.g. {key}2 or {key}2,1"
        )
    values = [tuple(integer(side, key) for side in v.split(":")) for v in given.split(",")]
    if key == "p":
        return [(low, high[0] if high else low) for low, *high in values]
    return values[0][0] if len(values) == 1 else tuple(v for (v,) in values)


def _padding(text: str, op: str, given: Any) -> Any:
    """(low, high) pairs as torch's numbers where the sides are equal, else one pair an axis."""
    if isinstance(given, str):
        return given
    if all(low == high for low, high in given):
        return given[0][0] if len(given) == 1 else tuple(low for low, _ in given)
    rank = OPS[op].rank
    if OPS[op].kind != "conv":
        fix = "op1 adds one at the high side" if "transpose" in op else "a pad case can come first"
        raise UsageError(f"label: {op} takes no low:high padding, got {text!r}; {fix}")
    if len(given) not in (1, rank):
        raise UsageError(f"label: {op} has {rank} axes, but p names {len(given)} in {text!r}")
    if any(low < 0 for low, _ in given):
        raise UsageError(f"label: a low padding must be at least 0, got {text!r}")
    return tuple(given) * (rank if len(given) == 1 else 1)


def _pad_list(text: str, given: Any) -> tuple[int, ...]:
    """(low, high) of the last axes, first axis first, as torch's flat list, last axis first."""
    if isinstance(given, str):
        raise UsageError(f"label: pad needs numbers, e.g. p1,2:0, got {text!r}")
    return tuple(side for pair in reversed(given) for side in pair)


def _unpool(text: str, op: str, x: Size, arguments: dict[str, Any]) -> dict[str, Any]:
    """An unpooling's arguments; with ``o`` alone, a window that makes every output size
    possible.
    """
    rank, wanted = OPS[op].rank, arguments.get("output_size")
    if wanted is not None:
        wanted = arguments["output_size"] = (wanted,) * rank if isinstance(wanted, int) else wanted
    if "kernel_size" in arguments:
        return arguments
    if wanted is None or len(arguments) > 1:
        raise UsageError(
            f"label: {op} needs its output size (o6,6), or its window (k2 s2 p0), got {text!r}"
        )
    small = x[-rank:] if len(x) > rank else (1,) * rank
    kernel = tuple(o - (s - 1) for o, s in zip(wanted, small, strict=False))
    return {**arguments, "kernel_size": kernel if len(kernel) == rank else 1, "stride": 1}


def _derived(
    op: str, tensors: Mapping[str, Any], given: dict[str, Any], dtype: str, y: Size
) -> Any:
    """A convolution with as many outputs as ``y`` says, which may be more or fewer than usual."""
    x, weight, rank = tensors["input"], tensors["weight"], OPS[op].rank
    if len(weight) != rank + 2 or not rank < len(x) == len(y) or min(y[-rank:]) < 1:
        raise UsageError(f"label: y must be an output as {op} has it, got {y} for {x} and {weight}")
    steps = checks.numbers(op, "stride", given.get("stride", 1), rank)
    gaps = checks.numbers(op, "dilation", given.get("dilation", 1), rank)
    padding = given.get("padding", 0)
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        pairs = padding
    elif isinstance(padding, str):
        raise UsageError(f"label: with y the padding must be a number, got {padding!r}")
    else:
        pairs = tuple((p, p) for p in checks.numbers(op, "padding", padding, rank))
    reach = [
        (low, (o - 1) * s + window.effective_kernel(k, d) - size - low)
        for o, s, k, d, size, (low, _) in zip(
            y[-rank:], steps, weight[2:], gaps, x[-rank:], pairs, strict=True
        )
    ]
    problem = build(op, tensors, {**given, "padding": tuple(reach)}, dtype)
    if not isinstance(problem, ConvProblem) or problem.output_shape != y:
        raise UsageError(f"label: {op} gives {problem.output_shape}, but y says {y}")
    return replace(problem, padding=pairs)
