"""dgrad and wgrad by register tiles, on canonical arrays: exact on small integers, inside F1 on
random numbers, every output written and nothing else, infinities where they belong.
"""

from __future__ import annotations

import numpy as np
import pytest

from refconv.kernels.im2col import conv as im2col
from refconv.kernels.naive import conv as naive
from refconv.kernels.numba_cpu import dgrad, wgrad
from refconv.kernels.numba_cpu.dgrad_phases import phases

from .guarded import run, threads

# x (N, C, *in), w (K, C/groups, *kernel), y's size, stride, padding, dilation, groups.
PROBLEMS = {
    "3x3": ((2, 70, 1, 9, 19), (67, 70, 1, 3, 3), (1, 9, 19), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1),
    "images joined": (
        (7, 18, 1, 5, 6), (20, 18, 1, 3, 3), (1, 5, 6), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1,
    ),
    "4x4 of stride 2": (
        (3, 3, 1, 22, 24), (30, 3, 1, 4, 4), (1, 11, 12), (1, 2, 2), (0, 1, 1), (1, 1, 1), 1,
    ),
    "2x2 of stride 2": (
        (2, 34, 1, 6, 10), (5, 34, 1, 2, 2), (1, 3, 5), (1, 2, 2), (0, 0, 0), (1, 1, 1), 1,
    ),
    "1x1 of stride 2": (
        (2, 40, 1, 7, 9), (19, 40, 1, 1, 1), (1, 4, 5), (1, 2, 2), (0, 0, 0), (1, 1, 1), 1,
    ),
    "1x1": ((2, 33, 1, 9, 15), (50, 33, 1, 1, 1), (1, 9, 15), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    "1x1, a plane left over": (
        (3, 4, 1, 19, 19), (4, 2, 1, 1, 1), (1, 19, 19), (1, 1, 1), (0, 0, 0), (1, 1, 1), 2,
    ),
    "kernel below the stride": (
        (2, 17, 1, 11, 50), (9, 17, 1, 2, 2), (1, 4, 13), (1, 3, 4), (0, 1, 1), (1, 1, 1), 1,
    ),
    "groups": ((2, 24, 1, 6, 29), (40, 3, 1, 3, 3), (1, 6, 29), (1, 1, 1), (0, 1, 1), (1, 1, 1), 8),
    "depthwise": (
        (5, 6, 1, 9, 9), (6, 1, 1, 3, 3), (1, 5, 5), (1, 2, 2), (0, 1, 1), (1, 1, 1), 6,
    ),
    "dilated, stride 3": (
        (1, 4, 1, 25, 40), (20, 4, 1, 3, 2), (1, 8, 13), (1, 3, 3), (0, 2, 2), (1, 2, 5), 1,
    ),
    "1-D": ((1, 6, 1, 1, 2301), (18, 6, 1, 1, 9), (1, 1, 2301), (1, 1, 1), (0, 0, 4), (1, 1, 1), 1),
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
    "no images": ((0, 3, 1, 5, 5), (4, 3, 1, 3, 3), (1, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
}  # fmt: skip

#: Both ways of each pass on every problem: which one is taken is a matter of speed.
WAYS = [("dgrad", True), ("dgrad", False), ("wgrad", True), ("wgrad", False)]
each_way = pytest.mark.parametrize(
    "way", WAYS, ids=["dgrad rows", "dgrad pixels", "wgrad dots", "wgrad columns"]
)


@pytest.fixture
def insist(monkeypatch):
    """Take that way, whatever the number of channels."""

    def insist(way):
        slot, few = way
        module, rule = (dgrad, "use_rows") if slot == "dgrad" else (wgrad, "use_dots")
        monkeypatch.setattr(module, rule, lambda *_: few)
        return slot

    return insist


def _operands(slot, problem, dtype, integers, bias=True):
    """The output's shape, and what comes after it in the call."""
    x_shape, w_shape, out, *numbers = problem
    rng = np.random.default_rng(len(x_shape) + sum(w_shape))

    def draw(*shape):
        made = rng.integers(-4, 5, shape) if integers else rng.standard_normal(shape)
        return made.astype(dtype)

    dy = draw(x_shape[0], w_shape[0], *out)
    if slot == "wgrad":
        return w_shape, [dy, draw(*x_shape), *numbers]
    return x_shape, [dy, draw(*w_shape), draw(x_shape[1] if bias else 0), *numbers]


def _run(slot, shape, args):
    """The kernel's output, allocated between bands of NaN and filled with NaN before."""
    kernel = dgrad.dgrad if slot == "dgrad" else wgrad.wgrad
    return run(kernel, shape, args[0].dtype, *args)


def _reference(slot, shape, args, change=lambda array: array):
    """The same in float64, of arrays that ``change`` may replace."""
    want = np.empty(shape)
    wide = [change(a.astype(np.float64)) if isinstance(a, np.ndarray) else a for a in args]
    getattr(im2col, slot)(want, *wide)
    return want


@pytest.mark.parametrize("name", PROBLEMS)
@each_way
def test_exact_on_small_integers(way, name, insist):
    slot = insist(way)
    shape, args = _operands(slot, PROBLEMS[name], np.float32, integers=True)
    np.testing.assert_array_equal(_run(slot, shape, args), _reference(slot, shape, args))


@each_way
def test_random_numbers_stay_inside_the_bound(way, insist):
    """F1, with one rounding more for the reference's own."""
    slot = insist(way)
    for dtype, u in ((np.float32, 2.0**-24), (np.float64, 2.0**-53)):
        for name in ("3x3", "images joined", "4x4 of stride 2", "groups", "depthwise", "1-D"):
            shape, args = _operands(slot, PROBLEMS[name], dtype, integers=False, bias=False)
            terms = _reference(slot, shape, args, np.ones_like) + 1
            scale = _reference(slot, shape, args, np.abs)
            error = np.abs(_run(slot, shape, args) - _reference(slot, shape, args))
            assert (error <= 2 * terms * u / (1 - terms * u) * scale).all(), (dtype, name)


@each_way
def test_a_number_of_threads_repeats_bitwise(way, insist):
    """dgrad sums in one order whatever that number; wgrad in one order for each."""
    slot = insist(way)
    for name in ("3x3", "images joined", "groups", "4x4 of stride 2"):
        shape, args = _operands(slot, PROBLEMS[name], np.float32, integers=False)
        integers = _operands(slot, PROBLEMS[name], np.float32, integers=True)
        first = None
        for count in (1, 2, 5):
            with threads(count):
                results = [_run(slot, shape, args) for _ in range(2)]
                np.testing.assert_array_equal(_run(slot, *integers), _reference(slot, *integers))
            np.testing.assert_array_equal(*results)
            first = results[0] if first is None else first
            if slot == "dgrad":
                np.testing.assert_array_equal(first, results[0])


@pytest.mark.parametrize("which", [0, 1])
@each_way
def test_infinities_stay_where_they_belong(way, which, insist):
    """Padding is skipped: an infinity does not meet its zeros."""
    slot = insist(way)
    problem = (2, 3, 1, 6, 7), (4, 3, 1, 3, 3), (1, 6, 7), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1
    shape, args = _operands(slot, problem, np.float32, integers=True)
    args[which][0, 1, 0, 0, 0] = np.inf
    want = np.empty(shape, np.float32)
    with np.errstate(invalid="ignore"):
        getattr(naive, slot)(want, *args)
    np.testing.assert_array_equal(_run(slot, shape, args), want)
    assert not np.isfinite(want).all()
    assert np.isfinite(want).any()


def test_every_tap_is_in_one_phase():
    """And meets dy where the definition says: i = o*stride - padding + k*dilation."""
    for x_shape, w_shape, out, stride, padding, dilation, _ in PROBLEMS.values():
        y_shape = (x_shape[0], w_shape[0], *out)
        found = phases(x_shape, y_shape, w_shape, stride, padding, dilation)
        assert len(found.r) == np.prod(
            [min(s, n) for s, n in zip(stride, x_shape[2:], strict=True)]
        )
        for f, r in enumerate(found.r):
            mine = range(found.first[f], found.first[f + 1])
            met = set()
            for t in mine:
                k = np.unravel_index(found.tap[t], w_shape[2:])
                o = found.offset[t] + found.low
                assert (o * stride - padding + np.array(k) * dilation == r).all()
                met.add(found.tap[t])
            every = [
                (r[a] + padding[a] - np.arange(w_shape[2 + a]) * dilation[a]) % stride[a] == 0
                for a in range(3)
            ]
            assert len(met) == len(mine) == np.prod([e.sum() for e in every])
