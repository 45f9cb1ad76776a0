"""The emulator gives back what a launch takes: each kernel's library has a runtime of its own, and
a process may have some 65,000 mappings in all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import refconv.functional as F
from refconv.backends import unavailable


@pytest.mark.skipif(sys.platform != "linux", reason="mappings are counted in /proc")
def test_a_launch_leaves_no_mappings() -> None:
    reason = unavailable("cuda-on-cpu")
    if reason:
        pytest.skip(reason)
    x, w = torch.randn(1, 2, 9, 9), torch.randn(3, 2, 3, 3)
    F.conv2d(x, w, backend="cuda-on-cpu:direct")
    before = _mappings()
    F.conv2d(x, w, backend="cuda-on-cpu:shared")
    assert _mappings() < before + 64  # the library's own, not two for each of 256 threads


def _mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())
