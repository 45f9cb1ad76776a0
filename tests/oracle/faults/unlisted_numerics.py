"""Right terms in the wrong arithmetic, and values that are special, not in the table."""

from __future__ import annotations

from typing import Any

import torch

from .call import Call
from .gradients import gradient, swap, wrong_gradient
from .probes import Arrays, case, gradients, repeated, values
from .reading import CHANCE, rounded_to, unordered
from .row import plant

CONVS = "conv1d conv2d conv3d"
TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
X, W = (2, 4, 5, 6, 7), (6, 2, 2, 3, 2)
HALVES = (torch.float16, torch.bfloat16)


def through(call: Call, dtype: torch.dtype, *names: str) -> Any:
    """torch's answer where these arrays were stored in ``dtype`` on the way, with its gradient."""
    stored = {n: call.given[n].detach().to(dtype).to(call.x.dtype) for n in names}
    return swap(call.right, call(**stored))


@plant(
    "U75",
    f"{CONVS} {TRANSPOSED}",
    "float64 is computed in float32",
    "precision, float32, bits, rounded, float64",
    case(values, x=X, w=(4, 4, 2, 3, 2), b=4),
    benign=case(values, x=X, w=(4, 4, 2, 3, 2), b=4, dtype=torch.float32),
)
def double_in_single(call: Call) -> Any:
    if call.x.dtype != torch.float64:
        return call.right
    arrays = {n: call.given[n] for n in ("input", "weight", "bias")}
    single = {n: a if a is None else a.detach().float() for n, a in arrays.items()}
    return swap(call.right, call(**single).double())


@plant(
    "U76",
    CONVS,
    "with 64 input channels or more, float32 inputs are stored in bfloat16",
    "precision, bf16, bfloat16, bits, rounded",
    case(values, x=(2, 64, 3, 4, 5), w=(6, 64, 2, 2, 2), dtype=torch.float32),
)
def inputs_in_bfloat16(call: Call) -> Any:
    if call.x.dtype != torch.float32 or call.x.shape[1] < 64:
        return call.right
    return through(call, torch.bfloat16, "input")


@plant(
    "U77",
    CONVS,
    "float32 weights are stored in float16",
    "precision, fp16, float16, half, weight, bits, rounded",
    case(values, x=X, w=W, groups=2, dtype=torch.float32),
    benign=case(values, x=X, w=W, groups=2, dtype=torch.float64),
)
def weights_in_float16(call: Call) -> Any:
    if call.x.dtype != torch.float32:
        return call.right
    return through(call, torch.float16, "weight")


def _scattered(value: float, name: str = "input") -> Any:
    def change(arrays: Arrays) -> Arrays:
        arrays[name].view(-1)[::17] = value
        return arrays

    return change


@plant(
    "U78",
    CONVS,
    "a NaN in the input is read as 0",
    "nan, special",
    case(values, x=X, w=W, groups=2, change=_scattered(float("nan"))),
)
def nan_read_as_zero(call: Call) -> Any:
    if not call.x.isnan().any():
        return call.right
    return call(input=torch.where(call.x.isnan(), torch.zeros_like(call.x), call.x))


@plant(
    "U79",
    f"{CONVS} {TRANSPOSED}",
    "infinities saturate to the largest number",
    "inf, special, saturat, overflow",
    case(values, x=X, w=(4, 4, 2, 3, 2), change=_scattered(float("inf"))),
)
def infinity_saturates(call: Call) -> Any:
    if not call.x.is_floating_point() or not call.y.isinf().any():
        return call.right
    most = torch.finfo(call.y.dtype).max
    return swap(call.right, call.y.detach().clamp(-most, most))


@plant(
    "U80",
    CONVS,
    "wide integers are summed in 16 bits",
    "integer, int, overflow, wrap, accum, 16",
    case(
        values,
        x=(2, 4, 5, 6, 7),
        w=(6, 4, 2, 3, 2),
        dtype=torch.int32,
        change=lambda a: {n: v * 50 for n, v in a.items()},
    ),
)
def integers_in_16_bits(call: Call) -> Any:
    wide = call.x.dtype in (torch.int32, torch.int64)
    return call.right.to(torch.int16).to(call.x.dtype) if wide else call.right


@plant(
    "U81",
    CONVS,
    "8-bit sums saturate; torch's wrap",
    "integer, int, overflow, wrap, saturat, clamp",
    case(values, x=X, w=(6, 4, 2, 3, 2), dtype=torch.int8),
)
def eight_bits_saturate(call: Call) -> Any:
    if call.x.dtype not in (torch.int8, torch.uint8):
        return call.right
    arrays = {n: call.given[n] for n in ("input", "weight", "bias")}
    full = call(**{n: a if a is None else a.int() for n, a in arrays.items()})
    limit = torch.iinfo(call.x.dtype)
    return full.clamp(limit.min, limit.max).to(call.x.dtype)


