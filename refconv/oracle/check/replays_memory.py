"""Mistakes of memory: layouts taken for others, indices that wrap, batches that are cut, results of
earlier calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import torch

from . import answers
from .replays import Change, Found, Replay, either, reading, writing
from .replays_numbers import AXES, ONE
from .scene import GRADIENT, Scene

Tensor = torch.Tensor
CALLED = {GRADIENT: "incoming gradient"}
#: Where counters of a narrower type end.
LIMITS = (2**16, 2**16 - 1, 2**15, 2**15 - 1, 2**24, 2**8)
#: Where blocks end.
SMALL = (4, 8, 16, 32, 64)


def replays(rank: int, names: tuple[str, ...]) -> Iterator[Replay]:
    """The plainest first.

    Args:
        names: of the op's arrays.
    """
    held = (*names, GRADIENT)
    for name in held:
        of = CALLED.get(name, name)
        text = f"with the {of} read as if contiguous in memory (strides ignored)"
        yield reading(text, _dense, name)
    for name in held:
        text = f"with the storage offset of the {CALLED.get(name, name)} ignored"
        yield reading(text, _from_start, name)
    yield from _again(names)
    for name in held:
        of = CALLED.get(name, name)
        text = f"with the {of} read as if channels_last in memory (NCHW read as NHWC)"
        yield reading(text, _from_last, name)
        text = f"with the {of}, channels_last in memory, read as contiguous (NHWC as NCHW)"
        yield reading(text, _to_last, name)
        if rank > 1:
            yield reading(f"with height and width of the {of} exchanged in memory", _turned, name)
    yield writing("with its result written in channels_last order (layout, memory)", _to_last)
    yield writing("with its result's channels_last memory read as contiguous", _from_last)
    if rank > 1:
        yield writing("with its result's height and width exchanged", _turned)
    yield from _placed(rank)
    for replay in (*_counted(held), *_images(held)):
        yield replace(replay, counted=True)


def _dense(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    """What lies in memory from the first element on; zeros where it ends."""
    if t.is_contiguous():
        return None
    room = t.untyped_storage().nbytes() // t.element_size() - t.storage_offset()
    flat = torch.as_strided(t, (min(room, t.numel()),), (1,))
    return torch.cat([flat, flat.new_zeros(t.numel() - flat.numel())]).view(t.shape)


def _from_start(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    return t.as_strided(t.shape, t.stride(), 0) if t.storage_offset() else None


def _spatial(scene: Scene, name: str, t: Tensor) -> bool:
    return t.dim() > 2 and not name.endswith("bias")


def _to_last(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    return t.movedim(1, -1).reshape(t.shape) if _spatial(scene, name, t) else None


def _from_last(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    if not _spatial(scene, name, t):
        return None
    return t.reshape(t.shape[0], *t.shape[2:], t.shape[1]).movedim(-1, 1)


def _turned(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    return t.mT.reshape(t.shape) if t.dim() > 1 else None


def _chosen(rule: Callable[[int], list[int]]) -> Change:
    """Image i is taken from place rule(n)[i]; -1: it is zero."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = scene.axis(name, "batch")
        if axis is None or t.shape[axis] < 2:
            return None
        at = torch.tensor(rule(t.shape[axis]))
        made = t.index_select(axis, at.clamp(min=0))
        return torch.where((at >= 0).view(-1, *(1,) * (t.dim() - axis - 1)), made, 0)

    return change


