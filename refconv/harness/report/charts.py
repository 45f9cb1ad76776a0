"""The charts of a report: speed beside torch, roofline, accuracy against speed, cost against size,
errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Any

from . import labels
from .findings import READ, Report
from .rows import NOISE, Row
from .summary import Part
from .svg import COLOUR, SETTINGS, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Layers of the chart of speed: more are no longer read.
LAYERS = 60
#: Points of a scatter: more only cover each other.
POINTS = 800
#: Names written into a scatter.
NAMED = 3
MARKS = {"torch": "s", "strict": "o", "fast": "^", "both": "D", "": "o"}


@dataclass(frozen=True)
class Chart:
    """One chart: what it is, how to read it, and the picture."""

    name: str
    title: str
    about: str
    svg: str
    wide: bool = False


def charts(report: Report, sheet: Sheet) -> list[Chart]:
    """Every chart that the records have something for."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        return [made for part in _all(report, sheet) for made in part]


def _all(report: Report, sheet: Sheet) -> Iterator[list[Chart]]:
    timed = [r for r in report.rows if r.ns and not r.busy and r.status != "wrong"]
    yield speed(timed, sheet)
    yield from (roofline(part, sheet) for part in report.parts)
    yield accuracy(timed, sheet)
    yield cost(timed, sheet)
    yield errors(report, sheet)


def figure(width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    """An empty one."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height))
    FigureCanvasSVG(made)
    return made, made.add_subplot()


def kind(row: Row) -> str:
    """The role, and so the colour, of a row."""
    if row.backend == "torch":
        return "torch"
    if row.accuracy in ("strict", "fast"):
        return row.accuracy
    return "ours" if row.accuracy == "both" or "numba" in row.backend else "other"


def plain(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.2g}" if x < 1 else f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, **where: Any) -> None:
    """Only where there is more than one thing to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if len(once) > 1:
        axes.legend(once.values(), once.keys(), fontsize=8, **where)


class Dots:
    """Points gathered by how they look, so that a chart has a few artists and not a thousand."""

    def __init__(self) -> None:
        self._points: dict[tuple[tuple[str, Any], ...], list[tuple[float, float]]] = {}

    def add(self, x: float, y: float, mark: str, **look: Any) -> None:
        """A point, by its mark, colour and label."""
        self._points.setdefault((("marker", mark), *look.items()), []).append((x, y))

    def draw(self, axes: Axes, **look: Any) -> None:
        """Draw them all, look by look, in the order in which the looks came."""
        for key, points in self._points.items():
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, linestyle="none", **dict(key), **look)


def speed(timed: Sequence[Row], sheet: Sheet) -> list[Chart]:
    """Time over torch's, layer by layer, with its interval."""
    rows = [r for r in timed if r.ratio and r.backend != "torch"]
    best: dict[str, float] = {}
    for r in rows:
        best[r.name] = min(best.get(r.name, r.ratio or 1.0), r.ratio or 1.0)
    layers = sorted(best, key=lambda name: -best[name])[:LAYERS][::-1]
    if not layers:
        return []
    at = {name: i for i, name in enumerate(layers)}
    made, axes = figure(7.6, 0.9 + 0.19 * len(layers))
    dots = Dots()
    bars: dict[str, tuple[list[float], list[float]]] = {}
    for r in rows:
        if r.name not in at or r.backend in READ:
            continue
        y = at[r.name] + {"strict": -0.16, "fast": 0.16}.get(r.accuracy, 0.0)
        colour = COLOUR[kind(r)]
        if r.low and r.high:  # nan lifts the pen
            xs, ys = bars.setdefault(colour, ([], []))
            xs += [r.low, r.high, nan]
            ys += [y, y, nan]
        label = {"both": "strict = fast"}.get(r.accuracy, r.accuracy or r.backend)
        face = "none" if r.status == NOISE else colour
        dots.add(r.ratio or 1.0, y, MARKS.get(r.accuracy, "o"), color=colour,
                 markerfacecolor=face, label=label if face == colour else "_hollow")  # fmt: skip
    for colour, (xs, ys) in bars.items():
        axes.plot(xs, ys, color=colour, linewidth=2, alpha=0.5, solid_capstyle="round")
    dots.draw(axes, markersize=4)
    axes.axvline(1, color=COLOUR["torch"], linewidth=1)
    axes.set_xscale("log", base=2)
    plain(axes.xaxis)
    axes.set_yticks(range(len(layers)), layers, fontsize=7.5)
    axes.set_ylim(-0.8, len(layers) - 0.2)
    axes.set_xlabel("time over torch's (1 is torch; left is faster)")
    axes.grid(axis="y", alpha=0.5)
    legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=6)
    about = "A row a layer, the slowest on top; the bar is the 95 % interval of the median."
    if any(r.status == NOISE for r in rows):
        about += " Hollow: noise, which decides nothing."
    if len(best) > len(layers):
        about += f" The {len(layers)} slowest of {len(best)} layers."
    return [Chart("speed", "Speed beside torch", about, sheet.inline(made, about), wide=True)]


