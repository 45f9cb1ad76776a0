"""The problem: one frozen, hashable description of a convolution or pooling that every part of
refconv reads.

A problem holds no array and allocates nothing. Backends ask it for the canonical shapes of a slot,
the oracle for the terms of an output element, explain for its arithmetic, and the harness for its
cost. Built by ``normalize`` (from checked arguments) and ``label`` (from text).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from . import window

Size = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

CONV_SLOTS = ("conv_fprop", "conv_dgrad", "conv_wgrad", "conv_bgrad")
POOL_SLOTS = ("max_pool", "max_pool_values", "avg_pool", "avg_pool_backward")


def triple(values: Size, fill: int = 1) -> Size:
    """``values`` with leading ``fill`` up to three: the canonical (D, H, W)."""
    return (fill,) * (3 - len(values)) + tuple(values)


@dataclass(frozen=True)
class ConvProblem:
    """A convolution, or the transposed convolution that is its dgrad called forward.

    ``in_size`` and ``out_size`` are the sizes of the *operation's* input and output. The geometry
    that kernels see is always that of the convolution: there ``x`` is the large side, and for a
    transposed op ``x`` is the output.

    Args:
        op: ``conv1d`` … ``conv_transpose3d``.
        batch: ``None`` where the input has no batch axis.
        padding: ``(low, high)`` zeros per axis.
        output_padding: of a transposed op, else zeros.
    """

    op: str
    batch: int | None
    in_channels: int
    out_channels: int
    groups: int
    in_size: Size
    out_size: Size
    kernel: Size
    stride: Size
    padding: Pads
    dilation: Size
    output_padding: Size
    bias: bool
    dtype: str

    @property
    def rank(self) -> int:
        """Number of spatial axes, 1 to 3."""
        return len(self.kernel)

    @property
    def transposed(self) -> bool:
        """Whether the op is a transposed convolution."""
        return self.op.startswith("conv_transpose")

    @property
    def forward_slot(self) -> str:
        """The slot that computes the op itself."""
        return "conv_dgrad" if self.transposed else "conv_fprop"

    def _batched(self, channels: int, size: Size) -> Size:
        return (*(() if self.batch is None else (self.batch,)), channels, *size)

    @property
    def input_shape(self) -> Size:
        """Shape of the op's input, as the user has it."""
        return self._batched(self.in_channels, self.in_size)

    @property
    def output_shape(self) -> Size:
        """Shape of the op's output, as the user gets it."""
        return self._batched(self.out_channels, self.out_size)

    @property
    def weight_shape(self) -> Size:
        """``(out, in/groups, *kernel)``; for a transposed op ``(in, out/groups, *kernel)``."""
        if self.transposed:
            return (self.in_channels, self.out_channels // self.groups, *self.kernel)
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def x_shape(self) -> Size:
        """Shape of ``x`` in the convolution's geometry: the input, or a transposed op's output."""
        return self.output_shape if self.transposed else self.input_shape

    @property
    def y_shape(self) -> Size:
        """Shape of ``y`` in the convolution's geometry: the output, or a transposed op's input."""
        return self.input_shape if self.transposed else self.output_shape

    def call(self, slot: str) -> tuple[list[Size], list[Size], list[Size], tuple[Any, ...]]:
        """What slot ``slot`` works on: canonical input shapes, canonical and user's output shapes,
        numbers.
        """
        n = 1 if self.batch is None else self.batch
        x_size, y_size = (
            (self.out_size, self.in_size) if self.transposed else (self.in_size, self.out_size)
        )
        c, k = (
            (self.out_channels, self.in_channels)
            if self.transposed
            else (self.in_channels, self.out_channels)
        )
        x, y = (n, c, *triple(x_size)), (n, k, *triple(y_size))
        w, b = (
            (*self.weight_shape[:2], *triple(self.kernel)),
            (self.out_channels if self.bias else 0,),
        )
        low = tuple(lo for lo, _ in self.padding)
        numbers = (triple(self.stride), triple(low, 0), triple(self.dilation), self.groups)
        if slot == "conv_fprop":
            return [x, w, b], [y], [self.y_shape], numbers
        if slot == "conv_dgrad":
            return [y, w, b], [x], [self.x_shape], numbers
        if slot == "conv_wgrad":
            return [y, x], [w], [self.weight_shape], numbers
        if slot == "conv_bgrad":
            return [y], [(k,)], [(k,)], ()
        raise KeyError(slot)

    @property
    def macs(self) -> int:
        """Multiply-accumulates with an in-bounds operand: what the naive loops count. FLOPs are
        twice this.
        """
        x_size, y_size = (
            (self.out_size, self.in_size) if self.transposed else (self.in_size, self.out_size)
        )
        taps = 1
        for a in range(self.rank):
            low = self.padding[a][0]
            taps *= sum(
                window.outputs_per_tap(
                    k, x_size[a], y_size[a], self.stride[a], low, self.dilation[a]
                )
                for k in range(self.kernel[a])
            )
        n = 1 if self.batch is None else self.batch
        return n * taps * self.in_channels * self.out_channels // self.groups

    @property
    def params(self) -> int:
        """Learnable numbers: weights and, where there is one, biases."""
        return prod(self.weight_shape) + (self.out_channels if self.bias else 0)


@dataclass(frozen=True)
class PoolProblem:
    """A max or average pooling, regular or adaptive: one window per output position and axis.

    Args:
        op: ``max_pool2d``, ``avg_pool1d``, ``adaptive_max_pool3d``, …
        lead: the axes before the spatial ones, ``(N, C)`` or ``(C,)``.
        divisor: average pooling's ``divisor_override``, or None.
        norm: the exponent of ``lp_pool``, which is average pooling of powers; else None.
    """

    op: str
    lead: Size
    in_size: Size
    out_size: Size
    kernel: Size
    stride: Size
    padding: Size
    dilation: Size
    ceil_mode: bool
    count_include_pad: bool
    divisor: int | None
    dtype: str
    norm: float | None = None

    @property
    def rank(self) -> int:
        """Number of spatial axes, 1 to 3."""
        return len(self.in_size)

    @property
    def adaptive(self) -> bool:
        """Whether the windows come from the output size rather than from a kernel."""
        return self.op.startswith("adaptive")

    @property
    def forward_slot(self) -> str:
        """The slot that computes the op itself."""
        return "max_pool" if "max" in self.op else "avg_pool"

    @property
    def input_shape(self) -> Size:
        """Shape of the input, as the user has it."""
        return (*self.lead, *self.in_size)

    @property
    def output_shape(self) -> Size:
        """Shape of the output (and of the indices)."""
        return (*self.lead, *self.out_size)

    def window(self, axis: int, o: Any) -> tuple[Any, ...]:
        """Window ``o`` of ``axis``: ``(start, stop)`` for max, ``(start, stop, extent)`` for
        average pooling.
        """
        size = self.in_size[axis]
        if self.adaptive:
            start, stop = window.adaptive_window(o, size, self.out_size[axis])
            return (start, stop) if "max" in self.op else (start, stop, stop - start)
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        if "max" in self.op:
            return window.pool_window(o, size, kernel, stride, padding, self.dilation[axis])
        start, stop, extent = window.avg_window(
            o, size, kernel, stride, padding, self.count_include_pad
        )
        if self.divisor is not None:  # the product over the axes must be the divisor
            extent = extent * 0 + (self.divisor if axis == self.rank - 1 else 1)
        return start, stop, extent

    def call(self, slot: str) -> tuple[list[Size], list[Size], list[Size], tuple[Any, ...]]:
        """What slot ``slot`` works on: canonical input shapes, canonical and user's output shapes,
        numbers.

        The numbers here are only max pooling's step; dispatch adds the window tables.
        """
        lead = (1,) * (2 - len(self.lead)) + self.lead
        x, y = (*lead, *triple(self.in_size)), (*lead, *triple(self.out_size))
        if slot in ("max_pool", "max_pool_values"):
            step = triple(self.dilation or (1,) * self.rank)
            outputs = 2 if slot == "max_pool" else 1
            return [x], [y] * outputs, [self.output_shape] * outputs, (step,)
        if slot == "avg_pool":
            return [x], [y], [self.output_shape], ()
        if slot == "avg_pool_backward":
            return [y], [x], [self.input_shape], ()
        raise KeyError(slot)

    @property
    def taps(self) -> int:
        """In-bounds taps over all windows of one plane: the comparisons or additions of a plane."""
        total = 1
        for axis, out in enumerate(self.out_size):
            step = self.dilation[axis] if self.dilation else 1
            bounds = [self.window(axis, o)[:2] for o in range(out)]
            total *= sum(len(range(start, stop, step)) for start, stop in bounds)
        return total
