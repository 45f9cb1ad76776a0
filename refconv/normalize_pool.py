"""User arguments → problem: pooling, unpooling, unfold, fold and padding. The errors are raised
here or in ``checks``.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any

from . import checks, window
from .checks import axis_name, show
from .errors import ArgumentError, DtypeError, ShapeError
from .moves import ColumnProblem, IndexProblem, PadProblem
from .ops import COMPLEX, OPS
from .problem import PoolProblem, Size


def pool(
    op: str,
    x: Size,
    dtype: str,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> PoolProblem:
    """The problem of ``max_poolNd`` or ``avg_poolNd``; ``stride=None`` means the kernel's size."""
    rank = OPS[op].rank
    lead = checks.lead(op, x, rank)
    given = f" (input {show(x)})"
    kernel = checks.numbers(op, "kernel_size", kernel_size, rank)
    checks.at_least(op, "kernel_size", kernel, 1, given)
    strides = checks.stride_or_kernel(op, stride, kernel)
    checks.at_least(op, "stride", strides, 1, given)
    dilations = checks.numbers(op, "dilation", dilation, rank)
    checks.at_least(op, "dilation", dilations, 1, given)
    pads = checks.numbers(op, "padding", padding, rank)
    checks.at_least(op, "padding", pads, 0, given)
    for a in range(rank):
        if pads[a] > kernel[a] // 2:
            raise ShapeError(
                f"{op}: padding may be at most half of the kernel, but on axis "
                f"{axis_name(a, rank)} it is {pads[a]} "
                f"with kernel {kernel[a]}{given}"
            )
    if divisor_override == 0:
        raise ShapeError(f"{op}: divisor_override must not be 0{given}")
    size = x[len(lead) :]
    out = []
    for a in range(rank):
        positions = window.out_size(
            size[a], kernel[a], strides[a], pads[a], dilations[a], ceil_mode=ceil_mode
        )
        if positions < 1:
            raise ShapeError(
                f"{op}: the window is larger than the padded input on axis {axis_name(a, rank)}: "
                "extent "
                f"{window.effective_kernel(kernel[a], dilations[a])}, input {size[a]}+2*{pads[a]} "
                f"= {size[a] + 2 * pads[a]}{given}"
            )
        if rank == 3 and "max" not in op and size[a] < kernel[a]:
            raise ShapeError(
                f"{op}: the kernel is larger than the input on axis {axis_name(a, rank)}, which in "
                f"3-D padding does not make good: kernel {kernel[a]}, input {size[a]}{given}"
            )
        out.append(positions)
    return PoolProblem(
        op, lead, tuple(size), tuple(out), kernel, strides, pads, dilations, bool(ceil_mode),
        bool(count_include_pad), divisor_override, dtype,
    )  # fmt: skip


def adaptive(op: str, x: Size, dtype: str, output_size: Any) -> PoolProblem:
    """The problem of ``adaptive_avg_poolNd`` or ``adaptive_max_poolNd``; None in ``output_size``
    keeps that axis.
    """
    row = OPS[op]
    rank = row.rank
    unbatched = len(x) == rank + 1  # torch lets axis 0 be empty, whatever it is
    lead = checks.lead(op, x, rank, empty_channels=unbatched or ("avg" in op and rank < 3))
    size = x[len(lead) :]
    wanted = output_size if isinstance(output_size, checks.SEQUENCE) else (output_size,) * rank
    if len(wanted) != rank:
        raise ShapeError(
            f"{op}: output_size must be one int or {rank}, got {len(wanted)}: {show(wanted)}"
        )
    if rank == 1 and wanted[0] is None:
        raise ArgumentError(
            f"{op}: output_size must be an int, got None (only the 2-D and 3-D ops take None)"
        )
    out = tuple(
        s if o is None else checks.number(op, "output_size", o)
        for s, o in zip(size, wanted, strict=True)
    )
    checks.at_least(op, "output_size", out, 0, f" (input {show(x)})")
    if dtype in COMPLEX and not ("avg" in op and prod(out) == 1):
        raise DtypeError(
            f"{op}: complex input is defined only for a mean over everything (output_size 1)"
        )
    return PoolProblem(op, lead, tuple(size), out, (), (), (), (), False, True, None, dtype)


