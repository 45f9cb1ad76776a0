"""What a benchmark looks like: a row a layer, then what they come to, then the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..harness.records import Bench, Ceilings, Environment
from ..harness.report.words import three
from . import bench_tables, terminal
from .cells import STYLE, geomean

FAILED = ("wrong", "suspect", "error", "doubt")
#: What the second mean leaves out: there torch is so slow that nothing else would show.
LEFT_OUT = "pooling and dw31"
#: The op of a whole network.
MODEL = "model"


@dataclass(frozen=True)
class Report:
    """The records of one run.

    Args:
        ceilings: before and, unless it was interrupted, after.
    """

    run: Environment
    rows: Sequence[Bench]
    ceilings: Sequence[Ceilings]

    @classmethod
    def of(cls, records: Sequence[Any]) -> Report:
        """Of the last run in ``records``."""
        starts = [i for i, r in enumerate(records) if isinstance(r, Environment)]
        last = list(records[starts[-1] :])
        return cls(
            last[0],
            [r for r in last if isinstance(r, Bench)],
            [r for r in last if isinstance(r, Ceilings)],
        )

    @property
    def ours(self) -> list[Bench]:
        """Rows that stand beside torch's."""
        return [r for r in self.rows if r.backend != "torch"]

    @property
    def failed(self) -> list[Bench]:
        """Rows whose results are not right, torch's too."""
        return [r for r in self.rows if r.status in FAILED]

    @property
    def exit_code(self) -> int:
        """1 if a result is not right; 3 if nothing was timed; else 0: slow or noisy is no error."""
        if self.failed:
            return 1
        return 0 if any(r.timing for r in self.ours) else 3

    @property
    def peak(self) -> Ceilings | None:
        """The higher of each ceiling."""
        from msgspec.structs import replace

        if not self.ceilings:
            return None
        fma, copy = max(c.fma for c in self.ceilings), max(c.copy for c in self.ceilings)
        return replace(self.ceilings[0], fma=fma, copy=copy)

    @property
    def algorithms(self) -> bool:
        """Whether single algorithms were compared."""
        return any(r.chosen or r.predicted is not None for r in self.rows)

    @property
    def headline(self) -> str:
        """How many were timed, and what did not come to a result."""
        each = {(r.case, r.label, r.way, r.backend, r.algorithm): r for r in self.ours}.values()
        count = Counter(r.status for r in each)
        timed = [r for r in each if r.timing]
        layers = {(r.case, r.label) for r in timed if r.op != MODEL}
        networks = {(r.case, r.label) for r in timed if r.op == MODEL}
        named = [_count(len(layers), "layer")] if layers or not networks else []
        named += [_count(len(networks), "network")] if networks else []
        parts = [f"{_count(len(timed), 'timing')} of {' and '.join(named)}, each verified"]
        parts += [f"{count['noise']} inconclusive: noise"] if count["noise"] else []
        parts += [f"{len(self.failed)} NOT RIGHT"] if self.failed else []
        parts += [f"{count['skipped']} skipped"] if count["skipped"] else []
        return f"{'✘' if self.exit_code else '✔'} {'; '.join(parts)}"

    @property
    def means(self) -> list[str]:
        """``geomean ratio`` of each pass, backend and accuracy, without and with what is left out;
        of networks by themselves.

        Rows whose ratio decides nothing count, those that had too few quiet rounds do not.
        """
        groups: dict[tuple[str, str, str, str], list[Bench]] = {}
        many = len({r.backend for r in self.ours}) > 1
        for r in self.ours:
            whole = "networks" if r.op == MODEL else ""
            key = (whole, r.way, r.backend if many else "", r.accuracy)
            groups.setdefault(key, []).append(r)
        lines = [_mean(" ".join(filter(None, key)), rows) for key, rows in groups.items()]
        return [line for line in lines if line]

    @property
    def machine(self) -> list[str]:
        """What it ran on, and what that can do."""
        run, v = self.run, self.run.versions
        names = " ".join(f"{n} {text}" for n, text in v.items() if n != "refconv")
        threads = {*run.threads.values()}
        many = threads.pop() if len(threads) == 1 else run.threads
        governor = f" · governor {run.governor}" if run.governor else ""
        commit = f" · commit {run.commit}" if run.commit else ""
        lines = [
            f"{run.cpu} · {many} of {run.cores} cores each{governor} · allocator {run.allocator}",
            f"{names}{commit}",
        ]
        if self.ceilings:
            c = self.ceilings
            values = [
                ("FMA peak", [x.fma / 1e9 for x in c], "GF/s"),
                ("copy", [x.copy / 1e9 for x in c], "GB/s"),
                (f"sgemm ({c[0].by})", [x.sgemm / 1e9 for x in c], "GF/s"),
            ]
            told = [f"{n} {' → '.join(three(x) for x in xs)} {unit}" for n, xs, unit in values]
            lines.append(f"ceilings{', before → after' * (len(c) > 1)}: {', '.join(told)}")
        return lines


