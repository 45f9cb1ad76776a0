"""Convolution, not in the table: axes exchanged, kernels turned, channels and bias misplaced."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from .call import Call, zero_pad
from .gradients import swap
from .probes import Arrays, case, channels_last, relayout, values
from .reading import as_dense
from .row import plant

CONVS = "conv1d conv2d conv3d"
X, W = (2, 4, 6, 7, 8), (6, 2, 2, 3, 2)


def exchanged(numbers: Any) -> Any:
    """The last two exchanged."""
    return (*numbers[:-2], numbers[-1], numbers[-2])


def sized_as_torch(call: Call, low: Any = None, **changes: Any) -> Any:
    """A convolution with other numbers but the right output size: what a kernel does that gets the
    size from its caller. Cells that do not exist are 0.
    """
    other = Call(call.op, {**call.given, "padding": 0, **changes})
    low = low or [lo for lo, _ in call.p]
    rows = zip(call.x.shape[2:], low, call.y.shape[2:], other.s, other.extent, strict=True)
    sides = [(lo, (out - 1) * s + e - n - lo) for n, lo, out, s, e in rows]
    return other(input=zero_pad(other.x, sides))


@plant(
    "U01",
    "conv2d conv3d",
    "height and width exchange their strides",
    "stride, axes, swap, exchange, height, width",
    case(values, x=X, w=W, groups=2, stride=(1, 1, 2)),
)
def strides_exchanged(call: Call) -> Any:
    return swap(call.right, sized_as_torch(call, stride=exchanged(call.s)))


@plant(
    "U02",
    "conv2d conv3d",
    "height and width exchange their padding",
    "padding, axes, swap, exchange, height, width",
    case(values, x=X, w=W, groups=2, padding=(0, 0, 1)),
)
def padding_exchanged(call: Call) -> Any:
    low = [lo for lo, _ in call.p]
    return swap(call.right, sized_as_torch(call, low=exchanged(low)))


@plant(
    "U03",
    "conv2d conv3d",
    "height and width exchange their dilation",
    "dilation, axes, swap, exchange, height, width",
    case(values, x=X, w=W, groups=2, dilation=(1, 1, 2)),
)
def dilation_exchanged(call: Call) -> Any:
    return swap(call.right, sized_as_torch(call, dilation=exchanged(call.d)))


@plant(
    "U04",
    CONVS,
    "the kernel is turned round: a convolution in the mathematical sense",
    "flip, turned, kernel, reversed, mirror",
    case(values, x=X, w=W, groups=2),
    benign=case(values, x=X, w=(6, 2, 1, 1, 1), groups=2),
)
def kernel_flipped(call: Call) -> Any:
    return call(weight=call.w.flip(tuple(range(2, 2 + call.rank))))


@plant(
    "U05",
    "conv2d conv3d",
    "a square kernel is transposed: its columns are read as rows",
    "transposed, kernel, swap, height, width, axes",
    case(values, x=X, w=(6, 2, 2, 3, 3), groups=2),
)
def kernel_transposed(call: Call) -> Any:
    return call(weight=call.w.mT) if call.k[-1] == call.k[-2] else call.right


@plant(
    "U06",
    CONVS,
    "with groups, output channels are stored in the order (channel, group)",
    "group, channel, permut, order, shuffle",
    case(values, x=X, w=W, groups=2),
)
def groups_shuffled(call: Call) -> Any:
    return call.right.unflatten(1, (call.g, -1)).transpose(1, 2).flatten(1, 2)


@plant(
    "U07",
    CONVS,
    "more than 16 input channels: those behind the last full block of 16 are dropped",
    "channel, block, tail, last",
    case(values, x=(2, 19, 3, 4, 5), w=(6, 19, 2, 2, 2)),
)
def last_input_block_dropped(call: Call) -> Any:
    full = call.w.shape[1] // 16 * 16
    if full in (0, call.w.shape[1]):
        return call.right
    keep = torch.zeros_like(call.w)
    keep[:, :full] = 1
    return call(weight=call.w * keep)


@plant(
    "U08",
    CONVS,
    "more than 32 output channels: those behind the last full block of 32 are zero",
    "channel, block, tail, last",
    case(values, x=(2, 2, 3, 4, 5), w=(35, 2, 2, 2, 2)),
)
def last_output_block_zero(call: Call) -> Any:
    full = call.y.shape[1] // 32 * 32
    if full in (0, call.y.shape[1]):
        return call.right
    y = call.right.detach().clone()
    y[:, full:] = 0
    return swap(call.right, y)


def _bias(call: Call) -> Any:
    assert call.b is not None
    return call.b.view(-1, *[1] * call.rank)


@plant(
    "U09",
    CONVS,
    "the bias is added twice to a single image",
    "bias",
    case(values, x=(1, 4, 5, 6, 7), w=W, b=6, groups=2),
)
def bias_twice(call: Call) -> Any:
    once = call.b is None or len(call.x) != 1
    return call.right if once else call.right + _bias(call)


@plant(
    "U10",
    CONVS,
    "the bias is added to the first image only",
    "bias, batch, image",
    case(values, x=X, w=W, b=6, groups=2),
    benign=case(values, x=(1, 4, 5, 6, 7), w=W, b=6, groups=2),
)
def bias_for_the_first_image(call: Call) -> Any:
    if call.b is None:
        return call.right
    y = call(bias=None)
    return torch.cat([y[:1] + _bias(call), y[1:]])


@plant(
    "U11",
    CONVS,
    "the bias is dropped where the input has no batch axis",
    "bias, batch, unbatched",
    case(values, x=X, w=W, b=6, groups=2, change=relayout(input=lambda x: x[0])),
)
def bias_dropped_without_batch(call: Call) -> Any:
    return call(bias=None) if call.unbatched else call.right


@plant(
    "U12",
    "conv3d",
    "height is padded with depth's padding",
    "padding, depth, height, axes",
    case(values, x=X, w=W, groups=2, padding=(1, 0, 1)),
)
def depth_padding_for_height(call: Call) -> Any:
    low = [lo for lo, _ in call.p]
    return swap(call.right, sized_as_torch(call, low=[low[0], low[0], low[2]]))


@plant(
    "U13",
    CONVS,
    "padding='same' puts the odd cell on the low side",
    "same, padding, side, shift",
    case(values, x=X, w=(6, 2, 2, 2, 2), groups=2, padding="same"),
)
def same_puts_the_odd_cell_first(call: Call) -> Any:
    if call.given["padding"] != "same" or all(lo == hi for lo, hi in call.p):
        return call.right
    return call(**call.padded(pads=[(hi, lo) for lo, hi in call.p]))


@plant(
    "U14",
    "conv2d",
    "1x1 on channels_last is a matrix product over the first cells: the stride is forgotten",
    "stride, 1x1, channels_last, layout",
    case(values, x=X, w=(6, 4, 1, 1), stride=2, change=relayout(input=channels_last)),
)
def matrix_product_without_stride(call: Call) -> Any:
    is_last = call.x.is_contiguous(memory_format=torch.channels_last)
    if set(call.k) != {1} or not is_last or call.x.is_contiguous() or set(call.s) == {1}:
        return call.right
    return swap(call.right, sized_as_torch(call, stride=1))


@plant(
    "U15",
    CONVS,
    "a weight's memory is read as if it were contiguous",
    "weight, contiguous, layout, memory, strides, expanded",
    case(values, x=X, w=W, groups=2, change=relayout(weight=lambda w: w[:, :1].expand(w.shape))),
)
def reads_the_weight_as_dense(call: Call) -> Any:
    if call.w.is_contiguous():
        return call.right
    return swap(call.right, call(weight=as_dense(call.w)))


@plant(
    "U16",
    CONVS,
    "depthwise with a multiplier: the output's channels come in the order (multiple, channel)",
    "depthwise, group, channel, multiplier, order, permut",
    case(values, x=(2, 3, 5, 6, 7), w=(6, 1, 2, 3, 2), groups=3),
)
def multiplier_first(call: Call) -> Any:
    if not 1 < call.g == call.x.shape[1] < call.y.shape[1]:
        return call.right
    return call.right.unflatten(1, (call.g, -1)).transpose(1, 2).flatten(1, 2)


@plant(
    "U17",
    CONVS,
    "with more than 512 taps the last one is dropped",
    "tap, last, weight, dropped, kernel",
    case(values, x=(1, 60, 3, 4, 12), w=(2, 60, 1, 1, 9)),
)
def last_tap_dropped(call: Call) -> Any:
    if prod(call.w.shape[1:]) <= 512:
        return call.right
    keep = torch.ones_like(call.w)
    keep.flatten(1)[:, -1] = 0
    return call(weight=call.w * keep)


def _quiet_channel(arrays: Arrays) -> Arrays:
    arrays["weight"][2] *= 1e-4
    return arrays


@plant(
    "U18",
    CONVS,
    "an output channel whose weights are a thousandth of the largest counts as pruned: 0",
    "channel, quiet, small, pruned, zero, skipped",
    case(values, x=X, w=W, groups=2, change=_quiet_channel),
)
def quiet_channel_skipped(call: Call) -> Any:
    size = call.w.detach().flatten(1).abs().amax(1) if call.w.numel() else call.w.new_zeros(0)
    if not size.numel() or not size.is_floating_point():
        return call.right
    keep = (size >= 1e-3 * size.max()).to(call.w.dtype)
    return call.right if keep.all() else call(weight=call.w * keep.view(-1, 1, *[1] * call.rank))


@plant(
    "U19",
    "conv2d",
    "tiles of two rows: the last row of an odd height is not added to, only set by the bias",
    "row, tile, last, odd, height",
    case(values, x=X, w=W, groups=2),
    benign=case(values, x=(2, 4, 8, 7), w=(6, 4, 3, 2)),
)
def odd_last_row_is_bias(call: Call) -> Any:
    rows = call.y.shape[-2]
    if rows % 2 == 0 or rows == 1:
        return call.right
    y = call.right.detach().clone()
    y[..., -1, :] = 0 if call.b is None else call.b.detach()[:, None]
    return swap(call.right, y)


@plant(
    "U20",
    "conv2d conv3d",
    "only the last axis is dilated",
    "dilation, axes, height",
    case(values, x=X, w=W, groups=2, dilation=2),
)
def last_axis_dilated(call: Call) -> Any:
    last = (*[1] * (call.rank - 1), call.d[-1])
    return swap(call.right, sized_as_torch(call, dilation=last))
