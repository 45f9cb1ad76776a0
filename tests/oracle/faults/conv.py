"""Convolution: wrong output sizes, padding, dilation, groups, tails and thresholds."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .call import Call, crop, zero_pad
from .gradients import swap
from .probes import case, values
from .reading import unwritten, wrapped
from .row import plant

CONVS = "conv1d conv2d conv3d"
X, W = (2, 4, 6, 7, 8), (6, 2, 2, 3, 2)


@plant(
    "S01",
    CONVS,
    "the output size is rounded up: one more window where the stride leaves cells over",
    "output size, shape, ceil",
    case(values, x=X, w=W, groups=2, stride=(3, 3, 4)),
)
def rounds_the_size_up(call: Call) -> Any:
    more = tuple(s - n if n else 0 for n, s in zip(call.left_over, call.s, strict=True))
    return call(**call.padded(more)) if any(more) else call.right


@plant(
    "S01",
    CONVS,
    "the last output column is dropped where the stride leaves cells over",
    "output size, shape, last column",
    case(values, x=X, w=W, groups=2, stride=(1, 1, 4)),
)
def drops_the_last_column(call: Call) -> Any:
    return call.right[..., :-1] if call.left_over[-1] else call.right


@plant(
    "S09",
    "conv1d conv2d",
    "depthwise with stride and dilation: space-to-batch first, so strides step inside a phase",
    "dilation, stride, depthwise, output size, shape",
    case(values, x=(2, 3, 9, 12), w=(3, 1, 2, 3), groups=3, stride=2, dilation=2),
)
def space_to_batch(call: Call) -> Any:
    both = [s > 1 and d > 1 for s, d in zip(call.s, call.d, strict=True)]
    if not (call.g == call.x.shape[1] > 1 and any(both)):
        return call.right
    x = call.padded()["input"]
    phases = [d if b else 1 for d, b in zip(call.d, both, strict=True)]
    x = zero_pad(x, [(0, -n % f) for n, f in zip(x.shape[2:], phases, strict=True)])
    dilation = tuple(1 if b else d for d, b in zip(call.d, both, strict=True))
    parts = {
        r: call(input=x[_every(r, phases)], padding=0, dilation=dilation)
        for r in product(*(range(f) for f in phases))
    }
    first = next(iter(parts.values()))
    spatial = [n * f for n, f in zip(first.shape[2:], phases, strict=True)]
    y = first.new_empty(*first.shape[:2], *spatial)
    for r, part in parts.items():
        y[_every(r, phases)] = part
    return y


def _every(start: tuple[int, ...], step: list[int]) -> tuple[Any, ...]:
    return (..., *(slice(r, None, f) for r, f in zip(start, step, strict=True)))


@plant(
    "P02",
    "conv2d conv3d",
    "padding='same': the kernel's sizes are reversed for F.pad, the dilations are not",
    "same, dilation, padding, shape",
    case(values, x=(1, 2, 9, 9, 9), w=(3, 2, 1, 3, 5), padding="same", dilation=(1, 1, 2)),
)
def same_with_reversed_kernel_only(call: Call) -> Any:
    if call.given["padding"] != "same":
        return call.right
    # In F.pad's order, last axis first: the j-th dilation meets the j-th kernel size from behind.
    total = [d * (k - 1) for d, k in zip(call.d, reversed(call.k), strict=True)]
    pads = [(t // 2, t - t // 2) for t in reversed(total)]
    return call.right if tuple(pads) == call.p else call(**call.padded(pads=pads))


@plant(
    "P04",
    CONVS,
    "in the padding beside a row the neighbouring row is read: the linear offset is clamped",
    "padding, border, column, edge",
    case(values, x=X, w=W, groups=2, padding=(0, 1, 1)),
)
def reads_the_neighbouring_row(call: Call) -> Any:
    lo, hi = call.p[-1]
    if lo + hi == 0:
        return call.right
    size = call.x.shape[-1]
    cells = call.x[0, 0].numel()
    column = torch.arange(-lo, size + hi)
    at = (torch.arange(cells // size)[:, None] * size + column).clamp(0, cells - 1)
    x = call.x.flatten(2)[..., at].view(*call.x.shape[:-1], size + lo + hi)
    rows = [*call.p[:-1], (0, 0)]
    return swap(call.right, call(input=zero_pad(x, rows), padding=0))


@plant(
    "G01",
    CONVS,
    "every group reads the input channels of group 0",
    "group",
    case(values, x=X, w=W, groups=2),
)
def group_offset_omitted(call: Call) -> Any:
    if call.g == 1:
        return call.right
    first = call.x[:, : call.w.shape[1]]
    return swap(call.right, call(input=torch.cat([first] * call.g, 1)))


@plant(
    "K04",
    CONVS,
    "an output of one column with a stride reads the last window that fits, not the first",
    "stride, output size 1, last axis, window, column",
    case(values, x=X, w=(6, 2, 2, 3, 4), groups=2, stride=(1, 1, 5)),
)
def wrong_window_for_one_column(call: Call) -> Any:
    if call.y.shape[-1] != 1 or call.s[-1] == 1 or not call.left_over[-1]:
        return call.right
    x = call.padded()["input"][..., call.left_over[-1] :]
    return swap(call.right, call(input=x, padding=0))


@plant(
    "K06",
    CONVS,
    "dilation is taken as 1, in an output sized for the dilated kernel",
    "dilation",
    case(values, x=X, w=W, groups=2, dilation=2),
)
def ignores_dilation(call: Call) -> Any:
    if all(e == k for e, k in zip(call.extent, call.k, strict=True)):
        return call.right
    return swap(call.right, crop(call(**call.padded(), dilation=1), call.y.shape))


@plant(
    "K10",
    CONVS,
    "without bias, the last n mod 4 cells of the last channel's n cells are never written",
    "last, unwritten, nan, tail",
    case(values, x=(2, 4, 1, 3, 7), w=(6, 2, 1, 1, 3), groups=2),
    benign=case(values, x=X, w=W, b=6, groups=2),
)
def tail_unwritten(call: Call) -> Any:
    y = call.right.detach().clone(memory_format=torch.contiguous_format)
    tail = y[0, 0].numel() % 4 if y.numel() and call.b is None else 0
    if not tail:
        return call.right
    last = y.view(*y.shape[:2], -1)[:, -1, -tail:]
    last.copy_(unwritten(last))
    return swap(call.right, y)


_EARLIER: dict[Any, Tensor] = {}


@plant(
    "K10",
    "conv2d",
    "without bias, the last n mod 4 cells of an image's last row keep an earlier result",
    "last, stale, unwritten, earlier, tail",
    case(values, x=(2, 4, 3, 7), w=(6, 2, 1, 2), groups=2),
    benign=case(values, x=X, w=W, b=6, groups=2),
)
def tail_stale(call: Call) -> Any:
    y = call.right.detach().clone()
    tail = y.shape[-1] % 4 if y.numel() and call.b is None else 0
    if not tail:
        return call.right
    key = (y.shape, y.dtype)
    earlier = _EARLIER.get(key, torch.zeros_like(y))
    _EARLIER.clear()
    _EARLIER[key] = y.clone()
    y[:, -1, -1, -tail:] = earlier[:, -1, -1, -tail:]
    return swap(call.right, y)


@plant(
    "O02",
    "conv1d conv2d",
    "output channels are counted in 16 bits: those from 65536 on are zero, the first ones wrong",
    "channel, 65536",
    case(values, x=(1, 1, 2, 2), w=(65537, 1, 1, 2), dtype=torch.float32),
)
def channels_in_16_bits(call: Call) -> Any:
    over = call.y.shape[1] - 65536
    if over <= 0:
        return call.right
    y = call.right.detach().clone()
    y[:, :over] = y[:, 65536:]
    y[:, 65536:] = 0
    return swap(call.right, y)


@plant(
    "O04",
    CONVS,
    "the input's linear index wraps: what lies behind the limit is read from the start",
    "overflow, wrap, index, size, large, last",
    case(values, x=(3, 300, 1, 9, 97), w=(2, 300, 1, 1, 1), dtype=torch.float32),
    scaled="2**31 -> 2**16 elements",
)
def linear_index_wraps(call: Call) -> Any:
    if call.x.numel() <= 2**16:
        return call.right
    return swap(call.right, call(input=wrapped(call.x, 2**16)))


@plant(
    "O08",
    "conv1d conv2d",
    "a large batch is computed in halves, and the second half reads the first half's images",
    "batch, image, half, split",
    case(values, x=(2, 80, 3, 257), w=(3, 80, 1, 1), dtype=torch.float32),
    scaled="2**31 -> 2**16 bytes of input",
)
def second_half_reads_the_first(call: Call) -> Any:
    n = call.x.shape[0]
    if n < 2 or call.x.numel() * call.x.element_size() <= 2**16:
        return call.right
    return swap(call.right, call(input=torch.cat([call.x[: n // 2], call.x[: n - n // 2]])))


@plant(
    "E01",
    CONVS,
    "a padded input smaller than the kernel is not refused; what lies behind it is read",
    "error, refus, raise, accept, kernel size",
    case(values, x=(2, 4, 3, 3, 3), w=(6, 2, 2, 2, 5), groups=2),
    catches=True,
)
def too_small_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    if "greater than actual input" not in str(call.error):
        raise call.error
    sizes = zip(call.x.shape[2:], call.p, call.extent, strict=True)
    return call(**call.padded(tuple(max(0, e - n - lo - hi) for n, (lo, hi), e in sizes)))


@plant(
    "B02",
    "conv2d",
    "1x1 in half precision: from the fourth image on, the bias is taken one channel further",
    "bias",
    case(values, x=(5, 4, 3, 7), w=(6, 4, 1, 1), b=6, dtype=torch.float16),
)
def bias_of_the_next_channel(call: Call) -> Any:
    half = call.x.dtype in (torch.float16, torch.bfloat16)
    if call.b is None or len(call.x) < 4 or set(call.k) != {1} or not half:
        return call.right
    y = call.right.detach().clone()
    y[3:] = F.conv2d(**{**call.given, "input": call.x[3:], "bias": call.b.roll(-1)})
    return swap(call.right, y)
