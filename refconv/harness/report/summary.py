"""Records counted, and what a page can show of them kept: in memory that does not grow with them.

Of each file the last run of each kind counts, as for ``refconv bench diff``; earlier ones are for
the trend. Of more rows than a page takes, an even draw is kept, and always what fails, what is
slowest and what is least accurate.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import frexp
from pathlib import Path
from typing import Any

from ..records import Ceilings, Environment
from . import rows
from .reading import Bench, Files, Result
from .rows import FAILED, NOISE, Row

#: Rows, failing rows, extremes, layers and reasons that are kept of a run; all are counted.
ROWS, FAILURES, EXTREMES, LAYERS, REASONS = 1000, 500, 20, 20_000, 200
#: Below this an error is as good as none.
LEAST, EXPONENT = 2.0**-12, -12


@dataclass
class Part:
    """One run: counted, and what is kept of it.

    Args:
        noises: who → power of two → rows whose error, in units of the usual rounding, is below it;
            ``bounds``: the same of the largest error over its bound.
        fastest: layer → the fastest row of ours, of those that are not noise.
        skipped: backend and reason → how often.
    """

    path: Path
    kind: str
    run: Environment | None = None
    ceilings: list[Ceilings] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    total: int = 0
    rows: list[Row] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)
    roughest: list[tuple[float, int, Row]] = field(default_factory=list)
    noises: dict[str, Counter[int]] = field(default_factory=dict)
    bounds: dict[str, Counter[int]] = field(default_factory=dict)
    fastest: dict[tuple[str, str], Row] = field(default_factory=dict)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    target: str = ""
    device: str = "cpu"
    about: dict[str, Any] = field(default_factory=dict)
    _edge: float = 0.0
    _next: int = 0
    _share: float = 1.0
    _random: Callable[[], float] = field(default_factory=lambda: random.Random(0).random)

    def add(self, record: Any, line: int, files: Files) -> None:
        """Count a record of compare or bench; keep what is worth it.

        A million of them take seconds: one plain loop, and a row is made of those only that stay.
        """
        self.total = total = self.total + 1
        status, backend, timing = record.status, record.backend, record.timing
        self.count[status] += 1
        ours = backend != "torch"
        layer, rough = None, False
        if record.checks:
            noise, bound = None, 0.0
            for c in record.checks:
                x = c.noise
                if x is not None and (noise is None or x > noise):
                    noise = x
                x = c.ratio
                if x is not None and x > bound:
                    bound = x
            if backend not in self.bounds:
                self.bounds[backend], self.noises[backend] = Counter(), Counter()
            self.bounds[backend][frexp(bound)[1] if bound > LEAST else EXPONENT] += 1
            if noise is not None:
                self.noises[backend][frexp(noise)[1] if noise > LEAST else EXPONENT] += 1
                rough = ours and (noise > self._edge or len(self.roughest) < EXTREMES)
        elif status == "skipped":
            self._skip(backend, record.reason)
        if ours and timing and timing.vs_torch is not None and status != NOISE and not timing.busy:
            key = (record.label, getattr(record, "way", ""))
            known = self.fastest.get(key)
            if known is None:
                layer = key if len(self.fastest) < LAYERS else None
            elif timing.vs_torch < known.ratio:
                layer = key
        keep = status in FAILED and len(self.failures) < FAILURES
        if total >= self._next or keep or rough or layer:
            self._keep(files.whole(self.path, line), line, keep, rough, layer)

    def _keep(
        self, whole: Any, line: int, keep: bool, rough: bool, layer: tuple[str, str] | None
    ) -> None:
        """Make a row, and put it where it belongs."""
        if whole is None:
            return
        row = rows.of(whole, line)
        if self.total >= self._next:
            self._put(row)
        if keep:
            self.failures.append(row)
        if rough:
            self._keep_rough(row)
        if layer:
            self.fastest[layer] = row

    def add_row(self, row: Row) -> None:
        """Count a row of another kind, and keep what is worth it."""
        self.total += 1
        self.count[row.status] += 1
        if row.status == "skipped":
            self._skip(row.backend, row.reason)
        for found, value in ((self.noises, row.noise), (self.bounds, row.bound)):
            if value is not None:
                power = frexp(value)[1] if value > LEAST else EXPONENT
                found.setdefault(row.backend, Counter())[power] += 1
        if row.failed and len(self.failures) < FAILURES:
            self.failures.append(row)
        if row.ratio is not None and row.backend != "torch" and row.status != NOISE:
            layer = (f"{row.label} {row.dtype}", row.way)
            known = self.fastest.get(layer)
            if known is None or row.ratio < (known.ratio or 0):
                self.fastest[layer] = row
        if row.noise is not None and row.backend != "torch":
            self._keep_rough(row)
        if self.total >= self._next:
            self._put(row)

    def _skip(self, backend: str, reason: str) -> None:
        if reason.startswith("too slow: "):  # each with a time of its own
            reason = "too slow (--patience SECONDS runs it)"
        key = (backend, reason or "no reason is recorded")
        if key not in self.skipped and len(self.skipped) >= REASONS:
            key = ("others", "for reasons beyond those listed")
        self.skipped[key] += 1

    def _keep_rough(self, row: Row) -> None:
        item = (row.noise or 0.0, -self.total, row)
        if len(self.roughest) < EXTREMES:
            heapq.heappush(self.roughest, item)
        else:
            heapq.heappushpop(self.roughest, item)
        self._edge = self.roughest[0][0]

    def _put(self, row: Row) -> None:
        """Keep a row for the draw, and say which is the next: all have the same chance.

        Source: Li, Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n))), 1994,
        algorithm L, which draws how many rows to pass over instead of a number a row.
        """
        if len(self.rows) < ROWS:
            self.rows.append(row)
        else:
            self.rows[int(self._random() * ROWS)] = row
        if len(self.rows) == ROWS:
            self._share *= self._random() ** (1 / ROWS)
            passed = math.log(1 - self._random()) / math.log1p(-self._share)
            self._next = self.total + 1 + int(passed)

    @property
    def peak(self) -> Ceilings | None:
        """The higher of each ceiling."""
        from msgspec.structs import replace

        if not self.ceilings:
            return None
        c = self.ceilings
        return replace(c[0], fma=max(x.fma for x in c), copy=max(x.copy for x in c))

    @property
    def shown(self) -> list[Row]:
        """The rows kept, what fails and the extremes among them, each once."""
        every = [*self.failures, *self.fastest_kept, *(r for _, _, r in self.roughest), *self.rows]
        return list({(r.line, r.who, r.label, r.way): r for r in every}.values())

    @property
    def fastest_kept(self) -> list[Row]:
        """Of the layers the slowest, each by the fastest of ours."""
        return heapq.nlargest(EXTREMES, self.fastest.values(), key=lambda r: r.ratio or 0.0)


@dataclass
class Summary:
    """All that was read.

    Args:
        parts: the runs that count; ``earlier``: file → runs that later ones stand for.
        checks: reports of ``refconv check`` that had no outcomes of their own.
        troubles: what could not be read, a line each.
    """

    parts: list[Part] = field(default_factory=list)
    checks: list[tuple[Path, Any]] = field(default_factory=list)
    earlier: dict[Path, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Records that count."""
        return sum(p.total for p in self.parts) + len(self.checks)


