"""The smallest call that still fails in the same way: fewer arguments, smaller arrays, and as few
cells that are not zero as possible.

Greedy: each simpler call is tried, and kept if it fails as the first one did. A value that becomes
an exception is another failure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

from . import answers, plainer, smaller
from .case import FORMULAS, Case, encode
from .sparse import FEW, Cells, cells, fewest
from .trial import Outcome, Settings, attempt

#: Shares of the time after which simpler calls, and then sparser inputs, are no longer looked for.
_CALLS, _CELLS = 0.6, 0.9
#: Outputs may become this large: an argument that is left out can make one larger.
_ROOM = 100_000
#: Arrays up to this size are made plainer first; larger ones, smaller.
_SMALL = 4096
#: Other numbers to try smaller arrays with: few of them may show the failure.
_SEEDS = (0, 1, 2, 3)
#: What a call before may have had else.
_CHANGES = tuple(
    ((name, value),)
    for name in ("padding", "dilation", "stride", "output_padding")
    for value in (0, 1, 2)
)
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
        kinds: of findings that count as this failure; None: those of ``case``. What is outside of
            the noise may be proven wrong in a smaller call.
    """
    search = _Search(function, settings, seconds)
    twice = replace(case, way="again") if case.way == "plain" else case
    strides = False
    for again in (case, case, twice):
        found = search.failures(again)
        found = found & kinds if kinds else found
        strides = strides or found == {"strides"}
        if found - {"strides"}:
            return search.smallest(again, found | ({"value"} if "noise" in found else set()))
    return search.smallest(case, {"strides"}) if strides else case


def failures(outcome: Outcome) -> set[str]:
    """The kinds of findings by which a call fails; ``strides`` where nothing else is wrong."""
    found = {f.kind for f in outcome.findings if f.level != "consistent"}
    due, got = outcome.formats or ("", "")
    return found or ({"strides"} if due != got else set())


