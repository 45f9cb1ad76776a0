"""The bounds: the number of terms is counted, not computed by the code under test; legal arithmetic
passes.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from refconv import label
from refconv.oracle import reference, verdict
from refconv.oracle.bound import Move, Sum, arithmetic, detectable, g

CONVS = [
    "conv1d x[2,3,9] w[4,3,3] b s2 p1",
    "conv2d x[2,4,7,5] w[6,2,3,2] b s2,1 p1:0,2 d1,2 g2",
    "conv2d x[1,3,5,6] w[3,1,2,3] s3 g3",
    "conv3d x[1,2,4,3,5] w[3,2,2,1,3] p1",
    "conv_transpose2d x[2,4,3,5] w[4,3,3,2] b s2,3 p1,0 op1,2 g2",
    "conv_transpose1d x[1,2,4] w[2,3,3] d2",
]


def ones(problem):
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape}
    return {name: torch.ones(shape, dtype=torch.float64) for name, shape in shapes.items()}


@pytest.mark.parametrize("text", CONVS)
def test_terms_of_a_convolution_are_what_torch_counts_with_ones(text):
    problem = label.read(text.replace(" b", ""))
    module = torch.nn.functional
    from refconv.oracle import calls

    x = {n: a.requires_grad_() for n, a in ones(problem).items()}
    y = calls.results(module, problem, x)["output"]
    gx, gw = torch.autograd.grad(y, list(x.values()), torch.ones_like(y))
    backward = ("conv_fprop" if problem.transposed else "conv_dgrad", gx), ("conv_wgrad", gw)
    for slot, counted in ((problem.forward_slot, y), *backward):
        terms = reference.terms(problem, slot)
        assert np.array_equal(np.broadcast_to(terms, counted.shape), counted.detach().numpy()), slot
    assert int(reference.terms(problem, "conv_bgrad")) == y.numel() // problem.out_channels


@pytest.mark.parametrize(
    "text",
    [
        "avg_pool2d x[1,2,7,5] k3,2 s2 p1",
        "avg_pool2d x[1,2,7,8] k3 s2 ceil exclude_pad",
        "adaptive_avg_pool2d x[1,2,7,5] o3,2",
        "avg_pool3d x[1,1,3,4,5] k2 s1",
    ],
)
def test_terms_of_pooling_are_the_windows_taps(text):
    problem = label.read(text)
    windows = [
        [range(*problem.window(a, o)[:2]) for o in range(problem.out_size[a])]
        for a in range(problem.rank)
    ]
    taps = np.zeros(problem.out_size, dtype=int)
    visits = np.zeros(problem.in_size, dtype=int)
    for o in np.ndindex(problem.out_size):
        cells = list(product(*(windows[a][o[a]] for a in range(problem.rank))))
        taps[o] = len(cells)
        for cell in cells:
            visits[cell] += 1
    assert np.array_equal(reference.terms(problem, "avg_pool"), taps)
    assert np.array_equal(reference.terms(problem, "avg_pool_backward"), visits)


def test_g_is_the_classical_constant_and_ends_at_infinity():
    u = 2.0**-24
    assert float(g(10, u)) == pytest.approx(float(Fraction(10) / (2**24 - 10)))
    assert np.isinf(g(2**24, u))


def legal_orders(products, rng):
    """float32 sums of the same products: forwards, backwards, shuffled, in pairs, in blocks, with
    wide products.
    """
    p = products.astype(np.float32)
    for q in (p, p[::-1], rng.permutation(p, axis=0)):
        total = np.zeros(p.shape[1:], np.float32)
        for term in q:
            total = total + term
        yield total
    yield np.add.reduce([chunk.sum(axis=0, dtype=np.float32) for chunk in np.array_split(p, 7)])
    while len(p) > 1:
        even = len(p) // 2 * 2
        p = np.concatenate([p[0:even:2] + p[1:even:2], p[even:]])
    yield p[0]


@pytest.mark.parametrize("data", ["normal", "image with zero-sum filters", "huge range"])
def test_every_legal_order_is_inside_the_bound(data):
    rng = np.random.default_rng(0)
    problem = label.read("conv2d x[1,8,9,9] w[6,8,3,3]")
    x = rng.standard_normal(problem.input_shape)
    w = rng.standard_normal(problem.weight_shape)
    if data.startswith("image"):
        x = 128 + x
        w -= w.mean(axis=(1, 2, 3), keepdims=True)
    if data == "huge range":
        w *= 10.0 ** rng.integers(-12, 12, (6, 8, 1, 1))
    x, w = x.astype(np.float32), w.astype(np.float32)
    [expected] = reference.forward(problem, {"input": x, "weight": w})
    columns = torch.nn.functional.unfold(torch.from_numpy(x), 3)[0].numpy()  # (72, 49)
    terms = (w.reshape(6, 72).T[:, :, None] * columns[:, None, :]).astype(np.float32)
    for got in legal_orders(terms, rng):
        judged = verdict.compare(got.reshape(1, 6, 7, 7), expected.want, expected.bound())
        assert judged.ok, judged.reason


def test_integers_must_be_equal_as_long_as_they_fit_the_accumulator():
    law = Sum(np.array(10), np.array([100.0, 2.0**24, 2.0**24 + 2]), product=True, integral=True)
    bound = law.bound(np.array([100.0, 5.0, 5.0]), arithmetic("float32"))
    assert list(bound.tolerance[:2]) == [0, 0]
    assert bound.tolerance[2] > 0
    assert bound.exact == pytest.approx(2 / 3)


def test_an_average_of_integers_may_only_be_off_by_its_division():
    law = Sum(np.array(9), np.array([90.0]), product=False, extra=2, integral=True)
    bound = law.bound(np.array([10.0]), arithmetic("float32"))
    assert 0 < bound.tolerance[0] < 10 * 3 * 2.0**-24


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_accumulated_in_float32_and_rounded_once(dtype):
    a = arithmetic(dtype)
    assert a.u_acc == 2.0**-24
    assert a.u_out == {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    law = Sum(np.array(100), np.array([50.0]), product=True)
    tolerance = law.bound(np.array([1.0]), a).tolerance[0]
    assert a.u_out < tolerance < 2 * a.u_out  # the store dominates …
    assert tolerance < 100 * a.u_out * 50 / 1000  # … an accumulator of 16 bits would not fit


def test_tf32_is_wider_than_float32_by_its_lost_digits():
    law = Sum(np.array(100), np.array([50.0]), product=True)
    ieee, tf32 = (
        law.bound(np.array([1.0]), arithmetic("float32", p)).tolerance[0] for p in ("ieee", "tf32")
    )
    assert tf32 == pytest.approx(50 * 2 * 2.0**-10, rel=0.05)
    assert ieee < tf32 / 100


def test_moves_have_no_tolerance():
    assert Move().bound(np.zeros(3), arithmetic("float32")).tolerance is None


def test_complex_products_by_four_or_by_three_multiplications_are_inside():
    rng = np.random.default_rng(1)
    problem = label.read("conv1d x[1,5,30] w[4,5,7]", dtype="complex64")
    x, w = (
        (rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(np.complex64)
        for s in (problem.input_shape, problem.weight_shape)
    )
    [expected] = reference.forward(problem, {"input": x, "weight": w})

    def conv(a, b):
        return torch.conv1d(*(torch.from_numpy(np.ascontiguousarray(v)) for v in (a, b))).numpy()

    a, b = conv(x.real, w.real), conv(x.imag, w.imag)
    four = a - b + 1j * (conv(x.real, w.imag) + conv(x.imag, w.real))
    three = a - b + 1j * (conv(x.real + x.imag, w.real + w.imag) - a - b)
    for got in (four, three):
        judged = verdict.compare(got.astype(np.complex64), expected.want, expected.bound())
        assert judged.ok, judged.reason
    assert not verdict.compare(
        np.conj(four).astype(np.complex64), expected.want, expected.bound()
    ).ok


def test_the_smallest_fault_that_is_caught_is_reported():
    law = Sum(np.array(9), np.full(4, 9.0), product=True)
    want = np.ones(4)
    bound = law.bound(want, arithmetic("float32"))
    assert detectable(bound, want) == pytest.approx(2 * bound.tolerance[0])
    assert detectable(Move().bound(want, arithmetic("float32")), want) is None


@pytest.mark.parametrize("norm", [2, 3, 1.5])
def test_the_power_pool_of_torch_is_inside_and_a_wrong_norm_is_not(norm):
    problem = label.read(f"lp_pool2d x[1,2,6,6] norm{norm} k3 s1")
    x = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    [expected] = reference.forward(problem, {"input": x})
    good = torch.nn.functional.lp_pool2d(x, norm, 3, 1)
    assert verdict.compare(good, expected.want, expected.bound()).ok
    bad = torch.nn.functional.lp_pool2d(x, norm + 1e-4, 3, 1)
    assert not verdict.compare(bad, expected.want, expected.bound()).ok


@pytest.mark.parametrize("norm", [1, 2, 3, 1.5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_power_pools_gradient_of_torch_is_inside_and_a_wrong_one_is_not(norm, dtype):
    problem = label.read(f"lp_pool2d x[1,2,6,7] norm{norm} k3,2 s2,1 ceil", dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, 6, 7, generator=generator).to(getattr(torch, dtype)).requires_grad_()
    y = torch.nn.functional.lp_pool2d(x, norm, (3, 2), (2, 1), ceil_mode=True)
    dy = torch.randn(y.shape, generator=generator).to(y.dtype)
    [expected] = reference.backward(problem, {"input": x}, dy)
    [good] = torch.autograd.grad(y, x, dy)
    bound = expected.bound()
    if dtype == "bfloat16":  # torch adds the windows up in bfloat16
        bound = expected.bound("narrow")
    judged = verdict.compare(good, expected.want, bound)
    assert judged.ok, judged.reason
    assert np.isfinite(bound.tolerance).all()
    wrong = good * (1 + {"float32": 1e-4, "bfloat16": 0.5}[dtype])
    assert not verdict.compare(wrong, expected.want, bound).ok


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_padding_constant_is_rounded_to_the_dtype(dtype):
    problem = label.read("pad x[2,5,6] p1 value=1.7", dtype=dtype)
    x = torch.zeros(2, 5, 6, dtype=getattr(torch, dtype))
    [expected] = reference.forward(problem, {"input": x})
    y = torch.nn.functional.pad(x, (1, 1, 1, 1, 1, 1)[: 2 * problem.rank], value=1.7)
    assert verdict.compare(y, expected.want, expected.bound()).ok


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bias_may_be_added_to_a_stored_sum(dtype):
    """Two roundings to 16 bits, where the bias cancels most of the sum; a third is too much."""
    problem = label.read("conv2d x[2,6,8,9] w[5,6,3,3] b", dtype=str(dtype).removeprefix("torch."))
    g = torch.Generator().manual_seed(0)
    x, w = (torch.randn(s, generator=g).to(dtype) for s in ((2, 6, 8, 9), (5, 6, 3, 3)))
    exact = torch.nn.functional.conv2d(x.double(), w.double())
    b = -exact[0, :, 3, 3].to(dtype)
    [e] = reference.forward(problem, {"input": x, "weight": w, "bias": b})
    y = exact.to(dtype) + b.view(-1, 1, 1)
    v = verdict.compare(y, e.want, e.bound(), None, e.noise())
    assert v.level == "consistent", v.reason
    coarse = (exact.to(dtype) * 1.02).to(dtype) + b.view(-1, 1, 1)
    assert not verdict.compare(coarse, e.want, e.bound()).ok
