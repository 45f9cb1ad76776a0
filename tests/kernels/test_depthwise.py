"""Depthwise convolution on canonical arrays, every way and pass: exact on small integers, inside F1
on random numbers, every output written and nothing else, infinities where they belong.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
import pytest

from refconv.guard import BAND
from refconv.kernels.im2col import conv as im2col
from refconv.kernels.numba_cpu import (
    depthwise,
    depthwise_dgrad,
    depthwise_lanes,
    depthwise_rows,
    depthwise_wgrad,
)

# N, C, K/C, x's size, kernel, y's size, stride, padding, dilation. Sizes are such that the kernels
# are compiled for few tiles: rows of 7, 14, 21, and others that are cut into tiles of 7.
ROWS = {
    "3x3": (2, 19, 1, (1, 14, 37), (1, 3, 3), (1, 14, 37), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    "7x7 planes": (3, 17, 1, (1, 7, 7), (1, 3, 3), (1, 7, 7), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    "stride 2": (2, 16, 1, (1, 15, 13), (1, 3, 3), (1, 8, 7), (1, 2, 2), (0, 1, 1), (1, 1, 1)),
    "stride 3, 2 filters, dilated": (
        1, 5, 2, (1, 25, 40), (1, 3, 2), (1, 8, 13), (1, 3, 3), (0, 2, 2), (1, 2, 5),
    ),
    "large window": (
        1, 3, 1, (1, 20, 21), (1, 13, 15), (1, 20, 21), (1, 1, 1), (0, 6, 7), (1, 1, 1),
    ),
    "dilated, 3 filters": (
        1, 3, 3, (1, 20, 21), (1, 3, 3), (1, 20, 21), (1, 1, 1), (0, 3, 2), (1, 3, 2),
    ),
    "1-D": (2, 6, 1, (1, 1, 301), (1, 1, 3), (1, 1, 301), (1, 1, 1), (0, 0, 1), (1, 1, 1)),
    "1-D, stride 2": (2, 6, 1, (1, 1, 65), (1, 1, 3), (1, 1, 33), (1, 1, 2), (0, 0, 1), (1, 1, 1)),
    "3-D": (1, 18, 1, (5, 7, 19), (3, 3, 3), (5, 7, 19), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    "3-D, stride": (1, 3, 2, (5, 6, 27), (3, 3, 3), (4, 6, 14), (2, 1, 2), (2, 1, 1), (1, 1, 1)),
    "padding beyond the kernel": (
        1, 2, 1, (1, 7, 7), (1, 3, 3), (1, 19, 21), (1, 1, 1), (0, 7, 8), (1, 1, 1),
    ),
    "planes that windows miss": (
        1, 2, 1, (1, 7, 7), (2, 3, 3), (4, 7, 7), (1, 1, 1), (2, 1, 1), (1, 1, 1),
    ),
    "negative padding": (
        1, 3, 1, (1, 13, 13), (1, 3, 3), (1, 7, 7), (1, 1, 1), (0, -2, -1), (1, 1, 1),
    ),
    "y stops early": (1, 3, 1, (1, 14, 28), (1, 3, 3), (1, 7, 13), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    "y reaches further": (
        1, 17, 1, (2, 5, 7), (2, 3, 3), (4, 9, 14), (1, 2, 1), (0, 1, 1), (1, 1, 1),
    ),
    "bands": (2, 40, 1, (1, 70, 57), (1, 3, 3), (1, 70, 57), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    "bands, stride 2": (
        1, 16, 1, (1, 90, 113), (1, 3, 3), (1, 45, 57), (1, 2, 2), (0, 1, 1), (1, 1, 1),
    ),
    "no images": (0, 3, 1, (1, 5, 5), (1, 3, 3), (1, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
}  # fmt: skip

#: Every way of every pass: which one ``depthwise`` chooses is a matter of speed.
WAYS = {
    "rows": depthwise_rows.fprop,
    "lanes": depthwise_lanes.fprop,
    "dgrad turned round": depthwise.dgrad,
    "dgrad": depthwise_dgrad.dgrad,
    "wgrad": depthwise_wgrad.wgrad,
}


def _runs(name, row):
    stride, K = ROWS[row][6], ROWS[row][2]
    if name == "rows":
        return max(stride) == 1
    return name != "dgrad turned round" or (max(stride) == 1 and K == 1)


CASES = [(name, row) for name in WAYS for row in ROWS if _runs(name, row)]


@cache
def _problem(row, integers, change=""):
    """x, w, the output's b, the input's b, dy, in float64; ``change``: which has an infinity."""
    N, C, each, size, kernel, out, *_ = ROWS[row]
    rng = np.random.default_rng(C + sum(size) + sum(kernel))
    shapes = (N, C, *size), (C * each, 1, *kernel), (C * each,), (C,), (N, C * each, *out)
    made = [rng.integers(-4, 5, s) if integers else rng.standard_normal(s) for s in shapes]
    made = [a.astype(np.float32).astype(np.float64) for a in made]
    if change:
        made["xw  y".index(change)][-1, 0, 0, 0, 0] = np.inf  # a corner, so it meets padding
    return made


def _run(kernels, name, arrays, numbers):
    """The pass of ``name`` over what is in its output; ``arrays`` as ``_problem`` makes them."""
    x, w, b, b_in, dy = arrays
    fprop, dgrad, wgrad = kernels
    if "dgrad" in name:
        made = np.full_like(x, np.nan)
        dgrad(made, dy, w, b_in, *numbers)
    elif name == "wgrad":
        made = np.full_like(w, np.nan)
        wgrad(made, dy, x, *numbers)
    else:
        made = np.full_like(dy, np.nan)
        fprop(made, x, w, b, *numbers)
    return made


@cache
def _want(name, row, integers, change="", absolute=False):
    arrays = _problem(row, integers, change)
    numbers = (*ROWS[row][6:], ROWS[row][1])
    reference = (im2col.fprop, im2col.dgrad, im2col.wgrad)
    with np.errstate(invalid="ignore"):
        return _run(reference, name, [abs(a) for a in arrays] if absolute else arrays, numbers)


def _got(name, row, dtype, integers, change=""):
    """What the way ``name`` computes, between bands of NaN that it left alone."""
    size = _want(name, row, integers, change).size
    buffer = np.full(size + 2 * BAND, np.nan, dtype)

    def guarded(made, *others):
        inside = buffer[BAND : BAND + size].reshape(made.shape)
        WAYS[name](inside, *others)
        made[...] = inside

    arrays = [a.astype(dtype) for a in _problem(row, integers, change)]
    made = _run([guarded] * 3, name, arrays, (*ROWS[row][6:], ROWS[row][1]))
    assert np.isnan(buffer[:BAND]).all()
    assert np.isnan(buffer[BAND + size :]).all()
    return made


@pytest.mark.parametrize(("name", "row"), CASES)
def test_exact_on_small_integers(name, row):
    np.testing.assert_array_equal(_got(name, row, np.float32, True), _want(name, row, True))


@pytest.mark.parametrize("name", WAYS)
def test_random_numbers_stay_inside_the_bound(name):
    """F1, with one rounding more for the reference's own."""
    N, _, _, _, kernel, out, *_ = ROWS["3x3"]
    terms = (N * np.prod(out) if name == "wgrad" else np.prod(kernel)) + 1
    want, scale = _want(name, "3x3", False), _want(name, "3x3", False, absolute=True)
    for dtype, u in ((np.float32, 2.0**-24), (np.float64, 2.0**-53)):
        if dtype is np.float64 and "dgrad" in name:
            continue  # made of what the others are made of, and compiling takes seconds
        allowed = 2 * terms * u / (1 - terms * u) * scale
        assert (np.abs(_got(name, "3x3", dtype, False) - want) <= allowed).all(), dtype