class _Search:
    """Which calls have been tried, and which of them fail."""

    def __init__(self, function: Callable[..., Any], settings: Settings, seconds: float) -> None:
        self.function, self.settings = function, settings
        self.began, self.seconds = time.monotonic(), seconds
        self.deadline = self.began + _CALLS * seconds
        self.kinds: set[str] = set()
        self.rule, self.room = "", 0
        self._tried: set[bytes] = set()
        self._shapes: set[tuple[int, ...]] = set()

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline

    def failures(self, case: Case) -> set[str]:
        """The kinds of findings, this time."""
        self._shapes |= set(case.shapes)
        return failures(attempt(self.function, case, self.settings))

    def fails(self, case: Case) -> bool:
        """Whether ``case``, not tried so far, fails in the way that is looked for."""
        key = encode(case)
        if self.late or key in self._tried or _rule(case.refusal) != self.rule:
            return False
        if not self.rule and _room(case) > self.room:
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

    def smallest(self, case: Case, kinds: set[str]) -> Case:
        """Everything in turn, until nothing is simpler."""
        self.kinds, self.rule = kinds, _rule(case.refusal)
        self.room = 0 if self.rule else max(_ROOM, _room(case))
        self._tried.add(encode(case))
        sized = self._sized(case)
        if sized.way == "plain" and not self.rule and not self.fails(self._elsewhere(sized)):
            twice = self._after_another(case)
            sized = self._sized(twice) if twice else sized
        self.deadline = self.began + _CELLS * self.seconds
        return sized if sized.way == "again" else self._repeatable(sized, self._sparser(sized))

    def _sized(self, case: Case) -> Case:
        """Fewer arguments and smaller arrays, in turn, until neither goes on."""
        parts: list[Callable[[Case], Case]] = [self._plainer, self._smaller]
        if max(map(prod, case.shapes)) > _SMALL:
            parts.reverse()
        before = None
        while case != before and not self.late:
            before = case
            for part in parts:
                case = part(case)
        return case

    def _elsewhere(self, case: Case) -> Case:
        """``case`` with shapes and a kernel that the function has not seen.

        Sizes grow by multiples of 4, so that what is left behind full vectors stays as it is.
        """
        numbers = smaller.read(case)
        wider = {n: v + 4 for n, v in numbers.items() if n.startswith("kernel ")}
        wider |= {n: v + 16 for n, v in numbers.items() if n.startswith("in ")}
        return self._unseen(smaller.rebuilt(case, numbers | wider), always=True)

    def _after_another(self, case: Case) -> Case | None:
        """Two calls that fail, of a function that may have kept something from other cases."""
        for earlier in ((), *_CHANGES):
            twice = self._unseen(replace(case, way="again", earlier=earlier))
            if self.fails(twice):
                return twice
        return None

    def _repeatable(self, sized: Case, sparse: Case) -> Case:
        """``sparse``, unless it fails only after other calls, as ``sized`` then does too."""
        self.failures(sparse)  # from here on the earlier call is the same one
        if sparse.way != "plain" or any(self.failures(sparse) & self.kinds for _ in range(3)):
            return sparse
        twice = replace(sized, way="again")
        return twice if self.failures(twice) & self.kinds else sparse

    def _plainer(self, case: Case) -> Case:
        for step in plainer.STEPS:
            case = self._repeated(case, partial(self._plain_variants, step))
        return case

    def _plain_variants(self, step: Callable[[Case], Iterator[Case]], case: Case) -> Iterator[Case]:
        return map(self._unseen, step(case))

    def _smaller(self, case: Case) -> Case:
        for step in smaller.steps(case):
            case = self._repeated(case, partial(_seeded, step))
        return case

    def _repeated(self, case: Case, variants: Callable[[Case], Iterator[Case]]) -> Case:
        """The last of a row of variants, each of the one before, that all fail."""
        while True:
            found = next((c for c in variants(case) if self._accepts(case, c)), None)
            if found is None:
                return case
            case = found

    def _accepts(self, case: Case, simpler: Case) -> bool:
        if case.way == "again" and simpler.way == "plain":
            # The function may keep more than its last call.
            return self.fails(self._elsewhere(simpler)) and self.fails(simpler)
        return self.fails(simpler)

    def _unseen(self, case: Case, always: bool = False) -> Case:
        """A case of two calls with more images and channels: nothing is kept for their shapes."""
        numbers = smaller.read(case) if always or case.way == "again" else {}
        while "n" in numbers and self._shapes.intersection(case.shapes):
            numbers |= {name: numbers[name] + 1 for name in ("n", "k") if name in numbers}
            case = smaller.rebuilt(case, numbers)
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
            self.deadline = self.began + self.seconds
            whole = tuple(k if k is None or len(k) <= FEW else None for k in case.nonzero)
            return self._first([replace(case, nonzero=whole)]) or case
        return self._first([replace(case, values="ones")]) or case

    def _first(self, cases: Sequence[Case]) -> Case | None:
        return next((c for c in cases if self.fails(c)), None)

    def _fewest(self, case: Case) -> Case:
        """Array by array, twice: what one needs depends on what is left of the others."""
        kept = cells(case)
        case = replace(case, nonzero=kept)
        for i in (*range(len(kept)), *range(len(kept))):
            case = self._fewest_of(case, i)
        return case

    def _fewest_of(self, case: Case, i: int) -> Case:
        kept, own = case.nonzero, case.nonzero[i]

        def only(few: Cells) -> Case:
            return replace(case, nonzero=(*kept[:i], few, *kept[i + 1 :]))

        return case if own is None else only(fewest(own, lambda few: self.fails(only(few))))


def _seeded(step: str, case: Case) -> Iterator[Case]:
    """Smaller cases, then, if they are small, the same with other numbers."""
    yield from smaller.variants(case, step)
    if max(map(prod, case.shapes)) <= _SMALL:
        for seed in _SEEDS:
            yield from (replace(c, seed=seed) for c in smaller.variants(case, step))


def _room(case: Case) -> int:
    """Cells of the output."""
    return prod(case.problem().output_shape)


def _rule(refusal: str) -> str:
    """The words of a refusal, without its numbers, axes and the shapes behind it."""
    return " ".join(re.findall("[A-Za-z]{2,}", refusal.partition(" (input")[0]))
