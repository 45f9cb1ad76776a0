"""The tables: one case with a row a backend, many cases with a row a case, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ..harness.records import DISTANCE, PROPAGATED, Check, Result
from ..harness.report.words import duration, three
from .cells import STYLE, geomean, status_text, worst

if TYPE_CHECKING:
    from .render import Report


def grid(*heads: str, right: Sequence[int] = ()) -> Table:
    """A table without lines; the columns ``right`` are aligned to the right."""
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False
    )
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i in right else "left", no_wrap=True)
    return table


def brackets(cell: Sequence[int] | None) -> str:
    """``[0,11,9,0]``."""
    return "" if cell is None else f"[{','.join(map(str, cell))}]"


def case_table(rows: Sequence[Result], wide: bool) -> Table:
    """One case: a row a backend and, if there are gradients, a row for each.

    Args:
        wide: whether there is room for the shape of every result.
    """
    heads = ["backend", "device", "precision", "shape", "max err", "worst cell", "err/bound"]
    timed = any(row.timing for row in rows)
    heads += ["time", "×torch", "verdict"] if timed else ["verdict"]
    common = where(rows) if not wide else ""  # said once, above the table
    left_out = {"shape": not wide, "device": common, "precision": common}
    heads = [head for head in heads if not left_out.get(head)]
    numeric = {"max err", "err/bound", "time", "×torch"} & set(heads)
    table = grid(*heads, right=[heads.index(h) for h in numeric])
    for row in rows:
        if row.status == "skipped":
            continue
        by_result: dict[str, list[Check]] = {}
        for check in row.checks:
            by_result.setdefault(check.result, []).append(check)
        for i, (result, checks) in enumerate(by_result.items()):
            cells = [row.backend, row.device, row.precision] if i == 0 else [f"  {result}", "", ""]
            cells = cells[:1] if common else cells
            shown = worst(checks)
            assert shown is not None
            cells += _numbers(shown, wide)
            if timed:
                cells += _times(row) if i == 0 else ["", ""]
            bad = [c for c in checks if not c.ok]
            state = row.status.upper() if row.status in ("error", "doubt", "suspect") else "WRONG"
            cells_end = Text(state if bad else "ok", STYLE["wrong" if bad else "ok"])
            table.add_row(*cells, cells_end)
    return table


def where(rows: Sequence[Result]) -> str:
    """``cpu, fp32`` if that holds for every row that ran, else nothing."""
    ran = {f"{row.device}, {row.precision}" for row in rows if row.status != "skipped"}
    return ran.pop() if len(ran) == 1 else ""


def _numbers(check: Check, wide: bool) -> list[str]:
    shape = [brackets(check.shape) if check.shape else "-"] if wide else []
    if check.kind == "shape":  # "expected [..] got [..] differs at H: …"
        return [*shape, "-", f"not {check.reason.split()[1]}", "-"]
    if check.kind in ("dtype", "error", "guard", "missing", "unjudged"):
        return [*shape, "-", check.dtype if check.kind == "dtype" else check.kind, "-"]
    bits = check.rule == "bit for bit"
    error = (
        "nan"
        if check.max_error is None
        else "0"
        if not check.max_error
        else f"{check.max_error:.1e}"
    )
    if check.rule == DISTANCE:
        ratio = "–"
        error = error if check.cells else "–"
    elif check.ratio is None:
        ratio = "inf"
    elif check.ratio == 0:
        ratio = "equal" if bits or check.exact == 1.0 or not check.max_error else "0"
    else:
        ratio = f"{check.ratio:.3f}" if check.ratio < 10 else f"{check.ratio:.1e}"
    return [*shape, error, brackets(check.worst), ratio]


def _times(row: Result) -> list[str]:
    t = row.timing
    if t is None:
        return ["", ""]
    mark = "*" if t.busy else ""
    ratio = "" if t.vs_torch is None else three(t.vs_torch)
    return [duration(t.median_ns) + mark, ratio]


def set_table(report: Report) -> Table:
    """Many cases: a row a case; torch's time, and the other backends' as multiples of it."""
    columns = _columns(report)
    peers = [c for c in columns if c[0] == "torch"]
    others = [c for c in columns if c[0] != "torch"]
    heads = ["case", "MAC/taps", "err/bound"]
    models = any(_end_to_end(row) for row in report.rows)
    heads += [PROPAGATED] if models else []
    devices = {device for _, device in columns}
    for backend, device in (*peers, *others):
        heads.append(backend if len(devices) == 1 else f"{backend}\n{device}")
    table = grid(*heads, "verdict", right=range(1, len(heads)))
    one_model = models and report.single
    for (name, _), rows in report.cases.items():
        by = {_key(r): r for r in rows}
        name = name.removeprefix(f"{rows[0].source.rpartition(':')[2]}.") if one_model else name
        right = [c for r in rows if r.status == "ok" for c in r.checks]
        cells: list[Text | str] = [name, compact(rows[0].work), _of_bound(right)]
        cells += [_furthest([c for r in rows for c in _end_to_end(r)])] if models else []
        cells += [_peer(by.get(key)) for key in peers]
        cells += [_other(by.get(key)) for key in others]
        bad = [r for r in rows if r.status not in ("ok", "skipped")]
        ran = [r for r in rows if r.status != "skipped"]
        cells.append(status_text(bad[0]) if bad else status_text(ran[0] if ran else rows[0]))
        table.add_row(*cells)
    return table


def _of_bound(checks: Sequence[Check]) -> str:
    """The largest share of a bound; ``–`` where nothing was judged by one."""
    ratios = [c.ratio or 0.0 for c in checks if c.rule != DISTANCE]
    return "–" if not ratios else f"{max(ratios):.3f}" if max(ratios) else "equal"


def _end_to_end(row: Result) -> list[Check]:
    """How far a layer's result, or the model's, is from float64 in the run of the whole model."""
    return [c for c in row.checks if c.rule == DISTANCE]


def _furthest(checks: Sequence[Check]) -> str:
    """The largest of these distances; ``nan`` if one is not finite."""
    errors = [c.max_error for c in checks if c.cells]
    if None in errors:
        return "nan"
    return f"{max(e for e in errors if e is not None):.1e}" if errors else "–"


def _columns(report: Report) -> list[tuple[str, str]]:
    """Backends that ran anything, with their device."""
    return list(dict.fromkeys(_key(r) for r in report.rows if r.status != "skipped"))


def _key(row: Result) -> tuple[str, str]:
    return row.backend, row.device


def _peer(row: Result | None) -> Text | str:
    if row is None or row.status == "skipped":
        return Text("–", "dim")
    if row.status != "ok":
        return status_text(row)
    return "ok" if row.timing is None else _times(row)[0]


def _other(row: Result | None) -> Text | str:
    if row is None or row.status == "skipped":
        return Text("–", "dim")
    if row.status != "ok":
        return status_text(row)
    t = row.timing
    if t is None:
        return "ok"
    if t.vs_torch is None:
        return _times(row)[0]
    return f"{three(t.vs_torch)}×{'*' if t.busy else ''}"


def totals(report: Report) -> Table:
    """A row a backend: how often it was right, wrong or skipped, and how fast."""
    columns = _columns(report)
    devices = ["device"] if len({device for _, device in columns}) > 1 else []
    heads = ["backend", *devices, "ok", "wrong", "skipped", "err/bound"]
    speed = any(row.timing and row.timing.vs_torch for row in report.rows)
    models = any(_end_to_end(row) for row in report.rows)
    heads += [PROPAGATED] if models else []
    heads += ["×torch geomean"] if speed else []
    # Of a model only the whole is timed: there is no fastest of one.
    many = Counter(_key(row) for row in report.rows if row.timing and row.timing.vs_torch)
    spread = max(many.values(), default=0) > 1
    heads += ["fastest", "slowest"] if spread else []
    table = grid(*heads, right=range(1 + len(devices), len(heads)))
    for backend, device in columns:
        mine = [r for r in report.rows if _key(r) == (backend, device)]
        count = {s: sum(r.status == s for r in mine) for s in ("ok", "skipped")}
        wrong = len(mine) - sum(count.values())
        table.add_row(
            backend,
            *([device] if devices else []),
            str(count["ok"]),
            Text(str(wrong), "bold red" if wrong else ""),
            str(count["skipped"]),
            _of_bound([c for r in mine for c in r.checks if c.ok]),
            *([_furthest([c for r in mine for c in _end_to_end(r)])] if models else []),
            *(_speed(backend, mine)[: 3 if spread else 1] if speed else []),
        )
    return table


def _speed(backend: str, rows: Sequence[Result]) -> list[str]:
    """Geometric mean, least and most of time / torch's; disturbed timings only if there are no
    others.
    """
    timed = [row.timing for row in rows if row.timing and row.timing.vs_torch]
    quiet = [t for t in timed if not t.busy]
    times = [t.vs_torch for t in quiet or timed if t.vs_torch]
    mean = geomean(times)
    if mean is None or backend == "torch":
        return ["", "", ""]
    mark = "" if quiet else "*"
    return [
        f"{three(mean)}×{mark} ({len(times)} of {len(rows)})",
        f"{three(min(times))}×",
        f"{three(max(times))}×",
    ]


def compact(count: int) -> str:
    """``148 M``: three digits and a unit of thousands."""
    for unit, size in (("", 1), (" k", 10**3), (" M", 10**6)):
        if count < size * 999.5:
            return f"{count}" if size == 1 else f"{three(count / size)}{unit}"
    return f"{three(count / 10**9)} G"
