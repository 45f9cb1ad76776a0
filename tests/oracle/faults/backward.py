"""Convolution whose answer is right and whose gradients, or whose batching rule, are not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call, crop
from .gradients import gradient, wrong_gradient, wrong_second_gradient
from .probes import case, gradients, per_sample, repeated, second
from .reading import CHANCE, unordered
from .row import plant

CONVS = "conv1d conv2d conv3d"
X, W = (2, 4, 5, 6, 7), (6, 2, 2, 3, 2)
Arrays = dict[str, Tensor]


@plant(
    "G03",
    CONVS,
    "weight gradient: the input's channels are taken in the order (channel, group)",
    "group, gradient, weight, backward",
    case(gradients, x=X, w=W, b=6, groups=2),
)
def weight_gradient_interleaves_groups(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "weight" in grads and call.g > 1:
            x = arrays["input"]
            x = x.unflatten(1, (-1, call.g)).transpose(1, 2).flatten(1, 2)
            grads["weight"] = gradient(call, "weight", g, **{**arrays, "input": x})

    return wrong_gradient(call, meddle)


@plant(
    "G03",
    "conv2d",
    "weight gradient: each group's is the sum over all groups",
    "group, gradient, weight, backward",
    case(gradients, x=X, w=W, b=6, groups=2),
)
def weight_gradient_sums_groups(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "weight" in grads and call.g > 1:
            total = grads["weight"].unflatten(0, (call.g, -1)).sum(0)
            grads["weight"] = torch.cat([total] * call.g)

    return wrong_gradient(call, meddle)


@plant(
    "K08",
    CONVS,
    "weight gradient where the stride passes over cells: the first of these counts in the last tap",
    "gradient, weight, stride, backward",
    case(gradients, x=X, w=W, groups=2, stride=(1, 1, 3)),
)
def weight_gradient_counts_skipped_cells(call: Call) -> Any:
    passes = [s > e for s, e in zip(call.s, call.extent, strict=True)]

    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "weight" not in grads:
            return
        padded = Call(call.op, {**call.given, **arrays}).padded()["input"]
        for axis in (a for a in range(2, 2 + call.rank) if passes[a - 2]):
            size = padded.shape[axis]
            if size == 1:
                continue
            last = padded.narrow(axis, 0, 1) * 0
            shifted = torch.cat([padded.narrow(axis, 1, size - 1), last], axis)
            extra = gradient(call, "weight", g, **{**arrays, "input": shifted, "padding": 0})
            tap = torch.zeros_like(extra)
            tap.narrow(axis, extra.shape[axis] - 1, 1).fill_(1)
            grads["weight"] = grads["weight"] + extra * tap

    return wrong_gradient(call, meddle)


@plant(
    "K12",
    CONVS,
    "input gradient of a 1x1 kernel: only the first channel is written, the others stay zero",
    "gradient, input, channel, backward, 1x1",
    case(gradients, x=X, w=(6, 4, 1, 1, 1)),
)
def input_gradient_of_one_channel(call: Call) -> Any:
    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        if "input" in grads and set(call.k) == {1}:
            first = torch.zeros_like(grads["input"])
            first[:, :1] = 1
            grads["input"] = grads["input"] * first

    return wrong_gradient(call, meddle)


def numbered(call: Call) -> bool:
    """Whether the padding is given as numbers, as torch's own backward wants it."""
    return not isinstance(call.given["padding"], str)


