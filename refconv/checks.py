"""The checks that every op shares: numbers, dtypes, ranks. Each raises one error that names op,
rule, numbers, shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import ArgumentError, DtypeError, ShapeError
from .ops import FLOATS, OPS

AXES = "DHW"
#: What may list one number an axis. A plain tuple of types: older Dynamos cannot trace a union.
SEQUENCE = (tuple, list)
#: What takes an int or one an axis, but no sequence of one: op, or op and argument.
NO_SINGLE = ("max_unpool", "unfold", "fold", "lp_pool2d kernel_size", "lp_pool3d kernel_size")


def number(op: str, name: str, value: Any) -> int:
    """``value`` as an int; floats and bools are refused, as torch refuses them."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"{op}: {name} must be an int, got {type(value).__name__} {value!r}")
    return value if isinstance(value, int) or hasattr(value, "node") else value.__index__()


def numbers(op: str, name: str, value: Any, rank: int) -> tuple[int, ...]:
    """One int per spatial axis: an int, or a sequence of one (not in every op) or ``rank`` ints."""
    if not isinstance(value, SEQUENCE):
        return (number(op, name, value),) * rank
    if len(value) not in ((rank,) if f"{op} {name}".startswith(NO_SINGLE) else (1, rank)):
        raise ShapeError(
            f"{op}: {name} must be one int or {rank}, one per axis, got {len(value)}: "
            f"{tuple(value)}"
        )
    return tuple(number(op, name, v) for v in value) * (rank if len(value) == 1 else 1)


def stride_or_kernel(op: str, stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """A pooling's stride, which is the kernel's size where it is left out (None or empty)."""
    if stride is None or (isinstance(stride, SEQUENCE) and not stride):
        return kernel
    return numbers(op, "stride", stride, len(kernel))


def at_least(op: str, name: str, values: tuple[int, ...], least: int, shapes: str = "") -> None:
    """Every one of ``values`` is ``least`` or more."""
    for value in values:
        if value < least:
            raise ShapeError(f"{op}: {name} must be at least {least}, got {show(values)}{shapes}")


def dtypes(op: str, **named: str | None) -> str:
    """The one dtype that all the named arrays share, which the op must take."""
    given = {name: dtype for name, dtype in named.items() if dtype is not None}
    (first, dtype), *rest = given.items()
    for name, other in rest:
        if other != dtype:
            raise ArgumentError(
                f"{op}: {first} is {dtype} but {name} is {other}; convert one of them first"
            )
    if dtype not in FLOATS and dtype not in OPS[op].extra_dtypes:
        taken = ", ".join((*FLOATS, *OPS[op].extra_dtypes))
        raise DtypeError(
            f"{op}: not defined for {dtype}, in torch on the CPU neither; it takes {taken}"
        )
    return dtype


def lead(
    op: str, shape: tuple[int, ...], rank: int, empty_channels: bool = False
) -> tuple[int, ...]:
    """The axes before the ``rank`` spatial ones, (N, C) or (C,); only N may be empty.

    Args:
        empty_channels: whether C may be empty too.
    """
    if len(shape) not in (rank + 1, rank + 2):
        fix = other_rank(op, len(shape) - 2)
        raise ShapeError(
            f"{op}: expected a {rank + 1}-D (unbatched) or {rank + 2}-D (batched) input, got "
            f"{len(shape)}-D{fix} "
            f"(input {show(shape)})"
        )
    before = shape[: len(shape) - rank]
    for size in (*(() if empty_channels else before[-1:]), *shape[len(shape) - rank :]):
        if size == 0:
            raise ShapeError(f"{op}: only the batch may be empty, got input {show(shape)}")
    return tuple(before)


def other_rank(op: str, rank: int) -> str:
    """The fix for a wrong number of axes: the same op of the rank that fits, if there is one."""
    if not op[-2].isdigit() or op[-1] != "d":
        return ""
    better = f"{op[:-2]}{rank}d"
    return f": {better} takes it" if better in OPS else ""


def show(shape: Iterable[Any]) -> str:
    """A shape as Python writes it."""
    return str(tuple(shape))


def axis_name(axis: int, rank: int) -> str:
    """D, H or W."""
    return AXES[3 - rank + axis]


def same_shape(op: str, name: str, got: tuple[int, ...], want: tuple[int, ...]) -> None:
    """An array has the one shape that fits."""
    if got != want:
        raise ShapeError(f"{op}: {name} must have shape {show(want)}, got {show(got)}")


def flat(op: str, name: str, values: Any) -> list[int]:
    """A sequence of ints of any length."""
    if not isinstance(values, SEQUENCE):
        raise ArgumentError(
            f"{op}: {name} must be a sequence of ints, got {type(values).__name__} {values!r}"
        )
    return [number(op, name, v) for v in values]
