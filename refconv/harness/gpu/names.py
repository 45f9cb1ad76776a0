"""Which kernels torch ran: their names, from its profiler. cuDNN does not say otherwise which
algorithm it chose.
"""

from __future__ import annotations

from typing import Any

import torch

from . import racing
from .device import Device


def names(item: dict[str, Any], device: Device) -> dict[str, Any]:
    """Kernel name → microseconds, for torch's call of a row in the layout that was faster there.

    In the process that timed the row, the choice that cuDNN's benchmark made is still in effect.
    """
    call = racing.torch_call(item["row"], item["layout"], device)
    call()
    device.synchronize()
    activity = torch.profiler.ProfilerActivity
    what = activity.CPU if device.rehearsal else activity.CUDA
    with torch.profiler.profile(activities=[what]) as profiler:
        call()
        device.synchronize()
    found: dict[str, float] = {}
    for event in profiler.events():
        if device.rehearsal or "cuda" in str(event.device_type).lower():
            found[event.name] = found.get(event.name, 0.0) + event.time_range.elapsed_us()
    return {"status": "ok", "kernels": found}
