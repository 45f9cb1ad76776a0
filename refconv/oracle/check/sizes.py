"""Wrong shapes explained: which mistake in the numbers gives that size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np

from ... import window
from ...moves import ColumnProblem, PadProblem
from ...problem import ConvProblem, PoolProblem
from .replays_numbers import AXES

Size = tuple[int, ...]
#: One axis: size, kernel, stride, (low, high), dilation, output padding.
Axis = dict[str, Any]


def size_words(problem: Any, got: Size) -> list[str]:
    """Every mistake that gives the shape ``got`` instead of the right one, the plainest first."""
    want = problem.output_shape
    if len(got) != len(want):
        count = len(got) - len(want)
        return [f"the result has {abs(count)} {'more' if count > 0 else 'fewer'} axes than is due"]
    found = []
    rank = len(AXES.get(problem.rank, ())) if not isinstance(problem, PadProblem) else 0
    lead = len(want) - rank
    if isinstance(problem, ColumnProblem) and problem.op == "unfold":
        lead, rank = len(want), 0
    if rank and got[:lead] == want[:lead]:
        for text, spatial in _mistakes(problem):
            if spatial == got[lead:]:
                found.append(f"as if {text}")
    if isinstance(problem, PadProblem):
        found += [f"as if {text}" for text, shape in _pads(problem) if shape == got]
    if sorted(got) == sorted(want):
        found.append("as if axes were exchanged")
    for a in range(len(want)):
        if got[a] != want[a]:
            name = AXES[rank][a - lead] if a >= lead and rank else f"axis {a}"
            count, word = abs(got[a] - want[a]), "more" if got[a] > want[a] else "fewer"
            if (count, word) == (1, "fewer") and name in ("height", "width"):
                found.append(f"one short: the last {'row' if name == 'height' else 'column'} is "
                             "missing")  # fmt: skip
            found.append(f"off: {count} {word} on {name}")
    return found


def _mistakes(problem: Any) -> Iterator[tuple[str, Size]]:
    """Spatial sizes under changed numbers."""
    axes = _axes(problem)
    if not axes:
        return
    size = _transposed if getattr(problem, "transposed", False) else _sliding
    ceil = bool(getattr(problem, "ceil_mode", False))
    right = tuple(size(a, ceil) for a in axes)
    for text, rule in _RULES:
        made = tuple(size({**a, **rule(a)}, ceil) for a in axes)
        if made != right:
            yield text, made
    if size is _sliding and ceil:
        yield (
            "it were rounded down, floor instead of ceil (ceil_mode ignored)",
            tuple(_sliding(a, False) for a in axes),
        )
        yield (
            "the last window were kept that begins in the padding (ceil_mode)",
            tuple(-(-_room(a) // a["s"]) + 1 for a in axes),
        )
    elif size is _sliding:
        yield (
            "it were rounded up, ceil instead of floor",
            tuple(-(-_room(a) // a["s"]) + 1 for a in axes),
        )
        yield "it were rounded up, ceil instead of floor", tuple(_sliding(a, True) for a in axes)
    if size is _sliding:
        yield (
            "it were computed in float32",
            tuple(int(np.float32(_room(a)) / np.float32(a["s"])) + 1 for a in axes),
        )
        yield (
            "it were computed in float32",
            tuple(
                int(np.float32(a["n"] + sum(a["p"]))) // a["s"] + 1 - a["k"] // a["s"] for a in axes
            ),
        )
    for field, called in (("s", "stride"), ("p", "padding"), ("d", "dilation"), ("k", "kernel"),
                          ("o", "output_padding")):  # fmt: skip
        for order in permutations(range(len(axes))):
            moved = [{**a, field: axes[o][field]} for a, o in zip(axes, order, strict=True)]
            made = tuple(size(a, ceil) for a in moved)
            if made != right:
                yield f"the axes of its {called} were exchanged", made
    if size is _sliding and set(problem.stride) == {1}:
        turned = axes[::-1]
        for text, totals in (
            ("the kernel's", [a["d"] * (b["k"] - 1) for a, b in zip(axes, turned, strict=True)]),
            ("the dilation's", [b["d"] * (a["k"] - 1) for a, b in zip(axes, turned, strict=True)]),
        ):
            yield (
                f"padding='same' took {text} axes in reverse order, the others as they are",
                tuple(
                    a["n"] + t - a["d"] * (a["k"] - 1) for a, t in zip(axes, totals, strict=True)
                ),
            )


def _pads(problem: PadProblem) -> Iterator[tuple[str, Size]]:
    """Shapes under other pads."""
    named = next((a for a, pad in enumerate(problem.pads) if pad != (0, 0)), 0)
    turned = (*problem.pads[:named], *reversed(problem.pads[named:]))
    for text, pads in (
        ("the pads of its axes were exchanged (taken in reverse order)", turned),
        ("negative pads were 0 (no crop)", [(max(p, 0), max(q, 0)) for p, q in problem.pads]),
        ("negative pads behind were 0 (no crop)", [(p, max(q, 0)) for p, q in problem.pads]),
        ("negative pads in front were 0 (no crop)", [(max(p, 0), q) for p, q in problem.pads]),
        ("only the side in front were padded", [(p, 0) for p, _ in problem.pads]),
        ("only the side behind were padded", [(0, q) for _, q in problem.pads]),
        ("it were not padded", [(0, 0) for _ in problem.pads]),
    ):
        made = tuple(n + p + q for n, (p, q) in zip(problem.shape, pads, strict=True))
        if made != problem.output_shape:
            yield text, made


def _axes(problem: Any) -> list[Axis]:
    """The numbers axis by axis; none where sizes are given."""
    if isinstance(problem, PoolProblem) and problem.adaptive:
        return []
    if not isinstance(problem, ConvProblem | PoolProblem):
        return []
    more = getattr(problem, "output_padding", (0,) * problem.rank)
    made = []
    for n, k, s, p, d, o in zip(
        problem.in_size, problem.kernel, problem.stride, problem.padding,
        problem.dilation or (1,) * problem.rank, more, strict=True,
    ):  # fmt: skip
        made.append({"n": n, "k": k, "s": s, "p": p if isinstance(p, tuple) else (p, p), "d": d,
                     "o": o})  # fmt: skip
    return made


def _room(a: Axis) -> int:
    return int(a["n"] + sum(a["p"]) - a["d"] * (a["k"] - 1) - 1)


def _sliding(a: Axis, ceil: bool) -> int:
    return window.out_size(a["n"], a["k"], a["s"], a["p"], a["d"], ceil_mode=ceil)


def _transposed(a: Axis, ceil: bool) -> int:
    whole = (a["n"] - 1) * a["s"] + window.effective_kernel(a["k"], a["d"]) + a["o"]
    return int(whole - sum(a["p"]))


_RULES: tuple[tuple[str, Callable[[Axis], Axis]], ...] = (
    ("dilation were 1 (dilation ignored in the size)", lambda a: {"d": 1}),
    ("output_padding were left out (0)", lambda a: {"o": 0}),
    ("output_padding counted twice", lambda a: {"o": 2 * a["o"]}),
    ("padding were 0 (padding ignored)", lambda a: {"p": (0, 0)}),
    ("padding counted once instead of on both sides", lambda a: {"p": (a["p"][0], 0)}),
    ("padding counted twice", lambda a: {"p": (2 * a["p"][0], 2 * a["p"][1])}),
    ("stride were 1 (stride ignored)", lambda a: {"s": 1}),
    ("the stride were the kernel", lambda a: {"s": a["k"]}),
    (
        "stride were left out where dilation is above 1",
        lambda a: {"s": 1 if a["d"] > 1 else a["s"]},
    ),
    ("the kernel were one cell longer (dilation * kernel)", lambda a: {"k": a["k"] + 1}),
    ("the kernel were one cell shorter", lambda a: {"k": max(a["k"] - 1, 1)}),
    ("dilation and stride were exchanged", lambda a: {"d": a["s"], "s": a["d"]}),
    ("dilation were one more", lambda a: {"d": a["d"] + 1}),
    ("padding were that of 'same'", lambda a: {"p": (a["d"] * (a["k"] - 1), 0)}),
)
