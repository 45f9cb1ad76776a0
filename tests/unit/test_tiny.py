"""The serial path for tiny problems: right on its own, and quick enough to be worth it."""

import time

import numpy as np
import pytest
import torch

import refconv as rc
import refconv.functional as F
from refconv import label
from refconv.kernels.naive import conv as naive
from refconv.kernels.numba_cpu import tiny

STEPS = [
    ((1, 2, 1), (0, 1, 1), (1, 1, 1), 1),
    ((2, 1, 3), (1, 0, 2), (1, 2, 1), 1),
    ((1, 1, 1), (0, -1, 3), (1, 1, 2), 2),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outs", [2, 4, 14])
def test_both_passes(dtype, steps, bias, outs):
    """On small integers, exactly what the naive loops give: every remainder of 4 channels."""
    random = np.random.default_rng(0)

    def array(*shape):
        return random.integers(-4, 5, shape).astype(dtype)

    x, w = array(2, 4, 3, 6, 19), array(outs, 4 // steps[3], 2, 3, 3)
    y = np.empty((2, outs, 2, 4, 17), dtype)
    b, empty = array(outs), np.empty(0, dtype)
    want = y.copy()
    naive.fprop(want, x, w, b if bias else empty, *steps)
    tiny.fprop(y, x, w, b if bias else empty, *steps)
    assert np.array_equal(y, want)
    dx, want = np.empty_like(x), np.empty_like(x)
    b = array(4)
    naive.dgrad(want, y, w, b if bias else empty, *steps)
    tiny.dgrad(dx, y, w, b if bias else empty, *steps)
    assert np.array_equal(dx, want)


def test_addresses_give_what_arrays_give():
    """The plan's call on addresses and the contract's on arrays."""
    x, w, b = (np.random.default_rng(0).standard_normal(s) for s in
               ((1, 3, 1, 5, 5), (2, 3, 1, 3, 3), (2,)))  # fmt: skip
    y, z = np.empty((1, 2, 1, 3, 3)), np.empty((1, 2, 1, 3, 3))
    tiny.fprop(y, x, w, b, *STEPS[0])
    run, rest = tiny.fprop_shortcut(y.dtype, y.shape, x.shape, w.shape, b.shape, *STEPS[0])
    run(*(a.ctypes.data for a in (z, x, w, b)), *rest)
    assert np.array_equal(y, z)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d x[1,3,5,5] w[2,3,3,3] int64", "sums real numbers, not int64"),
        ("conv2d x[8,64,56,56] w[64,64,3,3] p1", "are more than 524288"),
        ("conv2d x[1,1,65536,65536] w[1,1,1,1] s50000", "does not fit its table"),
    ],
)
def test_what_it_leaves_to_others(text, reason):
    rows = {r.name: r for r in rc.algorithms(text).rows}
    assert reason in rows["numba:tiny"].reason
    assert label.parse(text).forward_slot == "conv_fprop"


def test_a_call_is_quick():
    """cs231n's example, argument checks included, costs less than torch's own call.

    CPU time of this thread, the best of several rounds, the two in turn. The promise is 0.4 on a
    quiet machine with two threads; this only notices when plans stop working (then it is 15).
    """
    x, w, b = torch.randn(1, 3, 5, 5), torch.randn(2, 3, 3, 3), torch.randn(2)

    def seconds(function):
        start = time.thread_time()
        for _ in range(300):
            function(x, w, b, 2, 1)
        return time.thread_time() - start

    both = F.conv2d, torch.nn.functional.conv2d
    rounds = [[seconds(function) for function in both] for _ in range(7)]
    ours, theirs = (min(r[i] for r in rounds) for i in range(2))
    assert ours < theirs
