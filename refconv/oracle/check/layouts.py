"""Memory layouts of test arrays, and buffers that tell whether anything was written around one.

A fault in an index often hides while memory is dense: every array is also tried sliced, permuted,
expanded, with odd strides on axes of size one, and away from the start of its storage.
"""

from __future__ import annotations

import torch

LAYOUTS = (
    "contiguous", "channels_last", "permuted", "sliced", "expanded", "odd_strides", "offset",
)  # fmt: skip
#: Cells on either side of a guarded array.
BAND = 64
#: What stands in the cells that belong to no array.
FOREIGN = 99


def lay_out(t: torch.Tensor, layout: str) -> torch.Tensor:
    """``t`` with other strides (``expanded`` repeats its first element along one axis)."""
    if layout == "channels_last" and t.dim() > 2:
        return t.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "permuted":
        order = tuple(reversed(range(t.dim())))
        return t.permute(order).contiguous().permute(order)
    if layout == "sliced" and t.dim():
        big = torch.full((*(s + 1 for s in t.shape[:-1]), 2 * t.shape[-1] + 1), FOREIGN).to(t.dtype)
        view = big[(*(slice(1, None),) * (t.dim() - 1), slice(1, None, 2))]
        return view.copy_(t)
    if layout == "expanded" and t.dim() and 0 not in t.shape:
        axis = t.dim() // 2
        return t.narrow(axis, 0, 1).expand(t.shape)
    if layout == "odd_strides":
        t = t.contiguous()
        odd = [7 if n == 1 else s for n, s in zip(t.shape, t.stride(), strict=True)]
        return t.as_strided(t.shape, odd)
    if layout == "offset":
        flat = torch.full((t.numel() + 3,), FOREIGN).to(t.dtype)
        return flat[3:].view(t.shape).copy_(t)
    return t.contiguous()


class Guarded:
    """A copy of a tensor, strides kept, between bands that nobody may write to.

    Args:
        device: where the copy lives.
    """

    def __init__(self, t: torch.Tensor, device: str = "cpu") -> None:
        reach = [(n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True) if n > 0]
        span = sum(reach) + 1 if t.numel() else 0
        self._buffer = torch.full((span + 2 * BAND,), FOREIGN, device=device).to(t.dtype)
        self.tensor = self._buffer.as_strided(t.shape, t.stride(), BAND)
        # An expanded axis is one cell: written once.
        once = [slice(0, 1) if s == 0 else slice(None) for s in t.stride()]
        if t.numel():
            self.tensor[tuple(once)] = t[tuple(once)].to(device)
        self._before = self._bytes()

    def _bytes(self) -> torch.Tensor:
        return self._buffer.view(torch.uint8).clone()

    def damage(self) -> str:
        """What was changed: ``an input``, ``memory beside an input``, or nothing."""
        changed = (self._before != self._bytes()).view(len(self._buffer), -1).any(dim=1)
        if not bool(changed.any()):
            return ""
        inside = torch.zeros_like(changed)
        inside.as_strided(self.tensor.shape, self.tensor.stride(), BAND).fill_(True)
        return "an input" if bool((changed & inside).any()) else "memory beside an input"
