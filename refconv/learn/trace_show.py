"""A ``Trace`` as text, for the terminal, the steps and a notebook. The verdict comes first."""

from __future__ import annotations

import io
from math import prod
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from .. import label
from ..checks import axis_name
from ..problem import ConvProblem
from .trace_data import Channel, Trace
from .trace_grid import HEIGHT, grids, shown

WIDTH = 100
#: Channels whose products are written out, and whose sums stand in the last line.
WRITTEN, SUMMED = 4, 8


def heading(trace: Trace, width: int = WIDTH) -> list[Text]:
    """What stands above the window: the verdict, the problem, the formula."""
    said = [what(trace)]
    said += kernels(trace.problem) if isinstance(trace.problem, ConvProblem) else []
    made = [verdict(trace)]
    made += [Text(f"  {t}") for s in [*said, formula(trace)] for t in _broken(s, width - 2)]
    return [_cut(line, width) for line in made]


def lines(
    trace: Trace,
    width: int = WIDTH,
    cursor: int | None = None,
    *,
    row: bool = True,
    products: bool = True,
    height: int = HEIGHT,
) -> list[Text]:
    """The page, at most ``width`` columns wide.

    Args:
        cursor: the tap that is lit.
        row: with the row of im2col's matrix. ``products``: written out, where they are few.
        height: lines that the windows may take.
    """
    room, made = width - 4, heading(trace, width)
    made += [_indented(line, 4) for line in grids(trace, room, cursor, height)]
    few = products and len(trace.channels) <= WRITTEN
    sums = [Text(f"    {p}") for p in written(trace) if len(p) <= room] if few else []
    made += sums if len(sums) == len(trace.channels) else []
    made += [Text(f"  {t}") for line in conclusions(trace) for t in _broken(line, width - 2)]
    if row and trace.kind == "conv":
        made.append(Text(f"  {im2col(trace, width - 2)}"))
    return [_cut(line, width) for line in made]


def name(trace: Trace) -> str:
    """``y[0,0,0]``."""
    return f"y[{','.join(map(str, trace.at))}]"


def verdict(trace: Trace) -> Text:
    """The value, and whether torch agrees."""
    text = Text(f"{name(trace)} = {shown(trace.value, 10)}", "bold")
    if trace.agrees is None:
        return text
    if trace.agrees:
        return text.append("   ✔ equal to torch's", "bold green")
    return text.append(f"   ✘ differs: torch gives {shown(trace.torch, 10)}", "bold red")


def _torch(trace: Trace) -> str:
    """Beside the sum: what torch gives."""
    if trace.agrees is None:
        return ""
    return f"   {'✔' if trace.agrees else '✘'} torch {shown(trace.torch, 10)}"


def what(trace: Trace) -> str:
    """The problem, its output, and whose numbers these are."""
    shape = ",".join(map(str, trace.problem.output_shape))
    return f"{label.format(trace.problem)} -> y[{shape}]   ({trace.origin})"


def kernels(p: ConvProblem) -> list[str]:
    """How many kernels there are, of what, and how many numbers that is; what groups do.

    Example:
        >>> print(*kernels(label.parse("conv2d x[64,6,6] w[128,64,4,4] b s2 p1")))
        128 kernels of 64x4x4: 64 sub-kernels of 4x4 in each, 8,192 in all; 131,200 params \
(131,072 + 128)
    """
    size = "x".join(map(str, p.kernel))
    ins, weights = p.in_channels // p.groups, prod(p.weight_shape)
    count = f" ({weights:,} + {p.out_channels:,})" if p.bias else ""
    made = [
        f"{p.out_channels} kernel{'s' * (p.out_channels > 1)} of {ins}x{size}: {ins} "
        f"sub-kernel{'s' * (ins > 1)} of {size} in each, {p.out_channels * ins:,} in all; "
        f"{p.params:,} params{count}"
    ]
    if p.groups > 1:
        made.append(f"{p.groups} groups: each kernel sees {ins} of the {p.in_channels} channels")
    return made


