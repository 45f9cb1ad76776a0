"""Another number than the right one: a mistake that is made is among those that are named."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import refconv as rc
from refconv import label
from refconv.learn.trace import numbers
from refconv.learn.trace_cells import trace_at
from refconv.learn.trace_mismatch import explain

CONV = "conv2d x[1,4,5,5] w[4,4,3,3] b s2 p1 d1"


def given(text):
    problem = label.parse(text)
    return problem, numbers(problem, 3, real=True)


def planted(problem, a):
    """Name → the whole output of a function that makes one mistake, by torch."""
    x, w, b = (torch.from_numpy(a[n]) for n in ("input", "weight", "bias"))
    conv = torch.nn.functional.conv2d
    padded = {m: torch.nn.functional.pad(x, (1, 1, 1, 1), mode=m)
              for m in ("replicate", "reflect", "circular")}  # fmt: skip
    ones = torch.nn.functional.pad(x, (1, 1, 1, 1), value=1)
    dropped = w.clone()
    dropped[:, 1, 1, 1] = 0
    return {
        "with the kernel flipped (turned round)": conv(x, w.flip(2, 3), b, 2, 1),
        "with the kernel flipped along w": conv(x, w.flip(3), b, 2, 1),
        "with the kernel's height and width exchanged (the kernel transposed)":
            conv(x, w.mT, b, 2, 1),
        "with the weight's input and output channels exchanged":
            conv(x, w.transpose(0, 1), b, 2, 1),
        "without its bias": conv(x, w, None, 2, 1),
        "with its bias added twice": conv(x, w, 2 * b, 2, 1),
        "with its bias subtracted": conv(x, w, -b, 2, 1),
        "with the bias of the next channel": conv(x, w, b.roll(-1), 2, 1),
        "with the input's channels in reverse order (RGB and BGR)": conv(x.flip(1), w, b, 2, 1),
        "with input channels 1 and 2 swapped": conv(x[:, [0, 2, 1, 3]], w, b, 2, 1),
        "without input channel 2": conv(x[:, [0, 1, 3]], w[:, [0, 1, 3]], b, 2, 1),
        "with stride 1 (the stride ignored)": conv(x, w, b, 1, 1),
        "with padding 0 (the padding ignored)": conv(x, w, b, 2, 0),
        "with 1 in its padding": conv(ones, w, b, 2, 0),
        "with the border's cells in its padding (clamped, replicate)":
            conv(padded["replicate"], w, b, 2, 0),
        "with reflected cells in its padding": conv(padded["reflect"], w, b, 2, 0),
        "with the other side's cells in its padding (circular, wrapped)":
            conv(padded["circular"], w, b, 2, 0),
        "height and width of the output exchanged": conv(x, w, b, 2, 1).mT,
        "the output of the next channel": conv(x, w, b, 2, 1).roll(-1, 1),
        "the output of the next window along h": conv(x, w, b, 2, 1).roll(-1, 2),
        "one tap dropped": conv(x, dropped, b, 2, 1),
        "the sign is wrong": -conv(x, w, b, 2, 1),
    }  # fmt: skip


PROBLEM, ARRAYS = given(CONV)
PLANTED = planted(PROBLEM, ARRAYS)


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_mistake_is_named(text):
    """Real numbers in single precision, at a corner: named first or alone among a few."""
    at = {"h": (0, 1, 1, 0), "(the padding ignored)": (0, 1, 0, 1)}
    at = next((v for k, v in at.items() if text.endswith(f" {k}")), (0, 1, 0, 2))
    found = trace_at(PROBLEM, ARRAYS, at)
    got = PLANTED[text].float()[at].item()
    told = explain(found, got)
    assert not told.right
    assert text in [fit.text for fit in told.fits]
    assert len(told.fits) <= 3
    if text == "one tap dropped":
        [fit] = [fit for fit in told.fits if fit.text == text]
        assert fit.taps[0].startswith("channel 1 tap 1,1 ")


POOLED = {
    "avg_pool2d x[1,1,5,5] k3 s2 p1": {
        "divided by the cells inside (count_include_pad=False)":
            lambda t: t.channels[0].total / t.inside,
        "the sum, not divided": lambda t: t.channels[0].total,
        "the maximum": lambda t: max(c.value for c in t.cells if c.state == "inside"),
    },
    "max_pool2d x[1,1,5,5] k3 s2 p1": {
        "the minimum": lambda t: min(c.value for c in t.cells if c.state == "inside"),
        "the output of the next window along w": lambda t: trace_at(
            t.problem, t.arrays, (*t.at[:-1], t.at[-1] + 1)).value,
    },
}  # fmt: skip


@pytest.mark.parametrize("text", POOLED)
def test_mistakes_of_pooling(text):
    found = trace_at(*given(text), (0, 0, 0, 0))
    for words, wrong in POOLED[text].items():
        assert words in [fit.text for fit in explain(found, wrong(found)).fits]


def test_zero_in_the_padding_of_a_maximum():
    problem = label.parse("max_pool2d x[1,1,3,3] k3 s2 p1")
    found = trace_at(problem, {"input": -np.arange(1.0, 10).reshape(1, 1, 3, 3)})
    assert "with 0 in its padding" in [fit.text for fit in explain(found, 0).fits]


def test_the_right_number_needs_no_explanation():
    """Also as single precision has it."""
    found = trace_at(PROBLEM, ARRAYS, (0, 0, 1, 1))
    assert explain(found, float(np.float32(found.value))).right
    assert not explain(found, found.value + 0.01).right
    assert explain(found, found.value).fits == ()


def test_none_fits():
    """It says so, and of how many."""
    told = explain(rc.trace("cs231n"), 1e6)
    assert told.fits == ()
    assert told.tried > 50
    assert told.lines() == [f"got 1000000, due 7: off by 999993; none of {told.tried} explanations fits"]  # fmt: skip  # noqa: E501
    assert not explain(replace(rc.trace("cs231n")), math.nan).right


def test_whole_numbers_coincide_and_all_are_listed():
    """7 - 1: the bias is 1, and so are several products."""
    told = explain(rc.trace("cs231n"), 6)
    texts = [fit.text for fit in told.fits]
    assert texts[0] == "without its bias"
    assert "one tap dropped" in texts
    [drop] = [fit for fit in told.fits if fit.text == "one tap dropped"]
    assert len(drop.taps) == sum(c.product == 1 for c in told.trace.cells if c.state == "inside")
    assert told.lines()[-1].strip().startswith("one number fits several mistakes")
    assert all(fit.value == 6 for fit in told.fits)


def test_digits_of_what_was_written_count():
    """-4.27 was rounded: the mistake that gives -4.2716 fits."""
    found = trace_at(PROBLEM, ARRAYS, (0, 0, 0, 0))
    got = round(found.value - found.bias, 2)
    assert "without its bias" not in [f.text for f in explain(found, got).fits]
    assert "without its bias" in [f.text for f in explain(found, got, digits=0.005).fits]
