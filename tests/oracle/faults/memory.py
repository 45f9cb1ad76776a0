"""Memory that is not the function's own: overrun, reused, or written by mistake."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .probes import case, fenced
from .row import plant

CONVS = "conv1d conv2d conv3d"
BLOCK = 16


def behind(t: Tensor, count: int) -> Tensor | None:
    """Up to ``count`` elements of the memory behind the last one of ``t``; None where it ends.

    Not seen by autograd's version counter, as writes of a kernel are not.
    """
    if not t.numel() or min(t.stride(), default=0) < 0:
        return None
    last = sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))
    first = t.storage_offset() + last + 1
    room = t.untyped_storage().nbytes() // t.element_size() - first
    if room <= 0:
        return None
    return torch.as_strided(t.data, (min(count, room),), (1,), first)


@plant(
    "R03",
    CONVS,
    "fewer than 16 input channels are packed as 16: the cells behind the input are overwritten",
    "memory, overrun, guard, outside, fence, corrupt, wrote, written",
    case(fenced, x=(2, 4, 3, 4, 5), w=(6, 4, 2, 2, 3), dtype=torch.float32),
)
def packing_overruns_the_input(call: Call) -> Any:
    missing = -call.x.shape[1] % BLOCK
    tail = behind(call.x, missing) if call.x.shape[1] < BLOCK else None
    if tail is not None:
        tail.zero_()
    return call.right
