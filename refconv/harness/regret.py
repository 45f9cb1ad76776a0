"""Was the cost model right: what the chosen algorithm costs beside the fastest that was allowed.

All algorithms of a layer took their turns in the same rounds, so they are compared round by round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from .records import Bench

#: A choice that costs less than this is right: two algorithms may be equally good.
RIGHT = 1.02


@dataclass(frozen=True)
class Regret:
    """One layer at one accuracy.

    Args:
        layer: its name and, if that is not fprop, the pass.
        times: the chosen algorithm's time over the fastest one's, 1 where the choice was right.
    """

    layer: str
    accuracy: str
    chosen: str
    fastest: str
    times: float


def regrets(
    groups: Iterable[tuple[str, list[Bench]]], accuracy: str
) -> tuple[list[Regret], list[str]]:
    """The regret of every layer, largest first; and the layers that noise hides.

    Args:
        groups: a layer's name, and the rows that were timed together.
    """
    found: list[Regret] = []
    hidden: list[str] = []
    for layer, rows in groups:
        mine = next((r for r in rows if accuracy in r.chosen and r.timing), None)
        if mine is None or mine.timing is None:
            continue
        if mine.timing.busy:
            hidden.append(layer)
            continue
        allowed = [r for r in rows if r.timing and r.accuracy in ("strict", accuracy)]
        costs = {r.algorithm: _beside(mine, r) for r in allowed}
        fastest = max(costs, key=lambda name: costs[name])
        found.append(Regret(layer, accuracy, mine.algorithm, fastest, costs[fastest]))
    return sorted(found, key=lambda r: -r.times), hidden


def _beside(mine: Bench, other: Bench) -> float:
    """The chosen algorithm's time over another's: the median of undisturbed rounds."""
    a, b = mine.timing, other.timing
    assert a is not None
    assert b is not None
    pairs = zip(a.samples_ns, b.samples_ns, a.clean, strict=True)
    return statistics.median(x / y for x, y, clean in pairs if clean)
