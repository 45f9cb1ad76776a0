"""Does a function give the same bits whatever should not matter to it: the run, the batch, the
layout, the number of threads?

Nothing here is a matter of right or wrong by itself: another order of summation is legal, and gives
other bits. So every difference is weighed: within the proven bound it is rounding, beyond it one of
the two results is wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .. import label
from ..errors import UnavailableError, UnsupportedError, UsageError
from ..problem import ConvProblem, PoolProblem
from . import inputs, reference, verdict
from .bound import PARTS, STORED, Bound
from .reference import Expected, exact
from .target import Target
from .variants import Variant, images, variants, with_images

#: Calls of the same thing.
REPEATS = 20
#: Images that a batch has at least.
BATCH = 8
HOLDS, ROUNDING, WRONG, REFUSED, NOT_TRIED = "holds", "rounding", "WRONG", "refused", "not tried"
SKIPPED, ERROR = "skipped", "ERROR"


@dataclass(frozen=True)
class Difference:
    """One result that changed.

    Args:
        result: output, grad_input, …; changed: by what.
        differ: cells with other bits, of ``cells``.
        ulps: the largest distance, in units in the last place of the dtype.
        share: the largest distance as a share of what two legal results may differ by, which is
            the sum of their bounds.
        wrong: why one of the two is wrong; empty if both are within their bounds.
    """

    result: str
    changed: str
    differ: int
    cells: int
    ulps: float
    share: float
    wrong: str = ""


@dataclass(frozen=True)
class Finding:
    """One property.

    Args:
        status: holds, rounding, WRONG, refused or not tried.
        tried: what was changed; or why it was refused, or not tried.
        compared: the results that both calls have (of one image there is no grad_weight).
    """

    name: str
    status: str
    tried: str
    compared: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


@dataclass
class Report:
    """Every property of one function on one problem.

    Args:
        rule: of the bounds; note: on them, if they are not the dtype's own.
        wrong: why the result itself is wrong; empty if it is right.
        skipped: why our backend cannot run it; error: what the function raised on the plain call.
    """

    target: str
    problem: Any
    results: tuple[str, ...] = ()
    rule: str = ""
    note: str = ""
    wrong: str = ""
    skipped: str = ""
    error: str = ""
    findings: list[Finding] = field(default_factory=list)

    def named(self, status: str) -> list[Finding]:
        """The properties of one status."""
        return [f for f in self.findings if f.status == status]

    @property
    def status(self) -> str:
        """ERROR or skipped if it did not run; WRONG if anything is, else rounding, else holds."""
        if self.error or self.skipped:
            return ERROR if self.error else SKIPPED
        if self.wrong or self.named(WRONG):
            return WRONG
        return ROUNDING if self.named(ROUNDING) else HOLDS


def invariance(
    function: Callable[..., Any] | Target,
    problem: Any,
    *,
    seed: int = 0,
    backward: bool = False,
    device: str | None = None,
    repeats: int = REPEATS,
) -> Report:
    """Call ``function`` again and again, changing what must not matter, and compare the bits.

    Args:
        function: with torch's signature of the problem's op.
        problem: a convolution or a pooling; its batch is made 8 if it is smaller.
        backward: gradients as well.
        device: None is the function's own, else the CPU.

    Raises:
        UsageError: another op, or a function that does not run on this device.
    """
    check(problem)
    if not isinstance(function, Target):
        name = getattr(function, "__name__", type(function).__name__)
        function = Target(name, problem.op, function)
    own = function.device
    if device and own not in ("", device):
        raise UsageError(f"invariance: {function.name} runs on {own}, not on {device}")
    device = device or own or "cpu"
    base = _Base(function, _batched(problem), seed, backward, device)
    report = Report(function.name, base.problem)
    try:
        base.results = base.run(Variant("the plain call"))
    except (UnsupportedError, UnavailableError) as error:
        report.skipped = str(error)
        return report
    except Exception as error:  # the user's function may do anything
        report.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return report
    base.judge()
    report.results = tuple(e.name for e in base.expected)
    report.rule, report.wrong, report.note = base.rule, base.wrong, base.note
    for name, tried, changed in variants(base.problem, device, repeats):
        report.findings.append(_finding(base, name, tried, changed))
    return report


def check(problem: Any) -> None:
    """Refuse what is neither a convolution nor a pooling, or has no elements.

    Raises:
        UsageError: it is one of these.
    """
    if not isinstance(problem, ConvProblem | PoolProblem):
        raise UsageError(f"invariance: takes convolutions and poolings, got {problem.op}")
    if not all((*problem.input_shape, *problem.output_shape)):
        raise UsageError(f"invariance: {label.format(problem)} has no elements to compare")


def _batched(problem: Any) -> Any:
    """The problem with at least ``BATCH`` images, if it has a batch axis."""
    count = images(problem)
    return problem if count is None else with_images(problem, max(count, BATCH))


class _Base:
    """The plain call: its inputs, its results, and what they have to be."""

    def __init__(
        self, target: Target, problem: Any, seed: int, backward: bool, device: str
    ) -> None:
        self.target, self.problem, self.device = target, problem, device
        self.arrays = inputs.make(problem, "real", seed)
        floats = "float" in problem.dtype or "complex" in problem.dtype
        self.grad = inputs.gradient(problem, "real", seed) if backward and floats else None
        self.expected = reference.forward(problem, self.arrays)
        if self.grad is not None:
            self.expected += reference.backward(problem, self.arrays, self.grad)
        self.results: dict[str, torch.Tensor] = {}

    def judge(self) -> None:
        """Find the arithmetic whose bounds the plain call's results are held to."""
        self.precision, self.wrong = self._precision()
        dtype = self.problem.dtype
        self.note = {
            "narrow": f"held to the bound of sums in {dtype}: it is beyond that of float32 sums",
            "tf32": "held to TF32's bound: it is beyond float32's",
        }.get(self.precision, "")
        self.bounds = {e.name: e.bound(self.precision) for e in self.expected}
        self.rule = " / ".join(dict.fromkeys(b.rule for b in self.bounds.values()))

    def _precision(self) -> tuple[str, str]:
        """The narrowest arithmetic that explains the results, and if none does, what is wrong."""
        part = PARTS.get(self.problem.dtype, self.problem.dtype)
        tried = ["ieee", *(["narrow"] if part in STORED else [])]
        tried += ["tf32"] if part == "float32" and self.device != "cpu" else []
        reasons = []
        for precision in tried:
            reasons.append("")
            for e in self.expected:
                got = self.results.get(e.name)
                if got is None:
                    reasons[-1] = f"{e.name}: no result"
                elif not (v := verdict.compare(got, e.want, e.bound(precision), self.problem)).ok:
                    reasons[-1] = f"{e.name}: {v.reason}"
            if not reasons[-1]:
                return precision, ""
        return "ieee", reasons[0]

    def run(self, variant: Variant) -> dict[str, torch.Tensor]:
        """Every result of the call as ``variant`` changes it, on the CPU.

        The function gets copies: one that changes its inputs must not change the next call's.
        """
        problem = variant.problem or self.problem
        fresh = {n: a.to(self.device, copy=True) for n, a in self.arrays.items()}
        grad = None if self.grad is None else self.grad.to(self.device, copy=True)
        with variant.around(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on even kernels and complex halves
            arrays, grad = variant.change(fresh, grad)
            if grad is None:
                with torch.no_grad():
                    found = self.target.results(problem, arrays)
                return {n: t.cpu() for n, t in found.items()}
            leaves = {n: a.detach().requires_grad_() for n, a in arrays.items()}
            found = self.target.results(problem, leaves)
            y = found["output"]
            if y.shape != grad.shape or not y.requires_grad:
                return {n: t.detach().cpu() for n, t in found.items()}
            grads = torch.autograd.grad(y, list(leaves.values()), grad, allow_unused=True)
        found |= {f"grad_{n}": g for n, g in zip(leaves, grads, strict=True) if g is not None}
        return {n: t.detach().cpu() for n, t in found.items()}


def _finding(base: _Base, name: str, tried: str, changed: list[Variant]) -> Finding:
    """Try one property: every changed call, and every result that both calls have."""
    if not changed:
        return Finding(name, NOT_TRIED, tried)
    differences: dict[tuple[str, str], Difference] = {}
    refused = ""
    compared: dict[str, None] = {}
    for variant in changed:
        try:
            results = base.run(variant)
        except Exception as error:  # it may refuse a layout; that is no difference
            text = " ".join(str(error).split())
            refused = refused or f"{variant.name}: {type(error).__name__}: {text}"
            continue
        for e in base.expected:
            where = variant.where(e.name)
            if where is None or e.name not in base.results:
                continue
            compared[e.name] = None
            made = _difference(base, e, where, results.get(e.name), variant.name)
            key = (variant.kind or variant.name, e.name)
            if made and (key not in differences or _worse(made, differences[key])):
                differences[key] = made
    names = tuple(compared)
    if differences:
        wrong = any(d.wrong for d in differences.values())
        return Finding(name, WRONG if wrong else ROUNDING, tried, names, (*differences.values(),))
    return Finding(name, REFUSED, refused) if refused else Finding(name, HOLDS, tried, names)


def _worse(a: Difference, b: Difference) -> bool:
    return (bool(a.wrong), a.share, a.differ) > (bool(b.wrong), b.share, b.differ)


def _difference(
    base: _Base, e: Expected, where: Any, got: torch.Tensor | None, changed: str
) -> Difference | None:
    """What differs between a variant's result and the same cells of the plain call's; None if
    nothing does.
    """
    before = base.results[e.name][where]
    if got is None or got.shape != before.shape or got.dtype != before.dtype:
        shape = "no result" if got is None else f"{got.dtype} {verdict.show(tuple(got.shape))}"
        reason = f"{shape} instead of {before.dtype} {verdict.show(tuple(before.shape))}"
        return Difference(e.name, changed, before.numel(), before.numel(), np.inf, np.inf, reason)
    a, b = exact(got), exact(before)
    same = verdict.same_bits(a, b)
    if same.all():
        return None
    want, bound = e.want[where], base.bounds[e.name]
    tolerance: Any = None
    if bound.tolerance is not None:
        tolerance = np.broadcast_to(bound.tolerance, e.want.shape)[where]
    part: Bound = replace(bound, tolerance=tolerance)
    with np.errstate(all="ignore"):
        off = np.where(same, 0.0, np.abs(a - b))
        allowed = np.zeros_like(off) if tolerance is None else 2 * tolerance
        share = np.where(same, 0.0, np.where(allowed > 0, off / allowed, np.inf))
    judged = [verdict.compare(result, want, part) for result in (got, before)]
    return Difference(
        e.name,
        changed,
        differ=int(np.count_nonzero(~same)),
        cells=same.size,
        ulps=float(np.max(_ulps(got, before))),
        share=float(np.max(np.where(np.isnan(share), np.inf, share))),
        wrong=next((v.reason for v in judged if not v.ok), ""),
    )


def _ulps(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """How many numbers of their dtype apart two results are; infinite from NaN to a number."""
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    if not a.dtype.is_floating_point:
        return np.abs(exact(a) - exact(b)).astype(np.float64)
    size = {8: torch.int64, 4: torch.int32, 2: torch.int16}[a.element_size()]
    i, j = (_rank(t.contiguous().view(size)) for t in (a, b))
    opposite = (i < 0) != (j < 0)  # their difference may not fit 64 bits
    apart = np.where(opposite, np.abs(i) + np.abs(j).astype(float), np.abs(i - j))
    return np.where(a.isnan().numpy() != b.isnan().numpy(), np.inf, apart)


def _rank(bits: torch.Tensor) -> np.ndarray:
    """Where a float stands among all floats of its dtype, counted from zero."""
    size = (bits & torch.iinfo(bits.dtype).max).long().numpy()
    return np.where(bits.numpy() < 0, -size, size)
