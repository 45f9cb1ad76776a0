"""Mistakes of convolutions: kernel, groups, channels, bias, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch.nn import functional as F

from .replays import GRADIENT, Found, Replay, Scene, numbers, pulled, reading, writing
from .replays_numbers import AXES, get

Tensor = torch.Tensor
#: Widths of vectors and blocks that a tail may fall behind.
BLOCKS = (2, 4, 8, 16, 32, 64)
#: Counts at which indices and loops end.
ENDS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 255, 256, 512, 65535, 65536)


def replays(rank: int, transposed: bool) -> Iterator[Replay]:
    """The plainest first."""
    yield from _kernel(rank)
    yield from _bias()
    yield from _groups()
    yield from _padding(rank)
    yield from _gradients()
    if transposed:
        yield from _transposed(rank)
    yield from _channels()
    yield from _taps(rank)


def _of(change: Callable[[Scene, Tensor], Tensor | None]) -> Any:
    """A change that does not ask which array it is given."""
    return lambda scene, name, t: change(scene, t)


def _kernel(rank: int) -> Iterator[Replay]:
    def weight(text: str, change: Callable[[Scene, Tensor], Tensor | None]) -> Replay:
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
        yield weight(f"with the kernel flipped along {name}", lambda s, w, a=a: w.flip(2 + a))
    yield weight(
        "with the weight's input and output channels exchanged",
        lambda s, w: w.transpose(0, 1).reshape(w.shape),
    )
    yield weight(
        "with the weight's memory read as (in, out, …)",
        lambda s, w: w.reshape(w.shape[1], w.shape[0], *w.shape[2:]).transpose(0, 1),
    )


def _bias() -> Iterator[Replay]:
    def bias(text: str, change: Callable[[Scene, Tensor], Tensor | None]) -> Replay:
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
        ("the first image only", lambda n: torch.arange(n) == 0),
        ("the last image only", lambda n: torch.arange(n) == n - 1),
        ("the first half of the images only", lambda n: torch.arange(n) < (n + 1) // 2),
        ("all images but the last", lambda n: torch.arange(n) < n - 1),
    ):
        yield writing(
            f"with its bias added to {text}", lambda s, n, t, kept=kept: _biased(s, t, kept), "output"
        )
    yield writing("with the bias of each image in turn", _bias_by_image, "output")


def _biased(scene: Scene, y: Tensor, kept: Callable[[int], Tensor]) -> Tensor | None:
    """The output with the bias in some images only."""
    b, n = scene.arrays.get("bias"), scene.problem.batch
    if b is None or n is None or n < 2:
        return None
    spread = b.to(y.dtype).view(-1, *(1,) * scene.case.rank)
    missing = ~kept(n).view(-1, *(1,) * (y.dim() - 1))
    return y - spread * missing


def _bias_by_image(scene: Scene, name: str, y: Tensor) -> Tensor | None:
    """The bias's numbers dealt to images instead of channels."""
    b, n = scene.arrays.get("bias"), scene.problem.batch
    if b is None or n is None:
        return None
    spread = b.to(y.dtype)
    image = spread[torch.arange(n) % len(b)].view(-1, *(1,) * (y.dim() - 1))
    return y - spread.view(-1, *(1,) * scene.case.rank) + image


