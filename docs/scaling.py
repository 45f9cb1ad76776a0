"""Draw time against N, C and H from a recorded run: ``python docs/scaling.py [RECORDS]``.

The records are made by ``refconv bench --scaling --save scaling``; the picture is
docs/images/scaling.svg.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from refconv.cli.bench_report import Report
from refconv.harness.records import Bench, read
from refconv.harness.scaling import AXES, BASE, NAME

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "scaling.svg"
COLOURS = {"torch": "#777777", "strict": "#0072b2", "fast": "#d55e00"}
MARKS = {"torch": "s", "strict": "o", "fast": "^"}


def series(rows: list[Bench]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(axis, torch or accuracy) → (value, milliseconds), from rounds that can be trusted."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in rows:
        name, axis, value = (*row.case.split("/"), "", "")[:3]
        if name == NAME and row.way == "fprop" and row.timing and not row.timing.busy:
            who = row.accuracy or row.backend
            found.setdefault((axis, who), []).append((int(value), row.timing.median_ns / 1e6))
    return found


def draw(report: Report, path: Path) -> None:
    """Three panels, logarithmic both ways; a line of slope 1 (N), 2 (C, H) for the work."""
    mpl.rcParams.update({"svg.hashsalt": NAME, "svg.fonttype": "none", "font.size": 9})
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
    found = series(list(report.rows))
    for panel, axis in zip(panels, AXES, strict=True):
        fixed = ", ".join(f"{name}={value}" for name, value in BASE.items() if name != axis)
        panel.set(xscale="log", yscale="log", xlabel=axis, title=f"3×3, {fixed}")
        for (where, who), points in found.items():
            if where == axis:
                x, y = zip(*sorted(points), strict=True)
                label = who if who == "torch" else f"refconv {who}"
                panel.plot(x, y, color=COLOURS.get(who, "black"), marker=MARKS.get(who, "x"),
                           markersize=4, label=label)  # fmt: skip
        points = sorted(found.get((axis, "torch"), []))
        if points:
            (_, _), (last, time) = points[0], points[-1]
            power = 1 if axis == "N" else 2
            x = [value for value, _ in points]
            panel.plot(x, [time * (value / last) ** power for value in x], color="#bbbbbb",
                       linestyle=":", label="work")  # fmt: skip
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("ms")
    panels[0].legend(frameon=False)
    figure.suptitle(report.machine[0], fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main(argv: list[str]) -> int:
    """Draw the last run of a file of records; by default the newest ``scaling.jsonl``."""
    files = sorted((ROOT / "bench" / "history").glob("*/scaling.jsonl"))
    path = Path(argv[0]) if argv else files[-1] if files else None
    if path is None:
        print("no records: refconv bench --scaling --save scaling", file=sys.stderr)
        return 2
    report = Report.of(list(read(path)))
    if not series(list(report.rows)):
        print(f"{path}: its last run has no timing of --scaling", file=sys.stderr)
        return 2
    draw(report, PICTURE)
    print(PICTURE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
