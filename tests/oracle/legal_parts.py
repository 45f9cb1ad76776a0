"""What the legal implementations are made of: the list's rows, torch's arguments made plain,
windows and columns, blocks of channels, single terms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from math import prod
from typing import Any

import torch
from torch.nn import functional as F

FLOATS = ("float32", "float64")
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Legal:
    """An implementation that must never be called wrong or suspect.

    Args:
        op: whose signature it has.
        declared: keywords of ``Expected.bound`` and ``Expected.noise``.
        work: the most multiply-adds that it should be asked to do, for the slow ones.
    """

    name: str
    op: str
    fn: Callable[..., torch.Tensor]
    declared: dict[str, str] = field(default_factory=dict)
    dtypes: tuple[str, ...] = FLOATS
    gradient: bool = True
    work: float = float("inf")


LEGAL: list[Legal] = []


def legal(name: str, op: str = "conv2d", dtypes: tuple[str, ...] = FLOATS, **more: Any) -> Any:
    """Put the function on the list."""
    gradient, work = more.pop("gradient", True), more.pop("work", float("inf"))

    def note(fn: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        LEGAL.append(Legal(name, op, fn, more, dtypes, gradient, work))
        return fn

    return note


def each(value: Any, rank: int) -> tuple[int, ...]:
    """An int or a tuple as a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * rank


def sides(padding: Any, kernel: Any, dilation: tuple[int, ...]) -> list[int]:
    """What F.pad takes for a convolution's padding."""
    rank = len(kernel)
    both = [(p, p) for p in each(0 if isinstance(padding, str) else padding, rank)]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        both = [(t // 2, t - t // 2) for t in total]
    return [p for pair in reversed(both) for p in pair]


Body = Callable[[torch.Tensor, torch.Tensor, tuple[int, ...], tuple[int, ...], int], torch.Tensor]


def convolution(body: Body) -> Callable[..., torch.Tensor]:
    """torch's arguments → ``body(x, w, stride, dilation, groups)`` with x batched and padded."""

    @wraps(body)
    def call(
        input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> torch.Tensor:  # fmt: skip
        rank = weight.dim() - 2
        stride, dilation = each(stride, rank), each(dilation, rank)
        x = input if input.dim() == weight.dim() else input[None]
        x = F.pad(x, sides(padding, weight.shape[2:], dilation))
        y = body(x, weight, stride, dilation, groups)
        if bias is not None:
            y = y + bias.reshape(-1, *(1,) * rank)
        return y if input.dim() == weight.dim() else y[0]

    return call


def conv(x: Any, w: Any, stride: Any, dilation: Any, groups: int = 1) -> torch.Tensor:
    """torch's own, without padding or bias."""
    op = getattr(F, f"conv{w.dim() - 2}d")
    return op(x, w, None, stride, 0, dilation, groups)


def windows(x: torch.Tensor, w: torch.Tensor, stride: Any, dilation: Any) -> torch.Tensor:
    """Every window as a view: (N, C, *out, *kernel)."""
    for a, (k, s, d) in enumerate(zip(w.shape[2:], stride, dilation, strict=True)):
        x = x.unfold(2 + a, d * (k - 1) + 1, s)
        x = x[..., ::d]
    return x


def columns(x: Any, w: Any, stride: Any, dilation: Any, groups: int) -> tuple[Any, Any, Any]:
    """Windows (N, G, C/G, taps, outputs), weights (G, K/G, C/G, taps), and the output's size."""
    rank, view = w.dim() - 2, windows(x, w, stride, dilation)
    out = view.shape[2 : 2 + rank]
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    cols = view.permute(order).reshape(len(x), groups, -1, prod(w.shape[2:]), prod(out))
    return cols, w.reshape(groups, -1, w.shape[1], prod(w.shape[2:])), out


def shaped(y: torch.Tensor, out: Any) -> torch.Tensor:
    """(N, G, K/G, outputs) as (N, K, *out)."""
    return y.reshape(len(y), -1, *out)


def split(x, w, stride, dilation, groups, parts):
    """Partial results of ``parts`` blocks of channels."""
    grouped = x.reshape(len(x), groups, -1, *x.shape[2:])
    size = -(-w.shape[1] // parts)
    for c in range(0, w.shape[1], size):
        part = grouped[:, :, c : c + size].flatten(1, 2)
        yield conv(part, w[:, c : c + size], stride, dilation, groups)


def terms(x, w, stride, dilation, groups, taps_outside=False):
    """Every product (N, G, K/G, outputs), in the order of a naive loop."""
    cols, rows, _ = columns(x, w, stride, dilation, groups)
    index = [(c, t) for c in range(cols.shape[2]) for t in range(cols.shape[3])]
    for c, t in sorted(index, key=lambda at: at[::-1]) if taps_outside else index:
        yield cols[:, :, None, c, t], rows[:, :, c, t, None]


def out_size(x, w, stride, dilation):
    return windows(x, w, stride, dilation).shape[2 : -(w.dim() - 2)]


def kept(x, digits, chop=False):
    """float32 numbers with fewer significant digits, rounded to even or truncated."""
    bits, drop = x.contiguous().view(torch.int32), 24 - digits
    if not chop:
        bits = bits + ((1 << (drop - 1)) - 1) + ((bits >> drop) & 1)
    return (bits >> drop << drop).view(torch.float32)
