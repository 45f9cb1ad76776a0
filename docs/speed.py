"""What the pages say of speed, from records: ratios by class of layer, networks, growth.

Each function gives Markdown; where there is no record it says so, and how to make one.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import scaling

from refconv import label
from refconv.cli.bench_report import MODEL, Report, left_out
from refconv.cli.cells import geomean
from refconv.harness.records import Bench, read
from refconv.harness.report.words import duration
from refconv.problem import ConvProblem, PoolProblem

HISTORY = Path(__file__).resolve().parent.parent / "bench" / "history"
#: Record → the command that makes it.
COMMANDS = {
    "cpu": "refconv bench cpu --save cpu",
    "cpu-train": "refconv bench cpu --passes train --save cpu-train",
    "networks": "refconv bench networks --passes fprop,train --save networks",
    "scaling": "refconv bench --scaling --save scaling",
}
#: Rows of the summary, in order; what is not listed here goes by its kernel.
CLASSES = ("3×3", "4×4 stride 2", "1×1", "few input channels", "dilated", "grouped", "depthwise",
           "depthwise 31×31", "transposed", "pooling")  # fmt: skip
#: Input channels of a stem; LeNet's second layer has 6.
FEW = 8


def recorded(name: str) -> Report | None:
    """The run of ``NAME.jsonl`` in the history that was started last, on whatever machine."""
    found = [Report.of(list(read(path))) for path in HISTORY.glob(f"*/{name}.jsonl")]
    return max(found, key=lambda report: report.run.started, default=None)


def unrecorded(name: str) -> str:
    """What stands where a record is missing."""
    return f"Not recorded yet; `{COMMANDS[name]}`, then `make readme`, puts it here."


def command(report: Report) -> str:
    """The command that made a record, without where it was kept."""
    words = shlex.split(report.run.command)
    for option in ("--save", "--records"):
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    return shlex.join(words)


def kind(problem: Any) -> str:
    """The class that a layer belongs to.

    Example:
        >>> kind(label.parse("conv2d x[1,64,56,56] w[64,64,3,3] p1"))
        '3×3'
    """
    if isinstance(problem, PoolProblem):
        return "pooling"
    if not isinstance(problem, ConvProblem):
        return problem.op
    size = "×".join(map(str, problem.kernel))
    if problem.transposed:
        return "transposed"
    if 1 < problem.groups == problem.in_channels:
        return "depthwise" if problem.kernel[0] < 31 else f"depthwise {size}"
    if problem.groups > 1:
        return "grouped"
    if max(problem.dilation) > 1:
        return "dilated"
    if problem.in_channels <= FEW:
        return "few input channels"
    strides = set(problem.stride)
    return size if strides == {1} or size == "1×1" else f"{size} stride {max(strides)}"


def classes() -> str:
    """A row a class: geometric mean of the ratios to torch, strict, fast and, where that is
    recorded, of a training step; and the slowest layer.
    """
    report, training = recorded("cpu"), recorded("cpu-train")
    if report is None:
        return unrecorded("cpu")
    heads = {"strict": _ratios(report.rows, "strict"), "fast": _ratios(report.rows, "fast")}
    if training is not None:
        for accuracy in ("strict", "fast"):
            found = _ratios(training.rows, accuracy)
            heads |= {f"training step, {accuracy}": found} if found else {}
    every = {row.case: row for row in report.ours}
    groups: dict[str, list[str]] = {name: [] for name in CLASSES}
    for case, row in every.items():
        groups.setdefault(kind(label.parse(row.label)), []).append(case)
    groups = {name: found for name, found in groups.items() if found}
    groups["**all but pooling and 31×31**"] = [c for c, r in every.items() if not left_out(r)]
    lines = [
        "| layers | number | " + " | ".join(heads) + " | slowest, fast |",
        "|---|" + "---:|" * (len(heads) + 1) + "---|",
    ]
    for name, found in groups.items():
        cells = []
        for ratios in heads.values():
            known = [ratios[c] for c in found if c in ratios]
            lost = len(found) - len(known)
            mean = geomean(known)
            cells.append("–" if mean is None else f"{mean:.2f}" + f" ({len(known)})" * bool(lost))
        worst = max((c for c in found if c in heads["fast"]), key=lambda c: heads["fast"][c])
        cells.append(f"{heads['fast'][worst]:.2f} `{worst}`")
        lines.append(f"| {name} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_foot(report)])


def _ratios(rows: Any, accuracy: str) -> dict[str, float]:
    """Layer → its time over torch's, where enough rounds were undisturbed."""
    return {
        r.case: r.timing.vs_torch
        for r in rows
        if r.accuracy == accuracy and r.timing and r.timing.vs_torch and not r.timing.busy
    }


def _foot(report: Report) -> list[str]:
    """The command, and the machine."""
    return [f"`{command(report)}` · {report.machine[0]} · {report.machine[1]}"]


def networks() -> str:
    """A row a network and pass: torch's time, ours at both accuracies."""
    report = recorded("networks")
    if report is None:
        return unrecorded("networks")
    rows = [r for r in report.rows if r.op == MODEL]
    lines = ["| network | pass | torch | strict | fast |", "|---|---|---:|---:|---:|"]
    for case, way in dict.fromkeys((r.case, r.way) for r in rows):
        mine = {r.accuracy or r.backend: r for r in rows if (r.case, r.way) == (case, way)}
        torch = mine.get("torch")
        time = duration(torch.timing.median_ns) if torch and torch.timing else "–"
        cells = [_network(mine.get(accuracy)) for accuracy in ("strict", "fast")]
        what = "training step" if way == "train" else "forward"
        lines.append(f"| {case} | {what} | {time} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_foot(report)])


def _network(row: Bench | None) -> str:
    """``0.61 (0.60–0.63)``, or what stands in its way."""
    if row is None or row.timing is None or row.timing.vs_torch is None:
        return "–" if row is None else row.status
    if row.interval is None:
        return f"{row.timing.vs_torch:.2f} noise"
    low, high = row.interval
    text = f"{row.timing.vs_torch:.2f} ({low:.2f}–{high:.2f})"
    return text if row.status == "ok" else f"{text} {row.status}"


def growth() -> str:
    """The chart of time against N, C and H, and how fast time grows."""
    report = recorded("scaling")
    if report is None:
        return unrecorded("scaling")
    return "\n".join([
        "![milliseconds against N, C and H, logarithmic](../images/scaling.svg)",
        "",
        "Exponents over the last four values of each axis:",
        "",
        scaling.table(report),
        "",
        *_foot(report),
    ])  # fmt: skip
