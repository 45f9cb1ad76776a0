"""Derivatives are computed by our own kernels: torch's never run, and the plain loops suffice."""

import pytest
import torch
from torch.autograd import gradcheck

from .test_autograd import CASES, function, leaves

#: aten's names for what refconv computes itself.
TORCHS = (
    "aten::convolution",
    "aten::mkldnn",
    "aten::slow_conv",
    "aten::max_pool",
    "aten::avg_pool",
    "aten::_adaptive",
    "aten::im2col",
    "aten::col2im",
    "aten::reflection_pad",
    "aten::replication_pad",
)


def called(run):
    """Names of the operators that ran while ``run`` did."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("name", CASES)
def test_torchs_kernels_never_run(name):
    """Forward and backward of every op, watched by the profiler."""

    def run():
        function(name, "im2col")(*leaves(name)).sum().backward()

    names = called(run)
    assert not [n for n in names if n.startswith(TORCHS)]
    assert any(n.startswith("refconv::") for n in names)


def test_the_profiler_would_see_torchs():
    """The check can fail."""
    x, w = leaves("conv2d same")
    names = called(lambda: torch.nn.functional.conv2d(x, w).sum().backward())
    assert [n for n in names if n.startswith(TORCHS)]


@pytest.mark.parametrize("name", ["conv2d same", "conv_transpose3d", "max_pool1d", "avg_pool1d"])
def test_naive_derivatives(name):
    """The loops differentiate as well; a few of them, for they are slow."""
    assert gradcheck(function(name, "naive"), leaves(name))
