"""ONNX's windows → torch's: padding on each side of each axis, or by a rule (auto_pad)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import window
from ...errors import UsageError

_STYLES = {"SAME_UPPER": "onnx_upper", "SAME_LOWER": "onnx_lower"}


@dataclass(frozen=True)
class Window:
    """A node's window; ``pads`` are (low, high) an axis.

    Args:
        auto: auto_pad, which a transposed convolution reads its own way.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    ceil_mode: bool
    auto: str

    @classmethod
    def of(cls, size: Sequence[int], given: dict[str, Any]) -> Window:
        """From a node's attributes."""
        kernel = tuple(given["kernel_shape"])
        rank = len(kernel)
        if not 1 <= rank <= 3 or len(size) != rank:
            raise UsageError(f"windows have 1 to 3 axes, as the input, got {kernel} on {size}")
        stride = tuple(given.get("strides") or (1,) * rank)
        dilation = tuple(given.get("dilations") or (1,) * rank)
        auto = given.get("auto_pad", b"NOTSET")
        auto = auto.decode() if isinstance(auto, bytes) else auto
        flat = given.get("pads") or (0,) * (2 * rank)
        pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
        if auto in _STYLES:
            axes = zip(size, kernel, stride, dilation, strict=True)
            pads = tuple(window.same_padding(*axis, style=_STYLES[auto]) for axis in axes)
        elif auto == "VALID":
            pads = ((0, 0),) * rank
        elif auto != "NOTSET":
            raise UsageError(f"auto_pad {auto!r} is unknown")
        ceil = bool(given.get("ceil_mode", 0)) and auto == "NOTSET"
        return cls(tuple(size), kernel, stride, dilation, pads, ceil, auto)

    def positions(self, pads: Sequence[int | tuple[int, int]], ceil_mode: bool) -> list[int]:
        """Windows an axis."""
        axes = zip(self.size, self.kernel, self.stride, pads, self.dilation, strict=True)
        return [window.out_size(*axis, ceil_mode=ceil_mode) for axis in axes]


def pool_padding(w: Window, padding_counts: bool) -> dict[str, Any]:
    """torch's padding and ceil_mode that give the same windows.

    With the same low padding and as many windows they lie in the same places, and what reaches
    behind the input is left out, unless it is counted (``padding_counts``) and one side is longer.

    Raises:
        UsageError: there is none.
    """
    low = tuple(lo for lo, _ in w.pads)
    alike = all(lo == hi for lo, hi in w.pads)
    wanted = w.positions(w.pads, w.ceil_mode)
    for ceil_mode in (w.ceil_mode, True) if not w.ceil_mode else (True,):
        same = w.positions(low, ceil_mode) == wanted
        if same and (alike or not (ceil_mode and padding_counts)):
            return {"padding": low, "ceil_mode": ceil_mode}
    raise UsageError(
        f"pads {[*w.pads]} (low, high) differ, and torch's pooling pads both sides alike; neither "
        "ceil_mode gives these windows: pad the input first"
    )


def transposed_padding(w: Window, given: dict[str, Any]) -> dict[str, Any]:
    """torch's padding and output_padding of a ConvTranspose: low and high cut alike, less
    output_padding.

    Raises:
        UsageError: there is none.
    """
    rank = len(w.kernel)
    extra = tuple(given.get("output_padding") or (0,) * rank)
    pads = list(w.pads)
    if wanted := given.get("output_shape") or _same_shape(w):
        pads = []
        for a, out in enumerate(wanted[-rank:]):
            whole = window.conv_transpose_out_size(
                w.size[a], w.kernel[a], w.stride[a], 0, extra[a], w.dilation[a]
            )
            total = whole - out
            small, large = total // 2, total - total // 2
            pads.append((small, large) if w.auto == "SAME_UPPER" else (large, small))
    padding, output_padding = [], []
    for a, (low, high) in enumerate(pads):
        more = extra[a] + low - high
        if low < 0 or not 0 <= more < max(w.stride[a], w.dilation[a]):
            raise UsageError(
                f"pads {pads} (low, high) cut the sides differently; torch's transposed "
                f"convolution cuts both alike, less an output_padding below the stride"
            )
        padding.append(low)
        output_padding.append(more)
    return {"padding": tuple(padding), "output_padding": tuple(output_padding)}


def _same_shape(w: Window) -> tuple[int, ...]:
    """The output of SAME: the input times the stride."""
    if w.auto not in _STYLES:
        return ()
    return tuple(size * step for size, step in zip(w.size, w.stride, strict=True))
