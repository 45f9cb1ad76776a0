"""Where work is queued: the device of an array, and the stream that is current in its library."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


def where(like: Any) -> tuple[int, int]:
    """The number of the device of a CuPy array or torch tensor, and its current stream."""
    cupy, torch = sys.modules.get("cupy"), sys.modules.get("torch")
    if torch is not None and isinstance(like, torch.Tensor):
        return like.device.index, torch.cuda.current_stream(like.device).cuda_stream
    assert cupy is not None
    return like.device.id, cupy.cuda.get_current_stream().ptr


def multiprocessors(like: Any) -> int:
    """How many the device of a CuPy array or torch tensor has."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(like, torch.Tensor):
        return _of_torch(like.device.index)
    return _of_cupy(like.device.id)


@cache
def _of_torch(device: int) -> int:
    return sys.modules["torch"].cuda.get_device_properties(device).multi_processor_count


@cache
def _of_cupy(device: int) -> int:
    runtime = sys.modules["cupy"].cuda.runtime
    return runtime.deviceGetAttribute(runtime.cudaDevAttrMultiProcessorCount, device)
