"""Problems of every op for hypothesis: unequal values on every axis, remainders of the stride,
strides beyond the kernel, degenerate extents, groups, every layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from ...ops import OPS
from .case import Case, differentiable
from .layouts import LAYOUTS

OP_NAMES = list(OPS)


@st.composite
def per_axis(draw: Any, low: int, high: int, rank: int) -> tuple[int, ...]:
    """One number an axis, mostly unequal ones."""
    count = high - low + 1
    if rank > 1 and count >= rank and draw(st.integers(0, 4)):
        return tuple(draw(st.permutations(range(low, high + 1)))[:rank])
    return tuple(draw(st.integers(low, high)) for _ in range(rank))


def argument(draw: Any, values: tuple[int, ...]) -> Any:
    """``values`` as users write them: a tuple, a list, or one int where all are equal."""
    if len(set(values)) == 1 and draw(st.booleans()):
        return values[0]
    return values


def _batch(draw: Any) -> tuple[int, ...]:
    return draw(st.sampled_from([(1,), (2,), (), (3,), (0,), (5,), (9,)]))


def _case(draw: Any, op: str, shapes: Any, kwargs: dict[str, Any], limit: int = 0) -> Case:
    layouts = tuple(draw(st.sampled_from(LAYOUTS)) for _ in shapes)
    seed = draw(st.integers(0, 999))
    return Case(op, tuple(shapes), tuple(kwargs.items()), layouts, seed, limit)


def _channels(draw: Any, small: bool) -> int:
    return draw(st.sampled_from([1, 2, 3] if small else [1, 2, 3, 4, 5, 8, 9, 17]))


@st.composite
def conv(draw: Any, op: str, small: bool) -> Case:
    """A convolution: any argument that torch takes."""
    rank = int(op[-2])
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depthwise = draw(st.integers(0, 4)) == 0
    inner, outer = (1 if depthwise else _channels(draw, small)), _channels(draw, small or rank == 3)
    kernel = draw(per_axis(1, 3 if small else 4, rank))
    stride, dilation = draw(per_axis(1, 4, rank)), draw(per_axis(1, 3, rank))
    padding: Any = draw(per_axis(0, 3, rank))
    low = padding
    if draw(st.integers(0, 5)) == 0:
        padding, low = draw(st.sampled_from(["same", "valid"])), (0,) * rank
        stride = (1,) * rank if padding == "same" else stride
    more = draw(per_axis(0, 3 if small else 6, rank))
    size = []
    for k, d, p, m in zip(kernel, dilation, low, more, strict=True):
        extent = 1 if padding == "same" else d * (k - 1) + 1 - 2 * p
        size.append(max(1, extent) + m)
    x, w = (*_batch(draw), groups * inner, *size), (groups * outer, inner, *kernel)
    kwargs = {"stride": argument(draw, stride), "padding": padding}
    kwargs |= {"dilation": argument(draw, dilation), "groups": groups}
    bias = [(groups * outer,)] if draw(st.booleans()) else []
    return _case(draw, op, [x, w, *bias], kwargs)


@st.composite
def conv_transpose(draw: Any, op: str, small: bool) -> Case:
    """A transposed convolution."""
    rank = int(op[-2])
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inner, outer = _channels(draw, small or rank == 3), _channels(draw, small or rank == 3)
    kernel, stride = draw(per_axis(1, 3, rank)), draw(per_axis(1, 3, rank))
    dilation = draw(per_axis(1, 3, rank))
    extra = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    size = draw(per_axis(1, 3 if small or rank == 3 else 5, rank))
    padding = []
    for i, k, s, d, e in zip(size, kernel, stride, dilation, extra, strict=True):
        full = (i - 1) * s + d * (k - 1) + e + 1
        padding.append(draw(st.integers(0, min(3, (full - 1) // 2))))
    x, w = (*_batch(draw), groups * inner, *size), (groups * inner, outer, *kernel)
    kwargs = {"stride": argument(draw, stride), "padding": argument(draw, tuple(padding))}
    kwargs |= {"output_padding": extra, "groups": groups, "dilation": dilation}
    bias = [(groups * outer,)] if draw(st.booleans()) else []
    return _case(draw, op, [x, w, *bias], kwargs)


@st.composite
def pool(draw: Any, op: str, small: bool) -> Case:
    """max_pool, avg_pool or lp_pool."""
    rank = int(op[-2])
    kernel, ceil = draw(per_axis(1, 4, rank)), draw(st.booleans())
    stride = draw(st.one_of(st.none(), per_axis(1, 5, rank)))
    kwargs: dict[str, Any] = {}
    dilation = draw(per_axis(1, 3, rank)) if op.startswith("max") else (1,) * rank
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    if op.startswith("lp"):
        padding = (0,) * rank
        kwargs["norm_type"] = draw(st.sampled_from([2, 1, 3, 1.5]))
    else:
        kwargs["padding"] = argument(draw, padding)
    kwargs["kernel_size"] = kernel[0] if op == "lp_pool1d" else argument(draw, kernel)
    kwargs["stride"] = None if stride is None else argument(draw, stride)
    kwargs["ceil_mode"] = ceil
    if op.startswith("max"):
        kwargs |= {"dilation": argument(draw, dilation), "return_indices": True}
    if op.startswith("avg"):
        kwargs["count_include_pad"] = draw(st.booleans())
        if rank > 1:
            kwargs["divisor_override"] = draw(st.sampled_from([None, None, 1, 3, -2]))
    more = draw(per_axis(0, 4 if small else 7, rank))
    # No window without a tap (torch's index of one is outside the input): that has its own test.
    size = tuple(
        max(1, d * (k - 1) + 1 - 2 * p, d, k * (rank == 3)) + m
        for k, d, p, m in zip(kernel, dilation, padding, more, strict=True)
    )
    return _case(draw, op, [(*_batch(draw), _channels(draw, True), *size)], kwargs)


@st.composite
def adaptive(draw: Any, op: str, small: bool) -> Case:
    """Adaptive pooling, to smaller and to larger sizes."""
    rank = int(op[-2])
    size, out = draw(per_axis(1, 5 if small else 9, rank)), draw(per_axis(1, 7, rank))
    wanted: Any = argument(draw, out)
    if rank > 1 and draw(st.booleans()):
        wanted = (None, *out[1:])
    kwargs = {"output_size": wanted}
    if "max" in op:
        kwargs["return_indices"] = True
    return _case(draw, op, [(*_batch(draw), _channels(draw, True), *size)], kwargs)


@st.composite
def unpool(draw: Any, op: str, small: bool) -> Case:
    """Unpooling of any indices, double ones too, to any size that fits."""
    rank = int(op[-2])
    kernel, size = draw(per_axis(1, 3, rank)), draw(per_axis(1, 4, rank))
    stride = draw(per_axis(1, 4, rank))
    out = tuple((i - 1) * s + k for i, s, k in zip(size, stride, kernel, strict=True))
    kwargs: dict[str, Any] = {"kernel_size": kernel, "stride": stride}
    batch = _batch(draw)
    lead = (*batch, _channels(draw, True))
    if draw(st.booleans()):
        out = tuple(o + draw(st.integers(0, s - 1)) for o, s in zip(out, stride, strict=True))
        kwargs["output_size"] = out
    return _case(draw, op, [(*lead, *size)] * 2, kwargs, prod(out))


@st.composite
def columns(draw: Any, op: str, small: bool) -> Case:
    """unfold or fold."""
    kernel, stride = draw(per_axis(1, 3, 2)), draw(per_axis(1, 4, 2))
    dilation, padding = draw(per_axis(1, 3, 2)), draw(per_axis(0, 3, 2))
    more, size, blocks = draw(per_axis(0, 5, 2)), [], 1
    for k, d, p, s, m in zip(kernel, dilation, padding, stride, more, strict=True):
        size.append(max(1, d * (k - 1) + 1 - 2 * p) + m)
        blocks *= (size[-1] + 2 * p - d * (k - 1) - 1) // s + 1
    channels = _channels(draw, True)
    kwargs = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    if op == "unfold":
        return _case(draw, op, [(*_batch(draw), channels, *size)], kwargs)
    shape = (*_batch(draw), channels * prod(kernel), blocks)
    return _case(draw, op, [shape], {"output_size": tuple(size), **kwargs})


@st.composite
def pad(draw: Any, op: str, small: bool) -> Case:
    """Padding in every mode; negative numbers crop."""
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    rank = draw(st.integers(1, 3))
    size = draw(per_axis(2, 6, rank))
    batch = _batch(draw) or ((2,) if mode == "circular" and rank == 3 else ())
    if mode == "constant" and draw(st.booleans()):
        batch = (2, *batch)
    pads = []
    for n in reversed(size):
        high = {"reflect": n - 1, "circular": n}.get(mode, 5)
        low_side = draw(st.integers(-(n - 1), high))
        least = max(-(n - 1), 1 - n - min(low_side, 0))
        if mode == "circular":  # what is left must be enough to fill with: torch does not check
            least = max(least, low_side - n)
            high = min(high, n + low_side)
        pads += [low_side, draw(st.integers(least, high))]
    if mode != "constant" and not any(pads):  # refused by torch, or a clone in some modes
        pads[0] = 1
    kwargs: dict[str, Any] = {"pad": tuple(pads), "mode": mode}
    if mode == "constant":
        kwargs["value"] = draw(st.sampled_from([None, 0, 2.0, -1.0]))
    return _case(draw, op, [(*batch, _channels(draw, True), *size)], kwargs)


def cases(op: str, small: bool = False) -> st.SearchStrategy[Case]:
    """Problems of ``op``; small ones for backends that count on their fingers."""
    families = {
        "conv": conv, "conv_transpose": conv_transpose, "max_unpool": unpool, "unfold": columns,
        "fold": columns, "pad": pad, "adaptive_max_pool": adaptive, "adaptive_avg_pool": adaptive,
    }  # fmt: skip
    kind = op[:-2] if op[-2].isdigit() else op
    return families.get(kind, pool)(op, small)


@st.composite
def checked(draw: Any, op: str, dtypes: tuple[str, ...]) -> Case:
    """A call with everything that ``check`` varies: dtype, values, layouts, and its backward."""
    case = draw(cases(op))
    dtype = draw(st.sampled_from(dtypes))
    values = draw(st.sampled_from(["integer", "real", "real", "scaled", "image"]))
    if case.kind in ("lp_pool", "max_unpool"):
        values = draw(st.sampled_from(["real", "exact"])) if case.kind == "max_unpool" else "real"
    narrow = replace(case, dtype=dtype)
    case = replace(case if narrow.refusal else narrow, values=values)
    if draw(st.integers(0, 1)):
        case = replace(case, layouts=())
    if not differentiable(case) or not draw(st.integers(0, 3)):
        return case
    names = [n for n in case.names if n != "indices"]
    wrt = draw(st.sampled_from([(), *((n,) for n in names)]))
    grad = draw(st.sampled_from(["random", "random", "expanded", "permuted", "channels_last"]))
    if draw(st.integers(0, 7)) == 0 and case.kind in ("conv", "conv_transpose"):
        return replace(case, grad="random", way=f"double:{draw(st.sampled_from(names))}")
    return replace(case, grad=grad, wrt=wrt)


@contextmanager
def _only_the_seed() -> Iterator[None]:
    """Keep hypothesis from trying the numbers that it finds in the source of loaded modules: these
    are others in every process, and the same seed must draw the same cases.
    """
    name = "_get_local_constants"
    if not hasattr(providers, name):  # versions before 6.131 do not look there
        yield
        return
    cache = type(providers.CONSTANTS_CACHE)(1024)  # the process's own holds numbers found before
    with (
        mock.patch.object(providers, name, return_value=providers.Constants()),
        mock.patch.object(providers, "CONSTANTS_CACHE", cache),
    ):
        yield


def collect(op: str, count: int, seed: int, dtypes: tuple[str, ...]) -> list[Case]:
    """``count`` cases of ``op``, the same for the same seed (and version of hypothesis)."""
    found: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(checked(op, dtypes))
    def keep(case: Case) -> None:
        if case not in found:
            found.append(case)

    with _only_the_seed():
        keep()
    return found
