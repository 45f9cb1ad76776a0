"""The report of a check: the verdict first, then what was run, what failed and why, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from .job import Job
from .journal import SCHEMA
from .sorting import UNDONE, Sorted
from .trial import Outcome

#: Failing calls that a report keeps; all are counted.
KEPT = 20


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One result over all calls: how often it was judged, and how near to its bound it came."""

    result: str
    calls: int
    wrong: int
    suspect: int
    ratio: float | None = None
    noise: float | None = None
    detects: float | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of checking one function for one op on one device.

    Args:
        verdict: wrong, suspect or consistent; ``nothing ran`` if no call went through.
        verdicts: how many calls had each verdict; ``refused``: raised on a call that torch takes.
        planned: cases made; ``ran``: cases run before the budget ended.
        failing: the first failing calls; ``faults``: how many there are.
        rows: result by result.
        diagnosis, smallest, reason, repro: of the fault; empty without one. ``repro`` is a torch
            script that needs no refconv.
        fingerprint: which arithmetic ran.
        unsupported: feature → (calls, first reason).
        seconds: of the whole check.
    """

    name: str
    op: str
    device: str
    precision: str
    algorithm: str
    dtypes: tuple[str, ...]
    seed: int
    planned: int
    ran: int
    seconds: float
    verdict: str
    verdicts: dict[str, int]
    faults: int = 0
    failing: tuple[Outcome, ...] = ()
    rows: tuple[Row, ...] = ()
    diagnosis: str = ""
    smallest: str = ""
    reason: str = ""
    repro: str = ""
    fingerprint: str = ""
    unsupported: dict[str, tuple[int, str]] = {}
    notes: tuple[str, ...] = ()
    schema: str = SCHEMA

    @classmethod
    def of(
        cls, job: Job, name: str, outcomes: Sequence[Outcome], found: Sorted, seconds: float
    ) -> Report:
        """The report without its explanations."""
        counts = Counter(o.status for o in outcomes)
        worst = {f.level for o in found.failing for f in o.findings}
        verdict = "wrong" if "wrong" in worst else "suspect" if found.failing else "consistent"
        if not found.failing and not counts["consistent"]:
            verdict = "nothing ran"
        return cls(
            name=name,
            op=job.op,
            device=job.settings.device,
            precision=job.settings.precision,
            algorithm=job.settings.algorithm,
            dtypes=job.dtypes,
            seed=job.seed,
            planned=len(job.cases),
            ran=len(outcomes),
            seconds=round(seconds, 2),
            verdict=verdict,
            verdicts=dict(counts),
            faults=len(found.failing),
            failing=tuple(found.failing[:KEPT]),
            rows=_rows(outcomes),
            unsupported=found.unsupported,
            notes=tuple(found.notes),
        )

    @property
    def flagged(self) -> bool:
        """Whether anything is wrong or suspect, or nothing could be judged."""
        return self.verdict != "consistent"

    def changed(self, **values: Any) -> Report:
        """The report with other values."""
        return msgspec.structs.replace(self, **values)

    def to_json(self) -> str:
        """The report as one JSON document."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    def __rich__(self) -> Any:
        from .render import render

        return render(self)

    def _repr_html_(self) -> str:
        from .render import html

        return html(self)


def _rows(outcomes: Sequence[Outcome]) -> tuple[Row, ...]:
    by: dict[str, list[Any]] = {}
    for outcome in outcomes:
        for finding in outcome.findings:
            by.setdefault(finding.result, []).append(finding)
    made = []
    for result, findings in by.items():
        judged = [f for f in findings if f.cells]
        right = [f for f in judged if f.level == "consistent"]
        made.append(
            Row(
                result=result,
                calls=len(findings),
                wrong=sum(f.level == "wrong" and f.kind not in UNDONE for f in findings),
                suspect=sum(f.level == "suspect" for f in findings),
                ratio=max((f.ratio for f in right if f.ratio is not None), default=None),
                noise=max((f.noise for f in right if f.noise is not None), default=None),
                detects=_median([f.detects for f in judged if f.detects is not None]),
            )
        )
    order = ("output", "indices", "grad_input", "grad_weight", "grad_bias")
    known = {name: i for i, name in enumerate(order)}
    return tuple(sorted(made, key=lambda r: (known.get(r.result, len(order)), r.result)))


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
