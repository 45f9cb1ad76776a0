"""Pooling, not in the table: windows, divisors, ties, indices, integers and infinities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .gradients import swap
from .pool import by_spans
from .probes import Arrays, case, values
from .reading import divisors, gathered, taps
from .row import plant

MAX = "max_pool1d max_pool2d max_pool3d"
AVG = "avg_pool1d avg_pool2d avg_pool3d"
X = (2, 3, 6, 7, 8)


@plant(
    "U45",
    AVG,
    "count_include_pad is read the other way round",
    "count_include_pad, divisor, padding, border",
    case(values, x=X, kernel_size=3, padding=1),
)
def count_include_pad_inverted(call: Call) -> Any:
    if call.given.get("divisor_override"):
        return call.right
    return call(count_include_pad=not call.given["count_include_pad"])


@plant(
    "U46",
    AVG,
    "ceil_mode: a window clipped behind the padding is divided by the whole kernel",
    "ceil, divisor, clipped, border, last",
    case(values, x=X, kernel_size=3, stride=3, ceil_mode=True),
)
def clipped_window_divided_by_kernel(call: Call) -> Any:
    index, inside, padded = taps(call)
    clipped = ~padded.all(1)
    if call.given.get("divisor_override") or not call.given["count_include_pad"]:
        return call.right
    if not clipped.any():
        return call.right
    total = gathered(call, index, inside, 0).sum(-1)
    y = (total / inside.shape[1]).to(call.y.dtype).view(call.y.shape)
    return torch.where(clipped.view(call.y.shape[2:]), y, call.right)


@plant(
    "U47",
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    "adaptive windows end at floor, not at ceil",
    "adaptive, window, end, ceil, floor, divi",
    case(values, x=X, output_size=5),
    benign=case(values, x=X, output_size=1),
)
def adaptive_ends_at_floor(call: Call) -> Any:
    spans = []
    for n, out in zip(call.x.shape[2:], call.y.shape[2:], strict=True):
        ends = [(o * n // out, (o + 1) * n // out) for o in range(out)]
        spans.append([(a, max(b, a + 1)) for a, b in ends])
    return by_spans(call.x, spans, largest=False) if call.y.numel() else call.right


@plant(
    "U48",
    MAX,
    "indices count the taps of the window, not the cells of the plane",
    "index, indices",
    case(values, x=X, kernel_size=2, return_indices=True),
    benign=case(values, x=X, kernel_size=2),
)
def indices_in_the_window(call: Call) -> Any:
    if not isinstance(call.right, tuple):
        return call.right
    index, inside, _ = taps(call)
    chosen = call.right[1].flatten(2)[..., None]
    place = ((index == chosen) & inside).int().argmax(-1)
    return call.y, place.view(call.y.shape)


@plant(
    "U49",
    MAX,
    "of equal largest elements the last is reported",
    "tie, equal, index, indices, last",
    case(
        values,
        x=X,
        kernel_size=3,
        stride=2,
        change=lambda a: {"input": a["input"].round()},
        return_indices=True,
    ),
)
def last_of_equals(call: Call) -> Any:
    if not isinstance(call.right, tuple) or call.x.isnan().any():
        return call.right
    index, inside, _ = taps(call)
    hit = (gathered(call, index, inside, 0) == call.y.flatten(2)[..., None]) & inside
    last = hit.shape[-1] - 1 - hit.flip(-1).int().argmax(-1)
    where = index.expand(*hit.shape).gather(-1, last[..., None])[..., 0]
    return call.y, where.view(call.y.shape)


@plant(
    "U50",
    MAX,
    "the padding is 0, so a window of negative numbers gives 0 at the border",
    "padding, negative, border, zero",
    case(values, x=X, kernel_size=3, padding=1, change=lambda a: {"input": -a["input"].abs()}),
)
def largest_with_padding_zero(call: Call) -> Any:
    _, inside, _ = taps(call)
    partial = ~inside.all(1).view(call.y.shape[2:])
    y = torch.where(partial & (call.y < 0), torch.zeros_like(call.y), call.y)
    return call.with_output(y)


@plant(
    "U51",
    "avg_pool2d",
    "ceil_mode: a window that starts behind the input is kept",
    "ceil, output size, shape, last",
    case(values, x=(2, 3, 6, 7), kernel_size=2, stride=2, padding=1, ceil_mode=True),
)
def window_behind_the_input(call: Call) -> Any:
    if not call.given["ceil_mode"]:
        return call.right
    rows = zip(call.x.shape[2:], call.p, call.k, call.s, strict=True)
    size = [-((n + lo + hi - k) // -s) + 1 for n, (lo, hi), k, s in rows]
    more = [n - have for n, have in zip(size, call.y.shape[2:], strict=True)]
    return torch.nn.functional.pad(call.right, (0, more[1], 0, more[0]))


@plant(
    "U52",
    "max_pool2d max_pool3d",
    "indices are counted in rows of the padded input",
    "index, indices, padding, row",
    case(values, x=X, kernel_size=3, padding=1, return_indices=True),
)
def indices_of_the_padded_input(call: Call) -> Any:
    if not isinstance(call.right, tuple):
        return call.right
    width = call.x.shape[-1]
    wide = width + sum(call.p[-1])
    index = call.right[1]
    return call.y, index // width * wide + index % width


@plant(
    "U53",
    "lp_pool1d lp_pool2d lp_pool3d",
    "odd powers are taken of the absolute value",
    "sign, norm, negative, abs, power",
    case(values, x=X, norm_type=1, kernel_size=2),
    benign=case(values, x=X, norm_type=2, kernel_size=2),
)
def odd_power_of_absolute(call: Call) -> Any:
    odd = float(call.given["norm_type"]) % 2 == 1
    return call(input=call.x.abs()) if odd else call.right


@plant(
    "U54",
    f"{MAX} {AVG}",
    "a stride that is not given is 1, not the kernel",
    "stride, default, shape, output size",
    case(values, x=X, kernel_size=2),
    benign=case(values, x=X, kernel_size=2, stride=2),
)
def stride_is_one_by_default(call: Call) -> Any:
    fits = all(n >= e for n, e in zip(call.x.shape[2:], call.extent, strict=True))
    return call(stride=1) if fits and call.given["stride"] in (None, [], ()) else call.right


def lowest(dtype: torch.dtype) -> float:
    """Below every number of a dtype, or the least of them."""
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min


@plant(
    "U55",
    "max_pool2d avg_pool2d",
    "the kernel's height and width are exchanged, in an output sized as torch says",
    "kernel, height, width, swap, exchange, axes",
    case(values, x=(2, 3, 8, 7), kernel_size=(3, 2), stride=2),
    benign=case(values, x=(2, 3, 8, 7), kernel_size=2),
)
def kernel_exchanged(call: Call) -> Any:
    return _windows_of(call, kernel_size=call.k[::-1], stride=call.s)


@plant(
    "U59",
    "max_pool2d avg_pool2d",
    "height and width exchange their strides, in an output sized as torch says",
    "stride, height, width, swap, exchange, axes",
    case(values, x=(2, 3, 8, 7), kernel_size=3, stride=(2, 1)),
)
def strides_exchanged(call: Call) -> Any:
    return _windows_of(call, stride=call.s[::-1])


def _windows_of(call: Call, **changes: Any) -> Any:
    """Pooling over the windows of other numbers; what lies outside the input is passed over."""
    other = Call(call.op, {**call.given, **changes})
    other.right = call.right
    if (other.k, other.s) == (call.k, call.s):
        return call.right
    index, inside, _ = taps(other)
    largest = call.op.startswith("max")
    found = gathered(other, index, inside, lowest(call.x.dtype) if largest else 0)
    y = found.amax(-1) if largest else found.sum(-1) / inside.shape[1]
    return call.with_output(swap(call.y, y.to(call.y.dtype).view(call.y.shape)))


def _corner_of_minus_infinity(arrays: Arrays) -> Arrays:
    arrays["input"][..., :4] = float("-inf")
    return arrays


@plant(
    "U56",
    MAX,
    "the search starts at the lowest finite number: a window of -inf gives that",
    "-inf, inf, lowest, special",
    case(values, x=X, kernel_size=2, change=_corner_of_minus_infinity),
)
def starts_at_the_lowest(call: Call) -> Any:
    if not call.x.is_floating_point():
        return call.right
    y = call.y.detach().clamp(min=torch.finfo(call.y.dtype).min)
    return call.with_output(swap(call.y, y))


@plant(
    "U57",
    "adaptive_max_pool2d adaptive_max_pool3d",
    "indices are counted in rows of the output's width",
    "index, indices, row, width",
    case(values, x=X, output_size=3, return_indices=True),
)
def indices_in_rows_of_the_output(call: Call) -> Any:
    if not isinstance(call.right, tuple):
        return call.right
    index, width = call.right[1], call.x.shape[-1]
    return call.y, index // width * call.y.shape[-1] + index % width


def _halves(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)


@plant(
    "U58",
    "avg_pool1d avg_pool2d",
    "half precision is summed in half precision",
    "precision, half, fp16, bf16, accum, bits, rounded",
    case(
        values,
        x=(2, 3, 4, 512),
        kernel_size=(2, 256),
        dtype=torch.bfloat16,
        change=lambda a: {"input": a["input"] * 30},
    ),
)
def averages_in_half(call: Call) -> Any:
    if not _halves(call.x):
        return call.right
    index, inside, _ = taps(call)
    each = gathered(call, index, inside, 0).detach()
    total, divisor = torch.zeros_like(each[..., 0]), divisors(call).flatten()
    for tap in each.unbind(-1):
        total = total + tap
    y = (total.float() / divisor).to(call.y.dtype).view(call.y.shape)
    return swap(call.right, y)
