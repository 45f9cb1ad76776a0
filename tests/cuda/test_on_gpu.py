"""On a GPU: what ``refconv gpu`` verifies, as tests. The usual dtypes in both layouts."""

from __future__ import annotations

import pytest

from refconv.backends import unavailable
from refconv.harness.gpu import device, verify

ITEMS = [
    item
    for item in verify.items(("cupy", "numba-cuda"))
    if item["layout"] != "view" and item["dtype"] in ("float32", "bfloat16")
]


@pytest.mark.gpu
@pytest.mark.parametrize("item", ITEMS, ids=[item["key"] for item in ITEMS])
def test_a_step_is_right_on_the_gpu(item) -> None:
    reason = None if item["backend"] == "torch" else unavailable(item["backend"])
    assert reason is None
    record = verify.verify(item, device.of("cuda"), lambda where: None)
    assert record["status"] in ("ok", "unsupported"), record