def roofline(part: Part, sheet: Sheet) -> list[Chart]:
    """Operations a second against operations a byte, under what the machine can do."""
    peak = part.peak
    rows = [r for r in part.shown if r.ns and r.flops and r.moved and not r.busy
            and "conv" in r.op and r.dtype in ("float32", "")][:POINTS]  # fmt: skip
    if peak is None or not rows:
        return []
    made, axes = figure()
    dots = Dots()
    for r in rows:
        role = kind(r)
        face = "none" if role == "torch" else COLOUR[role]
        mark = MARKS.get("torch" if role == "torch" else r.accuracy, "o")
        dots.add(r.flops / r.moved, r.flops / (r.ns or 1.0), mark, color=COLOUR[role],
                 markerfacecolor=face, label={"ours": "strict = fast"}.get(role, role))  # fmt: skip
    dots.draw(axes, markersize=4, alpha=0.8)
    xs, knee = [r.flops / r.moved for r in rows], peak.fma / peak.copy
    low, high = min(xs) / 4, max(max(xs) * 1.6, 2 * knee)
    axes.plot([low, knee, high], [low * peak.copy / 1e9, peak.fma / 1e9, peak.fma / 1e9],
              color=COLOUR["ink"], linewidth=1.4)  # fmt: skip
    axes.axhline(peak.fma / 1e9, color=COLOUR["ink"], linewidth=0.6, linestyle=":")
    for text, y, down in (
        (f"FMA peak {peak.fma / 1e9:.0f} GF/s", peak.fma / 1e9, 3),
        (f"copy {peak.copy / 1e9:.0f} GB/s", low * peak.copy / 1e9, -12),
    ):
        axes.annotate(text, (low, y), xytext=(4, down), textcoords="offset points", fontsize=8,
                      color=COLOUR["ink"])  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain(axes.xaxis)
    plain(axes.yaxis)
    axes.set_xlabel("operations of the direct sum per byte of the arrays")
    axes.set_ylabel("10⁹ operations a second")
    legend(axes, loc="lower right")
    about = (
        "Ceilings as measured in the run. Above the slope: the arrays fit the caches; above the "
        "flat: Winograd does fewer operations than are counted."
    )
    where = part.run.cpu if part.run else str(part.path)
    return [Chart("roofline", f"Roofline · {where}", about, sheet.inline(made, about))]


def accuracy(timed: Sequence[Row], sheet: Sheet) -> list[Chart]:
    """Error against time, of every layer and of every algorithm over its layers."""
    rows = [r for r in timed if r.ratio and r.noise and r.backend not in ("torch", *READ)]
    peers = [r.noise for r in timed if r.noise and r.backend == "torch"]
    if not rows:
        return []
    made, axes = figure()
    dots = Dots()
    for r in rows[:POINTS]:
        dots.add(r.ratio or 1.0, r.noise or 1.0, ".", color=COLOUR[kind(r)])
    dots.draw(axes, alpha=0.35, markersize=5)
    groups: dict[str, list[Row]] = {}
    for r in rows:
        groups.setdefault(r.algorithm or r.backend, []).append(r)
    means = {name: (geometric_mean([r.ratio or 1 for r in g]), median([r.noise or 1 for r in g]))
             for name, g in groups.items()}  # fmt: skip
    if peers:
        means["torch"] = (1.0, median(peers))
    edge = frontier(means)
    named = []
    for name, (x, y) in sorted(means.items(), key=lambda item: item[1]):
        on = name in edge
        role = "torch" if name == "torch" else "ink" if on else "soft"
        axes.plot([x], [y], "s" if name == "torch" else "o", color=COLOUR[role], markersize=7,
                  markerfacecolor=COLOUR[role] if on else "none")  # fmt: skip
        named.append((x, y, name, COLOUR[role]))
    points = [means[name] for name in edge]
    axes.step([x for x, _ in points], [y for _, y in points], where="post", color=COLOUR["ink"],
              linestyle="--", linewidth=1)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    plain(axes.xaxis)
    plain(axes.yaxis)
    axes.set_xlabel("time over torch's")
    axes.set_ylabel("rms error / expected rounding noise")
    labels.names(axes, named)
    about = (
        "Large: an algorithm, the geometric mean of its times and the median of its errors; small: "
        "its layers. Filled and joined: the frontier, nothing is both faster and more accurate."
    )
    return [Chart("accuracy", "Accuracy against speed", about, sheet.inline(made, about))]


