"""Diagnosis: what went wrong, in words: the mistake that reproduces the wrong results, what the
failing calls have in common, where the wrong elements are.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from math import prod
from textwrap import shorten
from typing import Any

import msgspec

from . import answers
from .attributes import attributes
from .case import Case
from .mistakes import FIRST, elected
from .patience import Patience
from .pattern import pattern
from .scene import Scene, scene
from .sizes import size_words
from .sorting import strides
from .trial import Finding, Outcome, Settings, Trial
from .where import common, nature_words, place_words

#: Failing calls that are replayed.
CALLS = 8
#: Plain calls that are enough to leave the others out.
ENOUGH = 3
#: Calls among which varied ones are chosen.
VARIED = 40
SECONDS = 5.0

#: What is said of a kind of failure that is no matter of values.
_SAID: dict[str, str] = {
    "accepted": "accepts calls that must be refused (no error is raised)",
    "error": "refuses calls that torch takes (it raises an error)",
    "crash": "ends the process",
    "memory": "overwrites memory that is not its own (an overrun, or a write into its input)",
    "alias": "returns one buffer for two calls: a later call changes an earlier result (a cache, "
    "or a workspace that is handed out)",
    "repeat": "is not deterministic: the same call gives other bits from run to run (a race, or "
    "sums in no fixed order)",
    "missing": "gives no result where one is due",
    "dtype": "gives a result of the wrong dtype",
    "strides": "gives right values with the wrong strides (memory format, layout)",
    "unjudged": "gives results that could not be judged",
}

#: Kinds that explain others: they are said first, however few.
SURE = ("crash", "memory", "repeat", "alias")


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a fault; every part may be empty.

    Args:
        cause: the mistake that reproduces the results, or what kind of failure it is.
        pattern: what failing calls have in common and passing ones have not.
        where: which results are wrong, in which elements, and what they hold.
        fits: replayed calls that the cause explains, of how many; none if none was looked for.
    """

    cause: str = ""
    pattern: str = ""
    where: str = ""
    fits: tuple[int, int] = (0, 0)

    @property
    def text(self) -> str:
        """All of it, one to three lines."""
        lines = [self.cause, f"common to them: {self.pattern}" if self.pattern else "", self.where]
        return "\n".join(line for line in lines if line)


def diagnose(
    function: Callable[..., Any],
    failing: Sequence[Case],
    outcomes: Sequence[Outcome],
    cases: Sequence[Case],
    settings: Settings,
    seconds: float = SECONDS,
) -> Diagnosis:
    """Why ``function`` fails; empty if nothing fails.

    Args:
        failing: the cases that count as faults.
        outcomes: of all cases that ran; ``cases``: all cases, by an outcome's index.
        seconds: after which no further mistake is tried.
    """
    ids = {id(c) for c in failing}
    bad = [(o, cases[o.index]) for o in outcomes if id(cases[o.index]) in ids]
    kinds = Counter(kind for o, _ in bad for kind in {f.kind for f in _faults(o)})
    if not kinds:
        return Diagnosis()
    kind = _main(kinds)
    mine = _of(bad, kind)
    others = _comparable(kind, mine, outcomes, cases, ids)
    shared = pattern([c for _, c in mine], others)
    fits = (0, 0)
    if kind in ("value", "noise"):
        cause, where, fits = _values(function, mine, settings, seconds)
    elif kind == "shape":
        cause, where = _shapes(function, mine, settings)
    else:
        cause, where = _plainly(kind, bad)
    sure = [_plainly(k, bad)[0] for k in SURE if k in kinds and k != kind]
    named = [cause, *sure] if fits[0] == fits[1] else [*sure, cause]
    rest = [f"{kinds[k]} calls: {' '.join(_plainly(k, bad))}" for k in kinds
            if k in ("error", "accepted", "missing", "dtype", "strides") and k != kind]  # fmt: skip
    if "shape" in kinds and kind != "shape":
        rest.append(f"{kinds['shape']} calls: {_shapes(function, _of(bad, 'shape'), settings)[0]}")
    return Diagnosis(
        cause="; ".join(named),
        pattern=shared,
        where="; ".join(part for part in (where, *rest) if part),
        fits=fits,
    )


def _of(bad: Sequence[tuple[Outcome, Case]], kind: str) -> list[tuple[Outcome, Case]]:
    return [(o, c) for o, c in bad if kind in {f.kind for f in _faults(o)}]


def _faults(outcome: Outcome) -> list[Finding]:
    """What is wrong with one call; strides are judged over all calls, and are no finding of one."""
    found = [f for f in outcome.findings if f.level != "consistent"]
    if not found and outcome.formats:
        found = [strides(outcome)]
    if any(f.kind == "shape" for f in found):  # no gradient is asked of a result of another shape
        found = [f for f in found if f.kind != "missing"]
    plain = [f for f in found if f.kind != "unjudged"]
    return plain or found


