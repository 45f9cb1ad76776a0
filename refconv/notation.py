"""What every notation of a problem shares: shapes as text, near matches, and the way from torch's
arguments to a problem.

The notations themselves are one file each: ``label`` (ours), ``notation_torch``,
``notation_benchdnn`` and ``notation_miopen``. All of them end in ``build``, so that an impossible
problem gets normalisation's own error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from . import checks, normalize, normalize_pool
from .errors import RefconvError, UsageError
from .moves import ColumnProblem, IndexProblem, PadProblem
from .ops import FLOATS, OPS
from .problem import ConvProblem, PoolProblem, Size

Problem = ConvProblem | PoolProblem | ColumnProblem | IndexProblem | PadProblem

DTYPES = frozenset(FLOATS).union(*(row.extra_dtypes for row in OPS.values()))

_SHAPE = re.compile(r"\s*[\[(]?\s*(\d+(?:\s*[x×,*]\s*\d+)*)\s*,?\s*[\])]?\s*")


def build(op: str, tensors: Mapping[str, Any], arguments: Mapping[str, Any], dtype: str) -> Problem:
    """The problem of ``op`` from its arrays' shapes and torch.nn.functional's argument names.

    Args:
        tensors: shapes of ``input`` and, where there are, ``weight``, ``bias`` and ``indices``.

    Raises:
        RefconvError: normalisation refuses, or an argument is of a type that no rule speaks of
            (UsageError).
    """
    kind, x, given = OPS[op].kind, tensors["input"], dict(arguments)
    checks.dtypes(op, input=dtype)
    try:
        if kind in ("conv", "conv_transpose"):
            make = normalize.conv if kind == "conv" else normalize.conv_transpose
            return make(op, x, tensors["weight"], tensors.get("bias"), dtype, **given)
        if kind == "lp_pool":
            norm = given.pop("norm_type")
            norm = norm if isinstance(norm, int) else float(norm)  # torch raises ints to ints
            return replace(normalize_pool.pool(op, x, dtype, **given), norm=norm)
        if kind in ("max_pool", "avg_pool"):
            return normalize_pool.pool(op, x, dtype, **given)
        if kind in ("adaptive_max_pool", "adaptive_avg_pool"):
            return normalize_pool.adaptive(op, x, dtype, **given)
        if kind == "max_unpool":
            indices = tensors.get("indices") or x
            return normalize_pool.unpool(op, x, indices, dtype, "int64", **given)
        if kind == "pad":
            return normalize_pool.pad(x, dtype, **given)
        return normalize_pool.columns(op, x, dtype, **given)
    except RefconvError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise UsageError(f"{op}: these arguments do not make sense: {shown} ({error})") from None


def input_shape(problem: Problem) -> Size:
    """Shape of the problem's first array, as the user has it.

    Raises:
        TypeError: not a problem.
    """
    match problem:
        case ConvProblem() | PoolProblem():
            return problem.input_shape
        case ColumnProblem():
            return problem.image_shape if problem.op == "unfold" else problem.column_shape
        case PadProblem():
            return problem.shape
        case IndexProblem():
            return (*problem.lead, *problem.small)
    raise TypeError(f"expected a problem, got {type(problem).__name__}")


def shape(given: str | Iterable[int], what: str = "the input's shape") -> Size:
    """A shape from ``1x6x14x14``, ``1,6,14,14``, ``[1, 6, 14, 14]`` or a sequence of ints.

    Example:
        >>> shape("1x6x14x14"), shape("[6, 14, 14]"), shape((3, 5))
        ((1, 6, 14, 14), (6, 14, 14), (3, 5))
    """
    if not isinstance(given, str):
        try:
            given = ",".join(str(int(size)) for size in given)
        except (TypeError, ValueError):
            given = repr(given)
    found = _SHAPE.fullmatch(given)
    if not found:
        raise UsageError(
            f"{what} must be sizes, e.g. 1x6x14x14 (batch, channels, height, width), got {given!r}"
        )
    return tuple(integer(size, what) for size in re.split(r"\s*[x×,*]\s*", found[1]))


def integer(text: str, what: str) -> int:
    """``text`` as an int."""
    try:
        return int(text)
    except ValueError:
        shown = text if len(text) < 40 else text[:40] + "…"
        raise UsageError(f"{what} must be an int, got {shown!r}") from None


def near(word: str, known: Iterable[str]) -> str:
    """A hint with the known words most like ``word``, or nothing.

    Example:
        >>> near("conv2", ["conv2d", "fold"])
        '; did you mean conv2d?'
    """
    matches = get_close_matches(word, list(known), n=3)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""
