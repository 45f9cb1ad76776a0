"""Mistakes of convolutions: groups, channels left out, taps left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

import torch

from .. import reference
from . import answers
from .replays import Change, Found, Replay, pulled, reading, writing
from .replays_numbers import AXES
from .scene import GRADIENT, Scene

Tensor = torch.Tensor
#: Widths of vectors and blocks that a tail may fall behind.
BLOCKS = (64, 32, 16, 8, 4, 2)
#: Counts at which indices and loops end.
ENDS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 255, 256, 512, 65535, 65536)
RESULTS = ("output", "grad_input", "grad_weight", "grad_bias")


def replays(rank: int) -> Iterator[Replay]:
    """The plainest first."""
    yield from _groups()
    yield from _channels()
    yield from _taps(rank)


def ways() -> Iterator[Replay]:
    """Mistakes of second derivatives."""
    yield Replay(
        "whose second derivatives take group 0's cotangent for every group (groups forgotten in "
        "double backward)",
        _second_without_groups,
    )


def _group_axis(scene: Scene, name: str, t: Tensor) -> int | None:
    """The axis along which groups lie; None without groups."""
    axis = 0 if name in ("weight", "grad_weight") else scene.axis(name, "channel")
    g = scene.problem.groups
    return None if g < 2 or axis is None or t.shape[axis] % g else axis


def _grouped(change: Callable[[Tensor, int], Tensor]) -> Change:
    """A change of an array whose channels are (group, channel), on two axes."""

    def changed(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = _group_axis(scene, name, t)
        if axis is None:
            return None
        return change(t.unflatten(axis, (scene.problem.groups, -1)), axis).reshape(t.shape)

    return changed


def _dealt(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    """Channel (channel, group) in the place of (group, channel)."""
    axis = _group_axis(scene, name, t)
    if axis is None:
        return None
    parts = t.unflatten(axis, (-1, scene.problem.groups))
    return parts.transpose(axis, axis + 1).flatten(axis, axis + 1)


def _rolled(by: int) -> Change:
    return _grouped(lambda t, a: t.roll(by, a))


_FIRST = _grouped(lambda t, a: t.narrow(a, 0, 1).expand_as(t))
_LAST = _grouped(lambda t, a: t.narrow(a, t.shape[a] - 1, 1).expand_as(t))
_STORED = _grouped(lambda t, a: t.transpose(a, a + 1).flatten(a, a + 1))
_TURNED = _grouped(lambda t, a: t.flip(a))
_ALONE = _grouped(lambda t, a: t * first_only(t, a))
_SUMMED = _grouped(lambda t, a: t.sum(a, keepdim=True).expand_as(t))


def _groups() -> Iterator[Replay]:
    """Channels dealt to groups in another way: of what is read, of what is written."""
    held = (("input", "input"), (GRADIENT, "incoming gradient"), ("weight", "weight"))
    for name, of in held:
        yield reading(f"in which every group reads group 0's channels of the {of}", _FIRST, name)
    for name, of in held:
        order = f"whose groups take the {of}'s channels in the order (channel, group) instead of "
        yield reading(f"{order}(group, channel)", _dealt, name)
        yield reading(f"whose groups read the {of} as if groups were interleaved", _STORED, name)
        yield reading(f"in which every group reads the last group's {of}", _LAST, name)
        yield reading(f"in which every group reads the {of} of the next group", _rolled(-1), name)
        yield reading(f"in which every group reads the {of} of the group before", _rolled(1), name)
        yield reading(f"with the {of}'s groups in reverse order", _TURNED, name)
    order = "whose groups' channels are stored in the order (channel, group) (channels shuffled)"
    yield writing(order, _STORED, *RESULTS)
    yield writing("whose groups' channels are stored as if they were interleaved", _dealt, *RESULTS)
    yield writing("with its groups stored in reverse order", _TURNED, *RESULTS)
    yield writing("with its groups stored one group further on", _rolled(1), *RESULTS)
    yield writing("with its groups stored one group further back", _rolled(-1), *RESULTS)
    yield writing("in which every group gives group 0's channels", _FIRST, *RESULTS)
    yield writing("in which every group gives the last group's channels", _LAST, *RESULTS)
    yield writing("in which only group 0 is computed (the others are zero)", _ALONE, *RESULTS)
    yield writing("with each group's gradient the sum over all groups", _SUMMED, *RESULTS[1:])
    yield Replay("in which every group sums over all channels (groups ignored)", _all_groups)
    yield Replay(
        "whose depthwise filter o meets input channel o mod C, not o // multiplier", _multiplier
    )


def first_only(t: Tensor, axis: int) -> Tensor:
    """1 in the first place of an axis, else 0."""
    at = torch.arange(t.shape[axis]) == 0
    return at.view(-1, *(1,) * (t.dim() - axis - 1)).to(t.dtype)


def _second_without_groups(scene: Scene) -> Iterator[Found]:
    """The cotangent of a weight or input is group 0's for every group."""
    way, _, name = scene.case.way.partition(":")
    if way != "double" or name == "bias" or scene.problem.groups < 2 or scene.dy is None:
        return
    v = answers.tangent(scene.case, name)
    wrong = _FIRST(scene, name, v)
    if wrong is None:
        return
    linear = replace(scene.problem, bias=False)
    arrays = {n: a for n, a in {**scene.arrays, name: wrong}.items() if n != "bias"}
    yield {"grad_grad_output": reference.forward(linear, arrays)[0]}
    yield {f"grad_{e.name}": e for e in reference.backward(linear, arrays, scene.dy)}


