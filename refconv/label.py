"""The label: one line of text ⇄ problem, exactly. ``read`` also takes torch's, benchdnn's and MIOpenDriver's notations.

A label is the op, its arrays' shapes, its numbers and its dtype, with what is usual left out::

    conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1:2,0 d1 g1 float64
    conv_transpose2d x[1,16,6,6] w[16,16,3,3] b s2 p1 op1
    max_pool2d x[6,28,28] k2 s2 p1 d1 ceil        avg_pool2d x[1,2,5,5] k3 p1 ceil exclude_pad div4
    lp_pool2d x[1,2,5,5] norm2.0 k3 s1            adaptive_avg_pool2d x[1,2,5,5] o3,2
    max_unpool2d x[1,2,3,3] o6,6 (or k2 s2 p0)    pad x[1,2,5,5] p1,2:0 reflect
    unfold x[1,2,5,5] k3 s1 p0 d1                 fold x[1,18,9] o5 k3

``x`` is the input, ``w`` the weight as torch shapes it, ``b`` says that there is a bias. Then ``s``\\ tride, ``p``\\ adding,
``d``\\ ilation, ``g``\\ roups, ``op`` (output padding), ``k``\\ ernel and ``o``\\ utput size: one number for all axes, or one
an axis behind commas. A padding is ``low:high`` where the sides differ; a convolution also takes ``p=same``. A pool's
stride is its kernel unless given; ``pad`` names the last axes, each with its own padding, and may have ``value=1.5``.
``y[…]`` stands only where a convolution's output is smaller than its numbers give, as some derivatives' are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from . import notation_benchdnn, notation_miopen, notation_torch, window
from .errors import UsageError
from .moves import ColumnProblem, IndexProblem, PadProblem
from .notation import Problem, build, input_shape, integer, near, shape
from .ops import FLOATS, OPS
from .problem import ConvProblem, PoolProblem, Size

DTYPES = frozenset(FLOATS).union(*(row.extra_dtypes for row in OPS.values()))

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
_ARRAY = re.compile(r"([xwy])\[([^\]]*)\]")
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
        raise UsageError(f"{op!r} is not an op{near(op, OPS)} A label is, e.g., {_EXAMPLE}")
    kind = OPS[op].kind
    tokens: dict[str, Any] = {}
    for word in words:
        key, value = _token(text, op, word)
        if key in tokens:
            raise UsageError(f"label: {key} is given twice in {text!r}")
        tokens[key] = value
    for key in ("x", *_NEEDS.get(kind, "").split()):
        if key not in tokens:
            raise UsageError(f"label: {op} needs {key}, which {text!r} lacks; e.g. {_EXAMPLE}")
    dtype = tokens.pop("dtype", dtype)
    tensors = {"input": tokens.pop("x"), "weight": tokens.pop("w", None)}
    y = tokens.pop("y", None)
    if tokens.pop("b", False):
        weight = tensors["weight"]
        axis = 1 if kind == "conv_transpose" else 0
        groups = tokens.get("g", 1) if kind == "conv_transpose" else 1
        many = isinstance(groups, tuple) or len(weight) <= axis
        tensors["bias"] = () if many else (weight[axis] * groups,)
    arguments = {}
    for key, value in tokens.items():
        name, constant = _FLAGS.get(key, (_ARGUMENTS.get(key, key), value))
        arguments[name] = constant
    if kind == "pad":
        arguments["pad"] = _pad_list(arguments.pop("padding", ()))
    elif "padding" in arguments:
        arguments["padding"] = _padding(text, op, arguments["padding"])
    if kind == "max_unpool":
        arguments = _unpool(text, op, tensors["input"], arguments)
    problem = build(op, tensors, arguments, dtype)
    return problem if y is None else _cut(text, problem, y)


def format(problem: Problem) -> str:
    """The label of a problem: ``parse(format(problem)) == problem``.

    Example:
        >>> format(parse("conv2d  x[1, 3, 7, 7] w[2,3,3,3] s2,2 p1,1 d1 float32"))
        'conv2d x[1,3,7,7] w[2,3,3,3] s2 p1'
    """
    words = [problem.op, f"x[{_commas(input_shape(problem))}]"]
    match problem:
        case ConvProblem():
            words += _conv_words(problem)
        case PoolProblem(kernel=()):
            words += [f"o{_numbers(problem.out_size)}"]
        case PoolProblem():
            words += [f"norm{problem.norm!r}"] if problem.norm is not None else []
            words += _steps("k", problem.kernel, None) + _steps("s", problem.stride, problem.kernel)
            words += _steps("p", problem.padding, 0) + _steps("d", problem.dilation, 1)
            words += ["ceil"] if problem.ceil_mode else []
            words += [] if problem.count_include_pad else ["exclude_pad"]
            words += [] if problem.divisor is None else [f"div{problem.divisor}"]
        case ColumnProblem():
            words += _steps("o", problem.size, None) if problem.op == "fold" else []
            words += _steps("k", problem.kernel, None) + _steps("s", problem.stride, 1)
            words += _steps("p", problem.padding, 0) + _steps("d", problem.dilation, 1)
        case IndexProblem():
            words += _steps("o", problem.large, None)
        case PadProblem():
            words += _pad_words(problem)
    return " ".join(words if problem.dtype == "float32" else [*words, problem.dtype])


def read(
    text: str, *, in_shape: str | Iterable[int] | None = None, dtype: str = "float32"
) -> Problem:
    """The problem that ``text`` describes, in whichever notation it is.

    Args:
        text: a label, torch code (``nn.Conv2d(6,16,5)``, ``F.conv2d(x[1,3,8,8], w[6,3,5,5])``), a benchdnn problem
            or a MIOpenDriver command line.
        in_shape: the input's shape, which a module alone does not say.
        dtype: where the text names none.

    Raises:
        UsageError: in no notation does this make sense.

    Example:
        >>> format(read("nn.Conv2d(6, 16, 5)", in_shape="1x6x14x14"))
        'conv2d x[1,6,14,14] w[16,6,5,5] b'
        >>> format(read("mb1ic6ih14oc16kh5"))
        'conv2d x[1,6,14,14] w[16,6,5,5]'
    """
    text = text.strip()
    wanted = None if in_shape is None else shape(in_shape)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UsageError(f"{dtype!r} is not a dtype{near(str(dtype), DTYPES)}")
    first = text.split(maxsplit=1)[0] if text else ""
    if first in OPS or _ARRAY.search(text) and "(" not in text:
        problem = parse(text, dtype=dtype)
    elif "(" in text:
        return notation_torch.parse(text, in_shape=wanted, dtype=dtype)
    elif notation_miopen.looks_like(text):
        problem = notation_miopen.parse(text, dtype=dtype)
    elif notation_benchdnn.looks_like(text):
        problem = notation_benchdnn.parse(text, dtype=dtype)
    else:
        raise UsageError(
            f"{text!r} is not a problem in any notation{near(first, OPS)} Write {_EXAMPLE}; or torch's "
            "'nn.Conv2d(6,16,5)' with the input's shape; or 'F.conv2d(x[1,3,32,32], w[6,3,5,5], stride=2)'; or "
            "benchdnn's mb1ic6ih14oc16kh5"
        )
    if wanted is not None and wanted != input_shape(problem):
        raise UsageError(
            f"{text!r} already says that the input is {input_shape(problem)}, but its shape is also given as {wanted}; "
            "leave one of them out"
        )
    return problem


_EXAMPLE = "'conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1'"


def _tight(found: re.Match[str]) -> str:
    return "," if "," in found[0] else ""


def _token(text: str, op: str, word: str) -> tuple[str, Any]:
    """One word of a label as (key, value)."""
    if word in DTYPES:
        return "dtype", word
    takes = _TAKES[OPS[op].kind].split()
    if op == "avg_pool1d":
        takes.remove("div")
    array, number = _ARRAY.fullmatch(word), _NUMBER.fullmatch(word)
    if array and (array[1] == "x" or array[1] in takes):
        return array[1], shape(array[2], f"label: {array[1]}[…]") if array[2] else ()
    if word in _FLAGS and word in takes:
        return f"{word}", True
    if word == "b" and "b" in takes:
        return "b", True
    if number and number[1] in takes:
        return number[1], _value(text, number[1], number[2])
    raise UsageError(
        f"label: {op} does not take {word!r} in {text!r}; it takes x {' '.join(takes)} and a dtype, e.g. {_EXAMPLE}"
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
            f"label: {key} must be an int, or one int an axis behind commas{rule}, got {given!r} in {text!r}; "
            f"e.g. {key}2 or {key}2,1"
        )
    values = [
        tuple(integer(side, key) for side in v.split(":")) if ":" in v else integer(v, key)
        for v in given.split(",")
    ]
    return values[0] if len(values) == 1 else tuple(values)


def _padding(text: str, op: str, given: Any) -> Any:
    """Paddings as torch takes them, or, if a side differs, as (low, high) pairs, one an axis."""
    one = isinstance(given, tuple) and bool(given) and isinstance(given[0], int) and text is None
    values = given if isinstance(given, tuple) else (given,)
    pair = re.search(r"\bp=?-?\d+:-?\d+(?!\S)", text) is not None and len(values) == 2
    values = (given,) if pair and all(isinstance(v, int) for v in values) else values
    if one or not any(isinstance(v, tuple) for v in values):
        return given
    rank = OPS[op].rank
    if OPS[op].kind != "conv":
        raise UsageError(
            f"label: only conv and pad take a low:high padding, not {op} in {text!r}"
            + ("; op1 adds one at the high side" if "transpose" in op else "; pad first")
        )
    pairs = tuple(v if isinstance(v, tuple) else (v, v) for v in values)
    if len(pairs) not in (1, rank):
        raise UsageError(f"label: {op} has {rank} axes, but p names {len(pairs)} in {text!r}")
    if any(low < 0 for low, _ in pairs):
        raise UsageError(f"label: a low padding must be at least 0, got {pairs} in {text!r}")
    return pairs * (rank if len(pairs) == 1 else 1)
