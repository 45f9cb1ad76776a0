"""The cs231n example: the numbers that the page prints, exactly, on every backend, both ways."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import refconv.functional as F

GOLDEN = json.loads((Path(__file__).parent / "cs231n.json").read_text())
STEPS = {"stride": GOLDEN["stride"], "padding": GOLDEN["padding"]}
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32"]


def operands(dtype):
    """Input (with a batch axis), weight and bias as torch tensors."""
    return [
        torch.tensor(GOLDEN["input"]).to(dtype)[None],
        torch.tensor(GOLDEN["weight"]).to(dtype),
        torch.tensor(GOLDEN["bias"]).to(dtype),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_is_the_printed_output(backend, dtype):
    """Small integers are exact in every dtype."""
    y = F.conv2d(*operands(getattr(torch, dtype)), **STEPS, backend=backend)
    assert y.dtype == getattr(torch, dtype)
    assert y[0].tolist() == GOLDEN["output"]


def test_numpy_gives_the_same(backend):
    """NumPy arrays in, NumPy arrays out."""
    x, w, b = (t.numpy() for t in operands(torch.float32))
    y = F.conv2d(x, w, b, **STEPS, backend=backend)
    assert isinstance(y, np.ndarray)
    assert y[0].tolist() == GOLDEN["output"]


def test_unbatched_gives_the_same(backend):
    """The page's input has no batch axis."""
    x, w, b = operands(torch.float64)
    assert F.conv2d(x[0], w, b, **STEPS, backend=backend).tolist() == GOLDEN["output"]


def test_gradients_are_torchs(backend):
    """Input, weight and bias, for a gradient that differs in every element: exactly."""
    grads = []
    for conv, extra in ((F.conv2d, {"backend": backend}), (torch.nn.functional.conv2d, {})):
        leaves = [t.requires_grad_() for t in operands(torch.float64)]
        y = conv(*leaves, **STEPS, **extra)
        upstream = torch.arange(1.0, 1 + y.numel(), dtype=torch.float64).view_as(y)
        grads.append(torch.autograd.grad(y, leaves, upstream))
    for ours, theirs in zip(*grads, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.abs().sum() > 0


def test_gradients_in_float32_are_exact_too(backend):
    """All sums stay far below 2**24, so float32 has no room for error."""
    leaves = [t.requires_grad_() for t in operands(torch.float32)]
    exact = [t.requires_grad_() for t in operands(torch.float64)]
    F.conv2d(*leaves, **STEPS, backend=backend).sum().backward()
    torch.nn.functional.conv2d(*exact, **STEPS).sum().backward()
    for ours, theirs in zip(leaves, exact, strict=True):
        assert torch.equal(ours.grad.double(), theirs.grad)


def test_one_output_by_hand(backend):
    """y[0, 0, 0] = 4 + 1 + 1 + bias 1 = 7: the channel sums that the page adds up."""
    x, w, b = operands(torch.float64)
    sums = [
        F.conv2d(x[:, c : c + 1], w[:1, c : c + 1], **STEPS, backend=backend)[0, 0, 0, 0].item()
        for c in range(3)
    ]
    assert sums == [4, 1, 1]
    assert sum(sums) + b[0].item() == GOLDEN["output"][0][0][0] == 7


def test_a_wrong_tap_would_be_seen(backend):
    """The comparison can fail: the flipped kernel (true convolution) gives 4, not 7."""
    x, w, b = operands(torch.float64)
    y = F.conv2d(x, w.flip(2, 3), b, **STEPS, backend=backend)
    assert y[0, 0, 0, 0] == 4
    assert y[0].tolist() != GOLDEN["output"]