def _all_groups(scene: Scene) -> Iterator[Found]:
    """The sum over all of the input's channels, with each group's weights repeated."""
    p = scene.problem
    if p.groups < 2 or not scene.simple or p.transposed:
        return
    wide = scene.arrays["weight"].repeat(1, p.groups, *(1,) * p.rank)
    made = reference.forward(replace(p, groups=1), {**scene.arrays, "weight": wide})
    yield {"output": made[0]}


def _multiplier(scene: Scene) -> Iterator[Found]:
    """Depthwise with several filters a channel: every filter is a group of its own."""
    p, axis = scene.problem, scene.axis("input", "channel")
    times = p.out_channels // max(p.in_channels, 1)
    if not 1 < p.groups == p.in_channels or times < 2 or not scene.simple or p.transposed:
        return

    def wide(s: Scene, name: str, t: Tensor) -> Tensor:
        return torch.cat([t] * times, axis or 0)

    x = scene.arrays["input"]
    other = replace(p, in_channels=p.out_channels, groups=p.out_channels)
    found = scene.due(other, input=wide(scene, "input", x))
    narrow = found.pop("grad_input", None)
    yield found
    if narrow is not None and "grad_input" in scene.wrong:
        yield {"grad_input": pulled(scene, wide, "input", x, narrow)}


