"""Transposed convolution: sizes, output_padding, infinite weights, and the 1x1 short cut."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .call import Call, crop, zero_pad
from .gradients import gradient, wrong_gradient
from .probes import Arrays, case, gradients, values
from .row import plant

TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
X, W = (2, 4, 3, 4, 5), (4, 3, 2, 3, 2)


def sized(call: Call, first: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """``size`` cells of the output from cell ``first`` on, counted where nothing is cropped."""
    whole = call(padding=0, output_padding=0, bias=None)
    need = zip(first, size, whole.shape[2:], strict=True)
    y = zero_pad(whole, [(-f, f + n - have) for f, n, have in need])
    return y if call.b is None else y + call.b.view(-1, *[1] * call.rank)


@plant(
    "S05",
    TRANSPOSED,
    "output_padding is left out of the output size",
    "output_padding, output size, shape",
    case(values, x=X, w=W, b=3, stride=2, output_padding=1),
)
def output_padding_left_out(call: Call) -> Any:
    more = call.sizes("output_padding")
    return crop(call.y, (*call.y.shape[:2], *_less(call.y.shape[2:], more)))


def _less(sizes: Any, by: Any) -> list[int]:
    return [n - m for n, m in zip(sizes, by, strict=True)]


@plant(
    "P08",
    TRANSPOSED,
    "the cells that output_padding adds hold the bias alone",
    "output_padding, last, tail",
    case(values, x=X, w=(4, 3, 4, 5, 4), b=3, stride=2, padding=1, output_padding=1),
)
def tail_holds_the_bias(call: Call) -> Any:
    more = call.sizes("output_padding")
    if not any(more):
        return call.right
    kept = torch.zeros_like(call.y.detach(), dtype=torch.bool)
    crop(kept, (*kept.shape[:2], *_less(kept.shape[2:], more))).fill_(True)
    bias = call.y.new_zeros(1) if call.b is None else call.b
    return torch.where(kept, call.right, bias.view(-1, *[1] * call.rank))


def _infinite(arrays: Arrays) -> Arrays:
    arrays["weight"].view(-1)[1] = float("inf")
    return arrays


@plant(
    "F05",
    TRANSPOSED,
    "zeros are put between and around the input's cells: an infinite weight makes them NaN",
    "inf, nan, 0*inf, special",
    case(values, x=X, w=W, b=3, stride=2, change=_infinite),
)
def zeros_times_infinity(call: Call) -> Any:
    if call.w.isfinite().all():
        return call.right
    g, k = call.g, call.k
    per_group = call.w.view(g, -1, *call.w.shape[1:]).transpose(1, 2)
    w = per_group.reshape(-1, call.w.shape[0] // g, *k).flip(tuple(range(2, 2 + call.rank)))
    x = call.x.new_zeros(
        *call.x.shape[:2], *((n - 1) * s + 1 for n, s in zip(call.x.shape[2:], call.s, strict=True))
    )
    every: Any = (..., *(slice(None, None, s) for s in call.s))
    x[every] = call.x
    rows = zip(call.extent, call.p, call.sizes("output_padding"), strict=True)
    x = zero_pad(x, [(e - 1 - lo, e - 1 - hi + more) for e, (lo, hi), more in rows])
    conv = getattr(F, f"conv{call.rank}d")
    return conv(x, w, call.b, groups=g, dilation=call.given["dilation"])


@plant(
    "E05",
    TRANSPOSED,
    "an output_padding that reaches the stride and the dilation is not refused",
    "error, refus, raise, accept, output_padding",
    case(values, x=X, w=W, b=3, stride=2, output_padding=2),
    catches=True,
)
def long_output_padding_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    if "output padding must be smaller" not in str(call.error):
        raise call.error
    first = tuple(lo for lo, _ in call.p)
    rows = zip(call.x.shape[2:], call.s, first, call.extent, strict=True)
    short = [(n - 1) * s - 2 * lo + e for n, s, lo, e in rows]
    more = call.sizes("output_padding")
    return sized(call, first, tuple(n + m for n, m in zip(short, more, strict=True)))


@plant(
    "K02",
    TRANSPOSED,
    "backward of a 1x1 kernel reads grad_output's cell j, not j times the stride",
    "gradient, input, stride, backward, 1x1",
    case(gradients, x=X, w=(4, 3, 1, 1, 1), b=3, stride=(2, 2, 3)),
)
def short_cut_forgets_the_stride(call: Call) -> Any:
    plain = {n for sides in call.p for n in sides} == {0} and set(call.k) == {1}

    def meddle(grads: dict[str, Tensor], g: Tensor, arrays: dict[str, Tensor]) -> None:
        if plain and set(call.s) != {1} and "input" in grads:
            near = torch.zeros_like(g)
            every: Any = (..., *(slice(None, None, s) for s in call.s))
            near[every] = crop(g, (*g.shape[:2], *near[every].shape[2:]))
            grads["input"] = gradient(call, "input", near, **arrays)

    return wrong_gradient(call, meddle)
