"""What is asked of the solver: the numbers of every axis, with None where they are to be found.

From torch code with a ``?`` in it, read with ``notation_torch`` (a ``?`` is read as a string), or
from numbers by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import checks, window
from ..errors import UsageError
from ..notation import near, shape
from ..notation_torch import MODULES, arguments
from ..ops import OPS
from ..problem import Size
from .arithmetic import Axis

#: What can be asked for, and its letter.
LETTERS = {
    "kernel": "k", "stride": "s", "padding": "p", "dilation": "d", "output_padding": "op",
    "size": "i", "out": "o",
}  # fmt: skip
_RULES = {"conv": "conv", "conv_transpose": "transposed", "max_pool": "pool", "avg_pool": "pool"}
_EXAMPLE = "solve('nn.Conv2d(64,64,4,2,padding=?)', in_=96, out=48)"

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A window with unknown numbers.

    Args:
        rule: ``conv``, ``transposed`` or ``pool``, as in ``Axis``.
        axes: the numbers of each axis by name, None where they are asked for (padding may also be
            a pair); one axis only, where all are alike.
        code: with ``?`` where a number is asked for; empty if none was given.
        before: the axes in front of the input's sizes: batch and channels.
    """

    rule: str
    axes: tuple[Numbers, ...]
    ceil_mode: bool = False
    code: str = ""
    before: Size = ()
    rank: int = 1

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is asked for."""
        return tuple(name for name in LETTERS if self.axes[0][name] is None)

    def numbers(self, index: int, found: Mapping[str, int]) -> Axis:
        """An axis with ``found`` put in, whether torch takes the numbers or not."""
        row = {**self.axes[index], **found}
        k, s, d, p = (row[name] for name in ("kernel", "stride", "dilation", "padding"))
        return Axis.of(
            self.rule, row["size"], kernel=k, stride=k if s == "kernel" else s,
            padding=window.both_sides(p), dilation=d, output_padding=row["output_padding"],
            ceil_mode=self.ceil_mode,
            name=checks.axis_name(index, len(self.axes)) if len(self.axes) > 1 else "",
        )  # fmt: skip

    def axis(self, index: int, found: Mapping[str, int]) -> Axis | None:
        """The same; None if torch would refuse the numbers."""
        axis = self.numbers(index, found)
        if self.rule == "pool" and axis.padding[0] > axis.kernel // 2:
            return None
        if self.rule == "transposed" and axis.output_padding >= max(axis.stride, axis.dilation):
            return None
        return axis if axis.out >= 1 else None

    def answered(self, found: Mapping[str, Any]) -> str:
        """The code with the answers in place of its ``?``."""
        code = self.code
        for name in self._marked():
            code = code.replace("?", str(found[name]), 1)
        return code

    def _marked(self) -> list[str]:
        """The names of the ``?`` in the code, in its order."""
        if "?" not in self.code:
            return []
        places = re.split(r"\?", self.code)
        names = []
        for index in range(len(places) - 1):
            probe = "'?'".join(places[: index + 1]) + "'!'" + "'?'".join(places[index + 1 :])
            given = arguments(probe)[1]
            names += [_name(key) for key, value in given.items() if value == "!"]
        return names


def read(code: str, in_: Any, out: Any) -> Question:
    """The question in torch code.

    Raises:
        UsageError: this cannot be read, or nothing, or too much, is asked.
    """
    code = re.sub(r"""(['"]?)\?\1""", "?", code)
    name, given = arguments(code.replace("?", "'?'"))
    op, rank = MODULES.get(name) or (name, OPS[name].rank)
    kind = OPS[op].kind
    if kind not in _RULES:
        raise UsageError(f"{code!r}: the solver knows convolutions and pooling, not {name}")
    if "weight" in given:
        given["kernel_size"] = given["weight"][2:]
    in_ = given.get("input") if in_ is None else in_
    numbers = {
        "kernel": _each(code, "kernel", given["kernel_size"], rank),
        "stride": _each(code, "stride", given["stride"], rank),
        "padding": _each(code, "padding", given["padding"], rank),
        "dilation": _each(code, "dilation", given.get("dilation", 1), rank),
        "output_padding": _each(code, "output_padding", given.get("output_padding", 0), rank),
    }
    if given["stride"] in (None, ()):
        numbers["stride"] = (
            numbers["kernel"] if None not in numbers["kernel"] else ["kernel"] * rank
        )
    if given["padding"] in ("same", "valid"):
        numbers["padding"] = _named_padding(code, given["padding"], numbers)
    before, sizes = _sizes("in", in_, rank)
    lead, outs = _sizes("out", out, rank)
    for side, axes, channels in (("in", before, "in_channels"), ("out", lead, "out_channels")):
        if axes and channels in given and axes[-1] != given[channels]:
            raise UsageError(
                f"{code!r} has {channels} = {given[channels]}, but {side} says {axes[-1]} channels"
            )
    numbers |= {"size": sizes, "out": outs}
    before = before or (given.get("in_channels", 1),)
    return _question(_RULES[kind], numbers, bool(given.get("ceil_mode")), code, before, rank)


def from_numbers(op: str, given: Mapping[str, Any], ceil_mode: bool) -> Question:
    """The question in numbers by name: ``?`` or None is asked for; what is left out is torch's
    default, and of the sizes and the kernel an error, or asked for.
    """
    kind = {"pool": "max_pool", "transposed": "conv_transpose"}.get(op, op)
    if kind not in _RULES:
        raise UsageError(f"op must be conv, conv_transpose or pool, got {op!r}")
    for name in given:
        if name not in LETTERS:
            known = ", ".join(LETTERS)
            raise UsageError(f"solve has no {name}{near(name, LETTERS)}; it has {known}, op")
    if "kernel" not in given:
        raise UsageError("solve needs kernel, or kernel='?' to ask for it")
    stride = "kernel" if _RULES[kind] == "pool" else 1
    usual = {"stride": stride, "padding": 0, "dilation": 1, "output_padding": 0}
    numbers = {}
    for name in LETTERS:
        value = given.get(name, usual.get(name))
        value = None if value in ("?", None) else value
        if value is not None and value != "kernel":
            value = checks.number("solve", name, value)
        numbers[name] = [value]
    return _question(_RULES[kind], numbers, ceil_mode, "", (), 1)


def _question(
    rule: str, numbers: Numbers, ceil_mode: bool, code: str, before: Size, rank: int
) -> Question:
    """One axis if all are alike; checks that the question makes sense."""
    names = list(LETTERS)
    rows = [
        dict(zip(names, row, strict=True)) for row in zip(*(numbers[n] for n in names), strict=True)
    ]
    axes = rows[:1] if all(row == rows[0] for row in rows) else rows
    made = Question(rule, tuple(axes), ceil_mode, code, before, rank)
    if not made.unknown:
        raise UsageError(f"nothing is asked: write ? for a number, e.g. {_EXAMPLE}")
    if len(made.unknown) > 2:
        raise UsageError(
            f"at most two numbers can be asked for at once, here are {len(made.unknown)}: "
            f"{', '.join(made.unknown)}; e.g. {_EXAMPLE}"
        )
    if {"size", "out"} <= {*made.unknown}:
        raise UsageError(f"give the size of the input or of the output, e.g. {_EXAMPLE}")
    if "size" in made.unknown and len(axes) > 1:
        raise UsageError("an unknown input's size is asked for one axis at a time, these differ")
    if "output_padding" in made.unknown and rule != "transposed":
        raise UsageError("only a transposed convolution has an output_padding")
    for name, least in (("kernel", 1), ("stride", 1), ("dilation", 1), ("size", 1), ("out", 1)):
        for row in axes:
            if isinstance(row[name], int) and row[name] < least:
                raise UsageError(f"{name} must be at least {least}, got {row[name]}")
    return made


def _name(argument: str) -> str:
    return "kernel" if argument == "kernel_size" else argument


def _each(code: str, name: str, value: Any, rank: int) -> list[Any]:
    """A number an axis; None where it is asked for."""
    if value in ("?", "!"):
        return [None] * rank
    if isinstance(value, tuple) and "?" in value:
        raise UsageError(f"{code!r}: write one ? for all axes of {name}")
    if (name == "padding" and value in ("same", "valid")) or (name == "stride" and not value):
        return [value] * rank
    return list(checks.numbers("solve", name, value, rank))


def _named_padding(code: str, padding: str, numbers: Numbers) -> list[Any]:
    """torch's ``same`` or ``valid`` as numbers."""
    if padding == "valid":
        return [0] * len(numbers["kernel"])
    rows = list(zip(numbers["kernel"], numbers["stride"], numbers["dilation"], strict=True))
    if any(None in row for row in rows) or any(s != 1 for _, s, _ in rows):
        raise UsageError(
            f"{code!r}: padding='same' keeps the size whatever the kernel, and needs stride 1; "
            "write the padding as a number, or ?"
        )
    return [window.same_padding(0, k, 1, d) for k, _, d in rows]


def _sizes(side: str, given: Any, rank: int) -> tuple[Size, list[Any]]:
    """``(axes before, sizes)`` of an input or output; sizes are None where nothing is given."""
    if given is None or given == "?":
        return (), [None] * rank
    sizes = shape((given,) if isinstance(given, int) else given, f"{side}'s shape")
    if len(sizes) == 1:
        return (), [sizes[0]] * rank
    if len(sizes) - rank not in (0, 1, 2):
        raise UsageError(f"{side} must be one size, {rank} sizes, or a whole shape, got {sizes}")
    return sizes[: len(sizes) - rank], list(sizes[len(sizes) - rank :])
