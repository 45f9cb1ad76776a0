"""One case tried on one function: called with guarded arrays, every result judged.

The verdict is the oracle's. What is added here is everything that is not a value: refusals, errors,
strides, memory written to that should not be, results that change from run to run.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import torch

from .. import inputs, verdict
from ..bound import PARTS, STORED
from ..reference import Expected
from . import answers
from .case import Case
from .layouts import Guarded

#: Terms that the model of noise looks at: as sharp on small problems, faster on large ones.
LOOK = 2**16
#: Runs of a ``repeat`` case.
REPEATS = 20


@dataclass(frozen=True)
class Settings:
    """How a function is called and what it declares.

    Args:
        precision: of ``bound.arithmetic``; ``algorithm``: direct, winograd_f2, …, fft.
    """

    device: str = "cpu"
    precision: str = "ieee"
    algorithm: str = "direct"


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of one case, judged.

    Args:
        kind: ok, or what is wrong: value, noise, shape, dtype, missing, unjudged, error, accepted,
            memory, repeat, alias.
        level: consistent, suspect or wrong.
        ratio: error / bound in the worst cell; None if infinite or not a matter of values.
        noise: rms of error / expected noise; None where there is no noise model.
        detects: smallest fault surely caught, relative to a typical result.
    """

    result: str
    kind: str = "ok"
    level: str = "consistent"
    reason: str = ""
    rule: str = ""
    ratio: float | None = None
    noise: float | None = None
    worst: tuple[int, ...] | None = None
    wrong: int = 0
    cells: int = 0
    detects: float | None = None
    note: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="outcome"):
    """What came of one case.

    Args:
        index: of the case in its run; ``case``: it, in words.
        status: consistent, suspect, wrong, or refused (an exception on a valid call).
        features: what the call asked for beside the op itself.
        formats: memory format due and got, of a result that could have either; else nothing.
        like_torch: whether the output has the very bits of torch's; None if not compared.
    """

    index: int
    op: str
    case: str
    why: str = ""
    dtype: str = ""
    status: str
    features: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    formats: tuple[str, str] | None = None
    like_torch: bool | None = None
    seconds: float = 0.0


