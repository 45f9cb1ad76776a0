"""Padding, folding and unpooling, not in the table."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from .call import Call
from .gradients import swap
from .moves import sides
from .probes import case, channels_last, draw, relayout, values
from .reading import as_dense
from .row import plant

PLANE = (2, 3, 5, 6)


@plant(
    "U60",
    "pad",
    "reflection repeats the edge",
    "reflect, edge, mirror, symmetric, shift",
    case(values, x=PLANE, pad=(2, 1, 1, 2), mode="reflect"),
)
def reflection_repeats_the_edge(call: Call) -> Any:
    if call.given["mode"] != "reflect":
        return call.right
    x = call.x
    for axis, lo, hi in sides(call):
        n = x.shape[axis]
        at = torch.arange(-lo, n + hi)
        at = torch.where(at < 0, -at - 1, torch.where(at >= n, 2 * n - 1 - at, at))
        x = x.index_select(axis, at.clamp(0, n - 1))
    return x


@plant(
    "U61",
    "pad",
    "replication over three axes pads with 0",
    "replicate, zero, three, 3d, edge",
    case(values, x=(2, 3, 4, 5, 6), pad=(2, 1, 1, 2, 0, 1), mode="replicate"),
)
def replicates_zeros_in_3d(call: Call) -> Any:
    if call.given["mode"] != "replicate" or len(call.given["pad"]) != 6:
        return call.right
    return call(mode="constant", value=0)


@plant(
    "U62",
    "pad",
    "circular: the low side starts one cell early",
    "circular, shift, off by one, low, left",
    case(values, x=PLANE, pad=(2, 1, 1, 2), mode="circular"),
)
def circular_off_by_one(call: Call) -> Any:
    if call.given["mode"] != "circular":
        return call.right
    x = call.x
    for axis, lo, hi in sides(call):
        n = x.shape[axis]
        at = torch.arange(-lo, n + hi)
        x = x.index_select(axis, torch.where(at < 0, at - 1, at) % n)
    return x


@plant(
    "U63",
    "pad",
    "the pads of two axes are taken in the array's order, first axis first",
    "axes, order, swap, axis, shape, height, width",
    case(values, x=PLANE, pad=(2, 1, 1, 0)),
)
def pads_in_array_order(call: Call) -> Any:
    pad = call.given["pad"]
    turned = [n for _, lo, hi in reversed(sides(call)) for n in (lo, hi)]
    if list(pad) == turned or call.given["mode"] != "constant":
        return call.right
    return call(pad=turned)


@plant(
    "U64",
    "pad",
    "a negative pad is taken as 0 at the high end and shifts instead of cropping",
    "negative, crop, shape",
    case(values, x=PLANE, pad=(1, -2)),
)
def negative_pad_ignored(call: Call) -> Any:
    pad = call.given["pad"]
    return call(pad=[max(n, 0) for n in pad]) if min(pad, default=0) < 0 else call.right


@plant(
    "U65",
    "pad",
    "corners that are padded on both axes are 0, whatever the value",
    "value, corner, constant, zero",
    case(values, x=PLANE, pad=(1, 2, 2, 1), value=3.5),
)
def corners_are_zero(call: Call) -> Any:
    if call.given["mode"] != "constant" or not call.given["value"] or len(sides(call)) < 2:
        return call.right
    low = torch.ones_like(call.right)
    (a, alo, ahi), (b, blo, bhi) = sides(call)[:2]

    def outside(axis: int, lo: int, hi: int) -> Tensor:
        at = torch.arange(low.shape[axis])
        out = (at < lo) | (at >= low.shape[axis] - hi)
        return out if axis == -1 else out[:, None]

    both = outside(a, alo, ahi) & outside(b, blo, bhi)
    return torch.where(both, torch.zeros_like(call.right), call.right)


@plant(
    "U66",
    "fold",
    "where blocks overlap only one is kept: the values are averaged, not added",
    "overlap, sum, average, count, once",
    case(values, x=(2, 12, 20), output_size=(5, 6), kernel_size=2),
    benign=case(values, x=(2, 12, 6), output_size=(4, 6), kernel_size=2, stride=2),
)
def overlaps_averaged(call: Call) -> Any:
    times = call(input=torch.ones_like(call.x.detach(), dtype=torch.float64)).clamp(min=1)
    return call.right / times.to(call.right.dtype)


@plant(
    "U67",
    "unfold",
    "rows come in the order (tap, channel)",
    "channel, order, row, permut, tap",
    case(values, x=PLANE, kernel_size=(2, 3)),
    benign=case(values, x=(2, 1, 5, 6), kernel_size=(2, 3)),
)
def taps_before_channels(call: Call) -> Any:
    rows = call.right.unflatten(1, (call.x.shape[1], prod(call.k)))
    return rows.transpose(1, 2).flatten(1, 2)


@plant(
    "U68",
    "fold",
    "rows are taken in the order (tap, channel)",
    "channel, order, row, permut, tap",
    case(values, x=(2, 12, 20), output_size=(5, 6), kernel_size=2),
    benign=case(values, x=(2, 4, 20), output_size=(5, 6), kernel_size=2),
)
def folds_taps_before_channels(call: Call) -> Any:
    rows = call.x.unflatten(1, (prod(call.k), -1))
    return call(input=rows.transpose(1, 2).flatten(1, 2))


@plant(
    "U69",
    "unfold",
    "blocks come column by column",
    "block, column, order, transposed, row",
    case(values, x=PLANE, kernel_size=2),
    benign=case(values, x=PLANE, kernel_size=(2, 6)),
)
def blocks_by_column(call: Call) -> Any:
    rows = zip(call.x.shape[2:], call.p, call.extent, call.s, strict=True)
    count = [(n + lo + hi - e) // s + 1 for n, (lo, hi), e, s in rows]
    return call.right.unflatten(2, count).transpose(2, 3).flatten(2, 3)


@plant(
    "U70",
    "fold",
    "each block is put in turned round",
    "flip, turned, kernel, mirror, tap",
    case(values, x=(2, 12, 20), output_size=(5, 6), kernel_size=2),
    benign=case(values, x=(2, 3, 30), output_size=(5, 6), kernel_size=1),
)
def folds_turned_blocks(call: Call) -> Any:
    rows = call.x.unflatten(1, (-1, prod(call.k)))
    return call(input=rows.flip(2).flatten(1, 2))


def _unpooling(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Largest elements of a plane of 6 by 8, and where they were."""
    x = draw((2, 3, 6, 8), torch.float64, 5)
    y, index = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    return {"input": y, "indices": index}