def read(paths: Iterable[Path], every: bool = False) -> Summary:
    """The summary of files, in whatever state they are.

    Args:
        every: count every run of a file, not only the last of its kind.
    """
    made, files = Summary(), Files()
    for path in paths:
        _file(made, files, path, every)
    made.parts = [p for p in made.parts if p.total or p.run]
    made.troubles = files.troubles
    return made


def _file(made: Summary, files: Files, path: Path, every: bool) -> None:
    runs: dict[str, Part] = {}

    def begin(kind: str, **about: Any) -> Part:
        """A new run of a kind, in place of the one before it."""
        if kind in runs and not every:
            made.parts = [p for p in made.parts if p is not runs[kind]]
            made.earlier[path] = made.earlier.get(path, 0) + 1
        runs[kind] = Part(path, kind, **about)
        made.parts.append(runs[kind])
        return runs[kind]

    add, part = None, None
    for line, record in files.read(path):
        kind = type(record)
        if kind is Result or kind is Bench:
            if add is None:
                add = begin("bench" if kind is Bench else "compare").add
            add(record, line, files)
        elif kind is Environment:
            part = begin(record.schema.partition("/")[0].removeprefix("refconv."), run=record)
            add = part.add
        elif kind is Ceilings:
            if part is not None:
                part.ceilings.append(record)
        elif kind is dict:
            _gpu(runs.get("gpu") or begin("gpu"), record, line)
        else:
            _check(made, runs, begin, path, record, line)


def _gpu(part: Part, record: dict[str, Any], line: int) -> None:
    for name in ("gpu", "tree", "rehearsal"):
        if record.get(name):
            part.about[name] = record[name]
    if record.get("kind") == "ceilings" or record["key"] == "ceilings":
        part.about["ceilings"] = {n: v for n, v in record.items() if isinstance(v, float)}
        return
    for row in rows.of_gpu(record, line):
        part.add_row(row)


def _check(
    made: Summary, runs: dict[str, Part], begin: Any, path: Path, record: Any, line: int
) -> None:
    name = type(record).__name__
    if name == "Report":
        made.checks.append((path, record))
    elif name == "Started":
        kind = f"check {record.target} {record.op} {record.device}"
        part = begin(kind, target=record.target, device=record.device)
        part.about = {"target": record.target, "op": record.op, "precision": record.precision,
                      "seed": record.seed, "cases": record.cases}  # fmt: skip
    else:
        kind = next((k for k in reversed(runs) if k.startswith("check")), "")
        part = runs[kind] if kind else begin("check")
        part.add_row(rows.of_outcome(record, line, part.target or "?", part.device))
