"""Where work is queued: the device of an array, and the stream that is current in its library."""

from __future__ import annotations

import sys
from typing import Any


def where(like: Any) -> tuple[int, int]:
    """The number of the device of a CuPy array or torch tensor, and its current stream."""
    cupy, torch = sys.modules.get("cupy"), sys.modules.get("torch")
    if torch is not None and isinstance(like, torch.Tensor):
        return like.device.index, torch.cuda.current_stream(like.device).cuda_stream
    assert cupy is not None
    return like.device.id, cupy.cuda.get_current_stream().ptr