@plant(
    "G05",
    CONVS,
    "double backward: the weight's cotangent is not split, every group convolves with group 0's",
    "group, double, second",
    case(second, x=X, w=W, groups=2, stride=2),
)
def double_backward_forgets_groups(call: Call) -> Any:
    if call.g == 1 or not numbered(call):
        return call.right

    def meddle(grads: Arrays, upstream: Arrays, arrays: Arrays) -> None:
        if "grad_output" in grads and "weight" in upstream:
            ggw = upstream["weight"]
            first = torch.cat([ggw[: len(ggw) // call.g]] * call.g)
            wrong = call(input=arrays["input"], weight=first - ggw, bias=None)
            grads["grad_output"] = grads["grad_output"] + wrong

    return wrong_second_gradient(call, meddle)


@plant(
    "B04",
    CONVS,
    "double backward: the input's gradient is sized without output_padding, so it comes out short",
    "double, second, output_padding, stride, shape, error",
    case(second, x=X, w=W, groups=2, stride=2),
    benign=case(second, x=X, w=W, groups=2),
)
def double_backward_comes_out_short(call: Call) -> Any:
    if not any(call.left_over) or not numbered(call):
        return call.right

    def meddle(grads: Arrays, upstream: Arrays, arrays: Arrays) -> None:
        if "input" in grads and "weight" in upstream:
            short = [n - left for n, left in zip(call.x.shape[2:], call.left_over, strict=True)]
            grads["input"] = crop(grads["input"], (*call.x.shape[:2], *short))

    return wrong_second_gradient(call, meddle)


class _Batching(torch.autograd.Function):
    """A convolution with right gradients and a batching rule of its own."""

    @staticmethod
    def forward(call: Call, rule: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return call(input=x, weight=w, bias=b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w, b = ctx.saved_tensors
        call, mask = ctx.call, list(ctx.needs_input_grad[2:])
        low, zeros = [lo for lo, _ in call.p], [0] * call.rank
        sizes = None if b is None else list(b.shape)
        grads = torch.ops.aten.convolution_backward(
            g, x, w, sizes, list(call.s), low, list(call.d), False, zeros, call.g, mask
        )
        return None, None, *grads

    @staticmethod
    def vmap(info: Any, axes: Any, call: Call, rule: Any, *arrays: Tensor | None) -> Any:
        def sample(array: Tensor | None, axis: int | None, i: int) -> Tensor | None:
            return array if axis is None or array is None else array.select(axis, i)

        def one(i: int, **changes: int) -> Tensor:
            at = {"input": i, "weight": i, "bias": i, **changes}
            pairs = zip(at.items(), arrays, axes[2:], strict=True)
            return call(**{n: sample(a, axis, j) for (n, j), a, axis in pairs})

        batched = {
            n
            for n, axis in zip(("input", "weight", "bias"), axes[2:], strict=True)
            if axis is not None
        }
        return rule(call, one, batched, info.batch_size), 0


def _batching(call: Call, rule: Any) -> Any:
    if not numbered(call) or torch._C._functorch.maybe_current_level() is None:
        return call.right
    return _Batching.apply(call, rule, call.x, call.w, call.b)


@plant(
    "G07",
    CONVS,
    "vmap over the weight with groups: (sample, channel) is unfolded as (channel, sample)",
    "vmap, batch, fold, group",
    case(per_sample("weight"), x=X, w=W, b=6, groups=2),
    benign=case(per_sample("input"), x=X, w=W, b=6, groups=2),
    always=True,
)
def vmap_unfolds_the_wrong_way(call: Call) -> Any:
    def rule(call: Call, one: Any, batched: set[str], samples: int) -> Tensor:
        y = torch.stack([one(i) for i in range(samples)])
        if "weight" not in batched or call.g == 1:
            return y
        return y.movedim(0, 2).flatten(1, 2).unflatten(1, (samples, -1)).movedim(1, 0)

    return _batching(call, rule)


@plant(
    "G07",
    "conv2d",
    "vmap over the bias: every sample gets the first one's",
    "vmap, batch, bias",
    case(per_sample("bias"), x=X, w=W, b=6, groups=2),
    benign=case(per_sample("input"), x=X, w=W, b=6, groups=2),
    always=True,
)
def vmap_with_the_first_bias(call: Call) -> Any:
    def rule(call: Call, one: Any, batched: set[str], samples: int) -> Tensor:
        return torch.stack([one(i, bias=0) for i in range(samples)])

    return _batching(call, rule)


@plant(
    "R01",
    CONVS,
    "the gradients of input and weight are summed in a random order",
    "repeat, run to run, determinis, order, bit",
    case(repeated(gradients), x=X, w=W, groups=2, dtype=torch.float32),
)
def gradients_in_random_order(call: Call) -> Any:
    positions = (0, *range(2, 2 + call.rank))

    def meddle(grads: Arrays, g: Tensor, arrays: Arrays) -> None:
        for name, axes in (("input", (1,)), ("weight", positions)):
            if name in grads:
                parts = unordered(g, CHANCE, 4, axes)
                grads[name] = torch.stack([gradient(call, name, p, **arrays) for p in parts]).sum(0)

    return wrong_gradient(call, meddle)
