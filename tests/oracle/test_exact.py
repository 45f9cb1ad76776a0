"""The exact results: two paths give the same bits, and both give what loops over fractions give."""

import math
import subprocess
import sys
from fractions import Fraction
from itertools import product

import numba
import numpy as np
import pytest
import torch

from refconv import label
from refconv.errors import UnsupportedError, UsageError
from refconv.oracle import calls, inputs, reference, rounding
from refconv.oracle.exactly import digest, exact

FLOATS = ("float32", "float64", "float16", "bfloat16")
PROBLEMS = {
    "conv1d x[2,3,9] w[4,3,3] b s2 p1": (*FLOATS, "int64", "int8", "complex64", "complex128"),
    "conv2d x[2,4,7,5] w[6,2,3,2] b s2,1 p1:0,2 d1,2 g2": (*FLOATS, "int64", "complex64"),
    "conv2d x[1,3,5,6] w[3,1,2,3] s3 g3": FLOATS,
    "conv2d x[3,2,2] w[70,3,2,3] p3": ("float32",),
    "conv2d x[0,3,5,6] w[2,3,2,3] b": ("float32",),
    "conv2d x[2,70,3,3] w[2,70,3,3] p1": ("float32", "float64"),
    "conv3d x[1,2,4,3,5] w[3,2,2,1,3] p1": FLOATS,
    "conv_transpose1d x[1,2,4] w[2,3,3] d2": (*FLOATS, "int64", "complex64"),
    "conv_transpose2d x[2,4,3,5] w[4,3,3,2] b s2,3 p1,0 op1,2 g2": (*FLOATS, "complex64"),
    "conv_transpose3d x[1,2,2,3,2] w[2,2,2,1,3] b s1,2,3 p0,0,1 op0,1,2": ("float32",),
    "max_pool1d x[2,7] k3 ceil": FLOATS,
    "max_pool2d x[2,3,7,5] k3,2 s2 p1 d1,2": (*FLOATS, "int64", "uint8"),
    "adaptive_max_pool2d x[1,2,7,5] o3,2": FLOATS,
    "adaptive_max_pool1d x[1,2,3] o7": ("float32",),
    "avg_pool2d x[1,2,7,5] k3,2 s2 p1": (*FLOATS, "int64"),
    "avg_pool2d x[1,2,7,8] k3 s2 p1 ceil": (*FLOATS, "int64"),
    "avg_pool2d x[1,2,7,8] k3,4 s2 p1 ceil exclude_pad": (*FLOATS, "int64"),
    "avg_pool2d x[1,2,7,8] k3 s2 ceil div-7": (*FLOATS, "int64"),
    "avg_pool3d x[1,1,3,4,5] k2 s1": FLOATS,
    "adaptive_avg_pool2d x[2,7,5] o3,2": FLOATS,
    "adaptive_avg_pool1d x[1,2,3] o7": FLOATS,
    "adaptive_avg_pool3d x[1,2,3,4,5] o2,3,4": ("float32",),
    "unfold x[1,2,5,6] k3,2 s2 p1 d1,2": (*FLOATS, "complex64"),
    "fold x[1,18,9] o5 k3": (*FLOATS, "complex64"),
    "fold x[12,15] o5,4 k3,2 s2,1 p1": FLOATS,
    "pad x[1,2,5,5] p1,2:0 reflect": FLOATS,
    "pad x[2,5,6] p2:-1,0:3 reflect": ("float32",),
    "pad x[2,5,6] p-2:3 replicate": ("float32", "int8"),
    "pad x[2,5,6] p2,-1:3 circular": ("float32", "complex64"),
    "pad x[2,5,6] p1,-1:3 value=1.5": (*FLOATS, "float8_e5m2", "int8", "complex64"),
    "max_unpool2d x[1,2,3,3] o6,6": FLOATS,
}
CASES = [(text, dtype) for text, dtypes in PROBLEMS.items() for dtype in dtypes]


