"""What is right is consistent, not merely not wrong; what loses precision or a tap in silence is
suspect or wrong.
"""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from refconv import label
from refconv.oracle import calls, inputs, reference, verdict

from .legal import LEGAL, kept
from .test_fingerprint import accumulated

PROBLEMS = {
    "conv2d": (
        "conv2d x[2,16,9,8] w[6,16,3,3] b p1",
        "conv2d x[4,7,10] w[6,2,3,2] b s2,1 p1,0 d1,2 g2",
    ),
    "conv1d": ("conv1d x[2,8,40] w[6,4,5] b s2 p2 g2",),
    "conv3d": ("conv3d x[1,4,5,7,6] w[5,4,3,2,3] b p1 s1,2,1",),
    "conv_transpose2d": ("conv_transpose2d x[2,8,6,5] w[8,3,3,4] b s2,1 p1 op1,0 g2",),
    "avg_pool2d": ("avg_pool2d x[2,4,13,12] k3,2 s2,1 p1", "avg_pool2d x[1,9,12,12] k8 s4"),
    "max_pool2d": ("max_pool2d x[2,4,13,12] k3,2 s2,1 p1",),
}
KINDS = inputs.KINDS[1:]


@lru_cache(maxsize=256)
def case(text, kind, seed, dtype="float32", backward=False):
    problem = label.read(text, dtype=dtype)
    arrays = inputs.make(problem, kind, seed)
    found, grad = reference.forward(problem, arrays)[:1], inputs.gradient(problem, kind, seed)
    if backward:
        found += reference.backward(problem, arrays, grad)
    return problem, arrays, grad, found


@lru_cache(maxsize=2048)
def limits(key, index, algorithm="direct", precision="ieee"):
    e = case(*key)[3][index]
    declared = {"algorithm": algorithm, "precision": precision}
    return e.bound(**declared), e.noise(**declared)


def judged(row, key):
    """The verdicts of an implementation's results, by name."""
    problem, arrays, grad, expected = case(*key)
    names = SimpleNamespace(**{row.op: row.fn, "pad": F.pad})
    leaves = {n: a.clone().requires_grad_(row.gradient) for n, a in arrays.items()}
    got = [calls.bind(names, problem, leaves)()]
    if len(expected) > 1:
        got += torch.autograd.grad(got[0], list(leaves.values()), grad)
    for index, (e, y) in enumerate(zip(expected, got, strict=True)):
        limit, level = limits(key, index, **row.declared)
        yield e.name, verdict.compare(y.detach(), e.want, limit, problem, level)


def possible(row, text, kind, dtype="float32"):
    """Whether the row promises anything here."""
    problem = label.read(text)
    in_range = row.declared.get("precision") != "fp16" or kind != "scaled"
    return dtype in row.dtypes and in_range and calls.work(problem) <= row.work


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", LEGAL, ids=lambda row: f"{row.op}: {row.name}")
def test_what_is_legal_is_consistent(row, kind):
    for text in PROBLEMS[row.op]:
        for seed in range(3):
            if possible(row, text, kind):
                key = (text, kind, seed, "float32", row.gradient and seed == 0)
                for name, v in judged(row, key):
                    assert v.level == "consistent", (name, text, seed, v)


@pytest.mark.parametrize("row", LEGAL, ids=lambda row: f"{row.op}: {row.name}")
def test_in_other_dtypes_too(row):
    tried = 0
    for text in PROBLEMS[row.op]:
        for dtype in {*row.dtypes} - {"float32"}:
            if possible(row, text, "real", dtype):
                for name, v in judged(row, (text, "real", 0, dtype, row.gradient)):
                    assert v.level == "consistent", (name, text, dtype, v)
                    tried += 1
    assert tried or row.dtypes == ("float32",)


def test_the_list_is_what_it_says():
    names = [(row.op, row.name) for row in LEGAL if "float32" in row.dtypes]
    assert len(names) >= 25
    assert len(set(names)) == len(names)
    assert {tuple(row.declared) for row in LEGAL} == {(), ("algorithm",), ("precision",)}


CALLS = [
    {"stride": 2, "padding": (1, 0)},
    {"padding": "same", "dilation": (1, 2)},
    {"padding": "valid", "stride": (2, 1)},
    {"groups": 2, "padding": 2, "dilation": 2},
]


