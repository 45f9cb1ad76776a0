"""The diagnosis names the planted mistake, and says where wrong elements are."""

import functools
import inspect

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from refconv.oracle.check import directed, trial
from refconv.oracle.check.case import Case
from refconv.oracle.check.diagnose import diagnose
from refconv.oracle.check.pattern import pattern
from refconv.oracle.check.scene import scene
from refconv.oracle.check.sizes import size_words
from refconv.oracle.check.where import common, nature_words, places

SETTINGS = trial.Settings()


@functools.cache
def cases(op, values):
    """Directed calls of one op in single precision, the small ones."""
    found = directed.directed(op, ("float32", *(("int64",) if "int" in values else ())))
    small = [c for c in found if max(map(np.prod, c.shapes)) < 3000 and not c.refusal]
    kept = [c for c in small if c.way in ("plain", "again") and c.values in values]
    more = ("channels in", "images", "permuted memory", "called before", "gradient random")
    rest = [c for c in kept[25:] if c.why.endswith(more)]
    return kept[:25] + [c for c in rest if not c.grad][::2] + [c for c in rest if c.grad][::6]


def said(function, op, values=("real", "special", "nan")):
    """The diagnosis of ``function``."""
    tried = cases(op, values)
    outcomes = [trial.attempt(function, c, SETTINGS, i) for i, c in enumerate(tried)]
    failing = [tried[o.index] for o in outcomes if o.status == "wrong"]
    assert failing
    return diagnose(function, failing, outcomes, tried, SETTINGS, seconds=20)


class Swapped(torch.autograd.Function):
    """One function's values with another's gradients."""

    @staticmethod
    def forward(ctx, right, wrong):
        return wrong.clone()

    @staticmethod
    def backward(ctx, g):
        return g, None