@pytest.mark.parametrize("kind", ["real", "integer"])
@pytest.mark.parametrize(("text", "dtype"), CASES)
def test_both_paths_agree_and_are_what_the_reference_allows(text, dtype, kind):
    problem = label.read(text, dtype=dtype)
    arrays = inputs.make(problem, kind, 1)
    grad = inputs.gradient(problem, kind, 1)
    got = exact(problem, arrays, grad)
    slow = exact(problem, arrays, grad, path="certified")
    wants = reference.forward(problem, arrays) + reference.backward(problem, arrays, grad)
    assert set(got.results) == {want.name for want in wants}
    for want in wants:
        value = got.results[want.name]
        assert value.tobytes() == slow.results[want.name].tobytes(), want.name
        assert value.shape == want.want.shape
        bound = want.bound()
        if bound.tolerance is None:
            assert np.array_equal(value.astype(want.want.dtype), want.want), want.name
        else:
            error = np.abs(value.astype(want.want.dtype) - want.want)
            assert (error <= bound.tolerance).all(), want.name
    assert got.hash == slow.hash


def to_nearest(value, dtype):
    """``value`` (a fraction) in a dtype of NumPy: of three neighbours the nearest, or the even."""
    kind = np.dtype(dtype).type
    middle = kind(float(value))
    near = [np.nextafter(middle, kind(s) * kind(np.inf)) for s in (-1, 1)]
    bits = f"u{middle.itemsize}"
    return min(
        (middle, *near), key=lambda c: (abs(Fraction(float(c)) - value), int(c.view(bits)) % 2)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_convolution_is_what_loops_over_fractions_give(dtype):
    """Stride 2, 1, padding (1, 0) and (2, 2), dilation 1, 2, two groups; written out once more."""
    problem = label.read("conv2d x[2,4,5,6] w[6,2,3,2] b s2,1 p1:0,2 d1,2 g2", dtype=dtype)
    rng = np.random.default_rng(0)
    x, w, b = (
        rng.standard_normal(shape).astype(dtype) for shape in ((2, 4, 5, 6), (6, 2, 3, 2), (6,))
    )
    dy = rng.standard_normal(problem.output_shape).astype(dtype)
    arrays = {"input": x, "weight": w, "bias": b}
    X, W, B, G = (np.vectorize(Fraction, otypes=[object])(a.astype(float)) for a in (x, w, b, dy))
    y, dx, dw = (np.full(a.shape, Fraction(0), object) for a in (dy, x, w))
    for n, k, oh, ow in np.ndindex(dy.shape):
        y[n, k, oh, ow] = B[k]
        for c, kh, kw in product(range(2), range(3), range(2)):
            ih, iw, ic = 2 * oh - 1 + kh, ow - 2 + 2 * kw, k // 3 * 2 + c
            if 0 <= ih < 5 and 0 <= iw < 6:
                y[n, k, oh, ow] += X[n, ic, ih, iw] * W[k, c, kh, kw]
                dx[n, ic, ih, iw] += G[n, k, oh, ow] * W[k, c, kh, kw]
                dw[k, c, kh, kw] += G[n, k, oh, ow] * X[n, ic, ih, iw]
    wants = {"output": y, "grad_input": dx, "grad_weight": dw, "grad_bias": G.sum(axis=(0, 2, 3))}
    made = exact(problem, arrays, dy)
    for name, want in wants.items():
        rounded = np.array([to_nearest(v, dtype) for v in want.ravel()]).reshape(want.shape)
        assert np.array_equal(made.results[name], rounded), name
        wide = made.wide[name]
        for v, hi, lo, error in zip(want.ravel(), *(a.ravel() for a in wide), strict=True):
            assert abs(Fraction(hi) + Fraction(lo) - v) <= Fraction(error)
            assert error <= 2.0**-80


def test_an_average_and_its_gradient_are_exact_sums_divided_once():
    """Windows of 3 with padding that does not count: divisors 4, 6 and 9 meet in one gradient."""
    problem = label.read("avg_pool2d x[1,1,4,5] k3 s1 p1 exclude_pad", dtype="float32")
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((1, 1, 4, 5)).astype(np.float32) for _ in range(2))
    y, dx = np.full((4, 5), Fraction(0), object), np.full((4, 5), Fraction(0), object)
    for oh, ow in np.ndindex(4, 5):
        cells = [
            (i, j) for i in (oh - 1, oh, oh + 1) for j in (ow - 1, ow, ow + 1)
            if 0 <= i < 4 and 0 <= j < 5
        ]  # fmt: skip
        for cell in cells:
            y[oh, ow] += Fraction(float(x[0, 0][cell])) / len(cells)
            dx[cell] += Fraction(float(dy[0, 0, oh, ow])) / len(cells)
    made = exact(problem, {"input": x}, dy).results
    for name, want in (("output", y), ("grad_input", dx)):
        rounded = [to_nearest(v, np.float32) for v in want.ravel()]
        assert np.array_equal(made[name].ravel(), rounded), name


