"""MIOpenDriver command lines → problem: ``MIOpenDriver conv -n 128 -c 64 -H 56 -W 56 -k 64 -y 3 -x
3 -p 1 -q 1``.

Long and short options and their defaults are the driver's. What does not belong to the problem
(direction, iterations, layouts, solver) is skipped.

Source: MIOpen, driver/conv_driver.hpp; pooling is read by ``notation_miopen_pool``.
"""

from __future__ import annotations

import shlex
from typing import Any

from . import notation_miopen_pool
from .errors import UsageError
from .notation import Problem, build
from .notation_miopen_options import Options

_DTYPES = {
    "conv": "float32",
    "convfp16": "float16",
    "convbfp16": "bfloat16",
    "convint8": "int8",
}
_OPTIONS: dict[str, tuple[str, Any]] = {
    "batchsize": ("n", 100),
    "in_channels": ("c", 3),
    "in_d": ("!", 32),
    "in_h": ("H", 32),
    "in_w": ("W", 32),
    "out_channels": ("k", 32),
    "fil_d": ("@", 3),
    "fil_h": ("y", 3),
    "fil_w": ("x", 3),
    "conv_stride_d": ("#", 1),
    "conv_stride_h": ("u", 1),
    "conv_stride_w": ("v", 1),
    "pad_d": ("$", 0),
    "pad_h": ("p", 0),
    "pad_w": ("q", 0),
    "trans_output_pad_d": ("%", 0),
    "trans_output_pad_h": ("Y", 0),
    "trans_output_pad_w": ("X", 0),
    "dilation_d": ("^", 1),
    "dilation_h": ("l", 1),
    "dilation_w": ("j", 1),
    "group_count": ("g", 1),
    "spatial_dim": ("_", 2),
    "bias": ("b", 0),
    "mode": ("m", "conv"),
    "pad_mode": ("z", "default"),
}
# fmt: off
_SKIPPED = {
    "forw": "F", "iter": "i", "verify": "V", "verification_cache": "C", "time": "t",
    "wall": "w", "search": "s", "printconv": "P", "dump_output": "o", "in_data": "d",
    "weights": "e", "in_bias": "a", "dout_data": "D", "solution": "S", "gpualloc": "G",
    "in_layout": "I", "out_layout": "O", "fil_layout": "f", "in_cast_type": "U",
    "out_cast_type": "T", "wei_cast_type": "R", "pad_val": "r",
    "tensor_vect": "Z", "vector_length": "L",
}
# fmt: on
_OLD = {"conv_stride_0": "conv_stride_h", "conv_stride_1": "conv_stride_w"}
_EXAMPLE = "'MIOpenDriver conv -n 1 -c 6 -H 14 -W 14 -k 16 -y 5 -x 5'"
_READER = Options(_OPTIONS, _SKIPPED, _OLD, _EXAMPLE)


def looks_like(text: str) -> bool:
    """Whether ``text`` is meant as a MIOpenDriver command line."""
    words = text.split()
    drivers = {*_DTYPES, *notation_miopen_pool.DTYPES}
    return "MIOpenDriver" in text or (len(words) > 1 and words[0] in drivers and words[1][0] == "-")


def parse(text: str, *, dtype: str = "float32") -> Problem:
    """The problem of a MIOpenDriver command line.

    Args:
        dtype: for plain ``conv``, which is float32 in MIOpen.

    Raises:
        UsageError: not such a line, or an option that is not understood.

    Example:
        >>> parse("MIOpenDriver conv -n 1 -c 6 -H 14 -W 14 -k 16 -y 5 -x 5 -g 2").weight_shape
        (16, 3, 5, 5)
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"MIOpenDriver: {text!r} cannot be read: {error}") from None
    while words and (words[0].endswith("MIOpenDriver") or "=" in words[0]):
        words.pop(0)
    if words and words[0] in notation_miopen_pool.DTYPES:
        return notation_miopen_pool.parse(text, words, dtype)
    if not words or words[0] not in _DTYPES:
        what = words[0] if words else "nothing"
        known = (*_DTYPES, *notation_miopen_pool.DTYPES)
        raise UsageError(
            f"MIOpenDriver: refconv reads {', '.join(known)}, got {what!r} in {text!r}; e.g. "
            f"{_EXAMPLE}"
        )
    options = _READER.read(text, words[1:])
    rank = options["spatial_dim"]
    if rank not in (2, 3):
        raise UsageError(f"MIOpenDriver: spatial_dim must be 2 or 3, got {rank} in {text!r}")
    axes = "dhw"[3 - rank :]
    x = (options["batchsize"], options["in_channels"], *(options[f"in_{a}"] for a in axes))
    if options["mode"] not in ("conv", "trans", "transpose"):
        raise UsageError(f"MIOpenDriver: mode must be conv or trans, got {options['mode']!r}")
    transposed = options["mode"] != "conv"
    kernel = [options[f"fil_{a}"] for a in axes]
    groups = max(options["group_count"], 1)
    first, second = options["out_channels"], options["in_channels"]
    if first % groups or second % groups:
        raise UsageError(
            f"MIOpenDriver: group_count must divide both channels, but {groups} does not divide "
            f"{second} and {first}"
        )
    first, second = (second, first) if transposed else (first, second)
    arguments: dict[str, Any] = {
        "stride": tuple(options[f"conv_stride_{a}"] for a in axes),
        "padding": _padding(options, axes, transposed),
        "dilation": tuple(options[f"dilation_{a}"] for a in axes),
        "groups": groups,
    }
    if transposed:
        arguments["output_padding"] = tuple(options[f"trans_output_pad_{a}"] for a in axes)
    tensors = {
        "input": x,
        "weight": (first, second // groups, *kernel),
        "bias": (options["out_channels"],) if options["bias"] else None,
    }
    op = f"conv{'_transpose' if transposed else ''}{rank}d"
    return build(op, tensors, arguments, dtype if words[0] == "conv" else _DTYPES[words[0]])


def _padding(options: dict[str, Any], axes: str, transposed: bool) -> tuple[int, ...]:
    """The padding: as given, or by pad_mode's rule, which the driver drops for a dilated kernel."""
    mode = options["pad_mode"]
    if mode not in ("default", "same", "valid"):
        raise UsageError(f"MIOpenDriver: pad_mode must be default, same or valid, got {mode!r}")
    dense = all(options[f"dilation_{a}"] == 1 for a in axes)
    dense = dense or all(options[f"fil_{a}"] == 1 for a in axes)
    if mode == "default" or transposed or not dense:
        return tuple(options[f"pad_{a}"] for a in axes)
    if mode == "valid":
        return (0,) * len(axes)
    pads = []
    for a in axes:
        step = max(options[f"conv_stride_{a}"], 1)
        total = options[f"fil_{a}"] - (options[f"in_{a}"] % step or step)
        pads.append(max(total, 0) // 2)
    return tuple(pads)
