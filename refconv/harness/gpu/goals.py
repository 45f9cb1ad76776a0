"""What the kernels are to reach beside torch at equal precision, and whether a run says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Precision → the product whose rate is its ceiling.
CEILING = {"fp32": "fp32", "tf32": "tf32", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class Goal:
    """One goal.

    Args:
        ratio: torch's time over ours, at least; share: of the copy's rate, at least.
        layout: ours counts in this one only; empty: in the faster one.
    """

    about: str
    ratio: float
    share: float = 0.0
    layout: str = ""


GOALS = {
    "pool": Goal("max pooling without indices", 1.4, 0.85),
    "depthwise": Goal("depthwise, NCHW, fp32 and bf16", 1.5, 0.80, "contiguous"),
    "fused": Goal("convolution + bias + ReLU in one", 1.2),
    "stem": Goal("stem 3→64 k7", 1.2),
    "strict": Goal("3x3 in strict fp32", 1.5),
    "dense": Goal("3x3 and 1x1 in bf16 and TF32", 0.9),
    "transposed": Goal("transposed convolution", 1.0),
    "batch1": Goal("one image", 1.0),
}


def ours(record: dict[str, Any], layout: str = "") -> tuple[str, dict[str, Any]] | None:
    """The fastest of our entries of a row that has a time, and its name."""
    found = {
        name: e
        for name, e in record.get("entries", {}).items()
        if not name.startswith("torch ") and "median_ns" in e and name.endswith(layout)
    }
    return min(found.items(), key=lambda pair: pair[1]["median_ns"]) if found else None


def ratio(record: dict[str, Any], layout: str = "") -> float | None:
    """Torch's time, in its faster layout, over ours; None where one of them has none."""
    best = ours(record, layout)
    theirs = record.get("entries", {}).get(record.get("torch", ""), {})
    if best is None or "median_ns" not in theirs:
        return None
    if "called_ns" in theirs and "called_ns" in best[1]:  # of one image: as a program sees it
        return theirs["called_ns"] / best[1]["called_ns"]
    return best[1].get("speedup") or theirs["median_ns"] / best[1]["median_ns"]


def share(record: dict[str, Any], ceilings: dict[str, Any], layout: str = "") -> float | None:
    """The floor of a row's time, by the measured ceilings, over ours."""
    best, row = ours(record, layout), record["row"]
    product = ceilings.get(CEILING[row["precision"]])
    if best is None or not product or not ceilings.get("copy"):
        return None
    floor = max(record["moved"] / ceilings["copy"], record["flops"] / product)
    if "pool" in row["text"].partition(" ")[0]:  # compares and adds on no matrix unit
        floor = record["moved"] / ceilings["copy"]
    return floor * 1e9 / best[1]["median_ns"]


def evaluate(records: Iterable[dict[str, Any]], ceilings: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each goal: rows asked and measured, the worst of them, and whether it is met; None where
    nothing was measured.
    """
    rows = list(records)
    found = []
    for name, goal in GOALS.items():
        mine = [r for r in rows if r["row"]["goal"] == name]
        known = [(value, r) for r in mine if (value := ratio(r, goal.layout)) is not None]
        shares = [s for _, r in known if (s := share(r, ceilings, goal.layout)) is not None]
        worst = min(known, key=lambda pair: pair[0], default=None)
        met = None
        if worst is not None:
            met = worst[0] >= goal.ratio and len(known) == len(mine)
            met = met and (not goal.share or min(shares, default=0.0) >= goal.share)
        found.append({
            "goal": name, "about": goal.about, "wanted": goal.ratio, "wanted_share": goal.share,
            "rows": len(mine), "measured": len(known), "met": met,
            "worst": None if worst is None else worst[0],
            "where": "" if worst is None else worst[1]["key"],
            "share": min(shares, default=None),
        })  # fmt: skip
    return found