@pytest.mark.parametrize("text", ["conv2d x[1,2,5,5] w[3,2,3,3] b s2 p1", *list(PROBLEMS)[8:26:3]])
def test_both_paths_agree_on_infinities_and_nans(text):
    problem = label.read(text)
    rng = np.random.default_rng(2)
    few = np.array([0.0, -0.0, 1.0, -2.0, 0.5, np.nan, np.inf, -np.inf], np.float32)
    arrays = {
        name: few[rng.choice(8, a.shape, p=[0.1, 0.1, 0.3, 0.2, 0.21, 0.03, 0.03, 0.03])]
        for name, a in inputs.make(problem, "real").items()
    }
    grad = few[rng.choice(7, problem.output_shape)]
    got = exact(problem, arrays, grad)
    slow = exact(problem, arrays, grad, path="certified")
    assert got.hash == slow.hash
    for want in reference.forward(problem, arrays):  # NaN and infinity in the same places
        value = got.results[want.name].astype(want.want.dtype)
        special = ~np.isfinite(want.want)
        assert np.array_equal(value[special], want.want[special], equal_nan=True)
        assert np.isfinite(value[~special]).all()


@pytest.mark.parametrize(
    "text", ["max_pool2d x[2,3,7,5] k3,2 s2 p1 d1,2", "adaptive_max_pool2d x[1,2,7,5] o3,2"]
)
def test_the_largest_and_its_place_are_those_of_torch_with_ties_and_nans(text):
    problem = label.read(text)
    few = torch.tensor([torch.nan, 0.0, -0.0, 1.0, 1.0, -torch.inf])
    at = torch.randint(6, problem.input_shape, generator=torch.Generator().manual_seed(0))
    made = exact(problem, {"input": few[at]}).results
    for name, want in calls.results(torch.nn.functional, problem, {"input": few[at]}).items():
        assert np.array_equal(made[name], want.numpy(), equal_nan=True), name


def test_padding_is_no_term():
    problem = label.read("conv1d x[1,2] w[1,1,3] p1")
    arrays = {"input": np.ones((1, 2)), "weight": np.array([[[np.inf, 1.0, 1.0]]])}
    assert exact(problem, arrays).results["output"].tolist() == [[2.0, np.inf]]


def test_moved_elements_keep_their_bits():
    x = np.array([[[-0.0, np.nan, 1.0, np.inf]]], np.float32)
    made = exact(label.read("pad x[1,1,4] p1 replicate"), {"input": x}).results["output"]
    assert made.tobytes() == np.pad(x[0], ((0, 0), (1, 1)), mode="edge").tobytes()


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_wrap_as_in_c(dtype):
    problem = label.read("conv1d x[1,3,6] w[2,3,3] s2 p1", dtype=dtype)
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    shapes = (1, 3, 6), (2, 3, 3)
    x, w = (rng.integers(info.min, info.max, s, dtype, endpoint=True) for s in shapes)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1))).astype(object)
    w_exact = w.astype(object)
    want = [[[(padded[0, :, o : o + 3] * k).sum() for o in (0, 2, 4)] for k in w_exact]]
    want = ((np.array(want, object) - int(info.min)) % 2**info.bits + int(info.min)).astype(dtype)
    for path in ("compiled", "certified"):
        made = exact(problem, {"input": x, "weight": w}, path=path).results["output"]
        assert np.array_equal(made, want)
        assert made.dtype == dtype


