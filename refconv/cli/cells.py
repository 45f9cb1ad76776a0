"""What a cell of a table says: statuses, the check that stands for a row, means."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.text import Text

from ..harness.records import Check, Result

STYLE = {
    "ok": "green",
    "wrong": "bold red",
    "error": "bold red",
    "suspect": "bold yellow",
    "doubt": "bold yellow",
    "skipped": "dim",
}


def status_text(row: Result) -> Text:
    """The row's verdict in its colour."""
    return Text(
        row.status if row.status in ("ok", "skipped") else row.status.upper(), STYLE[row.status]
    )


def worst(checks: Sequence[Check]) -> Check | None:
    """The check to show: the first that failed, else the real data's nearest to its bound."""
    for check in checks:
        if not check.ok:
            return check
    real = [c for c in checks if c.data != "integer"] or list(checks)
    return max(real, key=lambda c: c.ratio or 0.0, default=None)


def geomean(ratios: Sequence[float]) -> float | None:
    """Geometric mean; None of nothing."""
    return statistics.geometric_mean(ratios) if ratios else None
