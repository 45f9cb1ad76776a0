"""The drawings of docs/learn as SVG: text stays text, and ink follows the page's light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

Data = dict[str, Any]

#: What becomes the page's own colour of text.
INK = "#123456"
#: Okabe and Ito's colours, told apart by those who see colours otherwise; all readable on both.
BLUE, ORANGE, GREEN, VIOLET, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a8a8a"
STYLE = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
         "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK,
         "xtick.color": INK, "ytick.color": INK, "legend.frameon": False,
         "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
LIGHT_OR_DARK = (
    "<style>svg{color:#1f2328}@media (prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"
)


def svg(name: str, draw: Callable[[Data], Figure], data: Data) -> str:
    """One drawing as text; ``name`` makes its identifiers its own."""
    mpl.use("svg")
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = draw(data)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    text = re.sub(r"(<svg[^>]*>)", lambda m: m[1] + "\n " + LIGHT_OR_DARK, text, count=1)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def canvas(width: float, height: float, across: float, down: float) -> tuple[Figure, Axes]:
    """A sheet measured in cells, origin at the top left, with no axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, across), ylim=(down, 0), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def cell(axes: Axes, x: float, y: float, text: str = "", *, fill: str = "", dashed: bool = False,
         ink: str = INK, width: float = 1.0, height: float = 1.0) -> None:  # fmt: skip
    """A square with something in it."""
    line = {"edgecolor": GREY, "linestyle": (0, (2, 2))} if dashed else {"edgecolor": ink}
    axes.add_patch(Rectangle((x, y), width, height, facecolor=fill or "none", linewidth=0.8,
                             alpha=0.28 if fill else 1.0, **line))  # fmt: skip
    if fill:
        axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=ink,
                                 linewidth=0.8))  # fmt: skip
    if text:
        axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)


def windows(data: Data) -> Figure:
    """One axis and its windows, once for each rule."""
    rows = data["rows"]
    down = sum(len(r["windows"]) * 0.55 + 2.6 for r in rows)
    figure, axes = canvas(7.2, down * 0.34, 21, down)
    top = 0.2
    for r in rows:
        said = ", ".join(f"{n} {r[n]}" for n in ("kernel", "stride", "padding", "dilation")
                         if n == "kernel" or r[n] != (n != "padding"))  # fmt: skip
        axes.text(0, top + 0.9, f"{said}:\n{len(r['windows'])} windows", va="center")
        left = 8.5
        for i in range(-r["padding"], r["size"] + r["padding"]):
            inside = 0 <= i < r["size"]
            unused = i >= r["size"] + r["padding"] - r["left"]
            cell(axes, left + i, top + 0.4, str(i) if inside else "0", dashed=not inside,
                 fill=ORANGE if unused else "")  # fmt: skip
        for o, taps in enumerate(r["windows"]):
            y = top + 1.75 + o * 0.55
            axes.plot([left + taps[0] + 0.5, left + taps[-1] + 0.5], [y, y], color=BLUE, lw=1)
            axes.plot([left + t + 0.5 for t in taps], [y] * len(taps), "s", color=BLUE, ms=5)
            axes.text(left + 9.4, y, f"o = {o}", va="center", fontsize=8)
        if r["left"]:
            axes.text(left + 9.4, top + 0.9, f"{r['left']} left over", va="center", fontsize=8)
        top += len(r["windows"]) * 0.55 + 2.6
    return figure


def padded(data: Data) -> Figure:
    """A padded image, two of its windows, and the output that they make."""
    grid, pad, kernel = data["grid"], data["pad"], data["kernel"]
    size = len(grid)
    figure, axes = canvas(6.2, 3.4, 16, 8.4)
    axes.text(0, 0.5, "channel 0 of x, padded by 1")
    for h, row in enumerate(grid):
        for w, value in enumerate(row):
            outside = not (pad <= h < size - pad and pad <= w < size - pad)
            cell(axes, w, h + 1, str(value), dashed=outside)
    for number, colour in ((0, BLUE), (5, ORANGE)):
        h, w = data["corners"][number]
        axes.add_patch(Rectangle((w + 0.06, h + 1.06), kernel - 0.12, kernel - 0.12, fill=False,
                                 edgecolor=colour, linewidth=2.4))  # fmt: skip
    out = data["output"][0]
    axes.text(10.5, 0.5, "channel 0 of y")
    for h, row in enumerate(out):
        for w, value in enumerate(row):
            colour = {(0, 0): BLUE, (1, 2): ORANGE}.get((h, w), "")
            cell(axes, 10.5 + w, 3 + h, str(value), fill=colour)
    axes.add_patch(FancyArrowPatch((7.4, 4.5), (10.2, 4.5), arrowstyle="->", mutation_scale=14,
                                   color=GREY))  # fmt: skip
    return figure


def columns(data: Data) -> Figure:
    """An image and the matrix of its windows, one window marked in both."""
    image, matrix = data["image"], data["columns"]
    figure, axes = canvas(6.6, 2.4, 17, 6)
    axes.text(0, 0.5, "x, 3 by 4")
    for h, row in enumerate(image):
        for w, value in enumerate(row):
            mark = BLUE if h in (1, 2) and w in (0, 1) else ""
            cell(axes, w, 1 + h, str(value), fill=mark)
    axes.text(8, 0.5, "col: a row each tap, a column each window")
    for r, row in enumerate(matrix):
        axes.text(7.8, 1.5 + r, f"tap ({r // 2}, {r % 2})", ha="right", va="center", fontsize=8)
        for c, value in enumerate(row):
            cell(axes, 8 + c, 1 + r, str(value), fill=BLUE if c == 3 else "")
    for c in range(len(matrix[0])):
        axes.text(8.5 + c, 5.4, f"({c // 3},{c % 3})", ha="center", fontsize=8)
    return figure


