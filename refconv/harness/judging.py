"""One candidate on one problem: run it on all data, and say of every result whether it is right.

``compare`` does this with a case and ``models`` with a layer. ``result`` is all of it; ``doubts``
says beforehand whether the references agree, ``judge`` is the verdict itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from .. import guard, label
from ..errors import RefconvError, UnavailableError, UnsupportedError
from ..notation import input_shape
from ..oracle import calls, leniency, reference, verdict
from ..oracle.algorithm_bounds import ALGORITHMS
from ..oracle.fingerprint import fingerprint
from . import environment
from .candidates import Candidate
from .records import Check, Result

#: Innermost steps a second of the naive loops; measured on one core of a 2020s server, within a
#: factor of 2.
NAIVE_RATE = 2.0e6


@dataclass(frozen=True)
class Options:
    """What to run.

    Args:
        backends: as the user named them; empty: all.
        devices: of ``candidates.devices``.
        allow: precisions narrower than the dtype that are accepted (``tf32``).
        patience: seconds that one call of the naive loops may take.
        budget: seconds of timing per case and device.
    """

    backends: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    backward: bool = False
    seed: int = 0
    time: bool = True
    image: Path | None = None
    allow: frozenset[str] = frozenset()
    patience: float = 0.6
    budget: float = 0.15


@dataclass
class Trial:
    """One kind of data, with what the reference says of it.

    Args:
        data: integer, real or image.
    """

    data: str
    arrays: calls.Arrays
    grad: torch.Tensor | None
    expected: list[reference.Expected] = field(default_factory=list)
    doubts: list[Check] = field(default_factory=list)


def empty_row(case: Any, candidate: Candidate, options: Options) -> Result:
    """The row of a candidate that has not run yet: what the case is, status skipped."""
    problem = case.problem
    return Result(
        case=case.name,
        label=label.format(problem),
        source=getattr(case, "source", ""),
        op=problem.op,
        dtype=problem.dtype,
        input_shape=input_shape(problem),
        output_shape=tuple(problem.output_shape),
        work=calls.work(problem),
        seed=options.seed,
        backend=candidate.backend,
        device=candidate.device,
        precision=environment.precision(
            candidate.device if not candidate.ours else "", problem.dtype
        ),
        status="skipped",
    )


def too_slow(candidate: Candidate, problem: Any, options: Options) -> str:
    """Why the naive loops are not run: a call would take longer than ``patience``; else nothing."""
    if candidate.name != "naive":
        return ""
    seconds = calls.work(problem) / NAIVE_RATE
    if seconds <= options.patience:
        return ""
    return f"too slow: about {seconds:,.0f} s a call (--patience {seconds * 1.5:,.0f} runs it)"


def result(case: Any, candidate: Candidate, trials: list[Trial], options: Options) -> Result:
    """The row of one candidate: judged, or skipped with a reason, or in doubt."""
    problem, made = case.problem, empty_row(case, candidate, options)
    reason = candidate.unavailable or too_slow(candidate, problem, options)
    if reason:
        return changed(made, status="skipped", reason=reason)
    found = tuple(check for trial in trials for check in trial.doubts)
    if found:
        text = f"our float64 and torch's disagree: {found[0].reason}"
        return changed(made, status="doubt", reason=text, checks=found)
    return judge(made, candidate, problem, trials, options)


def doubts(problem: Any, trial: Trial) -> list[Check]:
    """Where torch in float64 on the CPU contradicts the reference; empty where torch has no such op
    to ask.
    """
    dtype = reference.wide(problem.dtype)
    if dtype == "int64":
        return []  # the candidates' comparison is equality already, torch among them
    wide = replace(problem, dtype=dtype)
    arrays = {
        name: a if a.dtype == torch.int64 else a.to(getattr(torch, dtype))
        for name, a in trial.arrays.items()
    }
    grad = None if trial.grad is None else trial.grad.to(getattr(torch, dtype))
    found = _run(Candidate("torch", "cpu"), wide, arrays, grad)
    checks = []
    for e in trial.expected:
        as_wide = replace(e, dtype="int64" if e.name == "indices" else dtype)
        check = _check(found[e.name], as_wide, problem, trial.data, "ieee")
        if not check.ok:
            checks.append(check)
    return checks


def judge(
    row: Result, candidate: Candidate, problem: Any, trials: list[Trial], options: Options
) -> Result:
    """Run one candidate on all data and check every result.

    Args:
        row: of ``empty_row``; its status becomes the verdict, with checks, reason and hints.
        trials: the data, with what the reference says of it.
    """
    checks: list[Check] = []
    hints: dict[str, None] = {}
    for trial in trials:
        # Copies: a candidate that changes its inputs must not change the next one's.
        arrays = {n: a.to(candidate.device, copy=True) for n, a in trial.arrays.items()}
        grad = None if trial.grad is None else trial.grad.to(candidate.device, copy=True)
        try:
            row = changed(row, algorithm=candidate.algorithm(problem))
            with guard.checked():
                found = _run(candidate, problem, arrays, grad)
        except (UnsupportedError, UnavailableError) as error:
            return changed(row, status="skipped", reason=str(error))
        except guard.GuardError as error:
            text = str(error)
            check = Check(result="output", data=trial.data, ok=False, kind="guard", reason=text)
            checks.append(check)
            continue
        except Exception as error:  # whatever one candidate does, the others must still run
            return _failed(row, candidate, checks, trial, error)
        for e in trial.expected:
            about = row if e.name == "output" else changed(row, algorithm="")
            check, hint = checked(found.get(e.name), e, problem, trial.data, about, options)
            checks.append(check)
            hints |= {hint: None} if hint else {}
            if e.name == "output" and trial.data == "real" and e.name in found:
                row = changed(row, arithmetic=fingerprint(found[e.name], e).name)
    if any(t.grad is not None and len(t.expected) == 1 for t in trials):
        hints["no proven bound for this gradient: it was not judged"] = None
    wrong = [c for c in checks if not c.ok]
    row = changed(row, checks=tuple(checks), hint="; ".join(hints))
    if not wrong:
        return changed(row, status="ok")
    reason = f"{wrong[0].result} on {wrong[0].data} data: {wrong[0].reason}"
    doubtful = {c.kind for c in wrong} == {"noise"}
    return changed(row, status="suspect" if doubtful else "wrong", reason=reason)


def _run(
    candidate: Candidate, problem: Any, arrays: calls.Arrays, grad: torch.Tensor | None
) -> dict[str, Any]:
    """Outputs and, if a gradient is given, the gradients of every input, by name."""
    if grad is None:
        with torch.no_grad():
            return candidate.results(problem, arrays)
    leaves = {
        name: a.detach().requires_grad_() if a.dtype != torch.int64 else a
        for name, a in arrays.items()
    }
    found = candidate.results(problem, leaves)
    if found["output"].shape != grad.shape:
        return found  # there is no gradient of a result of the wrong shape
    wanted = [name for name, a in leaves.items() if a.requires_grad]
    grads = torch.autograd.grad(found["output"], [leaves[n] for n in wanted], grad)
    return found | {f"grad_{n}": g for n, g in zip(wanted, grads, strict=True)}


def checked(
    got: Any, e: reference.Expected, problem: Any, data: str, row: Result, options: Options
) -> tuple[Check, str]:
    """One check, and if it fails, whether a narrower arithmetic explains it.

    An algorithm with a bound of its own (Winograd) is held to that. TF32 explains, and is excused
    only if it is allowed; torch's 16-bit sums: ``oracle.leniency``.
    """
    tf32 = row.precision == "tf32"
    algorithm = row.algorithm if row.algorithm in ALGORITHMS else "direct"
    allowed = "tf32" if tf32 and "tf32" in options.allow else "ieee"
    check = _check(got, e, problem, data, allowed, algorithm)
    if check.kind not in ("value", "noise"):
        return check, ""
    if tf32 and "tf32" not in options.allow:
        return check, _tf32_hint(_check(got, e, problem, data, "tf32").ok)
    level = "wrong" if check.kind == "value" else "suspect"
    excused = leniency.excuse(got, e, level) if row.backend == "torch" else None
    if excused is not None:
        again = _check(got, e, problem, data, "narrow")
        hint = f"{excused[2]}, inside that of {row.dtype} sums; refconv sums in float32"
        return changed(again, rule=f"{again.rule}, {row.dtype} sums"), hint
    return check, ""


def _failed(
    row: Result, candidate: Candidate, checks: list[Check], trial: Trial, error: Exception
) -> Result:
    """An exception: torch refusing an op that we have is a gap of the peer's; anything else is an
    error.
    """
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if not candidate.ours and isinstance(error, RuntimeError | TypeError | ValueError):
        return changed(row, status="skipped", reason=f"torch refuses it: {text}")
    if not isinstance(error, RefconvError):
        text = f"{type(error).__name__}: {text}"
    check = Check(result="output", data=trial.data, ok=False, kind="error", reason=text)
    return changed(row, status="error", reason=text, checks=(*checks, check))


def _tf32_hint(inside: bool) -> str:
    if inside:
        return (
            "inside the TF32 bound: torch's convolutions on CUDA use TF32 for float32 by default; "
            "--allow tf32 accepts it, torch.backends.cudnn.conv.fp32_precision = 'ieee' avoids it"
        )
    return "TF32 was in effect, but the result is outside of TF32's bound as well"


def _check(
    got: Any,
    expected: reference.Expected,
    problem: Any,
    data: str,
    precision: str,
    algorithm: str = "direct",
) -> Check:
    """One result against the reference."""
    if got is None:
        return Check(result=expected.name, data=data, ok=False, kind="missing", reason="no result")
    limit = expected.bound(precision, algorithm=algorithm)
    about = problem if expected.name in ("output", "indices") else None
    usual = expected.noise(precision, algorithm=algorithm) if data == "real" else None
    v = verdict.compare(got, expected.want, limit, about, usual)
    finite = lambda x: x if x is not None and x == x and abs(x) != float("inf") else None  # noqa: E731
    return Check(
        result=expected.name,
        data=data,
        ok=v.level == "consistent",
        kind="noise" if v.ok and v.level == "suspect" else v.kind,
        reason=v.reason,
        shape=tuple(got.shape),
        dtype=str(got.dtype).removeprefix("torch."),
        rule=limit.rule,
        terms=limit.terms,
        exact=limit.exact,
        max_error=finite(v.error),
        worst=v.worst,
        ratio=finite(v.ratio),
        wrong=v.wrong,
        cells=v.cells,
        unjudged=v.unjudged,
        detects=v.detects,
        noise=finite(v.z_rms),
    )


def changed(row: Any, **values: Any) -> Any:
    """The struct with other values."""
    return msgspec.structs.replace(row, **values)
