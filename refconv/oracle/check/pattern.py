"""What all failing calls have in common and the passing ones have not, with counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

from .attributes import attributes
from .case import Case

#: Any of the clauses that were tried may hold in all failing calls by chance: at most so often.
CHANCE = 0.05
#: A clause that holds in more than this share of the passing calls says nothing.
COMMON = 0.5


@dataclass(frozen=True)
class Clause:
    """A statement that holds in every failing call.

    Args:
        passing: the passing calls in which it holds too.
        rank: how plain it is, 0 the plainest.
        weight: how much rarer it has to be than a plain statement.
        about: the count that it is about, or its text.
    """

    text: str
    passing: frozenset[int]
    rank: int
    weight: float = 1.0
    about: str = ""


def pattern(failing: Sequence[Case], passing: Sequence[Case]) -> str:
    """One line, or nothing: at most two clauses, with how often they hold.

    Two failing calls are the least that can have a pattern.
    """
    if len(failing) < 2 or not passing:
        return ""
    bad, good = [attributes(c) for c in failing], [attributes(c) for c in passing]
    clauses = _statements([b[0] for b in bad], [g[0] for g in good])
    clauses += _thresholds([b[1] for b in bad], [g[1] for g in good])
    count, total = len(failing), len(passing)
    chosen: tuple[Clause, ...] = ()
    shared = frozenset(range(total))
    by_two = [(c,) for c in clauses] + list(combinations(clauses, 2))
    best = None
    for group in by_two:
        left = frozenset.intersection(*(c.passing for c in group))
        if len(group) == 2 and min(len(c.passing) for c in group) == len(left):
            continue  # the other clause adds nothing
        if len({c.about for c in group}) < len(group):
            continue
        # A second clause must earn its place: it halves what is left, and removes several.
        cost = (len(left) + 2) * (2.0 if len(group) == 2 else 1.0)
        cost *= prod(c.weight for c in group)
        key = (cost, len(group), sum(c.rank for c in group))
        if best is None or key < best:
            best, chosen, shared = key, group, left
    likely = ((len(shared) + 1) / (total + 2)) ** count
    tried = sum(len(group) == len(chosen) for group in by_two)
    if not chosen or likely * tried > CHANCE or len(shared) > COMMON * total:
        return ""
    text = " and ".join(c.text for c in chosen)
    held = f"in none of {total:,}" if not shared else f"in {len(shared):,} of {total:,}"
    return f"{text}, in {count:,} of {count:,} failing calls and {held} that pass"


def _statements(failing: list[list[str]], passing: list[list[str]]) -> list[Clause]:
    said = [dict.fromkeys(f) for f in failing]
    shared = [t for t in said[0] if all(t in s for s in said[1:])]
    others = [frozenset(p) for p in passing]
    return [
        Clause(
            text,
            frozenset(i for i, o in enumerate(others) if text in o),
            rank,
            3.0 if "multiple" in text else 1.0,
            text,
        )
        for rank, text in enumerate(shared)
    ]


def _thresholds(counts: list[dict[str, int]], others: list[dict[str, int]]) -> list[Clause]:
    """Counts above, or below, those of most calls that pass."""
    names = [n for n in counts[0] if all(n in c for c in counts[1:])]
    made = []
    for rank, name in enumerate(names, 200):
        values = [c[name] for c in counts]
        for low in (True, False):
            edge = min(values) if low else max(values)
            if low and edge <= 1:
                continue
            held = frozenset(
                i for i, o in enumerate(others)
                if name in o and (o[name] >= edge if low else o[name] <= edge)
            )  # fmt: skip
            text = f"{name} {'>=' if low else '<='} {edge}"
            rest = [o[name] for i, o in enumerate(others) if name in o and i not in held]
            if rest:
                beside = max(rest) if low else min(rest)
                text += f" ({'at most' if low else 'at least'} {beside} elsewhere)"
            made.append(Clause(text, held, rank + (0 if low else 100), 2.0 if low else 3.0, name))
    return made
