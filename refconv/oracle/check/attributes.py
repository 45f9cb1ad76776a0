"""What can be said of a call: statements that hold or not, and counts."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from ...errors import RefconvError
from ...moves import ColumnProblem, IndexProblem, PadProblem
from ...ops import INTEGERS
from ...problem import ConvProblem, PoolProblem
from .case import NAMES, Case
from .replays_numbers import AXES, get

#: Multiples that a tail may fall behind.
BLOCKS = (2, 4, 8, 16, 32)


def attributes(case: Case) -> tuple[list[str], dict[str, int]]:
    """Statements that hold, the plainest first, and counts by name."""
    try:
        problem = case.problem()
    except RefconvError:
        return [*_arrays(case), *_call(case)], {}
    counts = dict(_counts(problem))
    said = [*_numbers(problem), *_bias(case, problem), *_arrays(case), *_call(case)]
    return [*said, *_geometry(problem), *_multiples(counts)], counts


def _above(problem: Any, field: str, usual: int, called: str = "") -> Iterator[str]:
    values = get(problem, field)
    if any(v != usual for v in values):
        yield f"{called or field} > {usual}"
    if len(values) > 1 and len(set(values)) > 1:
        yield f"{called or field} that differs from axis to axis"
    if len(values) > 1:
        for name, value in zip(AXES[len(values)], values, strict=True):
            if value != usual:
                yield f"{called or field} > {usual} on {name}"


def _numbers(problem: Any) -> Iterator[str]:
    if isinstance(problem, PadProblem):
        yield f"mode={problem.mode!r}"
        if min(n for pad in problem.pads for n in pad) < 0:
            yield "negative padding (a crop)"
        named = [pad for pad in problem.pads if pad != (0, 0)]
        if any(lo > 0 and hi == 0 for lo, hi in named):
            yield "an axis padded in front only"
        if any(hi > 0 and lo == 0 for lo, hi in named):
            yield "an axis padded behind only"
        if any(lo != hi for lo, hi in named):
            yield "padding that differs from side to side"
        if problem.value:
            yield "a value other than 0"
        return
    for field, usual in (("dilation", 1), ("output_padding", 0), ("padding", 0), ("stride", 1)):
        yield from _above(problem, field, usual)
    if isinstance(problem, ConvProblem):
        if problem.groups > 1:
            yield "groups > 1"
        if any(lo != hi for lo, hi in problem.padding):
            yield "padding='same' with an odd cell"
    if isinstance(problem, PoolProblem):
        if problem.ceil_mode:
            yield "ceil_mode"
        if not problem.count_include_pad:
            yield "count_include_pad=False"
        if problem.divisor is not None:
            yield "divisor_override"
        if problem.norm is not None:
            yield f"norm_type={problem.norm:g}"
    kernel = get(problem, "kernel")
    if len(kernel) > 1 and len(set(kernel)) > 1:
        yield "a kernel that differs from axis to axis"
    if len(kernel) > 1 and len(set(kernel)) == 1:
        yield "a kernel with equal axes"


def _bias(case: Case, problem: Any) -> Iterator[str]:
    if isinstance(problem, ConvProblem):
        yield "a bias" if problem.bias else "no bias"


def _arrays(case: Case) -> Iterator[str]:
    layouts = case.layouts or ("contiguous",) * len(case.shapes)
    if any(layout != "contiguous" for layout in layouts):
        yield "memory that is not contiguous"
    for name, layout in zip(case.names, layouts, strict=True):
        if layout != "contiguous":
            yield f"{name} memory that is not contiguous"
            yield f"{name} memory {layout}"
    for layout in sorted(set(layouts) - {"contiguous"}):
        yield f"{layout} memory"
    if case.grad in ("expanded", "permuted", "channels_last"):
        yield "an incoming gradient that is not contiguous"
        yield f"an incoming gradient that is {case.grad} in memory" + (
            " (stride 0)" if case.grad == "expanded" else ""
        )
    if len(case.wrt) == 1 and len(case.shapes) > 1:
        yield f"only the {case.wrt[0]}'s gradient asked for"
    if case.grad and (not case.wrt or len(case.wrt) > 1):
        yield "all gradients asked for"


def _call(case: Case) -> Iterator[str]:
    given = dict(case.kwargs)
    if isinstance(given.get("padding"), str):
        yield f"padding={given['padding']!r}"
    if given.get("return_indices"):
        yield "return_indices"
    if any(isinstance(v, list) for v in given.values()):
        yield "a list as an argument"
    if case.grad:
        yield "gradients"
    way, _, name = case.way.partition(":")
    if way == "vmap":
        yield "vmap"
        yield f"vmap over the {name}"
    if way == "double":
        yield "second derivatives"
        yield f"second derivatives through the {name}'s gradient"
    if way in ("again", "repeat"):
        yield "two calls in a row"
    for name, _ in case.earlier:
        yield f"two calls in a row of which {name} changed"
    if case.dtype != "float32":
        yield case.dtype
    if case.dtype == "float32":
        yield "float32"
    if case.dtype in ("float16", "bfloat16"):
        yield "a 16-bit dtype"
    if case.dtype in INTEGERS:
        yield "integers"
        if case.dtype not in ("int64", "int32"):
            yield "narrow integers"
    if case.dtype.startswith("complex"):
        yield "complex numbers"
    yield from _special(case)
    if case.values in ("integer", "exact", "ones", "ramp") and "max_pool" in case.kind:
        yield "equal values (ties)"
    if case.kind == "max_unpool" and case.values != "outside" and _duplicates(case):
        yield "duplicate indices"
    if case.values == "negative":
        yield "negative values only"
    if case.values in ("zeros", "scaled", "image", "uniform", "ones"):
        yield f"{case.values} values"
    if case.values == "outside":
        yield "indices out of bounds"
    if any(0 in shape for shape in case.shapes):
        yield "an empty array"
    if len(case.shapes[0]) == case.rank + 1 and case.kind != "pad":
        yield "no batch axis"


def _special(case: Case) -> Iterator[str]:
    """NaN and infinities, in which array."""
    kind, _, alone = case.values.rpartition(" ")
    where = f"the {alone}" if alone in NAMES else "an array"
    kind = kind if alone in NAMES else case.values
    nan, infinite = "nan" in kind or kind == "special", "infinity" in kind or kind == "special"
    if nan or infinite:
        yield f"NaN or inf in {where}"
        yield "NaN or inf in an array"
    if nan:
        yield f"NaN in {where}"
        yield "NaN in an array"
    if infinite:
        yield f"inf in {where}"
        yield "inf in an array"
    if kind == "minus infinity":
        yield "windows that are all -inf"


def _duplicates(case: Case) -> bool:
    """Whether two indices of a plane are equal."""
    at = case.arrays()[1]
    rows = at.reshape(-1, prod(at.shape[-case.rank :])).sort(dim=1).values
    return bool((rows.diff(dim=1) == 0).any())


def _geometry(problem: Any) -> Iterator[str]:
    kernel, stride, dilation = (get(problem, f) for f in ("kernel", "stride", "dilation"))
    rank = problem.rank
    if isinstance(problem, PoolProblem) and problem.adaptive:
        pairs = list(zip(problem.in_size, problem.out_size, strict=True))
        if any(i % o for i, o in pairs):
            yield "windows that overlap or differ (out does not divide in)"
        if any(o > i for i, o in pairs):
            yield "an output larger than the input"
        return
    if isinstance(problem, PadProblem | IndexProblem) or not kernel:
        return
    dilation = dilation or (1,) * rank
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if prod(kernel) == 1:
        yield "a kernel of one cell (1x1)"
    if any(k % 2 == 0 for k in kernel):
        yield "an even kernel"
    if any(s > r for s, r in zip(stride, reach, strict=True)):
        yield "stride > kernel"
    if any(s > 1 and d > 1 for s, d in zip(stride, dilation, strict=True)):
        yield "stride and dilation on one axis"
    if any(s < r for s, r in zip(stride, reach, strict=True)):
        yield "windows that overlap"
    if isinstance(problem, ColumnProblem):
        whole, out = problem.size, problem.blocks
    else:
        whole, out = problem.in_size, problem.out_size
    transposed = getattr(problem, "transposed", False)
    if not transposed:
        pads = [p if isinstance(p, tuple) else (p, p) for p in problem.padding]
        ends = [
            (n + sum(p) - r - (o - 1) * s)
            for n, p, r, o, s in zip(whole, pads, reach, out, stride, strict=True)
        ]
        if any(e > 0 for e in ends):
            yield "a stride that leaves a remainder"
        if ends[-1] > 0:
            yield "a stride that leaves a remainder on the last axis"
        if any(e < 0 for e in ends):
            yield "windows clipped by ceil_mode"
    if out and min(out) == 1:
        yield "an output of one cell on an axis"
    if out and out[-1] == 1:
        yield "an output of one column"
    if prod(whole) == 1:
        yield "an input of one cell"
    if min(whole) == 1:
        yield "an input of one cell on an axis"
    if isinstance(problem, ConvProblem):
        if problem.groups == problem.in_channels > 1:
            yield "depthwise"
            if problem.out_channels > problem.in_channels:
                yield "depthwise with several filters a channel"
        if problem.in_channels == 1:
            yield "one input channel"
        if problem.in_channels // problem.groups == 1:
            yield "one input channel a group"
        if problem.out_channels == 1:
            yield "one output channel"
    if len(out) > 1 and out[-2] % 2 and out[-2] > 1:
        yield "an output of an odd height"


def _counts(problem: Any) -> Iterator[tuple[str, int]]:
    if isinstance(problem, ConvProblem):
        n = 1 if problem.batch is None else problem.batch
        yield "images", n
        yield "input channels", problem.in_channels
        yield "output channels", problem.out_channels
        yield "groups", problem.groups
        yield "input channels a group", problem.in_channels // problem.groups
        yield "output channels a group", problem.out_channels // problem.groups
        yield "taps", prod(problem.kernel)
        yield (
            "kernel extent",
            max(d * (k - 1) + 1 for k, d in zip(problem.kernel, problem.dilation, strict=True)),
        )
        yield "terms of an output", prod(problem.kernel) * (problem.in_channels // problem.groups)
        yield "terms of a weight's gradient", n * prod(problem.out_size)
        yield from _sizes(problem.in_size, problem.out_size)
        yield "elements of the input", n * problem.in_channels * prod(problem.in_size)
        yield "elements of the output", n * problem.out_channels * prod(problem.out_size)
    elif isinstance(problem, PoolProblem):
        yield "images", problem.lead[0] if len(problem.lead) == 2 else 1
        yield "channels", problem.lead[-1]
        yield "planes", prod(problem.lead)
        if problem.kernel:
            yield "taps", prod(problem.kernel)
            yield "kernel extent", max(problem.kernel)
        yield from _sizes(problem.in_size, problem.out_size)
        yield "elements of the input", prod(problem.input_shape)
        yield "elements of the output", prod(problem.output_shape)
    elif isinstance(problem, ColumnProblem):
        yield "images", 1 if problem.batch is None else problem.batch
        yield "channels", problem.channels
        yield "blocks", prod(problem.blocks)
        yield from _sizes(problem.size, problem.blocks)
        yield "elements of the output", prod(problem.output_shape)
    elif isinstance(problem, IndexProblem):
        yield "images", problem.lead[0] if len(problem.lead) == 2 else 1
        yield "channels", problem.lead[-1]
        yield from _sizes(problem.small, problem.large)
    elif isinstance(problem, PadProblem):
        yield "axes padded", problem.rank
        yield "images", problem.shape[0]
        yield "elements of the output", prod(problem.output_shape)


def _sizes(inner: tuple[int, ...], outer: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    for side, size in (("input", inner), ("output", outer)):
        for name, n in zip(AXES[len(size)], size, strict=True):
            yield f"{side} {name}", n
        yield f"cells of an {side} plane", prod(size)


def _multiples(counts: dict[str, int]) -> Iterator[str]:
    """Tails of blocks: only of what loops run over."""
    for name in ("output width", "input width", "input channels", "output channels", "channels",
                 "input channels a group", "cells of an output plane", "images"):  # fmt: skip
        if name in counts:
            for block in BLOCKS:
                if counts[name] % block:
                    yield f"{name} that are no multiple of {block}"
