"""The noise inside the bound (F6), other algorithms' bounds (F9, F10), and the verdict's three
levels.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refconv import label
from refconv.errors import UsageError
from refconv.oracle import bound, inputs, noise, reference, verdict, winograd

SUMS = [
    "conv2d x[2,4,9,7] w[6,2,3,2] b s2,1 p1 g2 d1,2",
    "conv_transpose2d x[2,4,5,7] w[4,3,3,2] b p1,0 s2,3 op1,2 g2",
    "conv3d x[1,4,3,4,5] w[2,4,2,2,1] s2",
    "conv1d x[4,9] w[6,4,3]",
    "avg_pool2d x[2,3,7,6] k3,2 s2,1 p1",
    "avg_pool2d x[2,3,7,6] k3,2 s2 p1 exclude_pad ceil",
    "adaptive_avg_pool2d x[3,7,6] o3,4",
    "fold x[1,18,9] o5 k3",
    "pad x[1,2,5,6] p1:2,2:1 reflect",
    "max_pool2d x[1,2,7,6] k3 s1",
]


def every_result(text, kind="real", seed=0, dtype="float64"):
    problem = label.read(text, dtype=dtype)
    arrays, grad = inputs.make(problem, kind, seed), inputs.gradient(problem, kind, seed)
    return reference.forward(problem, arrays) + reference.backward(problem, arrays, grad)


@pytest.mark.parametrize("text", SUMS)
def test_the_terms_of_an_element_add_up_to_it_and_their_squares_to_Q(text):
    sums = [e for e in every_result(text) if e.terms is not None]
    assert sums
    for e in sums:
        matrix = e.terms.matrix(np.arange(e.want.size))
        if matrix is None:
            assert e.noise() is not None  # slots of few terms are taken in their worst order
            continue
        y, q = matrix.sum(axis=(0, 1)), (matrix**2).sum(axis=(0, 1))
        if e.terms.bias is not None:
            shape = (-1, *(1,) * e.terms.problem.rank)
            b = np.broadcast_to(e.terms.bias.reshape(shape), e.want.shape).ravel()
            y, q = y + b, q + b * b
        assert np.allclose(y, e.want.ravel(), rtol=0, atol=1e-13 * np.abs(e.want).max()), e.name
        assert np.allclose(q.reshape(e.want.shape), e.terms.squares, rtol=1e-12), e.name


def one_after_the_other(expected):
    """The float32 sum of every element's terms, in the naive loop's order."""
    matrix = expected.terms.matrix(np.arange(expected.want.size)).astype(np.float32)
    total = np.cumsum(matrix.reshape(-1, matrix.shape[2]), axis=0)[-1]
    return total.reshape(expected.want.shape)


def judged(got, expected, **declared):
    limit = expected.bound(**declared)
    return verdict.compare(got, expected.want, limit, noise=expected.noise(**declared))


def convolution(x, w):
    text = f"conv2d x[{','.join(map(str, x.shape))}] w[{','.join(map(str, w.shape))}]"
    arrays = {"input": x.astype(np.float32), "weight": w.astype(np.float32)}
    return reference.forward(label.read(text), arrays)[0]


@pytest.mark.parametrize("channels", [3, 64, 512])
@pytest.mark.parametrize("kind", ["real", "uniform", "image", "scaled"])
def test_the_noise_is_calibrated(channels, kind):
    problem = label.read(f"conv2d x[1,{channels},7,7] w[8,{channels},3,3]")
    [e] = reference.forward(problem, inputs.make(problem, kind, seed=1))
    v = judged(one_after_the_other(e), e)
    assert v.level == "consistent", v.reason
    assert 0.4 < v.z_rms < 1.3
    assert v.z_max < 6
    assert v.notices < v.detects / 3  # what it is good for


def opponents(rng):
    """Half of the channels take away what the other half has put in."""
    w = np.abs(rng.standard_normal((8, 64, 3, 3)))
    w[:, 32:] = -w[:, :32]
    return convolution(128 + rng.standard_normal((1, 64, 8, 8)), w)


def test_partial_sums_far_larger_than_the_result_are_seen_in_the_data(monkeypatch):
    e = opponents(np.random.default_rng(0))
    got = one_after_the_other(e)
    assert judged(got, e).level == "consistent"
    # In random order they would be far smaller: the formula alone is wrong.
    monkeypatch.setattr(noise, "_orders", lambda matrix, start: np.zeros(matrix.shape[2]))
    assert judged(got, opponents(np.random.default_rng(0))).level == "suspect"


def test_equal_numbers_round_alike_again_and_again_and_are_not_called_suspect():
    e = convolution(np.full((1, 512, 5, 5), 0.1), np.full((8, 512, 3, 3), 0.3))
    got = one_after_the_other(e)
    error = np.abs(got - e.want).max() / np.abs(e.want).max()
    assert error > 5 * 0.42 * 2.0**-24 * np.sqrt(4608 / 3)  # a law of sqrt(n) does not hold here
    v = judged(got, e)
    assert (v.level, v.z_rms) == ("consistent", None)  # all cells are one


def test_of_large_results_a_sample_is_looked_at(monkeypatch):
    e = opponents(np.random.default_rng(1))
    whole = np.median(e.noise().sigma)
    assert np.median(e.noise(look=64 * 576).sigma) == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_sums_of_few_terms_stay_inside_whatever_their_order(n):
    rng = np.random.default_rng(n)
    x, w = rng.standard_normal((1, n, 40, 40)), rng.standard_normal((1, n, 1, 1))
    x[0, -1] = -x[0, 0] * w[0, 0] / w[0, -1] * (1 + 1e-6)  # nearly nothing is left
    e = convolution(x, w)
    orders = [e.terms.matrix(np.arange(1600))[:, 0].astype(np.float32)]
    orders += [orders[0][::-1], rng.permutation(orders[0])]
    for terms in orders:
        v = judged(np.cumsum(terms, axis=0)[-1].reshape(e.want.shape), e)
        assert (v.level, v.z_max < 8) == ("consistent", True), v


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_storing_16_bits_is_a_rounding_of_its_own(dtype):
    problem = label.read("conv2d x[1,8,9,9] w[8,8,3,3]", dtype=dtype)
    [e] = reference.forward(problem, inputs.make(problem, "real"))
    right = torch.from_numpy(e.want).to(getattr(torch, dtype))
    v = judged(right, e)
    assert v.level == "consistent"
    assert 0.8 < v.z_rms < 1.1
    assert v.z_max < 1.8  # uniform: at most sqrt(3)
    assert judged(right * (1 + 4 * 2.0 ** -bound.DIGITS[dtype]), e).level != "consistent"


@pytest.mark.parametrize(
    ("text", "kind", "dtype", "precision"),
    [
        ("conv2d x[1,3,6,6] w[4,3,3,3]", "real", "complex64", "ieee"),
        ("conv2d x[1,3,6,6] w[4,3,3,3]", "integer", "float32", "ieee"),
        ("conv2d x[1,3,6,6] w[4,3,3,3]", "real", "int32", "ieee"),
        ("max_pool2d x[1,3,6,6] k2", "real", "float32", "ieee"),
        ("lp_pool2d x[1,3,6,6] norm2 k2", "real", "float32", "ieee"),
        ("conv2d x[1,64,6,6] w[4,64,3,3]", "real", "bfloat16", "narrow"),
    ],
)
def test_where_no_noise_is_known_there_is_none(text, kind, dtype, precision):
    problem = label.read(text, dtype=dtype)
    e = reference.forward(problem, inputs.make(problem, kind))[0]
    assert e.noise(precision) is None
    got = e.want.astype(np.float32) if dtype == "float32" else e.want
    v = verdict.compare(got, e.want, replace(e.bound(), dtype=got.dtype.name))
    assert (v.level, v.z_rms, v.z_max, v.suspect, v.notices) == ("consistent", *(None,) * 4)


def test_a_fault_is_wrong_suspect_or_consistent_by_its_size():
    problem = label.read("conv2d x[1,16,12,12] w[8,16,3,3]")
    [e] = reference.forward(problem, inputs.make(problem, "real"))
    good, at = one_after_the_other(e), (0, 3, 4, 5)
    typical = np.sqrt(np.mean(e.want**2))
    v = judged(good, e)
    for size, level in ((2 * v.detects, "wrong"), (2 * v.notices, "suspect"), (0, "consistent")):
        got = good.copy()
        got[at] += np.float32(size * typical)
        v = judged(got, e)
        assert (v.level, v.ok) == (level, level != "wrong")
        assert (level == "consistent") == (v.reason == "")
        assert v.suspect == (level != "consistent")


def test_many_small_errors_are_suspect_though_each_alone_is_not():
    problem = label.read("conv2d x[1,16,12,12] w[8,16,3,3]")
    [e] = reference.forward(problem, inputs.make(problem, "real"))
    sigma = np.broadcast_to(e.noise().sigma, e.want.shape)
    v = judged((e.want + 3 * sigma).astype(np.float32), e)
    assert (v.level, v.suspect) == ("suspect", 0)
    assert v.z_rms == pytest.approx(3, rel=0.1)
    few = np.zeros_like(sigma)
    few[0, 0, :6] = 3  # 60 cells of 800: the mean is that of all
    assert judged((e.want + few * sigma).astype(np.float32), e).level == "consistent"


def test_all_cells_of_a_channel_may_share_the_error_of_rounded_weights():
    found = []
    for seed in range(60):
        problem = label.read("conv2d x[1,1,12,12] w[1,1,3,3]")  # one channel: one such error
        x, w = inputs.make(problem, "image", seed).values()
        [e] = reference.forward(problem, {"input": x, "weight": w})
        got = torch.conv2d(x.bfloat16().float(), w.bfloat16().float())
        v = judged(got, e, precision="bf16")
        assert v.level == "consistent", v.reason
        found.append(v.z_rms)
    assert max(found) > 1.4  # such a mean is no mean of independent errors


def test_nan_is_never_consistent_and_what_cannot_be_judged_is_suspect():
    problem = label.read("conv2d x[1,16,12,12] w[8,16,3,3]")
    [e] = reference.forward(problem, inputs.make(problem, "real"))
    got = e.want.astype(np.float32)
    got[0, 0, 0, 0] = np.nan
    assert judged(got, e).level == "wrong"
    unknown = replace(e.bound(), tolerance=np.asarray(np.inf))
    v = verdict.compare(e.want.astype(np.float32), e.want, unknown)
    assert (v.ok, v.kind, v.level) == (False, "unjudged", "suspect")


# Other algorithms


WINOGRAD = [
    "conv2d x[2,8,11,9] w[6,4,3,3] b p1 g2",
    "conv_transpose2d x[1,6,9,10] w[6,8,3,3] p1,0",
]


@pytest.mark.parametrize("kind", ["real", "uniform", "image", "scaled"])
@pytest.mark.parametrize("text", WINOGRAD)
def test_winograd_in_float32_is_consistent_at_all_known_points(text, kind):
    for e in every_result(text, kind, dtype="float32")[:3]:
        single = tuple(a.astype(np.float32) for a in e.terms.inputs[:2])
        for m, sets in winograd.POINTS.items():
            declared = {"algorithm": f"winograd_f{m}"}
            limit, level = e.bound(**declared), e.noise(**declared)
            for points in sets:
                by = winograd.matrices(points, m)
                for adjoint in (False, True):
                    run = winograd.run(
                        e.terms.problem, e.terms.slot, single, by, winograd.convolve, adjoint
                    )
                    if e.terms.bias is not None:
                        run = run + e.terms.bias.astype(np.float32)[:, None, None]
                    v = verdict.compare(run, e.want, limit, noise=level)
                    assert v.level == "consistent", (e.name, points, adjoint, v.reason)
                    assert 0.05 < v.z_rms < 1.7


def test_winograd_has_to_be_declared_and_a_fault_is_still_one():
    [e, *_] = every_result("conv2d x[1,8,24,24] w[8,8,3,3] p1", dtype="float32")
    by = winograd.matrices(winograd.POINTS[4][0], 4)
    single = tuple(a.astype(np.float32) for a in e.terms.inputs)
    got = winograd.run(e.terms.problem, e.terms.slot, single, by, winograd.convolve)
    assert judged(got, e).level != "consistent"
    assert judged(got, e, algorithm="winograd_f4").level == "consistent"
    fewer = single[0], single[1].copy()
    fewer[1][3, 2, 1, 1] = 0
    bad = winograd.run(e.terms.problem, e.terms.slot, fewer, by, winograd.convolve)
    assert judged(bad, e, algorithm="winograd_f4").level == "wrong"


def test_whole_numbers_are_exact_with_two_tiles_and_not_with_four():
    [e, *_] = every_result("conv2d x[1,4,8,8] w[4,4,3,3]", "integer", dtype="float32")
    assert e.bound(algorithm="winograd_f2").rule == "F11"
    assert e.bound(algorithm="winograd_f4").exact == 0
    single = tuple(a.astype(np.float32) for a in e.terms.inputs)
    by = winograd.matrices(winograd.POINTS[2][0], 2)
    got = winograd.run(e.terms.problem, e.terms.slot, single, by, winograd.convolve)
    assert judged(got, e, algorithm="winograd_f2").level == "consistent"
    got[0, 0, 0, 0] += 2.0**-10
    assert judged(got, e, algorithm="winograd_f2").level == "wrong"


def test_where_an_algorithm_does_not_apply_the_direct_bound_holds_and_says_so():
    [e, *_] = every_result("conv2d x[1,4,9,9] w[4,4,3,3] s2", dtype="float32")
    limit = e.bound(algorithm="winograd_f4")
    assert np.array_equal(limit.tolerance, e.bound().tolerance)
    assert limit.rule == "F1 (direct: no winograd_f4 of this sum)"
    assert e.bound(algorithm="fft").rule == "F10, fft"


def test_an_fft_may_leave_something_where_nothing_is_summed():
    x = np.random.default_rng(0).standard_normal((1, 4, 16, 16))
    x[..., :8] = 0
    e = convolution(x, np.random.default_rng(1).standard_normal((4, 4, 3, 3)))
    assert (e.want[..., :6] == 0).all()
    a, b = (np.fft.rfft2(v, (16, 16)).astype(np.complex64) for v in e.terms.inputs)
    y = np.fft.irfft2(np.einsum("nchw,kchw->nkhw", a, b.conj()), (16, 16))
    got = y[..., :14, :14].astype(np.float32)
    assert judged(got, e, algorithm="fft").level == "consistent"
    assert judged(got, e).level == "wrong"


def test_unknown_declarations_are_refused_by_name():
    [e, *_] = every_result("conv1d x[1,2,9] w[2,2,3]")
    with pytest.raises(UsageError, match=r"precision must be one of ieee, tf32.*'fp8'"):
        e.bound("fp8")
    with pytest.raises(UsageError, match=r"algorithm must be one of direct.*'strassen'"):
        e.noise(algorithm="strassen")


@pytest.mark.parametrize("precision", bound.PRECISIONS)
def test_declared_precisions_only_ever_widen(precision):
    [e, *_] = every_result("conv2d x[1,8,8,8] w[4,8,3,3]", dtype="float32")
    assert (e.bound(precision).tolerance >= e.bound().tolerance).all()
    level = e.noise(precision)
    if level is None:
        assert precision == "bf16_acc"  # 72 terms: too many for 8 digits
    else:
        assert (level.sigma >= e.noise().sigma).all()


def test_float16_inputs_may_underflow():
    x, w = np.full((1, 2, 4, 4), 1.37e-8), np.ones((1, 2, 1, 1))
    e = convolution(x, w)  # in float16 such inputs are 0 or 2**-24
    got = x.astype(np.float16).astype(np.float32).sum(axis=1, keepdims=True)
    assert judged(got, e, precision="fp16").ok
    assert not judged(got, e, precision="tf32").ok
