"""User arguments → problem: convolution and its transpose. Every argument error is raised here or
in ``checks``, once.

Takes shapes and dtype names, never arrays, so it serves real, meta and fake tensors alike.
"""

from __future__ import annotations

from typing import Any

from . import checks, window
from .checks import axis_name, show
from .errors import ArgumentError, DtypeError, ShapeError
from .ops import OPS
from .problem import ConvProblem, Pads, Size


def conv(
    op: str,
    x: Size,
    w: Size,
    b: Size | None,
    dtype: str,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> ConvProblem:
    """The problem of ``convNd(x, w, b, …)`` from the arrays' shapes.

    Args:
        padding: ints, ``same``, ``valid``, or (low, high) pairs.

    Raises:
        ShapeError, ArgumentError, DtypeError: a rule is broken; torch would refuse too.
    """
    rank = OPS[op].rank
    lead = checks.lead(op, x, rank, empty_channels=True)
    given = _given(x, w, b)
    kernel = _kernel(op, w, rank, given)
    stride, dilation = _steps(op, stride, dilation, rank, given)
    pads = _padding(op, padding, kernel, stride, dilation, given)
    channels, size = lead[-1], x[len(lead) :]
    _groups(op, groups, given)
    if channels % groups:
        raise ShapeError(
            f"{op}: groups must divide input channels, but {groups} does not divide {channels} "
            f"({given})"
        )
    if w[0] % groups:
        raise ShapeError(
            f"{op}: groups must divide output channels, but {groups} does not divide {w[0]} "
            f"({given})"
        )
    if w[1] * groups != channels:
        raise ShapeError(
            f"{op}: with groups={groups} the weight's axis 1 must be input channels / groups = "
            f"{channels // groups}, "
            f"got {w[1]} ({given})"
        )
    _bias(op, b, w[0], given)
    if dtype in ("int8", "uint8", "int16", "int32") and any(d > 1 for d in dilation):
        raise DtypeError(
            f"{op}: dilation is not defined for {dtype}, in torch on the CPU neither; convert to "
            "int64"
        )
    out = []
    for a in range(rank):
        positions = window.out_size(size[a], kernel[a], stride[a], pads[a], dilation[a])
        if positions < 1:
            extent, low, high = window.effective_kernel(kernel[a], dilation[a]), *pads[a]
            raise ShapeError(
                f"{op}: the kernel is larger than the padded input on axis {axis_name(a, rank)}: "
                "extent "
                f"{dilation[a]}*({kernel[a]}-1)+1 = {extent}, input {size[a]}+{low}+{high} = "
                f"{size[a] + low + high} "
                f"({given})"
            )
        out.append(positions)
    batch = lead[0] if len(lead) == 2 else None
    return ConvProblem(
        op, batch, channels, w[0], groups, tuple(size), tuple(out), kernel, stride, pads, dilation,
        (0,) * rank, b is not None, dtype,
    )  # fmt: skip


def conv_transpose(
    op: str,
    x: Size,
    w: Size,
    b: Size | None,
    dtype: str,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> ConvProblem:
    """The problem of ``conv_transposeNd(x, w, b, …)``; arguments in torch's order (groups before
    dilation).
    """
    rank = OPS[op].rank
    lead = checks.lead(op, x, rank)
    given = _given(x, w, b)
    kernel = _kernel(op, w, rank, given)
    stride, dilation = _steps(op, stride, dilation, rank, given)
    if isinstance(padding, str):
        raise ArgumentError(
            f"{op}: padding must be ints, got {padding!r} (only convolution takes a string)"
        )
    pads = _padding(op, padding, kernel, stride, dilation, given)
    if any(low != high for low, high in pads):
        raise ShapeError(
            f"{op}: padding must be the same on both sides, got {pads} ({given}); "
            "output_padding says how much longer the output is behind"
        )
    extra = checks.numbers(op, "output_padding", output_padding, rank)
    checks.at_least(op, "output_padding", extra, 0, f" ({given})")
    channels, size = lead[-1], x[len(lead) :]
    _groups(op, groups, given)
    if w[0] != channels:
        raise ShapeError(
            f"{op}: the weight's axis 0 must be input channels = {channels}, got {w[0]} ({given})"
        )
    if channels % groups:
        raise ShapeError(
            f"{op}: groups must divide input channels, but {groups} does not divide {channels} "
            f"({given})"
        )
    _bias(op, b, w[1] * groups, given)
    out = []
    for a in range(rank):
        if extra[a] >= max(stride[a], dilation[a]):
            raise ShapeError(
                f"{op}: output_padding must be smaller than stride or dilation, but on axis "
                f"{axis_name(a, rank)} it is "
                f"{extra[a]} with stride {stride[a]} and dilation {dilation[a]} ({given})"
            )
        low = pads[a][0]
        positions = window.conv_transpose_out_size(
            size[a], kernel[a], stride[a], low, extra[a], dilation[a]
        )
        if positions < 1:
            raise ShapeError(
                f"{op}: nothing is left of the output on axis {axis_name(a, rank)}: "
                f"({size[a]}-1)*{stride[a]} - "
                f"2*{low} + {dilation[a]}*({kernel[a]}-1) + {extra[a]} + 1 = {positions} ({given})"
            )
        out.append(positions)
    batch = lead[0] if len(lead) == 2 else None
    return ConvProblem(
        op, batch, channels, w[1] * groups, groups, tuple(size), tuple(out), kernel, stride, pads,
        dilation, extra, b is not None, dtype,
    )  # fmt: skip


def geometry(
    rank: int,
    x: Size,
    w: Size,
    y: Size,
    dtype: str,
    stride: Size,
    padding: Pads,
    dilation: Size,
    groups: int,
    bias: bool = False,
) -> ConvProblem:
    """A convolution between arrays whose three shapes are given: what the derivatives are made of.
    Nothing to refuse, but that the shapes belong together (a caller may pass any gradient to an
    autograd function).
    """
    op = f"conv{rank}d"
    given = f"x {show(x)}, weight {show(w)}, y {show(y)}"
    lead, y_lead = x[: len(x) - rank], y[: len(y) - rank]
    if (
        len(y) != len(x)
        or lead[:-1] != y_lead[:-1]
        or y_lead[-1] != w[0]
        or lead[-1] != w[1] * groups
    ):
        raise ShapeError(
            f"{op}: these shapes are not those of one convolution with groups={groups} ({given})"
        )
    batch = lead[0] if len(lead) == 2 else None
    return ConvProblem(
        op, batch, lead[-1], w[0], groups, tuple(x[len(lead) :]), tuple(y[len(lead) :]),
        tuple(w[2:]), tuple(stride), padding, tuple(dilation), (0,) * rank, bias, dtype,
    )  # fmt: skip


def _given(x: Size, w: Size, b: Size | None) -> str:
    bias = "" if b is None else f", bias {show(b)}"
    return f"input {show(x)}, weight {show(w)}{bias}"


def _kernel(op: str, w: Size, rank: int, given: str) -> Size:
    if len(w) != rank + 2:
        fix = checks.other_rank(op, len(w) - 2)
        raise ShapeError(f"{op}: expected a {rank + 2}-D weight, got {len(w)}-D{fix} ({given})")
    for size in (w[0], *w[2:]):
        if size < 1:
            raise ShapeError(f"{op}: the weight may not be empty, got {show(w)} ({given})")
    return tuple(w[2:])


def _steps(op: str, stride: Any, dilation: Any, rank: int, given: str) -> tuple[Size, Size]:
    strides = checks.numbers(op, "stride", stride, rank)
    checks.at_least(op, "stride", strides, 1, f" ({given})")
    dilations = checks.numbers(op, "dilation", dilation, rank)
    checks.at_least(op, "dilation", dilations, 1, f" ({given})")
    return strides, dilations


def _padding(op: str, padding: Any, kernel: Size, stride: Size, dilation: Size, given: str) -> Pads:
    rank = len(kernel)
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * rank
        if padding != "same":
            raise ShapeError(f"{op}: padding must be ints, 'same' or 'valid', got {padding!r}")
        if any(s != 1 for s in stride):
            raise ShapeError(
                f"{op}: padding='same' needs stride 1, got stride {show(stride)} ({given}); "
                "refconv.same_padding(…, "
                "style='tf') gives the zeros that TensorFlow's SAME would add"
            )
        return tuple(window.same_padding(0, k, 1, d) for k, d in zip(kernel, dilation, strict=True))
    if isinstance(padding, checks.SEQUENCE) and padding and isinstance(padding[0], tuple):
        return tuple(padding)
    low = checks.numbers(op, "padding", padding, rank)
    checks.at_least(op, "padding", low, 0, f" ({given})")
    return tuple((p, p) for p in low)


def _groups(op: str, groups: Any, given: str) -> None:
    checks.at_least(op, "groups", (checks.number(op, "groups", groups),), 1, f" ({given})")


def _bias(op: str, b: Size | None, channels: int, given: str) -> None:
    if b is not None and tuple(b) != (channels,):
        raise ShapeError(
            f"{op}: bias must have one number per output channel, shape ({channels},) ({given})"
        )
