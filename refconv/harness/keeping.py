"""The timed call's own result: kept, so that it can be judged, and poisoned before, so that an
element that a call forgets cannot hold the last call's right answer.

A freed result is what the next call of that size is given by the allocator. So before a candidate's
turn both blocks that its calls will alternate between are filled with NaN and freed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import guard

Call = Callable[[], Any]


class Keeper:
    """A clock that keeps the last result of every call it timed.

    Args:
        now: nanoseconds.
    """

    def __init__(self, name: str, now: Callable[[], int]) -> None:
        self.name, self._now = name, now
        self._kept: dict[int, Any] = {}

    def time(self, call: Call, calls: int) -> float:
        """Nanoseconds per call."""
        now = self._now
        start = now()
        for _ in range(calls):
            result = call()
        spent = now() - start
        self._kept[id(call)] = result
        return spent / calls

    def last(self, call: Call) -> Any:
        """What the last timed launch of ``call`` returned."""
        return self._kept[id(call)]

    def poison(self, call: Call) -> None:
        """Call once, untimed, and leave nothing but NaN in the memory of results."""
        kept = self._kept.pop(id(call), None)
        spoil(kept)
        spoil(call())  # while ``kept`` is held, so this is another block


def spoil(result: Any) -> None:
    """Fill the arrays of a result with NaN (integers: with what no honest result holds).

    By one thread: torch's own ``fill_`` would wake its workers just before the other side's turn.
    Results that cannot be written to, JAX's, stay as they are.
    """
    for part in result if isinstance(result, tuple | list) else (result,):
        if isinstance(part, torch.Tensor):
            part = _writable(part.detach())
        if isinstance(part, np.ndarray) and part.flags.writeable:
            part.fill(guard.poison(part.dtype))


def _writable(t: torch.Tensor) -> np.ndarray | None:
    """The tensor's memory as an array, of bfloat16 as integers: NumPy has no such type."""
    if t.device.type != "cpu":
        return None
    if t.dtype == torch.bfloat16:
        return t.view(torch.uint16).numpy()  # poison of uint16 is 0xFFFE: a NaN
    return t.numpy()
