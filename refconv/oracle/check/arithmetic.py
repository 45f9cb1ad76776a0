"""Which arithmetic a function computes in, read from one call of many terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...ops import FLOATS, OPS
from ..fingerprint import fingerprint
from .directed_conv import conv
from .job import Job
from .trial import Trial


def measured(function: Callable[..., Any], job: Job) -> str:
    """Name and evidence; empty where the op is no convolution or the call fails."""
    dtype = job.dtypes[0]
    if OPS[job.op].kind not in ("conv", "conv_transpose") or dtype not in FLOATS:
        return ""
    case = conv(job.op, "", n=2, c=64, k=8, size=(4, 10, 12), kernel=(1, 3, 3), bias=False)
    if "transpose" in job.op:
        shapes = (case.shapes[0], (64, 8, *case.shapes[1][2:]))
        case = replace(case, shapes=shapes)
    trial = Trial(replace(case, dtype=dtype, seed=job.seed), job.settings)
    try:
        y = trial.call(function)["output"]
    except Exception:  # it is the cases' matter to say so
        return ""
    found = fingerprint(y, trial.expected[0])
    return f"{found.name}: {found.text}"
