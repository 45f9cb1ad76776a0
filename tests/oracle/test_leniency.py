"""What torch is excused for in 16 bits, and what not."""

from __future__ import annotations

import pytest
import torch

from refconv import label
from refconv.oracle import leniency, reference


def expected(dtype):
    problem = label.read(f"conv2d x[3,2,33,33] w[4,2,5,5] s2 {dtype}")
    made = torch.Generator().manual_seed(1)
    kind = getattr(torch, dtype)
    x, w, dy = (torch.randn(s, generator=made).to(kind)
                for s in ((3, 2, 33, 33), (4, 2, 5, 5), (3, 4, 15, 15)))  # fmt: skip
    found = reference.backward(problem, {"input": x, "weight": w}, dy)
    return next(e for e in found if e.name == "grad_weight"), x, dy


def by_image(x, dy, kind):
    """Each image's gradient rounded, and the sum so far after each addition."""
    total = torch.zeros(4, 2, 5, 5, dtype=kind)
    for one, back in zip(x, dy, strict=True):
        part = torch.nn.grad.conv2d_weight(
            one[None].double(), (4, 2, 5, 5), back[None].double(), stride=2
        )
        total = total + part.to(kind)
    return total


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sums_rounded_after_each_image_are_excused_and_one_wrong_element_is_not(dtype):
    e, x, dy = expected(dtype)
    got = by_image(x, dy, getattr(torch, dtype))
    verdict, _, words = leniency.excuse(got, e, "wrong")
    assert verdict.level == "consistent"
    assert "image by image" in words
    wrong = got.clone()
    wrong[1, 1, 2, 2] += float(e.law.scale.max()) / 2
    found = leniency.excuse(wrong, e, "wrong")
    assert found is None or found[0].level == "wrong"
