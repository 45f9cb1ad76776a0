"""Two recorded benchmarks: what changed, and whether chance alone could have done it.

Rows are matched by case, pass, backend, accuracy and algorithm. What is compared is the ratio to
torch, round by round, where torch was timed beside: it does not change with the machine's clock;
else the time. A change counts if the U test gives chance less than 1 % (dozens of rows are looked
at) and if it is larger than the limit.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .records import Bench, Environment, Record, read
from .statistics import LEAST, SIGNIFICANT, chance, quartiles

Key = tuple[str, ...]
#: One benchmark of a file that holds several.
NUMBERED = re.compile(r"(.+)@(\d+)")
#: What must be equal for two runs to be compared.
SAME = ("cpu", "cores", "threads", "precision", "allocator", "governor", "python")
#: Libraries that must be: a ratio to torch says nothing where torch changed.
LIBRARIES = ("torch", "numpy", "numba")


@dataclass(frozen=True)
class Change:
    """One row in both runs.

    Args:
        old, new: median times in nanoseconds.
        by: new over old, of the ratio to torch or, ``plain``, of the time; above 1 is slower.
        p: how often chance does as much.
        spread: the wider of both runs' interquartile ranges, relative to their medians.
        verdict: ``slower``, ``faster``, ``~`` (no significant difference) or ``noise`` (too few
            quiet rounds, or a spread above the limit and nothing significant).
    """

    key: Key
    old: float
    new: float
    by: float
    p: float
    spread: float
    plain: bool
    verdict: str

    def beyond(self, limit: float) -> bool:
        """Whether it is slower by more than ``limit``, significantly."""
        return self.verdict == "slower" and self.by > 1 + limit


@dataclass(frozen=True)
class Difference:
    """All rows of two runs.

    Args:
        lost: rows that the new run has no time for, with its reason; ``added``: that are new.
        environment: what differs, as ``name: old → new``.
    """

    changes: list[Change]
    lost: list[tuple[Key, str]]
    added: list[Key]
    environment: list[str]


def load(path: Path) -> tuple[Environment, list[Bench]]:
    """The last benchmark in a file of records; ``FILE@2``: its second.

    Raises:
        UsageError: there is none.
    """
    run: Environment | None = None
    rows: list[Bench] = []
    number, wanted = 0, 0
    if (found := NUMBERED.fullmatch(str(path))) and not path.exists():
        path, wanted = Path(found[1]), int(found[2])
    for record in read(path):
        if isinstance(record, Environment):
            if rows and number == wanted:
                break
            run, rows = record, []
        elif isinstance(record, Bench):
            number += not rows
            rows.append(record)
    if run is None or not rows or (wanted and number != wanted):
        if wanted:
            raise UsageError(f"{path} holds {number} benchmarks; there is no number {wanted}")
        raise UsageError(f"{path} holds no benchmark in its last run (refconv bench makes them)")
    return run, rows


def difference(old: Iterable[Record], new: Iterable[Record], limit: float) -> Difference:
    """Compare the rows of two runs; each begins with its environment.

    Args:
        limit: the relative change that matters: where the spread is above it, no change seen is
            ``noise`` and not ``~``.
    """
    before, *old_rows = old
    after, *new_rows = new
    assert isinstance(before, Environment)
    assert isinstance(after, Environment)
    olds, news = _timed(old_rows), _timed(new_rows)
    reasons = {_key(r): f"{r.status}: {r.reason}" for r in new_rows if isinstance(r, Bench)}
    changes = [_change(key, olds[key], news[key], limit) for key in olds if key in news]
    lost = [(key, reasons.get(key, "not in the new run")) for key in olds if key not in news]
    added = [key for key in news if key not in olds]
    timers = [sorted({s.timer for _, s in rows.values()}) for rows in (olds, news)]
    differs = environments(before, after)
    if changes and timers[0] != timers[1]:
        differs.append(f"clock: {'/'.join(timers[0])} → {'/'.join(timers[1])}")
    return Difference(changes, lost, added, differs)


def environments(old: Environment, new: Environment) -> list[str]:
    """What makes the two runs not comparable, as ``name: old → new``."""
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in SAME]
    pairs += [(n, old.versions.get(n, "–"), new.versions.get(n, "–")) for n in LIBRARIES]
    return [f"{name}: {a or '–'} → {b or '–'}" for name, a, b in pairs if a != b]


@dataclass(frozen=True)
class Series:
    """The rounds of a row that count: times, and their ratios to torch's in the same round."""

    timer: str
    ns: list[float]
    ratios: list[float]
    busy: bool


def _key(row: Bench) -> Key:
    way = f"{row.way} cold" if row.cold else row.way
    return (row.case, row.label, way, row.backend, row.accuracy, row.algorithm)


def _timed(rows: Iterable[Record]) -> dict[Key, tuple[Bench, Series]]:
    """The rows that have a time, each with its series; torch's own times are the measure."""
    timed = [r for r in rows if isinstance(r, Bench) and r.timing]
    peers = {_key(r)[:3]: r.timing for r in timed if r.backend == "torch"}
    made: dict[Key, tuple[Bench, Series]] = {}
    for r in timed:
        if r.backend == "torch":
            continue
        t, peer = r.timing, peers.get(_key(r)[:3])
        assert t is not None
        counted = [i for i, good in enumerate(t.clean) if good or t.busy]
        beside = peer is not None and peer.clean == t.clean
        made[_key(r)] = (r, Series(
            t.timer,
            [t.samples_ns[i] for i in counted],
            [t.samples_ns[i] / peer.samples_ns[i] for i in counted] if peer and beside else [],
            t.busy or len(counted) < LEAST,
        ))  # fmt: skip
    return made


def _change(key: Key, old: tuple[Bench, Series], new: tuple[Bench, Series], limit: float) -> Change:
    a, b = old[1], new[1]
    plain = not (a.ratios and b.ratios)
    first, second = (a.ns, b.ns) if plain else (a.ratios, b.ratios)
    by = statistics.median(second) / statistics.median(first)
    p = chance(first, second)
    spreads = [(q[1] - q[0]) / statistics.median(x) for x in (first, second)
               for q in [quartiles(x)]]  # fmt: skip
    verdict = "~" if max(spreads) <= limit else "noise"
    if p < SIGNIFICANT:
        verdict = "slower" if by > 1 else "faster"
    if a.busy or b.busy:
        verdict = "noise"
    medians = statistics.median(a.ns), statistics.median(b.ns)
    return Change(key, *medians, by, p, max(spreads), plain, verdict)