def formula(trace: Trace) -> str:
    """The sum with this output's numbers put in; indices as the naive loops name them."""
    p, o = trace.problem, trace.at[-trace.problem.rank :]
    axes = [axis_name(a, p.rank).lower() for a in range(p.rank)]
    if isinstance(p, ConvProblem):
        return _conv_formula(trace, o, axes)
    c = f"{trace.at[-1 - p.rank]}, " if len(trace.at) > p.rank else ""
    if p.adaptive:
        parts = [
            f"{a} from floor({i}·{n}/{m}) up to ceil({i + 1}·{n}/{m})"
            for a, i, n, m in zip(axes, o, p.in_size, p.out_size, strict=True)
        ]
        rule = "; ".join(parts)
        return f"{name(trace)} = {'max' if 'max' in p.op else 'mean'} of x, {rule}"
    steps = p.dilation or (1,) * p.rank
    places = [
        _place(i, s, pad, d, f"k{a}")
        for a, i, s, pad, d in zip(axes, o, p.stride, p.padding, steps, strict=True)
    ]
    inner = f"x[{c}{', '.join(places)}]"
    there = {cell.state for cell in trace.cells}
    signs = [t for s, t in (("padding", "· = padding"), ("beyond", "× = behind it")) if s in there]
    sign = f"   ({', '.join(signs)})" if signs else ""
    if trace.kind == "max_pool":
        return f"{name(trace)} = max over {', '.join(f'k{a}' for a in axes)} of {inner}{sign}"
    return f"{name(trace)} = ({' '.join(f'Σk{a}' for a in axes)} {inner}) / {trace.divisor}{sign}"


def _conv_formula(trace: Trace, o: tuple[int, ...], axes: list[str]) -> str:
    p = trace.problem
    first = trace.channels[0].channel if trace.channels else 0
    c = f"{first}+ic" if first else "ic"
    sums = " ".join(["Σic", *(f"Σk{a}" for a in axes)])
    taps = ",".join(f"k{a}" for a in axes)
    if p.transposed:
        oc = trace.channels[0].plane[1] if trace.channels else 0
        places = ", ".join(
            f"({i}{_signed(pad[0])}-{'' if d == 1 else f'{d}·'}k{a})/{s}"
            for a, i, s, pad, d in zip(axes, o, p.stride, p.padding, p.dilation, strict=True)
        )
        text, plane, sign = f"x[{c}, {places}]", f"{c},{oc}", "_ = no x fits"
    else:
        places = ", ".join(
            _place(i, s, pad[0], d, f"k{a}")
            for a, i, s, pad, d in zip(axes, o, p.stride, p.padding, p.dilation, strict=True)
        )
        text, plane, sign = f"x[{c}, {places}]", f"{trace.at[-1 - p.rank]},ic", "· = zero padding"
    there = {cell.state for cell in trace.cells}
    signs = [sign] if "gap" in there or ("padding" in there and not p.transposed) else []
    signs += ["· = outside x"] if p.transposed and "padding" in there else []
    bias = f" + b[{trace.at[-1 - p.rank]}]" if p.bias else ""
    hint = f"   ({', '.join(signs)})" if signs else ""
    return f"{name(trace)} = {sums} {text} · w[{plane},{taps}]{bias}{hint}"


def _place(o: int, stride: int, padding: int, dilation: int, tap: str) -> str:
    """``0·2-1+kh``."""
    return f"{o}·{stride}{_signed(-padding)}+{'' if dilation == 1 else f'{dilation}·'}{tap}"


def _signed(number: int) -> str:
    return f"{number:+d}" if number else ""


def written(trace: Trace) -> list[str]:
    """Every channel's products and their sum."""
    if trace.kind not in ("conv", "conv_transpose"):
        return []
    return [_products(channel) for channel in trace.channels]


def _products(channel: Channel) -> str:
    terms = [f"{shown(c.value)}·{shown(c.weight)}" for c in channel.cells if c.state == "inside"]
    return f"channel {channel.channel}: {' + '.join(terms) or 'nothing'} = {shown(channel.total)}"


def conclusions(trace: Trace) -> list[str]:
    """The sum of the sums, and what is worth knowing of it."""
    if trace.kind == "max_pool":
        return _maximum(trace)
    if trace.kind == "avg_pool":
        return _average(trace)
    sums = [shown(c.total) for c in trace.channels]
    if len(sums) > SUMMED:
        sums = [*sums[:3], f"… {len(sums) - 4} more …", sums[-1]]
    bias = [] if trace.bias is None else [f"b {shown(trace.bias)}"]
    taps, inside = len(trace.cells), trace.inside
    made = [
        f"{' + '.join([*sums, *bias])} = {shown(trace.value, 10)}{_torch(trace)}     "
        f"{taps:,} products, {'all' if inside == taps else f'{inside:,}'} inside the input"
    ]
    if trace.kind == "conv_transpose":
        return [*made, *scatter(trace)]
    if trace.flipped is not None:
        same = trace.flipped == trace.value
        made.append(
            f"flipped kernel (true convolution) would give "
            f"{'the same here' if same else shown(trace.flipped, 10)}: torch computes "
            "cross-correlation"
        )
    return made


