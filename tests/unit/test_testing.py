"""refconv.testing and the pytest plugin: what fails, what is said, what a test's report shows."""

from __future__ import annotations

from importlib.metadata import entry_points

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refconv import testing

pytest_plugins = ["pytester"]


def arrays(seed: int = 0, **like):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 6, 9, 8, generator=g, **like)
    return x, torch.randn(4, 3, 3, 2, generator=g, **like), torch.randn(4, generator=g, **like)


NUMBERS = {"stride": (2, 1), "padding": 1, "groups": 2}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_right_result_passes(dtype):
    x, w, b = (t.to(dtype) for t in arrays())
    testing.assert_conv_close(F.conv2d(x, w, b, **NUMBERS), x, w, b, **NUMBERS)


def test_numpy_and_transposed():
    x, w = (t.numpy() for t in arrays()[:2])
    y = F.conv_transpose2d(torch.tensor(x), torch.tensor(w[:, :, :2].repeat(2, 0)[:6]), stride=2)
    testing.assert_conv_close(
        y.numpy(), x, w[:, :, :2].repeat(2, 0)[:6], stride=2, op="conv_transpose2d"
    )


def spoil(y):
    y = y.clone()
    y[1, 3, 2, 4] *= 1 + 2**-12
    return y


WRONG = {
    "value": (spoil, "1 of .* wrong; at \\[1,3,2,4\\]"),
    "nan": (lambda y: y.masked_fill(y == y.max(), torch.nan), "1 of .* wrong"),
    "shape": (lambda y: y[..., :-1], "differs at W"),
    "dtype": (lambda y: y.double(), "dtype"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_fails_and_says_where(name):
    change, text = WRONG[name]
    x, w, b = arrays()
    with pytest.raises(testing.ConvMismatchError, match=text) as caught:
        testing.assert_conv_close(change(F.conv2d(x, w, b, **NUMBERS)), x, w, b, **NUMBERS)
    assert "input: [2, 6, 9, 8] float32" in caught.value.repro


def test_the_repro_gives_the_exact_cell():
    x, w, b = arrays()
    with pytest.raises(testing.ConvMismatchError) as caught:
        testing.assert_conv_close(spoil(F.conv2d(x, w, b, **NUMBERS)), x, w, b, **NUMBERS)
    line = next(t for t in caught.value.repro.splitlines() if t.startswith("want = "))
    seen = {"torch": torch, "input": x, "weight": w, "bias": b}
    exec(line, seen)
    exact = F.conv2d(x.double(), w.double(), b.double(), **NUMBERS)[1, 3, 2, 4]
    assert seen["want"] == exact


def test_gradients_are_judged_one_by_one():
    x, w, _ = (t.requires_grad_() for t in arrays())
    y = F.conv2d(x, w, **NUMBERS)
    dy = torch.randn_like(y)
    gx, gw = torch.autograd.grad(y, [x, w], dy)
    found = {"output": y, "grad_input": gx, "grad_weight": gw}
    testing.assert_conv_close(found, x, w, grad=dy, **NUMBERS)
    found["grad_weight"] = gw * np.float32(1.001)
    with pytest.raises(testing.ConvMismatchError, match=r"^grad_weight of conv2d"):
        testing.assert_conv_close(found, x, w, grad=dy, **NUMBERS)
    with pytest.raises(TypeError, match="grad_input cannot be judged"):
        testing.assert_conv_close({"grad_input": gx}, x, w, **NUMBERS)


def test_declared_precision_widens_the_bound():
    x, w, _ = arrays()
    rounded = [(t.view(torch.int32) & ~0x1FFF).view(torch.float32) for t in (x, w)]
    y = F.conv2d(*rounded, **NUMBERS)
    testing.assert_conv_close(y, x, w, **NUMBERS, precision="tf32")
    with pytest.raises(testing.ConvMismatchError):
        testing.assert_conv_close(y, x, w, **NUMBERS)


def test_the_plugin_shows_the_repro_and_its_fixture_judges(pytester):
    pytester.makepyfile(
        """
        import torch
        import torch.nn.functional as F

        def wrong(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
            return F.conv1d(input, weight, bias, stride, padding, 1, groups)

        def test_wrong(refconv_check):
            refconv_check(wrong, "conv1d", dtypes=("float32",), drawn=0, stop=5)

        def test_right(refconv_check):
            assert refconv_check(F.unfold, "unfold", dtypes=("float32",), drawn=0).ran > 50
        """
    )
    installed = [entry.value for entry in entry_points(group="pytest11")]
    load = [] if "refconv.pytest_plugin" in installed else ["-p", "refconv.pytest_plugin"]
    result = pytester.runpytest_inprocess(*load, "-p", "no:xdist", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*refconv_repro*", "*torch*", "*dilation*"])
