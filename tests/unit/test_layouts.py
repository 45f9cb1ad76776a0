"""Memory formats where the strides of a single cell could be read either way."""

import pytest
import torch

import refconv.functional as F


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_unbatched_single_cell(rank, device):
    """One cell with its channels last, padded: torch keeps that in 2-D, and not in 3-D."""
    name, cell = f"conv{rank}d", (1,) * rank
    x, w = torch.randn(*cell, 3).movedim(-1, 0), torch.randn(2, 3, *cell)
    want = getattr(torch.nn.functional, name)(x, w, padding=1)
    got = getattr(F, name)(x.to(device), w.to(device), padding=1)
    assert (got.shape, got.stride()) == (want.shape, want.stride())
