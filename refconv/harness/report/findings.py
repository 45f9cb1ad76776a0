"""What a report says first: the verdict, the slowest layer, the least accurate, what fails and why,
what was skipped.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import Environment
from .rows import FAILED, NOISE, Row
from .summary import Part, Summary

#: Rows of a table.
TABLE = 600
#: Backends that are there to be read: slow by intent.
READ = ("naive", "im2col")
#: Whose rows come last in the table: torch's are the measure, not the result.
LAST = {"torch": 1} | dict.fromkeys(READ, 2)
#: Failing rows that are told in full.
TOLD = 50


@dataclass(frozen=True)
class Failure:
    """Something that is not right.

    Args:
        where: ``file:line`` of its record.
        diagnosis: what probably is wrong, where that was found out.
        repro: a command or a script; ``script``: whether it is the latter.
        target: the function that was checked, as it was named.
    """

    title: str
    status: str
    reason: str
    where: str
    path: Path
    line: int
    diagnosis: str = ""
    repro: str = ""
    script: bool = False
    target: str = ""


@dataclass(frozen=True)
class Report:
    """What a summary says."""

    summary: Summary

    @property
    def parts(self) -> list[Part]:
        """The runs."""
        return self.summary.parts

    @property
    def failing(self) -> int:
        """Rows whose results are not right, and faulty calls of checks."""
        rows = sum(n for p in self.parts for status, n in p.count.items() if status in FAILED)
        return rows + sum(self._faults(r) for _, r in self.summary.checks)

    @staticmethod
    def _faults(report: Any) -> int:
        return max(report.faults, int(report.flagged))

    @property
    def judged(self) -> int:
        """Rows and calls that ran."""
        rows = sum(p.total - p.count["skipped"] for p in self.parts)
        return rows + sum(r.ran for _, r in self.summary.checks)

    @property
    def skipped(self) -> int:
        """Rows that were not run."""
        return sum(p.count["skipped"] for p in self.parts)

    @property
    def exit_code(self) -> int:
        """1 if anything is not right, 3 if nothing ran, else 0."""
        return 1 if self.failing else 0 if self.judged else 3

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        skips = f"; {self.skipped:,} skipped" if self.skipped else ""
        noisy = sum(p.count["noise"] for p in self.parts)
        skips += f"; {noisy:,} timings inconclusive: noise" if noisy else ""
        if not self.judged:
            return f"✘ nothing was judged{skips}"
        what = f"{self.judged:,} result{'s' * (self.judged != 1)}"
        if not self.failing:
            return f"✔ all {what} right{skips}"
        count: Counter[str] = Counter()
        for p in self.parts:
            count.update({s: n for s, n in p.count.items() if s in FAILED})
        count.update({r.verdict: self._faults(r) for _, r in self.summary.checks if r.flagged})
        kinds = ", ".join(f"{n:,} {status}" for status, n in count.most_common())
        return f"✘ {self.failing:,} of {what} not right: {kinds}{skips}"

    @property
    def slowest(self) -> Row | None:
        """The layer on which even the fastest of ours is slowest beside torch."""
        rows = [r for p in self.parts for r in p.fastest_kept[:1]]
        return max(rows, key=lambda r: r.ratio or 0.0, default=None)

    @property
    def longest(self) -> Row | None:
        """Of those layers the one that takes most time by itself, by the fastest of ours."""
        rows = [r for p in self.parts for r in p.fastest.values()]
        return max(rows, key=lambda r: r.ns or 0.0, default=None)

    @property
    def roughest(self) -> Row | None:
        """The largest error in units of the usual rounding, of ours."""
        rows = [max(p.roughest)[2] for p in self.parts if p.roughest]
        return max(rows, key=lambda r: r.noise or 0.0, default=None)

    @property
    def rows(self) -> list[Row]:
        """All that are kept, of all runs; one measurement at two accuracies is one row."""
        from msgspec.structs import replace

        found: dict[Any, Row] = {}
        for i, part in enumerate(self.parts):
            for row in part.shown:
                key: Any = (i, row.layer, row.backend, row.algorithm, row.ns, row.ratio)
                key = key if row.ns else (*key, row.line, row.accuracy)
                if key in found and found[key].accuracy != row.accuracy:
                    found[key] = replace(found[key], accuracy="both")
                else:
                    found.setdefault(key, row)
        return list(found.values())

    @property
    def table(self) -> list[Row]:
        """Rows of the table: what fails, then the slowest beside torch, noise behind them; skipped
        ones are told apart from it.
        """
        ran = [r for r in self.rows if r.status != "skipped"]
        order = sorted(
            ran,
            key=lambda r: (
                not r.failed,
                LAST.get(r.backend, 0),
                r.status == NOISE,
                -(r.ratio or 0.0),
                -(r.noise or 0.0),
            ),
        )
        return order[:TABLE]

    @property
    def left_out(self) -> str:
        """How many rows the table lacks, and which; empty if none."""
        ran, shown = sum(p.total - p.count["skipped"] for p in self.parts), len(self.table)
        merged = sum(len(p.shown) for p in self.parts) - len(self.rows)
        if ran - merged <= shown:
            return ""
        return (
            f"{shown:,} of {ran:,} rows: all that fail as far as there is room, the slowest and "
            "the least accurate, and of the others an even draw"
        )

    @property
    def failures(self) -> list[Failure]:
        """What is not right, the first ``TOLD`` of each file."""
        found = []
        for path, report in self.summary.checks:
            found += _of_report(path, report) if report.flagged else []
        for part in self.parts:
            for row in part.failures[:TOLD]:
                title = f"{row.name} · {row.who} on {row.device}"
                repro = row.repro or _again(part, row)
                where = f"{part.path}:{row.line}"
                found.append(
                    Failure(title, row.status, row.reason, where, part.path, row.line,
                            row.hint, repro, target=part.target)
                )  # fmt: skip
        return found

    @property
    def skips(self) -> list[tuple[str, str, int]]:
        """Backend, reason and how often, the most frequent first."""
        count: Counter[tuple[str, str]] = Counter()
        for part in self.parts:
            count.update(part.skipped)
        for _, report in self.summary.checks:
            for feature, (calls, reason) in report.unsupported.items():
                count[report.name, f"{feature}: {reason}"] += calls
        return [(who, why, n) for (who, why), n in count.most_common()]

    @property
    def notes(self) -> list[str]:
        """What is not in this report."""
        lines = list(self.summary.troubles)
        for path, count in self.summary.earlier.items():
            runs = f"{count} earlier run{'s' * (count != 1)}"
            lines.append(f"{path}: {runs} of the same kind left out (--all counts them)")
        if any(p.about.get("rehearsal") for p in self.parts):
            lines.append("a rehearsal on the CPU: no GPU was used, and none of its times is a time")
        return lines


def _of_report(path: Path, report: Any) -> list[Failure]:
    """The fault that a check found."""
    first = Failure(
        f"{report.name} as {report.op} on {report.device}",
        report.verdict,
        f"{report.smallest}: {report.reason}" if report.smallest else report.reason,
        str(path),
        path,
        1,
        report.diagnosis,
        report.repro,
        script=True,
        target=report.name,
    )
    return [first]


def _again(part: Part, row: Row) -> str:
    """The command of a kind that has no repro of its own."""
    if part.kind.startswith("check"):
        again = f"refconv check {shlex.quote(part.target)} --op {row.op} --device {part.device}"
        return f"{again} --seed {part.about.get('seed', 0)}"
    if part.kind == "gpu":
        return f"refconv gpu --only {shlex.quote(row.case)}"
    return ""


def machine(run: Environment) -> list[tuple[str, str]]:
    """Names and values of an environment."""
    threads = {*run.threads.values()}
    many = str(threads.pop()) if len(threads) == 1 else str(run.threads)
    pairs = [
        ("command", run.command),
        ("started", run.started),
        ("CPU", f"{run.cpu}, {many} threads of {run.cores} cores each"),
        ("GPU", run.gpu),
        ("versions", " · ".join(f"{n} {v}" for n, v in run.versions.items())),
        ("Python", run.python),
        ("precision", ", ".join(f"{n} {v}" for n, v in run.precision.items())),
        ("allocator", run.allocator),
        ("governor", run.governor),
        ("commit", run.commit),
    ]
    return [(name, value) for name, value in pairs if value]
