"""The device that a run is about: a GPU, or, for a rehearsal, the CPU.

What only a GPU has is here, in two versions; all else of the run is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...backends import unavailable
from .. import timing
from .machine import Clocks

Call = Callable[[], Any]
#: Bytes that are written between two timed calls: at least, and at least four times the L2 cache.
FLUSH = 256 << 20


#: Of refconv's, those that run on a device of a kind.
BACKENDS = {"cuda": ("cupy", "numba-cuda"), "cpu": ("cuda-on-cpu",)}


class Cuda:
    """The first GPU, with the ``backends`` that can use it."""

    kind, rehearsal = "cuda", False
    #: Rounds of a timing, least and most; seconds that it may take.
    rounds, seconds = (7, 41), 0.3

    def __init__(self) -> None:
        l2 = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0)
        self._spill = torch.empty(max(FLUSH, 4 * l2) // 4, dtype=torch.int32, device="cuda")
        self._clocks = Clocks()
        self.backends = tuple(n for n in BACKENDS["cuda"] if unavailable(n) is None)
        torch.backends.cudnn.benchmark = True

    def cold(self) -> timing.Timer:
        """A clock of single calls, before each of which the L2 cache is filled with something
        else.
        """
        return Cold(self._spill)

    def warm(self) -> timing.Timer:
        """A clock of many calls in a row."""
        return timing.CudaTimer()

    def synchronize(self) -> None:
        """Wait; raises what a kernel has done."""
        torch.cuda.synchronize()

    def healthy(self) -> bool:
        """Whether the device still works in this process: some errors stay."""
        try:
            torch.cuda.synchronize()
            return bool((torch.ones(4, device="cuda") + 1).sum().item() == 8)
        except RuntimeError:
            return False

    def clocks(self) -> dict[str, str]:
        """The GPU's clocks now."""
        return self._clocks.read()

    def free(self) -> None:
        """Give back what is not used."""
        torch.cuda.empty_cache()


class Cold:
    """CUDA events around single calls; the cache is emptied before each, on the GPU, so that the
    call is queued by the time its turn comes.
    """

    name = "cuda_events, cold"

    def __init__(self, spill: torch.Tensor) -> None:
        self._spill = spill

    def time(self, call: Call, calls: int) -> float:
        """Nanoseconds per call."""
        total = 0.0
        for _ in range(calls):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._spill.zero_()
            self._spill.add_(1)  # twice: a call in Python takes about as long as one
            start.record()
            call()
            stop.record()
            torch.cuda.synchronize()
            total += start.elapsed_time(stop)
        return total * 1e6 / calls


class Rehearsal:
    """The CPU, with the emulator for a backend and a clock that does not measure."""

    kind, rehearsal = "cpu", True
    backends = BACKENDS["cpu"]
    rounds, seconds = (2, 2), 0.0

    def cold(self) -> timing.Timer:
        """Not a clock."""
        return Fake()

    def warm(self) -> timing.Timer:
        """Not a clock."""
        return Fake()

    def synchronize(self) -> None:
        """Nothing is queued."""

    def healthy(self) -> bool:
        """What fails here is an exception, no more."""
        return True

    def clocks(self) -> dict[str, str]:
        """There are none."""
        return {"error": "a rehearsal has no clocks"}

    def free(self) -> None:
        """Nothing is kept."""


class Fake:
    """Calls once, and says that it took a microsecond: what it gives cannot be taken for a time."""

    name = "fake"

    def time(self, call: Call, calls: int) -> float:
        """1000."""
        call()
        return 1000.0


Device = Cuda | Rehearsal


def of(kind: str) -> Device:
    """The device called ``cuda`` or ``cpu``."""
    return Cuda() if kind == "cuda" else Rehearsal()


def set_tf32(on: bool) -> None:
    """Let torch's convolutions and matrix products of float32 round to TF32, or not.

    Since 2.9 torch has two ways to say so, and refuses to read the old one after the new one.
    """
    conv: Any = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(conv, "fp32_precision"):
        conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "tf32" if on else "ieee"
    else:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = on
