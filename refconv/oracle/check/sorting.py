"""Outcomes sorted out: which are faults, which only say what a function does not support.

A function that refuses a call loudly is not wrong; one that takes float16 here and raises there is.
An exception counts as a fault unless the call asks for a feature that no call had without failing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from .trial import Finding, Outcome

#: So many results in another memory format are no slip.
FEW = 3
#: Kinds of findings that say that a call did not go through.
UNDONE = ("error", "missing")


@dataclass
class Sorted:
    """What the outcomes of one function come to.

    Args:
        failing: faults, in the order of their cases.
        unsupported: feature → how often it was refused, and the first reason.
        notes: what a reader should know beside the verdict.
    """

    failing: list[Outcome] = field(default_factory=list)
    unsupported: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def sort(outcomes: Sequence[Outcome]) -> Sorted:
    """Sort ``outcomes`` of one function, op and device."""
    made = Sorted()
    judged = (o for o in outcomes if o.status == "consistent" and any(f.cells for f in o.findings))
    supported = {f for o in judged for f in o.features}  # a refusal shows no support
    shared = Counter(f.note for o in outcomes for f in o.findings if f.note)
    for outcome in outcomes:
        bad = [f for f in outcome.findings if f.level != "consistent"]
        if not bad:
            continue
        undone = [f for f in bad if f.kind in UNDONE]
        missing = sorted(set(outcome.features) - supported)
        if len(undone) == len(bad) and missing:
            for feature in missing:
                count, reason = made.unsupported.get(feature, (0, undone[0].reason))
                made.unsupported[feature] = (count + 1, reason)
        else:
            made.failing.append(outcome)
    for note, count in shared.most_common(4):
        made.notes.append(f"{count} result{'s' * (count > 1)}: {note}")
    _strides(made, outcomes)
    return made


def _strides(made: Sorted, outcomes: Sequence[Outcome]) -> None:
    """Judge the memory formats of all results together.

    A function may lay out its results as it likes. But one that gives torch's very bits is torch's
    function with something around it that lost the format.
    """
    told = [(o, *o.formats) for o in outcomes if o.formats]
    off = [o for o, due, got in told if due != got]
    if len(off) < FEW:  # of one image, or one channel, a format is easily lost
        return
    kinds = {got for _, _, got in told}
    bits = [o.like_torch for o in outcomes if o.like_torch is not None]
    inside = bool(bits) and all(bits) and kinds != {"channels_last"}
    if not inside:
        own = f"always {kinds.pop()}" if len(kinds) == 1 else "of its own"
        text = f"the memory format of results is {own}; torch's is another in {len(off):,} calls"
        made.notes.append(text)
        return
    lost = {o.index for o in off}
    made.failing = [o for o in made.failing if o.index not in lost]  # a call is one fault
    for outcome in off:
        findings = (*outcome.findings, strides(outcome))
        made.failing.append(msgspec.structs.replace(outcome, status="wrong", findings=findings))
    made.failing.sort(key=lambda o: o.index)


def strides(outcome: Outcome) -> Finding:
    """The finding of a result in another memory format than is due."""
    due, got = outcome.formats or ("", "")
    reason = f"strides are {got}, {due} is due"
    return Finding(result="output", kind="strides", level="wrong", reason=reason)
