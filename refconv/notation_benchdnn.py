"""benchdnn's problem strings → problem: ``mb1ic3ih224oc64oh112kh7sh2ph3n"conv1"``, as oneDNN's test
driver reads them.

Fields that are missing are derived: the batch is 2, strides 1, dilations (counted from 0) dense; an
axis of which nothing is said does not exist; a 2-D or 3-D problem with one axis is square or cubic;
an output size comes from the padding, a padding from the output size. ``ic`` and ``oc`` count all
groups together. ``_`` separates; what follows ``n`` is a name.

Where the output size is given, benchdnn pads the far side by whatever reaches it. A convolution
here can do that too; the other ops only where torch's ``output_padding`` or ``ceil_mode`` says the
same.

Source: oneDNN, tests/benchdnn/conv/conv_aux.cpp, deconv/deconv_aux.cpp, pool/pool_aux.cpp and
    utils' sanitize_desc.
"""

from __future__ import annotations

import re
from typing import Any

from . import window
from .errors import UsageError
from .notation import Problem, build, integer, near
from .problem import Size

DRIVERS = ("conv", "deconv", "pool")
#: benchdnn's names of dtypes → torch's.
DTYPES = {
    "f64": "float64",
    "f32": "float32",
    "bf16": "bfloat16",
    "f16": "float16",
    "s32": "int32",
    "s8": "int8",
    "u8": "uint8",
}
_FIELD = re.compile(r"(mb|g|[io]c|[iokspd][dhw])(\d+)_?")
_NAME = re.compile(r'n(?:"([^"]*)"?|(\S*))')
_REPEAT = re.compile(r"\*(\d+)$")


def looks_like(text: str) -> bool:
    """Whether ``text`` is meant as a benchdnn problem."""
    last = _line(text).split()[-1:] or [""]
    return bool(re.match(r"_?((mb|g|[io]c|[iokspd][dhw])\d+_?){2}", last[0]))


def name(text: str) -> tuple[str, int]:
    """The problem's name, and how often its network has such a layer.

    Example:
        >>> name('mb50ic64ih56oc64oh56kh3ph1n"resnet_50:res2a_branch2b*3"')
        ('resnet_50:res2a_branch2b', 3)
    """
    _, found = _split((_line(text).split() or [""])[-1])
    repeat = _REPEAT.search(found)
    return (_REPEAT.sub("", found), int(repeat[1])) if repeat else (found, 1)


def parse(text: str, *, driver: str | None = None, dtype: str = "float32") -> Problem:
    """The problem of a benchdnn string.

    Args:
        driver: conv, deconv or pool; None looks for ``--conv`` and the like, and then for output
            channels (conv).

    Raises:
        UsageError: not such a string, or a problem that torch's ops have no words for.

    Example:
        >>> parse("g32ic32ih112oc32kh3sh2ph1").output_shape
        (2, 32, 56, 56)
        >>> parse("ic19oc32_ih13oh12kh3ph0").padding
        ((0, 1), (0, 1))
    """
    *options, problem = _line(text).split() or [""]
    settings = _options(text, options)
    driver = driver or settings.get("driver")
    dtype = settings.get("dtype", dtype)
    fields, _ = _split(problem)
    fields = {**fields, **({"mb": settings["mb"]} if "mb" in settings else {})}
    if driver is None:
        driver = "conv" if "oc" in fields else "pool"
    if driver not in DRIVERS:
        raise UsageError(f"benchdnn: refconv reads {', '.join(DRIVERS)}, got {driver!r}")
    needed = ("ic",) if driver == "pool" else ("ic", "oc")
    for key in needed:
        if fields.get(key, 0) < 1:
            raise UsageError(f"benchdnn: {driver} needs {key}, which {text!r} lacks; e.g. {key}16")
    axes = [axis for axis in (_axis(text, driver, fields, a) for a in "dhw") if axis]
    axes = _cubic(text, fields, driver, axes)
    x = (fields.get("mb", 2), fields["ic"], *(axis["i"] for axis in axes))
    if driver == "pool":
        return _pool(text, x, axes, dtype, settings.get("alg", "max"))
    return _convolution(text, driver, fields, x, axes, dtype, settings.get("bias", False))