@pytest.mark.parametrize(
    "row",
    [r for r in LEGAL if r.op == "conv2d" and "float32" in r.dtypes],
    ids=lambda row: row.name,
)
def test_every_convolution_takes_all_of_torchs_arguments(row):
    g = torch.Generator().manual_seed(0)
    for batched in (True, False):
        for numbers in CALLS:
            x = torch.randn(*((2,) if batched else ()), 4, 9, 8, generator=g)
            w = torch.randn(6, 4 // numbers.get("groups", 1), 3, 3, generator=g)
            b = torch.randn(6, generator=g)
            right = F.conv2d(x.double(), w.double(), b.double(), **numbers)
            made = row.fn(x, w, b, **numbers)
            assert made.shape == right.shape
            assert torch.allclose(made.double(), right, atol=0.5 if row.declared else 1e-4)


# What must not pass


def loud(x, w):
    """Filters of which every fourth is 1e-4 times as large."""
    w = w.clone()
    w[::4] *= 1e-4
    return x, w


def tap_dropped(x, w):
    w = w.clone()
    w[4, 7, 1, 1] = 0
    return F.conv2d(x, w)


def in_quiet_channels(change):
    def run(x, w):
        y = F.conv2d(x, w)
        y[:, ::4] = F.conv2d(change(x), change(w[::4]))
        return y

    return run


def scaled(factor):
    return lambda x, w: F.conv2d(x, w) * factor


def one_element(x, w):
    y = F.conv2d(x, w)
    at = np.unravel_index(int(y.abs().argmin()), y.shape)
    y[at] += 61 * torch.finfo(torch.float32).eps * y.abs().mean()
    return y


def bf16(a):
    return a.bfloat16().float()


ILLEGAL = {
    "a tap dropped in a quiet channel": tap_dropped,
    "TF32 in quiet channels": in_quiet_channels(lambda a: kept(a, 11)),
    "TF32, truncated": lambda x, w: F.conv2d(kept(x, 11, True), kept(w, 11, True)),
    "TF32": lambda x, w: F.conv2d(kept(x, 11), kept(w, 11)),
    "bfloat16 inputs": lambda x, w: F.conv2d(bf16(x), bf16(w)),
    "bfloat16 in quiet channels": in_quiet_channels(bf16),
    "float16 inputs": lambda x, w: F.conv2d(x.half().float(), w.half().float()),
    "stored in float16": lambda x, w: F.conv2d(x, w).half().float(),
    "one tap of 576 dropped": lambda x, w: F.conv2d(
        x, w * (torch.arange(576) != 300).view(w[0].shape)
    ),
    "scale 1 + 2**-13": scaled(1 + 2.0**-13),
    "scale 1 + 2**-17": scaled(1 + 2.0**-17),
    "one cancelled element": one_element,
}


@pytest.mark.parametrize("fault", ILLEGAL)
def test_what_loses_precision_or_a_tap_is_not_consistent(fault):
    problem = label.read("conv2d x[1,64,12,12] w[16,64,3,3]")
    for seed in range(3):
        x, w = loud(*inputs.make(problem, "real", seed).values())
        [e] = reference.forward(problem, {"input": x, "weight": w})
        good, bad = F.conv2d(x, w), ILLEGAL[fault](x, w)
        levels = [
            verdict.compare(y, e.want, e.bound(), problem, e.noise()).level for y in (good, bad)
        ]
        assert levels[0] == "consistent"
        assert levels[1] in ("wrong", "suspect")


@pytest.mark.parametrize("every", [1, 16])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_float16_accumulator_is_not_consistent(kind, every):
    problem = label.read("conv2d x[1,64,8,8] w[6,64,3,3]")
    [e] = reference.forward(problem, inputs.make(problem, kind))
    got = accumulated("float16", every)(e)
    assert verdict.compare(got, e.want, e.bound(), problem, e.noise()).level != "consistent"
    declared = {"precision": "fp16_acc"}
    v = verdict.compare(got, e.want, e.bound(**declared), problem, e.noise(**declared))
    assert v.level == "consistent", v.reason


def test_the_noise_sees_what_the_proof_cannot():
    """The reason for a second level: of these faults some are inside F1."""
    problem = label.read("conv2d x[1,64,12,12] w[16,64,3,3]")
    x, w = inputs.make(problem, "real").values()
    [e] = reference.forward(problem, {"input": x, "weight": w})
    v = verdict.compare(scaled(1 + 2.0**-17)(x, w), e.want, e.bound(), problem, e.noise())
    assert (v.ok, v.level) == (True, "suspect")