def _mean(name: str, rows: Sequence[Bench]) -> str:
    """One line of means, or nothing where nothing was timed."""
    ratios = {
        r: r.timing.vs_torch for r in rows if r.timing and r.timing.vs_torch and not r.timing.busy
    }
    if not ratios:
        return ""
    core = {r: x for r, x in ratios.items() if not left_out(r)}
    shown = core or ratios
    slowest = max(shown, key=lambda r: shown[r])
    of = _count(len(shown), "network" if slowest.op == MODEL else "layer")
    text = f"geomean ratio {name}: {geomean(list(shown.values())):.3f} of {of}"
    if core and len(core) < len(ratios):
        whole = geomean(list(ratios.values()))
        text += f" ({whole:.3f} of {len(ratios)} with {LEFT_OUT})"
    text += f"; most {shown[slowest]:.2f} {slowest.case}"
    lost = sum(r.status == "noise" and r not in ratios for r in rows)
    return text + (f"; {lost} not counted: noise" if lost else "")


def _count(number: int, name: str) -> str:
    """``2 layers``."""
    return f"{number} {name}{'s' * (number != 1)}"


def left_out(row: Bench) -> bool:
    """Whether the second mean leaves it out."""
    return "pool" in row.op or row.case.startswith("dw31")


def show(report: Report) -> None:
    """Print the page to stdout."""
    out = terminal.console()
    style = {0: "bold green", 1: "bold red"}.get(report.exit_code, "bold yellow")
    terminal.line(out, report.headline, style)
    if report.algorithms:
        terminal.table(out, bench_tables.algorithms(report.rows))
        lines = bench_tables.regret_lines(report.rows)
    else:
        layers = [r for r in report.rows if r.op != MODEL]
        networks = [r for r in report.rows if r.op == MODEL]
        if layers:
            terminal.table(out, bench_tables.layers(layers, report.peak))
        if networks:
            terminal.table(out, bench_tables.networks(networks))
        lines = []
    for text in [*lines, *report.means]:
        terminal.line(out, f"  {text}", "bold")
    for r in [r for r in report.rows if r.status in FAILED][:12]:
        terminal.line(
            out, f"  ✘ {r.case} {r.way} {r.backend}: {r.status}: {r.reason}", STYLE["wrong"]
        )
    for text in _notes(report):
        terminal.line(out, f"  {text}", "dim")
    for text in report.machine:
        terminal.line(out, f"  {text}")
    terminal.flush()


def _notes(report: Report) -> list[str]:
    """How to read the table, and what was skipped."""
    dirty = [r.timing for r in report.rows if r.timing and r.backend == "torch"]
    lost = sum(len(t.clean) - sum(t.clean) for t in dirty)
    notes = [
        "times in ms; ratio = ours / torch, median of rounds and its 95 % interval",
        f"{lost:,} of {sum(len(t.clean) for t in dirty):,} rounds discarded: others were busy",
    ]
    if not report.algorithms and any(r.op != MODEL for r in report.rows):
        notes.append(
            "noise: rms error in units of expected rounding, ours/torch; %: of the ceiling"
        )
    if any(r.op == MODEL for r in report.rows):
        notes.append(
            "distance: of a network's output (train: of its gradients) from float64, ours/torch"
        )
    if any(r.timing and r.timing.busy for r in report.rows):
        notes.append("* too few quiet rounds: all are shown, none is to be trusted")
    reasons = Counter(f"{r.backend}: {r.reason}" for r in report.rows if r.status == "skipped")
    notes += [f"skipped: {text}{f' ({n} times)' if n > 1 else ''}" for text, n in reasons.items()]
    return notes + list(dict.fromkeys(f"hint: {r.hint}" for r in report.rows if r.hint))