def _line(text: str) -> str:
    """``text`` without a remark behind ``#``."""
    return re.split(r"\s#|^#", text)[0].strip()


def _split(problem: str) -> tuple[dict[str, int], str]:
    """The string's numbers by field, and the name behind them."""
    fields: dict[str, int] = {}
    at = 1 if problem.startswith("_") else 0
    while at < len(problem):
        field = _FIELD.match(problem, at)
        if not field:
            break
        fields[field[1]] = integer(field[2], f"benchdnn: {field[1]}")
        at = field.end()
    found = _NAME.fullmatch(problem, at)
    if at < len(problem) and not found:
        raise UsageError(
            f"benchdnn: {problem!r} cannot be read from {problem[at:]!r} on; fields are g mb ic "
            f"oc and i o k s p d with d, "
            'h or w, each with a number, then n"name", e.g. mb1ic6ih14oc16kh5'
        )
    return fields, (found[1] or found[2] or "") if found else ""


def _options(text: str, options: list[str]) -> dict[str, Any]:
    """benchdnn's command-line options in front of a problem, as far as they belong to the
    problem.
    """
    settings: dict[str, Any] = {}
    for option in options:
        key, _, value = option.removeprefix("--").partition("=")
        if option.startswith("--") and option[2:] in DRIVERS:
            settings["driver"] = key
        elif key == "dt" and value in DTYPES:
            settings["dtype"] = DTYPES[value]
        elif key == "mb" and value.isdigit():
            settings["mb"] = int(value)
        elif key == "dir" and value:
            settings["bias"] = value == "FWD_B"
        elif key == "alg" and value in ("max", "avg_np", "avg_p"):
            settings["alg"] = value
        elif not (option.endswith("benchdnn") or (key == "alg" and value)):
            known = ("--conv", "--deconv", "--pool", "--dt=", "--mb=", "--dir=", "--alg=")
            raise UsageError(
                f"benchdnn: the option {option!r} in {text!r} does not belong to a "
                f"problem{near(option, known)}; "
                f"leave it out (known: {' '.join(known)})"
            )
    return settings


def _axis(text: str, driver: str, fields: dict[str, int], a: str) -> dict[str, Any] | None:
    """One axis with what was not given derived, or None where the string says nothing about it."""
    i, o, k = (fields.get(key + a, 0) for key in "iok")
    s, p, d = fields.get("s" + a, 1), fields.get("p" + a), fields.get("d" + a, 0)
    said = (i, o, k) if driver == "pool" else (i, o, k, d)
    if not any(said) and s == 1 and not p:
        return None
    for key, value in (("i", i), ("k", k), ("s", s)):
        if value < 1:
            raise UsageError(f"benchdnn: {key + a} must be given and at least 1 in {text!r}")
    extent = window.effective_kernel(k, d + 1)
    transposed = driver == "deconv"
    if not o:
        p = p or 0
        o = (i - 1) * s + extent - 2 * p if transposed else _divide(i - extent + 2 * p, s) + 1
        if o < 1:
            raise UsageError(f"benchdnn: {text!r} gives {o} outputs on axis {a.upper()}")
    elif p is None:
        total = (i - 1) * s - o + extent if transposed else (o - 1) * s - i + extent
        p = _divide(total, 2)
    return {"axis": a, "i": i, "o": o, "k": k, "s": s, "p": p or 0, "d": d + 1, "extent": extent}