def unpool(
    op: str,
    x: Size,
    indices: Size,
    dtype: str,
    index_dtype: str,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> IndexProblem:
    """The problem of ``max_unpoolNd``: as large as the pooling's input may have been."""
    rank = OPS[op].rank
    lead = checks.lead(op, x, rank, empty_channels=len(x) == rank + 1)
    given = f" (input {show(x)}, indices {show(indices)})"
    kernel = checks.numbers(op, "kernel_size", kernel_size, rank)
    strides = checks.stride_or_kernel(op, stride, kernel)
    if rank == 3:
        checks.at_least(op, "stride", strides, 1, given)
    pads = checks.numbers(op, "padding", padding, rank)
    if index_dtype != "int64":
        raise ArgumentError(f"{op}: indices must be int64, got {index_dtype}{given}")
    if tuple(indices) != tuple(x):
        raise ShapeError(f"{op}: indices must have the input's shape{given}")
    size = x[len(lead) :]
    default = tuple((size[a] - 1) * strides[a] + kernel[a] - 2 * pads[a] for a in range(rank))
    out = default
    if output_size is not None:
        wanted = tuple(output_size)
        if len(wanted) == rank + 2:
            wanted = wanted[2:]
        if len(wanted) != rank:
            raise ShapeError(
                f"{op}: output_size must have {rank} or {rank + 2} sizes, got {show(wanted)}{given}"
            )
        for a in range(rank):
            low, high = default[a] - strides[a], default[a] + strides[a]
            if not low < wanted[a] < high:
                raise ShapeError(
                    f"{op}: output_size must be between {low + 1} and {high - 1} on axis "
                    f"{axis_name(a, rank)}, got "
                    f"{show(wanted)}{given}"
                )
        out = wanted
    checks.at_least(op, "the output's size", out, 0, given)
    return IndexProblem(op, lead, tuple(size), out, dtype)


def columns(
    op: str,
    x: Size,
    dtype: str,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    output_size: Any = None,
) -> ColumnProblem:
    """The problem of ``unfold``, or with ``output_size`` of ``fold``."""
    given = f" (input {show(x)})"
    kernel = checks.numbers(op, "kernel_size", kernel_size, 2)
    checks.at_least(op, "kernel_size", kernel, 1, given)
    dilations = checks.numbers(op, "dilation", dilation, 2)
    checks.at_least(op, "dilation", dilations, 1, given)
    pads = checks.numbers(op, "padding", padding, 2)
    checks.at_least(op, "padding", pads, 0, given)
    strides = checks.numbers(op, "stride", stride, 2)
    checks.at_least(op, "stride", strides, 1, given)
    if op == "unfold":
        lead = checks.lead(op, x, 2)
        size = tuple(x[len(lead) :])
    else:
        if len(x) not in (2, 3):
            raise ShapeError(
                f"{op}: expected 2-D (unbatched) or 3-D (batched) columns, got {len(x)}-D{given}"
            )
        size = checks.numbers(op, "output_size", output_size, 2)
        checks.at_least(op, "output_size", size, 1, given)
        lead = tuple(x[:-1])
        if 0 in x[-2:]:
            raise ShapeError(f"{op}: only the batch may be empty{given}")
    blocks = tuple(
        window.out_size(size[a], kernel[a], strides[a], pads[a], dilations[a]) for a in (0, 1)
    )
    if min(blocks) < 1:
        raise ShapeError(
            f"{op}: no window fits: image {show(size)}, kernel {show(kernel)}, dilation "
            f"{show(dilations)}, padding "
            f"{show(pads)}, stride {show(strides)} give {show(blocks)} positions{given}"
        )
    channels = lead[-1]
    if op == "fold":
        if channels % prod(kernel):
            raise ShapeError(
                f"{op}: the channel axis must be a multiple of the kernel's {prod(kernel)} cells, "
                f"got {channels}{given}"
            )
        if x[-1] != prod(blocks):
            raise ShapeError(
                f"{op}: image {show(size)} with kernel {show(kernel)} has {blocks[0]}*{blocks[1]} "
                f"= {prod(blocks)} "
                f"window positions, but the columns' last axis is {x[-1]}{given}"
            )
        channels //= prod(kernel)
    batch = lead[0] if len(lead) == 2 else None
    return ColumnProblem(op, batch, channels, size, blocks, kernel, strides, pads, dilations, dtype)


def pad(x: Size, dtype: str, pad: Any, mode: str = "constant", value: Any = None) -> PadProblem:
    """The problem of ``pad``: ``pad`` lists (low, high) from the last axis backwards."""
    op = "pad"
    given = f" (input {show(x)}, pad {show(pad) if isinstance(pad, checks.SEQUENCE) else pad})"
    if not isinstance(pad, checks.SEQUENCE):
        raise ArgumentError(
            f"{op}: pad must be a sequence of ints, got {type(pad).__name__}{given}"
        )
    flat = tuple(checks.number(op, "pad", p) for p in pad)
    if len(flat) % 2:
        raise ShapeError(
            f"{op}: pad needs two numbers an axis, low and high, got {len(flat)}{given}"
        )
    if len(flat) > 2 * len(x):
        raise ShapeError(
            f"{op}: pad names {len(flat) // 2} axes, but the input has {len(x)}{given}"
        )
    padded = len(flat) // 2
    pads = ((0, 0),) * (len(x) - padded) + tuple(
        (flat[2 * a], flat[2 * a + 1]) for a in reversed(range(padded))
    )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise UnknownModeError(
            f"{op}: mode must be constant, reflect, replicate or circular, got {mode!r}"
        )
    if mode == "constant":
        shown = max(flat, default=0) > 0
        fill = _fill(op, 0 if value is None else value, dtype, shown, given)
        problem = PadProblem(op, tuple(x), pads, mode, fill, dtype)
        checks.at_least(op, "every size of the output", problem.output_shape, 0, given)
        _crops(op, problem.shape, pads, 0, given)
        return problem
    if value:
        raise ShapeError(f"{op}: mode {mode} takes no value, got {value}{given}")
    if padded not in (1, 2, 3) or len(x) - padded not in (1, 2):
        raise UnknownModeError(
            f"{op}: mode {mode} pads the last 1, 2 or 3 axes of an input with one or two axes "
            f"more, but {len(flat)} "
            f"numbers name {padded} axes of a {len(x)}-D input{given}"
        )
    if mode != "circular":
        if dtype in ("bool", "uint16", "uint32", "uint64", "complex32") or dtype.startswith(
            "float8"
        ):
            raise DtypeError(
                f"{op}: mode {mode} is not defined for {dtype}, in torch on the CPU neither"
            )
        checks.lead(op, tuple(x), padded)
    for size, (low, high) in zip(x, pads, strict=True):
        limit = {"reflect": size - 1, "circular": size}.get(mode)
        if limit is not None and max(low, high) > max(limit, 0):
            raise ShapeError(
                f"{op}: mode {mode} can add at most {limit} cells to an axis of {size}{given}"
            )
    problem = PadProblem(op, tuple(x), pads, mode, 0, dtype)
    checks.at_least(
        op,
        "every size of the output",
        problem.output_shape[1:],
        0 if mode == "circular" or max(problem.output_shape[-padded:]) > 0 else 1,
        given,
    )
    if mode == "circular" and 0 not in problem.output_shape:
        _crops(op, problem.shape, pads, 1, given)
    return problem


def _crops(op: str, shape: Size, pads: Any, least: int, given: str) -> None:
    """Negative padding must leave ``least`` cells of each axis, whatever is added elsewhere."""
    left = tuple(s + min(lo, 0) + min(hi, 0) for s, (lo, hi) in zip(shape, pads, strict=True))
    checks.at_least(op, "what cropping leaves of every axis", left, least, given)


#: The largest finite number of each dtype that is not an integer; float64 holds what Python has.
LARGEST = {
    "float32": 3.4028234663852886e38,
    "complex64": 3.4028234663852886e38,
    "bfloat16": 3.3895313892515355e38,
    "float16": 65504.0,
    "complex32": 65504.0,
    "float8_e5m2": 57344.0,
    "float8_e4m3fn": 448.0,
}


def _fill(op: str, value: Any, dtype: str, shown: bool, given: str) -> Any:
    """The constant, which must be a number and, where it is shown, one that the dtype can hold."""
    if not hasattr(value, "__float__"):
        raise ArgumentError(f"{op}: value must be a real number, got {value!r}{given}")
    if not shown:
        return 0
    if dtype == "bool":
        return bool(value)
    low, high = -LARGEST.get(dtype, inf), LARGEST.get(dtype, inf)
    if "int" in dtype:
        bits = int(dtype.partition("int")[2])
        low, high = (
            (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
    elif value != value or (abs(value) == inf and dtype != "float8_e4m3fn"):
        return value
    if not low <= value <= high:
        raise ShapeError(f"{op}: value {value} does not fit {dtype}, {low} to {high}{given}")
    return value


class UnknownModeError(ShapeError, NotImplementedError):
    """A padding mode, or a combination of mode and rank, that does not exist (torch:
    NotImplementedError).
    """
