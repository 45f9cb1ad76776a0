"""A job: everything a worker needs to make the same cases again, and to run some of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from .. import target
from . import directed, drawn
from .case import Case
from .trial import Outcome, Settings, attempt


@dataclass(frozen=True)
class Job:
    """One op of one function on one device.

    Args:
        target: of ``target.load``; empty where the function itself is at hand.
        dtypes: the first is the one that most cases have.
        drawn: cases that hypothesis draws, beside the directed ones.
        edge: whether the directed cases are made.
    """

    target: str
    op: str
    settings: Settings = field(default_factory=Settings)
    dtypes: tuple[str, ...] = ("float32",)
    seed: int = 0
    drawn: int = 300
    edge: bool = True

    @cached_property
    def cases(self) -> list[Case]:
        """All cases, in the order of their index: the same in every process."""
        made = directed.directed(self.op, self.dtypes, self.seed) if self.edge else []
        if self.drawn:
            made = made + drawn.collect(self.op, self.drawn, self.seed, self.dtypes)
        return made

    def __getstate__(self) -> dict[str, Any]:
        kept = ("target", "op", "settings", "dtypes", "seed", "drawn", "edge")
        return {name: getattr(self, name) for name in kept}

    def part(self, indices: Sequence[int]) -> list[tuple[int, Case]]:
        """Some of the cases, with their indices: what a worker is given."""
        return [(i, self.cases[i]) for i in indices]


def work(job: Job, part: Sequence[tuple[int, Case]]) -> list[Outcome]:
    """Run some of the job's cases: what a worker does."""
    if os.getcwd() not in sys.path:  # functions are named as seen from the current folder
        sys.path.insert(0, os.getcwd())
    function = _function(job.target, job.op)
    return [attempt(function, case, job.settings, i) for i, case in part]


@cache
def _function(spec: str, op: str) -> Callable[..., Any]:
    """The function, loaded once a process."""
    return target.load(spec, op).function
