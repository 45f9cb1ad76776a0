"""Problems that only move or sum elements: unfold and fold, pad, and the indexed moves behind
unpooling.

Like ``problem``: frozen, hashable, without arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from . import window
from .problem import Pads, Size, triple

Call = tuple[list[Size], list[Size], list[Size], tuple[Any, ...]]


@dataclass(frozen=True)
class ColumnProblem:
    """unfold (image to columns), or fold (the sum of columns back into an image); 2-D, as in torch.

    Args:
        batch: ``None`` where the input has no batch axis.
        size: the image's (H, W).
        blocks: window positions per axis.
    """

    op: str
    batch: int | None
    channels: int
    size: Size
    blocks: Size
    kernel: Size
    stride: Size
    padding: Size
    dilation: Size
    dtype: str

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.size)

    @property
    def forward_slot(self) -> str:
        """The slot that computes the op itself."""
        return self.op

    @property
    def image_shape(self) -> Size:
        """``(N, C, H, W)`` or ``(C, H, W)``."""
        return (*(() if self.batch is None else (self.batch,)), self.channels, *self.size)

    @property
    def column_shape(self) -> Size:
        """``(N, C * kernel, blocks)`` or without N."""
        lead = () if self.batch is None else (self.batch,)
        return (*lead, self.channels * prod(self.kernel), prod(self.blocks))

    @property
    def output_shape(self) -> Size:
        """Shape of the op's output."""
        return self.column_shape if self.op == "unfold" else self.image_shape

    def call(self, slot: str) -> Call:
        """What slot ``slot`` (unfold or fold) works on; see ``ConvProblem.call``."""
        n = 1 if self.batch is None else self.batch
        image = (n, self.channels, *triple(self.size))
        column = (n, self.channels, *triple(self.kernel), *triple(self.blocks))
        numbers = (triple(self.stride), triple(self.padding, 0), triple(self.dilation))
        if slot == "unfold":
            return [image], [column], [self.column_shape], numbers
        return [column], [image], [self.image_shape], numbers


@dataclass(frozen=True)
class PadProblem:
    """Padding of the last axes of an array, seen as at most five axes, of which ``pads`` names low
    and high.

    Args:
        shape: the input's shape.
        pads: ``(low, high)`` for each axis of ``shape``; negative crops.
        mode: constant, reflect, replicate or circular.
        value: what the constant mode fills in.
    """

    op: str
    shape: Size
    pads: Pads
    mode: str
    value: Any
    dtype: str

    @property
    def rank(self) -> int:
        """Number of axes that are padded."""
        return sum(1 for pad in self.pads if pad != (0, 0))

    @property
    def forward_slot(self) -> str:
        """The slot that computes the op itself."""
        return "pad"

    @property
    def output_shape(self) -> Size:
        """Shape of the padded array."""
        return tuple(s + lo + hi for s, (lo, hi) in zip(self.shape, self.pads, strict=True))

    def five(self) -> tuple[Size, Size, Pads]:
        """Input shape, output shape and pads as five axes: axes without padding are merged with
        their neighbours.
        """
        sizes: list[int] = []
        pads: list[tuple[int, int]] = []
        for size, pad in zip(self.shape, self.pads, strict=True):
            if pads and pad == pads[-1] == (0, 0):
                sizes[-1] *= size
            else:
                sizes.append(size)
                pads.append(pad)
        lead = 5 - len(sizes)
        shape = (1,) * lead + tuple(sizes)
        full = ((0, 0),) * lead + tuple(pads)
        return shape, tuple(s + lo + hi for s, (lo, hi) in zip(shape, full, strict=True)), full

    def source(self, axis: int, o: Any) -> Any:
        """Input position that output position ``o`` shows on one of the ``five`` axes (-1: the
        constant).
        """
        shape, _, pads = self.five()
        mode = self.mode if pads[axis] != (0, 0) else "replicate"
        return window.pad_source(o, shape[axis], *pads[axis], mode)

    def call(self, slot: str) -> Call:
        """What slot ``slot`` (pad or pad_backward) works on; dispatch adds the axis maps."""
        inner, outer, _ = self.five()
        if slot == "pad":
            return [inner], [outer], [self.output_shape], (self.value,)
        return [outer], [inner], [self.shape], ()


@dataclass(frozen=True)
class IndexProblem:
    """An indexed move between planes: ``index`` holds flat positions in the large side's spatial
    axes.

    Args:
        lead: axes before the spatial ones.
        small: spatial size of the side that the indices belong to (pooled).
        large: spatial size of the side that they point into.
    """

    op: str
    lead: Size
    small: Size
    large: Size
    dtype: str

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.large)

    @property
    def forward_slot(self) -> str:
        """The slot that computes the op itself."""
        return "scatter"

    @property
    def output_shape(self) -> Size:
        """Shape of the unpooled array."""
        return (*self.lead, *self.large)

    def call(self, slot: str) -> Call:
        """What slot ``slot`` (gather, scatter or scatter_add) works on."""
        planes = prod(self.lead)
        small, large = (planes, prod(self.small)), (planes, prod(self.large))
        if slot == "gather":
            return [large, small], [small], [(*self.lead, *self.small)], ()
        return [small, small], [large], [self.output_shape], ()
