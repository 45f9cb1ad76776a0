"""Memory read in another layout than it has, or answered in another than is due."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .gradients import gradient, swap, wrong_gradient
from .probes import case, channels_last, gradients, relayout, summed, values
from .reading import as_dense
from .row import plant

CONVS = "conv1d conv2d conv3d"
X, W = (2, 4, 5, 6, 7), (6, 4, 2, 3, 2)


def transposed(t: Tensor) -> Tensor:
    """The same array, its last two axes exchanged in memory."""
    return t.transpose(-1, -2).contiguous().transpose(-1, -2)


def in_channels_last(t: Tensor) -> bool:
    """Whether the strides say that channels come last, where memory alone may not."""
    return t.dim() == 4 and t.stride(1) == 1 and t[0, 0].numel() > 1


@plant(
    "L02",
    CONVS,
    "the input's memory is read as if it were contiguous",
    "contiguous, layout, memory, strides, channels_last, permuted, view",
    case(values, x=X, w=W, change=relayout(input=transposed)),
)
def reads_the_input_as_dense(call: Call) -> Any:
    if call.x.is_contiguous():
        return call.right
    return swap(call.right, call(input=as_dense(call.x)))


@plant(
    "L04",
    "conv2d",
    "an input of one cell counts as contiguous: a weight in channels_last is read like that too",
    "contiguous, layout, memory, strides, channels_last",
    case(values, x=(2, 4, 1, 1), w=(6, 4, 3, 2), padding=2, change=relayout(weight=channels_last)),
)
def ambiguous_weight(call: Call) -> Any:
    if not in_channels_last(call.w) or set(call.x.shape[2:]) != {1}:
        return call.right
    return swap(call.right, call(weight=as_dense(call.w)))


@plant(
    "L06",
    "max_pool2d max_pool3d",
    "backward reads the indices' memory as contiguous, though they are channels_last",
    "indices, layout, channels_last, contiguous, gradient, backward, memory",
    case(gradients, x=X, change=relayout(input=channels_last), kernel_size=2, stride=(1, 2, 1)),
)
def indices_by_raw_pointer(call: Call) -> Any:
    def meddle(grads: dict[str, Tensor], g: Tensor, arrays: dict[str, Tensor]) -> None:
        _, index = call(input=arrays["input"].detach(), return_indices=True)
        if index.is_contiguous():
            return
        flat = torch.zeros_like(grads["input"]).flatten(2)
        flat = flat.scatter_add(2, as_dense(index).flatten(2), g.flatten(2))
        grads["input"] = flat.view(grads["input"].shape)

    return wrong_gradient(call, meddle)


@plant(
    "L08",
    "conv2d conv3d",
    "the output is contiguous where channels_last is due",
    "strides, layout, channels_last, contiguous, memory format",
    case(values, x=X, w=W, change=relayout(input=channels_last), dtype=torch.float32),
    own_layout=True,
)
def always_contiguous(call: Call) -> Any:
    return call.right.contiguous()


@plant(
    "L08",
    "conv2d conv3d",
    "a 1x1 kernel gives channels_last strides where contiguous ones are due",
    "strides, layout, channels_last, contiguous, memory format",
    case(values, x=X, w=(6, 4, 1, 1, 1)),
    own_layout=True,
)
def channels_last_for_1x1(call: Call) -> Any:
    return channels_last(call.right) if set(call.k) == {1} else call.right


@plant(
    "L10",
    CONVS,
    "backward reads an expanded grad_output's memory as if it were dense",
    "expanded, stride 0, stride-0, dense, contiguous, gradient, backward, memory",
    case(summed, x=X, w=W),
)
def reads_an_expanded_gradient_as_dense(call: Call) -> Any:
    def meddle(grads: dict[str, Tensor], g: Tensor, arrays: dict[str, Tensor]) -> None:
        steps = zip(g.shape, g.stride(), strict=True)
        if any(n > 1 and step == 0 for n, step in steps):
            wrong = as_dense(g)
            for name in {"input", "weight"} & grads.keys():
                grads[name] = gradient(call, name, wrong, **arrays)

    return wrong_gradient(call, meddle)


@plant(
    "L04",
    "conv2d",
    "an input of one channel counts as channels_last: the output is written in that layout",
    "contiguous, layout, memory, strides, channels_last, channel",
    case(values, x=(2, 1, 5, 6), w=(6, 1, 3, 2)),
)
def ambiguous_output(call: Call) -> Any:
    if call.x.shape[1] != 1 or not call.x.is_contiguous(memory_format=torch.channels_last):
        return call.right
    written = call.y.detach().permute(0, 2, 3, 1).contiguous()
    return swap(call.right, written.view(call.y.shape))
