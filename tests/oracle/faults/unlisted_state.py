"""What one call leaves for the next, thresholds, and refusals, not in the table."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .call import Call, zero_pad
from .gradients import swap
from .layout import transposed
from .probes import (
    Arrays,
    Case,
    Function,
    Look,
    case,
    fenced,
    gradients,
    kept,
    relayout,
    second_call,
    values,
)
from .row import plant
from .unlisted_conv import sized_as_torch

CONVS = "conv1d conv2d conv3d"
TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
MAX = "max_pool1d max_pool2d max_pool3d"
X, W = (2, 4, 6, 7, 8), (6, 2, 2, 3, 2)


def _planned(call: Call, plans: dict[Any, Any], name: str) -> dict[str, Any]:
    """One number as the first call had it whose shapes and other numbers were these."""
    shapes = [(n, a.shape, a.dtype) for n, a in call.given.items() if isinstance(a, Tensor)]
    others = [(n, v) for n, v in call.given.items() if not isinstance(v, Tensor) and n != name]
    plan = plans.setdefault(repr((call.op, shapes, others)), {name: call.given[name]})
    if len(plans) > 64:
        plans.pop(next(iter(plans)))
    return plan


def _three(op: str, look: Look) -> Case:
    """A window of three cells an axis, for pooling and convolution."""
    window: Any = {"kernel_size": 3} if "pool" in op else {"w": (4, 4, 3, 3, 3)}
    return case(look, x=(2, 4, 5, 6, 7), **window)


_DILATED: dict[Any, Any] = {}


@plant(
    "U90",
    CONVS,
    "plans are cached without dilation: a second call of these shapes uses the first one's",
    "cache, second call, call twice, dilation, state, stale",
    case(second_call(dilation=2), x=(2, 4, 6, 7, 9), w=W, groups=2),
)
def plan_without_dilation(call: Call) -> Any:
    plan = _planned(call, _DILATED, "dilation")
    if plan["dilation"] == call.given["dilation"]:
        return call.right
    return swap(call.right, sized_as_torch(call, dilation=plan["dilation"]))


_PADDED: dict[Any, Any] = {}


@plant(
    "U91",
    f"{CONVS} {TRANSPOSED} {MAX}",
    "answers are planned once for these shapes: a second call with another padding has the first's",
    "cache, second call, call twice, padding, state, stale, shape",
    lambda op: _three(op, second_call(padding=1)),
)
def plan_without_padding(call: Call) -> Any:
    return call(**_planned(call, _PADDED, "padding"))


_BUFFERS: dict[Any, Tensor] = {}


@plant(
    "U92",
    f"{CONVS} {MAX}",
    "outputs of one shape share one buffer: the next call overwrites this call's answer",
    "alias, buffer, memory, shared, overwrit, reuse, second call, call twice, stale",
    lambda op: _three(op, kept),
    own_layout=True,
)
def output_buffer_reused(call: Call) -> Any:
    key = (call.op, call.y.shape, call.y.stride(), call.y.dtype)
    buffer = _BUFFERS.setdefault(key, torch.empty_like(call.y.detach()))
    if len(_BUFFERS) > 16:
        _BUFFERS.pop(next(iter(_BUFFERS)))
    return call.with_output(swap(call.y, buffer.copy_(call.y.detach())))


_PACKED: Any = WeakIdKeyDictionary()


def _weight_changed(call: Function, arrays: Arrays) -> Any:
    call(**arrays)
    arrays["weight"].mul_(2)
    return call(**arrays)


@plant(
    "U93",
    CONVS,
    "weights are packed once: one that was changed in place since is used as it was",
    "weight, cache, stale, state, second call, call twice, in place",
    case(_weight_changed, x=X, w=W, groups=2),
)
def weight_packed_once(call: Call) -> Any:
    packed = _PACKED.setdefault(call.w, call.w.detach().clone())
    return call.right if torch.equal(packed, call.w) else swap(call.right, call(weight=packed))


@plant(
    "U94",
    CONVS,
    "the input's last cell is set to 0 while it is packed, and not set back",
    "input, changed, modif, in place, memory, mutat, written, wrote",
    case(fenced, x=X, w=W, groups=2),
    benign=case(gradients, x=X, w=W, groups=2, change=relayout(input=transposed)),
)
def input_changed(call: Call) -> Any:
    if call.x.numel() and call.x.is_contiguous():
        # .data: autograd's version counter does not see what a kernel writes.
        call.x.data.view(-1)[-1:].zero_()
    return call.right


def _shares_memory(call: Function, arrays: Arrays) -> bool:
    return call(**arrays).data_ptr() == arrays["input"].data_ptr()


@plant(
    "U95",
    "pad",
    "padding by nothing gives the input itself, not a copy",
    "alias, input, copy, memory, shared, same",
    case(_shares_memory, x=(2, 3, 5), pad=(0, 0)),
    own_layout=True,
)
def unpadded_is_the_input(call: Call) -> Any:
    return call.x if not any(call.given["pad"]) else call.right


@plant(
    "U96",
    CONVS,
    "a batch above 8 begins again: image 8 is image 0",
    "batch, image, wrap",
    case(values, x=(11, 4, 3, 4, 5), w=(6, 2, 2, 2, 2), groups=2),
)
def batch_wraps_at_eight(call: Call) -> Any:
    n = len(call.x)
    return call.right if n <= 8 else call.right[torch.arange(n) % 8]


def _many(op: str) -> Case:
    window: Any = {"kernel_size": 1} if "pool" in op else {"w": (1, 1, 1, 1, 1)}
    return case(values, x=(65537, 1, 1, 1, 2), dtype=torch.float32, **window)


@plant(
    "U97",
    f"{CONVS} {MAX}",
    "more than 65535 images do not fit the grid: the others stay 0",
    "batch, image, 65535, 65536, grid, last",
    _many,
)
def images_behind_the_grid(call: Call) -> Any:
    if len(call.x) <= 65535:
        return call.right
    y = call.y.detach().clone()
    y[65535:] = 0
    return call.with_output(swap(call.y, y))


@plant(
    "U98",
    "conv1d",
    "a kernel's taps are counted in 8 bits: tap 256 reads where tap 0 does",
    "kernel, 256, tap, wrap, overflow",
    case(values, x=(2, 1, 300), w=(2, 1, 260)),
)
def taps_in_8_bits(call: Call) -> Any:
    if call.k[-1] <= 256:
        return call.right
    folded = call.w.new_zeros(*call.w.shape[:-1], 256)
    at = torch.arange(call.k[-1]) % 256
    return swap(call.right, sized_as_torch(call, weight=folded.index_add(2, at, call.w.detach())))


@plant(
    "U99",
    "conv1d",
    "columns are counted in 15 bits: what lies behind 32767 is read as 0",
    "length, 32768, 32767, column, overflow, last",
    case(values, x=(1, 1, 32780), w=(1, 1, 3), dtype=torch.float32),
)
def columns_in_15_bits(call: Call) -> Any:
    n = call.x.shape[-1]
    if n <= 32768:
        return call.right
    short = zero_pad(call.x[..., :32768], [(0, n - 32768)])
    return swap(call.right, call(input=short))


@plant(
    "U100",
    CONVS,
    "input channels that the weight does not have are left out, not refused",
    "error, refus, raise, accept, channel",
    case(values, x=(2, 5, 6, 7, 8), w=(6, 4, 2, 3, 2)),
    catches=True,
)
def more_channels_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    have, used = call.x.shape[1], call.w.shape[1] * call.g
    if have <= used or "channels" not in str(call.error):
        raise call.error
    return call(input=call.x[:, :used])


@plant(
    "U101",
    CONVS,
    "a stride longer than the kernel is refused",
    "error, refus, raise, stride",
    case(values, x=X, w=W, groups=2, stride=4),
)
def long_stride_refused(call: Call) -> Any:
    if any(s > e for s, e in zip(call.s, call.extent, strict=True)):
        raise RuntimeError(f"{call.op}: stride {call.s} above kernel {call.k} is not supported")
    return call.right


@plant(
    "U102",
    f"{CONVS} {TRANSPOSED}",
    "a batch of no images is refused",
    "error, refus, raise, empty, batch",
    case(values, x=(0, 4, 6, 7, 8), w=(4, 4, 2, 3, 2)),
    always=True,
)
def no_images_refused(call: Call) -> Any:
    if not len(call.x):
        raise RuntimeError(f"{call.op}: expected a batch of at least one image, got 0")
    return call.right


@plant(
    "U103",
    CONVS,
    "a bias with too many entries is cut, not refused",
    "error, refus, raise, accept, bias",
    case(values, x=X, w=W, b=7, groups=2),
    catches=True,
)
def long_bias_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    if call.b is None or call.b.dim() != 1 or len(call.b) <= len(call.w):
        raise call.error
    return call(bias=call.b[: len(call.w)])


@plant(
    "U104",
    f"{MAX} avg_pool2d",
    "padding of more than half the kernel is accepted: whole windows lie in it",
    "error, refus, raise, accept, padding, half",
    case(values, x=X, kernel_size=2, padding=2),
    catches=True,
)
def wide_padding_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    if "at most half" not in str(call.error) and "half of" not in str(call.error):
        raise call.error
    outside = float("-inf") if call.op.startswith("max") and call.x.is_floating_point() else 0
    flat = [n for side in reversed(call.p) for n in side]
    return call(input=torch.nn.functional.pad(call.x, flat, value=outside), padding=0)


@plant(
    "U105",
    "pad",
    "reflection as wide as the input is accepted, and wraps round",
    "error, refus, raise, accept, reflect, wide",
    case(values, x=(2, 3, 5), pad=(5, 0), mode="reflect"),
    catches=True,
)
def wide_reflection_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    pad, n = call.given["pad"], call.x.shape[-1]
    if call.given["mode"] != "reflect" or len(pad) != 2 or not n <= max(pad) < 2 * n:
        raise call.error
    at = torch.arange(-pad[0], n + pad[1]) % max(2 * n - 2, 1)
    return call.x.index_select(-1, torch.where(at < n, at, 2 * n - 2 - at))


@plant(
    "U106",
    f"{CONVS} {TRANSPOSED}",
    "a batch of no images gives the input's spatial shape",
    "shape, empty, batch",
    case(values, x=(0, 4, 6, 7, 8), w=(4, 4, 2, 3, 2)),
    always=True,
)
def empty_batch_of_another_shape(call: Call) -> Any:
    if len(call.x):
        return call.right
    # The sum of nothing: 0, with a graph.
    return call.right.sum() + call.right.new_zeros(0, call.y.shape[1], *call.x.shape[2:])


def _has_a_graph(call: Function, arrays: Arrays) -> bool:
    return call(**{n: a.requires_grad_() for n, a in arrays.items()}).requires_grad


@plant(
    "U107",
    CONVS,
    "the output has no graph: no gradient reaches the arrays where there is no bias",
    "gradient, graph, detach, error, none",
    case(_has_a_graph, x=X, w=W, groups=2),
    benign=case(values, x=X, w=W, groups=2),
    own_layout=True,
)
def graph_lost_without_bias(call: Call) -> Any:
    return call.right.detach() if call.b is None else call.right
