"""Direct convolution and implicit GEMM on canonical arrays: exact on small integers, inside F1 on
random numbers, every output written and nothing else, infinities where they belong.
"""

from __future__ import annotations

import numpy as np
import pytest

from refconv.kernels.im2col import conv as im2col
from refconv.kernels.numba_cpu import direct, implicit_gemm
from refconv.kernels.numba_cpu.direct_pixels import conv_pixels
from refconv.kernels.numba_cpu.direct_taps import conv_taps
from refconv.kernels.numba_cpu.padded import inside

from .guarded import run, threads

# x (N, C, *in), w (K, C/groups, *kernel), y's size, stride, padding, dilation, groups.
ROWS = {
    "3x3": ((2, 5, 1, 9, 37), (19, 5, 1, 3, 3), (1, 9, 37), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1),
    "narrow, many channels": (
        (3, 17, 1, 7, 7), (70, 17, 1, 3, 3), (1, 7, 7), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1,
    ),
    "strided 7x7": (
        (1, 3, 1, 30, 71), (10, 3, 1, 7, 7), (1, 15, 36), (1, 2, 2), (0, 3, 3), (1, 1, 1), 1,
    ),
    "groups": ((2, 24, 1, 6, 29), (40, 3, 1, 3, 3), (1, 6, 29), (1, 1, 1), (0, 1, 1), (1, 1, 1), 8),
    "wide groups": (
        (1, 8, 1, 5, 9), (66, 4, 1, 2, 3), (1, 4, 7), (1, 1, 1), (0, 0, 0), (1, 1, 1), 2,
    ),
    "1x1": ((2, 33, 1, 9, 15), (50, 33, 1, 1, 1), (1, 9, 15), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    "one pixel": (
        (3, 70, 1, 1, 1), (35, 70, 1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1,
    ),
    "strided 1x1, dots": (
        (1, 40, 1, 14, 14), (64, 40, 1, 1, 1), (1, 7, 7), (1, 2, 2), (0, 0, 0), (1, 1, 1), 1,
    ),
    "patches": (
        (1, 3, 1, 16, 20), (33, 3, 1, 4, 4), (1, 4, 5), (1, 4, 4), (0, 0, 0), (1, 1, 1), 1,
    ),
    "dilated, stride 3": (
        (1, 4, 1, 25, 40), (20, 4, 1, 3, 2), (1, 8, 13), (1, 3, 3), (0, 2, 2), (1, 2, 5), 1,
    ),
    "1-D": ((1, 6, 1, 1, 301), (18, 6, 1, 1, 9), (1, 1, 301), (1, 1, 1), (0, 0, 4), (1, 1, 1), 1),
    "3-D": (
        (1, 3, 5, 6, 18), (34, 3, 3, 2, 3), (4, 6, 10), (2, 1, 2), (2, 1, 2), (1, 1, 1), 1,
    ),
    "padding beyond the kernel": (
        (1, 2, 1, 4, 5), (18, 2, 1, 3, 3), (1, 12, 21), (1, 1, 1), (0, 5, 9), (1, 1, 1), 1,
    ),
    "negative padding": (
        (1, 3, 1, 12, 12), (20, 3, 1, 3, 3), (1, 6, 8), (1, 1, 1), (0, -2, -1), (1, 1, 1), 1,
    ),
    "y stops early": (
        (1, 3, 1, 12, 30), (4, 3, 1, 3, 3), (1, 5, 11), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1,
    ),
    "y reaches further": (
        (1, 3, 2, 5, 6), (17, 3, 2, 3, 3), (4, 9, 12), (1, 2, 1), (0, 1, 1), (1, 1, 1), 1,
    ),
    "long sums": (
        (1, 300, 1, 3, 20), (4, 300, 1, 3, 3), (1, 3, 20), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1,
    ),
    "no images": ((0, 3, 1, 5, 5), (4, 3, 1, 3, 3), (1, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
}  # fmt: skip


def _through(variant):
    def kernel(y, x, w, b, stride, padding, dilation, groups):
        direct.run(variant, y, x, w, b, stride, padding, dilation, groups)

    return kernel


#: Both variants of ``direct`` on every problem: which one it would choose is a matter of speed.
KERNELS = {
    "taps": _through(conv_taps),
    "pixels": _through(conv_pixels),
    "implicit_gemm": implicit_gemm.fprop,
}


def _both(kernel, row, dtype, integers, bias=True, change=None):
    """What ``kernel`` computes, between bands of NaN and over NaN; the reference; its scale."""
    x_shape, w_shape, out, *numbers = row
    rng = np.random.default_rng(len(x_shape) + sum(w_shape))

    def draw(*shape):
        made = rng.integers(-4, 5, shape) if integers else rng.standard_normal(shape)
        return made.astype(dtype)

    x, w, b = draw(*x_shape), draw(*w_shape), draw(w_shape[0] if bias else 0)
    if change is not None:
        change(x, w)
    shape = (x_shape[0], w_shape[0], *out)
    y = run(kernel, shape, dtype, x, w, b, *numbers)
    want, scale = np.empty(shape), np.empty(shape)
    wide = [a.astype(np.float64) for a in (x, w, b)]
    with np.errstate(invalid="ignore"):
        im2col.fprop(want, *wide, *numbers)
        im2col.fprop(scale, *(np.abs(a) for a in wide), *numbers)
    return y, want, scale


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", KERNELS)
def test_exact_on_small_integers(name, row):
    got, want, _ = _both(KERNELS[name], ROWS[row], np.float32, integers=True)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", KERNELS)
def test_random_numbers_stay_inside_the_bound(name):
    """F1, with one rounding more for the reference's own."""
    for dtype, u in ((np.float32, 2.0**-24), (np.float64, 2.0**-53)):
        for row in ("3x3", "narrow, many channels", "1x1", "long sums"):
            terms = int(np.prod(ROWS[row][1][1:])) + 1
            got, want, scale = _both(KERNELS[name], ROWS[row], dtype, integers=False, bias=False)
            allowed = 2 * terms * u / (1 - terms * u) * scale
            assert (np.abs(got - want) <= allowed).all(), (dtype, row)


@pytest.mark.parametrize("name", KERNELS)
def test_any_number_of_threads_gives_the_same_bits(name):
    """Sums are taken in one order, however the work is cut; also by more threads than cores."""
    for row in ("narrow, many channels", "strided 7x7", "groups", "strided 1x1, dots", "1-D"):
        results = []
        for count in (1, 2, 5):
            with threads(count):
                results.append(_both(KERNELS[name], ROWS[row], np.float32, integers=False)[0])
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("which", ["x", "w"])
@pytest.mark.parametrize("name", KERNELS)
def test_infinities_stay_where_they_belong(name, which):
    """Padding is skipped: an infinite weight does not meet its zeros."""

    def change(x, w):
        (x if which == "x" else w)[0, 1, 0, 2, 2] = np.inf

    for row in ("3x3", "narrow, many channels"):
        got, want, _ = _both(KERNELS[name], ROWS[row], np.float32, integers=True, change=change)
        np.testing.assert_array_equal(got, want)
        assert np.isinf(want).any()


def test_inside_says_whether_padding_is_met():
    """Against the window's positions, one by one."""
    for x_shape, w_shape, out, stride, padding, dilation, _ in ROWS.values():
        met = any(
            not 0 <= o * stride[a] - padding[a] + k * dilation[a] < x_shape[2 + a]
            for a in range(3)
            for o in range(out[a])
            for k in range(w_shape[2 + a])
        )
        y_shape = (x_shape[0], w_shape[0], *out)
        assert inside(x_shape, w_shape, y_shape, stride, padding, dilation) is not met


def test_the_choice_of_a_variant(monkeypatch):
    """Few channels go along rows, many by pixels; narrow rows need fewer to be many, and a tile one
    vector wide is dear where it has 16 registers.
    """

    def chosen(x, w, out, padding=(0, 1, 1), wide=16):
        shapes = (x, w, (x[0], w[0], 1, *out))
        # As it is, not as it was remembered with other constants.
        way = direct.by_pixels.__wrapped__
        return way(*shapes, (1, 1, 1), padding, (1, 1, 1), wide)

    grouped = ((1, 256, 1, 28, 28), (256, 8, 1, 3, 3), (28, 28), (0, 1, 1), 8)
    monkeypatch.setattr(direct, "NARROW", 1.6)
    assert not chosen(*grouped)
    monkeypatch.setattr(direct, "NARROW", 1.0)
    monkeypatch.setattr(direct, "FAR", 1.0)
    assert chosen(*grouped)

    assert not chosen((1, 3, 1, 96, 96), (64, 3, 1, 3, 3), (96, 96))
    assert not chosen((1, 64, 1, 56, 56), (4, 64, 1, 3, 3), (56, 56))
    assert not chosen((1, 256, 1, 28, 28), (256, 8, 1, 3, 3), (28, 28))
    assert chosen((1, 64, 1, 28, 28), (64, 64, 1, 3, 3), (28, 28))
    assert chosen((128, 6, 1, 14, 14), (16, 6, 1, 5, 5), (10, 10), (0, 0, 0))
