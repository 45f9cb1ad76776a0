"""Right answers with wrong gradients, not in the table."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call, crop, zero_pad
from .gradients import gradient, wrong_gradient, wrong_second_gradient
from .probes import Arrays, case, gradients, no_weight_gradient, second
from .reading import gathered, taps
from .row import plant

CONVS = "conv1d conv2d conv3d"
TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
MAX = "max_pool1d max_pool2d max_pool3d"
AVG = "avg_pool1d avg_pool2d avg_pool3d"
X, W = (2, 4, 6, 7, 8), (6, 2, 2, 3, 2)


@plant(
    "U30",
    CONVS,
    "input gradient: dilation is taken as 1",
    "dilation, gradient, input",
    case(gradients, x=X, w=W, groups=2, dilation=(1, 2, 3)),
)
def input_gradient_without_dilation(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "input" in grads and any(e > k for e, k in zip(call.extent, call.k, strict=True)):
            x = Call(call.op, {**call.given, **arrays}).padded()["input"]
            # As many cells as undilated windows reach; the others get nothing.
            rows = zip(g.shape[2:], call.s, call.k, strict=True)
            near = crop(x, (*x.shape[:2], *((n - 1) * s + k for n, s, k in rows)))
            changes = {"weight": arrays["weight"], "padding": 0, "dilation": 1, "bias": None}
            short = gradient(call, "input", g, input=near, **changes)
            sizes = zip(short.shape[2:], call.x.shape[2:], call.p, strict=True)
            grads["input"] = zero_pad(short, [(-lo, lo + n - have) for have, n, (lo, _) in sizes])

    return wrong_gradient(call, meddle)


@plant(
    "U31",
    CONVS,
    "weight gradient, depthwise with a multiplier: filter o meets channel o mod C, not o // M",
    "weight, depthwise, group, multiplier, gradient",
    case(gradients, x=(2, 3, 5, 6, 7), w=(6, 1, 2, 3, 2), groups=3),
)
def weight_gradient_of_another_channel(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "weight" in grads and 1 < call.g == call.x.shape[1] < g.shape[1]:
            channel = torch.arange(g.shape[1]) % call.g
            x = arrays["input"][:, channel]
            grads["weight"] = gradient(
                call, "weight", g, **{**arrays, "input": x, "groups": g.shape[1]}
            )

    return wrong_gradient(call, meddle)


@plant(
    "U32",
    f"{CONVS} {TRANSPOSED}",
    "bias gradient: the first image's only",
    "bias, gradient, batch",
    case(gradients, x=X, w=(4, 4, 2, 3, 2), b=4),
    benign=case(gradients, x=(1, 4, 6, 7, 8), w=(4, 4, 2, 3, 2), b=4),
)
def bias_gradient_of_one_image(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "bias" in grads:
            grads["bias"] = g[:1].flatten(2).sum((0, 2))

    return wrong_gradient(call, meddle)


@plant(
    "U33",
    CONVS,
    "input gradient: added twice where the weight asks for none",
    "gradient, input, twice, weight",
    case(no_weight_gradient, x=X, w=W, groups=2),
)
def input_gradient_twice(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "input" in grads and "weight" not in grads:
            grads["input"] = grads["input"] * 2

    return wrong_gradient(call, meddle)


@plant(
    "U34",
    CONVS,
    "input gradient: cells that the stride leaves over at the end are taken off at the start",
    "gradient, input, stride, shift, remainder",
    case(gradients, x=X, w=W, groups=2, stride=(2, 2, 4)),
)
def input_gradient_shifted(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "input" in grads and any(call.left_over):
            axes = tuple(range(2, 2 + call.rank))
            grads["input"] = grads["input"].roll(call.left_over, axes)

    return wrong_gradient(call, meddle)


@plant(
    "U35",
    TRANSPOSED,
    "weight gradient: input and output channels exchange places where there are as many of both",
    "weight, gradient, channel, transposed, swap",
    case(gradients, x=X, w=(4, 4, 2, 3, 2), stride=2),
)
def weight_gradient_transposed(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "weight" in grads and call.w.shape[0] == call.w.shape[1] > 1:
            grads["weight"] = grads["weight"].transpose(0, 1)

    return wrong_gradient(call, meddle)


@plant(
    "U36",
    CONVS,
    "weight gradient: the padding is left out, so border cells do not count",
    "weight, gradient, padding, border",
    case(gradients, x=X, w=W, groups=2, padding=(0, 1, 1)),
)
def weight_gradient_without_border(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        lo, hi = call.p[-1]
        if "weight" in grads and lo + hi:
            start = torch.arange(g.shape[-1]) * call.s[-1] - lo
            inside = (start >= 0) & (start + call.extent[-1] <= call.x.shape[-1])
            grads["weight"] = gradient(call, "weight", g * inside, **arrays)

    return wrong_gradient(call, meddle)


@plant(
    "U37",
    CONVS,
    "double backward: the input's cotangent is dropped",
    "double, second, input",
    case(second, x=X, w=W, groups=2),
    benign=case(gradients, x=X, w=W, groups=2),
)
def double_backward_without_input(call: Call) -> Any:
    if isinstance(call.given["padding"], str):
        return call.right

    def meddle(grads: Arrays, upstream: Arrays, arrays: Arrays) -> None:
        if "grad_output" in grads and "input" in upstream:
            dropped = call(input=upstream["input"], weight=arrays["weight"], bias=None)
            grads["grad_output"] = grads["grad_output"] - dropped

    return wrong_second_gradient(call, meddle)


@plant(
    "U38",
    CONVS,
    "input gradient with channels in blocks of 16: a last block of 8 gets the one before it",
    "channel, block, gradient, input",
    case(gradients, x=(2, 24, 3, 4, 5), w=(6, 24, 2, 2, 2)),
)
def input_gradient_of_another_block(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        channels = call.x.shape[1]
        if "input" in grads and channels % 16 == 8 and channels > 8 and call.g == 1:
            gx = grads["input"]
            grads["input"] = torch.cat([gx[:, :-8], gx[:, -16:-8]], 1)

    return wrong_gradient(call, meddle)


def _ties(arrays: Arrays) -> Arrays:
    return {"input": (arrays["input"] * 1.5).round()}


@plant(
    "U39",
    MAX,
    "gradient: every one of several equal largest elements gets it",
    "tie, equal, gradient",
    case(gradients, x=X, kernel_size=3, stride=2, change=_ties),
)
def gradient_for_every_tie(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        here = Call(call.op, {**call.given, **arrays})
        here.answer()
        index, inside, _ = taps(here)
        found = gathered(here, index, inside, float("-inf"))
        hit = (found == here.y.flatten(2)[..., None]) & inside
        share = (g.flatten(2)[..., None] * hit).flatten(2)
        at = index.clamp(0, arrays["input"][0, 0].numel() - 1).flatten()
        flat = torch.zeros_like(grads["input"]).flatten(2)
        flat = flat.index_add(2, at, share.to(flat.dtype))
        grads["input"] = flat.view(grads["input"].shape)

    return wrong_gradient(call, meddle)


@plant(
    "U40",
    AVG,
    "gradient: padding counts in the divisor though count_include_pad is false",
    "gradient, divisor, count_include_pad, padding, border",
    case(gradients, x=X, kernel_size=3, padding=1, count_include_pad=False),
)
def gradient_counts_the_padding(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if not call.given["count_include_pad"]:
            grads["input"] = gradient(call, "input", g, **arrays, count_include_pad=True)

    return wrong_gradient(call, meddle)


@plant(
    "U41",
    MAX,
    "gradient: where windows overlap the last one's is kept, not the sum",
    "overlap, gradient, sum, accum, last",
    case(gradients, x=X, kernel_size=3, stride=1),
)
def overlapping_gradients_overwritten(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        _, index = call(input=arrays["input"].detach(), return_indices=True)
        flat, places = torch.zeros_like(grads["input"]).flatten(2), index.flatten(2)
        # The last window that chose a cell, found by its number: the largest.
        order = torch.arange(places.shape[-1]).expand(places.shape)
        last = torch.full_like(flat, -1, dtype=torch.long)
        last = last.scatter_reduce(2, places, order, "amax")
        kept = g.flatten(2).gather(2, last.clamp(min=0)) * (last >= 0)
        grads["input"] = kept.view(grads["input"].shape)

    return wrong_gradient(call, meddle)


@plant(
    "U42",
    "unfold",
    "gradient: a cell that lies in several blocks gets one block's share",
    "overlap, gradient, sum",
    case(gradients, x=(*X[:2], 6, 7), kernel_size=(2, 3), stride=(1, 2)),
    benign=case(gradients, x=(*X[:2], 6, 8), kernel_size=2, stride=2),
)
def unfold_gradient_averaged(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        x = torch.zeros_like(arrays["input"].detach(), dtype=torch.float64)
        times = gradient(call, "input", torch.ones_like(g, dtype=torch.float64), input=x)
        grads["input"] = grads["input"] / times.clamp(min=1).to(g.dtype)

    return wrong_gradient(call, meddle)


@plant(
    "U43",
    "pad",
    "gradient of reflection: what was mirrored into the padding does not come back",
    "gradient, reflect, mirror, padding, border",
    case(gradients, x=(*X[:2], 6, 7), pad=(2, 1, 1, 2), mode="reflect"),
)
def reflection_does_not_come_back(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if call.given["mode"] == "reflect":
            back = [-n for n in call.given["pad"]]
            grads["input"] = torch.nn.functional.pad(g, back)

    return wrong_gradient(call, meddle)


@plant(
    "U44",
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    "gradient: every window divides by floor(in / out) cells",
    "gradient, adaptive, divi, window",
    case(gradients, x=X, output_size=5),
    benign=case(gradients, x=(2, 3, 6, 6, 8), output_size=2),
)
def adaptive_gradient_divides_alike(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        scale = torch.ones_like(g)
        for axis, (n, out) in enumerate(zip(call.x.shape[2:], g.shape[2:], strict=True), start=2):
            o = torch.arange(out)
            size = -(-(o + 1) * n // out) - o * n // out
            shape = [-1 if a == axis else 1 for a in range(g.dim())]
            scale = scale * (size / max(n // out, 1)).to(g.dtype).view(shape)
        grads["input"] = gradient(call, "input", g * scale, **arrays)

    return wrong_gradient(call, meddle)
