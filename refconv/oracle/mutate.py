"""Scores a tolerance policy: which faults does it miss, which legal results does it reject?

Every candidate of ``mutants`` runs on every problem and every kind of data, and every policy judges
every result. A fault that changes no bit, or cannot happen, is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import label
from ..errors import UsageError
from ..problem import ConvProblem
from .mutants import CANDIDATES, candidates
from .policies import TORCH, Policy
from .regimes import REGIMES, WHOLE, setting


@dataclass(frozen=True)
class Cell:
    """One candidate on one problem and one kind of data, as one policy judged it.

    Args:
        rejected: elements that it rejects; 1 where it judges the tensor as a whole.
    """

    candidate: str
    legal: bool
    case: str
    data: str
    seed: int
    rejected: int

    @property
    def right(self) -> bool:
        """Whether what is legal passed, or what is wrong was rejected."""
        return (self.rejected == 0) == self.legal


@dataclass
class Score:
    """A policy, and every cell that it judged."""

    policy: Policy
    cells: list[Cell] = field(default_factory=list)

    def of(self, legal: bool) -> list[Cell]:
        """The cells of legal candidates, or of faulty ones."""
        return [cell for cell in self.cells if cell.legal == legal]

    @property
    def missed(self) -> int:
        """Faults that passed."""
        return sum(not cell.right for cell in self.of(legal=False))

    @property
    def false_alarms(self) -> int:
        """Legal results that were rejected."""
        return sum(not cell.right for cell in self.of(legal=True))


def score(policy: Policy, problems: Iterable[Any], seeds: int = 1) -> Score:
    """One policy on every problem, kind of data and candidate."""
    return scores([policy], list(problems), seeds)[0]


def scores(
    policies: Sequence[Policy],
    problems: Sequence[Any],
    seeds: int = 1,
    step: Callable[[str], None] = lambda name: None,
) -> list[Score]:
    """Several policies on the same results.

    Args:
        seeds: how many draws of the data.
        step: called with each problem's label before its candidates run.

    Raises:
        UsageError: a problem is no convolution, or of a dtype that has no rounding errors.
    """
    for problem in problems:
        check(problem)
    found = [Score(policy) for policy in policies]
    for problem in problems:
        case = label.format(problem)
        step(case)
        for seed in range(seeds):
            known: set[tuple[str, str]] = set()  # rejected on whole numbers, by policy
            for data in REGIMES:
                where = setting(problem, data, seed)
                for candidate, got in candidates(where):
                    for one in found:
                        rejected = int(np.sum(one.policy.rejects(got, where)))
                        key = (one.policy.name, candidate.name)
                        if data == WHOLE and rejected:
                            known.add(key)
                        if one.policy.whole and key in known:
                            rejected = max(rejected, 1)
                        one.cells.append(
                            Cell(candidate.name, candidate.legal, case, data, seed, rejected)
                        )
    return found


def check(problem: Any) -> None:
    """Refuse what cannot be mutated.

    Raises:
        UsageError: not a convolution of float16, bfloat16, float32 or float64, or an empty one.
    """
    if not isinstance(problem, ConvProblem):
        raise UsageError(f"mutate: its faults are those of convolutions; {problem.op} is none")
    if problem.dtype not in TORCH:
        raise UsageError(
            f"mutate: tolerances are for {', '.join(TORCH)}; {label.format(problem)} is "
            f"{problem.dtype}, where equality is due"
        )
    if problem.macs == 0:
        raise UsageError(f"mutate: {label.format(problem)} computes nothing")


def conclusion(found: Sequence[Score]) -> list[str]:
    """What the numbers say: one line of all others' rules, or of the only one; then of ours."""
    others = [s for s in found if not s.policy.ours]
    ours = [s for s in found if s.policy.ours]
    if len(others) < 2:
        return [verdict(s) for s in (*others, *ours)]
    miss, alarm = (sum(bool(getattr(s, n)) for s in others) for n in ("missed", "false_alarms"))
    rejects = f"{alarm} reject{'s' * (alarm == 1)} legal results"
    lines = [f"{miss} of {len(others)} tolerances let faults pass; {rejects}"]
    blind = [
        name
        for name in (c.name for c in CANDIDATES if not c.legal)
        if all(any(c.candidate == name and not c.right for c in s.cells) for s in others)
    ]
    if blind:
        lines.append(f"each of them lets pass at least once: {', '.join(blind)}")
    return lines + [verdict(s) for s in ours]


def verdict(one: Score) -> str:
    """``1e-2: misses 333 of 858 faults, rejects 0 of 504 legal results``."""
    faults, legal = len(one.of(legal=False)), len(one.of(legal=True))
    return (
        f"{one.policy.name} misses {one.missed} of {faults} faults and rejects "
        f"{one.false_alarms} of {legal} legal results"
    )