@pytest.mark.parametrize("name", WAYS)
def test_any_number_of_threads_gives_the_same_bits(name):
    """Sums are taken in one order, however the work is cut; also by more threads than cores."""
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    for row in ("bands", "bands, stride 2"):
        if not _runs(name, row):
            continue
        results = []
        try:
            for threads in (1, 2, 5):
                numba.set_num_threads(min(threads, most))
                results.append(_got(name, row, np.float32, False))
        finally:
            numba.set_num_threads(before)
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize(
    ("name", "change"),
    [("rows", "x"), ("rows", "w"), ("lanes", "x"), ("lanes", "w"), ("dgrad", "y"), ("dgrad", "w"),
     ("dgrad turned round", "w"), ("wgrad", "x"), ("wgrad", "y")],
)  # fmt: skip
def test_infinities_stay_where_they_belong(name, change):
    """Padding is skipped: an infinite weight does not meet its zeros."""
    for row in ("3x3", "7x7 planes"):
        want = _want(name, row, True, change)
        assert np.isinf(want).any()
        np.testing.assert_array_equal(_got(name, row, np.float32, True, change), want)


def test_the_choice_of_a_way():
    """Planes of stride 1 and small windows go by rows; narrow planes, strides and large windows go
    by lanes.
    """

    def by_rows(C, size, k, stride=1):
        out = (1, (size - 1) // stride + 1, (size - 1) // stride + 1)
        numbers = ((1, k, k), (1, stride, stride), (0, k // 2, k // 2), (1, 1, 1), 4)
        rows, lanes = depthwise.cycles((1, C, 1, size, size), (1, C, *out), *numbers)
        return rows <= lanes

    assert by_rows(32, 112, 3)
    assert by_rows(1, 300, 5)
    assert not by_rows(960, 7, 3)
    assert not by_rows(128, 56, 31)
    assert not by_rows(96, 112, 3, stride=2)
