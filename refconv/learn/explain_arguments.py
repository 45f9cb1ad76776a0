"""What each argument of a layer means, with its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..moves import ColumnProblem, IndexProblem, PadProblem
from ..notation import Problem
from ..problem import ConvProblem, PoolProblem, Size

_SIDES = {1: "length", 2: "height and width", 3: "depth, height and width"}
_STEP = "cells from one window to the next"


@dataclass(frozen=True)
class Argument:
    """One argument of a call."""

    name: str
    value: str
    meaning: str


def arguments_of(p: Problem, given: dict[str, Any] | None) -> list[Argument]:
    """The arguments of a problem by torch's names, defaults included.

    Args:
        given: as they were written, where that differs (``padding='same'``).
    """
    match p:
        case ConvProblem():
            return _conv(p, given or {})
        case PoolProblem():
            return _pool(p)
        case ColumnProblem():
            return _columns(p)
        case PadProblem():
            sides = ", ".join(f"{low}|{high}" for low, high in p.pads)
            return [
                Argument("pad", sides, "cells added before and behind, an axis each"),
                Argument("mode", p.mode, "what the added cells show"),
            ]
        case IndexProblem():
            text = "x".join(map(str, p.large))
            return [Argument("output_size", text, "of the pooling's input, to which it goes back")]
    raise TypeError(f"expected a problem, got {type(p).__name__}")


def _conv(p: ConvProblem, given: dict[str, Any]) -> list[Argument]:
    each = p.in_channels // p.groups
    reach = _x(tuple(d * (k - 1) + 1 for d, k in zip(p.dilation, p.kernel, strict=True)))
    size = f"{_SIDES[p.rank]} of a filter (F, its spatial extent): {_x(p.kernel)}"
    wiring = "sets of channels and filters that do not meet"
    wiring = "every filter sees every input channel" if p.groups == 1 else wiring
    bias = "one number added to each output channel" if p.bias else "nothing is added"
    step = "output cells from one stamp to the next" if p.transposed else _STEP
    made = [
        Argument("in_channels", str(p.in_channels), f"of the input; each filter is {each} deep"),
        Argument("out_channels", str(p.out_channels), "of the output: one for each filter"),
        Argument("kernel_size", _numbers(p.kernel), size),
        _argument("stride", p.stride, 1, step),
        _padding(p, given.get("padding")),
        _argument("dilation", p.dilation, 1, f"distance of a filter's taps: it spans {reach}"),
        _argument("groups", (p.groups,), 1, wiring),
        Argument("bias", str(p.bias), bias),
    ]
    if p.transposed:
        extra = _argument("output_padding", p.output_padding, 0, "cells added behind")
        made.insert(5, extra)
    return made


def _padding(p: ConvProblem, written: Any) -> Argument:
    lows = tuple(low for low, _ in p.padding)
    if p.transposed:
        return _argument("padding", lows, 0, "cells cropped from each side")
    if written == "same":
        zeros = ", ".join(dict.fromkeys(f"{low} before, {high} behind" for low, high in p.padding))
        return Argument("padding", "'same'", f"zeros that keep the size, stride 1 only: {zeros}")
    if any(low != high for low, high in p.padding):
        sides = ",".join(f"{low}:{high}" for low, high in p.padding)
        return Argument("padding", sides, "zeros before and behind")
    return _argument("padding", lows, 0, "zeros added on each side")


def _pool(p: PoolProblem) -> list[Argument]:
    if p.adaptive:
        meaning = "of the output; the windows follow from it"
        return [Argument("output_size", _numbers(p.out_size), meaning)]
    outside = "cells of -infinity" if "max" in p.op else "zeros"
    usual = " (the default: the kernel's size)" if p.stride == p.kernel else ""
    made = [
        Argument("kernel_size", _numbers(p.kernel), f"{_SIDES[p.rank]} of the window"),
        Argument("stride", _numbers(p.stride), f"{_STEP}{usual}"),
        _argument("padding", p.padding, 0, f"{outside} added on each side, half a kernel at most"),
    ]
    if "max" in p.op:
        made.append(_argument("dilation", p.dilation, 1, "distance of a window's taps"))
    rounding = "the division rounds up" if p.ceil_mode else "the division rounds down (the default)"
    made.append(Argument("ceil_mode", str(p.ceil_mode), rounding))
    if "avg" in p.op:
        counts = "zeros of the padding count in the mean" if p.count_include_pad else "only cells"
        made.append(Argument("count_include_pad", str(p.count_include_pad), counts))
    if p.divisor is not None:
        made.append(Argument("divisor_override", str(p.divisor), "what sums are divided by"))
    return made


def _columns(p: ColumnProblem) -> list[Argument]:
    made = [
        Argument("kernel_size", _numbers(p.kernel), "height and width of a block"),
        _argument("stride", p.stride, 1, "cells from one block to the next"),
        _argument("padding", p.padding, 0, "zeros added on each side"),
        _argument("dilation", p.dilation, 1, "distance of a block's taps"),
    ]
    if p.op == "fold":
        made.insert(0, Argument("output_size", _numbers(p.size), "of the image that is summed up"))
    return made


def _argument(name: str, values: Size, usual: int, meaning: str) -> Argument:
    default = " (the default)" if set(values) == {usual} else ""
    return Argument(name, _numbers(values), meaning + default)


def _numbers(values: Size) -> str:
    """One number if all axes agree, else one an axis."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def _x(values: Size) -> str:
    return "x".join(map(str, values))
