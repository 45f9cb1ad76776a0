"""The smallest call that still fails in the same way: fewer arguments, smaller arrays, and as few
cells that are not zero as possible.

Greedy: each simpler call is tried, and kept if it fails as the first one did. A value that becomes
an exception is another failure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from . import answers, plainer, smaller
from .case import FORMULAS, Case, encode
from .sparse import FEW, cells, fewest
from .trial import Outcome, Settings, attempt

#: Arrays up to this size are made plainer first; larger ones, smaller.
_SMALL = 4096
#: Tries to see a failure that comes and goes.
_TRIES = 3
#: What follows from another failure of the same call.
_FOLLOWS = frozenset({"missing"})


def shrink(
    function: Callable[..., Any],
    case: Case,
    settings: Settings,
    *,
    seconds: float = 5.0,
    kinds: set[str] | None = None,
) -> Case:
    """The smallest case found that fails on ``function`` as ``case`` does; ``case`` itself if it
    does not fail again.

    Args:
        seconds: after which the smallest so far is taken.
        kinds: of findings that count as this failure; None: those of ``case``.
    """
    search = _Search(function, settings, time.monotonic() + seconds)
    for _ in range(_TRIES):
        search.kinds = kinds or search.failures(case)
        if search.kinds:
            return search.smallest(case)
    return case


def failures(outcome: Outcome) -> set[str]:
    """The kinds of findings by which a call fails; ``strides`` where nothing else is wrong."""
    found = {f.kind for f in outcome.findings if f.level != "consistent"}
    due, got = outcome.formats or ("", "")
    return found or ({"strides"} if due != got else set())


class _Search:
    """Which calls have been tried, and which of them fail."""

    def __init__(
        self, function: Callable[..., Any], settings: Settings, deadline: float
    ) -> None:
        self.function, self.settings, self.deadline = function, settings, deadline
        self.kinds: set[str] = set()
        self.rule = ""
        self._tried: set[bytes] = set()
        self._shapes: set[Any] = set()

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline

    def failures(self, case: Case) -> set[str]:
        """The kinds of findings, this time."""
        self._shapes.add(case.shapes)
        return failures(attempt(self.function, case, self.settings))

    def fails(self, case: Case) -> bool:
        """Whether ``case``, not tried so far, fails in the way that is looked for."""
        key = encode(case)
        if self.late or key in self._tried or _rule(case.refusal) != self.rule:
            return False
        self._tried.add(key)
        if case.way == "again" and not self._begins_well(case):
            return False
        found = self.failures(case)
        return bool(found & self.kinds) and found <= self.kinds | _FOLLOWS

    def _begins_well(self, case: Case) -> bool:
        """Whether the call before this one is right: whatever it leaves behind is of its making.

        A function that keeps something from call to call may also keep it from earlier tries.
        """
        first = answers.earlier(case)
        return not first.refusal and ("alias" in self.kinds or not self.failures(first))

    def smallest(self, case: Case) -> Case:
        """Everything in turn, until nothing is simpler."""
        self.rule = _rule(case.refusal)
        self._tried.add(encode(case))
        parts: list[Callable[[Case], Case]] = [self._plainer, self._smaller]
        if max(map(prod, case.shapes)) > _SMALL:
            parts.reverse()
        before = None
        while case != before and not self.late:
            before = case
            for part in parts:
                case = part(case)
        return case if case.way == "again" else self._sparser(case)

    def _plainer(self, case: Case) -> Case:
        for step in plainer.STEPS:
            case = self._repeated(case, lambda c, step=step: map(self._unseen, step(c)))
        return case

    def _smaller(self, case: Case) -> Case:
        for step in smaller.steps(case):
            case = self._repeated(case, lambda c, step=step: smaller.variants(c, step))
        return case

    def _repeated(self, case: Case, variants: Callable[[Case], Any]) -> Case:
        """The last of a row of variants, each of the one before, that all fail."""
        while True:
            found = next((c for c in variants(case) if self._accepts(case, c)), None)
            if found is None:
                return case
            case = found

    def _accepts(self, case: Case, simpler: Case) -> bool:
        if case.way == "again" and simpler.way == "plain":
            # The function may keep more than its last call: ask with shapes that it has not seen.
            return self.fails(self._unseen(simpler, always=True)) and self.fails(simpler)
        return self.fails(simpler)

    def _unseen(self, case: Case, always: bool = False) -> Case:
        """A case of two calls with more images than any so far: nothing is kept for its shapes."""
        numbers = smaller.read(case) if always or case.way == "again" else {}
        if "n" not in numbers:
            return case
        images = numbers["n"]
        while case.shapes in self._shapes:
            images += 1
            case = smaller.rebuilt(case, numbers | {"n": images})
        return case

    def _sparser(self, case: Case) -> Case:
        """The fewest cells that are not zero; numbers of a formula where many are needed."""
        if self.rule:
            return self._first([replace(case, nonzero=((),) * len(case.shapes))]) or case
        case = self._fewest(case)
        wide = [kept is not None and len(kept) > FEW for kept in case.nonzero]
        if any(wide):
            dense = [replace(case, values=kind, nonzero=()) for kind in FORMULAS[1:]]
            found = self._first(dense)
            case = self._fewest(found) if found else case
            whole = tuple(k if k is None or len(k) <= FEW else None for k in case.nonzero)
            return self._first([replace(case, nonzero=whole)]) or case
        return self._first([replace(case, values="ones")]) or case

    def _first(self, cases: Sequence[Case]) -> Case | None:
        return next((c for c in cases if self.fails(c)), None)

    def _fewest(self, case: Case) -> Case:
        """Array by array, twice: what one needs depends on what is left of the others."""
        kept = cells(case)
        for _ in range(2):
            for i, own in enumerate(kept):
                if own is None:
                    continue

                def still(few: tuple[int, ...], i: int = i) -> bool:
                    return self.fails(replace(case, nonzero=(*kept[:i], few, *kept[i + 1 :])))

                kept = (*kept[:i], fewest(own, still), *kept[i + 1 :])
        return replace(case, nonzero=kept)


def _rule(refusal: str) -> str:
    """The words of a refusal, without its numbers and axes."""
    return " ".join(re.findall("[A-Za-z]{2,}", refusal))
