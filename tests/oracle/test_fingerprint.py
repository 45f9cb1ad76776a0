"""What ran is named rightly or not at all: simulated arithmetics, at three lengths of the sum."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from refconv import label
from refconv.oracle import inputs, reference, rounding
from refconv.oracle.fingerprint import Fingerprint, fingerprint

from .legal import LEGAL

BY_NAME = {row.name: row for row in LEGAL if row.op == "conv2d"}
PROBLEMS = {
    27: "conv2d x[2,3,16,16] w[8,3,3,3] p1",
    576: "conv2d x[1,64,9,9] w[8,64,3,3] p1",
    4608: "conv2d x[1,512,5,5] w[8,512,3,3] p1",
}


@lru_cache(maxsize=16)
def case(n, kind="real", seed=0):
    problem = label.read(PROBLEMS[n])
    arrays = inputs.make(problem, kind, seed)
    return arrays, reference.forward(problem, arrays)[0]


def accumulated(dtype, every):
    """The terms one after the other, the sum rounded to ``dtype`` every so many."""

    def run(e):
        matrix = e.terms.matrix(np.arange(e.want.size)).astype(np.float32)
        terms = matrix.reshape(-1, e.want.size)
        total = np.zeros(e.want.size)
        for start in range(0, len(terms), every):
            part = np.cumsum(terms[start : start + every], axis=0)[-1]
            total = rounding.quantise((total + part).astype(np.float64), dtype)
        return torch.from_numpy(total.astype(np.float32).reshape(e.want.shape))

    return run


@dataclass(frozen=True)
class Row:
    """An implementation, and the names that are right."""

    run: object
    names: set[str]
    decided: bool = True  # whether some of the names must be given


ELEVEN = {"tf32 inputs", "11-bit inputs: tf32 or fp16"}
ROWS = {
    "torch": Row("torch", {"float32 sums"}, False),
    "sequential": Row("one term after the other", {"float32 sums"}),
    "taps outside, fused": Row("one term after the other, taps outside, fused", {"float32 sums"}),
    "pairwise": Row("tree over channels", {"float32 sums"}, False),
    "BLAS": Row("NumPy and BLAS", {"float32 sums"}, False),
    "float64": Row("float64 inside", {"correctly rounded"}),
    "TF32": Row("TF32", ELEVEN),
    "TF32, truncated": Row("TF32, truncated", {"tf32 inputs"}),
    "float16 inputs": Row("float16 inputs", {"fp16 inputs", "11-bit inputs: tf32 or fp16"}),
    "bfloat16 inputs": Row("bfloat16 inputs", {"bf16 inputs"}),
    "float16 sums": Row(accumulated("float16", 1), {"fp16 accumulator"}),
    "float16 sums every 16": Row(accumulated("float16", 16), {"fp16 accumulator"}),
    "bfloat16 sums": Row(accumulated("bfloat16", 1), {"bf16 accumulator"}),
    "Winograd F2": Row("Winograd F(2x2)", {"winograd-like"}, False),
    "Winograd F4": Row("Winograd F(4x4)", {"winograd-like"}, False),
    "FFT": Row("FFT", {"fft-like"}, False),
}


def result(row, arrays, e):
    if isinstance(row.run, str):
        return BY_NAME[row.run].fn(arrays["input"], arrays["weight"], padding=1)
    return row.run(e)


@pytest.mark.parametrize("n", PROBLEMS)
@pytest.mark.parametrize("name", ROWS)
def test_an_arithmetic_is_named_rightly_or_not_at_all(name, n):
    row = ROWS[name]
    for seed in range(3):
        arrays, e = case(n, seed=seed)
        found = fingerprint(result(row, arrays, e), e)
        assert found.name in row.names | ({"undecided"} if not row.decided else set()), found
        assert found.text


@pytest.mark.parametrize("kind", ["uniform", "image", "scaled"])
@pytest.mark.parametrize("name", [n for n in ROWS if n != "float16 inputs"])  # 1e5 * 1e5 overflows
def test_on_other_data_too(name, kind):
    row = ROWS[name]
    arrays, e = case(27, kind)
    found = fingerprint(result(row, arrays, e), e)
    assert found.name in row.names | {"undecided"}, found
    assert found.name in row.names or not row.decided, found


@pytest.mark.parametrize(("name", "digits"), [("TF32", 11), ("bfloat16 inputs", 8)])
@pytest.mark.parametrize("n", PROBLEMS)
def test_the_digits_of_rounded_inputs_are_read_from_the_errors(name, digits, n):
    arrays, e = case(n)
    found = fingerprint(result(ROWS[name], arrays, e), e)
    assert found.digits == pytest.approx(digits, abs=0.3)
    assert found.ratio > 100


def test_winograd_and_fft_are_recognised_where_they_leave_traces():
    arrays, e = case(27)
    for name in ("Winograd F2", "Winograd F4"):
        assert fingerprint(result(ROWS[name], arrays, e), e).name == "winograd-like"
    problem = label.read(PROBLEMS[27])
    half = dict(arrays, input=arrays["input"].clone())
    half["input"][..., :8] = 0  # nothing is summed there, and an FFT does not know
    [e] = reference.forward(problem, half)
    assert fingerprint(result(ROWS["FFT"], half, e), e).name == "fft-like"
    assert fingerprint(result(ROWS["sequential"], half, e), e).name == "float32 sums"


def test_only_the_range_tells_float16_from_tf32():
    problem = label.read(PROBLEMS[27])
    arrays = inputs.make(problem, "real")
    arrays["weight"] *= 2.0**-16  # float16 has few digits left there
    [e] = reference.forward(problem, arrays)
    for name, right in (("float16 inputs", "fp16 inputs"), ("TF32", "tf32 inputs")):
        assert fingerprint(result(ROWS[name], arrays, e), e).name == right


ROW = torch.tensor([[1.0], [1.0], [0.0]])
FAULTS = {
    "a row of taps dropped": lambda x, w: F.conv2d(x, w * ROW, padding=1),
    "scaled by 1 + 2**-13": lambda x, w: F.conv2d(x, w, padding=1) * (1 + 2.0**-13),
    "scaled by 1 + 2**-8": lambda x, w: F.conv2d(x, w, padding=1) * (1 + 2.0**-8),
    "shifted": lambda x, w: F.conv2d(x, w, padding=1).roll(1, 3),
    "half of the channels": lambda x, w: F.conv2d(x[:, ::2], w[:, ::2], padding=1),
    "zeros": lambda x, w: torch.zeros(len(x), len(w), *x.shape[2:]),
    "noise": lambda x, w: F.conv2d(x, w, padding=1) + 1e-4 * torch.randn(x[:, :1].shape),
    "not finite": lambda x, w: F.conv2d(x, w, padding=1) * torch.inf,
}


@pytest.mark.parametrize("n", [27, 576])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_no_arithmetic(fault, n):
    torch.manual_seed(0)
    arrays, e = case(n)
    assert fingerprint(FAULTS[fault](*arrays.values()), e).name == "undecided"


@pytest.mark.parametrize(("dtype", "name"), [("float16", "fp16"), ("bfloat16", "bf16")])
def test_16_bit_results_tell_what_they_were_summed_in(dtype, name):
    problem = label.read("conv2d x[2,8,12,12] w[8,8,3,3]", dtype=dtype)
    [e] = reference.forward(problem, inputs.make(problem, "real"))
    right = torch.from_numpy(e.want).to(getattr(torch, dtype))
    assert fingerprint(right, e).name == "float32 sums"
    narrow = accumulated(dtype, 1)(e).to(right.dtype)
    assert fingerprint(narrow, e).name == f"{name} accumulator"
    assert fingerprint(right.roll(1, 3), e).name == "undecided"


def test_float64_results_tell_float32_sums():
    problem = label.read("conv2d x[2,8,12,12] w[8,8,3,3]", dtype="float64")
    arrays = inputs.make(problem, "real")
    [e] = reference.forward(problem, arrays)
    single = F.conv2d(*(a.float() for a in arrays.values())).double()
    assert fingerprint(single, e).name == "float32 sums"
    assert fingerprint(F.conv2d(*arrays.values()), e).name == "float64 sums"


def test_what_says_nothing_is_undecided():
    problem = label.read("conv2d x[1,8,9,9] w[4,8,3,3]")
    [whole] = reference.forward(problem, inputs.make(problem, "integer"))
    [few] = reference.forward(
        label.read("conv2d x[1,8,4,4] w[4,8,3,3]"),
        inputs.make(label.read("conv2d x[1,8,4,4] w[4,8,3,3]"), "real"),
    )
    for e in (whole, few):
        found = fingerprint(torch.from_numpy(e.want).float(), e)
        assert (found.name, found.digits) == ("undecided", None)
    assert isinstance(found, Fingerprint)