def _divide(numerator: int, denominator: int) -> int:
    """Integer division as C has it, towards 0."""
    sign = -1 if numerator < 0 else 1
    return sign * (abs(numerator) // denominator)


def _cubic(
    text: str, fields: dict[str, int], driver: str, axes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The axes with the cubic rule applied: D alone stands for D, H and W, H alone for H and W."""
    match [axis["axis"] for axis in axes]:
        case ["d"]:
            return axes * 3
        case ["h"]:
            return axes * 2
        case ["d", "h", "w"] | ["h", "w"] | ["w"]:
            return axes
    what = ", ".join(axis["axis"] for axis in axes)
    raise UsageError(
        f"benchdnn: a {driver} has the axes w, h and w, or d, h and w (or only the first of them: "
        f"square, cubic), got "
        f"{what or 'none'} in {text!r}; e.g. mb1ic6ih14oc16kh5"
    )


def _convolution(
    text: str,
    driver: str,
    fields: dict[str, int],
    x: Size,
    axes: list[dict[str, Any]],
    dtype: str,
    bias: bool,
) -> Problem:
    groups, channels, filters = fields.get("g", 1), fields["ic"], fields["oc"]
    if groups < 1 or channels % groups or filters % groups:
        raise UsageError(
            f"benchdnn: g must divide ic and oc, but {groups} does not divide {channels} and "
            f"{filters} in {text!r}"
        )
    kernel = tuple(axis["k"] for axis in axes)
    arguments: dict[str, Any] = {
        "stride": tuple(axis["s"] for axis in axes),
        "dilation": tuple(axis["d"] for axis in axes),
        "groups": groups,
    }
    if driver == "conv":
        op, first, second = f"conv{len(axes)}d", filters, channels
        arguments["padding"] = tuple(_sides(text, axis) for axis in axes)
    else:
        op, first, second = f"conv_transpose{len(axes)}d", channels, filters
        arguments["padding"] = tuple(axis["p"] for axis in axes)
        arguments["output_padding"] = tuple(_extra(text, axis) for axis in axes)
    tensors = {"input": x, "weight": (first, second // groups, *kernel)}
    return build(op, {**tensors, "bias": (filters,) if bias else None}, arguments, dtype)


def _sides(text: str, axis: dict[str, Any]) -> tuple[int, int]:
    """Low and high padding that give the output size: equal ones where they do, else what benchdnn
    takes.
    """
    i, o, k, s, p, d = (axis[key] for key in "iokspd")
    if p < 0:
        raise UsageError(
            f"benchdnn: {text!r} implies a padding of {p} on axis {axis['axis'].upper()}, that "
            f"is, an input that is "
            "partly skipped: a convolution with padding has no words for it; cut the input"
        )
    rest = (o - 1) * s - i + axis["extent"] - p
    for high in (p, max(rest, 0)):
        if window.out_size(i, k, s, (p, high), d) == o:
            return p, high
    return p, rest


def _extra(text: str, axis: dict[str, Any]) -> int:
    """The output_padding that gives the output size."""
    i, o, k, s, p, d = (axis[key] for key in "iokspd")
    extra = o - window.conv_transpose_out_size(i, k, s, p, 0, d)
    if p < 0 or not 0 <= extra < max(s, d):
        raise UsageError(
            f"benchdnn: {text!r} cuts the far side of axis {axis['axis'].upper()} by {p - extra}, "
            f"the near side by {p}; "
            f"torch's transposed convolution cuts both alike, less an output_padding of 0 to "
            f"{max(s, d) - 1}"
        )
    return extra


def _pool(text: str, x: Size, axes: list[dict[str, Any]], dtype: str, alg: str) -> Problem:
    keys = {"kernel_size": "k", "stride": "s", "padding": "p"}
    arguments: dict[str, Any] = {n: tuple(axis[k] for axis in axes) for n, k in keys.items()}
    op = "max_pool" if alg == "max" else "avg_pool"
    dilation = tuple(axis["d"] for axis in axes)
    if op == "max_pool":
        arguments["dilation"] = dilation
    elif any(d != 1 for d in dilation):
        raise UsageError(f"benchdnn: torch's average pooling has no dilation, got {text!r}")
    else:
        arguments["count_include_pad"] = alg == "avg_p"
    wanted, found = [axis["o"] for axis in axes], []
    for ceil_mode in (False, True):
        found.append([_windows(axis, ceil_mode) for axis in axes])
        if found[-1] == wanted and not (ceil_mode and alg == "avg_p"):
            arguments["ceil_mode"] = ceil_mode
            return build(f"{op}{len(axes)}d", {"input": x}, arguments, dtype)
    raise UsageError(
        f"benchdnn: {text!r} wants {wanted} windows, but torch's rule gives {found[0]}, or "
        f"{found[1]} with ceil_mode: its pooling has no far padding of its own; pad the input first"
    )


def _windows(axis: dict[str, Any], ceil_mode: bool) -> int:
    i, k, s, p, d = (axis[key] for key in "ikspd")
    return window.out_size(i, k, s, p, d, ceil_mode=ceil_mode)