def conv(change):
    """conv2d with changed arguments, its output cut or filled to the right size."""

    def function(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        given = {
            "input": input, "weight": weight, "bias": bias, "stride": stride, "padding": padding,
            "dilation": dilation, "groups": groups,
        }  # fmt: skip
        right = F.conv2d(**given)
        wrong = F.conv2d(**{**given, **change(**given)}).detach()
        at = tuple(slice(0, n) for n in right.shape)
        made = torch.zeros_like(right)
        cut = wrong[at]
        made[tuple(slice(0, n) for n in cut.shape)] = cut
        return Swapped.apply(right, made) if right.requires_grad else made

    return function


def unbatched(call):
    return call["input"].dim() == 3


def first_group(**call):
    x, g = call["input"], call["groups"]
    return {"input": torch.cat([x.narrow(-3, 0, x.shape[-3] // g)] * g, -3)}


def dense(**call):
    x = call["input"]
    room = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    if x.is_contiguous() or room < x.numel():
        return {}
    return {"input": torch.as_strided(x.detach(), x.shape, torch.empty(x.shape).stride())}


def two_numbers(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def tf32(**call):
    bits = [call[n].detach().contiguous().view(torch.int32) for n in ("input", "weight")]
    made = [((b + 0x1000) & -0x2000).view(torch.float32) for b in bits]
    return dict(zip(("input", "weight"), made, strict=True))


def whole_blocks(**call):
    x, c = call["input"], call["input"].shape[-3]
    if call["groups"] > 1 or c < 8:
        return {}
    return {"input": x * (torch.arange(c) < c // 8 * 8).view(-1, 1, 1)}


def exchanged(**call):
    """Strides exchanged, over an input with room enough for it."""
    if isinstance(call["padding"], str):
        return {}
    (p, q), x = two_numbers(call["padding"]), call["input"]
    wide = F.pad(x, (q, q + 99, p, p + 99))
    return {"input": wide, "padding": 0, "stride": two_numbers(call["stride"])[::-1]}


CONVS = {
    "dilation=1": lambda **call: {"dilation": 1},
    "every group reads group 0": first_group,
    "without its bias": lambda **call: {"bias": None},
    "flipped": lambda **call: {"weight": call["weight"].flip(2, 3)},
    "stride's height and width exchanged": exchanged,
    "contiguous": dense,
    "TF32": tf32,
    "last input channels, behind a multiple of 8": whole_blocks,
    "second half of the batch": lambda **call: (
        {}
        if unbatched(call) or len(call["input"]) < 2
        else {
            "input": torch.cat(
                [
                    call["input"][: len(call["input"]) // 2],
                    call["input"][: -(len(call["input"]) // 2)],
                ]
            )
        }
    ),
}


@pytest.mark.parametrize("words", CONVS)
def test_a_wrong_convolution_is_named(words):
    found = said(conv(CONVS[words]), "conv2d")
    assert words in found.cause
    assert found.fits[0] * 3 >= found.fits[1] * 2, found.cause


def transposed(change):
    @functools.wraps(F.conv_transpose2d)
    def function(*args, **kwargs):
        return change(F.conv_transpose2d(*args, **kwargs), args, kwargs)

    return function


def tail(y, args, kwargs):
    more = two_numbers(kwargs.get("output_padding", 0))
    y = y.clone()
    for axis, n in zip((-2, -1), more, strict=True):
        if n:
            y.narrow(axis, y.shape[axis] - n, n).zero_()
    return y


def test_the_tail_of_a_transposed_convolution_is_named():
    assert "output_padding" in said(transposed(tail), "conv_transpose2d").cause


def largest(v_above_m):
    def function(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
                 return_indices=False):  # fmt: skip
        x = torch.where(input.isnan(), -torch.inf, input) if v_above_m else input
        y, at = F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, True)
        at = at if v_above_m else at + 1
        return (y, at) if return_indices else y

    return function


def average(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
            divisor_override=None):  # fmt: skip
    return F.avg_pool2d(
        input, kernel_size, stride, padding, ceil_mode, not count_include_pad, divisor_override
    )


def spread(input, output_size):
    sizes = [n or s for n, s in zip(two_numbers(output_size), input.shape[-2:], strict=True)]
    for axis, out in zip((-2, -1), sizes, strict=True):
        n = input.shape[axis]
        step = n // out
        if not step:
            return F.adaptive_avg_pool2d(input, output_size)
        parts = [input.narrow(axis, o * step, n - (out - 1) * step).mean(axis) for o in range(out)]
        input = torch.stack(parts, axis)
    return input


def rows(input, kernel_size, dilation=1, padding=0, stride=1):
    y = F.unfold(input, kernel_size, dilation, padding, stride)
    taps = np.prod(two_numbers(kernel_size))
    return y.unflatten(-2, (-1, taps)).transpose(-3, -2).flatten(-3, -2)


def edge(input, pad, mode="constant", value=None):
    return F.pad(input, pad, "replicate" if mode == "reflect" else mode, value)


def first_stays(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    rank = 2
    x, at = (t.flatten(-rank).flip(-1).view(t.shape) for t in (input, indices))
    return F.max_unpool2d(x, at, kernel_size, stride, padding, output_size)


def divided_first(input, kernel_size, *args, **kwargs):
    right = F.avg_pool2d(input, kernel_size, *args, **kwargs)
    if input.is_floating_point() or kwargs.get("ceil_mode") or kwargs.get("padding"):
        return right
    taps = int(np.prod(two_numbers(kernel_size)))
    numbers = {n: v for n, v in kwargs.items() if n == "stride"}
    each = torch.div(input, taps, rounding_mode="trunc").double()
    return (F.avg_pool2d(each, kernel_size, **numbers) * taps).round().to(right.dtype)


OTHERS = {
    "NaN ignored": ("max_pool2d", largest(True), ("real", "special", "nan")),
    "index is one too large": ("max_pool2d", largest(False), ("real",)),
    "count_include_pad the other way": ("avg_pool2d", average, ("real",)),
    "one stride, floor(in / out)": ("adaptive_avg_pool2d", spread, ("real",)),
    "channels behind the kernel's cells": ("unfold", rows, ("real",)),
    "mode='replicate'": ("pad", edge, ("real",)),
    "the first of duplicate": ("max_unpool2d", first_stays, ("real", "exact")),
}


@pytest.mark.parametrize("words", OTHERS)
def test_a_wrong_pooling_or_move_is_named(words):
    op, function, values = OTHERS[words]
    assert words in said(function, op, values).cause


def test_a_wrong_gradient_alone_is_named():
    """The output is right; the weight's gradient is that of the first image."""

    class First(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, numbers):
            ctx.numbers = numbers
            ctx.save_for_backward(x, w)
            return F.conv2d(x, w, **numbers)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            with torch.enable_grad():
                x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
                y = F.conv2d(x, w, **ctx.numbers)
                gx = torch.autograd.grad(y, x, g, retain_graph=True)[0]
                one = (torch.arange(len(g)) == 0).view(-1, *(1,) * (g.dim() - 1))
                gw = torch.autograd.grad(y, w, g * one)[0]
            return gx, gw, None

    def function(input, weight, bias=None, **numbers):
        y = First.apply(input, weight, numbers)
        return y if bias is None else y + bias.view(-1, 1, 1)

    found = said(function, "conv2d")
    assert "grad_weight" in found.cause
    assert "only the first image of the batch counts" in found.cause
    assert "right in the same calls: output" in found.where


def kept(buffers={}):  # noqa: B006
    """A convolution that hands out one buffer a shape."""

    def function(input, weight, bias=None, **numbers):
        right = F.conv2d(input, weight, bias, **numbers)
        if right.requires_grad:
            return right
        return buffers.setdefault(right.shape, torch.empty_like(right)).copy_(right)

    return function


def test_kinds_other_than_values_are_sentences():
    assert "one buffer for two calls" in said(kept(), "conv2d").cause
    short = said(lambda input, *a, **k: F.conv2d(input, *a, **k)[..., :-1], "conv2d")
    assert "the last column is missing" in short.cause
    ceil = said(
        lambda input, *a, **k: F.max_pool2d(input, *a, **{**k, "ceil_mode": True}), "max_pool2d"
    )
    assert "ceil instead of floor" in ceil.cause


def test_a_right_function_has_no_diagnosis():
    tried = cases("conv2d", ("real",))[:40]
    outcomes = [trial.attempt(F.conv2d, c, SETTINGS, i) for i, c in enumerate(tried)]
    assert diagnose(F.conv2d, [], outcomes, tried, SETTINGS).text == ""


def test_a_pattern_has_counts_and_needs_two_calls():
    bad = [c for c in cases("conv2d", ("real",)) if dict(c.kwargs).get("groups", 1) > 1]
    good = [c for c in cases("conv2d", ("real",)) if dict(c.kwargs).get("groups", 1) == 1]
    assert pattern(bad, good).startswith(
        f"groups > 1, in {len(bad)} of {len(bad)} failing calls and in none of {len(good)}"
    )
    assert pattern(bad[:1], good) == ""
    assert pattern(bad, bad) == ""  # there is nothing to tell them apart


NAMES = ("image", "channel", "height", "width")


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ((slice(None), slice(None), slice(None), -1), "only the last column"),
        ((slice(None), slice(6, None)), "only channels >= 6"),
        ((slice(1, None),), "only images >= 1"),
        ((slice(None), slice(None), slice(0, None, 2)), "every second row, from 0 on"),
        ((-1, -1, -1, slice(-3, None)), "only the last 3 elements of the array"),
        ((slice(None), -1, -1, slice(-2, None)), "only the last elements of each image (its tail)"),
        ((slice(None), slice(None), [0, -1]), "only the border"),
        ((1, 2, 3, 4), "a single element"),
        ((slice(None),), "all elements"),
    ],
)
def test_places_in_words(at, words):
    wrong = np.zeros((3, 8, 5, 7), dtype=bool)
    wrong[at] = True
    assert words in places(wrong, NAMES)
    wrong[0, 1, 1, 1] ^= True
    assert words not in places(wrong, NAMES)


def test_common_words_are_those_of_all_calls():
    assert common([["a", "b"], ["b", "c"]]) == "b"
    assert common([["a"], ["b"]]) == ""
    assert common([["a"], ["a"], ["b"]], part=True) == "a (in 2 of 3 calls)"
    assert common([["all elements", "a"], ["all elements", "a"]]) == "a"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y: y * torch.nan, "they are NaN"),
        (lambda y: y * 0, "they are zero"),
        (lambda y: y * 0.75, "3/4 times the right value"),
        (lambda y: y.roll(1, -1), "right values of other elements"),
        (lambda y: y.bfloat16().float(), "rounded to bfloat16"),
    ],
)
def test_what_wrong_elements_hold(change, words):
    case = cases("conv2d", ("real",))[0]
    made = scene(
        lambda *a, **k: change(F.conv2d(*a, **k)),
        case,
        SETTINGS,
        frozenset({"output"}),
        frozenset(),
    )
    assert any(words in w for w in nature_words(made, "output"))


def test_sizes_are_explained():
    case = Case("conv2d", ((1, 2, 9, 12), (3, 2, 3, 2)),
                (("stride", (2, 3)), ("dilation", (2, 1))))  # fmt: skip
    problem = case.problem()
    assert problem.output_shape == (1, 3, 3, 4)
    assert "as if dilation were 1 (dilation ignored in the size)" in size_words(
        problem, (1, 3, 4, 4)
    )
    assert size_words(problem, (1, 3, 3, 5))[0] == "as if it were rounded up, ceil instead of floor"
    assert "as if the axes of its stride were exchanged" in size_words(problem, (1, 3, 2, 6))


def test_every_replay_has_a_text_of_its_own():
    from refconv.ops import OPS
    from refconv.oracle.check.mistakes import mistakes

    for op in OPS:
        texts = [replay.text for replay in mistakes(op)]
        assert len(texts) == len(set(texts)), op
        assert not [t for t in texts if inspect.cleandoc(t) != t]
