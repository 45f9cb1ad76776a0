"""Memory, windows and roundings: what several planted faults read wrongly."""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call


def as_dense(t: Tensor) -> Tensor:
    """The elements from ``t``'s data pointer on, as if ``t`` were contiguous; zeros where its
    memory ends.
    """
    room = t.untyped_storage().nbytes() // t.element_size() - t.storage_offset()
    flat = torch.as_strided(t.detach(), (min(room, t.numel()),), (1,))
    return torch.cat([flat, flat.new_zeros(t.numel() - flat.numel())]).view(t.shape)


def unwritten(y: Tensor) -> Tensor:
    """What memory may hold that nobody wrote, in ``y``'s dtype and shape."""
    if y.is_floating_point() or y.is_complex():
        return torch.full_like(y, float("nan"))
    return torch.full_like(y, torch.iinfo(y.dtype).max)


def taps(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """For every window of pooling, in order, its taps: where each lies in the flattened input,
    whether it lies inside it, and whether inside the padded input.
    """
    size, out = call.x.shape[2:], call.y.shape[2:]
    index = torch.zeros(1, 1, dtype=torch.long)
    inside = padded = torch.ones(1, 1, dtype=torch.bool)
    for a in range(call.rank):
        start = torch.arange(out[a]) * call.s[a] - call.p[a][0]
        at = start[:, None] + torch.arange(call.k[a]) * call.d[a]
        index, inside, padded = (
            join(left[:, None, :, None], right[None, :, None, :]).flatten(2).flatten(0, 1)
            for left, right, join in (
                (index * size[a], at, torch.add),
                (inside, (at >= 0) & (at < size[a]), torch.logical_and),
                (padded, at < size[a] + call.p[a][1], torch.logical_and),
            )
        )
    return index, inside, padded


def gathered(call: Call, index: Tensor, inside: Tensor, outside: float) -> Tensor:
    """The windows' elements, ``(batch, channels, windows, taps)``; ``outside`` where none is."""
    index = index.clamp(0, max(call.x[0, 0].numel() - 1, 0))
    values = call.x.flatten(2)[..., index]
    return values.masked_fill(~inside, outside) if not inside.all() else values


def divisors(call: Call) -> Tensor:
    """What each window of average pooling divides by, in the output's spatial shape."""
    _, inside, padded = taps(call)
    counts = (padded if call.given["count_include_pad"] else inside).sum(1)
    override = call.given.get("divisor_override")
    counts = counts if override is None else torch.full_like(counts, override)
    return counts.view(call.y.shape[2:])


def rounded_to(x: Tensor, bits: int) -> Tensor:
    """float32 with a significand of ``bits`` bits, to nearest even; what is not finite stays."""
    if x.dtype != torch.float32:
        return x
    drop = 24 - bits
    raw = x.detach().contiguous().view(torch.int32)
    even = (raw >> drop) & 1
    near = (raw + ((1 << (drop - 1)) - 1) + even) & ~((1 << drop) - 1)
    return torch.where(x.isfinite(), near.view(torch.float32), x.detach())


def wrapped(x: Tensor, limit: int) -> Tensor:
    """``x`` read with a linear index that starts again at 0 after ``limit`` elements."""
    at = torch.arange(x.numel()) % limit
    return x.flatten()[at].view(x.shape)


def unordered(x: Tensor, generator: torch.Generator, parts: int, axes: tuple[int, ...]) -> list:
    """``x`` as a sum of ``parts`` arrays in a random order, cut at random along ``axes``."""
    shape = [n if a in axes else 1 for a, n in enumerate(x.shape)]
    label = torch.randint(parts, shape, generator=generator)
    return [x * (label == part) for part in torch.randperm(parts, generator=generator)]


# Not torch's own generator: a planted function must not change the numbers its caller draws.
CHANCE = torch.Generator()
CHANCE.seed()