def _maximum(trace: Trace) -> list[str]:
    if trace.winner is None:
        return ["no cell of the window is inside: -inf, at no position (index -1)"]
    p, best = trace.problem, trace.winner
    at = ", ".join(f"{axis_name(a, p.rank).lower()} {i}" for a, i in enumerate(best.at))
    equal = sum(c.state == "inside" and c.value == best.value for c in trace.cells)
    nan = best.value != best.value
    tie = f"; of {equal} equal ones the first wins" if equal > 1 else ""
    tie = "; NaN beats every number, and the last NaN wins" if nan else tie
    return [
        f"the maximum of {trace.inside} is at {at}: index {trace.index} of its plane{tie}",
        "padding is never the maximum: it counts as -inf, not as 0",
    ][: 2 if trace.inside < len(trace.cells) else 1]


def _average(trace: Trace) -> list[str]:
    p = trace.problem
    total = trace.channels[0].total
    made = [f"{shown(total, 10)} / {trace.divisor} = {shown(trace.value, 10)}     "
            f"{trace.inside} of {len(trace.cells)} cells inside the input"]  # fmt: skip
    if p.divisor is not None:
        return [*made, f"the divisor is divisor_override={p.divisor}"]
    extents = "·".join(str(int(p.window(a, i)[2])) for a, i in enumerate(trace.at[-p.rank :]))
    if p.adaptive:
        return [*made, f"the divisor is the window's size, {extents}: neighbours may differ"]
    rule = (
        "padding counts (count_include_pad=True)"
        if p.count_include_pad
        else "only what is inside counts (count_include_pad=False)"
    )
    return [*made, f"the divisor is {extents} = {trace.divisor}: {rule}"]


def scatter(trace: Trace) -> list[str]:
    """A transposed convolution from the other side: which inputs stamp on this output, and with
    which tap.
    """
    p = trace.problem
    first = trace.channels[0] if trace.channels else None
    hits = [c for c in first.cells if c.state == "inside"] if first else []
    if not hits:
        return ["no input stamps here: only the bias is left"]
    made = [f"scatter view: each input stamps w, times itself, on y; {_times(len(hits))} here"]
    for cell in hits[:4]:
        spans = []
        for a, i in enumerate(cell.at):
            start = i * p.stride[a] - p.padding[a][0]
            stop = start + p.dilation[a] * (p.kernel[a] - 1)
            clipped = max(start, 0), min(stop, p.out_size[a] - 1)
            spans.append(f"{axis_name(a, p.rank).lower()} {clipped[0]}…{clipped[1]}")
        at, tap = (",".join(map(str, t)) for t in (cell.at, cell.tap))
        made.append(f"  x[ic,{at}] stamps y {', '.join(spans)}: here its tap {tap}")
    return made if len(hits) <= 4 else [*made, f"  … and {len(hits) - 4} more"]


def _times(count: int) -> str:
    return "one reaches" if count == 1 else f"{count} reach"


def im2col(trace: Trace, width: int = WIDTH) -> str:
    """The window as a row of im2col's matrix, cut at ``width``."""
    row, rows = trace.row
    parts = [
        " ".join(shown(c.value) if c.state == "inside" else "·" for c in channel.cells)
        for channel in trace.channels
    ]
    text = f"im2col row {row} of {rows}: {' | '.join(parts)}"
    tail = f" … ({len(trace.cells):,} numbers)"
    return text if len(text) <= width else text[: width - len(tail)].rstrip(" |") + tail


def _broken(line: str, width: int) -> list[str]:
    """A line that is too long goes on with its brackets on the next one, or between two words."""
    if len(line) <= width:
        return [line]
    first, bracket, rest = line.rpartition("   (")
    lines = [first.rstrip(), f"  ({rest}"] if bracket else [line]
    return [t for s in lines for t in wrap(s, width, subsequent_indent="    ")]


def _indented(line: Text, by: int) -> Text:
    return Text(" " * by).append_text(line)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def text(trace: Trace) -> str:
    """Without colours."""
    return "\n".join(line.plain for line in lines(trace))


def html(trace: Trace) -> str:
    """For a notebook: the same page, in colour."""
    console: Any = Console(record=True, file=io.StringIO(), width=WIDTH + 1, force_terminal=True)
    for line in lines(trace):
        console.print(line, soft_wrap=True)
    pre = '<pre style="line-height:1.25;margin:0">{code}</pre>'
    return (
        '<div style="overflow-x:auto">'
        f"{console.export_html(inline_styles=True, code_format=pre)}</div>"
    )