def _kept(count: Callable[[int], int], grouped: bool) -> Change:
    """Only so many channels of each group, or of all, the others 0."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = scene.axis(name, "channel")
        if axis is None:
            return None
        parts = t.unflatten(axis, (scene.problem.groups if grouped else 1, -1))
        size = parts.shape[axis + 1]
        mask = (torch.arange(size) < count(size)).view(-1, *(1,) * (parts.dim() - axis - 2))
        return torch.where(mask, parts, 0).flatten(axis, axis + 1)

    return change


def _whole(block: int) -> Callable[[int], int]:
    """The part of a size that fills blocks."""
    return lambda size: size // block * block


def _end(count: int) -> Callable[[int], int]:
    return lambda size: count


def _modulo(count: int) -> Callable[[int], int]:
    return lambda size: size % count


def _backwards(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    axis = scene.axis(name, "channel")
    return None if axis is None else t.flip(axis)


def _channels() -> Iterator[Replay]:
    """Channels behind the last full block left out, or all behind a count."""
    for m in BLOCKS:
        text = f"without the last input channels, behind a multiple of {m} (the tail block)"
        yield reading(text, _kept(_whole(m), True), "input")
    for m in BLOCKS:
        text = f"without the last channels, behind a multiple of {m} (the tail block is zero)"
        yield writing(text, _kept(_whole(m), False))
    yield reading("with its input channels in reverse order", _backwards, "input")
    yield reading("without the last input channel", _kept(lambda size: size - 1, True), "input")
    for m in ENDS:
        yield reading(f"of {m} input channels only", _kept(_end(m), True), "input")
        yield writing(f"of which {m} channels only are written", _kept(_end(m), False))
    for m in (256, 65536):
        text = f"with its input channels counted modulo {m} (overflow)"
        yield reading(text, _kept(_modulo(m), True), "input")

    def quiet(scene: Scene, name: str, w: Tensor) -> Tensor:
        axis = 1 if scene.problem.transposed else 0
        size = w.abs().amax([a for a in range(w.dim()) if a != axis], keepdim=True)
        return torch.where(size >= 1e-2 * size.max(), w, 0)

    text = "without its quiet channels (small weights are taken as zero, pruned or skipped)"
    yield reading(text, quiet, "weight")


def _left(rule: Callable[[Tensor, int], Tensor], axis: int, flat: bool = False) -> Change:
    """Weights along an axis, or from it on in a row, of which ``rule(place, size)`` is true."""

    def change(scene: Scene, name: str, w: Tensor) -> Tensor:
        shape = w.shape[axis:] if flat else (w.shape[axis], *(1,) * (w.dim() - axis - 1))
        size = prod(shape)
        return torch.where(rule(torch.arange(size).view(shape), size), w, 0)

    return change


def _below(count: Callable[[int], int]) -> Callable[[Tensor, int], Tensor]:
    return lambda place, size: place < count(size)


def _folded(axis: int) -> Change:
    """Tap k of an axis counts in place k mod 256."""

    def change(scene: Scene, name: str, w: Tensor) -> Tensor | None:
        if w.shape[axis] <= 256:
            return None
        places = torch.arange(w.shape[axis]) % 256
        return torch.zeros_like(w).index_add(axis, places, w)

    return change


def _taps(rank: int) -> Iterator[Replay]:
    """Taps of the kernel left out."""

    def tap(text: str, rule: Callable[[Tensor, int], Tensor], axis: int, flat: bool) -> Replay:
        return reading(text, _left(rule, axis, flat), "weight")

    last, first = _below(lambda n: n - 1), lambda i, n: i > 0
    yield tap("without the last tap of the kernel (of the last input channel)", last, 1, True)
    yield tap("without the last tap of the kernel", last, 2, True)
    yield tap("without the first tap of the kernel", first, 2, True)
    yield tap("without the first tap of the kernel (of the first input channel)", first, 1, True)
    for axis, name in enumerate(AXES[rank], 2):
        yield tap(f"without the kernel's last place along {name}", last, axis, False)
        yield tap(f"without the kernel's first place along {name}", first, axis, False)
        for m in (255, 256, 512):
            text = f"with the kernel's extent along {name} cut at {m} taps"
            yield tap(text, _below(_end(m)), axis, False)
        text = f"with the kernel's extent along {name} modulo 256 (taps counted in 8 bits)"
        yield tap(text, _below(_modulo(256)), axis, False)
        text = f"whose tap k along {name} reads where tap k mod 256 does (taps wrap in 8 bits)"
        yield reading(text, _folded(axis), "weight")
        for m in BLOCKS[2:]:
            text = f"without the kernel's last taps along {name}, behind a multiple of {m} (a tail)"
            yield tap(text, _below(_whole(m)), axis, False)
    for m in BLOCKS:
        text = f"without the last terms of each sum, behind a multiple of {m} (channels x taps)"
        yield tap(text, _below(_whole(m)), 1, True)
