"""Right terms in arithmetic of too few bits."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from .call import Call
from .gradients import gradient, swap, wrong_gradient
from .probes import Arrays, case, gradients, values
from .reading import rounded_to
from .row import plant

CONVS = "conv1d conv2d conv3d"
TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"


@plant(
    "N01",
    f"{CONVS} {TRANSPOSED}",
    "float32 inputs and weights are rounded to TF32's 11 bits",
    "tf32, precision, bits, rounded, mantissa",
    case(values, x=(2, 64, 4, 5, 6), w=(64, 64, 2, 3, 2), dtype=torch.float32),
    benign=case(values, x=(2, 64, 4, 5, 6), w=(64, 64, 2, 3, 2), dtype=torch.float64),
)
def computes_in_tf32(call: Call) -> Any:
    if call.x.dtype != torch.float32:
        return call.right
    near = {"input": rounded_to(call.x, 11), "weight": rounded_to(call.w, 11)}
    return swap(call.right, call(**near))


@plant(
    "N03",
    CONVS,
    "weight gradient: the images' contributions are added in bfloat16",
    "precision, bf16, bfloat16, bits, rounded, gradient, weight, batch, accum",
    case(gradients, x=(64, 4, 2, 3, 4), w=(6, 4, 1, 2, 2), dtype=torch.bfloat16),
)
def images_added_in_bfloat16(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "weight" not in grads or g.dtype != torch.bfloat16:
            return
        total = torch.zeros_like(grads["weight"])
        for n in range(len(g)):
            one = {**arrays, "input": arrays["input"][n : n + 1]}
            total = total + gradient(call, "weight", g[n : n + 1], **one)
        grads["weight"] = total

    return wrong_gradient(call, meddle)


def _cancelling(arrays: Arrays) -> Arrays:
    """Weights that sum to 0 on an input far from 0: the terms are large and the result is not."""
    x, w = arrays["input"], arrays["weight"].float()
    w -= w.flatten(1).mean(1).view(-1, *[1] * (w.dim() - 1))
    return {"input": x + 100, "weight": w.to(x.dtype)}


@plant(
    "N05",
    CONVS,
    "float16: the sum is rounded to float16 after every 16 terms",
    "precision, fp16, float16, half, bits, rounded, accum",
    case(values, x=(2, 256, 3, 4, 5), w=(3, 256, 2, 2, 2), dtype=torch.float16, change=_cancelling),
)
def sum_rounded_every_16_terms(call: Call) -> Any:
    channels = call.w.shape[1]
    block = max(1, 16 // prod(call.k))
    if call.x.dtype != torch.float16 or channels <= block:
        return call.right
    groups = call.x.detach().float().unflatten(1, (call.g, channels))
    w = call.w.detach().float()
    y = torch.zeros_like(call.y.detach())
    for start in range(0, channels, block):
        part = slice(start, start + block)
        y = (y + call(input=groups[:, :, part].flatten(1, 2), weight=w[:, part], bias=None)).half()
    if call.b is not None:
        y = y + call.b.detach().view(-1, *[1] * call.rank)
    return swap(call.right, call.y.detach().clone().copy_(y))


@plant(
    "N07",
    CONVS,
    "float16, depthwise: every product is rounded to float16 before it is added",
    "precision, fp16, float16, half, bits, rounded, product",
    case(
        values,
        x=(2, 8, 4, 4, 70),
        w=(8, 1, 2, 3, 63),
        groups=8,
        dtype=torch.float16,
        change=_cancelling,
    ),
)
def products_rounded(call: Call) -> Any:
    if call.x.dtype != torch.float16 or not call.g == call.x.shape[1] > 1:
        return call.right
    w = call.w.detach().float()
    x = call.x.detach().float()
    y = torch.zeros(call.y.shape)
    for tap in range(prod(call.k)):
        one = torch.zeros_like(w).flatten(2)
        one[..., tap] = w.flatten(2)[..., tap]
        y += call(input=x, weight=one.view(w.shape), bias=None).half().float()
    if call.b is not None:
        y += call.b.detach().float().view(-1, *[1] * call.rank)
    return swap(call.right, call.y.detach().clone().copy_(y))
