"""The mistakes that are tried for an op, and the one that explains most of its failing calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import prod

from ...ops import OPS
from . import (
    replays_channels,
    replays_conv,
    replays_memory,
    replays_moves,
    replays_numbers,
    replays_pool,
    replays_precision,
)
from .patience import Patience
from .replays import Replay
from .scene import LARGE, Scene

#: A mistake that fits none of so many calls is not tried on the others.
FIRST = 4
#: A mistake that fits fewer of the calls than this share is not named.
SHARE = 0.3


def elected(scenes: Sequence[Scene], patience: Patience) -> tuple[Replay | None, int]:
    """The mistake that explains most calls, the plainest of those; and how many it explains.

    Args:
        patience: once it is spent no further mistake is tried.
    """
    known, first = mistakes(scenes[0].case.op), FIRST
    if all(max(map(prod, s.case.shapes)) > LARGE for s in scenes):
        known, first = tuple(sorted(known, key=lambda r: not r.counted)), FIRST // 2
    best, order, most, votes = None, len(known), 0.0, 0
    for at in sorted(range(len(known)), key=lambda i: not known[i].cheap):
        if patience.spent():
            break
        if most == len(scenes) and at > order:
            continue
        fits = [known[at].fit(s) for s in scenes[:first]]
        if any(fits):
            fits += [known[at].fit(s) for s in scenes[first:]]
        if sum(fits) > most + 1e-9 or (sum(fits) == most > 0 and at < order):
            best, order, most, votes = known[at], at, sum(fits), sum(f > 0 for f in fits)
    return (best, votes) if most >= SHARE * len(scenes) else (None, 0)


@cache
def mistakes(op: str) -> tuple[Replay, ...]:
    """All mistakes of an op, the plainest first."""
    return tuple(_mistakes(op))


def _mistakes(op: str) -> Iterator[Replay]:
    kind, rank = OPS[op].kind, OPS[op].rank or 2
    names: tuple[str, ...] = ("input",)
    if kind in ("conv", "conv_transpose"):
        names = ("input", "weight", "bias")
        yield from replays_memory.ways()
        yield from replays_channels.ways()
        yield from replays_numbers.replays(rank)
        yield from replays_conv.replays(rank, kind == "conv_transpose")
        yield from replays_channels.replays(rank)
    elif kind == "pad":
        yield from replays_moves.pad()
    elif kind == "max_unpool":
        names = ("input", "indices")
        yield from replays_moves.unpool()
    elif kind in ("unfold", "fold"):
        yield from replays_numbers.replays(rank)
        yield from replays_moves.columns(kind)
    else:
        yield from replays_pool.replays(kind)
        if not kind.startswith("adaptive"):
            yield from replays_numbers.replays(rank)
    yield from replays_precision.replays(names)
    yield from replays_memory.replays(rank, names)