def by_formula(problem):
    """Arrays that need no random generator."""
    shapes = {name: a.shape for name, a in inputs.make(problem, "real").items()}
    shapes["grad"] = problem.output_shape
    made = {}
    for k, (name, shape) in enumerate(shapes.items()):
        n = np.arange(math.prod(shape), dtype=np.float64)
        made[name] = (((n * (n + 3 + k)) % 101 - 50) / (7 + k)).astype(np.float32).reshape(shape)
    return made


@pytest.mark.parametrize(
    ("text", "dtype", "golden"),
    [
        ("conv2d x[2,4,7,5] w[6,2,3,2] b s2,1 p1:0,2 d1,2 g2", "float32", "dc182dd0096c71c3"),
        ("conv2d x[2,4,7,5] w[6,2,3,2] b s2,1 p1:0,2 d1,2 g2", "bfloat16", "d8b4bf5d447da609"),
        ("conv_transpose2d x[2,4,3,5] w[4,3,3,2] b s2,3 op1,2 g2", "float64", "d55794f1954f9c0e"),
        ("avg_pool2d x[1,2,7,8] k3,4 s2 p1 ceil exclude_pad", "float16", "686b072916c7ccda"),
        ("max_pool2d x[2,3,7,5] k3,2 s2 p1 d1,2", "float32", "39490b0f8a574ecc"),
    ],
)
def test_the_hash_is_the_same_everywhere(text, dtype, golden):
    problem = label.read(text, dtype=dtype)
    arrays = by_formula(problem)
    if dtype == "bfloat16":  # exactly representable values: rounding them is not at issue here
        arrays = {name: rounding.quantise(a.astype(float), dtype) for name, a in arrays.items()}
    grad = arrays.pop("grad")
    hashes = {exact(problem, arrays, grad, path=path).hash for path in ("compiled", "certified")}
    numba.set_num_threads(1)
    try:
        hashes.add(exact(problem, arrays, grad).hash)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert {text[: len(golden)] for text in hashes} == {golden}


def test_the_hash_sees_every_bit_but_not_the_kind_of_zero_or_nan():
    a = np.array([0.0, 1.0, np.nan], np.float32)
    b = np.array([-0.0, 1.0, -np.nan], np.float32)
    assert digest({"output": a}, "float32") == digest({"output": b}, "float32")
    for other in (np.nextafter(a, np.float32(2)), a.reshape(1, 3), a.astype(float)):
        assert digest({"output": other}, "float32") != digest({"output": a}, "float32")
    assert digest({"grad_input": a}, "float32") != digest({"output": a}, "float32")
    assert digest({"output": a}, "bfloat16") != digest({"output": a}, "float32")


def test_torch_and_numpy_arrays_give_the_same():
    problem = label.read("conv2d x[1,2,5,5] w[3,2,3,3]")
    arrays = inputs.make(problem, "real")
    same = exact(problem, {name: a.numpy() for name, a in arrays.items()})
    assert exact(problem, arrays).hash == same.hash


def test_what_has_no_exact_result_is_refused():
    x = {"input": torch.rand(1, 2, 6, 6)}
    with pytest.raises(UnsupportedError, match=r"lp_pool2d.*norm 2"):
        exact(label.read("lp_pool2d x[1,2,6,6] norm2 k3"), x)
    problem = label.read("avg_pool2d x[1,1,40,40] k40 s1 p20 exclude_pad")
    with pytest.raises(UnsupportedError, match="more than 53 bits"):
        exact(problem, {"input": torch.rand(1, 1, 40, 40)}, torch.rand(problem.output_shape))
    with pytest.raises(UsageError, match="path must be"):
        exact(problem, {"input": torch.rand(1, 1, 40, 40)}, path="fast")


def test_the_oracle_loads_lazily():
    code = (
        "import sys, refconv.oracle as o; assert not {'torch', 'numba'} & set(sys.modules)\n"
        "import refconv.oracle.exactly; assert 'numba' not in sys.modules and callable(o.exact)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