def _images(held: tuple[str, ...]) -> Iterator[Replay]:
    """Images left out, or taken for others."""
    rules: tuple[tuple[str, str, Callable[[int], list[int]]], ...] = (
        ("every image reads the first one (the batch offset is left out)",
         "every image repeats the first one (the batch offset is left out)", lambda n: [0] * n),
        ("the second half of the batch reads the first half's images",
         "the second half of the batch repeats the first half",
         lambda n: [*range(n // 2), *range(n - n // 2)]),
        ("only the first image of the batch counts", "only the first image of the batch is written",
         lambda n: [0] + [-1] * (n - 1)),
        ("the last image of the batch is left out", "the last image of the batch is zero",
         lambda n: [*range(n - 1), -1]),
        ("the first image of the batch is left out", "the first image of the batch is zero",
         lambda n: [-1, *range(1, n)]),
        ("only the first half of the batch counts", "only the first half of the batch is written",
         lambda n: [i if i < n // 2 else -1 for i in range(n)]),
        ("the last image of an odd batch is left out", "the last image of an odd batch is zero",
         lambda n: [i if i < n // 2 * 2 else -1 for i in range(n)]),
        ("images behind a multiple of 4 are left out", "images behind a multiple of 4 are zero",
         lambda n: [i if i < n // 4 * 4 else -1 for i in range(n)]),
        ("images are read in reverse order", "images are written in reverse order",
         lambda n: list(range(n))[::-1]),
        ("each image reads the next one", "each image is written one place back",
         lambda n: [*range(1, n), 0]),
        ("each image reads the one before", "each image is written one place on",
         lambda n: [n - 1, *range(n - 1)]),
    )  # fmt: skip
    for read, written, rule in rules:
        change = _chosen(rule)
        for name in held:
            if name not in ("weight", "bias"):
                of = "" if name == "input" else f" (of the {CALLED.get(name, name)})"
                yield reading(f"in which {read}{of}", change, name)
        yield writing(f"in which {written}", change)


def _again(names: tuple[str, ...]) -> Iterator[Replay]:
    """What a cache keeps of an earlier call."""
    stale = "(a cache whose key lacks it)"

    def earlier_numbers(scene: Scene) -> Iterator[Found]:
        before = answers.earlier(scene.case)
        if not scene.case.earlier:
            return
        other = before.problem()
        mine = {f.name: getattr(scene.problem, f.name) for f in fields(scene.problem)}
        sizes = ("in_size", "out_size", "blocks", "size")
        old = {n: getattr(other, n) for n in mine if n not in sizes}
        yield scene.due(replace(scene.problem, **old))

    yield Replay(f"with the numbers of the call before {stale}", earlier_numbers)

    def result(scene: Scene) -> Iterator[Found]:
        if not scene.before:
            return
        before = answers.earlier(scene.case)
        dy = scene.dy
        yield {e.name: e for e in answers.due(before, before.problem(), scene.before, None)}
        if dy is not None and before.kwargs == scene.case.kwargs:
            yield scene.due(**scene.before)

    yield Replay(
        "of the arrays of the call before (a stale result: memory that is kept, or never written)",
        result,
    )
    for name in names:
        yield reading(f"with the {name} of the call before {stale}", _old, name)


def _old(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    made = scene.before.get(name)
    return made if made is not None and made.shape == t.shape else None


def _moved(axis: int, by: int, lost: bool = False) -> Change:
    """Everything one place on along a spatial axis, or (0) in reverse order.

    Args:
        lost: what leaves the array is lost, and zero comes in; else it comes in again.
    """

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        if t.dim() <= scene.case.rank or name.endswith("bias") or not t.shape[axis]:
            return None
        made = t.roll(by, axis) if by else t.flip(axis)
        if lost:
            made.select(axis, 0 if by > 0 else -1).zero_()
        return made

    return change


def _shifted(text: str, axis: int, by: int) -> Replay:
    return either(writing(text, _moved(axis, by)), writing(text, _moved(axis, by, True)))


def _channels(by: int) -> Change:
    """Channels one place on, or (0) in reverse order."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = scene.axis(name, "channel")
        if axis is None:
            return None
        return t.roll(by, axis) if by else t.flip(axis)

    return change


def _exchanged(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    return t.transpose(0, 1).reshape(t.shape) if t.dim() > scene.case.rank + 1 else None


def _placed(rank: int) -> Iterator[Replay]:
    """Right values in wrong places."""
    for axis, name in enumerate(AXES[rank], -rank):
        yield writing(f"with its result reversed along {name}", _moved(axis, 0))
        text = f"along {name} (shifted by one {ONE[name]}, off by one)"
        yield _shifted(f"with its result one place further {text}", axis, 1)
        yield _shifted(f"with its result one place back {text}", axis, -1)
    yield writing("with its result's channels one place further", _channels(1))
    yield writing("with its result's channels one place back", _channels(-1))
    yield writing("with its result's channels in reverse order", _channels(0))
    yield writing("with batch and channels of its result exchanged", _exchanged)


def ways() -> Iterator[Replay]:
    """Mistakes of batching rules."""
    yield Replay("folded and unfolded in the wrong order by vmap: (channel, sample)", _folded)
    for name in ("bias", "weight", "input"):
        yield Replay(f"with the first sample's {name} for all samples of vmap", _first_sample(name))


def _folded(scene: Scene) -> Iterator[Found]:
    """vmap: samples and channels folded into one axis, and unfolded the other way."""
    if not scene.case.way.startswith("vmap"):
        return
    y = torch.from_numpy(scene.right["output"].want)
    channel = y.dim() - scene.case.rank - 1
    samples = y.shape[0]
    folded = y.movedim(0, channel).flatten(channel - 1, channel)
    yield {"output": folded.unflatten(channel - 1, (samples, -1)).movedim(channel - 1, 0).numpy()}
    folded = y.movedim(0, channel - 1).flatten(channel - 1, channel)
    yield {"output": folded.unflatten(channel - 1, (-1, samples)).movedim(channel, 0).numpy()}
    if channel > 1:
        folded = y.transpose(0, 1).reshape(y.shape)
        yield {"output": folded.numpy()}
        folded = y.reshape(y.shape[1], y.shape[0], *y.shape[2:]).transpose(0, 1)
        yield {"output": folded.numpy()}


def _first_sample(name: str) -> Callable[[Scene], Iterator[Found]]:
    def run(scene: Scene) -> Iterator[Found]:
        if scene.case.way == f"vmap:{name}":
            want = scene.right["output"].want
            yield {"output": want[:1].repeat(len(want), axis=0)}

    return run


def _at(scene: Scene, name: str, t: Tensor, which: str, limit: int) -> int | None:
    """The axis that is longer than ``limit``: ``batch``, ``channel`` or the last."""
    last = t.dim() - 1 if t.dim() > scene.case.rank and not name.endswith("bias") else None
    axis = last if which == "column" else scene.axis(name, which)
    return None if axis is None or t.shape[axis] <= limit else axis


def _repeats(which: str, limit: int) -> Change:
    """Places from ``limit`` on begin again."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = _at(scene, name, t, which, limit)
        if axis is None:
            return None
        return t.index_select(axis, torch.arange(t.shape[axis]) % limit)

    return change


def _ends(which: str, limit: int) -> Change:
    """Places from ``limit`` on are zero."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = _at(scene, name, t, which, limit)
        if axis is None:
            return None
        kept = torch.arange(t.shape[axis]) < limit
        return torch.where(kept.view(-1, *(1,) * (t.dim() - axis - 1)), t, 0)

    return change


def _wraps(which: str, limit: int) -> Change:
    """Places from ``limit`` on are written over the first ones, and are zero."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        axis = _at(scene, name, t, which, limit)
        if axis is None:
            return None
        made, size = t.clone(), t.shape[axis]
        for start in range(limit, size, limit):
            part = t.narrow(axis, start, min(limit, size - start))
            made.narrow(axis, 0, part.shape[axis]).copy_(part)
        made.narrow(axis, limit, size - limit).zero_()
        return made

    return change


def _flat(limit: int, again: bool) -> Change:
    """The linear index begins again at ``limit``, or ends there."""

    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        if t.numel() <= limit:
            return None
        at = torch.arange(t.numel())
        if again:
            return t.flatten()[at % limit].view(t.shape)
        return torch.where(at.view(t.shape) < limit, t, 0)

    return change


def _counted(held: tuple[str, ...]) -> Iterator[Replay]:
    """Counters of too few bits, grids that end."""
    kinds = (("batch", "images"), ("channel", "channels"), ("column", "columns"))
    for limit in (*LIMITS, *SMALL):
        for which, many in kinds:
            text = f"whose {many} from {limit} on"
            bits = " (counted in too few bits, overflow)" if limit > SMALL[-1] else ""
            yield writing(f"{text} repeat the first ones{bits}", _repeats(which, limit))
            yield writing(f"{text} are zero{bits}", _ends(which, limit))
            yield writing(f"{text} are zero, and the first ones wrong{bits}", _wraps(which, limit))
            yield reading(f"{text} are read as zero{bits}", _ends(which, limit), "input")
            yield reading(
                f"{text} are read as the first ones{bits}", _repeats(which, limit), "input"
            )
    for limit in LIMITS:
        word = f"wraps at {limit} (an overflow of a narrow integer)"
        for name in held:
            text = f"with a linear index into the {CALLED.get(name, name)} that {word}"
            yield reading(text, _flat(limit, True), name)
        yield writing(f"with a linear index into its result that {word}", _flat(limit, True))
        yield writing(f"whose results from element {limit} on are zero", _flat(limit, False))
