"""Checked runs find what they promise to find; each fault is planted once."""

import numpy as np
import pytest

import refconv.functional as F
from refconv import backends, guard
from refconv.kernels.im2col import conv as im2col_conv

X, W = np.ones((1, 2, 5, 6)), np.ones((3, 2, 3, 3))


def plant(monkeypatch, fault):
    """Let im2col's fprop be followed by ``fault(y, x)``."""
    right = im2col_conv.fprop

    def wrong(y, x, *rest, **limits):
        right(y, x, *rest, **limits)
        fault(y, x)

    monkeypatch.setattr(im2col_conv, "fprop", wrong)


def run():
    """One checked convolution."""
    with guard.checked():
        return F.conv2d(X, W, backend="im2col")


def test_an_honest_kernel_passes():
    """Poison and bands leave a right result alone."""
    assert run()[0, 0, 0, 0] == 18


@pytest.mark.parametrize("at", [-1, "size"])
def test_a_write_outside_is_found(monkeypatch, at):
    """One element before the output, or behind it."""

    def fault(y, x):
        offset = y.size if at == "size" else at
        np.lib.stride_tricks.as_strided(y, (y.size + 1,), (y.itemsize,))  # keeps y's base alive
        base = y.base if y.base.ndim == 1 else y.base.base
        start = (
            y.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        ) // y.itemsize
        base[start + offset] = 1.0

    plant(monkeypatch, fault)
    with pytest.raises(guard.GuardError, match="wrote"):
        run()


def test_a_changed_input_is_found(monkeypatch):
    """Kernels leave their inputs as they are."""

    def fault(y, x):
        x[0, 0, 0, 0, 0] = 7.0

    plant(monkeypatch, fault)
    try:
        with pytest.raises(guard.GuardError, match="changed its input 0"):
            run()
    finally:
        X[...] = 1


def test_an_unwritten_element_is_poison(monkeypatch):
    """What a kernel forgets stays NaN."""
    original = im2col_conv.fprop

    def forgetful(y, x, *rest, **limits):
        whole = np.empty_like(y)
        original(whole, x, *rest, **limits)
        y[..., :-1] = whole[..., :-1]

    monkeypatch.setattr(im2col_conv, "fprop", forgetful)
    y = run()
    assert np.isnan(y[..., -1]).all()
    assert not np.isnan(y[..., :-1]).any()


def test_integer_poison_is_unlikely():
    """Integers have no NaN; their poison is at the end of the range."""
    assert guard.poison(np.dtype("int8")) == -127
    assert guard.poison(np.dtype("uint8")) == 254


def test_nothing_is_guarded_outside(monkeypatch):
    """Without ``checked()`` a call allocates just its output."""
    seen = {}

    def fault(y, x):
        seen["base"] = y.base

    plant(monkeypatch, fault)
    F.conv2d(X, W, backend="im2col")
    assert seen["base"] is None
    assert backends.unavailable("im2col") is None
