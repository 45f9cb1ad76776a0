"""Mistakes of memory: layouts taken for others, indices that wrap, batches that are cut, results of
earlier calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from math import prod
from typing import Any

import torch

from . import answers
from .replays import GRADIENT, Found, Replay, Scene, reading, writing
from .replays_numbers import AXES

Tensor = torch.Tensor
CALLED = {GRADIENT: "incoming gradient"}
#: Where counters of a narrower type end.
LIMITS = (2**8, 2**15, 2**16 - 1, 2**16, 2**24)


def replays(rank: int, names: tuple[str, ...]) -> Iterator[Replay]:
    """The plainest first.

    Args:
        names: of the op's arrays.
    """
    held = (*names, GRADIENT)
    for name in held:
        called = CALLED.get(name, name)
        yield reading(
            f"with the {called}'s memory read as if it were contiguous (its strides ignored)",
            _dense, name,
        )  # fmt: skip
    yield from _again(names)
    yield from _images(held)
    for name in held:
        called = CALLED.get(name, name)
        yield reading(
            f"with the {called} (channels first) read as channels_last, NHWC as NCHW in memory",
            _to_last, name,
        )  # fmt: skip
        yield reading(
            f"with the {called} read as if channels_last were contiguous (NCHW read as NHWC)",
            _from_last, name,
        )  # fmt: skip
        if rank > 1:
            yield reading(
                f"with height and width of the {called} exchanged in memory", _turned, name
            )
    yield writing("with its result written in channels_last order (layout, memory)", _to_last)
    yield writing("with its result's channels_last memory read as contiguous", _from_last)
    if rank > 1:
        yield writing("with its result's height and width exchanged", _turned)
    yield from _placed(rank)
    yield from _counted(held)


def _dense(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    """What lies in memory from the first element on; zeros where it ends."""
    if t.is_contiguous():
        return None
    room = t.untyped_storage().nbytes() // t.element_size() - t.storage_offset()
    flat = torch.as_strided(t, (min(room, t.numel()),), (1,))
    return torch.cat([flat, flat.new_zeros(t.numel() - flat.numel())]).view(t.shape)


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


def _images(held: tuple[str, ...]) -> Iterator[Replay]:
    """Images left out, or taken for others."""

    def chosen(rule: Callable[[int], list[int]]) -> Any:
        """Image i is taken from place rule(n)[i]; -1: it is zero."""

        def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
            axis = scene.axis(name, "batch")
            if axis is None or t.shape[axis] < 2 or (name == "weight"):
                return None
            at = torch.tensor(rule(t.shape[axis]))
            made = t.index_select(axis, at.clamp(min=0))
            return torch.where((at >= 0).view(-1, *(1,) * (t.dim() - axis - 1)), made, 0)

        return change

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
        change = chosen(rule)
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

        def old(scene: Scene, _: str, t: Tensor, name: str = name) -> Tensor | None:
            made = scene.before.get(name)
            return made if made is not None and made.shape == t.shape else None

        yield reading(f"with the {name} of the call before {stale}", old, name)


def _placed(rank: int) -> Iterator[Replay]:
    """Right values in wrong places."""
    for a, name in enumerate(AXES[rank]):
        at = a - rank

        def ok(t: Tensor, n: str) -> bool:
            return t.dim() > rank and not n.endswith("bias")

        yield writing(
            f"with its result reversed along {name}",
            lambda s, n, t, at=at, ok=ok: t.flip(at) if ok(t, n) else None,
        )
        for by, word in ((1, "on"), (-1, "back")):
            yield writing(
                f"with its result shifted one place {word} along {name} (offset by one)",
                lambda s, n, t, at=at, by=by, ok=ok: t.roll(by, at) if ok(t, n) else None,
            )
    for by, word in ((1, "on"), (-1, "back")):
        yield writing(
            f"with its result's channels one place {word}",
            lambda s, n, t, by=by: (
                t.roll(by, a) if (a := s.axis(n, "channel")) is not None else None
            ),
        )
    yield writing(
        "with its result's channels in reverse order",
        lambda s, n, t: t.flip(a) if (a := s.axis(n, "channel")) is not None else None,
    )
    yield writing(
        "with batch and channels of its result exchanged",
        lambda s, n, t: t.transpose(0, 1).reshape(t.shape) if t.dim() > rank + 1 else None,
    )
    yield Replay("folded and unfolded in the wrong order: (channel, sample)", _folded)
    yield Replay("of the first sample for all samples of vmap", _first_sample)


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


def _first_sample(scene: Scene) -> Iterator[Found]:
    if scene.case.way.startswith("vmap"):
        want = scene.right["output"].want
        yield {"output": want[:1].repeat(len(want), axis=0)}


def _counted(held: tuple[str, ...]) -> Iterator[Replay]:
    """Counters of too few bits."""
    for limit in LIMITS:

        def wrapped(scene: Scene, name: str, t: Tensor, limit: int = limit) -> Tensor | None:
            if t.numel() <= limit:
                return None
            return t.flatten()[torch.arange(t.numel()) % limit].view(t.shape)

        word = f"wraps at {limit} (an overflow of a narrow integer)"
        for name in held:
            called = CALLED.get(name, name)
            yield reading(f"with a linear index into the {called} that {word}", wrapped, name)
        for which in ("channel", "batch"):
            kinds = {"channel": "output channels", "batch": "images"}

            def wraps(
                scene: Scene, name: str, t: Tensor, limit: int = limit, which: str = which
            ) -> Tensor | None:
                axis = scene.axis(name, which)
                if axis is None or t.shape[axis] <= limit:
                    return None
                size = t.shape[axis]
                made = t.clone()
                for start in range(limit, size, limit):
                    part = t.narrow(axis, start, min(limit, size - start))
                    made.narrow(axis, 0, part.shape[axis]).copy_(part)
                made.narrow(axis, limit, size - limit).zero_()
                return made

            def repeats(
                scene: Scene, name: str, t: Tensor, limit: int = limit, which: str = which
            ) -> Tensor | None:
                axis = scene.axis(name, which)
                if axis is None or t.shape[axis] <= limit:
                    return None
                return t.index_select(axis, torch.arange(t.shape[axis]) % limit)

            def ends(
                scene: Scene, name: str, t: Tensor, limit: int = limit, which: str = which
            ) -> Tensor | None:
                axis = scene.axis(name, which)
                if axis is None or t.shape[axis] <= limit:
                    return None
                kept = torch.arange(t.shape[axis]) < limit
                return torch.where(kept.view(-1, *(1,) * (t.dim() - axis - 1)), t, 0)

            text = f"whose {kinds[which]} are counted modulo {limit}"
            yield writing(f"{text} (16 bits or fewer: the others are zero, the first wrong)", wraps)
            yield writing(f"{text} (those from {limit} on repeat the first)", repeats)
            yield writing(f"of {limit} {kinds[which]} only: from {limit} on zero", ends)
        yield writing(
            f"whose results behind element {limit} are zero",
            lambda s, n, t, limit=limit: (
                torch.where(torch.arange(t.numel()).view(t.shape) < limit, t, 0)
                if t.numel() > limit
                else None
            ),
        )
        yield writing(
            f"with a linear index into its result that {word}",
            lambda s, n, t, limit=limit: (
                t.flatten()[torch.arange(t.numel()) % limit].view(t.shape)
                if t.numel() > limit
                else None
            ),
        )


def cells(shape: tuple[int, ...]) -> int:
    """Elements of an array."""
    return prod(shape)
