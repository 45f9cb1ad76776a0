"""All recorded benchmarks of a folder as a trend: each layer on each device, commit by commit, with
the band of its noise, and what the last run changed by ``refconv bench diff``'s own test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from .. import benchdiff
from ..benchdiff import Change
from ..records import Bench, Environment
from .reading import Files
from .svg import COLOUR, SETTINGS, Sheet

#: Commits that the table has a column for: the last ones.
COLUMNS = 6
#: The small picture of a row.
WIDE, HIGH = 132, 30
Key = tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One recorded benchmark.

    Args:
        number: of the benchmarks in its file, from 1: ``refconv bench diff FILE@NUMBER``.
    """

    path: Path
    number: int
    about: Environment
    rows: list[Bench]

    @property
    def commit(self) -> str:
        """Short, ``+`` where the tree had been changed."""
        return (self.about.commit[:7] + "+" * self.about.commit.endswith("+")) or "unknown"

    @property
    def date(self) -> str:
        """Day and minute."""
        return self.about.started[:16].replace("T", " ")

    @property
    def address(self) -> str:
        """What ``refconv bench diff`` takes."""
        return f"{self.path}@{self.number}"


@dataclass(frozen=True)
class Point:
    """One layer in one run: ratio to torch, and the interval of its median."""

    run: Run
    ratio: float
    low: float
    high: float
    algorithm: str
    busy: bool


@dataclass
class Line:
    """One layer on one device, in the order of the runs."""

    key: Key
    points: list[Point] = field(default_factory=list)
    change: Change | None = None
    both: bool = False

    @property
    def name(self) -> str:
        """The layer, with its way where that is not the usual one."""
        return self.key[0] if self.key[2] == "fprop" else f"{self.key[0]} {self.key[2]}"

    @property
    def who(self) -> str:
        """Accuracy and algorithm, of the last run."""
        accuracy = "both" if self.both else self.key[4]
        return f"{accuracy} {self.points[-1].algorithm or self.key[3]}".strip()

    def at(self, run: Run) -> Point | None:
        """Its point of a run."""
        return next((p for p in self.points if p.run is run), None)

    @property
    def spark(self) -> str:
        """The line and its band, as an ``svg`` element."""
        logs = [(math.log(p.low), math.log(p.ratio), math.log(p.high)) for p in self.points]
        low, high = min(0.0, *(a for a, _, _ in logs)), max(0.0, *(c for _, _, c in logs))
        scale = (HIGH - 6) / ((high - low) or 1.0)
        step = (WIDE - 8) / max(1, len(logs) - 1)
        y = lambda value: f"{HIGH - 3 - (value - low) * scale:.1f}"  # noqa: E731
        x = [f"{4 + i * step:.1f}" for i in range(len(logs))]
        upper = [f"{a},{y(c)}" for a, (_, _, c) in zip(x, logs, strict=True)]
        lower = [f"{a},{y(c)}" for a, (c, _, _) in zip(x, logs, strict=True)]
        middle = [f"{a},{y(c)}" for a, (_, c, _) in zip(x, logs, strict=True)]
        dots = "".join(f'<circle cx="{a}" cy="{y(c)}" r="2"/>'
                       for a, (_, c, _) in zip(x, logs, strict=True))  # fmt: skip
        label = ", ".join(f"{p.run.commit} {p.ratio:.2f}" for p in self.points)
        return (
            f'<svg class="spark" role="img" aria-label="{label}" viewBox="0 0 {WIDE} {HIGH}">'
            f'<path class="one" d="M0 {y(0.0)}H{WIDE}"/>'
            f'<polygon points="{" ".join(upper + lower[::-1])}"/>'
            f'<polyline points="{" ".join(middle)}"/>{dots}</svg>'
        )


@dataclass
class Device:
    """One set of layers on one machine: its runs in order, its lines.

    Args:
        set: as the file is named.
        differs: what was not the same in the last two runs.
    """

    name: str
    set: str
    runs: list[Run] = field(default_factory=list)
    lines: dict[Key, Line] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[Run]:
        """The last runs."""
        return self.runs[-COLUMNS:]

    @property
    def table(self) -> list[Line]:
        """The lines, those that became slower first; one measurement at two accuracies is one."""
        once: dict[Any, Line] = {}
        for line in self.lines.values():
            key = (line.key[:4], *((id(p.run), p.ratio, p.low, p.high) for p in line.points))
            if key in once:
                once[key] = replace(once[key], both=True)
            else:
                once[key] = line
        rank = {"slower": 0, "faster": 1, "~": 2, "noise": 3}
        return sorted(
            once.values(),
            key=lambda line: (
                (rank[line.change.verdict], -line.change.by)
                if line.change
                else (4, -line.points[-1].ratio)
            ),
        )


