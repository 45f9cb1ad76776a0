"""What torch is excused for: it promises no float32 sums for 16-bit dtypes, so where its result is
that of sums in the dtype itself, it is not called wrong. Our own kernels promise more and get no
excuse.
"""

from __future__ import annotations

from typing import Any

from .bound import PARTS, STORED, Bound
from .reference import Expected
from .verdict import LEVELS, Verdict, compare


def excuse(
    got: Any, expected: Expected, level: str, look: int | None = None
) -> tuple[Verdict, Bound, str] | None:
    """A better verdict by sums in the dtype of ``got``, its bound, and the words for it; None where
    there is nothing to excuse, or these sums explain it no better.

    Args:
        level: by float32 sums: wrong or suspect in value, or consistent.
        look: as for ``Expected.noise``; None: do not ask it.
    """
    dtype = expected.dtype
    if PARTS.get(dtype, dtype) not in STORED or level == "consistent":
        return None
    usual = None if look is None else expected.noise("narrow", look=look)
    limit = expected.bound("narrow")
    again = compare(got, expected.want, limit, None, usual)
    if again.unjudged or not LEVELS.index(again.level) < LEVELS.index(level):
        return None
    beyond = "bound" if level == "wrong" else "noise"
    return again, limit, f"torch sums in {dtype} here: beyond the {beyond} of float32 sums"