def attempt(
    function: Callable[..., Any], case: Case, settings: Settings, index: int = 0
) -> Outcome:
    """Try ``case`` on ``function``; whatever it raises becomes part of the outcome."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = Trial(case, settings)
        findings = trial.judge(function)
    level = max((verdict.LEVELS.index(f.level) for f in findings), default=0)
    refused = any(f.kind == "error" for f in findings)
    return Outcome(
        index=index,
        op=case.op,
        case=str(case),
        why=case.why,
        dtype=case.dtype,
        status="refused" if refused else verdict.LEVELS[level],
        features=tuple(sorted(case.features)),
        findings=tuple(findings),
        formats=trial.formats,
        like_torch=trial.like_torch,
        seconds=round(time.perf_counter() - began, 6),
    )


class Trial:
    """A case made ready to be called: its arrays, gradient, and what is due.

    Args:
        expected: empty for a call that must be refused.
    """

    def __init__(self, case: Case, settings: Settings) -> None:
        self.case, self.settings = case, settings
        self.formats: tuple[str, str] | None = None
        self.like_torch: bool | None = None
        self.refusal = case.refusal
        plain = dict(zip(case.names, case.arrays(), strict=True))
        self.guards = {n: Guarded(a, settings.device) for n, a in plain.items()}
        self.arrays = {n: g.tensor for n, g in self.guards.items()}
        self.dy: torch.Tensor | None = None
        self.expected: list[Expected] = []
        if not self.refusal:
            self.problem = case.problem()
            dy = case.incoming(self.problem)
            self.dy = None if dy is None else dy.to(settings.device)
            if case.way != "shape":
                self.expected = answers.due(case, self.problem, plain, dy)

    def call(self, function: Callable[..., Any]) -> dict[str, torch.Tensor]:
        """Everything that ``function`` gives."""
        return answers.got(function, self.case, self.arrays, self.dy)

    def judge(self, function: Callable[..., Any]) -> list[Finding]:
        """Every finding."""
        if self.refusal:
            return self._refusal(function)
        kept = self._before(function)
        try:
            found = self.call(function)
        except Exception as error:
            return [self._error(error)]
        if self.case.way == "shape":
            return [self._shape(found["output"])]
        findings = [self._value(found.get(e.name), e) for e in self.expected]
        plain = "output" in found and self.case.way in ("plain", "again")
        findings += [*self._memory(), *self._shared(found["output"] if plain else None)]
        if kept is not None and not _same(*kept):
            text = "the result of an earlier call was changed by this one: one buffer for both"
            findings.append(Finding(result="output", kind="alias", level="wrong", reason=text))
        if self.case.way == "repeat":
            findings += self._repeats(function, found)
        if "output" in found and self.expected[0].name == "output":
            self._layout(found["output"])
        return findings

    def _shape(self, y: torch.Tensor) -> Finding:
        shape, due = tuple(y.shape), self.problem.output_shape
        if shape == due:
            return Finding(result="output", cells=1)
        reason = verdict.shape_reason(shape, due, self.problem)
        return Finding(result="output", kind="shape", level="wrong", reason=reason)

    def _before(self, function: Callable[..., Any]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The result of an ``again`` case's first call, and a copy of it."""
        if self.case.way != "again":
            return None
        first = answers.earlier(self.case)
        other = dict(zip(first.names, first.arrays(), strict=True))
        own = {n: a.clone() for n, a in self.arrays.items()}
        for name, array in self.arrays.items():  # the very same tensors, changed in place
            array.copy_(other[name])
        try:
            y = answers.got(function, first, self.arrays, None)["output"]
        except Exception:  # the call itself is another case's matter
            return None
        finally:
            for name, array in self.arrays.items():
                array.copy_(own[name])
        return y, y.clone()

    def _value(self, got: torch.Tensor | None, e: Expected) -> Finding:
        """One result against what is due."""
        if got is None:
            text = "no result; does it depend on its inputs by torch operations?"
            note = "" if e.name in self.torch_result else "nor does torch give one"
            if self.dy is not None and not self.dy.numel():  # autograd's None is a zero
                note = "none of an empty result, where torch gives zeros"
            level = "consistent" if note else "wrong"
            return Finding(result=e.name, kind="missing", level=level, reason=text, note=note)
        finding = judged(got, e, self.problem, self.settings, self._noisy())
        if finding.kind == "value" and self.case.values.startswith("one "):
            return self._special(got, e, finding)
        stored = PARTS.get(self.case.dtype, self.case.dtype) in STORED
        doubtful = finding.kind in ("value", "noise")
        if doubtful and stored and self.settings.precision == "ieee":
            return self._sixteen(got, e, finding)
        return finding

    def _noisy(self) -> bool:
        """Whether roundings are independent of each other: not those of equal or whole numbers."""
        case = self.case
        real = case.values in inputs.KINDS and case.values != "integer"
        told = self.settings.algorithm != "fft"  # its noise spreads over rows of any length
        return real and told and "expanded" not in (*case.layouts, case.grad)

    def _special(self, got: torch.Tensor, e: Expected, finding: Finding) -> Finding:
        """A convolution may multiply the padding's zeros with infinite weights, to NaN, as torch
        does; a transposed one has no such zeros.
        """
        if self.settings.algorithm != "direct":
            note = "infinities spread over the tiles or the whole image: not judged"
            return Finding(result=e.name, note=note)
        if got.shape != e.want.shape or got.dtype != getattr(torch, e.dtype):
            return finding
        value, want = got.detach().cpu().double(), torch.from_numpy(e.want)
        spared = ~want.isfinite() & ~value.isfinite()  # compensated sums turn inf into NaN
        if self.case.kind == "conv" and e.name == "output":
            spared |= self._met() & value.isnan()
        rest = torch.where(spared, want, value).to(got.dtype)
        again = judged(rest, e, self.problem, self.settings)
        if again.level != "consistent":
            return finding
        note = "NaN where an infinity is due, or where padding meets one in the weight"
        return msgspec.structs.replace(finding, kind="ok", level="consistent", note=note)

    def _met(self) -> torch.Tensor:
        """Where a zero of the padding meets a weight that is not finite."""
        weight = (~self.arrays["weight"].isfinite()).double().cpu()
        spatial = tuple(side for pad in reversed(self.problem.padding) for side in pad)
        outside = torch.nn.functional.pad(
            torch.zeros(self.problem.input_shape, dtype=torch.float64), spatial, value=1.0
        )
        steps = (self.problem.stride, 0, self.problem.dilation, self.problem.groups)
        return getattr(torch.nn.functional, self.case.op)(outside, weight, None, *steps) > 0

    def _sixteen(self, got: torch.Tensor, e: Expected, finding: Finding) -> Finding:
        """torch sums some passes of 16-bit dtypes in 16 bits: its very bits are excused."""
        again = judged(got, e, self.problem, Settings(self.settings.device, "narrow"))
        theirs = self.torch_result.get(e.name)
        if again.kind == "value" or theirs is None or not _same(got, theirs):
            return finding
        note = f"summed in {self.case.dtype}, bit for bit as torch does here"
        return msgspec.structs.replace(again, level="consistent", note=note)

    @cached_property
    def torch_result(self) -> dict[str, torch.Tensor]:
        """What torch itself gives; nothing where it refuses."""
        try:
            return self.call(getattr(torch.nn.functional, self.case.op))
        except Exception:
            return {}

    def _refusal(self, function: Callable[..., Any]) -> list[Finding]:
        """A call that breaks a rule must raise; an empty result is no harm."""
        try:
            found = answers.got(function, self.case, self.arrays, None)
        except Exception:
            return []
        y = found["output"]
        if y.numel() == 0 or self.torch_result:
            return []
        if self.case.why.endswith("(an extension)"):  # a meaning that torch does not give it
            return [Finding(result="output", note=f"accepts what torch refuses: {self.case.why}")]
        reason = f"returned {verdict.show(tuple(y.shape))} where torch refuses: {self.refusal}"
        return [Finding(result="output", kind="accepted", level="wrong", reason=reason)]

    def _error(self, error: Exception) -> Finding:
        """An exception on a valid call."""
        text = " ".join(str(error).split())[:200]
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        note = "" if self.torch_result else "torch refuses it too"
        return Finding(
            result="output", kind="error", level="consistent" if note else "wrong",
            reason=reason, note=note,
        )  # fmt: skip

    def _memory(self) -> list[Finding]:
        found = []
        for name, guard in self.guards.items():
            damage = guard.damage()
            if damage:
                reason = f"wrote to {damage.replace('an input', 'its input')}: {name}"
                found.append(Finding(result=name, kind="memory", level="wrong", reason=reason))
        return found

    def _shared(self, y: torch.Tensor | None) -> list[Finding]:
        """A result in the memory of an input changes with it; torch's never are."""
        if y is None or not y.numel():
            return []
        for name, array in self.arrays.items():
            if y.untyped_storage().data_ptr() == array.untyped_storage().data_ptr():
                reason = f"the result shares memory with {name}: it is an alias, not a copy"
                return [Finding(result="output", kind="alias", level="wrong", reason=reason)]
        return []

    def _repeats(self, function: Callable[..., Any], first: dict[str, Any]) -> list[Finding]:
        """The same call again and again, with the same bits; unless torch's own differ too."""
        for run in range(2, REPEATS + 1):
            again = self.call(function)
            for name, t in first.items():
                if not _same(t, again[name]):
                    reason = f"run {run} gives other bits than run 1"
                    return [Finding(result=name, kind="repeat", level="wrong", reason=reason)]
        return []

    def _layout(self, y: torch.Tensor) -> None:
        """The memory format due and got, and whether the bits are torch's."""
        case = self.case
        if case.way.startswith("vmap") or tuple(y.shape) != self.expected[0].want.shape:
            return
        theirs = self.torch_result.get("output")
        if theirs is None:
            return
        if case.dtype == "float32" and case.values != "integer":
            self.like_torch = _same(y, theirs)
        due, got = memory_format(theirs, case.layout), memory_format(y, case.layout)
        if due and got:
            self.formats = (due, got)