def stamps(data: Data) -> Figure:
    """Each input stamps the kernel onto the output; below, how many stamps reach each cell."""
    cases = data["cases"]
    figure, axes = canvas(6.8, 4.3, 19, 12.2)
    for number, case in enumerate(cases):
        top, colours = number * 6.2, (BLUE, ORANGE, GREEN)
        axes.text(0, top + 1.2, f"kernel {case['kernel']} of ones,\nstride 2", va="center")
        for i, (value, start) in enumerate(zip(case["x"], case["starts"], strict=True)):
            axes.text(
                6.6, top + 0.9 + i, f"x[{i}] = {value:g}", ha="right", va="center", fontsize=8
            )
            for k in range(case["kernel"]):
                cell(axes, 7 + start + k, top + 0.4 + i, f"{value:g}", fill=colours[i])
        axes.text(6.6, top + 4.2, "y, the sum", ha="right", va="center", fontsize=8)
        axes.text(6.6, top + 5.2, "terms", ha="right", va="center", fontsize=8)
        for i, value in enumerate(case["y"]):
            cell(axes, 7 + i, top + 3.7, f"{value:g}")
            axes.text(7.5 + i, top + 5.2, str(case["terms"][i]), ha="center", va="center",
                      fontsize=8)  # fmt: skip
    return figure


def pools(data: Data) -> Figure:
    """One axis of 7 under four kinds of pooling windows, clipped to the input."""
    figure, axes = canvas(6.4, 3.7, 18, 10.4)
    for number, r in enumerate(data["rows"]):
        top = number * 2.6
        axes.text(0, top + 0.9, r["name"], va="center")
        for i in range(r["size"]):
            cell(axes, 9 + i, top + 0.3, str(i))
        for o, (start, stop) in enumerate(r["windows"]):
            y = top + 1.5 + 0.3 * (o % 2)
            axes.plot([9 + start + 0.1, 9 + stop - 0.1], [y, y], color=(BLUE, ORANGE)[o % 2], lw=3)
    return figure


def receptive(data: Data) -> Figure:
    """What the first and the last output of each layer see of the image's row."""
    figure, axes = canvas(6.8, 2.7, 46, 17)
    for i in range(data["size"]):
        cell(axes, 13 + i, 0.4)
    for number, layer in enumerate(data["layers"]):
        y = 3 + number * 3.5
        axes.text(0, y + 0.9, f"{layer['op']}: {layer['out']}\nfield {layer['field']}, "
                  f"stride {layer['stride']}", va="center", fontsize=8.5)  # fmt: skip
        for (first, last), colour in zip(layer["windows"], (BLUE, ORANGE), strict=True):
            up = 0 if colour == BLUE else 1.2
            axes.plot(
                [13 + first, 14 + last], [y + up] * 2, color=colour, lw=4, solid_capstyle="butt"
            )
    return figure


def winograd(data: Data) -> Figure:
    """Overlapping input tiles above, the output tiles that they give below, for F(2) and F(4)."""
    figure, axes = canvas(6.8, 4.0, 23, 13)
    for number, form in enumerate(data["forms"]):
        left, m, a = number * 12, form["m"], form["tile"]
        axes.text(left, 1.0, f"F({m}×{m}, 3×3): {form['products']} products\n"
                  f"for {m * m} outputs, not {form['direct']}", va="center")  # fmt: skip
        for h in range(m + a):
            for w in range(m + a):
                cell(axes, left + w, 2.6 + h)
        for t, colour in ((0, BLUE), (m, ORANGE)):
            axes.add_patch(Rectangle((left + t + 0.08, 2.68), a - 0.16, a - 0.16, fill=False,
                                     edgecolor=colour, linewidth=2.4))  # fmt: skip
            axes.add_patch(Rectangle((left + t + 1, 3.6), m, m, facecolor=colour, alpha=0.3))
    return figure


def errors(data: Data) -> Figure:
    """Error against the number of terms, both logarithmic."""
    figure = Figure(figsize=(6.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    terms = [r["terms"] for r in data["rows"]]
    for key, label, colour, mark in (
        ("tf32", "inputs cut to TF32 (rms)", ORANGE, "^"),
        ("bound", "proven bound, float32", INK, ""),
        ("loop", "float32, one term after the other (rms)", BLUE, "o"),
        ("noise", "noise sigma, float32", GREEN, ""),
    ):
        axes.plot(terms, [r[key] for r in data["rows"]], color=colour, marker=mark, label=label,
                  linestyle="-" if mark else "--", markersize=5)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="terms of the sum",
             ylabel="error / sum of |terms|")  # fmt: skip
    axes.set_xticks(terms, [str(t) for t in terms])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def tile(data: Data) -> Figure:
    """Sums in registers, the column of scalars and the row of vectors that one step loads."""
    figure, axes = canvas(6.6, 3.6, 22, 9.4)
    for number, s in enumerate(data["shapes"]):
        left, rows, cols = number * 10.5, s["rows"], s["columns"]
        fmas, loads = rows * cols, rows + cols
        axes.text(left, 0.4, f"{s['registers']} registers: {rows}×{cols} sums\n"
                  f"{fmas} FMAs for {loads} loads a step", va="center")  # fmt: skip
        for v in range(cols):
            cell(axes, left + 1.4 + v * 1.9, 1.5, f"B{v}", fill=ORANGE, width=1.8)
        for r in range(rows):
            cell(axes, left, 2.8 + r, f"A{r}", fill=BLUE)
            for v in range(cols):
                cell(axes, left + 1.4 + v * 1.9, 2.8 + r, f"C{r}{v}", width=1.8)
    return figure
