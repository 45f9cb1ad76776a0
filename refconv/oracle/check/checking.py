"""check_function: run the cases, sort the outcomes, explain the first fault, write its repro."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

from ...errors import UsageError
from ...ops import OPS
from . import diagnose, directed, script, shrink
from .arithmetic import measured
from .engine import Engine, Here
from .job import Job
from .journal import Journal
from .report import Report
from .sorting import Sorted, sort
from .trial import Outcome, Settings, attempt

#: Seconds of cases, by default; explaining and shrinking a fault come on top.
BUDGET = 30.0


def check_function(
    function: Callable[..., Any],
    op: str = "conv2d",
    *,
    seed: int = 0,
    budget: float = BUDGET,
    device: str = "cpu",
    precision: str = "ieee",
    algorithm: str = "direct",
    dtypes: tuple[str, ...] | None = None,
    drawn: int = 300,
    edge: bool = True,
    stop: int | None = None,
    explain: bool = True,
    name: str = "",
) -> Report:
    """Whether ``function`` computes torch.nn.functional's ``op``, forward and backward.

    Args:
        function: has torch's signature of ``op`` and takes and returns torch tensors.
        seed: of all cases: the same seed makes the same cases.
        budget: seconds after which no further case is begun; the report says how many were left.
        precision, algorithm: what it declares; they choose the bound (``bound.arithmetic``).
        dtypes: float32 and all that torch's CPU takes if None.
        drawn: cases drawn by hypothesis; ``edge``: whether the directed ones are run.
        stop: end after so many calls that are wrong or suspect; None runs all cases.
        explain: whether a fault is diagnosed and shrunk, which takes some seconds.

    Raises:
        UsageError: refconv has no such op, or it is not defined for one of the dtypes.

    Example:
        >>> import torch
        >>> right = check_function(torch.nn.functional.unfold, "unfold", drawn=20)
        >>> right.flagged
        False
    """
    job = job_of(name, op, seed, device, precision, algorithm, dtypes, drawn, edge)
    shown = name or script.name(function)
    here, nothing = Here(function), Journal(None)
    return examine(job, function, here, nothing, budget, shown, stop=stop, explain=explain)


def job_of(
    target: str,
    op: str,
    seed: int = 0,
    device: str = "cpu",
    precision: str = "ieee",
    algorithm: str = "direct",
    dtypes: tuple[str, ...] | None = None,
    drawn: int = 300,
    edge: bool = True,
) -> Job:
    """The job of these arguments.

    Raises:
        UsageError: see ``check_function``.
    """
    if op not in OPS:
        raise UsageError(f"there is no op {op!r}; refconv has {', '.join(OPS)}")
    known = directed.dtypes_of(op)
    wrong = [d for d in dtypes or () if d not in known]
    if wrong:
        raise UsageError(f"{op} is not defined for {wrong[0]}; it takes {', '.join(known)}")
    settings = Settings(device, precision, algorithm)
    return Job(target, op, settings, tuple(dtypes or known), seed, drawn, edge)


def examine(
    job: Job,
    function: Callable[..., Any],
    engine: Engine,
    journal: Journal,
    budget: float,
    name: str,
    progress: Callable[[int], None] = lambda count: None,
    stop: int | None = None,
    explain: bool = True,
) -> Report:
    """Run a job and make its report; after ``stop`` bad calls, with what is known by then."""
    began = time.monotonic()
    outcomes = journal.begin(job)
    known = {o.index for o in outcomes}
    left = [i for i in range(len(job.cases)) if i not in known]
    progress(len(known))
    bad = 0
    for outcome in engine.run(job, left, began + budget):
        journal.write(outcome)
        outcomes.append(outcome)
        progress(1)
        bad += outcome.status in ("wrong", "suspect")
        if stop is not None and bad >= stop:
            break
    outcomes.sort(key=lambda o: o.index)
    found = sort(outcomes)
    report = Report.of(job, name, outcomes, found, time.monotonic() - began)
    report = report.changed(fingerprint=measured(function, job))
    if not found.failing or not explain:
        return report
    return explained(report, job, function, found, outcomes)


def explained(
    report: Report,
    job: Job,
    function: Callable[..., Any],
    found: Sorted,
    outcomes: list[Outcome],
) -> Report:
    """The report with what went wrong, the smallest failing call, and its repro."""
    failing = [job.cases[o.index] for o in found.failing]
    said = diagnose.diagnose(function, failing, outcomes, job.cases, job.settings)
    safe = [o for o in found.failing if not _unsafe(o)]
    if not safe:
        first = found.failing[0]
        return report.changed(diagnosis=said.text, smallest=first.case, reason=_reason(first))
    at = _simplest(safe, job)
    smallest = shrink.shrink(function, job.cases[at.index], job.settings)
    again = attempt(function, smallest, job.settings)
    return report.changed(
        diagnosis=said.text,
        smallest=script.label(smallest),
        reason=_reason(again) or _reason(at),
        repro=script.script(report.name, smallest, job.settings, function),
    )


def _unsafe(outcome: Outcome) -> bool:
    """A call that ends the process is not run again here."""
    return any(f.kind == "crash" for f in outcome.findings)


def _simplest(failing: list[Outcome], job: Job) -> Outcome:
    """The failing call to shrink: the commonest kind of failure, then the plainest call."""
    kinds = Counter(_kind(o) for o in failing)
    [(kind, _)] = kinds.most_common(1)

    def effort(outcome: Outcome) -> tuple[int, ...]:
        case = job.cases[outcome.index]
        other = (case.way != "plain", case.dtype != job.dtypes[0])
        return (*other, len(case.features), sum(map(prod, case.shapes)))

    return min((o for o in failing if _kind(o) == kind), key=effort)


def _kind(outcome: Outcome) -> str:
    return next((f.kind for f in outcome.findings if f.level != "consistent"), "")


def _reason(outcome: Outcome) -> str:
    """What is wrong with the first wrong result."""
    for finding in outcome.findings:
        if finding.level != "consistent":
            return f"{finding.result}: {finding.reason}"
    return ""