def _main(kinds: Counter[str]) -> str:
    """The kind to explain: what is sure to be a cause of others, then what is commonest.

    Values tell most: they are explained if they are a fair part.
    """
    known = {k: n for k, n in kinds.items() if k not in ("noise", "unjudged", *SURE)}
    known = known or {k: n for k, n in kinds.items() if k != "unjudged"} or dict(kinds)
    most = max(known, key=lambda k: known[k])
    values = known.get("value", 0)
    return "value" if values and 4 * values >= known[most] else most


def _comparable(
    kind: str,
    mine: Sequence[tuple[Outcome, Case]],
    outcomes: Sequence[Outcome],
    cases: Sequence[Case],
    ids: set[int],
) -> list[Case]:
    """Calls that pass, and would have shown the fault: of the same results, or of the same kind."""
    passing = [(o, cases[o.index]) for o in outcomes if id(cases[o.index]) not in ids]
    passing = [(o, c) for o, c in passing if o.status in ("consistent", "suspect")]
    if kind == "accepted":
        return [c for _, c in passing if c.refusal]
    if kind == "strides":
        return [c for o, c in passing if o.formats]
    if kind in ("value", "noise"):
        named = {f.result for o, _ in mine for f in _faults(o) if f.kind == kind}
        return [c for o, c in passing if named & {f.result for f in o.findings}]
    if kind == "repeat":
        return [c for _, c in passing if c.way == "repeat"]
    return [c for _, c in passing if not c.refusal]


def _plainly(kind: str, bad: Sequence[tuple[Outcome, Case]]) -> tuple[str, str]:
    """A kind of failure in a sentence, and the first reason."""
    mine = _of(bad, kind)
    faults = [f for o, _ in mine for f in _faults(o) if f.kind == kind]
    named = ", ".join(dict.fromkeys(f.result for f in faults))
    op = mine[0][1].op
    cause = f"{op} {_SAID.get(kind, kind)}"
    reasons = {f.reason for f in faults}
    if kind in ("repeat", "missing", "dtype"):
        cause += f": {named}"
    if kind == "strides" and len(reasons) == 1:
        return f"{cause}: {reasons.pop()}", ""
    return cause, f"for one: {shorten(faults[0].reason, 160)}" if faults[0].reason else ""


def _shapes(
    function: Callable[..., Any], mine: Sequence[tuple[Outcome, Case]], settings: Settings
) -> tuple[str, str]:
    """Which mistake gives the sizes that came, and an example."""
    said = []
    faults = [next(f for f in _faults(o) if f.kind == "shape") for o, _ in mine]
    for finding, (_, case) in list(zip(faults, mine, strict=True))[: 4 * CALLS]:
        if finding.result == "output" and not case.way.startswith(("vmap", "double")):
            shape, due = _shape(function, case, settings), case.problem().output_shape
            words = size_words(case.problem(), shape) if shape not in (None, due) else []
            if shape == due:
                words = ["right if nothing was called before (a cache, or other state)"]
            elif case.way == "again" and shape == answers.earlier(case).problem().output_shape:
                words = ["that of the call before (a cache, or other state)"]
            said.append(words)
    why = common(said, part=True)
    named = ", ".join(dict.fromkeys(f.result for f in faults))
    cause = f"{named} has the wrong shape{': the output size is ' + why if why else ''}"
    return cause, f"for one: {faults[0].reason}"


