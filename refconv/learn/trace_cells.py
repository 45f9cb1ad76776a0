"""What a ``Trace`` is made of: which cells a window has, what they meet, what they add up to.

The arithmetic is its own and exact: integers stay integers, floats are multiplied in double
precision and summed with one rounding. So it is a third judge beside torch and the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from ..errors import IndexRangeError, UnsupportedError
from ..problem import ConvProblem, PoolProblem, Size
from .trace_data import Cell, Channel, Trace, exact_sum


def trace_at(
    problem: Any, arrays: Mapping[str, Any], at: Sequence[int] | None = None, origin: str = ""
) -> Trace:
    """The trace of output ``at`` of ``problem`` on these NumPy arrays.

    Args:
        arrays: ``input`` and, of a convolution, ``weight`` and ``bias``, of the problem's shapes.
        at: without the batch's index that of the first image is meant; None: the first output.

    Raises:
        UnsupportedError: not a convolution, a transposed one, a max or average pooling.
        IndexRangeError: there is no such output.
    """
    if not isinstance(problem, ConvProblem | PoolProblem) or getattr(problem, "norm", None):
        raise UnsupportedError(
            f"trace: it looks inside convolutions, transposed convolutions, max and average "
            f"pooling, not {problem.op}"
        )
    where = place(problem, at)
    if isinstance(problem, PoolProblem):
        return _pool(problem, arrays, where, origin)
    return _conv(problem, arrays, where, origin)


def place(problem: Any, at: Sequence[int] | None) -> Size:
    """``at`` as a full index of the output."""
    shape = problem.output_shape
    if math.prod(shape) == 0:
        raise IndexRangeError(f"trace: the output {shape} of {problem.op} has no elements")
    found = tuple(at) if at is not None else (0,) * len(shape)
    if len(found) == len(shape) - 1 == problem.rank + 1:
        found = (0, *found)
    inside = len(found) == len(shape) and all(0 <= i < n for i, n in zip(found, shape, strict=True))
    if not inside:
        largest = ",".join(str(n - 1) for n in shape)
        raise IndexRangeError(
            f"trace: there is no output {','.join(map(str, found))}: {problem.op} gives {shape}, "
            f"so the last one is {largest}"
        )
    return found


def _conv(p: ConvProblem, arrays: Mapping[str, Any], at: Size, origin: str) -> Trace:
    """Gather: each tap of each input channel of the group, and what it meets."""
    x, w = arrays["input"], arrays["weight"]
    lead, oc, o = at[: len(at) - 1 - p.rank], at[-1 - p.rank], at[-p.rank :]
    ins, outs = p.in_channels // p.groups, p.out_channels // p.groups
    group = oc // outs
    meet = _meet_transposed if p.transposed else _meet
    axes = [[meet(p, a, o[a], k) for k in range(n)] for a, n in enumerate(p.kernel)]
    taps = list(product(*map(range, p.kernel)))
    channels = []
    flips = []
    for ic in range(ins):
        c = group * ins + ic
        plane = (c, oc % outs) if p.transposed else (oc, ic)
        cells = []
        for tap in taps:
            met = [axes[a][k] for a, k in enumerate(tap)]
            weight = w[(*plane, *tap)].item()
            i = tuple(j for j in met if j is not None)
            if len(i) < p.rank:
                cells.append(Cell(tap, (), "gap", weight=weight))
                continue
            if not all(0 <= j < n for j, n in zip(i, p.in_size, strict=True)):
                cells.append(Cell(tap, i, "padding", weight=weight))
                continue
            value = x[(*lead, c, *i)].item()
            cells.append(Cell(tap, i, "inside", value, weight, value * weight))
            turned = tuple(n - 1 - k for k, n in zip(tap, p.kernel, strict=True))
            flips.append(value * w[(*plane, *turned)].item())
        channels.append(Channel(c, plane, tuple(cells)))
    bias = arrays["bias"][oc].item() if p.bias else None
    terms = [c.product for ch in channels for c in ch.cells if c.state == "inside"]
    more = [] if bias is None else [bias]
    flipped = exact_sum([*flips, *more]) if math.prod(p.kernel) > 1 and not p.transposed else None
    value = exact_sum([*terms, *more])
    return Trace(p, at, tuple(channels), value, bias, flipped=flipped, origin=origin, arrays=arrays)


def _meet(p: ConvProblem, axis: int, o: int, k: int) -> int | None:
    """Where tap ``k`` of window ``o`` lands."""
    return o * p.stride[axis] - p.padding[axis][0] + k * p.dilation[axis]


def _meet_transposed(p: ConvProblem, axis: int, o: int, k: int) -> int | None:
    """The input whose stamp puts tap ``k`` on output ``o``; None: none does, by the stride."""
    reach = o + p.padding[axis][0] - k * p.dilation[axis]
    return None if reach % p.stride[axis] else reach // p.stride[axis]


def _pool(p: PoolProblem, arrays: Mapping[str, Any], at: Size, origin: str) -> Trace:
    x = arrays["input"]
    lead, o = at[: len(at) - p.rank], at[-p.rank :]
    maximum = p.forward_slot == "max_pool"
    axes = [list(_taps(p, a, o[a])) for a in range(p.rank)]
    cells = []
    for parts in product(*axes):
        tap, i = tuple(k for k, _, _ in parts), tuple(i for _, i, _ in parts)
        states = {state for _, _, state in parts}
        state = next(s for s in ("beyond", "padding", "inside") if s in states)
        value = x[(*lead, *i)].item() if state == "inside" else None
        cells.append(Cell(tap, i, state, value, product=value))
    channel = Channel(lead[-1] if lead else 0, (), tuple(cells))
    inside = [c for c in cells if c.state == "inside"]
    if maximum:
        best = None
        for c in inside:  # the first of equals, and the last NaN
            if best is None or c.value > best.value or c.value != c.value:
                best = c
        value = -math.inf if best is None else best.value
        return Trace(p, at, (channel,), value, winner=best, origin=origin, arrays=arrays)
    extents = [p.window(a, o[a])[2] for a in range(p.rank)]
    divisor = int(math.prod(extents))
    total, whole = channel.total, isinstance(channel.total, int)
    if not inside:
        value = 0
    elif whole:
        value = abs(total) // abs(divisor) * (1 if (total < 0) == (divisor < 0) else -1)
    else:
        value = total / divisor
    return Trace(p, at, (channel,), value, divisor=divisor, origin=origin, arrays=arrays)


def _taps(p: PoolProblem, axis: int, o: int) -> Iterator[tuple[int, int, str]]:
    """Tap, place and state of every cell of a window along an axis."""
    start, stop = p.window(axis, o)[:2]
    if p.adaptive:
        yield from ((k, i, "inside") for k, i in enumerate(range(start, stop)))
        return
    step = p.dilation[axis] if p.dilation else 1
    inside = range(start, stop, step)
    first, padding = o * p.stride[axis] - p.padding[axis], p.padding[axis]
    for k in range(p.kernel[axis]):
        i = first + k * step
        beyond = i >= p.in_size[axis] + padding
        yield k, i, "inside" if i in inside else "beyond" if beyond else "padding"
