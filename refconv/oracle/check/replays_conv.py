"""Mistakes of convolutions: kernel, bias, padding, gradients, and the tail of a transposed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch.nn import functional as F

from ... import window
from .replays import Change, Found, Replay, pulled, reading, writing
from .replays_channels import first_only
from .replays_numbers import AXES, get
from .scene import GRADIENT, Scene

Tensor = torch.Tensor
Alone = Callable[[Scene, Tensor], Tensor | None]


def replays(rank: int, transposed: bool) -> Iterator[Replay]:
    """The plainest first."""
    yield from _kernel(rank)
    yield from _bias(rank)
    yield from _padding()
    yield from _gradients(rank)
    if transposed:
        yield from _transposed()


def _of(change: Alone) -> Change:
    """A change that does not ask which array it is given."""
    return lambda scene, name, t: change(scene, t)


def _kernel(rank: int) -> Iterator[Replay]:
    def weight(text: str, change: Alone) -> Replay:
        return reading(text, _of(change), "weight")

    every = tuple(range(2, 2 + rank))
    yield weight("with the kernel flipped (turned round)", lambda s, w: w.flip(every))
    if rank > 1:
        yield weight(
            "with the kernel's height and width exchanged (the kernel transposed)",
            lambda s, w: w.mT if w.shape[-1] == w.shape[-2] else None,
        )
        yield weight(
            "with the kernel's height and width exchanged in memory",
            lambda s, w: w.reshape(*w.shape[:-2], w.shape[-1], w.shape[-2]).mT,
        )
        yield weight(
            "with the kernel's axes in reverse order",
            lambda s, w: w.permute(0, 1, *reversed(every)).reshape(w.shape),
        )
    for a, name in enumerate(AXES[rank] if rank > 1 else ()):
        yield weight(f"with the kernel flipped along {name}", _flip(2 + a))
    yield weight(
        "with the weight's input and output channels exchanged",
        lambda s, w: w.transpose(0, 1).reshape(w.shape),
    )
    yield weight(
        "with the weight's memory read as (in, out, …)",
        lambda s, w: w.reshape(w.shape[1], w.shape[0], *w.shape[2:]).transpose(0, 1),
    )


def _flip(axis: int) -> Alone:
    return lambda s, w: w.flip(axis)


def _bias(rank: int) -> Iterator[Replay]:
    def bias(text: str, change: Alone) -> Replay:
        return reading(text, _of(change), "bias")

    yield bias("without its bias", lambda s, b: b * 0)
    yield bias("with its bias added twice", lambda s, b: b * 2)
    yield bias("with its bias subtracted", lambda s, b: -b)
    yield bias("with its bias added once a group", lambda s, b: b * s.problem.groups)
    yield bias("with its bias added once a tap", lambda s, b: b * prod(s.problem.kernel))
    yield bias(
        "with its bias added once an input channel",
        lambda s, b: b * (s.problem.in_channels // s.problem.groups),
    )
    yield bias("with its bias added once an image", lambda s, b: b * (s.problem.batch or 1))
    yield bias("with the bias of the next channel", lambda s, b: b.roll(-1))
    yield bias("with the bias of the channel before", lambda s, b: b.roll(1))
    yield bias("with the first channel's bias for all channels", lambda s, b: b[:1].expand_as(b))
    yield bias("with its bias in reverse order", lambda s, b: b.flip(0))
    yield bias(
        "with the bias of the first group in every group",
        lambda s, b: b[: len(b) // s.problem.groups].repeat(s.problem.groups),
    )
    for text, kept in (
        ("the first image only", lambda i, n: i == 0),
        ("the last image only", lambda i, n: i == n - 1),
        ("the first half of the images only", lambda i, n: i < (n + 1) // 2),
        ("all images but the last", lambda i, n: i < n - 1),
    ):
        yield writing(f"with its bias added to {text}", _biased(kept), "output")
    yield writing("with its bias dealt to images instead of channels", _dealt_bias(None), "output")
    for axis in range(-1, -rank - 1, -1):
        text = f"with its bias dealt along {AXES[rank][axis]} instead of channels"
        yield writing(text, _dealt_bias(axis), "output")


def _biased(kept: Callable[[Tensor, int], Tensor]) -> Change:
    """The output with the bias in some images only."""

    def change(scene: Scene, name: str, y: Tensor) -> Tensor | None:
        b, n = scene.arrays.get("bias"), scene.problem.batch
        if b is None or n is None or n < 2:
            return None
        spread = b.to(y.dtype).view(-1, *(1,) * scene.case.rank)
        return y - spread * ~kept(torch.arange(n), n).view(-1, *(1,) * (y.dim() - 1))

    return change


def _dealt_bias(axis: int | None) -> Change:
    """The bias's numbers dealt to the places of a spatial axis, or (None) to images."""

    def change(scene: Scene, name: str, y: Tensor) -> Tensor | None:
        b = scene.arrays.get("bias")
        at = axis if axis is not None else scene.axis(name, "batch")
        if b is None or at is None:
            return None
        spread, at = b.to(y.dtype), at % y.dim()
        dealt = spread[torch.arange(y.shape[at]) % len(b)].view(-1, *(1,) * (y.dim() - at - 1))
        return y - spread.view(-1, *(1,) * scene.case.rank) + dealt

    return change


