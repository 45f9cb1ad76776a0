"""MIOpenDriver's pooling commands → problem: ``MIOpenDriver pool -n 1 -c 64 -H 112 -W 112 -y 3 -x 3
-u 2 -v 2 -p 1 -q 1 -m max``.

The input is given by its sizes, or, as newer drivers have it, by one shape, ``-W
100x3x32x32,NCHW`` (or ``--input``). ``avg`` does not count the padding, ``avg_in`` does. ``-v`` is
the vertical stride, ``-u`` the horizontal one.

Source: MIOpen, driver/pool_driver.hpp; the sizes of the output: src/pooling.cpp.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from .errors import UsageError
from .notation import Problem, build, shape
from .notation_miopen_options import Options

DTYPES = {"pool": "float32", "poolfp16": "float16"}
_OPTIONS: dict[str, tuple[str, Any]] = {
    "batchsize": ("n", 100),
    "in_channels": ("c", 3),
    "in_d": ("D", 0),
    "in_h": ("H", 32),
    "in_w": ("W", 32),
    "win_d": ("Z", 3),
    "win_h": ("y", 3),
    "win_w": ("x", 3),
    "pool_stride_d": ("s", 1),
    "pool_stride_h": ("v", 1),
    "pool_stride_w": ("u", 1),
    "pad_d": ("o", 0),
    "pad_h": ("p", 0),
    "pad_w": ("q", 0),
    "mode": ("m", "max"),
    "pad_mode": ("z", "default"),
    "input": ("", ""),
}
# fmt: off
_SKIPPED = {
    "forw": "F", "pad_val": "r", "index_position": "M", "iter": "i", "verify": "V", "time": "t",
    "wall": "w", "print": "P", "index_type": "I", "out_channels": "k",
}
# fmt: on
_OLD = {"pool_stride_1": "pool_stride_h", "pool_stride_0": "pool_stride_w"}
_EXAMPLE = "'MIOpenDriver pool -n 1 -c 64 -H 112 -W 112 -y 3 -x 3 -u 2 -v 2 -p 1 -q 1 -m max'"
_READER = Options(_OPTIONS, _SKIPPED, _OLD, _EXAMPLE)


def parse(text: str, words: list[str], dtype: str = "float32") -> Problem:
    """The problem of a command.

    Args:
        text: the whole line, for messages.
        words: its words from the driver's name on.
        dtype: for plain ``pool``, which is float32 in MIOpen.

    Raises:
        UsageError: an option that is not understood, or windows that torch's rules do not give.

    Example:
        >>> parse("", "pool -n 1 -c 64 -H 112 -W 112 -u 2 -v 2 -p 1 -q 1".split()).output_shape
        (1, 64, 56, 56)
    """
    for at, (given, value) in enumerate(pairwise(words)):
        if given in ("-W", "--in_w") and re.fullmatch(r"\d+(x\d+)+(,\w+)?", value):
            words[at] = "--input"
    options = _READER.read(text, words[1:])
    x = _input(options)
    axes = "dhw"[5 - len(x) :]
    kernel, stride = _each(options, "win", axes), _each(options, "pool_stride", axes)
    padding, mode = _each(options, "pad", axes), options["pad_mode"]
    if mode not in ("default", "valid"):
        reason = (
            "its zeros need not be the same on both sides, as torch's are"
            if mode == "same"
            else "it must be default or valid"
        )
        raise UsageError(f"MIOpenDriver: pad_mode {mode} of a pooling: {reason}")
    arguments: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding if mode == "default" else (0,) * len(axes),
    }
    kind = options["mode"]
    if kind not in ("max", "avg", "avg_in"):
        raise UsageError(f"MIOpenDriver: mode must be max, avg or avg_in, got {kind!r}")
    if kind != "max":
        arguments["count_include_pad"] = kind == "avg_in"
    op = f"{'max' if kind == 'max' else 'avg'}_pool{len(axes)}d"
    kind_of = dtype if words[0] == "pool" else DTYPES[words[0]]
    return build(op, {"input": x}, arguments, kind_of)


def _input(options: dict[str, Any]) -> tuple[int, ...]:
    """The input's shape, (N, C, H, W) or (N, C, D, H, W)."""
    if options["input"]:
        sizes = shape(options["input"].partition(",")[0], "MIOpenDriver: --input")
        if len(sizes) not in (4, 5):
            raise UsageError(f"MIOpenDriver: --input must have 4 or 5 axes, got {sizes}")
        return sizes
    depth = (options["in_d"],) if options["in_d"] else ()
    return (options["batchsize"], options["in_channels"], *depth, options["in_h"], options["in_w"])


def _each(options: dict[str, Any], name: str, axes: str) -> tuple[int, ...]:
    return tuple(options[f"{name}_{a}"] for a in axes)
