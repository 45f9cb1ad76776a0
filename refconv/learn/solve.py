"""The solver: which kernel, stride, padding or size fits? ``?`` is what is asked.

A paper gives the sizes before and after, and the kernel; ``solve`` finds the padding, says whether
it is the only one, and if none fits, why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import label, window
from ..errors import UsageError
from .shown import Shown
from .solve_read import LETTERS, Numbers, Question, from_numbers, read
from .solve_search import PLAIN, SHOWN, Answer, answers, asymmetric, closest, ranges


@dataclass(frozen=True, repr=False)
class Solution(Shown):
    """All the answers to a question of sizes.

    Args:
        unknown: what was asked for.
        answers: all that fit, plainest first.
        asymmetric: ``(low, high)`` zeros an axis that fit where no equal padding does, else None.
        equation: the rule with the known numbers put in, a line an axis where they differ.
        why: what stands in the way, if nothing fits.
        notes: on the question as a whole.
        tried: the ranges that were searched.
    """

    unknown: tuple[str, ...]
    answers: tuple[Answer, ...]
    asymmetric: tuple[tuple[int, int], ...] | None
    equation: tuple[str, ...]
    why: str
    notes: tuple[str, ...]
    tried: str

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        if self.asymmetric:
            pairs = ", ".join(str(pair) for pair in dict.fromkeys(self.asymmetric))
            return f"only an asymmetric padding fits: {pairs}, zeros before and behind"
        if not self.answers:
            return f"no {' with any '.join(map(_word, self.unknown))} fits"
        best = self.answers[0].values
        told = ", ".join(f"{_word(name)} = {value}" for name, value in best.items())
        more = len(self.answers) - 1
        if not more:
            return f"{told} (the only answer)"
        if self.unknown == ("size",):
            all_sizes = [answer.values["size"] for answer in self.answers]
            return f"input = {min(all_sizes)} to {max(all_sizes)}; {best['size']} is the plainest"
        return f"{told}, the plainest; {more} other{'s' * (more > 1)}"

    @property
    def text(self) -> str:
        """Verdict, equation, answers with their arithmetic, notes."""
        lines = [*self.equation, *([self.why] if self.why else [])]
        notes = self.notes
        if len(self.answers) == 1:
            only = self.answers[0]
            lines.append("  ".join(filter(None, (only.code, only.arithmetic))))
            notes = (*only.notes, *notes)
        elif self.answers:
            lines += self._table()
        lines += [f"note: {note}" for note in notes]
        if len(self.answers) > 1 and self.unknown != ("size",):
            lines += [f"tried: {self.tried}", f"plainest first: {PLAIN}"]
        return "\n  ".join([self.verdict, *lines])

    def _table(self) -> list[str]:
        heads = [*map(_word, self.unknown), "arithmetic", "left over"]
        rows = [
            [*(str(a.values[name]) for name in self.unknown), a.arithmetic, str(a.left_over)]
            for a in self.answers[:SHOWN]
        ]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (heads, *rows)
        ]
        hidden = len(self.answers) - SHOWN
        return [*lines, f"… and {hidden} more, in .answers and --json"] if hidden > 0 else lines

    def as_dict(self) -> dict[str, Any]:
        """The solution for JSON."""
        return {
            "verdict": self.verdict,
            "unknown": list(self.unknown),
            "equation": list(self.equation),
            "answers": [answer.as_dict() for answer in self.answers],
            "asymmetric": None if self.asymmetric is None else [list(p) for p in self.asymmetric],
            "why": self.why,
            "notes": list(self.notes),
            "tried": self.tried,
        }


def solve(
    code: str | None = None,
    *,
    in_: Any = None,
    out: Any = None,
    op: str = "conv",
    ceil_mode: bool = False,
    **numbers: Any,
) -> Solution:
    """The one or two unknown numbers, written ``?``, of a convolution, its transpose or a pooling.

    Args:
        code: torch code with ``?`` for what is asked: ``nn.Conv2d(64,64,4,2,padding=?)``.
        in_: the input's size: one number for all axes, one an axis, or a whole shape; left out or
            ``?``, it is asked for. ``**{"in": …}`` is the same.
        out: the output's size, likewise.
        op: without code: ``conv``, ``conv_transpose`` or ``pool``; then ``ceil_mode`` counts too.
        numbers: without code: ``kernel stride padding dilation output_padding size out``, where
            ``"?"`` or None is asked for and ``size`` is the input's.

    Raises:
        UsageError: the question cannot be read, or asks nothing, or more than two numbers.

    Example:
        >>> solve("nn.Conv2d(64,64,4,2,padding=?)", in_="64x96x96", out="64x48x48")
        padding = 1 (the only answer)
          96 + 2p - 4 = 2*47 + r, r in {0,1}
          nn.Conv2d(64,64,4,2,padding=1)  (96+2*1-4)/2+1 = 48
          note: torch's padding='same' would raise here: it needs stride 1
        >>> solve(kernel=4, padding="?", size=32, out=32).asymmetric
        ((1, 2),)
    """
    in_ = numbers.pop("in", None) if in_ is None else in_
    if code is not None:
        if numbers:
            raise UsageError(f"{', '.join(numbers)}: with code, its numbers stand in the code")
        question = read(code, in_, out)
    else:
        given = {"size": in_, "out": out, **numbers} if in_ is not None else {"out": out, **numbers}
        question = from_numbers(op, given, ceil_mode)
    found = answers(question)
    pads = None if found else asymmetric(question)
    if found and question.code and "(" in question.code:
        _confirmed(question, found[0])
    return Solution(
        question.unknown,
        tuple(found),
        pads,
        tuple(dict.fromkeys(_equation(question, a) for a in range(len(question.axes)))),
        "" if found else _why(question, pads),
        tuple(_remarks(question, found, pads)),
        ranges(question),
    )


def _confirmed(question: Question, answer: Answer) -> None:
    """The plainest answer is a problem that normalisation takes, of this output size.

    Raises:
        RefconvError: the rest of the code makes no sense (channels, groups).
    """
    sizes = tuple(axis.size for axis in answer.axes) * (question.rank // len(answer.axes))
    whole = answer.code.rstrip().endswith("])") or "[" in answer.code
    problem = label.read(answer.code, in_shape=None if whole else (*question.before, *sizes))
    outs = tuple(axis.out for axis in answer.axes) * (question.rank // len(answer.axes))
    assert problem.output_shape[-question.rank :] == outs


def _equation(question: Question, index: int) -> str:
    """The rule of one axis, letters for what is asked."""
    row: Numbers = question.axes[index]
    i, k, s, p, d, op, o = (
        LETTERS[name] if row[name] is None else row[name]
        for name in ("size", "kernel", "stride", "padding", "dilation", "output_padding", "out")
    )
    s = k if s == "kernel" else s
    if question.rule == "transposed":
        twice = "2p" if p == "p" else f"2*{p}"
        before = "i-1" if i == "i" else f"{i}-1"
        return f"({before})*{s} - {twice} + {d}*({k}-1) + {op} + 1 = {o}"
    pads = f"{p[0]} + {p[1]}" if isinstance(p, tuple) else "2p" if p == "p" else f"2*{p}"
    pads = "0" if p == 0 else pads
    extent = str(k) if d == 1 else f"{d}*({k}-1) - 1"
    steps = str(o - 1) if isinstance(o, int) else "o - 1" if s == 1 else "(o-1)"
    sign = "-" if question.ceil_mode else "+"
    rest = ""
    if not isinstance(s, int):
        rest = f" {sign} r, 0 <= r < {s}"
    elif s > 1:
        inner = ",".join(map(str, range(s))) if s < 5 else f"0,…,{s - 1}"
        rest = f" {sign} r, r in {{{inner}}}"
    steps = steps if s == 1 else f"{s}*{steps}"
    return f"{i} + {pads} - {extent} = {steps}{rest}"


def _why(question: Question, pads: tuple[tuple[int, int], ...] | None) -> str:
    """Why nothing fits."""
    if len(question.unknown) > 1:
        return f"tried: {ranges(question)}"
    told = closest(question)
    if pads or question.rule != "transposed" or question.unknown == ("output_padding",):
        return told
    rows = tuple({**row, "output_padding": None} for row in question.axes)
    wider = Question(question.rule, rows)
    found = answers(wider) if len(wider.unknown) <= 2 else []
    if not found:
        return told
    best = ", ".join(f"{name}={value}" for name, value in found[0].values.items())
    return f"{told}; {best} fit{'s' * (len(found[0].values) == 1)}"


def _remarks(
    question: Question, found: list[Answer], pads: tuple[tuple[int, int], ...] | None
) -> list[str]:
    """What a user of the answer should know."""
    row = question.axes[0]
    if question.unknown == ("stride",) and found and max(axis.out for axis in found[-1].axes) == 1:
        return ["any larger stride gives 1 too"]
    if question.unknown == ("stride",) and question.rule == "transposed" and row["size"] == 1:
        return ["the stamp of a single input cell needs no stride: any other gives the same"]
    if question.unknown == ("dilation",) and row["kernel"] == 1:
        return ["a kernel of 1 has no gaps: any other dilation gives the same"]
    if question.rule != "conv" or question.unknown != ("padding",):
        return []
    s, size, out = row["stride"], row["size"], row["out"]
    same = s == 1 and all(each["size"] == each["out"] for each in question.axes)
    if pads:
        rank = question.rank
        each = pads * (rank // len(pads))
        flat = tuple(side for pair in reversed(each) for side in pair)
        told = [f"nn.ZeroPad{rank}d({flat}) before it, and padding=0, adds them"]
        return [*(["torch's padding='same' adds just these"] if same else []), *told]
    if same and found:
        return ["the same as torch's padding='same'"]
    if not found or s == 1 or out != -(-size // s):
        return []
    zeros = window.same_padding(size, row["kernel"], s, row["dilation"], style="tf")
    told = ["torch's padding='same' would raise here: it needs stride 1"]
    if zeros[0] != zeros[1]:
        told.append(f"TensorFlow's SAME pads {zeros}: the same size, another alignment")
    return told


def _word(name: str) -> str:
    return "input" if name == "size" else name