@plant(
    "U82",
    CONVS,
    "complex weights are conjugated",
    "complex, conj, imag, weight",
    case(values, x=X, w=W, groups=2, dtype=torch.complex128),
)
def weights_conjugated(call: Call) -> Any:
    return call(weight=call.w.conj().resolve_conj()) if call.w.is_complex() else call.right


@plant(
    "U83",
    f"{CONVS} {TRANSPOSED}",
    "half precision comes back in float32",
    "dtype, float32",
    case(values, x=X, w=(4, 4, 2, 3, 2), dtype=torch.float16),
)
def half_comes_back_single(call: Call) -> Any:
    return call.right.float() if call.x.dtype in HALVES else call.right


@plant(
    "U84",
    CONVS,
    "the parts of a sum over the channels are added in a random order",
    "repeat, run to run, determinis, order, bit",
    case(repeated(values), x=(2, 64, 4, 5, 6), w=(6, 64, 2, 2, 2), dtype=torch.float32),
)
def channels_in_random_order(call: Call) -> Any:
    if call.g != 1 or not call.x.is_floating_point():
        return call.right
    parts = unordered(call.w.detach(), CHANCE, 4, (1,))
    y = sum(call(weight=part, bias=None) for part in parts)
    return swap(call.right, y if call.b is None else y + call.b.view(-1, *[1] * call.rank))


@plant(
    "U85",
    "conv2d",
    "float16, 3x3: what the input is transformed to overflows above 655",
    "overflow, inf, nan, fp16, float16, half, winograd, large",
    case(values, x=X, w=(6, 4, 3, 3), dtype=torch.float16, change=_scattered(700)),
)
def transform_overflows(call: Call) -> Any:
    if call.x.dtype != torch.float16 or call.k != (3, 3) or {*call.s, *call.d} != {1}:
        return call.right
    large = call.x.detach().abs() > 655
    y = call(input=torch.where(large, torch.full_like(call.x, float("nan")), call.x))
    return swap(call.right, y) if large.any() else call.right


@plant(
    "U86",
    CONVS,
    "weight gradient: float32 grad_output is rounded to TF32's 11 bits",
    "precision, tf32, bits, rounded, gradient, weight",
    case(gradients, x=X, w=W, groups=2, dtype=torch.float32),
    benign=case(gradients, x=X, w=W, groups=2, dtype=torch.float64),
)
def weight_gradient_in_tf32(call: Call) -> Any:
    def meddle(grads: Arrays, g: torch.Tensor, arrays: Arrays) -> None:
        if "weight" in grads and g.dtype == torch.float32:
            grads["weight"] = gradient(call, "weight", rounded_to(g, 11), **arrays)

    return wrong_gradient(call, meddle)


@plant(
    "U87",
    CONVS,
    "the result is 1 + 2**-13 of what it should be",
    "scale, factor, precision, proportional",
    case(values, x=X, w=W, groups=2),
    benign=case(values, x=X, w=W, groups=2, change=lambda a: {n: v * 0 for n, v in a.items()}),
)
def slightly_scaled(call: Call) -> Any:
    return call.right * (1 + 2.0**-13) if call.x.is_floating_point() else call.right


@plant(
    "U88",
    "avg_pool1d avg_pool2d avg_pool3d",
    "float32: multiplied by the kernel's reciprocal in float16",
    "precision, fp16, reciprocal, scale, divisor, rounded",
    case(values, x=X, kernel_size=3, dtype=torch.float32),
    benign=case(values, x=X, kernel_size=2, dtype=torch.float32),
)
def reciprocal_in_half(call: Call) -> Any:
    if call.x.dtype != torch.float32:
        return call.right
    count = 1
    for k in call.k:
        count *= k
    share = torch.tensor(1 / count, dtype=torch.float16).float()
    return call.right * (share * count)


@plant(
    "U89",
    CONVS,
    "results below 1e-20 are set to 0: float32 holds them, and they are not subnormal",
    "small, tiny, zero, flush, underflow",
    case(
        values,
        x=X,
        w=W,
        groups=2,
        change=lambda a: {**a, "input": a["input"] * 1e-25},
        dtype=torch.float32,
    ),
)
def tiny_results_flushed(call: Call) -> Any:
    if call.x.dtype not in (torch.float32, torch.float64):
        return call.right
    return torch.where(call.y.abs() < 1e-20, torch.zeros_like(call.y), call.y)
