"""A reference whose bounds are computed once: a Winograd layer's take longer than all else, and
every result is judged before it is timed and behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..oracle.bound import Bound
from ..oracle.noise import Noise
from ..oracle.reference import Expected

#: Bytes of a result above which nothing is kept: bounds are as large as it is.
MOST = 2**28


@dataclass(frozen=True)
class Remembered(Expected):
    """An ``Expected`` that keeps what it was asked for."""

    kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def bound(
        self, precision: str = "ieee", dtype: str | None = None, algorithm: str = "direct"
    ) -> Bound:
        """As ``Expected.bound``."""
        key = "bound", precision, dtype, algorithm
        if key not in self.kept:
            self.kept[key] = super().bound(precision, dtype, algorithm)
        return self.kept[key]

    def noise(
        self,
        precision: str = "ieee",
        dtype: str | None = None,
        algorithm: str = "direct",
        look: int | None = None,
    ) -> Noise | None:
        """As ``Expected.noise``."""
        key = "noise", precision, dtype, algorithm, look
        if key not in self.kept:
            self.kept[key] = super().noise(precision, dtype, algorithm, look)
        return self.kept[key]


def remembered(e: Expected) -> Expected:
    """``e`` with a memory; ``e`` itself where that would be too large."""
    if e.want.nbytes > MOST:
        return e
    return Remembered(**{f.name: getattr(e, f.name) for f in fields(e)})