def _groups() -> Iterator[Replay]:
    """Channels dealt to groups in another way: of what is read, of what is written."""

    def split(scene: Scene, name: str, t: Tensor) -> tuple[Tensor, int] | None:
        g = scene.problem.groups
        axis = 0 if name in ("weight", "grad_weight") else scene.axis(name, "channel")
        if g < 2 or axis is None or t.shape[axis] % g:
            return None
        return t.unflatten(axis, (g, -1)), axis

    def grouped(change: Callable[[Tensor, int], Tensor]) -> Any:
        def changed(scene: Scene, name: str, t: Tensor) -> Tensor | None:
            made = split(scene, name, t)
            return None if made is None else change(*made).reshape(t.shape)

        return changed

    first = grouped(lambda t, a: t.narrow(a, 0, 1).expand_as(t))
    last = grouped(lambda t, a: t.narrow(a, t.shape[a] - 1, 1).expand_as(t))

    def dealt(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        g = scene.problem.groups
        axis = 0 if name in ("weight", "grad_weight") else scene.axis(name, "channel")
        if g < 2 or axis is None or t.shape[axis] % g:
            return None
        return t.unflatten(axis, (-1, g)).transpose(axis, axis + 1).flatten(axis, axis + 1)

    stored = grouped(lambda t, a: t.transpose(a, a + 1).flatten(a, a + 1))
    held = (("input", "input"), (GRADIENT, "incoming gradient"), ("weight", "weight"))
    for name, called in held:
        yield reading(f"in which every group reads group 0's channels of the {called}", first, name)
    for name, called in held:
        yield reading(
            f"whose groups take the {called}'s channels in turn, (channel, group) instead of "
            "(group, channel)", dealt, name,
        )  # fmt: skip
        yield reading(
            f"whose groups take the {called}'s channels as if they were stored in turn "
            "(groups interleaved)", stored, name,
        )  # fmt: skip
        yield reading(f"in which every group reads the last group's {called}", last, name)
        for by, word in ((-1, "next group"), (1, "group before")):
            roll = grouped(lambda t, a, by=by: t.roll(by, a))
            yield reading(f"in which every group reads the {called} of the {word}", roll, name)
        turn = grouped(lambda t, a: t.flip(a))
        yield reading(f"with the {called}'s groups in reverse order", turn, name)
    results = ("output", "grad_input", "grad_weight", "grad_bias")
    yield writing(
        "with the channels of its groups stored in the order (channel, group) (groups shuffled)",
        stored, *results,
    )  # fmt: skip
    yield writing("with the channels of its groups stored interleaved", dealt, *results)
    yield writing(
        "with its groups stored in reverse order", grouped(lambda t, a: t.flip(a)), *results
    )
    for by in (1, -1):
        yield writing(
            "with its groups stored one group further (groups rotated)",
            grouped(lambda t, a, by=by: t.roll(by, a)), *results,
        )  # fmt: skip
    yield writing("in which every group gives group 0's channels", first, *results)
    yield writing("in which every group gives the last group's channels", last, *results)
    yield writing(
        "in which only group 0 is computed (the other groups are zero)",
        grouped(lambda t, a: t * _first_only(t, a)), *results,
    )  # fmt: skip
    yield writing(
        "with each group's gradient the sum over all groups",
        grouped(lambda t, a: t.sum(a, keepdim=True).expand_as(t)), "grad_weight", "grad_input",
        "grad_bias",
    )  # fmt: skip
    yield Replay("with groups=1 for its second derivatives", _second_without_groups)
    yield Replay(
        "in which each group sums over the channels of all groups (groups ignored)", _all_groups
    )


def _first_only(t: Tensor, axis: int) -> Tensor:
    """1 in the first place of an axis, else 0."""
    at = torch.arange(t.shape[axis]) == 0
    return at.view(-1, *(1,) * (t.dim() - axis - 1)).to(t.dtype)


def _second_without_groups(scene: Scene) -> Iterator[Found]:
    """Second derivatives whose cotangent of a weight or input is group 0's for every group."""
    g = getattr(scene.problem, "groups", 1)
    if not scene.case.way.startswith("double") or g < 2:
        return
    from . import answers

    name = scene.case.way.partition(":")[2]
    v = answers.tangent(scene.case, name)
    axis = 0 if name != "input" else v.dim() - scene.case.rank - 1
    parts = v.unflatten(axis, (g, -1))
    wrong = parts.narrow(axis, 0, 1).expand_as(parts).reshape(v.shape)
    linear = replace(scene.problem, bias=False)
    arrays = {n: a for n, a in {**scene.arrays, name: wrong}.items() if n != "bias"}
    from .. import reference

    [first] = reference.forward(linear, arrays)[:1]
    yield {"grad_grad_output": first}
    assert scene.dy is not None
    for e in reference.backward(linear, arrays, scene.dy):
        yield {f"grad_{e.name}": e}


def _all_groups(scene: Scene) -> Iterator[Found]:
    """The sum over all of the input's channels, with each group's weights repeated."""
    p = scene.problem
    if p.groups < 2 or not scene.simple or p.transposed:
        return
    w = scene.arrays["weight"]
    wide = replace(p, groups=1)
    made = w.repeat(1, p.groups, *(1,) * p.rank)
    from .. import reference

    yield {"output": reference.forward(wide, {**scene.arrays, "weight": made})[0]}


def _padding(rank: int) -> Iterator[Replay]:
    """Cells of the padding that are read as something else than 0."""
    for mode, text in (
        ("replicate", "with the border's cells in its padding (clamped, replicate)"),
        ("reflect", "with reflected cells in its padding"),
        ("circular", "with the opposite side's cells in its padding (circular, wrapped)"),
    ):
        yield Replay(text, lambda scene, mode=mode: _padded(scene, _fill(mode)))
    yield Replay(
        "that reads the neighbouring row in its padding (the linear offset is not checked)",
        lambda scene: _padded(scene, _neighbour),
    )


def _fill(mode: str) -> Callable[[Tensor, list[tuple[int, int]]], Tensor | None]:
    def fill(x: Tensor, sides: list[tuple[int, int]]) -> Tensor | None:
        rank = len(sides)
        flat = [n for side in reversed(sides) for n in side]
        planes = x.reshape(-1, 1, *x.shape[-rank:])
        made = F.pad(planes, flat, mode=mode)
        return made.reshape(*x.shape[:-rank], *made.shape[2:])

    return fill


def _neighbour(x: Tensor, sides: list[tuple[int, int]]) -> Tensor | None:
    """Only rows are padded with their neighbours; other axes with zeros."""
    low, high = sides[-1]
    if low + high == 0:
        return None
    rank, size = len(sides), x.shape[-1]
    planes = x.reshape(-1, prod(x.shape[-rank:]))
    rows = torch.arange(planes.shape[1] // size)[:, None] * size
    at = (rows + torch.arange(-low, size + high)).clamp(0, planes.shape[1] - 1)
    wide = planes[:, at].reshape(*x.shape[:-1], size + low + high)
    return F.pad(wide, [0, 0, *(n for side in reversed(sides[:-1]) for n in side)])


def _padded(scene: Scene, fill: Any) -> Iterator[Found]:
    """A convolution without padding over an input that is padded before."""
    p, rank = scene.problem, scene.case.rank
    if p.transposed or not scene.simple or not any(lo + hi for lo, hi in p.padding):
        return

    def wide(s: Scene, name: str, t: Tensor) -> Tensor | None:
        made: Tensor | None = fill(t, list(p.padding))
        return made

    x = wide(scene, "input", scene.arrays["input"].double())
    if x is None:
        return
    other = replace(p, in_size=tuple(x.shape[-rank:]), padding=((0, 0),) * rank)
    found = scene.due(other, input=x)
    narrow = found.pop("grad_input", None)
    yield found
    if narrow is not None and "grad_input" in scene.wrong:
        yield {"grad_input": pulled(scene, wide, "input", scene.arrays["input"].double(), narrow)}


def _gradients() -> Iterator[Replay]:
    """Gradients that leave something out."""
    yield writing(
        "of which only the first channel is written (the others are zero)",
        lambda s, n, t: t * _first_only(t, a) if (a := s.axis(n, "channel")) is not None else None,
        "output", "grad_input",
    )  # fmt: skip
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
    yield Replay(
        "that counts cells which the stride skips (the stride is larger than the kernel)", _skipped
    )


def _skipped(scene: Scene) -> Iterator[Found]:
    """A weight gradient whose last tap also takes the first cell behind it that no window reads."""
    p = scene.problem
    if "grad_weight" not in scene.wrong or not scene.simple or scene.dy is None or p.transposed:
        return
    plain, want = scene.right["grad_weight"], scene.right["grad_weight"].want.copy()
    for a in range(p.rank):
        if p.stride[a] <= p.dilation[a] * (p.kernel[a] - 1) + 1:
            continue
        low = tuple(
            (lo - (b == a), hi) for b, (lo, hi) in enumerate(p.padding)
        )
        moved = scene.due(replace(p, padding=low))["grad_weight"]
        at = (*(slice(None),) * (2 + a), slice(-1, None))
        want[at] += moved.want[at]
    yield {"grad_weight": replace(plain, want=want)}


def _transposed(rank: int) -> Iterator[Replay]:
    """The tail that output_padding adds; the gaps that the stride leaves."""

    def tail(scene: Scene, y: Tensor, only: bool) -> Tensor | None:
        more = get(scene.problem, "output_padding")
        if not any(more):
            return None
        cells = torch.zeros(y.shape[-rank:], dtype=torch.bool)
        for a, n in enumerate(more):
            cells |= _last(cells.shape[a], n).view(-1, *(1,) * (rank - a - 1))
        return torch.where(cells, _floor(scene, y, only), y)

    for only, word in ((True, "only the bias"), (False, "zero")):
        yield writing(
            f"with {word} in the cells that output_padding adds (the tail is not computed)",
            lambda s, n, t, only=only: tail(s, t, only), "output",
        )  # fmt: skip
    yield writing(
        "with the output_padding cells cleared behind what they belong to",
        lambda s, n, t: tail(s, t, False), "grad_input",
    )  # fmt: skip

    def gaps(scene: Scene, name: str, y: Tensor) -> Tensor | None:
        ones = {n: torch.ones_like(a) for n, a in scene.arrays.items()}
        reached = scene.due(**{**ones, "bias": ones["bias"] * 0})["output"] if "bias" in ones else 0
        return None if reached == 0 else y * torch.from_numpy(reached.want != 0)

    yield writing(
        "without its bias where no tap reaches (the gaps of a stride above the kernel are zero)",
        gaps, "output",
    )  # fmt: skip


def _last(size: int, count: int) -> Tensor:
    """The last ``count`` of ``size`` places."""
    return torch.arange(size) >= size - count


def _floor(scene: Scene, y: Tensor, biased: bool) -> Tensor:
    """What an output holds that nothing was added to."""
    b = scene.arrays.get("bias")
    if b is None or not biased:
        return y * 0
    return b.to(y.dtype).view(-1, *(1,) * scene.case.rank).expand_as(y)


def _channels() -> Iterator[Replay]:
    """Channels behind the last full block left out, or all behind a count."""

    def keep(count: Callable[[int], int], grouped: bool) -> Any:
        def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
            axis = scene.axis(name, "channel")
            if axis is None:
                return None
            g = scene.problem.groups if grouped else 1
            parts = t.unflatten(axis, (g, -1))
            size = parts.shape[axis + 1]
            mask = torch.arange(size) < count(size)
            shape = (-1, *(1,) * (parts.dim() - axis - 2))
            return torch.where(mask.view(shape), parts, 0).flatten(axis, axis + 1)

        return change

    for m in reversed(BLOCKS):
        block = keep(lambda size, m=m: size // m * m, True)
        yield reading(
            f"without the last input channels, behind a multiple of {m} (the tail block)",
            block, "input",
        )  # fmt: skip
    for m in reversed(BLOCKS):
        block = keep(lambda size, m=m: size // m * m, False)
        yield writing(
            f"without the last channels, behind a multiple of {m} (the tail block)", block
        )
    yield reading(
        "without the last input channel", keep(lambda size: size - 1, True), "input"
    )
    for m in ENDS:
        yield reading(f"of {m} input channels only", keep(lambda size, m=m: m, True), "input")
        yield writing(f"of which {m} channels only are written", keep(lambda size, m=m: m, False))
    for m in (256, 65536):
        yield reading(
            f"with its input channels counted modulo {m}",
            keep(lambda size, m=m: size % m, True), "input",
        )  # fmt: skip

    def quiet(scene: Scene, w: Tensor) -> Tensor | None:
        axis = 1 if scene.problem.transposed else 0
        size = w.abs().amax([a for a in range(w.dim()) if a != axis], keepdim=True)
        return torch.where(size >= 1e-2 * size.max(), w, 0)

    yield reading(
        "without its quiet channels (small weights are taken as zero, pruned or skipped)",
        _of(quiet), "weight",
    )  # fmt: skip


def _taps(rank: int) -> Iterator[Replay]:
    """Taps of the kernel left out."""

    def keep(rule: Callable[[Scene, Tensor], Tensor]) -> Any:
        return _of(lambda scene, w: torch.where(rule(scene, w), w, 0))

    def flat(w: Tensor, start: int) -> Tensor:
        cells = prod(w.shape[start:])
        return torch.arange(cells).view(w.shape[start:])

    def along(a: int, rule: Callable[[Tensor, int], Tensor]) -> Callable[[Scene, Tensor], Tensor]:
        def kept(scene: Scene, w: Tensor) -> Tensor:
            size = w.shape[2 + a]
            return rule(torch.arange(size), size).view(-1, *(1,) * (rank - a - 1))

        return kept

    def tap(text: str, rule: Callable[[Scene, Tensor], Tensor]) -> Replay:
        return reading(text, keep(rule), "weight")

    yield tap(
        "without the last tap of the kernel (of the last input channel)",
        lambda s, w: flat(w, 1) < prod(w.shape[1:]) - 1,
    )
    yield tap(
        "without the last tap of the kernel", lambda s, w: flat(w, 2) < prod(w.shape[2:]) - 1
    )
    yield tap("without the first tap of the kernel", lambda s, w: flat(w, 2) > 0)
    yield tap("without the first tap of all channels", lambda s, w: flat(w, 1) > 0)
    for a, name in enumerate(AXES[rank]):
        yield tap(
            f"without the kernel's last place along {name}", along(a, lambda i, n: i < n - 1)
        )
        yield tap(f"without the kernel's first place along {name}", along(a, lambda i, n: i > 0))
        for m in (255, 256, 512):
            yield tap(
                f"with the kernel's extent along {name} cut at {m} (kernel beyond 8 bits)",
                along(a, lambda i, n, m=m: i < m),
            )
        yield tap(
            f"with the kernel's extent along {name} modulo 256 (kernel extent in 8 bits)",
            along(a, lambda i, n: i < n % 256),
        )
        for m in BLOCKS[:4]:
            yield tap(
                f"without the kernel's last places along {name}, behind a multiple of {m} "
                "(the tail of the taps)",
                along(a, lambda i, n, m=m: i < n // m * m),
            )
    for m in reversed(BLOCKS):
        yield tap(
            f"without the last terms of each sum, behind a multiple of {m} (tail of channels x "
            "taps)",
            lambda s, w, m=m: flat(w, 1) < prod(w.shape[1:]) // m * m,
        )
