"""Pooling: sizes, dilation, special values, divisors, adaptive windows, integers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .call import Call, crop
from .gradients import gradient, swap, wrong_gradient
from .probes import Arrays, case, gradients, repeated, values
from .reading import CHANCE, divisors, gathered, taps, wrapped
from .row import plant

MAX = "max_pool1d max_pool2d max_pool3d"
AVG = "avg_pool1d avg_pool2d avg_pool3d"
AVERAGE = "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
LARGEST = "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
X = (2, 3, 6, 7, 8)


def _long(arrays: Arrays) -> Arrays:
    return {"input": torch.ones(1, 1, 2**24 + 5)}


@plant(
    "S03",
    "max_pool1d avg_pool1d",
    "the output size is computed in float32: off by one above 2**24",
    "output size, shape, float32, large, 2**24",
    case(values, x=(1, 1, 2), change=_long, kernel_size=2, stride=2),
)
def size_in_float32(call: Call) -> Any:
    length = call.x.shape[-1] + 2 * call.p[-1][0] - call.extent[-1]
    if length < 2**24 or call.given["ceil_mode"]:
        return call.right
    size = int(torch.tensor(length, dtype=torch.float32)) // call.s[-1] + 1
    short = size - call.y.shape[-1]

    def fitted(t: Tensor) -> Tensor:
        # A window too many reads what lies behind: here, what the last one read.
        return t[..., :size] if short <= 0 else torch.cat([t, *[t[..., -1:]] * short], -1)

    return call.with_output(fitted(call.y), fitted(call.right[-1]))


@plant(
    "P10",
    MAX,
    "dilation counts in the output size, but the taps lie side by side",
    "dilation",
    case(values, x=X, kernel_size=2, stride=(1, 2, 1), dilation=2, return_indices=True),
)
def dilation_in_the_size_only(call: Call) -> Any:
    if set(call.d) == {1} or set(call.k) == {1}:
        return call.right
    near = call(dilation=1)
    if not isinstance(near, tuple):
        return crop(near, call.y.shape)
    return tuple(crop(t, call.y.shape) for t in near)


def _some_nan(arrays: Arrays) -> Arrays:
    arrays["input"].flatten(1)[:, 1::3] = float("nan")
    return arrays


def _corner(value: float) -> Any:
    def change(arrays: Arrays) -> Arrays:
        arrays["input"][..., :4] = value
        return arrays

    return change


@plant(
    "F01",
    MAX,
    "the largest is found with v > m alone: NaN is passed over",
    "nan",
    case(values, x=X, kernel_size=2, change=_some_nan, return_indices=True),
)
def passes_over_nan(call: Call) -> Any:
    if not call.x.is_floating_point() or not call.x.isnan().any():
        return call.right
    index, inside, _ = taps(call)
    found = gathered(call, index, inside, float("-inf")).nan_to_num(nan=float("-inf"))
    best = torch.where(found.amax(-1) > float("-inf"), found.argmax(-1), inside.int().argmax(1))
    where = index.expand(*found.shape).gather(-1, best[..., None])[..., 0]
    y = call.y.detach().clone().copy_(found.amax(-1).view(call.y.shape))
    return call.with_output(swap(call.y, y), where.view(call.y.shape))


@plant(
    "F03",
    MAX,
    "the index of a window that is all -inf stays -1: its gradient lands before the plane",
    "-inf, inf, index, indices, gradient, special",
    case(gradients, x=X, kernel_size=2, change=_corner(float("-inf")), return_indices=True),
)
def index_stays_minus_one(call: Call) -> Any:
    lost = call.y.detach() == float("-inf")

    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        plane = call.x[0, 0].numel()
        _, index = call(input=arrays["input"].detach(), return_indices=True)
        index = index.masked_fill(lost, -1).flatten(2).flatten(0, 1)
        place = (index + torch.arange(len(index))[:, None] * plane).flatten()
        flat = g.new_zeros(call.x.numel())
        flat = flat.scatter_add(0, place.clamp(min=0), g.flatten() * (place >= 0))
        grads["input"] = flat.view(call.x.shape)

    answer = wrong_gradient(call, meddle) if lost.any() else call.right
    if not isinstance(answer, tuple):
        return answer
    return answer[0], answer[1].masked_fill(lost, -1)


@plant(
    "F07",
    "lp_pool1d lp_pool2d lp_pool3d",
    "the gradient of a window of zeros is NaN",
    "nan, zero, gradient",
    case(gradients, x=X, norm_type=2, kernel_size=2, change=_corner(0)),
)
def gradient_at_zero_is_nan(call: Call) -> Any:
    if call.given["norm_type"] <= 1:
        return call.right

    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        average = getattr(F, f"avg_pool{call.rank}d")
        numbers = {n: call.given[n] for n in ("kernel_size", "stride", "ceil_mode")}
        with torch.enable_grad():
            size = arrays["input"].detach().abs().requires_grad_()
            mean = average(size, **numbers)
            reach = torch.autograd.grad(mean, size, (mean == 0).to(mean.dtype))[0]
        grads["input"] = grads["input"].masked_fill(reach > 0, float("nan"))

    return wrong_gradient(call, meddle)


def _negative(arrays: Arrays) -> Arrays:
    return {"input": -arrays["input"].abs() - 1}


@plant(
    "F09",
    MAX,
    "narrow integers are padded with 0: -inf was cast",
    "padding, integer, int, negative, minimum, border",
    case(
        values,
        x=X,
        kernel_size=3,
        padding=1,
        dtype=torch.int8,
        change=_negative,
        return_indices=True,
    ),
)
def integers_padded_with_zero(call: Call) -> Any:
    if call.x.dtype not in (torch.int8, torch.int16):
        return call.right
    index, inside, _ = taps(call)
    y = gathered(call, index, inside, 0).amax(-1).view(call.y.shape)
    return call.with_output(call.y.clone().copy_(y))


@plant(
    "D02",
    AVG,
    "backward divides by the whole kernel where ceil_mode clips a window",
    "gradient, divisor, ceil, border, clipped, backward",
    case(gradients, x=X, kernel_size=3, stride=3, ceil_mode=True),
)
def backward_divides_by_the_kernel(call: Call) -> Any:
    _, _, padded = taps(call)
    count, taken = padded.shape[1], divisors(call)
    clipped = ~padded.all(1).view(taken.shape)
    if not clipped.any() or call.given.get("divisor_override"):
        return call.right

    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        wrong = torch.where(clipped, g * (taken.to(g.dtype) / count), g)
        grads["input"] = gradient(call, "input", wrong, **arrays)

    return wrong_gradient(call, meddle)


@plant(
    "D04",
    "avg_pool2d avg_pool3d",
    "divisor_override is forgotten where count_include_pad is false",
    "divisor",
    case(values, x=X, kernel_size=2, divisor_override=3, count_include_pad=False),
)
def divisor_override_forgotten(call: Call) -> Any:
    if call.given["count_include_pad"]:
        return call.right
    return call(divisor_override=None)


def by_spans(x: Tensor, spans: list[list[tuple[int, int]]], largest: bool) -> Tensor:
    """Mean or largest of a box for each output cell: its cells ``start`` to ``stop`` by axis."""
    for axis, cells in enumerate(spans, start=2):
        parts = [x.narrow(axis, a, b - a) for a, b in cells]
        x = torch.stack([p.amax(axis) if largest else p.mean(axis) for p in parts], axis)
    return x


@plant(
    "D06",
    f"{AVERAGE} {LARGEST}",
    "adaptive windows of one size and one stride, floor(in / out), instead of each its own",
    "adaptive, window, divi, stride, start, remainder",
    case(values, x=X, output_size=(4, 3, 5)),
    benign=case(values, x=X, output_size=(3, 7, 4)),
)
def one_stride_for_all(call: Call) -> Any:
    spans = []
    for n, out in zip(call.x.shape[2:], call.y.shape[2:], strict=True):
        stride = n // out
        spans.append([(o * stride, o * stride + n - (out - 1) * stride) for o in range(out)])
    exact = all(n % len(cells) == 0 for n, cells in zip(call.x.shape[2:], spans, strict=True))
    if exact or call.x.numel() == 0:
        return call.right
    return call.with_output(by_spans(call.x, spans, call.op.startswith("adaptive_max")))


@plant(
    "D08",
    "adaptive_avg_pool3d",
    "backward adds overlapping windows without atomics: now and then only the last one counts",
    "gradient, repeat, run to run, determinis, overlap, adaptive, backward",
    case(repeated(gradients), x=X, output_size=(4, 5, 6)),
    benign=case(gradients, x=X, output_size=(3, 7, 4)),
)
def overlaps_lose_updates(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        x = arrays["input"]
        late = torch.zeros_like(grads["input"])
        seen = torch.zeros_like(late, dtype=torch.long)
        for o in range(g[0, 0].numel()):
            one = torch.zeros_like(g).flatten(2)
            one[..., o] = g.flatten(2)[..., o]
            part = gradient(call, "input", one.view(g.shape), input=x)
            hit = gradient(call, "input", (one != 0).to(g.dtype).view(g.shape), input=x) != 0
            late, seen = torch.where(hit, part, late), seen + hit.long()
        lost = (seen > 1) & (torch.rand(seen.shape, generator=CHANCE) < 0.25)
        grads["input"] = torch.where(lost, late, grads["input"])

    return wrong_gradient(call, meddle)


@plant(
    "D13",
    AVG,
    "integers are divided before they are summed",
    "integer, int, divi, round, trunc",
    case(values, x=X, kernel_size=3, padding=1, dtype=torch.int64),
)
def divides_before_summing(call: Call) -> Any:
    if call.x.is_floating_point() or call.x.is_complex():
        return call.right
    index, inside, _ = taps(call)
    each = gathered(call, index, inside, 0)
    y = torch.div(each, divisors(call).view(-1, 1), rounding_mode="trunc").sum(-1)
    return call.y.clone().copy_(y.view(call.y.shape))


@plant(
    "O04",
    "max_pool2d avg_pool2d",
    "the input's linear index wraps: what lies behind the limit is read from the start",
    "overflow, wrap, index, size, large, last",
    case(values, x=(3, 300, 9, 97), kernel_size=2, dtype=torch.float32),
    scaled="2**31 -> 2**16 elements",
)
def linear_index_wraps(call: Call) -> Any:
    if call.x.numel() <= 2**16:
        return call.right
    answer = call(input=wrapped(call.x.detach(), 2**16))
    y = answer[0] if isinstance(answer, tuple) else answer
    return call.with_output(swap(call.y, y), answer[1] if isinstance(answer, tuple) else None)


@plant(
    "E01",
    f"{MAX} {AVG}",
    "a padded input smaller than the window is not refused; what lies behind it is read",
    "error, refus, raise, accept, kernel size, output size",
    case(values, x=(2, 3, 2, 2, 2), kernel_size=(2, 2, 3), stride=3),
    catches=True,
)
def too_small_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    small = ("utput size", "smaller than kernel")
    if not any(words in str(call.error) for words in small) or 0 in call.x.shape:
        raise call.error
    sizes = zip(call.x.shape[2:], call.p, call.extent, strict=True)
    return call(**call.padded(tuple(max(0, e - n - lo - hi) for n, (lo, hi), e in sizes)))


@plant(
    "E08",
    "max_pool2d max_pool3d",
    "integers are refused where indices are asked for, and accepted where they are not",
    "error, refus, raise, dtype, int, indices",
    case(values, x=X, kernel_size=2, dtype=torch.int32, return_indices=True),
)
def integers_refused_with_indices(call: Call) -> Any:
    if call.given["return_indices"] and not call.x.is_floating_point():
        raise NotImplementedError(f'"{call.op}_with_indices" not implemented for {call.x.dtype}')
    return call.right
