"""Draw time against N, C and H from the recorded run: ``make readme``, or ``python docs/scaling.py
RECORDS [PICTURE]``.

The records are made by ``refconv bench --scaling --save scaling``; the picture is
docs/images/scaling.svg, shown by docs/reference/bench.md. matplotlib is in the extra ``report``.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

from refconv.cli.bench_report import Report
from refconv.harness.records import Bench, read
from refconv.harness.scaling import AXES, BASE, NAME

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "scaling.svg"
COLOURS = {"torch": "#777777", "strict": "#0072b2", "fast": "#d55e00"}
MARKS = {"torch": "s", "strict": "o", "fast": "^"}
#: How the work of the direct sum grows with each axis.
POWER = {"N": 1, "C": 2, "H": 2}

Points = list[tuple[int, float]]


def series(rows: list[Bench]) -> dict[tuple[str, str], Points]:
    """(axis, torch or accuracy) → (value, milliseconds), from rounds that can be trusted."""
    found: dict[tuple[str, str], Points] = {}
    for row in rows:
        name, axis, value = (*row.case.split("/"), "", "")[:3]
        if name == NAME and row.way == "fprop" and row.timing and not row.timing.busy:
            who = row.accuracy or row.backend
            found.setdefault((axis, who), []).append((int(value), row.timing.median_ns / 1e6))
    return {key: sorted(points) for key, points in found.items()}


def growth(points: Points, last: int = 4) -> float:
    """The exponent with which time grows over the ``last`` values: a line through their logarithms.

    Example:
        >>> round(growth([(1, 5.0), (2, 5.0), (4, 8.0), (8, 16.0), (16, 32.0)], last=3), 2)
        1.0
    """
    from math import log
    from statistics import linear_regression

    x, y = zip(*points[-last:], strict=True)
    return linear_regression([log(v) for v in x], [log(v) for v in y]).slope


def table(report: Report) -> str:
    """Exponents of growth over the last four values, beside the work's; Markdown."""
    found = series(list(report.rows))
    who = [w for w in COLOURS if any((axis, w) in found for axis in AXES)]
    names = ["torch" if w == "torch" else f"refconv {w}" for w in who]
    lines = ["| axis | " + " | ".join(["work", *names]) + " |", "|---" * (len(who) + 2) + "|"]
    for axis in AXES:
        fits = [found.get((axis, w), []) for w in who]
        cells = [f"{growth(p):.2f}" if len(p) >= 4 else "–" for p in fits]
        lines.append(f"| {axis} | " + " | ".join([str(POWER[axis]), *cells]) + " |")
    return "\n".join(lines)


def mark(report: Report) -> str:
    """A comment in the picture that says of what it was drawn: stale pictures are found by it."""
    points = repr(sorted(series(list(report.rows)).items()))
    return f"<!-- drawn of {hashlib.sha256(points.encode()).hexdigest()[:16]} -->"


def draw(report: Report) -> str:
    """The picture as SVG: three panels, logarithmic both ways; dotted, how the work grows."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    style = {"svg.hashsalt": NAME, "svg.fonttype": "none", "font.size": 9,
             "font.family": "sans-serif", "axes.spines.top": False,
             "axes.spines.right": False}  # fmt: skip
    found = series(list(report.rows))
    with mpl.rc_context(style):
        figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
        for panel, (axis, values) in zip(panels, AXES.items(), strict=True):
            fixed = ", ".join(f"{name} = {value}" for name, value in BASE.items() if name != axis)
            panel.set(xscale="log", yscale="log", xlabel=axis, title=f"3×3, {fixed}")
            panel.set_xticks(values, [str(v) for v in values])
            panel.xaxis.set_minor_locator(NullLocator())
            for who, colour in COLOURS.items():
                if points := found.get((axis, who)):
                    label = who if who == "torch" else f"refconv {who}"
                    panel.plot(*zip(*points, strict=True), color=colour, marker=MARKS[who],
                               markersize=4, linewidth=1.3, label=label)  # fmt: skip
            if points := found.get((axis, "torch")):
                last, time = points[-1]
                y = [time * (value / last) ** POWER[axis] for value, _ in points]
                panel.plot([value for value, _ in points], y, color="#bbbbbb", linestyle=":",
                           zorder=0, label="the work")  # fmt: skip
            panel.grid(alpha=0.25)
        every = [ms for points in found.values() for _, ms in points]
        panels[0].set_ylim(min(every) / 2, max(every) * 2)  # not down to where the work alone goes
        panels[0].yaxis.set_major_formatter("{x:g}")
        panels[0].set_ylabel("ms a call")
        panels[0].legend(frameon=False)
        figure.suptitle(report.machine[0], fontsize=8)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join([*lines, mark(report), ""])


def main(argv: list[str]) -> int:
    """Draw the last run of a file of records."""
    if not argv:
        print("which records? (refconv bench --scaling --records FILE makes some)", file=sys.stderr)
        return 2
    path = Path(argv[0])
    report = Report.of(list(read(path)))
    if not series(list(report.rows)):
        print(f"{path}: its last run has no timing of --scaling", file=sys.stderr)
        return 2
    target = Path(argv[1]) if len(argv) > 1 else PICTURE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draw(report))
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