def _padding() -> Iterator[Replay]:
    """Cells of the padding that are read as something else than 0."""
    for text, fill in (
        ("with the border's cells in its padding (clamped, replicate)", _fill("replicate")),
        ("that multiplies the zeros of its padding (0 * inf is NaN: special values)",
         _fill("constant")),
        ("with reflected cells in its padding", _fill("reflect")),
        ("with the other side's cells in its padding (circular, wrapped)", _fill("circular")),
        ("that reads the neighbouring row in its padding (an unchecked linear offset, at the "
         "border)", _neighbour(False)),
        ("that reads the neighbouring row or plane in its padding (an unchecked linear offset, at "
         "the border)", _neighbour(True)),
    ):  # fmt: skip
        yield Replay(text, _padded(fill))


Fill = Callable[[Tensor, list[tuple[int, int]]], Tensor | None]


def _fill(mode: str) -> Fill:
    def fill(x: Tensor, sides: list[tuple[int, int]]) -> Tensor | None:
        rank = len(sides)
        flat = [n for side in reversed(sides) for n in side]
        planes = x.reshape(-1, 1, *x.shape[-rank:])
        made = F.pad(planes, flat, mode=mode)
        return made.reshape(*x.shape[:-rank], *made.shape[2:])

    return fill


def _neighbour(everywhere: bool) -> Fill:
    """Rows are padded with what lies beside them in a plane, or in all memory; other axes with
    zeros.
    """

    def fill(x: Tensor, sides: list[tuple[int, int]]) -> Tensor | None:
        low, high = sides[-1]
        if low + high == 0:
            return None
        size = x.shape[-1]
        planes = x.reshape(1, -1) if everywhere else x.flatten(-len(sides)).flatten(0, -2)
        rows = torch.arange(planes.shape[1] // size)[:, None] * size
        at = (rows + torch.arange(-low, size + high)).clamp(0, planes.shape[1] - 1)
        wide = planes[:, at].reshape(*x.shape[:-1], size + low + high)
        return F.pad(wide, [0, 0, *(n for side in reversed(sides[:-1]) for n in side)])

    return fill


def _padded(fill: Fill) -> Callable[[Scene], Iterator[Found]]:
    """A convolution without padding over an input that is padded before."""

    def run(scene: Scene) -> Iterator[Found]:
        p, rank = scene.problem, scene.case.rank
        if p.transposed or not scene.simple or not any(lo + hi for lo, hi in p.padding):
            return

        def wide(s: Scene, name: str, t: Tensor) -> Tensor | None:
            return fill(t, list(p.padding))

        narrow = scene.arrays["input"].double()
        x = fill(narrow, list(p.padding))
        if x is None:
            return
        other = replace(p, in_size=tuple(x.shape[-rank:]), padding=((0, 0),) * rank)
        found = scene.due(other, input=x)
        back = found.pop("grad_input", None)
        yield found
        if back is not None and "grad_input" in scene.wrong:
            yield {"grad_input": pulled(scene, wide, "input", narrow, back)}

    return run


_BORDER = "without the windows that reach into the padding (the border)"


def _inner(axes: set[int]) -> Change:
    """Only what belongs to windows that lie in the input, on some axes."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        p = scene.problem
        if p.transposed or not scene.simple:
            return None
        for a in axes:
            taps = window.taps_per_output(
                np.arange(t.shape[a]), p.in_size[a], p.kernel[a], p.stride[a], p.padding[a][0],
                p.dilation[a],
            )  # fmt: skip
            inside = torch.from_numpy(taps == p.kernel[a])
            t = torch.where(inside.view(-1, *(1,) * (-a - 1)), t, 0)
        return t

    return change


def _gradients(rank: int) -> Iterator[Replay]:
    """Gradients that leave something out."""
    text = "of which only the first channel is written (the others are zero)"
    yield writing(text, _one_channel, "output", "grad_input")
    yield writing(
        "of the flipped kernel", lambda s, n, t: t.flip(tuple(range(2, t.dim()))), "grad_weight"
    )
    yield writing(
        "with height and width of the kernel exchanged",
        lambda s, n, t: t.mT.reshape(t.shape) if t.dim() > 3 else None, "grad_weight",
    )  # fmt: skip
    yield writing(
        "with the gradient of the mean over the images",
        lambda s, n, t: t / (s.problem.batch or 1), "grad_weight", "grad_bias",
    )  # fmt: skip
    yield writing(
        "with its input and output channels exchanged",
        lambda s, n, t: t.transpose(0, 1) if t.shape[0] == t.shape[1] else None, "grad_weight",
    )  # fmt: skip
    for axes in ({a} for a in range(-rank, 0)) if rank > 1 else ():
        where = f" along {AXES[rank][min(axes)]}"
        yield reading(f"{_BORDER}{where}", _inner(axes), GRADIENT)
    yield reading(_BORDER, _inner(set(range(-rank, 0))), GRADIENT)
    yield Replay(
        "that counts cells which the stride skips (the stride is larger than the kernel)", _skipped
    )


def _one_channel(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    axis = scene.axis(name, "channel")
    return None if axis is None else t * first_only(t, axis)


def _skipped(scene: Scene) -> Iterator[Found]:
    """A weight gradient whose last tap also takes the first cell behind it that no window reads."""
    p = scene.problem
    if "grad_weight" not in scene.wrong or not scene.simple or scene.dy is None or p.transposed:
        return
    plain, want = scene.right["grad_weight"], scene.right["grad_weight"].want.copy()
    for a in range(p.rank):
        if p.stride[a] <= p.dilation[a] * (p.kernel[a] - 1) + 1:
            continue
        low = tuple((lo - (b == a), hi) for b, (lo, hi) in enumerate(p.padding))
        moved = scene.due(replace(p, padding=low))["grad_weight"]
        at = (*(slice(None),) * (2 + a), slice(-1, None))
        want[at] += moved.want[at]
    yield {"grad_weight": replace(plain, want=want)}


def _transposed() -> Iterator[Replay]:
    """The tail that output_padding adds; the gaps that the stride leaves."""
    tail = "in the cells that output_padding adds (the tail is not computed)"
    yield writing(f"with only the bias {tail}", _tail(True), "output")
    yield writing(f"with zero {tail}", _tail(False), "output", "grad_input")
    text = "without its bias where no tap reaches (in the gaps of a stride above the kernel)"
    yield writing(text, _gaps, "output")


def _tail(biased: bool) -> Change:
    def change(scene: Scene, name: str, y: Tensor) -> Tensor | None:
        more, rank = get(scene.problem, "output_padding"), scene.case.rank
        if not any(more):
            return None
        cells = torch.zeros(y.shape[-rank:], dtype=torch.bool)
        for a, n in enumerate(more):
            last = torch.arange(cells.shape[a]) >= cells.shape[a] - n
            cells |= last.view(-1, *(1,) * (rank - a - 1))
        return torch.where(cells, _floor(scene, y, biased), y)

    return change


def _gaps(scene: Scene, name: str, y: Tensor) -> Tensor | None:
    if "bias" not in scene.arrays:
        return None
    ones = {n: torch.full_like(a, n != "bias") for n, a in scene.arrays.items()}
    return y * torch.from_numpy(scene.due(**ones)["output"].want != 0)


def _floor(scene: Scene, y: Tensor, biased: bool) -> Tensor:
    """What an output holds that nothing was added to."""
    b = scene.arrays.get("bias")
    if b is None or not biased:
        return y * 0
    return b.to(y.dtype).view(-1, *(1,) * scene.case.rank).expand_as(y)