def judged(
    got: torch.Tensor, e: Expected, problem: Any, settings: Settings, real: bool = False
) -> Finding:
    """One result judged by value, shape and dtype.

    Args:
        real: whether its numbers are such that a model of noise applies to them.
    """
    about = problem if e.name in ("output", "indices") else None
    precision, algorithm = settings.precision, settings.algorithm
    limit = e.bound(precision, algorithm=algorithm)
    usual = e.noise(precision, algorithm=algorithm, look=LOOK) if real else None
    v = verdict.compare(got, e.want, limit, about, usual)
    ratio = v.ratio if v.ratio is not None and v.ratio < float("inf") else None
    if v.kind == "unjudged":  # nothing is proven, nothing is passed
        return Finding(result=e.name, kind="unjudged", note=f"not judged: {v.reason}")
    return Finding(
        result=e.name,
        kind="noise" if v.level == "suspect" and v.kind == "ok" else v.kind,
        level=v.level,
        reason=v.reason,
        rule=limit.rule,
        ratio=ratio,
        noise=v.z_rms,
        worst=v.worst,
        wrong=v.wrong,
        cells=v.cells,
        detects=v.detects,
    )


def memory_format(t: torch.Tensor, rank: int) -> str:
    """``contiguous``, ``channels_last`` or ``other``; nothing where both or neither can be told."""
    if t.dim() != rank + 2 or rank < 2 or t.numel() == 0:
        return ""
    plain, last = t.is_contiguous(), t.movedim(1, -1).is_contiguous()
    if plain and last:
        return ""
    return "contiguous" if plain else "channels_last" if last else "other"


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit, apart from which NaN it is."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    if not a.dtype.is_floating_point:
        return bool(torch.equal(a, b))
    return bool(((a == b) & (a.signbit() == b.signbit()) | (a.isnan() & b.isnan())).all())
