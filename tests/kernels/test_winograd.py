"""Winograd's kernels on canonical arrays: exact on small integers, inside their bound on random
numbers, every output written and nothing else, infinities where they belong.
"""

from __future__ import annotations

import numpy as np
import pytest

from refconv.kernels.im2col import conv as im2col
from refconv.kernels.numba_cpu import winograd
from refconv.kernels.numba_cpu.winograd_matrices import POINTS, matrices
from refconv.oracle.winograd import POINTS as KNOWN

from .guarded import run, threads

#: N, C, K, kernel, stride, padding (H, W), dilation, and y (H, W).
FPROP = [
    (2, 5, 3, 3, 1, (1, 1), 1, (6, 7)),
    (1, 18, 33, 3, 1, (0, 2), 1, (5, 19)),
    (3, 16, 70, 3, 1, (2, 4), 1, (12, 9)),
    (1, 4, 5, 3, 1, (-1, 3), 1, (4, 21)),
    (20, 3, 17, 3, 1, (1, 1), 1, (8, 8)),
    (2, 17, 6, 4, 2, (1, 1), 1, (5, 9)),
    (1, 3, 18, 2, 1, (0, 1), 1, (7, 3)),
    (2, 4, 5, 6, 3, (2, 0), 1, (4, 5)),
    (2, 6, 20, 3, 1, (2, 2), 2, (9, 6)),
    (1, 2, 3, 3, 1, (1, 5), 3, (11, 20)),
    (0, 2, 3, 3, 1, (1, 1), 1, (4, 4)),
]


def _operands(row, dtype, seed, integers):
    N, C, K, kernel, stride, padding, dilation, out = row
    rng = np.random.default_rng(seed)

    def draw(*shape):
        made = rng.integers(-4, 5, shape) if integers else rng.standard_normal(shape)
        return made.astype(dtype)

    # x is 2 short of what the last window reaches, so that some windows see fewer taps.
    reach = dilation * (kernel - 1) + 1
    size = [max(1, (out[a] - 1) * stride + reach - padding[a] - 2) for a in (0, 1)]
    x, w = draw(N, C, 1, *size), draw(K, C, 1, kernel, kernel)
    numbers = (1, stride, stride), (0, *padding), (1, dilation, dilation), 1
    return x, w, draw(N, K, 1, *out), draw(K), draw(C), numbers


def _both(row, slot, m, dtype, integers, seed=0, change=None):
    x, w, dy, b, c, numbers = _operands(row, dtype, seed, integers)
    if change is not None:
        change(x, w, dy)
    first, bias, shape = (x, b, dy.shape) if slot == "fprop" else (dy, c, x.shape)
    kernel = getattr(winograd, f"{slot}_f{m}")
    got = run(kernel, shape, dtype, first, w, bias, *numbers)
    want = np.empty(shape, np.float64)
    wide = [a.astype(np.float64) for a in (first, w, bias)]
    scale = np.empty(shape, np.float64)
    with np.errstate(invalid="ignore"):
        getattr(im2col, slot)(want, *wide, *numbers)
        getattr(im2col, slot)(scale, *(np.abs(a) for a in wide), *numbers)
    return got, want, scale


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("slot", ["fprop", "dgrad"])
@pytest.mark.parametrize("row", FPROP, ids=str)
def test_exact_on_small_integers(row, slot, count):
    """F(2 x 2) only halves and quarters: small integers come out exactly."""
    with threads(count):
        got, want, _ = _both(row, slot, 2, np.float32, integers=True)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("slot", ["fprop", "dgrad"])
@pytest.mark.parametrize("row", FPROP[:9:2], ids=str)
def test_small_errors_on_random_numbers(row, slot, m):
    """Errors are a small multiple of a tile's rounding: 60 u of the sum of |terms| nearby."""
    got, want, scale = _both(row, slot, m, np.float32, integers=False)
    assert got.dtype == np.float32
    worst = scale.max(initial=1)
    assert not (np.abs(got - want) > 60 * 2.0**-24 * worst).any()
    assert not np.isnan(got).any()


@pytest.mark.parametrize("slot", ["fprop", "dgrad"])
def test_float64(slot):
    """The same code in double precision has its accuracy."""
    got, want, scale = _both(FPROP[1], slot, 4, np.float64, integers=False)
    assert not (np.abs(got - want) > 200 * 2.0**-53 * scale.max()).any()


@pytest.mark.parametrize("slot", ["fprop", "dgrad"])
def test_infinities_stay_where_they_belong(slot):
    """One infinite element reaches only the outputs whose windows hold it."""

    def change(x, w, dy):
        x[0, 0, 0, 2, 2] = np.inf
        dy[0, 0, 0, 2, 2] = np.inf

    got, want, _ = _both(FPROP[0], slot, 4, np.float32, integers=True, change=change)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    assert not np.isfinite(want).all()


def test_points_are_those_the_oracle_bounds():
    """F9 is computed from points: ours must be among those it takes the maximum over."""
    for m in (2, 4):
        ours = {abs(p) for p in POINTS[m + 1]}
        assert any({abs(p) for p in points} == ours for points in KNOWN[m])


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (2, 2), (4, 2)])
def test_matrices_are_a_correlation(m, r):
    """AT [(G g) * (BT d)] in exact numbers is the correlation of d with g."""
    at, g, bt = matrices(m, r)
    taps, data = [3, -1, 2][:r], [2, 7, -3, 5, 11, -4][: m + r - 1]

    def apply(matrix, values):
        return [sum(c * v for c, v in zip(row, values, strict=True)) for row in matrix]

    product = [a * b for a, b in zip(apply(g, taps), apply(bt, data), strict=True)]
    want = [sum(taps[k] * data[i + k] for k in range(r)) for i in range(m)]
    assert apply(at, product) == want
