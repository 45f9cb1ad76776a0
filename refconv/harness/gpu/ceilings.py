"""What the GPU can do right now: the rates that a kernel's are shares of.

A large copy, and large matrix products through torch, on random numbers: on zeros they can run
faster than on any real data. Rates are of the median of a few rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .device import Device, set_tf32

#: Bytes of the array that is copied, and the side of the matrices; of a rehearsal.
BYTES, SIDE = 4 << 30, 8192
TINY = (1 << 12, 16)
#: Name → dtype, and whether TF32 is on.
PRODUCTS = {
    "fp32": ("float32", False),
    "tf32": ("float32", True),
    "bf16": ("bfloat16", False),
    "fp16": ("float16", False),
    "fp64": ("float64", False),
}
ROUNDS = 10


def measure(device: Device, progress: Callable[[str], None]) -> dict[str, Any]:
    """``copy``, in bytes read and written per second, and operations per second of each product;
    with the clocks before and behind.
    """
    size, side = TINY if device.rehearsal else (BYTES, SIDE)
    found: dict[str, Any] = {"status": "ok", "clocks": [device.clocks()]}
    source = torch.randn(size // 4, device=device.kind)
    target = torch.empty_like(source)
    progress("copy")
    found["copy"] = 2 * size / _seconds(partial(target.copy_, source), device)
    del source, target
    for name, (dtype, tf32) in PRODUCTS.items():
        progress(name)
        set_tf32(tf32)
        few = side // 2 if name == "fp64" else side
        a, b = (torch.randn(few, few, device=device.kind).to(getattr(torch, dtype)) for _ in "ab")
        found[name] = 2 * few**3 / _seconds(partial(torch.mm, a, b), device)
    found["clocks"].append(device.clocks())
    device.free()
    return found


def _seconds(call: Callable[[], Any], device: Device) -> float:
    """The median of a few calls, after two."""
    clock = device.warm()
    clock.time(call, 2)
    return statistics.median(clock.time(call, 1) for _ in range(ROUNDS)) / 1e9