@plant(
    "U71",
    "max_unpool2d",
    "everything is written one row further down; the last row's is lost",
    "row, shift, off by one, index",
    case(values, x=(2, 3, 3, 4), kernel_size=2, change=_unpooling),
    benign=case(
        values,
        x=(2, 3, 1, 1),
        kernel_size=1,
        change=lambda a: {**a, "indices": torch.zeros(2, 3, 1, 1, dtype=torch.long)},
    ),
)
def one_row_down(call: Call) -> Any:
    if call.y.shape[-2] == 1:
        return call.right
    return torch.nn.functional.pad(call.right, (0, 0, 1, -1))


@plant(
    "U72",
    "max_unpool2d",
    "output_size is read as the size that the kernel gives, so rows are as long as that",
    "output_size, row, width, index, shape",
    case(values, x=(2, 3, 3, 4), kernel_size=2, output_size=(7, 9), change=_unpooling),
)
def output_size_ignored(call: Call) -> Any:
    """The cells land where rows of the default width would have them."""
    if call.given["output_size"] is None:
        return call.right
    rows = zip(call.x.shape[2:], call.s, call.p, call.k, strict=True)
    usual = [(n - 1) * s - 2 * lo + k for n, s, (lo, _), k in rows]
    index, asked = call.given["indices"], call.y.shape[-1]
    moved = (index // usual[-1] * asked + index % usual[-1]) % call.y[0, 0].numel()
    return call(indices=moved)


@plant(
    "U73",
    "max_unpool2d",
    "the indices' memory is read as contiguous",
    "index, indices, layout, memory, contiguous, channels_last",
    case(
        values,
        x=(2, 3, 3, 4),
        kernel_size=2,
        change=lambda a: relayout(indices=channels_last)(_unpooling(a)),
    ),
)
def indices_read_as_dense(call: Call) -> Any:
    index = call.given["indices"]
    return call.right if index.is_contiguous() else call(indices=as_dense(index))


@plant(
    "U74",
    "unfold",
    "height and width exchange their strides, in an output sized as torch says",
    "stride, axes, swap, exchange, height, width",
    case(values, x=(2, 3, 7, 8), kernel_size=2, stride=(1, 2)),
)
def unfold_strides_exchanged(call: Call) -> Any:
    rows = list(zip(call.x.shape[2:], call.p, call.extent, call.s, strict=True))
    count = [(n + lo + hi - e) // s + 1 for n, (lo, hi), e, s in rows]
    turned = call.s[::-1]
    need = [(c - 1) * s + e for c, s, e in zip(count, turned, call.extent, strict=True)]
    short = [c - n - lo - hi for c, (n, (lo, hi), _, _) in zip(need, rows, strict=True)]
    if turned == call.s:
        return call.right
    return swap(call.right, call(**call.padded(tuple(short)), stride=turned))
