"""The label: one line of text ⇄ problem, exactly. ``read`` also takes other tools' notations.

A label is the op, its arrays' shapes, its numbers and its dtype, with what is usual left out::

    conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1:2,0 d1 g1 float64
    conv_transpose2d x[1,16,6,6] w[16,16,3,3] b s2 p1 op1
    max_pool2d x[6,28,28] k2 s2 p1 d1 ceil
    avg_pool2d x[1,2,5,5] k3 p1 ceil exclude_pad div4
    lp_pool2d x[1,2,5,5] norm2 k3 s1
    adaptive_avg_pool2d x[1,2,5,5] o3,2
    max_unpool2d x[1,2,3,3] o6,6        (or, as torch has it, k2 s2 p0)
    unfold x[1,2,5,5] k3 s1 p0 d1
    fold x[1,18,9] o5 k3
    pad x[1,2,5,5] p1,2:0 reflect

``x`` is the input, ``w`` the weight as torch shapes it, and ``b`` says that there is a bias. Then
come ``s`` stride, ``p`` padding, ``d`` dilation, ``g`` groups, ``op`` output padding, ``k`` kernel
and ``o`` output size: one number for all axes, or one an axis behind commas. Where its sides
differ a padding is ``low:high``; a convolution also takes ``p=same``. A pool's stride is its
kernel unless given. ``pad`` names the last axes, each with its own padding; ``value=1.5`` fills.
``y[…]`` is written only where a convolution computes more or fewer outputs than its numbers give,
as some derivatives do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import notation_benchdnn, notation_miopen, notation_torch, window
from .errors import UsageError
from .moves import ColumnProblem, IndexProblem, PadProblem
from .notation import DTYPES, Problem, input_shape, near, shape
from .notation_label import ARRAY, EXAMPLE, parse
from .ops import OPS
from .problem import ConvProblem, PoolProblem

__all__ = ["format", "parse", "read"]


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
            words += _steps("o", problem.out_size, None)
        case PoolProblem():
            words += [] if problem.norm is None else [f"norm{problem.norm!r}".removesuffix(".0")]
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
        text: a label, torch code (``nn.Conv2d(6,16,5)``, ``F.conv2d(x[1,3,8,8], w[6,3,5,5])``), a
            benchdnn problem or a MIOpenDriver command line.
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
    if first in OPS or (ARRAY.search(text) and "(" not in text):
        problem = parse(text, dtype=dtype)
    elif "(" in text:
        return notation_torch.parse(text, in_shape=wanted, dtype=dtype)
    elif notation_miopen.looks_like(text):
        problem = notation_miopen.parse(text, dtype=dtype)
    elif notation_benchdnn.looks_like(text):
        problem = notation_benchdnn.parse(text, dtype=dtype)
    else:
        raise UsageError(
            f"{text!r} is not a problem in any notation{near(first, OPS) or '.'} Write {EXAMPLE}; "
            "or torch's 'nn.Conv2d(6,16,5)' with the input's shape; or "
            "'F.conv2d(x[1,3,32,32], w[6,3,5,5], stride=2)'; or benchdnn's mb1ic6ih14oc16kh5"
        )
    if wanted is not None and wanted != input_shape(problem):
        raise UsageError(
            f"{text!r} already says that the input is {input_shape(problem)}, but its shape is "
            f"also given as {wanted}; "
            "leave one of them out"
        )
    return problem


def _commas(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)


def _steps(key: str, values: Any, usual: Any) -> list[str]:
    """A key with one value an axis, with one for all, or, where it is the usual value, nothing."""
    values = tuple(values)
    if usual is not None and values == (
        usual if isinstance(usual, tuple) else (usual,) * len(values)
    ):
        return []
    return [f"{key}{_commas(values if len(set(values)) > 1 else values[:1])}"]


def _sides(pads: Iterable[tuple[int, int]]) -> list[str]:
    return [f"{low}" if low == high else f"{low}:{high}" for low, high in pads]


def _conv_words(problem: ConvProblem) -> list[str]:
    words = [f"w[{_commas(problem.weight_shape)}]", *(["b"] if problem.bias else [])]
    if not problem.transposed and problem.out_size != tuple(
        window.out_size(*axis)
        for axis in zip(
            problem.in_size, problem.kernel, problem.stride, problem.padding, problem.dilation,
            strict=True,
        )
    ):  # fmt: skip
        words.append(f"y[{_commas(problem.output_shape)}]")
    words += _steps("s", problem.stride, 1) + _steps("p", _sides(problem.padding), "0")
    words += _steps("op", problem.output_padding, 0) + _steps("d", problem.dilation, 1)
    return words if problem.groups == 1 else [*words, f"g{problem.groups}"]


def _pad_words(problem: PadProblem) -> list[str]:
    named = [axis for axis, pad in enumerate(problem.pads) if pad != (0, 0)]
    count = len(problem.shape) - min(named, default=len(problem.shape))
    words = []
    if problem.mode != "constant":
        count = max(count, len(problem.shape) - 2, 1)
        words = [problem.mode]
    elif problem.value or str(problem.value).startswith("-"):
        words = [f"value={problem.value!r}"]
    return [*([f"p{_commas(_sides(problem.pads[-count:]))}"] if count else []), *words]