@dataclass
class Trend:
    """What all records of a folder say over time."""

    devices: list[Device]
    troubles: list[str]

    @property
    def changes(self) -> list[Change]:
        """Of every layer, from the run before to the last."""
        return [x.change for d in self.devices for x in d.table if x.change]

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        runs, lines = sum(len(d.runs) for d in self.devices), len(self.changes)
        count = {v: sum(c.verdict == v for c in self.changes)
                 for v in ("slower", "faster", "~", "noise")}  # fmt: skip
        devices = len({d.name for d in self.devices})
        text = f"{runs} run{'s' * (runs != 1)} on {devices} device{'s' * (devices != 1)}"
        if not lines:
            return f"{text}; no layer has two runs to compare"
        told = f"{count['slower']} slower, {count['faster']} faster, {count['~']} ~"
        return f"{text}; last changes: {told}, {count['noise']} noise"

    def charts(self, sheet: Sheet) -> list[str]:
        """Of each device and set the geometric mean of its layers' ratios, run by run."""
        import matplotlib

        with matplotlib.rc_context(SETTINGS):
            return [_chart(d, sheet) if len(d.runs) > 1 else "" for d in self.devices]


def read(paths: Iterable[Path]) -> Trend:
    """The trend of files of records."""
    files, runs = Files(whole=True), []
    for path in paths:
        number = 0
        run: Run | None = None
        for _, record in files.read(path):
            if isinstance(record, Environment):
                run = Run(path, 0, record, [])
            elif isinstance(record, Bench) and run is not None:
                if not run.rows:
                    number += 1
                    run = Run(path, number, run.about, run.rows)
                    runs.append(run)
                run.rows.append(record)
    devices: dict[tuple[str, str], Device] = {}
    for run in sorted(runs, key=lambda run: run.about.started):
        _add(devices, run)
    for device in devices.values():
        _compare(device)
    order = sorted(devices.values(), key=lambda d: (-len(d.runs), d.name, d.set))
    return Trend(order, files.troubles)


def _add(devices: dict[tuple[str, str], Device], run: Run) -> None:
    a = run.about
    threads = ", ".join(f"{n} {k}" for n, k in a.threads.items())
    name = " · ".join(filter(None, (a.cpu, a.gpu, f"{a.cores} cores, threads {threads}")))
    device = devices.setdefault((name, run.path.stem), Device(name, run.path.stem))
    device.runs.append(run)
    for row in run.rows:
        if row.backend == "torch" or row.timing is None or not row.timing.vs_torch:
            continue
        t, every = row.timing, row.chosen or row.predicted is not None
        way = f"{row.way} cold" if row.cold else row.way
        names = (row.case, row.label, way, row.backend, row.accuracy)
        key = (*names, row.algorithm) if every else names
        half = t.iqr_ns / t.median_ns / 2 if t.median_ns else 0.0
        ratio = t.vs_torch or 1.0
        low, high = row.interval or (ratio * max(0.05, 1 - half), ratio * (1 + half))
        line = device.lines.setdefault(key, Line(key))
        line.points.append(Point(run, ratio, low, high, row.algorithm, t.busy))


def _compare(device: Device) -> None:
    """The last two runs, by the test of ``refconv bench diff``."""
    if len(device.runs) < 2:
        return
    old, new = device.runs[-2:]
    made = benchdiff.difference([old.about, *old.rows], [new.about, *new.rows], 0.1)
    device.differs = made.environment
    for change in made.changes:
        for key in (change.key[:5], change.key):
            if key in device.lines:
                device.lines[key].change = change


def _chart(device: Device, sheet: Sheet) -> str:
    from .charts import figure

    made, axes = figure(7.2, 2.6)
    groups: dict[str, list[tuple[int, float, float, float]]] = {}
    for i, run in enumerate(device.runs):
        points: dict[str, list[Point]] = {}
        for line in device.lines.values():
            if (p := line.at(run)) and not p.busy:
                points.setdefault(line.key[4] or line.key[3], []).append(p)
        for name, found in points.items():
            mean: Any = [geometric_mean([getattr(p, n) for p in found])
                         for n in ("low", "ratio", "high")]  # fmt: skip
            groups.setdefault(name, []).append((i, *mean))
    for name, means in sorted(groups.items()):
        colour, x = COLOUR[name if name in ("strict", "fast") else "ours"], [n for n, *_ in means]
        axes.fill_between(x, [v[1] for v in means], [v[3] for v in means], color=colour, alpha=0.2,
                          linewidth=0)  # fmt: skip
        axes.plot(x, [v[2] for v in means], "o-", color=colour, markersize=4, label=name)
    axes.axhline(1, color=COLOUR["torch"], linewidth=1)
    axes.set_xticks(range(len(device.runs)), [f"{r.commit}\n{r.date[5:]}" for r in device.runs],
                    fontsize=7)  # fmt: skip
    axes.set_ylabel("time over torch's")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    about = "geometric mean over layers of the time over torch's, run by run"
    return sheet.inline(made, about)
