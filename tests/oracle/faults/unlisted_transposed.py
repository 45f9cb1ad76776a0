"""Transposed convolution, not in the table."""

from __future__ import annotations

from typing import Any

import torch

from .call import Call
from .gradients import swap
from .probes import case, values
from .row import plant
from .transposed import sized
from .unlisted_conv import exchanged

TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
X, W = (2, 4, 3, 4, 5), (4, 3, 2, 3, 2)


def shifted(call: Call, by: Any) -> Any:
    """The output, read ``by`` cells further on each axis."""
    first = tuple(lo + n for (lo, _), n in zip(call.p, by, strict=True))
    return swap(call.right, sized(call, first, tuple(call.y.shape[2:])))


@plant(
    "U21",
    TRANSPOSED,
    "output_padding adds its cells in front",
    "output_padding, front, side, shift, left",
    case(values, x=X, w=W, b=3, stride=2, output_padding=1),
)
def output_padding_in_front(call: Call) -> Any:
    return shifted(call, [-n for n in call.sizes("output_padding")])


@plant(
    "U22",
    TRANSPOSED,
    "an even kernel's output starts one cell late",
    "even, kernel, shift, offset, padding",
    case(values, x=X, w=W, b=3, stride=2),
    benign=case(values, x=X, w=(4, 3, 3, 3, 3), b=3, stride=2),
)
def even_kernel_shifted(call: Call) -> Any:
    return shifted(call, [int(k % 2 == 0) for k in call.k])


@plant(
    "U23",
    TRANSPOSED,
    "the kernel is turned round once too often",
    "flip, turned, kernel, reversed, mirror",
    case(values, x=X, w=W, b=3, stride=2),
    benign=case(values, x=X, w=(4, 3, 1, 1, 1), b=3, stride=2),
)
def kernel_flipped(call: Call) -> Any:
    return call(weight=call.w.flip(tuple(range(2, 2 + call.rank))))


@plant(
    "U24",
    TRANSPOSED,
    "the groups' outputs are stored in the reverse order",
    "group, channel, permut, order, revers",
    case(values, x=X, w=W, stride=2, groups=2),
)
def groups_reversed(call: Call) -> Any:
    return call.right.unflatten(1, (call.g, -1)).flip(1).flatten(1, 2)


@plant(
    "U25",
    TRANSPOSED,
    "padding is counted in dilated cells: the crop is padding times dilation",
    "padding, dilation, shift, crop, offset",
    case(values, x=X, w=W, b=3, padding=1, dilation=2, stride=2),
)
def crop_times_dilation(call: Call) -> Any:
    rows = zip(call.p, call.d, strict=True)
    return shifted(call, [lo * (d - 1) for (lo, _), d in rows])


@plant(
    "U26",
    TRANSPOSED,
    "stride above the kernel: the gaps between the taps hold 0, without the bias",
    "bias, gap, stride, zero",
    case(values, x=X, w=W, b=3, stride=4),
)
def gaps_without_bias(call: Call) -> Any:
    if call.b is None or all(s <= e for s, e in zip(call.s, call.extent, strict=True)):
        return call.right
    with torch.no_grad():
        ones = torch.ones_like(call.x), torch.ones_like(call.w)
        touched = call(input=ones[0], weight=ones[1], bias=None) != 0
    return call.right * touched


def sized_as_torch(call: Call, **changes: Any) -> Any:
    """The output with other numbers, in torch's size; what no tap reaches holds the bias."""
    other = Call(call.op, {**call.given, **changes})
    return swap(call.right, sized(other, tuple(lo for lo, _ in call.p), tuple(call.y.shape[2:])))


@plant(
    "U27",
    "conv_transpose2d conv_transpose3d",
    "height and width exchange their strides, in an output sized as torch says",
    "stride, axes, swap, exchange, height, width",
    case(values, x=X, w=W, b=3, stride=(1, 1, 2)),
)
def strides_exchanged(call: Call) -> Any:
    return sized_as_torch(call, stride=exchanged(call.s))


@plant(
    "U28",
    TRANSPOSED,
    "dilation is taken as 1, in an output sized for the dilated kernel",
    "dilation",
    case(values, x=X, w=W, b=3, dilation=2),
)
def ignores_dilation(call: Call) -> Any:
    if all(e == k for e, k in zip(call.extent, call.k, strict=True)):
        return call.right
    return sized_as_torch(call, dilation=1)


@plant(
    "U29",
    TRANSPOSED,
    "every group uses the weights of group 0",
    "group, weight",
    case(values, x=X, w=W, stride=2, groups=2),
)
def weights_of_group_0(call: Call) -> Any:
    first = call.w[: len(call.w) // call.g]
    return swap(call.right, call(weight=torch.cat([first] * call.g)))