def frontier(points: dict[str, tuple[float, float]]) -> list[str]:
    """The names that no other beats in both, the fastest first.

    Example:
        >>> frontier({"a": (1, 1), "b": (0.5, 2), "c": (0.6, 3), "d": (1, 4)})
        ['b', 'a']
    """
    found, least = [], float("inf")
    for name, (_, y) in sorted(points.items(), key=lambda item: item[1]):
        if y < least:
            found.append(name)
            least = y
    return found


def cost(timed: Sequence[Row], sheet: Sheet) -> list[Chart]:
    """Time against the operations of the direct sum."""
    rows = [r for r in timed if r.flops and r.ns][:POINTS]
    if len(rows) < 3:
        return []
    made, axes = figure()
    dots = Dots()
    for r in rows:
        role = kind(r)
        label = {"ours": "strict = fast" if r.accuracy else "numba"}.get(role, role)
        label = "naive, im2col" if r.backend in READ else r.backend if role == "other" else label
        face = "none" if role == "torch" else COLOUR[role]
        dots.add(r.flops, (r.ns or 0.0) / 1e6, MARKS.get(role, "o"), color=COLOUR[role],
                 markerfacecolor=face, label=label)  # fmt: skip
    dots.draw(axes, markersize=4, alpha=0.75)
    ours = [r for r in rows if r.backend not in ("torch", *READ)]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations of the direct sum")
    axes.set_ylabel("ms")
    plain(axes.yaxis)
    longest = {r.name: r for r in sorted(ours, key=lambda r: r.ns or 0.0)}
    named = [(r.flops, (r.ns or 0.0) / 1e6, r.name, COLOUR["soft"]) for r in longest.values()]
    labels.names(axes, sorted(named, key=lambda point: -point[1])[:NAMED], 7)
    legend(axes, loc="upper left")
    about = f"Every timed row; named: the {NAMED} of ours that take longest."
    return [Chart("cost", "Cost against size", about, sheet.inline(made, about))]


def errors(report: Report, sheet: Sheet) -> list[Chart]:
    """How often the error was how large, who by who, of all rows."""
    made = []
    for name, title, unit in (
        ("noises", "Errors beside the usual rounding", "rms error / expected rounding noise"),
        ("bounds", "Errors beside the proven bound", "largest error / proven bound"),
    ):
        found: dict[str, Counter[int]] = {}
        for part in report.parts:
            for who, count in getattr(part, name).items():
                if count:
                    found.setdefault(who, Counter()).update(count)
        if found:
            made.append(_histogram(name, title, unit, found, sheet))
    return made


def _histogram(
    name: str, title: str, unit: str, found: dict[str, Counter[int]], sheet: Sheet
) -> Chart:
    """Powers of two, stacked nowhere: one step line a candidate."""
    made, axes = figure(6.4, 3.4)
    low = min(min(c) for c in found.values()) - 1
    high = max(max(c) for c in found.values()) + 1
    roles = {"torch": "torch", "numba": "ours"}
    spare = iter(("other", "strict", "fast", "ink", "soft", "bad"))
    for who, count in sorted(found.items()):
        total = count.total()
        values = [100 * count[e] / total for e in range(low, high + 1)]
        role = roles.get(who) or next(spare, "soft")
        axes.stairs(values, range(low, high + 2), color=COLOUR[role], linewidth=1.5,
                    label=f"{who} ({total:,})")  # fmt: skip
    step = max(1, -(-(high - low) // 6))
    edges = list(range(low, high + 2, step))
    axes.set_xticks(edges, [f"{2.0 ** (e - 1):.2g}" for e in edges])
    axes.set_xlabel(unit)
    axes.set_ylabel("% of rows")
    legend(axes)
    about = "Of each candidate, the share of its rows in each power of two; leftmost: no error."
    if name == "bounds":
        about += " Beyond 1 a result is proven wrong."
    return Chart(name, title, about, sheet.inline(made, f"{title}. {about}"))
