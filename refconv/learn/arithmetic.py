"""The sizes of one op, axis by axis, with the numbers put in: ``(32+0-5)/1+1 = 28``.

It computes nothing of its own: sizes come from ``window``, numbers from the problem. What it adds
is how they are written, what the floor leaves over, and what is worth a note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .. import window
from ..checks import axis_name
from ..moves import ColumnProblem, IndexProblem, PadProblem
from ..notation import Problem
from ..problem import ConvProblem, PoolProblem


@dataclass(frozen=True)
class Axis:
    """One spatial axis of one op: its numbers, and how the output's size follows from them.

    Args:
        rule: ``conv`` (unfold too), ``pool``, ``transposed``, ``adaptive``, ``pad``, ``fold``
            (``size`` is then the number of windows) or ``given`` (the size is an argument).
        size: cells of the op's input.
        out: cells of its output.
        padding: ``(low, high)``; what ``pad`` adds, or, negative, crops.
        name: D, H or W.

    Example:
        >>> axis = Axis("conv", 7, 3, kernel=4, stride=2, padding=(1, 1))
        >>> axis.text, axis.left_over
        ('floor((7+2*1-4)/2)+1 = 3', 1)
    """

    rule: str
    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    output_padding: int = 0
    ceil_mode: bool = False
    name: str = ""

    @classmethod
    def of(cls, rule: str, size: int, **numbers: Any) -> Axis:
        """An axis whose output's size follows from the rest (conv, pool, transposed and pad)."""
        axis = cls(rule, size, 0, **numbers)
        return replace(axis, out=axis.computed)

    @property
    def transposed(self) -> bool:
        """Whether this is an axis of a transposed convolution."""
        return self.rule == "transposed"

    @property
    def adaptive(self) -> bool:
        """Whether the windows come from the output's size."""
        return self.rule == "adaptive"

    @property
    def slides(self) -> bool:
        """Whether a window slides over the input: convolution, unfold and pooling."""
        return self.rule in ("conv", "pool")

    @property
    def extent(self) -> int:
        """Cells from a window's first tap to its last, both included."""
        return window.effective_kernel(self.kernel, self.dilation)

    @property
    def padded(self) -> int:
        """Cells of the padded input."""
        return self.size + sum(self.padding)

    @property
    def computed(self) -> int:
        """The output's size by the rule; ``out`` differs from it only in derivatives' problems."""
        low, high = self.padding
        if self.slides:
            return window.out_size(
                self.size, self.kernel, self.stride, (low, high), self.dilation,
                ceil_mode=self.ceil_mode,
            )  # fmt: skip
        if self.transposed:
            return window.conv_transpose_out_size(
                self.size, self.kernel, self.stride, low, self.output_padding, self.dilation
            )
        return self.padded if self.rule == "pad" else self.out

    @property
    def rest(self) -> int:
        """What the division by the stride leaves: 0 where the window steps fit exactly."""
        return (self.padded - self.extent) % self.stride if self.slides else 0

    @property
    def drops_last(self) -> bool:
        """Whether ``ceil_mode`` would add a window that starts in the padding, which is dropped."""
        if not self.ceil_mode or not self.slides:
            return False
        return -(-(self.padded - self.extent) // self.stride) + 1 > self.computed

    @property
    def left_over(self) -> int:
        """Cells of the padded input behind the last window, that the floor leaves unread."""
        if self.rule == "fold":
            return replace(self, rule="conv", size=self.out, out=self.size).left_over
        if not self.slides or self.out < 1:
            return 0
        return max(0, self.padded - (self.out - 1) * self.stride - self.extent)

    @property
    def left_over_inside(self) -> int:
        """Those of ``left_over`` that are cells of the input itself, not padding."""
        return min(max(0, self.left_over - max(self.padding[1], 0)), self.size)

    @property
    def text(self) -> str:
        """The arithmetic with the numbers put in."""
        if self.slides:
            return self._sliding()
        low, high = self.padding
        if self.transposed:
            return (
                f"({self.size}-1)*{self.stride}-2*{low}+{self.dilation}*({self.kernel}-1)"
                f"+{self.output_padding}+1 = {self.out}"
            )
        if self.rule == "pad":
            return f"{self.size}{low:+d}{high:+d} = {self.out}"
        if self.rule == "fold":
            windows = replace(self, rule="conv", size=self.out, out=self.size)
            return f"output_size = {self.out}, of {windows.text} windows"
        return f"output_size = {self.out}"

    def _sliding(self) -> str:
        pads = _pads(self.padding, hide_zero=self.rule == "pool")
        kernel = f"-{self.kernel}"
        if self.dilation != 1:
            kernel = f"-{self.dilation}*({self.kernel}-1)-1"
        divided = f"({self.size}{pads}{kernel})/{self.stride}"
        if self.rest:
            divided = f"{'ceil' if self.ceil_mode else 'floor'}({divided})"
        dropped = "-1" if self.drops_last else ""
        end = "" if self.out == self.computed else f", but {self.out} are computed"
        return f"{divided}+1{dropped} = {self.computed}{end}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader may stumble over, a short sentence each."""
        found = []
        if self.left_over and self.rule != "fold":
            inside = self.left_over_inside
            where = "" if inside == self.left_over else f", {inside} of them in the input"
            where = where if inside else ", padding only"
            found.append(f"{_cells(self.left_over)} left over behind the last window{where}")
        if self.drops_last:
            found.append("the last window would start in the padding behind the input: dropped")
        elif self.slides and self.ceil_mode and self.rest:
            found.append("ceil_mode: the last window reaches beyond the padded input")
        if self.slides and self.stride > self.extent and self.out > 1:
            found.append(f"{_cells(self.stride - self.extent)} skipped between two windows")
        if self.transposed and self.bias_only:
            found.append(f"no product reaches {_cells(self.bias_only)} of the output: bias only")
        if self.adaptive:
            lengths = sorted({stop - start for start, stop in self._adaptive()})
            span = " to ".join(str(n) for n in dict.fromkeys((lengths[0], lengths[-1])))
            found.append(
                f"windows of {span}: floor(o*{self.size}/{self.out}) to "
                f"ceil((o+1)*{self.size}/{self.out})"
            )
        if self.rule == "pad" and min(self.padding) < 0:
            found.append(f"{_cells(-sum(p for p in self.padding if p < 0))} cropped")
        return tuple(found)

    @property
    def bias_only(self) -> int:
        """Output cells of a transposed convolution that no input cell's stamp reaches."""
        if not self.transposed:
            return 0
        numbers = (self.size, self.kernel, self.stride, self.padding[0], self.dilation)
        return sum(window.taps_per_input(i, *numbers) == 0 for i in range(self.out))

    def _adaptive(self) -> list[tuple[int, int]]:
        return [window.adaptive_window(o, self.size, self.out) for o in range(self.out)] or [(0, 0)]

    @property
    def notations(self) -> dict[str, str]:
        """The same arithmetic as torch's documentation, cs231n and d2l write it."""
        i, k, s, d, (low, high) = self.size, self.kernel, self.stride, self.dilation, self.padding
        if not self.slides or self.ceil_mode or self.out != self.computed:
            return {"torch": self.text}
        torch = f"floor(({i}+2*{low}-{d}*({k}-1)-1)/{s}+1) = {self.out}"
        floor = (lambda text: f"floor({text})") if self.rest else str
        shown = {"torch": torch if low == high else self.text}
        if d == 1 and low == high:
            pads = "" if self.rule == "pool" and not low else f"+2*{low}"
            shown["cs231n"] = f"{floor(f'({i}-{k}{pads})/{s}')}+1 = {self.out}"
        if d == 1:
            shown["d2l"] = f"{floor(f'({i}-{k}+{low + high}+{s})/{s}')} = {self.out}"
        return shown

    def as_dict(self) -> dict[str, Any]:
        """Everything above by name, for JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {
            "padding": list(self.padding),
            "text": self.text,
            "left_over": self.left_over,
            "left_over_inside": self.left_over_inside,
            "notes": list(self.notes),
        }


def axes(problem: Problem) -> tuple[Axis, ...]:
    """The axes of a problem, in the user's spatial rank.

    Of ``pad`` they are the axes behind batch and channels, and earlier ones that are padded.

    Raises:
        TypeError: not a problem.

    Example:
        >>> from refconv.label import parse
        >>> [axis.text for axis in axes(parse("max_pool2d x[1,6,28,29] k2"))]
        ['(28-2)/2+1 = 14', 'floor((29-2)/2)+1 = 14']
    """
    match problem:
        case ConvProblem():
            rule = "transposed" if problem.transposed else "conv"
            columns: Any = zip(
                problem.in_size, problem.out_size, problem.kernel, problem.stride,
                problem.padding, problem.dilation, problem.output_padding, strict=True,
            )  # fmt: skip
            return _named(lambda *column: Axis(rule, *column), columns)
        case PoolProblem(kernel=()):
            columns = zip(problem.in_size, problem.out_size, strict=True)
            return _named(lambda *column: Axis("adaptive", *column), columns)
        case PoolProblem():
            columns = zip(
                problem.in_size, problem.out_size, problem.kernel, problem.stride,
                map(window.both_sides, problem.padding), problem.dilation, strict=True,
            )  # fmt: skip
            found = _named(lambda *column: Axis("pool", *column), columns)
            return tuple(replace(axis, ceil_mode=problem.ceil_mode) for axis in found)
        case ColumnProblem():
            rule, sides = "conv", (problem.size, problem.blocks)
            if problem.op == "fold":
                rule, sides = "fold", (problem.blocks, problem.size)
            columns = zip(
                *sides, problem.kernel, problem.stride,
                map(window.both_sides, problem.padding), problem.dilation, strict=True,
            )  # fmt: skip
            return _named(lambda *column: Axis(rule, *column), columns)
        case IndexProblem():
            columns = zip(problem.small, problem.large, strict=True)
            return _named(lambda *column: Axis("given", *column), columns)
        case PadProblem():
            return _pad_axes(problem)
    raise TypeError(f"expected a problem, got {type(problem).__name__}")


def line(problem: Problem) -> str:
    """The arithmetic of a whole op: once, if all its axes are alike, else each with its name.

    Example:
        >>> from refconv.label import parse
        >>> line(parse("conv2d x[1,3,32,32] w[6,3,5,5]"))
        '(32+0-5)/1+1 = 28'
        >>> line(parse("conv2d x[1,3,32,40] w[6,3,5,5] p2"))
        'H (32+2*2-5)/1+1 = 32, W (40+2*2-5)/1+1 = 40'
    """
    found = axes(problem)
    if len({axis.text for axis in found}) == 1:
        return found[0].text
    return ", ".join(f"{axis.name} {axis.text}" for axis in found)


#: Notation → formula of one family. ``i`` input, ``k`` kernel, ``s`` stride, ``p`` padding on each
#: side, ``d`` dilation, ``op`` output padding; other letters are those of the source.
FORMULAS: dict[str, dict[str, str]] = {
    "conv": {
        "simple": "out = floor((i + 2p - k) / s) + 1",
        "full": "out = floor((i + 2p - d*(k-1) - 1) / s) + 1",
        "torch": "H_out = floor((H_in + 2*padding - dilation*(kernel_size-1) - 1) / stride + 1)",
        "cs231n": "W2 = (W1 - F + 2P) / S + 1",
        "d2l": "out = floor((n - k + p + s) / s), where p counts both sides",
    },
    "conv_transpose": {
        "simple": "out = (i-1)*s - 2p + k + op",
        "full": "out = (i-1)*s - 2p + d*(k-1) + op + 1",
        "torch": (
            "H_out = (H_in-1)*stride - 2*padding + dilation*(kernel_size-1) + output_padding + 1"
        ),
    },
    "pool": {
        "simple": "out = floor((i + 2p - k) / s) + 1",
        "full": "out = floor((i + 2p - d*(k-1) - 1) / s) + 1",
        "ceil_mode": "ceil for floor; one less if (out-1)*s >= i+p: that window is in the padding",
        "torch": "H_out = floor((H_in + 2*padding - dilation*(kernel_size-1) - 1) / stride + 1)",
        "cs231n": "W2 = (W1 - F) / S + 1",
    },
    "adaptive": {
        "simple": "out = output_size",
        "full": "window o covers floor(o*i/out) to ceil((o+1)*i/out)",
    },
    "unfold": {
        "simple": "L = product over the axes of floor((i + 2p - k) / s) + 1",
        "full": "L = product over the axes of floor((i + 2p - d*(k-1) - 1) / s) + 1",
    },
    "fold": {
        "simple": "out = output_size",
        "full": "whose windows, floor((out + 2p - d*(k-1) - 1) / s) + 1 an axis, must be L in all",
    },
    "max_unpool": {"simple": "out = (i-1)*s - 2p + k, or output_size"},
    "pad": {"simple": "out = i + low + high"},
}


def family(problem_or_op: Problem | str) -> str:
    """The key of ``FORMULAS`` for a problem or an op's name: ``max_pool2d`` → ``pool``.

    Raises:
        KeyError: it has no formula.
    """
    op = problem_or_op if isinstance(problem_or_op, str) else problem_or_op.op
    name = op[:-2] if op[-2:] in ("1d", "2d", "3d") else op
    name = "adaptive" if name.startswith("adaptive") else name
    name = "pool" if name in ("max_pool", "avg_pool", "lp_pool") else name
    if name not in FORMULAS:
        raise KeyError(op)
    return name


def formula(problem_or_op: Problem | str) -> str:
    """The general formula of a family, one notation a line.

    Example:
        >>> print(formula("pad"))
        simple  out = i + low + high
    """
    rows = FORMULAS[family(problem_or_op)]
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows.items())


def _named(make: Callable[..., Axis], columns: Any) -> tuple[Axis, ...]:
    found = [make(*column) for column in columns]
    return tuple(replace(axis, name=axis_name(a, len(found))) for a, axis in enumerate(found))


def _pad_axes(problem: PadProblem) -> tuple[Axis, ...]:
    shape, rank = problem.shape, len(problem.shape)
    first = min([a for a in range(rank) if problem.pads[a] != (0, 0)], default=rank)
    first = min(first, 2 if rank > 2 else max(rank - 1, 0))
    return tuple(
        Axis(
            "pad", shape[a], problem.output_shape[a], padding=problem.pads[a],
            name=axis_name(a, rank) if rank - a <= 3 and a >= 2 else f"axis {a}",
        )
        for a in range(first, rank)
    )  # fmt: skip


def _pads(padding: tuple[int, int], hide_zero: bool) -> str:
    low, high = padding
    if low != high:
        return f"{low:+d}{high:+d}"
    return f"+2*{low}" if low else "" if hide_zero else "+0"


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"