def _shape(function: Callable[..., Any], case: Case, settings: Settings) -> tuple[int, ...] | None:
    trial = Trial(case, settings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if case.way == "again":
                first = answers.earlier(case)
                arrays = dict(zip(first.names, first.arrays(), strict=True))
                moved = {n: a.to(settings.device) for n, a in arrays.items()}
                answers.got(function, first, moved, None)
            y = trial.call(function)["output"]
    except Exception:  # it did not raise before; there is nothing to say of it then
        return None
    return tuple(y.shape)


def _values(
    function: Callable[..., Any],
    mine: Sequence[tuple[Outcome, Case]],
    settings: Settings,
    seconds: float,
) -> tuple[str, str, tuple[int, int]]:
    """The mistake, where it shows, and how many calls it explains."""
    patience = Patience(seconds)
    scenes = []
    for outcome, case in islice(_telling(mine), 4 * CALLS):
        bad = {level: frozenset(f.result for f in outcome.findings if f.level == level)
               for level in ("wrong", "suspect")}  # fmt: skip
        made = scene(function, case, settings, bad["wrong"], bad["suspect"])
        if made is not None:
            scenes.append(made)
        enough = len(scenes) >= FIRST and patience.spent(1 / 2)
        if len(scenes) == CALLS or enough or patience.spent():
            break
    if not scenes:
        text = "these calls fail only after other calls: something is kept between calls (a cache, "
        return f"{text}stale or unwritten memory)", _named(mine), (0, 0)
    replay, votes = elected(scenes, patience)
    op = scenes[0].case.op
    where = [_named(mine), *_where(scenes, replay is not None)]
    if replay is not None:
        named = list(dict.fromkeys(n for s in scenes for n in s.wrong))
        subject = "" if {"output", "indices"} & set(named) else f"{', '.join(named)} "
        verb = "equals" if not subject else "equal those of" if named[1:] else "equals that of"
        said = f"{subject}{verb} {op} {replay.text} ({votes} of {len(scenes)} failing calls)"
    elif where[1:]:
        said = ". ".join(where[1:]) + f" (no known mistake of {op} gives these numbers)"
        where = where[:1]
    else:
        said = f"no known mistake of {op} gives these numbers"
    if all(s.changing for s in scenes):
        said += "; the wrong elements change from run to run: a race, or unwritten memory"
    elif all(s.kept for s in scenes):
        said += "; the wrong elements change with the calls before: stale or unwritten memory, or "
        said += "a cache"
    elif all(s.outside for s in scenes):
        said += "; the wrong elements change with the memory beside the arrays (out of bounds)"
    return said, ". ".join(where), (votes, len(scenes))


def _telling(mine: Sequence[tuple[Outcome, Case]]) -> Iterator[tuple[Outcome, Case]]:
    """Failing calls, the most telling first: real numbers, some wrong elements, small arrays; other
    results and other reasons in turn.

    Where there are enough plain calls in single precision and above, others only blur the picture.
    """
    wide = [(o, c) for o, c in mine if c.dtype in ("float32", "float64")]
    plain = [(o, c) for o, c in wide if c.way in ("plain", "again", "repeat")]
    mine = next((some for some in (plain, wide) if len(some) >= ENOUGH), mine)

    def effort(item: tuple[Outcome, Case]) -> tuple[Any, ...]:
        outcome, case = item
        wrong = max((f.wrong for f in outcome.findings), default=0)
        whole = case.values in ("integer", "exact") or case.dtype not in ("float32", "float64")
        cells = sum(map(prod, case.shapes))
        return (
            case.way not in ("plain", "again"),
            cells > 50_000,
            whole,
            case.values not in ("real", "special", "nan", "negative"),
            wrong < 4,
            cells > 4000,
        )

    queues: dict[Any, list[tuple[Outcome, Case]]] = {}
    for _, alike in groupby(sorted(mine, key=effort), effort):
        for item in _varied(list(alike)[:VARIED]):
            outcome, case = item
            wrong = tuple(f.result for f in outcome.findings if f.level != "consistent")
            queues.setdefault((wrong, case.values, case.dtype), []).append(item)
    while any(queues.values()):
        for queue in queues.values():
            if queue:
                yield queue.pop(0)


def _varied(left: list[tuple[Outcome, Case]]) -> Iterator[tuple[Outcome, Case]]:
    """The same calls, each next one as unlike those before as can be: alike ones tell the same."""
    said, counts = zip(*(attributes(c) for _, c in left), strict=True)
    facts = [{*s, *n.items()} for s, n in zip(said, counts, strict=True)]
    apart = [len(facts[0] ^ f) for f in facts]
    order = [0]
    while len(order) < len(left):
        order.append(max(set(range(len(left))) - set(order), key=lambda i: (apart[i], -i)))
        apart = [min(a, len(facts[order[-1]] ^ f)) for a, f in zip(apart, facts, strict=True)]
    return (left[i] for i in order)


def _where(scenes: Sequence[Scene], known: bool) -> list[str]:
    """Places, and what is there; what holds in most calls only where no cause is known."""
    parts: dict[str, list[str]] = {}
    for name in dict.fromkeys(n for s in scenes for n in s.wrong):
        those = [s for s in scenes if name in s.wrong]
        place = common([place_words(s, name) for s in those], 2, not known)
        nature = common([nature_words(s, name) for s in those], 1, not known)
        said = "; ".join(p for p in (place, nature) if p and not p.startswith("all elements"))
        if said:
            parts.setdefault(said, []).append(name)
    return [f"{', '.join(names)}: {said}" for said, names in parts.items()]


def _named(mine: Sequence[tuple[Outcome, Case]]) -> str:
    """Which results are wrong, and which of the same calls are right."""
    wrong = Counter(f.result for o, _ in mine for f in _faults(o))
    right = Counter(f.result for o, _ in mine for f in o.findings if f.level == "consistent")
    always = [n for n in right if n not in wrong]
    text = f"wrong: {', '.join(wrong)}"
    return f"{text}; right in the same calls: {', '.join(always)}" if always else text
