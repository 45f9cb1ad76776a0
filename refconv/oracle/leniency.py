"""What torch is excused for: it promises no float32 sums for 16-bit dtypes, so where its result is
that of sums in the dtype itself, it is not called wrong. Our own kernels promise more and get no
excuse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .bound import PARTS, STORED, Bound, Sum
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
    beyond = "bound" if level == "wrong" else "noise"
    for law, how in ((_by_image(expected), ", image by image"), (expected, "")):
        if law is None:
            continue
        limit = law.bound("narrow")
        again = compare(got, expected.want, limit, None, None if how else usual)
        if not again.unjudged and LEVELS.index(again.level) < LEVELS.index(level):
            words = f"torch sums in {dtype} here{how}: beyond the {beyond} of float32 sums"
            return again, limit, words
    return None


def _by_image(expected: Expected) -> Expected | None:
    """A weight's gradient of which each image's part, a float32 sum, is rounded before it is added.

    So many roundings are there, and one more covers those of float32; while sums of some hundred
    terms in 16 bits have no bound at all.
    """
    law, terms = expected.law, expected.terms
    if not isinstance(law, Sum) or terms is None or terms.slot != "conv_wgrad":
        return None
    images = terms.problem.batch or 1
    return replace(expected, law=replace(law, n=np.minimum(law.n, images + 1)))
