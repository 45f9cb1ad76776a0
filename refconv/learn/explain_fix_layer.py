"""What to change in one call of the convolution family that is refused."""

from __future__ import annotations

from typing import Any

from .. import window
from ..notation_torch import MODULES
from ..ops import OPS
from ..problem import Size
from .captured import Array, Capture, Op
from .explain_ops import shape_text
from .layers import ANY

#: The module of a functional: conv2d → Conv2d.
CLASSES = {op: name for name, (op, _) in MODULES.items() if op != "pad"}


def layer_fix(found: Capture | None, op: Op) -> str:
    """What to change in a call of the family that is refused."""
    given, name = op.given, op.name
    x, w = given["input"].shape, given.get("weight")
    rank = OPS[name].rank
    layer = "" if found is None or op.where.endswith("forward()") else op.where
    if len(x) not in (rank + 1, rank + 2):
        return rank_fix(name, x, layer, w)
    if w is not None and given.get("padding") == "same" and max(_each(given["stride"], rank)) > 1:
        return same_fix(given, w.shape[2:], x[-rank:])
    size = x[-rank:]
    channels = x[-rank - 1]
    if w is not None:
        transposed = "transpose" in name
        wants = w.shape[0] if transposed else w.shape[1] * given["groups"]
        if wants != channels:
            return _channels(found, op, wants, channels, layer)
    kernel = w.shape[2:] if w is not None else None
    return kernel_fix(given, kernel, size)


def rank_fix(name: str, x: Size, layer: str = "", w: Array | None = None) -> str:
    """Another number of axes than the op takes: the op that takes it, or the axis to add."""
    rank = OPS[name].rank
    other = f"{name[:-2]}{len(x) - 2}d"
    if len(x) == rank:
        return f"a channel axis is missing: {shape_text((1, *x))}"
    if name[-1] != "d" or other not in OPS:
        return ""
    if not layer:
        return f"F.{other} takes {len(x)}-D"
    made = f"nn.{CLASSES[other]}"
    if w is not None and name.startswith("conv") and "transpose" not in name:
        made += f"({x[1]}, {w.shape[0]}, {w.shape[2]})" if len(set(w.shape[2:])) == 1 else "(…)"
    return f"change {layer} to {made}"


def same_fix(given: dict[str, Any], kernel: Size, size: Size) -> str:
    """``padding='same'`` with a stride: the zeros that give ceil(size / stride)."""
    rank = len(kernel)
    stride, dilation = _each(given["stride"], rank), _each(given["dilation"], rank)
    if ANY in size:
        total = {d * (k - 1) for k, d in zip(kernel, dilation, strict=True)}
        if len(total) == 1 and (zeros := total.pop()) % 2 == 0:
            return f"padding={zeros // 2} gives ceil(size / stride)"
        return "which zeros give ceil(size / stride) depends on the size: add --in SHAPE"
    pads = [
        window.same_padding(n, k, s, d, style="tf")
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    half = [window.same_padding(1, k, 1, d)[0] for k, d in zip(kernel, dilation, strict=True)]
    outs = [-(-n // s) for n, s in zip(size, stride, strict=True)]
    sym = all(
        window.out_size(n, k, s, p, d) == o
        for n, k, s, p, d, o in zip(size, kernel, stride, half, dilation, outs, strict=True)
    )
    if all(low == high for low, high in pads) or sym:
        best = [low for low, _ in pads] if all(a == b for a, b in pads) else half
        text = str(best[0]) if len(set(best)) == 1 else str(tuple(best))
        return f"padding={text} gives ceil({shape_text(size)} / stride) = {shape_text(tuple(outs))}"
    flat = tuple(side for pair in reversed(pads) for side in pair)
    return (
        f"nn.ZeroPad{rank}d({flat}) and padding=0 give ceil({shape_text(size)} / stride) = "
        f"{shape_text(tuple(outs))}, as TensorFlow's SAME does"
    )


def kernel_fix(given: dict[str, Any], kernel: Size | None, size: Size) -> str:
    """A window that is larger than the padded input: how much padding, or how small a kernel."""
    rank = len(size)
    if kernel is None:
        if "kernel_size" not in given:
            return ""
        kernel = _each(given["kernel_size"], rank)
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        return ""
    pads, dilation = _each(padding, rank), _each(given.get("dilation", 1), rank)
    extents = [window.effective_kernel(k, d) for k, d in zip(kernel, dilation, strict=True)]
    missing = [e - n - 2 * p for e, n, p in zip(extents, size, pads, strict=True)]
    if max(missing) <= 0:
        return ""
    need = max(p + -(-max(m, 0) // 2) for p, m in zip(pads, missing, strict=True))
    largest = [(n + 2 * p - 1) // d + 1 for n, p, d in zip(size, pads, dilation, strict=True)]
    same = len(set(kernel)) == 1
    fits = f"a kernel of at most {min(largest) if same else shape_text(tuple(largest))}"
    if "kernel_size" in given and need > min(kernel) // 2:  # pooling pads half a kernel at most
        return f"{fits} fits, or a larger input"
    return f"padding={need} or {fits} fits, or a larger input"


def channels_reason(op: Op) -> str:
    """What a convolution was made for and what it got; empty if its channels are right."""
    x, w = op.given["input"].shape, op.given.get("weight")
    rank = OPS[op.name].rank
    if w is None or len(x) not in (rank + 1, rank + 2):
        return ""
    transposed, groups = "transpose" in op.name, op.given["groups"]
    wants = w.shape[0] if transposed else w.shape[1] * groups
    got, out = x[-rank - 1], w.shape[1] * groups if transposed else w.shape[0]
    if wants == got:
        return ""
    return f"{op.name} {wants}->{out} got {_many(got)}: {shape_text(x[-rank - 1 :])}"


def _many(channels: int) -> str:
    return f"{channels} channel{'s' * (channels != 1)}"


def _channels(found: Capture | None, op: Op, wants: int, got: int, layer: str) -> str:
    """Which layer should have which number of channels."""
    rank = OPS[op.name].rank
    kernel = op.given["weight"].shape[2:]
    size = str(kernel[0]) if len(set(kernel)) == 1 else str(tuple(kernel))
    transposed = "transpose" in op.name
    out = op.given["weight"].shape[1 if transposed else 0] * (
        op.given["groups"] if transposed else 1
    )
    x = op.given["input"].shape
    last = f"channels come before the sizes: give {shape_text((wants, *x[-rank - 1 : -1]))}"
    if x[-1] == wants and (found is None or not found.ops):
        return last
    if not layer or found is None:
        return f"give an input of {_many(wants)}, or make the layer for {got} (in_channels={got})"
    name = CLASSES[op.name]
    own = f"change {layer} to nn.{name}({got}, {out}, {size}, …)"
    source = next((found.ops[i] for i in _producers(found, op.given["input"])), None)
    if source is None:
        return f"{own}, or give an input of {_many(wants)}"
    other = f"{source.where} ({source.name}) to give {_many(wants)}"
    return f"{own}, or {other}"


def _producers(found: Capture, array: Array) -> list[int]:
    """The ops that gave an array its channels, the nearest first."""
    source, made = array.source, []
    while source is not None and source >= 0:
        op = found.ops[source]
        if op.name.startswith(("conv", "linear", "cat")):
            made.append(source)
        source = op.inputs[0].source
    return made


def _each(value: Any, rank: int) -> Size:
    if value is None:
        return (1,) * rank
    return tuple(value) if isinstance(value, tuple | list) else (value,) * rank
