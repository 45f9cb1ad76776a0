"""The way from a ``Trace`` to the page of ``refconv learn``: the same layer, the same numbers, the
same output, as the text that the page reads behind the # of its address.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import numpy as np

from ..errors import UnsupportedError
from ..problem import ConvProblem
from .trace_data import Trace

#: kind of trace → the page's name; and the numbers that an address still holds.
OPS = {"conv": "conv", "conv_transpose": "transposed", "max_pool": "max", "avg_pool": "avg"}
MOST = 4000


def start(trace: Trace) -> str:
    """What the page is to show first.

    Raises:
        UnsupportedError: the page has no such layer, or the numbers are too many.
    """
    p = trace.problem
    reason = _reason(trace)
    if reason:
        raise UnsupportedError(f"trace: the page shows {reason}; refconv trace prints the others")
    full = (0, *trace.at) if len(trace.at) == 3 else trace.at
    shape = (1, *p.input_shape) if len(p.input_shape) == 3 else p.input_shape
    conv = isinstance(p, ConvProblem)
    low = [lo for lo, _ in p.padding] if conv else p.padding
    numbers: dict[str, Any] = {
        "preset": "cs231n", "op": OPS[trace.kind],
        **dict(zip("nchw", shape, strict=True)), "k": p.out_channels if conv else shape[1],
        "kernel": _pair(p.kernel), "stride": _pair(p.stride), "padding": _pair(low),
        "dilation": _pair(p.dilation or (1, 1)), "groups": p.groups if conv else 1,
        "extra": _pair(p.output_padding if conv else (0, 0)),
        "ceil": int(not conv and p.ceil_mode), "bias": int(conv and p.bias),
        "countPad": int(conv or p.count_include_pad), "at": ".".join(map(str, full)),
    }  # fmt: skip
    for key, name in (("x", "input"), ("w", "weight"), ("b", "bias")):
        if name in trace.arrays:
            array = trace.arrays[name]
            array = array.reshape(shape) if key == "x" else array
            cells = [f"{'.'.join(map(str, i))}:{v:g}" for i, v in np.ndenumerate(array)]
            numbers[f"edit_{key}"] = ";".join(cells)
    return urlencode(numbers, safe=":;,.")


def _reason(trace: Trace) -> str:
    """What the page shows, where this is something else."""
    p = trace.problem
    if p.rank != 2 or len(trace.at) < 3:
        return "two spatial axes and channels"
    if getattr(p, "adaptive", False) or getattr(p, "divisor", None) is not None:
        return "pooling by a kernel, without divisor_override"
    if isinstance(p, ConvProblem) and any(lo != hi or lo < 0 for lo, hi in p.padding):
        return "the same padding on both sides"
    if sum(a.size for a in trace.arrays.values()) > MOST:
        return f"at most {MOST} numbers of one's own"
    return ""


def _pair(values: Any) -> str:
    return ",".join(map(str, values))
