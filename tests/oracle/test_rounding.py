"""The arithmetic of the exact results: nothing rounded twice, ties to even, cancellation, special
values.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from refconv import label
from refconv.oracle import rounding
from refconv.oracle.certified import dot
from refconv.oracle.exactly import exact


def total(terms, dtype="float32", path="compiled", weights=None):
    """The sum of ``terms`` as a convolution gives it; and how many cells were certified."""
    w = np.ones(len(terms)) if weights is None else np.array(weights)
    problem = label.read(f"conv1d x[1,{len(terms)}] w[1,1,{len(terms)}]", dtype=dtype)
    arrays = {"input": np.array([terms], float), "weight": w.reshape(1, 1, -1)}
    made = exact(problem, arrays, path=path)
    return float(made.results["output"][0, 0]), made.certified


def test_float64_sums_are_those_of_fsum():
    rng = np.random.default_rng(0)
    terms = rng.standard_normal(500) * 10.0 ** rng.integers(-20, 20, 500)
    assert total(terms, "float64")[0] == math.fsum(terms)
    x, w = (rng.standard_normal(500).astype(np.float32).astype(float) for _ in range(2))
    assert total(x, "float64", weights=w)[0] == math.fsum(x * w)  # those products are exact


BIG = 2.0**100


@pytest.mark.parametrize(
    ("dtype", "terms", "want", "certified"),
    [
        ("float32", [2.0**24, 1], 2.0**24, 0),  # a tie that nothing was taken from: known exactly
        ("float32", [2.0**24, 3], 2.0**24 + 4, 0),
        ("float32", [BIG, 1, 2**-24, -BIG], 1, 1),  # ties behind a cancellation: not decided
        ("float32", [BIG, 1 + 2**-23, 2**-24, -BIG], 1 + 2**-22, 1),
        ("float32", [BIG, 1, 2**-24, 2.0**-120, -BIG], 1 + 2**-23, 1),
        ("float32", [BIG, 1, 2**-24, -(2.0**-120), -BIG], 1, 1),
        ("float64", [1, 2**-53], 1, 1),
        ("float64", [1, 2**-53, 2.0**-300], 1 + 2**-52, 1),
        ("float64", [1, 2**-53, 2.0**-100], 1 + 2**-52, 0),
        ("float64", [1, 2**-54, 2**-54, 2.0**-300, -(2.0**-300)], 1, 1),
        ("float16", [2048, 1], 2048, 0),
        ("bfloat16", [BIG, 1 + 2**-7, 2**-8, -BIG], 1 + 2**-6, 1),
        # Twice rounded, by way of float64 or float32, these would be ties, and end below.
        ("float32", [1, 2**-24, 2.0**-60], 1 + 2**-23, 0),
        ("float16", [1, 2**-11, 2.0**-70], 1 + 2**-10, 0),
        ("bfloat16", [1, 2**-8, 2.0**-30], 1 + 2**-7, 0),
        ("float32", [BIG, -BIG, 2.0**-140, BIG, -BIG], 2.0**-140, 0),
    ],
)  # fmt: skip
def test_ties_go_to_even_and_nothing_is_rounded_twice(dtype, terms, want, certified):
    assert total(terms, dtype) == (want, certified)
    assert total(terms, dtype, "certified")[0] == want


def test_a_quotient_that_underflows_is_not_taken_for_a_tie():
    problem = label.read("avg_pool1d x[1,3] k3", dtype="float16")
    x = {"input": np.array([[3, 3 * 2**-11, 2.0**-1074]])}
    assert exact(problem, x).results["output"].tolist() == [[1 + 2**-10]]
    x["input"][0, 2] = 0
    assert exact(problem, x).results["output"].tolist() == [[1]]


@pytest.mark.parametrize(("decades", "decided"), [(20, True), (45, False)])
def test_cancellation_that_float64_does_not_survive(decades, decided):
    rng = np.random.default_rng(1)
    big = (rng.standard_normal(50) * 10.0 ** (decades / 2)).astype(np.float32).astype(float)
    w = (rng.standard_normal(50) * 10.0 ** (decades / 2)).astype(np.float32).astype(float)
    x, w = np.concatenate([big, big, [1.0, 2**-30]]), np.concatenate([w, -w, [1.0, 1.0]])
    order = rng.permutation(len(x))
    x, w = x[order], w[order]
    value, certified = total(x, "float32", weights=w)
    assert value == 1
    assert (certified == 0) == decided
    assert not abs(float(np.sum(x * w)) - 1) < 0.5


INF, NAN = math.inf, math.nan
TINY = 2.0**-149


@pytest.mark.parametrize(
    ("dtype", "terms", "weights", "want"),
    [
        ("float32", [INF, 1], [1, 1], INF),
        ("float32", [INF, -INF], [1, 1], NAN),
        ("float32", [INF, 1], [0, 1], NAN),
        ("float32", [NAN, 1], [0, 1], NAN),
        ("float32", [3e38, 3e38], [1, 1], INF),
        ("float32", [3e38, -3e38], [2, 1], 3e38),
        ("float32", [TINY, 1], [0.5, 0], 0),  # a tie
        ("float32", [TINY, TINY], [0.5, 0.25], TINY),
        ("float32", [-TINY, 1], [0.25, 0], -0.0),
        ("float32", [0.0, -0.0], [-1, 1], 0.0),
        ("float16", [65504, 15.99], [1, 1], 65504),
        ("float16", [65504, 16], [1, 1], INF),
        ("bfloat16", [2.0**127, 2.0**127], [1, 1], INF),
        ("float64", [1e200, 1e200], [1e200, -1e200], 0),
        ("float64", [1e200, 1e200], [1e200, 1], INF),
        ("float64", [2.0**-600, 2.0**-600], [2.0**-475, 2.0**-476], 2.0**-1074),
        ("float64", [2.0**-537 * (1 + 2**-30), -(2.0**-1074)], [2.0**-537, 1], 0),
        ("float64", [2.0**-500, 1], [2.0**-500, 1], 1),
    ],
)
def test_special_values_underflow_and_overflow(dtype, terms, weights, want):
    want = float(np.float32(want)) if dtype == "float32" else want
    for path in ("compiled", "certified"):
        got = total(terms, dtype, path, weights)[0]
        assert got == want or (math.isnan(got) and math.isnan(want)), path
        assert math.isnan(want) or math.copysign(1, got) == math.copysign(1, want), path


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", *list(rounding.DIGITS)[4:]])
def test_rounding_is_that_of_numpy_and_torch(dtype):
    """Random float32 bit patterns, all of float16, and what lies halfway and next to it."""
    rng = np.random.default_rng(0)
    some = rng.integers(0, 2**32, 20_000, np.uint32).view(np.float32)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    ties = halves * np.float32(1 + 2**-11)
    near = np.nextafter(ties[::7], np.float32(np.inf))
    values = np.concatenate([some[~np.isnan(some)], halves, ties, near])
    want = torch.from_numpy(values).to(getattr(torch, dtype)).double().numpy()
    got = rounding.quantise(values.astype(float), dtype)
    assert np.array_equal(got, want, equal_nan=True)
    for v in values[np.isfinite(values)][::199].tolist():
        one = rounding.nearest(*v.as_integer_ratio(), dtype)
        assert np.array_equal(one, rounding.quantise(np.array(v), dtype), equal_nan=True)


def test_zivs_test_decides_only_what_is_sure():
    hi, lo = (
        np.array([1.0, 1.0, 1.0, 0.0, np.inf, 1.0]),
        np.array([2**-24, 2**-24, 2**-25, 0, 0, 0]),
    )
    error = np.array([0, 2.0**-90, 2.0**-26, 2.0**-200, 0, np.nan])
    value, decided = rounding.settle(hi, lo, error, "float32")
    assert decided.tolist() == [True, False, True, False, False, False]
    assert value[[0, 2]].tolist() == [1, 1]


def test_whole_numbers_are_summed_without_loss():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(3000) * 2.0 ** rng.integers(-500, 400, 3000) for _ in range(2))
    want = sum(Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True))
    assert Fraction(*dot(a, b)) == want
    assert Fraction(*dot(np.array([2.0**-1074]), np.array([-1.0]))) == -Fraction(1, 2**1074)
